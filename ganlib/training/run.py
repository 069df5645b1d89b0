"""What is trained, and for how long: the parsed configuration of one run."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from ganlib import build
from ganlib.condition import Condition
from ganlib.config import LARGEST, ConfigError, parse, require, within
from ganlib.objectives.augmented import Augmented
from ganlib.objectives.base import WHOLE, Objective

RECORDS = ("log_every", "checkpoint_every", "keep", "monitor_images")  # of Training: what is noted, not what is learned

MOST_WEIGHTS = 10**9  # of all players of a run


@dataclass(frozen=True)
class Training:
    """Every interval counts images seen: real images shown to the discriminator, all workers together."""

    images: int = 1_000_000  # the length of the run
    batch_size: int = 64  # of all workers together
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    flip: bool = False  # images are mirrored half of the time; what is told of them, where it is an image, with them
    jitter: float = 0.0  # the share by which images are enlarged, and cut back at random: pix2pix's 286/256 is 0.12
    share_fakes: bool = False  # one generated batch for both players' moves, instead of fresh latents for each
    ema_half_life: float = 10_000.0  # of the moving average of the generator's weights
    ema_rampup: float = 0.05  # early on, the half-life is at most this share of the images seen
    log_every: int = 5_000
    checkpoint_every: int = 100_000  # also of the sample grids and the distance
    keep: int = 2  # checkpoints; the one with the best distance is kept as well
    monitor_images: int = 1_000  # generated for the distance at each checkpoint; 0 switches it off

    def __post_init__(self) -> None:
        within(self, 1, 10**12, "images", "log_every", "checkpoint_every")
        within(self, 1, 10**6, "batch_size", "keep")
        within(self, 0, 10**12, "ema_half_life", "ema_rampup")
        within(self, 0, 1, "jitter")
        within(self, 0, 10**5, "monitor_images")


@dataclass(frozen=True)
class Run:
    """`networks`, `objective` and `augmentation` are mappings with the `name` of a component and its options."""

    networks: dict[str, Any] = field(default_factory=lambda: {"name": "dcgan"})
    objective: dict[str, Any] = field(default_factory=lambda: {"name": "two_player"})
    augmentation: dict[str, Any] | None = None  # of all that the discriminator sees
    training: Training = field(default_factory=Training)
    seed: int = 0

    def __post_init__(self) -> None:
        within(self, 0, LARGEST - 1, "seed")
        build.component("networks", self.networks)
        build.component("objectives", self.objective)
        if self.augmentation is not None:
            build.component("augmentations", self.augmentation)

    @staticmethod
    def parse(values: dict[str, Any]) -> "Run":
        """From plain mappings; ConfigError for whatever cannot be run."""
        return parse(Run, values)

    def build_objective(self) -> Objective:
        module, config = build.component("objectives", self.objective)
        objective = module.build(config)
        if self.augmentation is None:
            return objective
        module, config = build.component("augmentations", self.augmentation)
        return Augmented(objective, module.build(config))

    def build_networks(self, shape: tuple[int, int, int], condition: Condition) -> dict[str, nn.Module]:
        """Role → network for images of `shape` (C, H, W) that come with this condition, freshly initialised from the
        seed."""
        return build.networks(self.networks, shape, condition, self.seed)

    def share(self, shape: tuple[int, int, int], condition: Condition, workers: int) -> int | None:
        """The images of one worker's part of a batch, if the result depends on how many these are, as under batch norms
        over each worker's own; None if it is that of one worker, but for the order of sums."""
        with torch.device("meta"):
            networks = self.build_networks(shape, condition)
        apart = any(isinstance(module, nn.BatchNorm2d) for network in networks.values() for module in network.modules())
        return self.training.batch_size // workers if apart else None

    def check(self, shape: tuple[int, int, int], condition: Condition, workers: int, images: int) -> None:
        """All that can be known to be wrong before any time is spent: on this data, with so many workers."""
        if self.training.batch_size % workers:
            near = max(workers, round(self.training.batch_size / workers) * workers)
            raise ConfigError(f"training.batch_size: {self.training.batch_size} cannot be split evenly between "
                              f"{workers} workers; write {near}")
        if self.training.batch_size > images:
            raise ConfigError(f"training.batch_size: {self.training.batch_size} is more than the {images} images")
        with torch.device("meta"):
            networks = self.build_networks(shape, condition)
        weights = sum(weight.numel() for network in networks.values() for weight in network.parameters())
        require(weights <= MOST_WEIGHTS, f"networks: these have {weights:,} weights, {4 * weights / 1e9:.0f} GB "
                "of them and as much again for each of gradients, optimizers and averages; at most "
                f"{MOST_WEIGHTS:,} are taken: lower networks.width")
        objective = self.build_objective()
        for role in objective.roles:
            if role not in networks:
                raise ConfigError(f"networks.name: {self.networks['name']} builds {', '.join(networks)}, but "
                                  f"objective {self.objective['name']} needs a {role}")
        objective.check(networks)

    def identity(self, shape: tuple[int, int, int], condition: Condition, workers: int) -> dict[str, Any]:
        """All that the weights after so many images depend on, besides the images: plain mappings, as they come out of
        a file. The length of the run is among it where learning rates decay over it, or moves belong to a part of it.
        """
        training, objective = dataclasses.asdict(self.training), self.build_objective()
        by_share = any(optimizer.decay != "constant" for optimizer in objective.optimizers.values()) \
            or any(phase.window != WHOLE for phase in objective.phases())
        for name in (*RECORDS, *([] if by_share else ["images"])):
            del training[name]
        rooms = {"networks": self.networks, "objectives": self.objective, "augmentations": self.augmentation}
        sections = {build.SECTIONS.get(room, room): section and build.spelled_out(room, section)
                    for room, section in rooms.items()}
        return json.loads(json.dumps({**sections, "training": training, "seed": self.seed, "shape": shape,
                                      "condition": dataclasses.asdict(condition),
                                      "share of a worker": self.share(shape, condition, workers)}))

    def asdict(self) -> dict[str, Any]:
        """Plain mappings, for files."""
        return dataclasses.asdict(self)

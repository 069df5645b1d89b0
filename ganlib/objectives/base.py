"""The contract of an objective: players (roles), their moves (phases), and the state that the game itself has."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ganlib import seeds
from ganlib.condition import Condition
from ganlib.config import require

Networks = Mapping[str, Any]  # role → nn.Module; docs/extending.md lists what objectives read of them
Optimizers = Mapping[str, torch.optim.Optimizer]  # role → its own
# metric → detached scalar, this worker's mean; or samples (N, ...) made in the move, for `Objective.advance` alone
Stats = dict[str, Tensor]
WHOLE = (0.0, 1.0)  # of a run


class Images(Protocol):
    """Real images: `ganlib.datasets.table.Table` is one."""

    @property
    def condition(self) -> Condition:
        """What each comes with."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""

    @property
    def label_counts(self) -> tuple[int, ...]:
        """How many images there are of each class; () without classes."""

    @property
    def sha256(self) -> str:
        """Of pixels and conditions: a run is not gone on with on other images."""

    def __len__(self) -> int: ...

    def draw(self, seed: int, start: int, count: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Positions [start, start + count) of the endless shuffled sequence: float images in [−1, 1], and
        what they come with."""


class Noise:
    """The random numbers of one phase: a pure function of its seed, drawn for the whole global batch and cut to this
    worker's share. So any number of workers draws the same numbers for the same samples; each draws those of all, which
    for noise as large as the images (DRAGAN, instance noise) is work that grows with the workers."""

    def __init__(self, seed: int, count: int, rank: int = 0, device: torch.device | str = "cpu", workers: int = 1):
        """`count` is this worker's number of samples; the global batch has count·workers."""
        self._generator = torch.Generator(device).manual_seed(seed)
        self.count, self._seed, self._rank, self._workers = count, seed, rank, workers

    def stream(self, name: str) -> "Noise":
        """Random numbers besides these: a pure function of the seed and the name, so that they can be had again."""
        seed, device = seeds.derive("streams", self._seed, name), self._generator.device
        return Noise(seed, self.count, self._rank, device, self._workers)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal (count, *shape)."""
        return self._share(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1): (count, *shape)."""
        return self._share(torch.rand, shape)

    def integers(self, high: int) -> Tensor:
        """Uniform on 0 … high − 1: int64 (count,)."""
        return self.uniform().mul(high).long().clamp_max(high - 1)  # rounding may take u·high up to high

    def _share(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        numbers = draw(
            self.count * self._workers, *shape, generator=self._generator, device=self._generator.device
        )
        return numbers[self._rank * self.count : (self._rank + 1) * self.count]


class Fakes(NamedTuple):
    """Generated images, and what they were made from."""

    images: Tensor  # (N, C, H, W)
    z: Tensor  # (N, latent), standard normal
    condition: Tensor | None  # (N, ...): what the generator was told; of InfoGAN's the categorical code (N,) int64


@dataclass
class Batch:
    """What a phase sees: this worker's share of a batch of N real images, and randomness of its own."""

    real: Tensor  # (N, C, H, W), in [-1, 1]
    condition: Tensor | None  # (N, ...): what comes with each, of a `ganlib.condition.Condition`
    noise: Noise
    fakes: Any = None  # what `Objective.fakes` gives, with its graph, if the loop shares them between the phases


class Phase(NamedTuple):
    """One player's move."""

    name: str  # "G", "D_r1": names the move in metrics and errors; "D" is the discriminator's on every batch
    trains: tuple[str, ...]  # roles whose parameters move; the loop freezes every other role
    loss: Callable[[Networks, Batch], tuple[Tensor, Stats]]  # mean over the batch; pure
    every: int = 1  # in batches: the generator moves every n_critic, lazy regularisation every 16
    schedule: Callable[[int], int] | None = None  # in place of `every`: see `due`
    window: tuple[float, float] = WHOLE  # the part of the run that it belongs to, as shares

    def due(self, number: int, done: float | None = None) -> int:
        """At batch `number`, from 1: how many batches since the last move, this one included; 0 if it is not due.
        `done`: the share of the run that lies behind; without it, the window does not count."""
        if done is not None and not self.window[0] <= done < self.window[1]:
            return 0
        if self.schedule is not None:
            return self.schedule(number)
        return self.every if number % self.every == 0 else 0


@dataclass(frozen=True)
class Optimizer:
    """How the parameters of one role move."""

    name: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)  # adam only
    decay: Literal["constant", "linear", "cosine"] = "constant"  # of lr, down to 0 at the last image
    decay_from: float = 0.0  # the share of the run for which lr stays as it is before it decays

    def __post_init__(self) -> None:
        require(self.lr > 0, f"lr: must be above 0, got {self.lr:g}; 2e-4 is usual")
        require(0 <= self.decay_from < 1, f"decay_from: must lie in [0, 1), got {self.decay_from:g}")
        require(not self.decay_from or self.decay != "constant", "decay_from: a constant lr does not decay; write "
                "decay: linear, or 0")
        require(all(0 <= beta < 1 for beta in self.betas), f"betas: each must lie in [0, 1), got {self.betas}")


class Objective(nn.Module, abc.ABC):
    """A game. A Module, so that whatever state the game has (buffers) enters the checkpoint."""

    roles: tuple[str, ...] = ("generator", "discriminator")
    optimizers: Mapping[str, Optimizer]  # role → optimizer
    reports_real_sign = False  # stats "D/real_sign", E[sign D(x)], with every "D": adaptive augmentation follows it

    @abc.abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The moves, in the order in which they are made on one batch."""

    def check(self, networks: Networks) -> None:
        """Raise ConfigError if this game cannot be played by these networks."""

    def bind(self, networks: Networks, images: Images, optimizers: Optimizers) -> None:
        """Called once before the first batch, and before a checkpoint is restored: make the buffers whose shape depends
        on the networks, and keep what is needed of the others. Raise ConfigError if the images do not have it."""

    def fakes(self, networks: Networks, batch: Batch) -> Any:
        """The generated batch that the phases may share, with the generator's graph."""
        raise NotImplementedError(f"{type(self).__name__} cannot share fakes; set training.share_fakes=false")

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        """Called after each phase's step, with its statistics averaged over the workers, and the samples among them
        gathered from all, in the order of the global batch: the only place where the objective's state changes, or a
        parameter is moved by anything but an optimizer (weight clipping). `images_seen` counts those of this batch,
        too."""

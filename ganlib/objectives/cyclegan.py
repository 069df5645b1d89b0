"""Two sets of images, and a way from each to the other: CycleGAN, Zhu et al. 2017, arXiv:1703.10593.

The conditions are images of the set A, the real images are of B, and nothing belongs together. The role `generator` is
G: A → B and, as its `back`, F: B → A; the role `discriminator` is D_B and, as its `back`, D_A.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ganlib.config import ConfigError, require, within
from ganlib.losses import LOSSES
from ganlib.objectives.base import Batch, Images, Networks, Objective, Optimizer, Optimizers, Phase, Stats
from ganlib.objectives.pool import Pool
from ganlib.objectives.two_player import judge

LEAST_SQUARES = LOSSES["least_squares"]


@dataclass(frozen=True)
class Config:
    cycle: float = 10.0  # λ, of the L1 distance to the image itself, there and back
    identity: float = 0.5  # share of λ: an image of B shall stay as it is under G, one of A under F; 0 leaves it out
    pool: int = 50  # earlier images of each set that the discriminators are shown again; 0 shows the new ones alone
    optimizers: dict[str, Optimizer] = field(
        default_factory=lambda: {role: Optimizer(decay="linear", decay_from=0.5) for role in CycleGAN.roles}
    )

    def __post_init__(self) -> None:
        require(self.cycle > 0, f"cycle: must be above 0, got {self.cycle:g}; the paper takes 10")
        require(self.identity >= 0, f"identity: must not be negative, got {self.identity:g}")
        within(self, 0, 100_000, "pool")
        require(set(self.optimizers) == set(CycleGAN.roles), "optimizers: generator and discriminator need one each")


class Made(NamedTuple):
    """The images of one batch, made from those of the other set."""

    there: Tensor  # G(a), of B
    back: Tensor  # F(b), of A


class CycleGAN(Objective):
    """Moves: G (both generators), D (both discriminators), which is shown what the pools give for the new images."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, self.optimizers = config, config.optimizers
        self.pools = torch.nn.ModuleDict({name: Pool(config.pool) for name in Made._fields})

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("G", ("generator",), self.generate_step), Phase("D", ("discriminator",), self.judge_step))

    def check(self, networks: Networks) -> None:
        for role in self.roles:
            require(hasattr(networks[role], "back"), "objective.name: cyclegan needs a way back; set networks=resnet "
                    "or unet, and networks.directions=2")
        there = networks["generator"]
        require(not self.config.identity or there.told.size == there.back.told.size, "objective.identity: grey images "
                "cannot stay as they are among coloured ones; write 0, or dataset.channels=3")
        if there.told.paired:
            raise ConfigError("objective.name: cyclegan would not see that this data is paired; take objective=pix2pix")

    def bind(self, networks: Networks, images: Images, optimizers: Optimizers) -> None:
        device = next(networks["generator"].parameters()).device
        for name, shape in (("there", images.shape), ("back", images.condition.shape)):
            self.pools[name].bind(shape, device)  # type: ignore[operator]

    def fakes(self, networks: Networks, batch: Batch) -> Made:
        there = networks["generator"]
        return Made(draw(there, batch.condition, batch), draw(there.back, batch.real, batch))

    def generate_step(self, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """Eq. 3 with the least squares of sec. 4, (D − 1)², and the identity term of sec. 5.2."""
        there, discriminator, config = networks["generator"], networks["discriminator"], self.config
        a, b = batch.condition, batch.real
        made = self.fakes(networks, batch) if batch.fakes is None else batch.fakes
        on_b, on_a = discriminator(made.there).score.float(), discriminator.back(made.back).score.float()
        adversarial = 2 * (LEAST_SQUARES.generator(on_b) + LEAST_SQUARES.generator(on_a)).mean()
        cycle = config.cycle * (l1(draw(there.back, made.there, batch), a) + l1(draw(there, made.back, batch), b))
        stats = {"G/loss": adversarial.detach(), "G/cycle": cycle.detach()}
        loss = adversarial + cycle
        if config.identity:
            weight = config.cycle * config.identity
            identity = weight * (l1(draw(there, b, batch), b) + l1(draw(there.back, a, batch), a))
            stats["G/identity"] = identity.detach()
            loss = loss + identity
        return loss, stats

    def judge_step(self, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """½(D(x) − 1)² + ½D(G)² of both, the least squares of sec. 4 halved, as sec. 4 has it; the new images are left
        for the pools."""
        if batch.fakes is None:
            with torch.no_grad():
                made = self.fakes(networks, batch)
        else:
            made = Made(*(images.detach() for images in batch.fakes))
        assert batch.condition is not None
        discriminator = networks["discriminator"]
        losses, real_scores, fake_scores = [], [], []
        stats: Stats = {}
        for name, player, real, new in (("there", discriminator, batch.real, made.there),
                                        ("back", discriminator.back, batch.condition, made.back)):
            shown, places = self.pools[name](new, batch.noise)
            on_real, on_fake = (verdict.score.float() for verdict in judge(player, real, shown, (None, None)))
            losses.append(LEAST_SQUARES.discriminator(on_real, on_fake).mean())
            real_scores.append(on_real.detach().mean())
            fake_scores.append(on_fake.detach().mean())
            stats |= {f"made/{name}": new, f"places/{name}": places} if self.config.pool else {}
        loss = torch.stack(losses).sum()
        return loss, {"D/loss": loss.detach(), "D/real_score": torch.stack(real_scores).mean(),
                      "D/fake_score": torch.stack(fake_scores).mean(), **stats}

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        if phase.name == "D" and self.config.pool:
            for name, pool in self.pools.items():
                pool.insert(stats[f"made/{name}"], stats[f"places/{name}"])  # type: ignore[operator]


def draw(translator: torch.nn.Module, images: Tensor | None, batch: Batch) -> Tensor:
    """What a translator draws from these images; where it has noise, with noise of the batch's."""
    return translator(batch.noise.normal(translator.latent), images)  # type: ignore[arg-type]


def l1(images: Tensor, others: Tensor | None) -> Tensor:
    """The mean over the batch, pixels and channels of the absolute difference."""
    assert others is not None
    return (images.float() - others.float()).abs().mean()


def build(config: Config) -> CycleGAN:
    return CycleGAN(config)

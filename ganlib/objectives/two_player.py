"""One generator against one discriminator: an adversarial loss, and any penalties on the discriminator's gradient."""

import functools
import inspect
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ganlib import penalties
from ganlib.config import ConfigError, require, suggest
from ganlib.losses import LOSSES
from ganlib.objectives.base import Batch, Networks, Objective, Optimizer, Phase, Stats
from ganlib.verdict import Verdict


@dataclass(frozen=True)
class Penalty:
    """How much a penalty counts, and how often it is taken."""

    weight: float  # λ, or γ of R1 and R2 (which carry their own ½)
    every: int = 1  # in batches; above 1 it is a move of its own with weight·every (lazy regularisation, StyleGAN2)

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"weight: must not be negative, got {self.weight:g}; 0 switches the penalty off")
        require(self.every >= 1, f"every: must be at least 1, got {self.every}")


@dataclass(frozen=True)
class Config:
    loss: Literal["minimax", "non_saturating", "least_squares", "wasserstein", "hinge"] = "non_saturating"
    penalties: dict[str, Penalty] = field(default_factory=dict)  # gradient_penalty, dragan, r1, r2
    n_critic: int = 1  # discriminator steps per generator step, each on a new batch
    clip: float | None = None  # c of the original WGAN: the critic's weights stay in [−c, c]
    real_target: float = 1.0  # below 1: one-sided label smoothing
    optimizers: dict[str, Optimizer] = field(
        default_factory=lambda: {"generator": Optimizer(), "discriminator": Optimizer()}
    )

    def __post_init__(self) -> None:
        for name in self.penalties:
            require(name in PENALTIES, f"penalties.{name}: there is no such penalty{suggest(name, PENALTIES)}")
        require(self.n_critic >= 1, f"n_critic: must be at least 1, got {self.n_critic}")
        require(self.clip is None or self.clip > 0, f"clip: must be above 0, got {self.clip}; null switches it off")
        require(0.5 < self.real_target <= 1, f"real_target: must lie in (0.5, 1], got {self.real_target:g}")
        smooths = "real_target" in inspect.signature(LOSSES[self.loss].discriminator).parameters
        require(self.real_target == 1 or smooths, f"real_target: {self.loss} has no targets to smooth; write 1.0")
        for role in TwoPlayer.roles:
            require(role in self.optimizers, f"optimizers.{role}: missing; each player needs an optimizer")
        for role in self.optimizers:
            require(role in TwoPlayer.roles, f"optimizers.{role}: no such player{suggest(role, TwoPlayer.roles)}")


def score_of(discriminator: nn.Module, batch: Batch) -> penalties.Score:
    """Images → scores, at the batch's labels."""
    return lambda images: discriminator(images, batch.label).score


def judge(discriminator: nn.Module, real: Tensor, fake: Tensor, label: Tensor | None) -> tuple[Verdict, Verdict]:
    """The verdicts on both halves: in one pass if the discriminator judges each image by itself, else in two, since
    batch statistics over reals and fakes together are not those of either."""
    if discriminator.mixes_batch:
        return discriminator(real, label), discriminator(fake, label)
    both = discriminator(torch.cat([real, fake]), None if label is None else torch.cat([label, label]))
    of_real, of_fake = zip(*((None, None) if output is None else output.chunk(2) for output in both), strict=True)
    return Verdict(*of_real), Verdict(*of_fake)


def _gradient_penalty(score: penalties.Score, batch: Batch, fake: Tensor) -> Tensor:
    return penalties.gradient_penalty(score, batch.real, fake, batch.noise.uniform())


def _dragan(score: penalties.Score, batch: Batch, fake: Tensor) -> Tensor:
    mean = batch.average(batch.real.mean())
    std = (batch.average(batch.real.square().mean()) - mean.square()).clamp_min(0).sqrt()
    return penalties.dragan(score, batch.real, batch.noise.uniform(*batch.real.shape[1:]), std)


PENALTIES = {
    "gradient_penalty": _gradient_penalty,
    "dragan": _dragan,
    "r1": lambda score, batch, fake: penalties.r1(score, batch.real),
    "r2": lambda score, batch, fake: penalties.r2(score, fake),
}
NEED_FAKES = ("gradient_penalty", "r2")


class TwoPlayer(Objective):
    """Moves: D (the adversarial loss and the penalties of every batch), D_<penalty> (each lazy one), G."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.optimizers = config.optimizers
        self.loss = LOSSES[config.loss]
        smoothing = {} if config.real_target == 1 else {"real_target": config.real_target}
        self.discriminator_loss = functools.partial(self.loss.discriminator, **smoothing)
        active = {name: penalty for name, penalty in config.penalties.items() if penalty.weight > 0}
        self.prompt = {name: penalty for name, penalty in active.items() if penalty.every == 1}
        self.lazy = {name: penalty for name, penalty in active.items() if penalty.every > 1}

    def phases(self) -> tuple[Phase, ...]:
        lazy = [
            Phase(f"D_{name}", ("discriminator",), functools.partial(self.regularize, name), penalty.every)
            for name, penalty in self.lazy.items()
        ]
        return (
            Phase("D", ("discriminator",), self.judge_step),
            *lazy,
            Phase("G", ("generator",), self.generate_step, self.config.n_critic),
        )

    def check(self, networks: Networks) -> None:
        batch_norms = [m for m in networks["discriminator"].modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if batch_norms and (self.prompt or self.lazy):
            name = next(iter(self.prompt | self.lazy))
            raise ConfigError(
                f"objective.penalties.{name}: a gradient penalty needs a discriminator that judges each image by "
                "itself, and batch norm mixes the batch; set networks.discriminator_norm to layer, spectral or none"
            )

    def fakes(self, networks: Networks, batch: Batch) -> Tensor:
        generator = networks["generator"]
        return generator(batch.noise.normal(generator.latent), batch.label)

    def judge_step(self, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """The discriminator's loss and the penalties that are due on every batch."""
        fake = self._detached_fakes(networks, batch)
        real_verdict, fake_verdict = judge(networks["discriminator"], batch.real, fake, batch.label)
        loss = self.discriminator_loss(real_verdict.score.float(), fake_verdict.score.float()).mean()
        stats = {
            "D/loss": loss.detach(),
            "D/real_score": real_verdict.score.detach().float().mean(),
            "D/fake_score": fake_verdict.score.detach().float().mean(),
        }
        for name, penalty in self.prompt.items():
            value = self._penalty(name, networks, batch, fake)
            stats[f"D/{name}"] = value.detach()
            loss = loss + penalty.weight * value
        return loss, stats

    def regularize(self, name: str, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """One lazy penalty, weighted for the batches on which it was not due."""
        fake = self._detached_fakes(networks, batch) if name in NEED_FAKES else batch.real
        value = self._penalty(name, networks, batch, fake)
        penalty = self.lazy[name]
        return penalty.weight * penalty.every * value, {f"D/{name}": value.detach()}

    def generate_step(self, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """The generator's loss."""
        fake = self.fakes(networks, batch) if batch.fake is None else batch.fake
        score = networks["discriminator"](fake, batch.label).score.float()
        loss = self.loss.generator(score).mean()
        return loss, {"G/loss": loss.detach()}

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        """Arjovsky et al. 2017, algorithm 1, line 7: w ← clip(w, −c, c) after each step of the critic."""
        if self.config.clip is not None and "discriminator" in phase.trains:
            for parameter in networks["discriminator"].parameters():
                parameter.clamp_(-self.config.clip, self.config.clip)

    def _detached_fakes(self, networks: Networks, batch: Batch) -> Tensor:
        if batch.fake is not None:
            return batch.fake.detach()
        with torch.no_grad():  # the discriminator's move needs no graph of the generator
            return self.fakes(networks, batch)

    def _penalty(self, name: str, networks: Networks, batch: Batch, fake: Tensor) -> Tensor:
        # In float32: bfloat16 costs a double backward four decimal places.
        with torch.autocast(batch.real.device.type, enabled=False):
            return PENALTIES[name](score_of(networks["discriminator"], batch), batch, fake.float()).mean()


def build(config: Config) -> TwoPlayer:
    return TwoPlayer(config)

"""Penalties on the discriminator's gradient, by name, as a game takes them on one batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganlib import collectives, penalties
from ganlib.config import require
from ganlib.objectives.base import Batch


@dataclass(frozen=True)
class Penalty:
    """How much a penalty counts, and how often it is taken."""

    weight: float  # λ, or γ of R1 and R2 (which carry their own ½)
    every: int = 1  # in batches; above 1 it is a move of its own with weight·every (lazy regularisation, StyleGAN2)

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"weight: must not be negative, got {self.weight:g}; 0 switches the penalty off")
        require(self.every >= 1, f"every: must be at least 1, got {self.every}")


def _gradient_penalty(score: penalties.Score, batch: Batch, fake: Tensor) -> Tensor:
    return penalties.gradient_penalty(score, batch.real, fake, batch.noise.uniform())


def _dragan(score: penalties.Score, batch: Batch, _: Tensor | None) -> Tensor:
    mean = collectives.mean(batch.real.mean())
    std = (collectives.mean(batch.real.square().mean()) - mean.square()).clamp_min(0).sqrt()
    return penalties.dragan(score, batch.real, batch.noise.uniform(*batch.real.shape[1:]), std)


PENALTIES: dict[str, Callable[..., Tensor]] = {  # of (score, batch, fakes if it is among NEED_FAKES)
    "gradient_penalty": _gradient_penalty,
    "dragan": _dragan,
    "r1": lambda score, batch, _: penalties.r1(score, batch.real),
    "r2": lambda score, batch, fake: penalties.r2(score, fake),
}
NEED_FAKES = ("gradient_penalty", "r2")


def penalty(name: str, discriminator: Any, batch: Batch, fake: Tensor | None) -> Tensor:
    """The mean over this worker's share of the batch, unweighted, of the penalty of that name; `fake` images detached.
    The discriminator is told the condition of the reals. In float32: bfloat16 costs a double backward four decimal
    places."""

    def score(images: Tensor) -> Tensor:
        return discriminator(images, batch.condition).score

    with torch.autocast(batch.real.device.type, enabled=False):
        return PENALTIES[name](score, batch, None if fake is None else fake.float()).mean()

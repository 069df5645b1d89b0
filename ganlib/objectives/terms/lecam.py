"""LeCam regularisation: scores stay near the average score of the other side. Tseng et al. 2021, arXiv:2104.03310."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.config import require
from ganlib.objectives.base import Networks, Phase, Stats
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    weight: float = 0.3  # λ
    decay: float = 0.99  # what is kept of the averages at each step of the discriminator
    start: int = 64_000  # images seen before it counts: the averages of 1,000 batches of 64

    def __post_init__(self) -> None:
        require(self.weight > 0, f"weight: must be above 0, got {self.weight:g}; the paper takes 0.01 to 0.5")
        require(0 <= self.decay < 1, f"decay: must lie in [0, 1), got {self.decay:g}")
        require(self.start >= 0, f"start: must not be negative, got {self.start}")


class LeCam(Term):
    """E‖D(x) − α_F‖² + E‖D(G(z)) − α_R‖², α_R and α_F being moving averages of the scores of reals and of fakes.
    (The paper's form; its authors' code has a relu around both differences.)"""

    real: Tensor
    fake: Tensor
    active: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        for name in ("real", "fake"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("active", torch.full((), float(config.start == 0)))

    def discriminator(self, move: Move) -> Tensor:
        assert move.real is not None
        distance = (move.real.score.float() - self.fake).square() + (move.fake.score.float() - self.real).square()
        return self.config.weight * self.active * distance.mean()

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        if phase.name == "D":
            self.real.lerp_(stats["D/real_score"], 1 - self.config.decay)
            self.fake.lerp_(stats["D/fake_score"], 1 - self.config.decay)
            self.active.fill_(float(images_seen >= self.config.start))


def build(config: Config) -> LeCam:
    return LeCam(config)

"""BEGAN's balance of the players. Berthelot et al. 2017, arXiv:1703.10717, sec. 3.3 and 3.4."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganlib import collectives
from ganlib.config import require
from ganlib.objectives.base import Networks, Phase, Stats
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    gamma: float = 0.5  # the ratio E L(G(z)) / E L(x) aimed at: low for sharper images, high for more variety
    rate: float = 1e-3  # λ_k

    def __post_init__(self) -> None:
        require(0 <= self.gamma <= 1, f"gamma: must lie in [0, 1], got {self.gamma:g}")
        require(self.rate > 0, f"rate: must be above 0, got {self.rate:g}; the paper takes 1e-3")


class Equilibrium(Term):
    """k ← clip(k + λ_k(γ L(x) − L(G(z))), 0, 1), k₀ = 0, the option of the loss `boundary_equilibrium`. L(G(z)) is
    that of the discriminator's move, where the paper takes the generator's own sample: another draw of the same. What
    is logged as convergence is the paper's measure, L(x) + |γ L(x) − L(G(z))|."""

    k: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.register_buffer("k", torch.zeros(()))

    def loss_options(self) -> dict[str, Any]:
        return {"k": self.k.clone()}

    def discriminator(self, move: Move) -> None:
        assert move.real is not None
        real = collectives.mean(move.real.score.detach().float().mean())
        fake = collectives.mean(move.fake.score.detach().float().mean())
        move.stats["D/convergence"] = real + (self.config.gamma * real - fake).abs()
        move.stats["D/k"] = self.k.clone()

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        if phase.name == "D":
            balance = self.config.gamma * stats["D/real_score"] - stats["D/fake_score"]
            self.k.add_(self.config.rate * balance).clamp_(0, 1)


def build(config: Config) -> Equilibrium:
    return Equilibrium(config)

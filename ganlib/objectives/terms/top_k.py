"""The generator learns from its best samples only. Sinha et al. 2020, arXiv:2002.06224."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib import collectives
from ganlib.config import require
from ganlib.losses import per_sample
from ganlib.objectives.base import Networks, Phase, Stats
from ganlib.objectives.terms.base import Term


@dataclass(frozen=True)
class Config:
    least: float = 0.5  # ν: the share of the batch that is kept in the end
    decay: float = 0.99  # γ: what the share is multiplied by, every `images`
    images: int = 60_000  # an epoch, in the paper

    def __post_init__(self) -> None:
        for name in ("least", "decay"):
            require(0 < getattr(self, name) <= 1, f"{name}: must lie in (0, 1], got {getattr(self, name):g}")
        require(self.images >= 1, f"images: must be at least 1, got {self.images}")


class TopK(Term):
    """Of the global batch, the k samples of the highest score count, k = N·max(ν, γ^⌊images seen / `images`⌋)."""

    share: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.register_buffer("share", torch.ones(()))

    def weigh(self, realism: Tensor) -> Tensor:
        score = per_sample(realism.detach().float())
        everyone = collectives.gather(score)
        last = (self.share * len(everyone)).round().clamp_min(1).long() - 1
        threshold = everyone.sort(descending=True).values.index_select(0, last.view(1))
        return (score >= threshold).float() / (everyone >= threshold).float().mean()

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        self.share.fill_(max(self.config.least, self.config.decay ** (images_seen // self.config.images)))


def build(config: Config) -> TopK:
    return TopK(config)

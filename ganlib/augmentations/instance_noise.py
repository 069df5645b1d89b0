"""Gaussian noise on every image, until the generator is good enough to do without: Sønderby et al. 2017,
arXiv:1610.04490, appendix; Arjovsky and Bottou 2017, arXiv:1701.04862, section 3."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.augmentations.base import Augmentation, normal
from ganlib.config import require
from ganlib.objectives.base import Noise, Stats


@dataclass(frozen=True)
class Config:
    std: float = 0.1  # at the first image; pixels lie in [−1, 1]
    images: int = 1_000_000  # seen until the noise is gone: it falls linearly

    def __post_init__(self) -> None:
        require(self.std >= 0, f"std: must not be negative, got {self.std:g}; 0.1 is usual")
        require(self.images >= 1, f"images: must be at least 1, got {self.images}; the length of the run is usual")


class InstanceNoise(Augmentation):
    """x + σε with ε ~ N(0, I), and σ = std·max(0, 1 − images seen / images)."""

    std: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.register_buffer("std", torch.tensor(config.std))

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        return images + self.std * normal(noise, images, *images.shape[1:])

    def stats(self) -> Stats:
        return {"augmentation/std": self.std.clone()}

    @torch.no_grad()
    def advance(self, stats: Stats, images_seen: int, images: int | Tensor) -> None:
        self.std.fill_(self.config.std * max(0.0, 1 - images_seen / self.config.images))


def build(config: Config) -> InstanceNoise:
    return InstanceNoise(config)

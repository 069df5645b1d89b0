"""Differentiable augmentation: Zhao et al. 2020, arXiv:2006.10738. Each image is changed at random, always."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ganlib.augmentations.base import Augmentation, integers, uniform
from ganlib.augmentations.resample import at
from ganlib.objectives.base import Noise


@dataclass(frozen=True)
class Config:
    policy: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation", "cutout")  # in this order


class DiffAugment(Augmentation):
    """The changes of the policy, one after the other."""

    def __init__(self, config: Config):
        super().__init__()
        self.policy = config.policy

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        for name in self.policy:
            images = POLICY[name](images, noise)
        return images


def color(images: Tensor, noise: Noise) -> Tensor:
    """Brightness + U(−½, ½), saturation × U(0, 2), contrast × U(½, 3/2). Grey images have no saturation to change."""
    brightness, saturation, contrast = uniform(noise, images, 3, 1, 1, 1).unbind(1)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + 2 * saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (images - mean)


def translation(images: Tensor, noise: Noise) -> Tensor:
    """A shift by whole pixels, up to an eighth of each side; zeros come in."""
    (row, row_inside), (column, column_inside) = (_shifted(size, images, noise) for size in images.shape[2:])
    inside = row_inside[:, None, :, None] & column_inside[:, None, None, :]
    moved = at(images, *torch.broadcast_tensors(row[:, :, None], column[:, None, :]))
    return moved.masked_fill(~inside, 0)


def cutout(images: Tensor, noise: Noise) -> Tensor:
    """Zeros in a rectangle of half of each side, its centre anywhere in the image: at the border it is cut off."""
    row, column = (_cut(size, images, noise) for size in images.shape[2:])
    return images.masked_fill(row[:, None, :, None] & column[:, None, None, :], 0)


POLICY = {"color": color, "translation": translation, "cutout": cutout}


def _shifted(size: int, images: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """From where each position takes its pixel, and whether that lies inside: (N, size)."""
    farthest = int(size / 8 + 0.5)
    source = torch.arange(size, device=images.device) - integers(noise, images, -farthest, farthest)[:, None]
    return source.clamp(0, size - 1), (source >= 0) & (source < size)


def _cut(size: int, images: Tensor, noise: Noise) -> Tensor:
    """Which positions lie in the stretch that is cut out: (N, size)."""
    length = int(size / 2 + 0.5)
    start = integers(noise, images, 0, size - length % 2)[:, None] - length // 2
    place = torch.arange(size, device=images.device)
    return (place >= start) & (place < start + length)


def build(config: Config) -> DiffAugment:
    return DiffAugment(config)

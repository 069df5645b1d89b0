"""Images that are mirrored, and cut a little closer, each time they are drawn: few images then teach more.

pix2pix (Isola et al. 2017, arXiv:1611.07004) enlarges by 286/256 and cuts 256 pixels out at random. An image and its
pair move alike. Which way is a pure function of the seed and of the position in the endless sequence, as the order of
the images is: any number of workers and a resumed run see the same.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ganlib import seeds
from ganlib.config import require


class Jitter:
    """What `images` (a Table, or whatever else the loop takes) draws, mirrored from left to right half of the time if
    `flip`, and enlarged by the share `jitter` and cut back to its size at a random place.

    An image that is told moves as its pair does; on its own, where no pair is known. Classes and texts stay."""

    def __init__(self, images: Any, flip: bool = True, jitter: float = 0.12) -> None:
        require(0 <= jitter <= 1, f"jitter: a share by which to enlarge, 0 … 1, is needed, got {jitter}")
        self.images, self.flip, self.jitter = images, flip, jitter
        self.shape, self.condition = images.shape, images.condition
        self.label_counts = images.label_counts

    @property
    def sha256(self) -> str:
        """Of the images as they are."""
        return self.images.sha256

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, seed: int, start: int, count: int, device: str | torch.device = "cpu"
             ) -> tuple[Tensor, Tensor | None]:
        """Positions start … start + count of the sequence."""
        images, told = self.images.draw(seed, start, count, device)
        images = self._moved(images, uniform(seeds.derive("jitter", seed), start, count, 3))
        if told is not None and self.condition.kind == "image":
            purpose = "jitter" if self.condition.paired else "jitter of what is told"
            told = self._moved(told, uniform(seeds.derive(purpose, seed), start, count, 3))
        return images, told

    def _moved(self, images: Tensor, chance: np.ndarray) -> Tensor:
        """chance: three numbers for each image: is it mirrored, and how far from the left and the top it is cut."""
        mirrored = torch.from_numpy((chance[:, 0] < 0.5) & self.flip).to(images.device)
        if not self.jitter:
            return torch.where(mirrored[:, None, None, None], images.flip(3), images) if self.flip else images
        count, _, height, width = images.shape
        seen = 1 / (1 + self.jitter)  # the part of each side that stays
        left, top = torch.from_numpy((2 * chance[:, 1:] - 1) * (1 - seen)).to(images.device, images.dtype).T[..., None]
        across = left + torch.where(mirrored, -seen, seen)[:, None] * _centres(width, images)
        down = top + seen * _centres(height, images)
        grid = torch.stack([across[:, None, :].expand(count, height, width),
                            down[:, :, None].expand(count, height, width)], 3)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _centres(side: int, like: Tensor) -> Tensor:
    """Of the pixels of a side that reaches from −1 to 1. affine_grid would take twice the time of all the rest."""
    return (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) * (2 / side) - 1


def uniform(seed: int, start: int, count: int, each: int) -> np.ndarray:
    """float64 (count, each) in [0, 1) for the positions start … start + count, each a function of seed and position: a
    counter through the finaliser of SplitMix64 (Steele et al. 2014)."""
    counter = np.arange(start * each, (start + count) * each, dtype=np.uint64)
    mixed = (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(11)) * 2.0**-53).reshape(count, each)

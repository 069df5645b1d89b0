"""A history of generated images: Shrivastava et al. 2017, arXiv:1612.07828, sec. 2.3; as CycleGAN keeps it."""

import torch
from torch import Tensor, nn

from ganlib.objectives.base import Noise


class Pool(nn.Module):
    """Up to `size` generated images. While it fills, the new ones are shown as they are. Once it is full, each new one
    is with a chance of ½ exchanged for an old one, which is shown in its place; else it is shown, and not kept.

    What is shown to a batch are images from before it, also where a batch has several: at a batch of one this is the
    authors' code. Calling it changes nothing; `insert` does.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def bind(self, shape: tuple[int, ...], device: torch.device) -> None:
        """For images of this shape (C, H, W)."""
        self.register_buffer("images", torch.zeros(self.size, *shape, device=device))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64, device=device))

    def forward(self, new: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """New images (N, C, H, W), detached → the images to show, and the places (N,) int64 that these come from and
        the new ones shall go to; −1 where it is the new one that is shown."""
        if not self.size:
            return new, torch.full((len(new),), -1, device=new.device)
        places, swaps = noise.integers(self.size), noise.uniform() < 0.5
        swaps = swaps & (self.filled == self.size)
        shown = torch.where(swaps.view(-1, 1, 1, 1), self.images[places].to(new.dtype), new)
        return shown, torch.where(swaps, places, -1)

    @torch.no_grad()
    def insert(self, new: Tensor, places: Tensor) -> None:
        """What `forward` was given and gave, of all workers in one order."""
        filled = int(self.filled)
        first = new[: self.size - filled]
        self.images[filled : filled + len(first)] = first.to(self.images.dtype)
        self.filled += len(first)
        for place, image in zip(places.tolist(), new, strict=True):
            if place >= 0:
                self.images[place] = image

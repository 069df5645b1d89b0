"""What every augmentation promises, and the random numbers that it may use."""

import abc
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganlib.objectives.base import Noise, Objective, Stats


class Augmentation(nn.Module, abc.ABC):
    """A random map of images. A Module, so that whatever state it has (buffers) enters the checkpoint."""

    def forward(self, images: Tensor, noise: Noise) -> Tensor:
        """Images (N, C, H, W) in [−1, 1], with N a multiple of `noise.count` → images of the same shape and dtype,
        which may leave the range. Pure, and twice differentiable with respect to the images."""
        # bfloat16 has eight bits: not enough to say which pixel is meant.
        with torch.autocast(images.device.type, enabled=False):
            wide = images.to(torch.promote_types(images.dtype, torch.float32))
            return self.augment(wide, noise).to(images.dtype)

    @abc.abstractmethod
    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        """What `forward` does, of images in float32 or float64 and outside of autocast."""

    def check(self, objective: Objective) -> None:
        """Raise ConfigError if the game does not give what the augmentation needs."""

    def stats(self) -> Stats:
        """What to log of the state."""
        return {}

    @torch.no_grad()
    def advance(self, stats: Stats, images_seen: int, images: int | Tensor) -> None:
        """Called after each of the discriminator's steps, with the metrics of that step averaged over the workers:
        the only place where the state changes. `images_seen` counts the real images of that step's batch, too, as does
        `images`, the number of them since the last call."""


def uniform(noise: Noise, images: Tensor, *shape: int) -> Tensor:
    """Uniform on [0, 1), for each of the images: (N, *shape)."""
    return _for_each(images, noise, noise.uniform, *shape).to(images.dtype)


def normal(noise: Noise, images: Tensor, *shape: int) -> Tensor:
    """Standard normal, for each of the images: (N, *shape)."""
    return _for_each(images, noise, noise.normal, *shape).to(images.dtype)


def integers(noise: Noise, images: Tensor, low: int, high: int) -> Tensor:
    """A whole number from low to high, both included, for each of the images: (N,) int64."""
    return low + _for_each(images, noise, noise.integers, high - low + 1)


def _for_each(images: Tensor, noise: Noise, draw: Callable[..., Tensor], *arguments: int) -> Tensor:
    # Reals and fakes may come in one tensor: each part gets the numbers of a whole global batch, cut to the share.
    parts, rest = divmod(len(images), noise.count)
    if rest:
        raise ValueError(f"{len(images)} images are no multiple of the {noise.count} samples for which noise is drawn")
    return torch.cat([draw(*arguments) for _ in range(parts)])

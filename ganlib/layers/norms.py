"""Normalisation layers by name."""

from typing import Literal

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.utils.parametrizations import spectral_norm

Norm = Literal["none", "batch", "sync_batch", "layer", "instance", "spectral"]


class SyncBatchNorm2d(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the global batch of all workers, on any backend (torch's own runs on GPUs alone).

    The moments are averaged by a differentiable all-reduce, so gradients, and gradients of gradients, are those of one
    worker with the whole batch. Every worker must hold a share of one size. On one worker it is plain batch norm.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim != 4:
            raise ValueError(f"images (N, C, H, W) are needed, got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        workers = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        if not self.training or workers == 1:
            return super().forward(input)
        # Shifted by the running mean, E[x²] − E[x]² does not cancel where the mean is far from zero.
        shift = self.running_mean.view(1, -1, 1, 1).clone()
        shifted = input.float() - shift
        moments = torch.stack([shifted.mean((0, 2, 3)), shifted.square().mean((0, 2, 3))])
        mean, square = all_reduce(moments) / workers
        variance = (square - mean.square()).clamp_min(0)
        with torch.no_grad():
            count = input.numel() // input.shape[1] * workers
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean + self.running_mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalized = (shifted - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return normalized.to(input.dtype)


def norm2d(name: Norm, channels: int) -> nn.Module:
    """The layer that follows a convolution of `channels` outputs; "spectral" lies on the convolution itself."""
    match name:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "sync_batch":
            return SyncBatchNorm2d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)
        case "instance":
            return nn.GroupNorm(channels, channels)
        case _:
            return nn.Identity()


def constrained(name: Norm, layer: nn.Module) -> nn.Module:
    """`layer` with its weight divided by its largest singular value if the norm is "spectral" (Miyato et al. 2018,
    arXiv:1802.05957, one power iteration a forward), else as it is."""
    return spectral_norm(layer) if name == "spectral" else layer

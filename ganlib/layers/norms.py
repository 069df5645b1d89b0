"""Normalisation layers by name."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.utils.parametrizations import spectral_norm

from ganlib import collectives
from ganlib.layers.virtual import VirtualBatchNorm2d

Norm = Literal["none", "batch", "sync_batch", "virtual", "layer", "group", "instance", "spectral"]
MIXING = ("batch", "sync_batch")  # those under which an image's result depends on the rest of its batch


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
        workers = collectives.workers()
        if not self.training or workers == 1:
            return super().forward(input)
        # Shifted by the running mean, E[x²] − E[x]² does not cancel where the mean is far from zero.
        shift = self.running_mean.view(1, -1, 1, 1).clone()
        shifted = input.float() - shift
        moments = torch.stack([shifted.mean((0, 2, 3)), shifted.square().mean((0, 2, 3))])
        mean, square = collectives.mean(moments)
        variance = (square - mean.square()).clamp_min(0)
        with torch.no_grad():
            count = input.numel() // input.shape[1] * workers
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean + self.running_mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        normalized = (shifted - mean.view(1, -1, 1, 1)) * (variance + self.eps).rsqrt().view(1, -1, 1, 1)
        if self.affine:
            normalized = normalized * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return normalized.to(input.dtype)


class InstanceNorm2d(nn.GroupNorm):
    """Each channel of each image normalised by itself. In channels_last each image is a batch of its own to batch norm,
    whose kernel takes half the time of group norm's there."""

    def __init__(self, channels: int, affine: bool = True):
        super().__init__(channels, channels, affine=affine)

    def forward(self, input: Tensor) -> Tensor:
        last = input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous()
        if not last or input.shape[2:].numel() == 1:
            return super().forward(input)
        return torch.cat([batch_norm(image, None, None, self.weight, self.bias, training=True, eps=self.eps)
                          for image in input.split(1)])


def norm2d(name: Norm, channels: int, affine: bool = True) -> nn.Module:
    """The layer that follows a convolution of `channels` outputs; "spectral" lies on the convolution itself.
    `affine`: with a learned scale and shift per channel."""
    match name:
        case "batch":
            return nn.BatchNorm2d(channels, affine=affine)
        case "sync_batch":
            return SyncBatchNorm2d(channels, affine=affine)
        case "virtual":
            return VirtualBatchNorm2d(channels, affine=affine)
        case "layer":
            return nn.GroupNorm(1, channels, affine=affine)
        case "group":  # of 8 channels, or of fewer if 8 does not divide them
            return nn.GroupNorm(channels // math.gcd(channels, 8), channels, affine=affine)
        case "instance":
            return InstanceNorm2d(channels, affine)
        case _:
            return nn.Identity()


def constrained(name: Norm, layer: nn.Module) -> nn.Module:
    """`layer` with its weight divided by its largest singular value if the norm is "spectral" (Miyato et al. 2018,
    arXiv:1802.05957, one power iteration a forward), else as it is."""
    return spectral_norm(layer) if name == "spectral" else layer

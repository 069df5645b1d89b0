"""What a discriminator sees of the batch around an image: a generator that has collapsed shows there."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from ganlib.collectives import gather

Minibatch = Literal["none", "std", "discrimination"]


class MinibatchStd(nn.Module):
    """(N, F) → (N, F + 1), the last being the standard deviation within a group, averaged over the features: Karras et
    al. 2018, arXiv:1710.10196, sec. 3. Before a linear layer, one number is worth as much as the paper's plane of them.

    The groups are gcd(N, 4) neighbours, so that workers whose shares are multiples of 4 see those of one worker."""

    added = 1

    def forward(self, features: Tensor) -> Tensor:
        group = math.gcd(len(features), 4)
        groups = features.float().view(-1, group, features.shape[1])
        # Where the samples are equal, the root alone would have an infinite derivative.
        deviation = (groups.var(1, correction=0) + 1e-8).sqrt().mean(1, keepdim=True)
        return torch.cat([features, deviation.repeat_interleave(group, 0).to(features.dtype)], 1)


class MinibatchDiscrimination(nn.Module):
    """(N, F) → (N, F + B): how near an image's features lie to those of the others, through each of B kernels,
    o_b(xᵢ) = Σ_{j≠i} exp(−‖M_ib − M_jb‖₁) with M = f·T in R^{B×C}: Salimans et al. 2016, arXiv:1606.03498, sec. 3.2.
    The others are those of all workers. (The paper's sum has i = j in it too: 1 more, always.)"""

    def __init__(self, features: int, kernels: int, dimensions: int = 5):
        super().__init__()
        self.added = kernels
        # M begins at the scale of the features: at distances far above 1, exp(−d) has no slope left.
        self.weight = nn.Parameter(torch.randn(features, kernels, dimensions) / math.sqrt(features))

    def forward(self, features: Tensor) -> Tensor:
        projected = (features @ self.weight.flatten(1)).float().view(-1, *self.weight.shape[1:])
        distances = (projected[:, None] - gather(projected)[None]).abs().sum(3)
        nearness = (-distances).exp().sum(1) - 1  # without the image itself, which lies at distance 0
        return torch.cat([features, nearness.to(features.dtype)], 1)

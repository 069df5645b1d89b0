"""Sums of latents."""

import torch
from torch import Tensor

from ganlib import seeds


def arithmetic(a: Tensor, b: Tensor, c: Tensor, seed: int, noise: float = 0.25) -> Tensor:
    """Exemplars a, b, c, each (any number, latent) → (9, latent), to be shown as three rows of three.

    In the centre Y = mean of a − mean of b + mean of c; around it Y with uniform noise in ±`noise` (Radford et al.
    2016, figure 7).
    """
    y = a.mean(0) - b.mean(0) + c.mean(0)
    around = noise * (2 * torch.rand(9, len(y), generator=seeds.stream("arithmetic", seed)) - 1)
    around[4] = 0
    return y + around

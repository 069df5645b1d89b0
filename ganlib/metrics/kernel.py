"""The kernel distance (KID): an unbiased squared maximum mean discrepancy (Bińkowski et al. 2018, section 4)."""

import numpy as np
import torch
from torch import Tensor

BLOCK = 1024


def kernel_distance(x: Tensor | np.ndarray, y: Tensor | np.ndarray) -> float:
    """Features x (n, d) and y (m, d), n, m ≥ 2 → MMD² with the kernel (xᵀy / d + 1)³. Expected 0 for equal
    distributions, whatever the number of images; so single values can be below 0. All pairs are used, no subsets."""
    a, b = torch.as_tensor(x), torch.as_tensor(y)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError("kernel_distance: (n, d) and (m, d) with n, m ≥ 2 are needed, "
                         f"got {tuple(a.shape)} and {tuple(b.shape)}")
    return _within(a) + _within(b) - 2 * _total(a, b) / (len(a) * len(b))


def _total(x: Tensor, y: Tensor) -> float:
    return sum(float(((block @ y.T) / x.shape[1]).add_(1).pow_(3).sum(dtype=torch.float64)) for block in x.split(BLOCK))


def _within(x: Tensor) -> float:
    """The mean over pairs of different vectors: an image compared with itself would bias it."""
    themselves = float((x.double().square().sum(1) / x.shape[1] + 1).pow(3).sum())
    return (_total(x, x) - themselves) / (len(x) * (len(x) - 1))

"""The kernel distance (KID): an unbiased squared maximum mean discrepancy (Bińkowski et al. 2018, section 4)."""

import numpy as np
import torch
from torch import Tensor

from ganlib.metrics.arrays import pair

BLOCK = 1024


def kernel_distance(real: Tensor | np.ndarray, fake: Tensor | np.ndarray) -> float:
    """Features real (n, d) and fake (m, d), n, m ≥ 2 → MMD² with the kernel (xᵀy / d + 1)³. Expected 0 for equal
    distributions, whatever the number of images; so single values can be below 0. All pairs are used, no subsets."""
    a, b = pair(real, fake, "kernel_distance", 2)
    return mmd(len(a), len(b), others_sum(a), others_sum(b), kernel_sum(a, b))


def kernel_distance_subsets(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, subsets: int = 100,
                            subset_size: int = 1000, seed: int = 2020) -> tuple[float, float]:
    """The same as it is published: its mean over random subsets, and its standard deviation over them (which is that
    of a distance of `subset_size` images, not the error of the mean). ValueError if a subset is more than there is.

    The subsets are drawn with numpy's RandomState, whose numbers never change: with the same seed they are those of
    torch-fidelity, whose default it is. The mean estimates what `kernel_distance` does, from fewer pairs.
    """
    a, b = pair(real, fake, "kernel_distance_subsets", 2)
    if not 2 <= subset_size <= min(len(a), len(b)) or subsets < 1:
        raise ValueError(f"kernel_distance_subsets: {subsets} subsets of {subset_size} images cannot be drawn from "
                         f"{len(a)} real and {len(b)} generated ones; give a smaller subset_size")
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x, y = (z[torch.from_numpy(random.choice(len(z), subset_size, replace=False))] for z in (a, b))
        values.append(mmd(subset_size, subset_size, others_sum(x), others_sum(y), kernel_sum(x, y)))
    return float(np.mean(values)), float(np.std(values))


def mmd(n: int, m: int, within_real: float, within_fake: float, across: float) -> float:
    """The unbiased estimate (equation 4) from the sums over all pairs of different reals, of different fakes, and of
    one real and one fake. ValueError if they have overflowed."""
    if not np.isfinite([within_real, within_fake, across]).all():
        raise ValueError("kernel_distance: the third power of the kernel overflows in float32 with such features; "
                         "give them as float64")
    return float(within_real / (n * (n - 1)) + within_fake / (m * (m - 1)) - 2 * across / (n * m))


def kernel_sum(x: Tensor, y: Tensor) -> float:
    """Σᵢⱼ k(xᵢ, yⱼ), summed in float64."""
    return sum(float(((block @ y.T) / x.shape[1]).add_(1).pow_(3).sum(dtype=torch.float64)) for block in x.split(BLOCK))


def others_sum(x: Tensor) -> float:
    """Σ k(xᵢ, xⱼ) over i ≠ j: an image compared with itself would bias the mean. Each pair is computed once."""
    total = 0.0
    for start in range(0, len(x), BLOCK):
        block, rest = x[start:start + BLOCK], x[start + BLOCK:]
        themselves = float((block.double().square().sum(1) / x.shape[1] + 1).pow(3).sum())
        total += kernel_sum(block, block) - themselves + 2 * kernel_sum(block, rest)
    return total

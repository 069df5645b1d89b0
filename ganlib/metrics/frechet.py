"""The Fréchet distance of two Gaussians fitted to features (Heusel et al. 2017, equation 6)."""

import numpy as np
import torch
from torch import Tensor

from ganlib.metrics.arrays import matrix
from ganlib.metrics.statistics import Statistics

PANEL = 192  # columns


def frechet_distance(real: Statistics, fake: Statistics | Tensor | np.ndarray) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), in float64. At least 0 up to rounding; 0 for equal statistics.

    `fake` may be the features (n, d) themselves: for n < d that is faster, since their covariance is never formed. The
    root of Σ₁ is kept with `real`, so that a second distance to the same `real` is cheaper than the first.
    With fewer images than the d features have dimensions it is still defined, but biased upward.
    """
    if not isinstance(fake, Statistics):
        fake = matrix(fake, "frechet_distance").double()
        if len(fake) >= fake.shape[1]:
            fake = Statistics.from_features(fake)
    mean = fake.mean if isinstance(fake, Statistics) else fake.mean(0)
    if real.mean.shape != mean.shape:
        raise ValueError(f"frechet_distance: {len(real.mean)} features against {len(mean)}; "
                         "both must come from the same extractor")
    if isinstance(fake, Statistics):
        variance, overlap = fake.covariance.trace(), _overlap(real, fake)
    else:
        factor = (fake - mean) / max(len(fake) - 1, 1) ** 0.5  # Σ₂ = FᵀF
        variance, overlap = factor.square().sum(), _overlap_of_few(real, factor)
    return float((real.mean - mean).square().sum() + real.covariance.trace() + variance - 2 * overlap)


def _overlap(real: Statistics, fake: Statistics) -> Tensor:
    """tr (Σ₁Σ₂)^½. With Σ₁ = R Rᵀ, Σ₁Σ₂ has the eigenvalues of Rᵀ Σ₂ R: symmetric, so they are real, and no square root
    of a matrix is needed."""
    root, covariance = real.root, fake.covariance
    half, product = torch.zeros_like(root), torch.zeros(root.shape[1], root.shape[1], dtype=root.dtype)
    for panel, below in _panels(root):  # of both the lower triangle, which is all that is read
        half[below, panel] = covariance[below, below] @ root[below, panel]
    for panel, below in _panels(root):
        product[panel, :panel.stop] = root[below, panel].T @ half[below, :panel.stop]
    eigenvalues = torch.linalg.eigvalsh(product)[-fake.count + 1:]  # n images have rank n − 1 at most
    if _clear_of_rounding(eigenvalues):
        return eigenvalues.sqrt().sum()
    return torch.linalg.svdvals(root.T @ fake.root).sum()


def _overlap_of_few(real: Statistics, factor: Tensor) -> Tensor:
    """The same from F (n, d) with Σ₂ = FᵀF: by the eigenvalues of (F R)(F R)ᵀ, one of which is 0, F being centred."""
    root = real.root
    half = torch.cat([factor[:, below] @ root[below, panel] for panel, below in _panels(root)], 1)
    eigenvalues = torch.linalg.eigvalsh(half @ half.T)[1:]
    return eigenvalues.sqrt().sum() if _clear_of_rounding(eigenvalues) else torch.linalg.svdvals(half).sum()


def _panels(root: Tensor) -> list[tuple[slice, slice]]:
    """Panels of columns of a lower triangle, each with the rows from its diagonal on: a product of those costs a half,
    and less where the lower triangle of the result is enough. A root that is no triangle is one panel."""
    if root.shape[0] != root.shape[1]:
        return [(slice(None), slice(None))]
    return [(slice(start, start + PANEL), slice(start, None)) for start in range(0, len(root), PANEL)]


def _clear_of_rounding(eigenvalues: Tensor) -> bool:
    """Or their errors, 1e-16 of the largest, would come in by their roots, 1e-8: singular values have no such loss."""
    return len(eigenvalues) > 0 and bool(eigenvalues[0] > 1e-12 * eigenvalues[-1])

"""The Fréchet distance of two Gaussians fitted to features (Heusel et al. 2017, equation 6)."""

import numpy as np
import torch
from torch import Tensor

from ganlib.metrics.statistics import Statistics


def frechet_distance(real: Statistics, fake: Statistics) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), in float64. At least 0 up to rounding; 0 for equal statistics.

    With fewer images than the d features have dimensions it is still defined, but biased upward.
    """
    if real.mean.shape != fake.mean.shape:
        raise ValueError(f"frechet_distance: {len(real.mean)} features against {len(fake.mean)}; "
                         "both must come from the same extractor")
    root = _factor(real.covariance)
    # Σ₁ = R Rᵀ, so Σ₁Σ₂ has the eigenvalues of the symmetric Rᵀ Σ₂ R: real, and found without a matrix square root
    eigenvalues = torch.linalg.eigvalsh(root.T @ fake.covariance @ root)
    trace = real.covariance.trace() + fake.covariance.trace() - 2 * eigenvalues.clamp(min=0).sqrt().sum()
    return float((real.mean - fake.mean).square().sum() + trace)


def _factor(covariance: Tensor) -> Tensor:
    """R with R Rᵀ = covariance: by Cholesky, or from the eigenvectors where that fails (a singular covariance)."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return factor
    # numpy's eigh: torch's does not converge on some covariances with many dead features
    eigenvalues, vectors = np.linalg.eigh(covariance.numpy())
    return torch.from_numpy(vectors * np.sqrt(eigenvalues.clip(min=0)))

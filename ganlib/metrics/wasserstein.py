"""The earth mover's distance W₁: exact for small samples, and by random projections for large ones."""

from math import sqrt

import numpy as np
import torch
from torch import Tensor

from ganlib import seeds
from ganlib.metrics.arrays import pair

BLOCK = 64  # projections at a time
LARGEST = 2000  # images of which all pairs can be matched: a few seconds
LARGEST_PLAN = 40_000  # pairs in a linear programme, where the counts differ: a few seconds


def sliced_wasserstein(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, projections: int = 1000,
                       seed: int = 0) -> float:
    """Samples real (n, d) and fake (m, d) → the mean of W₁ of their projections on random unit directions.

    In one dimension W₁ is the area between the quantile functions (Rabin et al. 2011), exact here for n ≠ m too. At
    most W₁ / √d: see `sliced_wasserstein_lower_bound`.
    """
    x, y = pair(real, fake, "sliced_wasserstein")
    total = 0.0
    for directions in _directions(x, projections, seed):
        total += float(_between_quantiles(x @ directions, y @ directions).sum())
    return total / projections


def sliced_wasserstein_lower_bound(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, projections: int = 1000,
                                   seed: int = 0) -> float:
    """Samples real (n, d), n ≥ 2, and fake (m, d), in random order → √d (W¹_N(P, Q) − W¹_N(P, P)), at most W₁(P, Q) in
    expectation, however few the N = min(n / 2, m) samples; below 0 it says nothing.

    W¹ is the sliced distance. √d W¹(P, Q) ≤ W₁(P, Q): where a plan moves x to y, its projection moves |⟨u, x − y⟩|, on
    average over the directions u that is |x − y| E|u₁|, and E|u₁| ≤ √(E u₁²) = 1/√d. (With 1 / E|u₁|, about √(πd/2), in
    place of √d it would hold too, and be an equality for a shift.) W¹_N(P, Q) ≤ W¹(P, Q) + W¹_N(P, P) by the triangle
    inequality, so the difference takes off what finite samples add. P against P: the two halves of the reals.
    """
    x, y = pair(real, fake, "sliced_wasserstein_lower_bound")
    count = min(len(x) // 2, len(y))
    if count == 0:
        raise ValueError("sliced_wasserstein_lower_bound: at least 2 real samples are needed, for two halves")
    first, second, other = x[:count], x[-count:], y[:count]
    total = 0.0
    for directions in _directions(x, projections, seed):
        a, b, c = first @ directions, second @ directions, other @ directions
        across = (_between_quantiles(a, c) + _between_quantiles(b, c)) / 2
        total += float((across - _between_quantiles(a, b)).sum())
    return sqrt(x.shape[1]) * total / projections


def earth_mover(real: Tensor | np.ndarray, fake: Tensor | np.ndarray) -> float:
    """Samples real (n, d) and fake (m, d) → W₁ of the two empirical distributions, Euclidean, exact.

    Equal counts are matched one to one (scipy's assignment), others by scipy's linear programme. ValueError for more
    than can be matched in seconds: the time grows with the cube of the count.
    """
    x, y = pair(real, fake, "earth_mover")
    equal = len(x) == len(y)
    if max(len(x), len(y)) > LARGEST or (not equal and len(x) * len(y) > LARGEST_PLAN):
        limit = f"{LARGEST} of each" if equal else f"{LARGEST_PLAN} pairs, or equally many of both (up to {LARGEST})"
        raise ValueError(f"earth_mover: {len(x)} against {len(y)} samples would take minutes to match exactly; give "
                         f"at most {limit}, or use sliced_wasserstein")
    if not equal:
        from scipy.stats import wasserstein_distance_nd

        return float(wasserstein_distance_nd(x.double().numpy(), y.double().numpy()))
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    distances = cdist(x.numpy(), y.numpy())
    return float(distances[linear_sum_assignment(distances)].mean())


def _directions(x: Tensor, projections: int, seed: int) -> list[Tensor]:
    """Blocks (d, ≤ BLOCK) of unit vectors, uniform on the sphere."""
    if projections < 1:
        raise ValueError(f"projections: at least 1, got {projections}")
    random = seeds.stream("directions", seed)
    normal = torch.randn(projections, x.shape[1], generator=random, dtype=torch.float64)
    return list((normal / normal.norm(dim=1, keepdim=True)).to(x.dtype).T.split(BLOCK, 1))


def _between_quantiles(x: Tensor, y: Tensor) -> Tensor:
    """Columns x (n, p) and y (m, p) → W₁ of each pair of columns (p,), float64: ∫ |F⁻¹(t) − G⁻¹(t)| dt. Between the
    jumps at i/n and j/m both quantile functions are constant."""
    x, y = x.sort(0).values, y.sort(0).values
    n, m = len(x), len(y)
    jumps = torch.cat([torch.arange(n + 1) * m, torch.arange(m + 1) * n]).unique()  # in units of 1 / nm
    widths = jumps.diff().double() / (n * m)
    return ((x[jumps[:-1] // m] - y[jumps[:-1] // n]).abs().double() * widths[:, None]).sum(0)

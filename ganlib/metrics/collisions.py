"""What repetitions among samples tell: the size of a generator's support, and whether labels are uniform."""

from math import ceil, comb, inf, sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganlib import seeds
from ganlib.metrics.arrays import matrix, tensor, untyped
from ganlib.metrics.neighbours import nearest

BLOCK = 1024


class Collisions(NamedTuple):
    """What `collision_test` found among T samples."""

    samples: int  # T, all that were given or as many as there are reals
    threshold: float  # the distance up to which two samples count as one
    collisions: int  # pairs that near, of T (T − 1) / 2
    probability: float  # of a pair
    support_size: float  # 1 / probability: how many equally likely images collide as often; infinite without collisions
    interval: tuple[float, float]  # of the support size, at the confidence that was asked for
    pairs: Tensor  # (closest, 2) the nearest pairs, nearest first, for a person to look at
    distances: Tensor  # (closest,) float64


def collision_test(samples: Tensor | np.ndarray, threshold: float | None = None,
                   real: Tensor | np.ndarray | None = None, quantile: float = 0.01, closest: int = 20,
                   confidence: float = 0.95, seed: int = 0) -> Collisions:
    """The birthday paradox test (Arora and Zhang 2017): near-duplicates among T samples (T, …), images or features, by
    Euclidean distance.

    Give the `threshold`, or `real` samples: then it is the `quantile` of the distances between a real one and its
    nearest other. That distance depends on their number, so of the larger set a random part is taken, as many as the
    smaller has. Reals themselves would come out with a support of about T / quantile or a little less, as two that are
    so near are mostly each other's nearest, one pair; more than that cannot be told. In pixels a shifted image is
    another one, and grey images are all alike: look at the pairs.

    The interval is a Poisson count's. A distribution that is not uniform has a larger support than the estimate, which
    is 1 / Σp². Works in blocks of float64, around the mean; distances below 1e-7 of the samples' norm are taken for 0.
    """
    x = _rows(samples, "samples")
    if (threshold is None) == (real is None):
        raise ValueError("collision_test: give either `threshold` or `real`, from which it is taken")
    chosen = torch.arange(len(x))
    if real is not None:
        others = _rows(real, "real")
        if others.shape[1] != x.shape[1]:
            raise ValueError(f"collision_test: {others.shape[1]} values of a real sample against {x.shape[1]}")
        random = seeds.stream("collisions", seed)
        size = min(len(x), len(others))
        among_real, chosen = (torch.randperm(len(y), generator=random)[:size].sort().values for y in (others, x))
        others, x = _centred(others[among_real]), x[chosen]
        threshold = float(nearest(others, others, 2)[1][:, 1].quantile(quantile))
    assert threshold is not None
    x = _centred(x)
    pairs, squares, count = torch.empty(0, 2, dtype=torch.long), torch.empty(0, dtype=torch.float64), 0
    norms = x.square().sum(1)
    for start in range(0, len(x), BLOCK):
        block, rest = x[start:start + BLOCK], x[start:]
        sums = norms[start:start + BLOCK, None] + norms[start:]
        squared = torch.addmm(sums, block, rest.T, alpha=-2)
        squared[squared < 1e-14 * sums] = 0  # what rounding leaves of equal samples
        squared.masked_fill_(torch.ones_like(squared, dtype=torch.bool).tril(), inf)  # each pair once
        count += int((squared <= threshold**2).sum())
        found, at = squared.flatten().topk(min(closest, len(block) * len(rest)), largest=False)
        squares, order = torch.cat([squares, found]).sort(stable=True)
        pairs = torch.cat([pairs, torch.stack([at // len(rest), at % len(rest)], 1) + start])[order[:closest]]
        squares = squares[:closest]
    possible = comb(len(x), 2)
    low, high = _poisson_interval(count, confidence)
    return Collisions(len(x), threshold, count, count / possible, possible / count if count else inf,
                      (possible / high, possible / low if low else inf), chosen[pairs[:possible]],
                      squares[:possible].sqrt())


class Uniformity(NamedTuple):
    """What `uniformity_by_collisions` found."""

    ratio: float  # N · P(two samples are equal): 1 for the uniform distribution, up to N
    standard_error: float  # of the ratio, if the distribution is uniform
    squared_distance: float  # Σ (p − 1/N)², unbiased, so it can be below 0
    uniform: bool  # ratio ≤ 1 + 2ε²
    samples_needed: int  # with as many the verdict is right in two of three cases at least, whatever the distribution


def uniformity_by_collisions(labels: Tensor | np.ndarray, count: int, epsilon: float = 0.25) -> Uniformity:
    """Labels (T,) in 0 … N − 1, T ≥ 2, N = `count`: is their distribution p uniform, or `epsilon`-far from it: at a
    statistical distance ½ Σ|p − 1/N| ≥ ε in (0, 1)? By counting equal pairs (Goldreich and Ron 2000).

    P(two samples are equal) = Σp² = 1/N + Σ(p − 1/N)², and by Cauchy and Schwarz Σ(p − 1/N)² ≥ (2ε)² / N if p is far:
    the ratio is 1 if uniform and at least 1 + 4ε² if far, and the verdict cuts between. The relative variance of the
    estimate is at most 4 √N / T + 4 N / T², so Chebyshev asks for O(ε⁻⁴ √N) samples.
    """
    found = untyped(labels)
    if found.ndim != 1 or len(found) < 2 or found.is_floating_point():
        raise ValueError(f"uniformity_by_collisions: integer labels (T,), T ≥ 2, are needed, got {tuple(found.shape)} "
                         f"of {found.dtype}")
    found = found.long()
    if not 0 < epsilon < 1 or count < 2 or found.min() < 0 or found.max() >= count:
        raise ValueError(f"uniformity_by_collisions: labels in 0 … {count - 1} and epsilon between 0 and 1 are needed, "
                         f"got {int(found.min())} … {int(found.max())} and {epsilon}")
    occurrences = torch.bincount(found, minlength=count).double()
    possible = comb(len(found), 2)
    probability = float((occurrences * (occurrences - 1) / 2).sum()) / possible
    gap = 2 * epsilon**2 / (1 + 4 * epsilon**2)  # between cut and far, relative to far
    return Uniformity(probability * count, sqrt((count - 1) / possible), probability - 1 / count,
                      probability * count <= 1 + 2 * epsilon**2, ceil(13 * sqrt(count) / gap**2))


def _rows(values: Tensor | np.ndarray, name: str) -> Tensor:
    found = tensor(values)
    return matrix(found.flatten(1) if found.ndim > 2 else found, f"collision_test: {name}", least=2)


def _centred(x: Tensor) -> Tensor:
    """In float64, around the mean: distances stay, and less is lost to cancellation."""
    x = x.double()
    return x - x.mean(0)


def _poisson_interval(count: int, confidence: float) -> tuple[float, float]:
    """Of the mean of a Poisson variable that came out as `count` (Garwood 1936)."""
    from scipy.special import gammaincinv

    tail = (1 - confidence) / 2
    return float(gammaincinv(count, tail)) if count else 0.0, float(gammaincinv(count + 1, 1 - tail))

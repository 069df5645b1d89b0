"""How far a distance would move with other generated images: the jackknife, and the limit of infinitely many.

The real images stay as they are, part of the protocol: other real images would make another number. Where each
generated image has its own real one, the two are left out together.
"""

from collections.abc import Callable, Sequence
from math import nan, sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganlib import seeds
from ganlib.metrics.arrays import matrix, pair, tensor
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.kernel import kernel_sum, mmd, others_sum
from ganlib.metrics.statistics import Statistics


class Interval(NamedTuple):
    """A number, the standard error that the choice of the generated images gives it, and an interval."""

    value: float
    standard_error: float
    low: float
    high: float
    left_out: tuple[float, ...]  # the number without each of the groups: what two numbers are compared by


def frechet_interval(real: Statistics, fake: Tensor | np.ndarray, groups: int = 20, confidence: float = 0.95,
                     seed: int = 0) -> Interval:
    """The Fréchet distance of generated features (m, d), with the jackknife's interval over random groups of them.

    It covers what m images give on average, with the upward bias of m images: a number to be compared under the same
    protocol. For the distance without that bias see `extrapolate`.
    """
    features = matrix(fake, "frechet_interval", least=2 * groups)
    parts = _groups(features, groups, seed)
    whole = Statistics.from_features(features)
    if len(features) > features.shape[1]:
        left = [frechet_distance(real, _without(whole, Statistics.from_features(part))) for part in parts]
    else:  # by features it is faster
        left = [frechet_distance(real, torch.cat(parts[:g] + parts[g + 1:])) for g in range(groups)]
    return _jackknife(frechet_distance(real, whole), left, confidence)


def kernel_interval(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, groups: int = 20, confidence: float = 0.95,
                    seed: int = 0) -> Interval:
    """`kernel_distance` of features real (n, d) and fake (m, d), with the jackknife's interval over random groups of
    the generated ones. Each pair's kernel is computed once."""
    x, y = pair(real, matrix(fake, "kernel_interval", least=2 * groups), "kernel_interval", least=2)
    parts = _groups(y, groups, seed)
    within_real = others_sum(x)
    across = np.array([kernel_sum(x, part) for part in parts])
    within = np.zeros((groups, groups))
    for g in range(groups):
        within[g, g] = others_sum(parts[g])
        for h in range(g):
            within[g, h] = within[h, g] = kernel_sum(parts[g], parts[h])
    value = mmd(len(x), len(y), within_real, within.sum(), across.sum())
    left = [mmd(len(x), len(y) - len(parts[g]), within_real, np.delete(np.delete(within, g, 0), g, 1).sum(),
                np.delete(across, g).sum()) for g in range(groups)]
    return _jackknife(value, left, confidence)


def mean_interval(values: Tensor | np.ndarray, groups: int = 20, confidence: float = 0.95, seed: int = 0,
                  of: Callable[[Tensor], float] = Tensor.item) -> Interval:
    """The mean over N images of a number (N,), or a function `of` the mean of vectors (N, k), which it is told as
    float64 (k,); with the jackknife's interval over random groups of the images. With as many groups as images the
    error of a mean is its s / √N."""
    each = tensor(values).double()
    each = matrix(each[:, None] if each.ndim == 1 else each, "mean_interval", least=groups)
    total = each.sum(0)
    left = [of((total - part.sum(0)) / (len(each) - len(part))) for part in _groups(each, groups, seed)]
    return _jackknife(of(total / len(each)), left, confidence)


class Extrapolation(NamedTuple):
    """The line distance(N) = value + slope / N; `standard_error` of the value, as the scatter about the line gives it.
    Subsets of the same images share their errors, so the jackknife's error of the distance comes on top."""

    value: float
    slope: float
    standard_error: float


def extrapolate(real: Statistics, fake: Tensor | np.ndarray, counts: Sequence[int] | None = None,
                seed: int = 0) -> Extrapolation:
    """The Fréchet distance of infinitely many generated images (Chong and Forsyth 2020: FID∞, if of canonical Inception
    features): distances of random subsets of the features (m, d) against 1/N, continued to 0 by a straight line.

    `counts`: at least 3 values of N up to m; without them 15 from m / 2 to m, evenly spaced in 1/N. Where the smallest
    N is not large against the d dimensions the line bends, and the value comes out too low, by more than its error
    tells: of Gaussians with d = 200, whose deviations span a decade, and a distance of 0.433, counts from m / 4 give on
    average 0.07 with m = 4 d, 0.25 with 5 d, 0.40 with 10 d and 0.42 with 20 d; within 2 errors of the truth are none,
    one, 12 and 15 of 20. Nothing is refused: look whether other counts move the value. The bias of few real images
    stays.
    """
    from scipy.stats import linregress

    features = matrix(fake, "extrapolate", least=12)
    if counts is None:
        counts = [round(len(features) / inverse) for inverse in np.linspace(2, 1, 15)]
    if len(set(counts)) < 3 or not 2 <= min(counts) <= max(counts) <= len(features):
        raise ValueError(f"extrapolate: at least 3 different counts between 2 and {len(features)} are needed, got "
                         f"{sorted(set(counts))}")
    random = seeds.stream("subsets", seed)
    distances = [frechet_distance(real, features[torch.randperm(len(features), generator=random)[:count]])
                 for count in counts]
    line = linregress(1 / np.array(counts), distances)
    return Extrapolation(float(line.intercept), float(line.slope), float(line.intercept_stderr))


def _groups(features: Tensor, groups: int, seed: int) -> list[Tensor]:
    """In random order: images may come sorted, or with labels in turn."""
    if groups < 2:
        raise ValueError(f"groups: at least 2 are needed for an error, got {groups}; 20 is usual")
    order = torch.randperm(len(features), generator=seeds.stream("groups", seed))
    return list(features[order].tensor_split(groups))


def _without(whole: Statistics, part: Statistics) -> Statistics:
    """`Statistics.merge` backwards: the statistics of the others."""
    count = whole.count - part.count
    mean = whole.mean - (part.mean - whole.mean) * (part.count / count)
    delta = part.mean - mean
    scatter = ((whole.count - 1) * whole.covariance - (part.count - 1) * part.covariance
               - torch.outer(delta, delta) * (count * part.count / whole.count))
    return Statistics(count, mean, scatter / (count - 1))


def jackknife_error(left_out: Sequence[float]) -> float:
    """From the values without each of G groups: SE² = (G − 1)/G Σ (θ₋g − θ̄)². NaN without groups."""
    return sqrt((len(left_out) - 1) * np.var(left_out)) if len(left_out) > 1 else nan


def _jackknife(value: float, left_out: Sequence[float], confidence: float) -> Interval:
    """With an interval by Student's t of G − 1 degrees."""
    from scipy.special import stdtrit

    error = jackknife_error(left_out)
    reach = stdtrit(len(left_out) - 1, (1 + confidence) / 2) * error
    return Interval(value, error, float(value - reach), float(value + reach), tuple(left_out))

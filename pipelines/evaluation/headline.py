"""The one number of a task: it is reported, generators are chosen by it, and champions are compared by it."""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ganlib.datasets.table import Table
from ganlib.metrics import Statistics, frechet_distance, frechet_interval, kernel_distance, kernel_interval
from ganlib.metrics.features import Extractor
from ganlib.metrics.pairs import pair_distance
from ganlib.metrics.protocol import Evaluation
from ganlib.metrics.uncertainty import Interval, mean_interval

GROUPS = 10  # of the jackknife


class Seen(NamedTuple):
    """Images uint8 (N, C, H, W), and their features (N, d)."""

    images: np.ndarray | Tensor
    features: Tensor


class Headline:
    """Of images of noise, the Fréchet distance of their features. Of images that are drawn from others, the distance to
    the right answer, pair by pair, where the splits that report and choose know it; else the kernel distance, which few
    images do not bias."""

    def __init__(self, network: Extractor, test: Table, chosen_by: Table) -> None:
        translation = test.condition.kind == "image"
        known = translation and test.paired and chosen_by.paired
        self.network, self.pairs = network, pair_distance(network) if known else None
        self.name = self.pairs.name if self.pairs else "kernel_distance" if translation else network.distance

    def entry(self, real: Seen, made: Seen, evaluation: Evaluation) -> dict[str, Any]:
        """The number with its noise."""
        groups, seed = groups_of(len(made.features)), evaluation.seed
        if self.pairs:
            return with_error(mean_interval(self.pairs.measure(real.images, made.images), groups, seed=seed))
        if self.name == "kernel_distance":
            return with_error(kernel_interval(real.features, made.features, groups, seed=seed))
        return with_error(frechet_interval(Statistics.from_features(real.features), made.features, groups, seed=seed))

    def value(self, real: Seen, made: Seen) -> float:
        """The number alone."""
        if self.pairs:
            return float(self.pairs.measure(real.images, made.images).double().mean())
        if self.name == "kernel_distance":
            return kernel_distance(real.features, made.features)
        return frechet_distance(Statistics.from_features(real.features), made.features)


def groups_of(images: int) -> int:
    """The groups of the jackknife for so many generated images."""
    return min(GROUPS, images // 2)


def with_error(estimate: Interval) -> dict[str, Any]:
    """An estimate as metrics.json has it."""
    return {"value": float(estimate.value), "standard_error": float(estimate.standard_error),
            "interval": [float(estimate.low), float(estimate.high)], "left_out": list(estimate.left_out)}

"""The distance while training goes on: few images at low resolution, so that a call costs seconds."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from ganlib.metrics.features import Extractor, extract
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.statistics import Statistics, load, save


class Monitor:
    """Called with a function `count → uint8 images (count, C, H, W)`: gives {"fd_efficientnet_lite0_1000": distance}.

    The statistics of `real_images` uint8 (N, C, H, W) are computed once, and kept in the file `cache` where one is
    given: a later monitor takes them from there if extractor and images are the same. The number is for following one
    run: few images bias it upward, and it can be compared only with numbers of the same monitor.
    """

    def __init__(self, extractor: Extractor, real_images: np.ndarray | Tensor, generated: int = 1000,
                 cache: Path | None = None) -> None:
        self.extractor = extractor
        self.generated = generated
        self.name = f"{extractor.distance}_{generated}"
        self.real = self._statistics(np.asarray(real_images), cache)

    def _statistics(self, images: np.ndarray, cache: Path | None) -> Statistics:
        protocol = {"weights_sha256": self.extractor.weights_sha256, "resize": self.extractor.resize,
                    "images_sha256": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()}
        if cache and cache.exists():
            statistics, found = load(cache)
            if found == protocol:
                return statistics
        statistics = Statistics.from_features(extract(self.extractor, images)[0])
        if cache:
            save(cache, statistics, protocol)
        return statistics

    def __call__(self, sample: Callable[[int], Tensor]) -> dict[str, float]:
        features, _ = extract(self.extractor, sample(self.generated))
        return {self.name: frechet_distance(self.real, Statistics.from_features(features))}

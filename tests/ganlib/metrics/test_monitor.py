"""The monitor: its number is the distance, and its cache serves only what it was made for."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib.metrics.features import Extractor, extract, extractor
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.monitor import Monitor
from ganlib.metrics.statistics import Statistics

REAL = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), np.uint8)
FAKE = torch.from_numpy(np.random.default_rng(1).integers(0, 100, (20, 1, 8, 8), np.uint8))


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return extractor("efficientnet_lite0", resize=32)


def test_it_is_the_distance(lite0: Extractor) -> None:
    # On the covariance of these 30 images, with most features dead, torch.linalg.eigh does not converge.
    found = Monitor(lite0, REAL, generated=20)(lambda count: FAKE[:count])
    real, fake = (Statistics.from_features(extract(lite0, images)[0]) for images in (REAL, FAKE))
    assert found == {"fd_efficientnet_lite0_20": pytest.approx(frechet_distance(real, fake), rel=1e-6)}


def test_the_cache_is_used_and_not_for_other_images(lite0: Extractor, tmp_path: Path) -> None:
    cache = tmp_path / "monitor.safetensors"
    first = Monitor(lite0, REAL, cache=cache)
    written = cache.stat().st_mtime_ns
    again = Monitor(lite0, REAL, cache=cache)
    assert cache.stat().st_mtime_ns == written and torch.equal(first.real.mean, again.real.mean)
    other = Monitor(lite0, REAL[::-1], cache=cache)
    assert cache.stat().st_mtime_ns != written and not torch.equal(other.real.mean, first.real.mean)
    smaller = Monitor(extractor("efficientnet_lite0", resize=40), REAL[::-1], cache=cache)
    assert not torch.allclose(smaller.real.mean, other.real.mean)

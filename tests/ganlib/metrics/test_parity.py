"""Fréchet and kernel distance, inception score, precision and recall against the numbers of torch-fidelity 0.4.0.

The numbers below were made with it once: with its functions `kid_features_to_metric`, `isc_features_to_metric` and
`prc_features_to_metric`, float64, on the features and logits of the fixture, which numpy makes anew from the seed. Its
defaults hold where nothing else is said: seed 2020, logits shuffled, 3 neighbours. Generated features come first there.
"""

import numpy as np
import pytest

from ganlib.metrics import (
    Statistics,
    frechet_distance,
    inception_score,
    kernel_distance,
    kernel_distance_subsets,
    precision_recall,
)

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2020)
    real, fake, logits = rng.normal(size=(300, 16)), rng.normal(0.3, 0.9, (250, 16)), rng.normal(0, 3, (250, 16))
    # or numpy draws other numbers than it did, and nothing below says anything
    assert (real.sum(), fake.sum()) == pytest.approx((55.162631258165305, 1097.66272146645), rel=1e-12)
    return real, fake, logits


def test_kernel_distance_of_all(arrays: tuple[np.ndarray, ...]) -> None:
    real, fake, _ = arrays  # one subset of all 250, first against first
    assert kernel_distance(real[:250], fake) == pytest.approx(0.24074674362576065, abs=TOLERANCE)


def test_frechet_distance(arrays: tuple[np.ndarray, ...]) -> None:
    # from its `fid_statistics_to_metric`: eigenvalues of the product of the covariances
    real, fake = (Statistics.from_features(features) for features in arrays[:2])
    assert frechet_distance(real, fake) == pytest.approx(1.9176435423356963, rel=1e-8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kernel_distance_of_subsets(arrays: tuple[np.ndarray, ...], dtype: type) -> None:
    # It draws the subset of its first argument first: here the real features were its first.
    found = kernel_distance_subsets(arrays[0].astype(dtype), arrays[1].astype(dtype), subsets=20, subset_size=100)
    assert found == pytest.approx((0.23752608641052825, 0.06025168851862149), abs=TOLERANCE)


@pytest.mark.parametrize(("splits", "expected"), [
    (10, (4.351400325115943, 0.36302296251275423)),
    (7, (4.494424806936278, 0.34704186713571417)),  # parts of unequal size
])
def test_inception_score_in_order(arrays: tuple[np.ndarray, ...], splits: int, expected: tuple[float, float]) -> None:
    assert inception_score(arrays[2], splits) == pytest.approx(expected, abs=TOLERANCE)


def test_inception_score_shuffled(arrays: tuple[np.ndarray, ...]) -> None:
    shuffled = arrays[2][np.random.RandomState(2020).permutation(250)]
    assert inception_score(shuffled) == pytest.approx((4.407484827958939, 0.46432867824107327), abs=TOLERANCE)


@pytest.mark.parametrize(("k", "expected"), [(3, (0.88, 0.58666667)), (5, (0.924, 0.71333333))])
def test_precision_and_recall(arrays: tuple[np.ndarray, ...], k: int, expected: tuple[float, float]) -> None:
    assert precision_recall(arrays[0], arrays[1], k) == pytest.approx(expected, abs=TOLERANCE)

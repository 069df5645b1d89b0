"""The Fréchet distance against closed forms, against scipy's matrix square root, and where covariances are singular."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.statistics import Statistics


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Statistics:
    return Statistics(10_000, torch.from_numpy(mean), torch.from_numpy(covariance))


def spread(d: int, seed: int) -> np.ndarray:
    """A covariance whose eigenvalues span four decades, as those of image features do."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (basis * np.logspace(0, -4, d)) @ basis.T


def test_equal_covariances_leave_the_squared_difference_of_the_means() -> None:
    covariance, mean = spread(50, 0), np.random.default_rng(1).normal(size=50)
    distance = frechet_distance(gaussian(mean, covariance), gaussian(np.zeros(50), covariance))
    assert distance == pytest.approx((mean**2).sum(), rel=1e-10)


def test_diagonal_covariances_give_the_squared_difference_of_the_deviations() -> None:
    a, b = np.random.default_rng(0).uniform(0.1, 3, (2, 40))
    distance = frechet_distance(gaussian(np.zeros(40), np.diag(a**2)), gaussian(np.zeros(40), np.diag(b**2)))
    assert distance == pytest.approx(((a - b) ** 2).sum(), rel=1e-10)


@pytest.mark.parametrize("d", [2, 64, 200])
def test_parity_with_the_matrix_square_root(d: int) -> None:
    a, b, mean = spread(d, 0), 2 * spread(d, 1), np.random.default_rng(2).normal(size=d)
    expected = (mean**2).sum() + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b)).real
    assert frechet_distance(gaussian(mean, a), gaussian(0 * mean, b)) == pytest.approx(expected, rel=1e-8)


def test_it_is_symmetric() -> None:
    a, b = gaussian(np.ones(64), spread(64, 3)), gaussian(np.zeros(64), 3 * spread(64, 4))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)


@pytest.mark.parametrize(("count_real", "count_fake"), [(40, 30), (40, 2000), (2000, 40)])
def test_fewer_images_than_dimensions_are_finite_and_right(count_real: int, count_fake: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(count_real, 100)), rng.normal(0.5, 2, size=(count_fake, 100))
    # tr (Σ₁Σ₂)^½ is the nuclear norm of X̃ Ỹᵀ for centred data matrices: exact, however low the ranks
    a, b = ((v - v.mean(0)) / np.sqrt(len(v) - 1) for v in (x, y))
    expected = (((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum()
                - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum())
    real, fake = Statistics.from_features(x), Statistics.from_features(y)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-5)


def test_a_dead_feature_does_no_harm() -> None:
    covariance = spread(20, 0)
    covariance[7], covariance[:, 7] = 0, 0  # exactly singular: Cholesky fails
    assert torch.linalg.cholesky_ex(torch.from_numpy(covariance)).info != 0
    same = gaussian(np.zeros(20), covariance)
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(same, gaussian(np.zeros(20), 4 * covariance)) == pytest.approx(np.trace(covariance))


def test_few_images_with_mostly_dead_features_are_right() -> None:
    x = np.zeros((30, 1280))
    x[:, :119] = np.random.default_rng(0).normal(size=(30, 119)).clip(0)
    real = Statistics.from_features(x)
    assert frechet_distance(real, Statistics.from_features(2 * x)) == pytest.approx(
        float(real.mean.square().sum() + real.covariance.trace()), rel=1e-6)


def test_features_of_different_extractors_are_refused() -> None:
    with pytest.raises(ValueError, match="same extractor"):
        frechet_distance(gaussian(np.zeros(3), np.eye(3)), gaussian(np.zeros(4), np.eye(4)))

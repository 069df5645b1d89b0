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


def closed_form(x: np.ndarray, y: np.ndarray) -> float:
    """tr (Σ₁Σ₂)^½ is the nuclear norm of X̃ Ỹᵀ for centred data matrices: exact, however low the ranks."""
    a, b = ((v - v.mean(0)) / np.sqrt(max(len(v) - 1, 1)) for v in (x, y))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum()
                 - 2 * np.linalg.svd(a @ b.T, compute_uv=False).sum())


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
    real, fake = Statistics.from_features(x), Statistics.from_features(y)
    assert frechet_distance(real, fake) == pytest.approx(closed_form(x, y), rel=1e-12)
    assert frechet_distance(real, y) == pytest.approx(closed_form(x, y), rel=1e-12)


def test_statistics_of_few_images_need_no_root() -> None:
    """Which is what a decomposition of Σ₂, and then one of the product, would cost: n images have rank n − 1."""
    rng = np.random.default_rng(0)
    real, fake = (Statistics.from_features(rng.normal(size=(count, 100))) for count in (2000, 40))
    frechet_distance(real, fake)
    assert "root" in vars(real) and "root" not in vars(fake)


def test_a_feature_that_is_the_sum_of_others_does_no_harm() -> None:
    passed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, 300, 40))
        x[:, 39] = x[:, :39].sum(1)
        real, fake = Statistics.from_features(x), Statistics.from_features(y)
        passed += int(torch.linalg.cholesky_ex(real.covariance).info == 0)  # by rounding: its last pivot is noise
        assert real.root.shape == (40, 39)
        assert frechet_distance(real, fake) == pytest.approx(closed_form(x, y), rel=1e-11)
    assert passed  # the case that is told from a sound triangle


def test_the_usual_formula_fails_where_images_are_few() -> None:
    """The bug that is kept: tr (Σ₁Σ₂)^½ by scipy's sqrtm of the product, which has eigenvalues of rounding errors."""
    x = np.random.default_rng(0).normal(0, 1000, (50, 200))
    y = x + 1  # so the distance is |shift|² = 200
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(a @ b)
    assert np.abs(np.diagonal(root).imag).max() > 1e-3  # where the usual code gives up
    usual = 200 + np.trace(a) + np.trace(b) - 2 * np.trace(root).real
    assert abs(usual - 200) > 5
    real = Statistics.from_features(x)
    assert frechet_distance(real, Statistics.from_features(y)) == pytest.approx(200, rel=1e-7)
    assert frechet_distance(real, y) == pytest.approx(200, rel=1e-7)


@pytest.mark.parametrize("real_count", [30, 500])
@pytest.mark.parametrize("fake_count", [1, 2, 40, 64, 300])
def test_features_give_what_their_statistics_give(real_count: int, fake_count: int) -> None:
    rng = np.random.default_rng(0)
    real = Statistics.from_features(rng.normal(size=(real_count, 64)))
    fake = rng.normal(0.1, 2, size=(fake_count, 64)).astype(np.float32)
    distance = frechet_distance(real, Statistics.from_features(fake))
    assert frechet_distance(real, fake) == pytest.approx(distance, rel=1e-12)
    assert frechet_distance(real, torch.from_numpy(fake)) == pytest.approx(distance, rel=1e-12)


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
        float(real.mean.square().sum() + real.covariance.trace()), rel=1e-9)


def test_many_images_with_dead_and_dependent_features_are_right() -> None:
    rng = np.random.default_rng(0)
    x, y = np.zeros((500, 64)), np.zeros((400, 64))
    x[:, :40], y[:, 10:50] = rng.normal(size=(500, 40)).clip(0), rng.normal(0.3, 1, size=(400, 40)).clip(0)
    for mix in (np.eye(64), rng.normal(size=(64, 64))):
        real, fake = (Statistics.from_features(v @ mix) for v in (x, y))
        assert frechet_distance(real, fake) == pytest.approx(closed_form(x @ mix, y @ mix), rel=1e-9)


def test_features_of_different_extractors_are_refused() -> None:
    with pytest.raises(ValueError, match="same extractor"):
        frechet_distance(gaussian(np.zeros(3), np.eye(3)), gaussian(np.zeros(4), np.eye(4)))

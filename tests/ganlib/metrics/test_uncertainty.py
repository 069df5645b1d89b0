"""Intervals that cover as often as they say, and an extrapolation that comes closer to the truth."""

from functools import reduce

import numpy as np
import pytest
import torch

from ganlib import seeds
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.kernel import kernel_distance
from ganlib.metrics.statistics import Statistics
from ganlib.metrics.uncertainty import _without, extrapolate, frechet_interval, kernel_interval, mean_interval

D = 6
REAL = np.random.default_rng(0).normal(size=(300, D))


def drawn(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(100 + seed).normal(0.3, 1.2, size=(count, D))


def test_the_frechet_interval_covers_what_as_many_images_give_on_average() -> None:
    real = Statistics.from_features(REAL)
    truth = np.mean([frechet_distance(real, drawn(200, seed)) for seed in range(1000, 3000)])
    found = [frechet_interval(real, drawn(200, seed), seed=seed) for seed in range(200)]
    coverage = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert 0.90 < coverage < 0.99  # 0.95, and 0.015 of chance
    errors = np.sqrt(np.mean([interval.standard_error**2 for interval in found]))
    assert errors == pytest.approx(np.std([interval.value for interval in found]), rel=0.15)


def test_the_kernel_interval_covers_the_distance() -> None:
    truth = np.mean([kernel_distance(REAL, drawn(200, seed)) for seed in range(1000, 2000)])
    found = [kernel_interval(REAL, drawn(200, seed), seed=seed) for seed in range(200)]
    assert 0.90 < np.mean([interval.low <= truth <= interval.high for interval in found]) < 0.99


def test_more_confidence_is_a_wider_interval_around_the_distance() -> None:
    fake, real = drawn(101, 0), Statistics.from_features(REAL)
    half, most = (frechet_interval(real, fake, 10, confidence) for confidence in (0.5, 0.99))
    assert half.value == most.value == pytest.approx(frechet_distance(real, fake))
    assert (half.high - half.low) / most.standard_error == pytest.approx(2 * 0.702722, rel=1e-5)  # t of 9 degrees
    assert (most.high - most.low) / most.standard_error == pytest.approx(2 * 3.249836, rel=1e-5)
    assert kernel_interval(REAL, fake, 10).value == pytest.approx(kernel_distance(REAL, fake))


def test_the_jackknife_leaves_each_group_out_in_turn() -> None:
    """Against the definition, with fewer images than dimensions and with more."""
    for count, d in [(30, 50), (61, 5)]:
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(100, d)), torch.from_numpy(rng.normal(0.5, 1, size=(count, d)))
        real = Statistics.from_features(x)
        groups = y[torch.randperm(count, generator=seeds.stream("groups", 3))].tensor_split(4)
        rest = [torch.cat([*groups[:g], *groups[g + 1:]]) for g in range(4)]
        for distance, interval in [
            (lambda part, real=real: frechet_distance(real, part), frechet_interval(real, y, 4, seed=3)),
            (lambda part, x=x: kernel_distance(x, part), kernel_interval(x, y, 4, seed=3)),
        ]:
            left = np.array([distance(part) for part in rest])
            expected = np.sqrt(3 / 4 * ((left - left.mean()) ** 2).sum())
            assert interval.standard_error == pytest.approx(expected, rel=1e-7)
            np.testing.assert_allclose(interval.left_out, left, rtol=1e-9)


def test_taking_out_is_merging_backwards() -> None:
    parts = [Statistics.from_features(drawn(count, count) + 100) for count in (50, 3, 20)]
    found, expected = _without(reduce(Statistics.merge, parts), parts[1]), parts[0].merge(parts[2])
    assert found.count == expected.count
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.covariance, expected.covariance, rtol=1e-9, atol=1e-12)


def test_the_extrapolation_is_closer_to_the_distance_of_the_gaussians() -> None:
    d, scale = 50, torch.logspace(0, -1, 50, dtype=torch.float64)
    real = Statistics(10**6, torch.zeros(d, dtype=torch.float64), scale.square().diag())
    truth = float((0.1 * scale).square().sum())  # standard deviations 1.1 times as large
    plain, limits = [], []
    for seed in range(20):
        fake = np.random.default_rng(seed).normal(size=(800, d)) * 1.1 * scale.numpy()
        plain.append(frechet_distance(real, fake))
        limits.append(extrapolate(real, fake, seed=seed).value)
    error = np.std(limits) / 20**0.5
    assert abs(np.mean(limits) - truth) < 4 * error < abs(np.mean(plain) - truth) / 3
    assert np.std(limits) < 0.2 * truth


def test_the_line_bends_where_images_are_not_many_against_the_dimensions() -> None:
    """Which the docstring warns of: too low with a smallest count of d, and less so with more."""
    d, scale = 40, torch.logspace(0, -1, 40, dtype=torch.float64)
    real = Statistics(10**6, torch.zeros(d, dtype=torch.float64), scale.square().diag())
    truth = float((0.1 * scale).square().sum())
    means = []
    for factor in (4, 20):
        count, limits = factor * d, []
        for seed in range(30):
            fake = np.random.default_rng(seed).normal(size=(count, d)) * 1.1 * scale.numpy()
            counts = [round(count / inverse) for inverse in np.linspace(4, 1, 15)]
            limits.append(extrapolate(real, fake, counts, seed).value)
        means.append(np.mean(limits))
    assert means[0] < truth / 2 < 0.8 * truth < means[1] < 1.1 * truth


@pytest.mark.parametrize("counts", [[10, 20], [10, 10, 20], [10, 20, 101], [1, 20, 30]])
def test_counts_that_make_no_line_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="at least 3 different counts between 2 and 100"):
        extrapolate(Statistics.from_features(REAL), drawn(100, 0), counts)


def test_groups_of_fewer_than_two_images_are_refused() -> None:
    with pytest.raises(ValueError, match="N ≥ 40"):
        frechet_interval(Statistics.from_features(REAL), drawn(39, 0))
    with pytest.raises(ValueError, match="groups: at least 2"):
        kernel_interval(REAL, drawn(39, 0), groups=1)


def test_the_error_of_a_mean_is_that_of_the_textbook() -> None:
    values = np.random.default_rng(0).gamma(2, size=60)
    alone = mean_interval(values, groups=60)
    assert alone.value == pytest.approx(values.mean(), rel=1e-12)
    assert alone.standard_error == pytest.approx(values.std(ddof=1) / 60**0.5, rel=1e-9)
    assert sorted(alone.left_out) == pytest.approx(sorted((values.sum() - values) / 59), rel=1e-12)
    squared = [mean_interval(values, 10, seed=seed).standard_error ** 2 for seed in range(200)]
    assert np.mean(squared) == pytest.approx(alone.standard_error**2, rel=0.1)  # groups estimate the same


def test_the_interval_of_a_function_of_a_mean_leaves_each_group_out_in_turn() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(23, 4)))
    found = mean_interval(values, 5, seed=3, of=lambda mean: float(mean.norm()))
    groups = values[torch.randperm(23, generator=seeds.stream("groups", 3))].tensor_split(5)
    left = [float(torch.cat([*groups[:g], *groups[g + 1:]]).mean(0).norm()) for g in range(5)]
    assert found.value == pytest.approx(float(values.mean(0).norm()), rel=1e-12)
    assert found.left_out == pytest.approx(left, rel=1e-12)


def test_a_mean_of_what_is_not_finite_or_of_fewer_images_than_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        mean_interval(torch.tensor([1.0, torch.inf, 3.0]), groups=2)
    with pytest.raises(ValueError, match="N ≥ 20"):
        mean_interval(torch.ones(19))

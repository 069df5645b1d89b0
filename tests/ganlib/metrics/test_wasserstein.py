"""The earth mover's distance: closed forms, scipy's own, and the inequalities between it and its projections."""

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance, wasserstein_distance_nd

from ganlib.metrics.wasserstein import earth_mover, sliced_wasserstein, sliced_wasserstein_lower_bound


def mean_projection(d: int) -> float:
    """E|u₁| of a random unit vector: Γ(d/2) / (√π Γ((d + 1)/2))."""
    return float((torch.lgamma(torch.tensor(d / 2.0)) - torch.lgamma(torch.tensor((d + 1) / 2.0))).exp()) / np.pi**0.5


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 30), (7, 90), (1, 4)])
def test_in_one_dimension_all_are_the_closed_form(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n), rng.normal(0.5, 2, size=m)
    expected = wasserstein_distance(x, y)
    assert earth_mover(x[:, None], y[:, None]) == pytest.approx(expected, rel=1e-9)
    assert sliced_wasserstein(x[:, None], y[:, None], projections=3) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("m", [20, 15])
def test_in_several_dimensions_it_is_the_linear_programme(m: int) -> None:
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.random.default_rng(1).normal(1, 1, size=(m, 3))
    assert earth_mover(x, y) == pytest.approx(wasserstein_distance_nd(x, y), rel=1e-7)
    # each sample several times is the same distribution, and goes the other way: by assignment
    assert earth_mover(x, y) == pytest.approx(earth_mover(x.repeat(3, 0), y.repeat(60 // m, 0)), rel=1e-7)


def test_a_shift_costs_its_length() -> None:
    x, shift = np.random.default_rng(0).normal(size=(100, 5)), np.array([3.0, 0, 4, 0, 0])
    assert earth_mover(x, x + shift) == pytest.approx(5)
    # every projection is shifted by ⟨u, shift⟩
    assert sliced_wasserstein(x, x + shift, 20_000) == pytest.approx(5 * mean_projection(5), rel=0.01)


@pytest.mark.parametrize("d", [1, 2, 3, 10, 100])
def test_the_projected_distance_times_the_root_of_the_dimension_is_a_lower_bound(d: int) -> None:
    rng = np.random.default_rng(d)
    for scale in (0.3, 1, 3):
        x, y = rng.normal(size=(60, d)), rng.normal(0.2, scale, size=(60, d)) * rng.uniform(0.5, 2, d)
        exact, sliced = earth_mover(x, y), sliced_wasserstein(x, y, 2000)
        assert d**0.5 * sliced <= exact * 1.02  # the error of 2,000 projections
        assert sliced / mean_projection(d) <= exact * 1.05  # the sharper constant
        assert sliced > 0.1 * exact / d**0.5  # it says something


@pytest.mark.parametrize("d", [2, 20])
def test_the_bound_of_few_samples_does_not_exceed_the_distance(d: int) -> None:
    """The plain estimate of 20 samples does, for equal distributions: it takes the samples' scatter for a distance."""
    rng = np.random.default_rng(0)
    for shift in (0.0, 2.0):
        offset = np.eye(d)[0] * shift  # W₁ = shift
        pairs = [(rng.normal(size=(40, d)), rng.normal(size=(20, d)) + offset) for _ in range(60)]
        bounds = np.array([sliced_wasserstein_lower_bound(x, y, 200, seed) for seed, (x, y) in enumerate(pairs)])
        plain = d**0.5 * np.mean([sliced_wasserstein(x[:20], y, 200) for x, y in pairs])
        assert bounds.mean() < shift + 4 * bounds.std() / 60**0.5
        assert plain > bounds.mean() + 0.2
        if shift == 0:
            assert abs(bounds.mean()) < 4 * bounds.std() / 60**0.5  # nothing is left of it
        else:
            assert bounds.mean() > 0.3


def test_the_same_seed_takes_the_same_directions() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 30, 4))
    assert sliced_wasserstein(x, y, 10, seed=1) == sliced_wasserstein(x, y, 10, seed=1)
    assert sliced_wasserstein(x, y, 10, seed=1) != sliced_wasserstein(x, y, 10, seed=2)
    assert sliced_wasserstein(x, y, 200) == pytest.approx(sliced_wasserstein(y, x, 200))


@pytest.mark.parametrize(("n", "m"), [(2001, 2001), (300, 299)])
def test_more_than_can_be_matched_is_refused(n: int, m: int) -> None:
    with pytest.raises(ValueError, match="use sliced_wasserstein"):
        earth_mover(np.zeros((n, 2)), np.zeros((m, 2)))

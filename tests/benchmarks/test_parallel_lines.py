"""Parallel lines (Arjovsky et al. 2017, arXiv:1701.07875, example 1): the earth mover's distance has a gradient."""

import math

import pytest

from benchmarks.parallel_lines import EARTH_MOVER, JENSEN_SHANNON, estimate


@pytest.mark.parametrize("theta", [-0.5, 0.25])
def test_the_earth_movers_distance_is_theta_and_points_home(theta: float):
    value, gradient = estimate(EARTH_MOVER, theta, steps=800)
    assert value == pytest.approx(abs(theta), rel=0.05)
    assert gradient == pytest.approx(math.copysign(1, theta), abs=0.05)


def test_the_critics_bias_is_that_of_a_penalty():
    """The slope s that maximises s|θ| − λ(s − 1)² is 1 + |θ|/2λ."""
    theta, weight = 1.0, 5.0
    soft = EARTH_MOVER | {"penalties": {"gradient_penalty": {"weight": weight}}}
    assert estimate(soft, theta, steps=400).value == pytest.approx(theta * (1 + theta / (2 * weight)), rel=0.02)


@pytest.mark.parametrize("theta", [-0.5, 0.25])
def test_jensen_shannon_is_flat_and_its_gradient_vanishes(theta: float):
    value, gradient = estimate(JENSEN_SHANNON, theta, steps=800)
    assert value == pytest.approx(math.log(2), abs=2e-3)
    assert abs(gradient) < 0.02

"""What theory says of the Dirac-GAN (Mescheder et al. 2018, arXiv:1801.04406) holds for the library's objectives."""

import numpy as np
import pytest

from benchmarks.dirac import GAMES, LR, radius, trajectory


def late_radius(name: str, steps: int) -> np.ndarray:
    """Over the last half."""
    return radius(trajectory(GAMES[name], steps))[steps // 2 :]


def test_alternating_wasserstein_stays_on_its_ellipse():
    """ψ ← ψ − hθ, θ ← θ + hψ conserves θ² + ψ² − hθψ: the radius comes back, and does not fall."""
    path = trajectory(GAMES["wasserstein"])
    theta, psi = path.T
    np.testing.assert_allclose(theta**2 + psi**2 - LR * theta * psi, 2 - LR, rtol=1e-4)
    assert radius(path)[-1] == pytest.approx(1.406, abs=1e-3)


def test_simultaneous_wasserstein_spirals_outwards():
    """Both eigenvalues 1 ± ih have modulus √(1 + h²)."""
    r = radius(trajectory(GAMES["wasserstein, simultaneous"], 400))
    np.testing.assert_allclose(r, np.sqrt(2) * (1 + LR**2) ** (np.arange(401) / 2), rtol=1e-4)


def test_hinge_is_wasserstein_within_the_margin():
    path = trajectory(GAMES["hinge"], 400)
    assert np.abs(path.prod(axis=1)).max() <= 1
    np.testing.assert_array_equal(path, trajectory(GAMES["wasserstein"], 400))


def test_minimax_circles():
    assert late_radius("minimax", 1000) == pytest.approx(1.405, abs=0.012)


def test_non_saturating_comes_nearer_but_slowly():
    """Its linearisation has eigenvalues on the imaginary axis: what pulls it in is of higher order."""
    r = radius(trajectory(GAMES["non_saturating"]))
    assert r[-1] == pytest.approx(0.28, abs=5e-3)
    assert r[1000] / r[2000] < np.sqrt(2) + 0.02  # a power of time, no exponential


def test_relativistic_losses_are_the_non_saturating_one_here():
    """With D(x) = ψ·0 the pair's difference is the fake's score; the average form counts it once for each side, and the
    mean is over one point: twice the step. So neither is a cure by itself."""
    np.testing.assert_array_equal(
        trajectory(GAMES["relativistic_paired"], 300), trajectory(GAMES["non_saturating"], 300)
    )
    np.testing.assert_allclose(
        trajectory(GAMES["relativistic_average"], 300), trajectory(GAMES["non_saturating"], 300, 2 * LR), atol=1e-4
    )


@pytest.mark.parametrize("name", [
    "non_saturating + R1", "non_saturating + R1 + R2", "relativistic_paired + R1 + R2", "wasserstein + R1",
    "non_saturating + noise",
])  # fmt: skip
def test_gradient_penalties_at_the_equilibrium_and_noise_find_it(name: str):
    r = late_radius(name, 1500)
    assert r[-1] < 5e-4
    assert r[-1] < r[0] / 10  # exponentially


def test_r1_has_the_rate_of_its_linear_system():
    """Wasserstein with γ/2·ψ²: (θ, ψ) moves by one matrix, as long as no clip or margin is there."""
    gamma = GAMES["wasserstein + R1"].objective["penalties"]["r1"]["weight"]
    slope = np.array([[1, 0], [-LR, 1 - LR * gamma]])  # ψ moves first
    matrix = np.array([[1, LR], [0, 1]]) @ slope
    expected = np.linalg.matrix_power(matrix, 100) @ np.ones(2)
    np.testing.assert_allclose(trajectory(GAMES["wasserstein + R1"], 100)[-1], expected, atol=1e-5)


@pytest.mark.parametrize("name, steps", [
    ("wasserstein, clip 1", 1000), ("wasserstein + GP", 1000), ("wasserstein + GP, n_critic 5", 400),
    ("non_saturating + DRAGAN", 1000),
])  # fmt: skip
def test_slopes_held_at_one_do_not_converge(name: str, steps: int):
    """At the equilibrium the slope has to be 0, and these penalties want it to be 1; a clip leaves it free below c."""
    r = late_radius(name, steps)
    assert r.min() > 0.4
    assert r[len(r) // 2 :].max() > 0.97 * r[: len(r) // 2].max()  # nor is it on its way


def test_least_squares_stops_beside_the_data():
    """A linear discriminator gives the data 0 and never their target 1: all it can do is give up (ψ = 0), at any θ."""
    theta, psi = trajectory(GAMES["least_squares"], 400)[-1]
    assert abs(psi) < 1e-4
    assert theta > 1

"""A comparison of distances: the gain, the noise of the difference, and no comparison across protocols; what counts as
having learned."""

import numpy as np
import pytest
import torch

from ganlib.metrics import Statistics, frechet_interval
from ganlib.metrics.comparison import Measured, improvement, learned
from ganlib.metrics.protocol import ProtocolMismatch

D, IMAGES, DRAWS = 6, 400, 200


def measured(name: str, left_out: list[float], value: float = 0.0, **protocol: object) -> Measured:
    return Measured(name, value, tuple(left_out), protocol)


def test_the_noise_is_that_of_the_difference_and_not_of_the_two() -> None:
    """By hand: 4 groups, s.e.² = 3 · variance."""
    old = measured("old", [10.0, 12.0, 10.0, 12.0], 100.0)
    assert old.standard_error == pytest.approx(3**0.5)
    alike = improvement(measured("new", [9.0, 11.0, 9.0, 11.0], 90.0), old)
    assert alike == (10.0, 0.0)  # they rise and fall together
    gain, noise = improvement(measured("new", [11.0, 9.0, 11.0, 9.0], 90.0), old)
    assert (gain, noise) == (10.0, pytest.approx(2 * 3**0.5))  # the one rises as the other falls
    gain, noise = improvement(measured("new", [11.0, 11.0, 9.0, 9.0], 90.0), old)
    assert (gain, noise) == (10.0, pytest.approx(6**0.5))  # nothing in common: in quadrature


@pytest.mark.parametrize("left_out", [[], [1.0, 2.0, 3.0]])
def test_without_the_same_groups_the_noise_is_not_known(left_out: list[float]) -> None:
    gain, noise = improvement(measured("new", left_out, 90.0), measured("old", [1.0, 2.0], 100.0))
    assert gain == 10 and np.isnan(noise)


@pytest.mark.parametrize("related", [True, False])
def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says(related: bool) -> None:
    """Over 200 draws of latents, of two generators of which one is nearly the other, or has nothing to do with it. The
    truth is the mean over all draws: the bias of so many images is a part of what is compared."""
    rng = np.random.default_rng(0)
    real = Statistics.from_features(rng.normal(size=(5000, D)))
    first = rng.normal(size=(D, D)) / 2
    second = first + 0.1 * rng.normal(size=(D, D)) if related else rng.normal(size=(D, D)) / 2
    found = []
    for draw in range(DRAWS):
        z = torch.from_numpy(rng.normal(size=(IMAGES, D)))
        pair = []
        for name, weight in (("new", first), ("old", second)):
            interval = frechet_interval(real, torch.tanh(z @ torch.from_numpy(weight)) + 0.2, groups=10, seed=draw)
            pair.append(Measured(name, interval.value, interval.left_out, {}))
        found.append((*improvement(*pair), pair[0].standard_error, pair[1].standard_error))
    gains, noises, *alone = np.array(found).T
    inside = np.abs(gains - gains.mean()) < 2.262 * noises  # Student's t of 9 degrees
    assert 0.9 <= inside.mean() <= 0.99
    assert 0.7 < np.median(noises) / gains.std(ddof=1) < 1.4
    in_quadrature = np.median(np.hypot(*alone))
    assert (in_quadrature > 2 * np.median(noises)) == related  # what is wrong with taking them for independent


def test_other_protocols_are_not_compared() -> None:
    with pytest.raises(ProtocolMismatch, match=r"new and old .* resize 64 \(new\) against 112 \(old\)"):
        improvement(measured("new", [], 1.0, resize=64), measured("old", [], 2.0, resize=112))


@pytest.mark.parametrize(("value", "error", "clearly"), [
    (125.7, 1.5, True),
    (1033.0, 1.5, False),  # untrained itself
    (1500.0, 1.5, False),
    (832.0, 1.5, False),  # a fifth of the way to the floor is at 829.6
    (829.0, 1.5, False), (826.0, 1.5, True), (826.0, 3.0, False),  # beyond the noise
    (826.0, float("nan"), True), (float("nan"), 1.5, False),
])
def test_a_generator_has_learned_that_is_clearly_better_than_untrained(value: float, error: float, clearly: bool):
    assert learned(value, error, untrained=1033.0, floor=16.0) is clearly


def test_where_real_images_are_no_better_than_untrained_being_worse_is_not_learning() -> None:
    """So few real images that the floor is all bias."""
    assert not learned(1500.0, 5.0, untrained=1400.0, floor=2000.0) and learned(1300.0, 5.0, 1400.0, 2000.0)

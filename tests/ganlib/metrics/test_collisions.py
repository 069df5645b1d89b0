"""Known support sizes come out of collisions, and labels are told uniform or not."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from ganlib.metrics import collisions
from ganlib.metrics.collisions import collision_test, uniformity_by_collisions


def drawn(support: int, count: int, seed: int) -> np.ndarray:
    """Noisy copies of one of `support` points that are far apart."""
    rng = np.random.default_rng(seed)
    points = np.random.default_rng(1000 + seed).normal(size=(support, 16))
    return points[rng.integers(support, size=count)] + rng.normal(0, 1e-4, (count, 16))


@pytest.mark.parametrize("support", [50, 400, 3000])
def test_the_support_is_within_the_interval_as_often_as_promised(support: int) -> None:
    found = [collision_test(drawn(support, 300, seed), threshold=0.01) for seed in range(60)]
    inside = [low <= support <= high for low, high in (result.interval for result in found)]
    assert np.mean(inside) > 0.85  # of 0.95; fewer by chance in one of a thousand cases
    assert np.median([result.support_size for result in found]) == pytest.approx(support, rel=0.2)


def test_without_collisions_the_support_is_bounded_below() -> None:
    found = collision_test(np.random.default_rng(0).normal(size=(100, 16)), threshold=0.01)
    assert found.collisions == 0 and found.support_size == found.interval[1] == float("inf")
    assert found.interval[0] == pytest.approx(4950 / -np.log(0.025))


def test_the_nearest_pairs_are_shown_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collisions, "BLOCK", 7)
    x = np.random.default_rng(0).normal(100, 1, size=(40, 3, 2, 2))
    x[33], x[5], x[20] = x[2], x[6] + 0.001, x[39] + 0.002  # a copy, and two near
    found = collision_test(x, threshold=0.01, closest=3)
    assert found.pairs.tolist() == [[2, 33], [5, 6], [20, 39]] and found.collisions == 3
    assert found.distances.numpy() == pytest.approx(np.sqrt(12) * np.array([0, 0.001, 0.002]), rel=1e-4)
    assert found.probability == pytest.approx(3 / 780)
    monkeypatch.setattr(collisions, "BLOCK", 1000)
    assert collision_test(x, threshold=0.01, closest=3).pairs.equal(found.pairs)


def test_the_threshold_of_reals_lets_them_collide_as_rarely_as_said() -> None:
    real, same, collapsed = (drawn(10**6, 500, 0), drawn(10**6, 500, 1), drawn(40, 500, 2))
    limit = 500 / 0.01
    assert limit / 2 < collision_test(real, real=real).support_size <= limit
    assert collision_test(same, real=real).support_size > limit / 20
    low, high = collision_test(collapsed, real=real).interval
    assert low < 40 < high


def nearest_others(x: np.ndarray) -> np.ndarray:
    distances = cdist(x, x)
    np.fill_diagonal(distances, np.inf)
    return distances.min(1)


@pytest.mark.parametrize("offset", [0, 1000, 1e6])
def test_the_threshold_is_the_quantile_of_the_nearest_reals_wherever_they_lie(offset: float) -> None:
    real = np.random.default_rng(0).normal(0, 0.01, size=(300, 8))
    expected = {quantile: np.quantile(nearest_others(real), quantile) for quantile in (0.01, 0.05)}
    x = np.random.default_rng(1).normal(size=(300, 8))
    assert collision_test(x, real=real + offset).threshold == pytest.approx(expected[0.01], rel=1e-4)
    assert collision_test(x, real=real + offset, quantile=0.05).threshold == pytest.approx(expected[0.05], rel=1e-4)
    assert expected[0.05] > 1.1 * expected[0.01]


def test_reals_that_are_sorted_give_the_threshold_of_shuffled_ones() -> None:
    rng = np.random.default_rng(0)
    spread = np.repeat([10.0, 1.0], 1000)[:, None]  # the first label is spread wide
    real, fake = spread * rng.normal(size=(2000, 8)), rng.normal(size=(300, 8))
    shuffled = [collision_test(fake, real=rng.permutation(real)).threshold for _ in range(20)]
    sorted_ = [collision_test(fake, real=real, seed=seed).threshold for seed in range(20)]
    assert np.median(sorted_) == pytest.approx(np.median(shuffled), rel=0.15)
    assert collision_test(fake, real=real).threshold == sorted_[0] != sorted_[1]
    assert max(sorted_) < np.quantile(nearest_others(real[:300]), 0.01) / 2


def test_fewer_reals_than_samples_take_a_part_of_the_samples() -> None:
    x = drawn(10**6, 400, 0)
    x[200:] = x[:200]  # sorted, as it were
    found = collision_test(x, real=drawn(10**6, 150, 1), closest=10)
    assert found.samples == 150 and found.probability == found.collisions / (150 * 149 / 2)
    assert found.collisions == pytest.approx(200 * (150 / 400) ** 2, rel=0.5)
    i, j = found.pairs.T  # as they were given
    assert (j - i == 200).all() and (found.distances == 0).all()
    assert collision_test(x, real=drawn(10**6, 150, 1), seed=1).pairs.tolist() != found.pairs.tolist()
    assert collision_test(x, threshold=0.01).samples == collision_test(x, real=drawn(10**6, 900, 1)).samples == 400


def test_far_from_zero_copies_are_still_told() -> None:
    x = np.random.default_rng(0).normal(size=(50, 8)) * 1e-3 + 1e6
    x[7] = x[3]
    found = collision_test(x, threshold=1e-6, closest=1)
    assert found.collisions == 1 and found.pairs.tolist() == [[3, 7]]


def test_bytes_are_compared_exactly() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), np.uint8)
    images[7] = images[3]
    found = collision_test(torch.from_numpy(images), threshold=0, closest=1)
    assert found.collisions == 1 and found.pairs.tolist() == [[3, 7]] and found.distances.tolist() == [0]


@pytest.mark.parametrize("wrong", [
    {}, {"threshold": 1.0, "real": np.zeros((9, 2))}, {"real": np.zeros((9, 3))}, {"real": np.zeros((1, 2))},
    {"real": np.zeros(9)}, {"real": np.full((9, 2), np.nan)},
])  # fmt: skip
def test_a_threshold_is_needed_or_reals_of_as_many_values(wrong: dict) -> None:
    with pytest.raises(ValueError, match="collision_test"):
        collision_test(np.zeros((9, 2)), **wrong)


def far(count: int, epsilon: float) -> np.ndarray:
    """Half of the labels heavier by 2ε / N each, the other half lighter: the hardest at this distance."""
    return (1 + 2 * epsilon * np.repeat([1, -1], count // 2)) / count


@pytest.mark.parametrize(("count", "epsilon"), [(10, 0.45), (100, 0.4), (1000, 0.45)])
def test_uniform_is_accepted_and_far_is_refused(count: int, epsilon: float) -> None:
    rng = np.random.default_rng(0)
    needed = uniformity_by_collisions(np.array([0, 1]), count, epsilon).samples_needed
    for p, uniform in [(np.full(count, 1 / count), True), (far(count, epsilon), False)]:
        assert 0.5 * np.abs(p - 1 / count).sum() == pytest.approx(0 if uniform else epsilon)
        for _ in range(20):
            assert uniformity_by_collisions(rng.choice(count, needed, p=p), count, epsilon).uniform == uniform


def test_the_estimates_are_unbiased() -> None:
    rng, p = np.random.default_rng(0), far(20, 0.25)
    for q in (p, np.full(20, 1 / 20)):
        found = [uniformity_by_collisions(rng.choice(20, 50, p=q), 20) for _ in range(2000)]
        squares = np.array([result.squared_distance for result in found])
        assert abs(squares.mean() - ((q - 1 / 20) ** 2).sum()) < 4 * squares.std() / 2000**0.5
    ratios = [result.ratio for result in found]  # of the uniform one
    assert np.std(ratios) == pytest.approx(found[0].standard_error, rel=0.1)


def test_the_samples_needed_grow_as_said() -> None:
    labels = np.array([0, 1])
    needed = {(n, e): uniformity_by_collisions(labels, n, e).samples_needed for n in (100, 400) for e in (0.01, 0.02)}
    assert needed[400, 0.01] / needed[100, 0.01] == pytest.approx(2, rel=1e-3)
    assert needed[100, 0.01] / needed[100, 0.02] == pytest.approx(16, rel=1e-2)


@pytest.mark.parametrize("labels", [
    np.array([True, False, True, True]), np.array([1, 1, 0, 1])[::-1], np.array([1, 0, 1, 1], ">i4"),
    np.array([1, 0, 1, 1], np.uint16), torch.tensor([True, False, True, True]), [1, 0, 1, 1],
])  # fmt: skip
def test_labels_of_any_integer_type_are_counted(labels: np.ndarray) -> None:
    assert uniformity_by_collisions(labels, 2).ratio == 2 * 3 / 6


@pytest.mark.parametrize("wrong", [np.array([0.0, 1.0]), np.array([0]), np.array([0, 10]), np.array([-1, 0])])
def test_what_are_no_labels_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="labels"):
        uniformity_by_collisions(wrong, 10)

"""The kernel distance: the double sum of its definition, and no bias."""

import numpy as np
import pytest

from ganlib.metrics import kernel
from ganlib.metrics.kernel import kernel_distance, kernel_distance_subsets


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Bińkowski et al. 2018, equation 4, term by term."""
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / len(a) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_it_is_the_double_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "BLOCK", 7)  # several blocks, the last one not full
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)), rng.normal(0.3, size=(31, 5))
    assert kernel_distance(x, y) == pytest.approx(by_definition(x, y), rel=1e-10)
    assert kernel_distance(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(by_definition(x, y), rel=1e-4)


def test_equal_distributions_have_distance_zero_on_average() -> None:
    rng = np.random.default_rng(0)
    values = np.array([kernel_distance(rng.normal(size=(20, 8)), rng.normal(size=(20, 8))) for _ in range(400)])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    # the biased estimate, which compares each image with itself too, fails this by far: by about 2 E k(x, x) / n
    assert error < 2 * (1 + 1) ** 3 / 20 / 20


def test_it_grows_with_the_shift() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 200, 8))
    distances = [kernel_distance(x, y + shift) for shift in (0, 0.5, 1, 2)]
    assert distances == sorted(distances)


def test_the_subsets_are_those_that_are_drawn() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(30, 5)), rng.normal(0.3, size=(20, 5))
    draws, values = np.random.RandomState(7), []
    for _ in range(3):
        x, y = (z[draws.choice(len(z), 12, replace=False)] for z in (real, fake))
        values.append(by_definition(x, y))
    expected = (np.mean(values), np.std(values))
    assert kernel_distance_subsets(real, fake, 3, 12, seed=7) == pytest.approx(expected, rel=1e-9)


def test_subsets_larger_than_the_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller subset_size"):
        kernel_distance_subsets(np.zeros((1000, 3)), np.zeros((999, 3)))


def test_what_overflows_is_refused_and_float64_does_not() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 20, 5)) * 1e8
    assert kernel_distance(x, y) == pytest.approx(by_definition(x, y), rel=1e-9)
    for function in (kernel_distance, lambda a, b: kernel_distance_subsets(a, b, 3, 10)):
        with pytest.raises(ValueError, match=r"overflows in float32.* float64"):
            function(x.astype(np.float32), y.astype(np.float32))


def test_a_single_image_is_refused() -> None:
    with pytest.raises(ValueError, match="N ≥ 2"):
        kernel_distance(np.zeros((1, 3)), np.zeros((5, 3)))

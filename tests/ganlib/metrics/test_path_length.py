"""Perceptual path length in closed form: linear generators and features, great circles."""

import numpy as np
import pytest
import torch

from ganlib.metrics.path_length import perceptual_path_length, slerp, trimmed_mean

MATRIX = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 6)))
A, B = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 200, 6)))


def decode(z: torch.Tensor) -> torch.Tensor:
    return (z @ MATRIX.T).reshape(-1, 3, 2, 2)


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_a_linear_generator_has_the_squared_length_of_the_straight_line(sampling: str) -> None:
    lengths = ((B - A) @ MATRIX.T).square().sum(1)
    mean, error = perceptual_path_length(decode, lambda x: 2 * x, A, B, sampling=sampling)  # type: ignore[arg-type]
    assert mean == pytest.approx(4 * without_ends(lengths), rel=1e-6)
    assert error == pytest.approx(4 * trimmed_mean(lengths)[1], rel=1e-6)


def without_ends(lengths: torch.Tensor) -> float:
    """The mean of 200 values but the smallest and the largest."""
    return float(lengths.sort().values[1:-1].mean())


@pytest.mark.parametrize("far", [False, True])
def test_what_lies_beyond_the_first_and_last_percentile_counts_for_nothing(far: bool) -> None:
    """Of 1 … 1000, 10 … 991 are left, h = 982; the others are moved to the ends of these, 490.5 from their middle."""
    values = torch.arange(1, 1001).double()[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    if far:
        values[values > 991] *= 1e6
    mean, error = trimmed_mean(values)
    assert mean == pytest.approx(500.5)
    squares = 982 * (982**2 - 1) / 12 + 2 * 9 * 490.5**2
    assert error == pytest.approx((squares / (982 * 981)) ** 0.5)


def test_of_few_values_all_count() -> None:
    values = torch.randn(100, generator=torch.Generator().manual_seed(0)).double().exp()
    assert trimmed_mean(values) == pytest.approx((float(values.mean()), float(values.std() / 10)))


@pytest.mark.parametrize("count", [2, 101, 200, 500, 1199])
def test_the_percentiles_are_those_of_stylegans_code(count: int) -> None:
    values = A.flatten()[:count].round(decimals=1)  # with ties
    low = np.percentile(values.numpy(), 1, method="lower")
    high = np.percentile(values.numpy(), 99, method="higher")
    kept = np.extract(np.logical_and(low <= values.numpy(), values.numpy() <= high), values.numpy())
    assert trimmed_mean(values)[0] == pytest.approx(kept.mean())


def test_the_standard_error_is_the_spread_over_other_pairs() -> None:
    """Of long tails: the logarithms are normal."""
    draws = torch.randn(400, 500, generator=torch.Generator().manual_seed(0)).double().exp()
    means, errors = torch.tensor([trimmed_mean(values) for values in draws]).T
    assert errors.mean().item() == pytest.approx(means.std().item(), rel=0.1)


def test_float32_is_enough_for_the_usual_step() -> None:
    exact, _ = perceptual_path_length(decode, lambda x: x, A, B)
    found, _ = perceptual_path_length(lambda z: decode(z.double()).float(), lambda x: x, A.float(), B.float())
    assert found == pytest.approx(exact, rel=1e-2)


def test_on_a_great_circle_it_is_the_squared_angle() -> None:
    a, b = (x / x.norm(dim=1, keepdim=True) for x in (A, B))
    angles = (a * b).sum(1).arccos()
    mean, _ = perceptual_path_length(lambda z: z, lambda x: x, a, b, slerp)
    assert mean == pytest.approx(without_ends(angles.square()), rel=1e-5)
    t = torch.linspace(0, 1, 200, dtype=torch.float64)[:, None]
    torch.testing.assert_close(slerp(a, b, t).norm(dim=1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(slerp(A, B, 0 * t), A)
    torch.testing.assert_close(slerp(A, B, 0 * t + 1), B)


def test_full_sees_the_whole_path_and_end_its_beginning() -> None:
    """Of z ↦ z² between 0 and 1: the mean of (2t)² from t = 1 % to 99 % is 1.3201; at 0 it is 0."""
    a, b = torch.zeros(4000, 1, dtype=torch.float64), torch.ones(4000, 1, dtype=torch.float64)
    full, error = perceptual_path_length(torch.square, lambda x: x, a, b)
    assert abs(full - 4 / 3 * (0.99**3 - 0.01**3) / 0.98) < 4 * error + 1e-3
    assert perceptual_path_length(torch.square, lambda x: x, a, b, sampling="end")[0] == pytest.approx(0, abs=1e-6)


def test_each_pair_keeps_its_label() -> None:
    labels = torch.arange(200) % 3

    def conditional(z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return z * (1.0 + label)[:, None] + label[:, None]

    mean, _ = perceptual_path_length(conditional, lambda x: x, A, B, labels=labels, batch_size=17)
    assert mean == pytest.approx(without_ends((B - A).square().sum(1) * (1.0 + labels) ** 2), rel=1e-6)


def test_rounding_to_bytes_would_be_measured_in_its_place() -> None:
    smooth, _ = perceptual_path_length(decode, lambda x: x, A, B)
    rounded, _ = perceptual_path_length(lambda z: (decode(z) * 127.5).round() / 127.5, lambda x: x, A, B)
    assert rounded > 10 * smooth


@pytest.mark.parametrize("wrong", [{"b": B[:5]}, {"sampling": "middle"}, {"epsilon": 0}, {"a": A[:1], "b": B[:1]}])
def test_what_makes_no_path_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="perceptual_path_length"):
        perceptual_path_length(decode, lambda x: x, **({"a": A, "b": B} | wrong))

"""Perceptual path length in closed form: linear generators and features, great circles."""

import numpy as np
import pytest
import torch

from ganlib.metrics.path_length import perceptual_path_length, slerp

MATRIX = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 6)))
A, B = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 200, 6)))


def decode(z: torch.Tensor) -> torch.Tensor:
    return (z @ MATRIX.T).reshape(-1, 3, 2, 2)


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_a_linear_generator_has_the_squared_length_of_the_straight_line(sampling: str) -> None:
    lengths = ((B - A) @ MATRIX.T).square().sum(1)
    mean, error = perceptual_path_length(decode, lambda x: 2 * x, A, B, sampling=sampling)  # type: ignore[arg-type]
    assert mean == pytest.approx(4 * float(lengths.mean()), rel=1e-6)
    assert error == pytest.approx(4 * float(lengths.std()) / 200**0.5, rel=1e-6)


def test_float32_is_enough_for_the_usual_step() -> None:
    exact, _ = perceptual_path_length(decode, lambda x: x, A, B)
    found, _ = perceptual_path_length(lambda z: decode(z.double()).float(), lambda x: x, A.float(), B.float())
    assert found == pytest.approx(exact, rel=1e-2)


def test_on_a_great_circle_it_is_the_squared_angle() -> None:
    a, b = (x / x.norm(dim=1, keepdim=True) for x in (A, B))
    angles = (a * b).sum(1).arccos()
    mean, _ = perceptual_path_length(lambda z: z, lambda x: x, a, b, slerp)
    assert mean == pytest.approx(float(angles.square().mean()), rel=1e-5)
    t = torch.linspace(0, 1, 200, dtype=torch.float64)[:, None]
    torch.testing.assert_close(slerp(a, b, t).norm(dim=1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(slerp(A, B, 0 * t), A)
    torch.testing.assert_close(slerp(A, B, 0 * t + 1), B)


def test_full_sees_the_whole_path_and_end_its_beginning() -> None:
    """Of z ↦ z² between 0 and 1: the mean of (2t)² is 4/3, at 0 it is 0."""
    a, b = torch.zeros(4000, 1, dtype=torch.float64), torch.ones(4000, 1, dtype=torch.float64)
    full, error = perceptual_path_length(torch.square, lambda x: x, a, b)
    assert abs(full - 4 / 3) < 4 * error + 1e-3
    assert perceptual_path_length(torch.square, lambda x: x, a, b, sampling="end")[0] == pytest.approx(0, abs=1e-6)


def test_each_pair_keeps_its_label() -> None:
    labels = torch.arange(200) % 3

    def conditional(z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return z * (1.0 + label)[:, None] + label[:, None]

    mean, _ = perceptual_path_length(conditional, lambda x: x, A, B, labels=labels, batch_size=17)
    assert mean == pytest.approx(float(((B - A).square().sum(1) * (1.0 + labels) ** 2).mean()), rel=1e-6)


def test_rounding_to_bytes_would_be_measured_in_its_place() -> None:
    smooth, _ = perceptual_path_length(decode, lambda x: x, A, B)
    rounded, _ = perceptual_path_length(lambda z: (decode(z) * 127.5).round() / 127.5, lambda x: x, A, B)
    assert rounded > 10 * smooth


@pytest.mark.parametrize("wrong", [{"b": B[:5]}, {"sampling": "middle"}, {"epsilon": 0}, {"a": A[:1], "b": B[:1]}])
def test_what_makes_no_path_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="perceptual_path_length"):
        perceptual_path_length(decode, lambda x: x, **({"a": A, "b": B} | wrong))

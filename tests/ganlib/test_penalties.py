"""Penalties against closed forms, and their derivatives."""

import pytest
import torch

from ganlib import penalties


def all_penalties(score, real, fake):
    torch.manual_seed(0)
    noise = torch.rand_like(real)
    return {
        "gradient_penalty": penalties.gradient_penalty(score, real, fake, torch.rand(len(real), dtype=real.dtype)),
        "dragan": penalties.dragan(score, real, noise, real.std()),
        "r1": penalties.r1(score, real),
        "r2": penalties.r2(score, fake),
    }


def test_closed_forms_on_a_linear_discriminator():
    """D(x) = a·x has gradient a everywhere: (‖a‖ − 1)² and ½‖a‖²."""
    a = torch.randn(2, 3, 3, dtype=torch.float64)
    real, fake = torch.randn(2, 5, 2, 3, 3, dtype=torch.float64)
    values = all_penalties(lambda x: (x * a).flatten(1).sum(1), real, fake)
    norm = a.square().sum().sqrt()
    for name, expected in {"gradient_penalty": (norm - 1) ** 2, "dragan": (norm - 1) ** 2,
                           "r1": norm**2 / 2, "r2": norm**2 / 2}.items():
        torch.testing.assert_close(values[name], expected.expand(5), rtol=1e-8, atol=1e-8)


def test_gradient_penalty_of_twice_the_sum_is_nine():
    """D(x) = Σ 2x over 4 dimensions: ‖∇‖ = 4, (4 − 1)² = 9 (TF-GAN's test)."""
    x = torch.randn(3, 4)
    value = penalties.gradient_penalty(lambda t: 2 * t.sum(1), x, torch.randn(3, 4), torch.rand(3))
    torch.testing.assert_close(value, torch.full((3,), 9.0))


def test_norms_are_per_sample_not_over_the_batch():
    x = torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(penalties.r1(lambda t: t.square().sum(1), x), torch.tensor([2.0, 18.0]))


def test_gradient_penalty_is_taken_between_the_samples():
    """D(x) = ½‖x‖² has gradient x, so the penalty shows where it was taken."""
    real, fake, alpha = torch.full((1, 4), 2.0), torch.full((1, 4), 6.0), torch.tensor([0.75])
    value = penalties.gradient_penalty(lambda x: x.square().sum(1) / 2, real, fake, alpha)
    torch.testing.assert_close(value, torch.tensor([(0.75 * 2 + 0.25 * 6) * 2 - 1.0]).square())


def test_dragan_is_taken_beside_the_data():
    real, noise = torch.full((1, 4), 2.0), torch.full((1, 4), 0.5)
    value = penalties.dragan(lambda x: x.square().sum(1) / 2, real, noise, torch.tensor(4.0))
    torch.testing.assert_close(value, torch.tensor([(2 + 0.5 * 4 * 0.5) * 2 - 1.0]).square())


def test_patch_scores_are_summed():
    x = torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(penalties.r1(lambda t: 3 * t, x), torch.full((2,), 0.5 * 9 * 16))


def test_finite_derivative_at_zero_gradient():
    weight = torch.zeros(4, requires_grad=True)
    real, fake = torch.randn(2, 3, 4)
    for value in all_penalties(lambda x: x @ weight, real, fake).values():
        (gradient,) = torch.autograd.grad(value.mean(), weight)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["gradient_penalty", "dragan", "r1", "r2"])
def test_derivatives_with_respect_to_the_discriminator(name: str):
    real, fake = torch.randn(2, 3, 4, dtype=torch.float64)

    def value(weight):
        return all_penalties(lambda x: (x @ weight).tanh().sum(1), real, fake)[name]

    weight = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, weight)
    assert torch.autograd.gradgradcheck(value, weight)

"""Sums of latents."""

import pytest
import torch

from ganlib.sampling.latents import arithmetic


def test_arithmetic_puts_the_sum_of_the_means_in_the_centre_and_noise_around_it() -> None:
    a, b, c = torch.randn(3, 500), torch.randn(5, 500), torch.randn(2, 500)
    sums = arithmetic(a, b, c, seed=1)
    y = a.mean(0) - b.mean(0) + c.mean(0)
    torch.testing.assert_close(sums[4], y)
    around = torch.cat([sums[:4], sums[5:]]) - y
    assert around.abs().max() <= 0.25 + 1e-6 and around.std() == pytest.approx(0.25 / 3**0.5, rel=0.05)  # uniform
    assert torch.equal(sums, arithmetic(a, b, c, seed=1)) and not torch.equal(sums, arithmetic(a, b, c, seed=2))

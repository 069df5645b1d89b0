"""What becomes of standard normal latents."""

import pytest
import torch

from ganlib.layers.priors import PRIORS


def test_uniform_has_the_moments_of_the_uniform_distribution():
    z = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = PRIORS["uniform"](z)
    assert values.abs().max() <= 1
    for power, expected in ((1, 0), (2, 1 / 3), (3, 0), (4, 1 / 5)):
        assert values.pow(power).mean().item() == pytest.approx(expected, abs=5e-3)
    assert PRIORS["uniform"](torch.zeros(1, 1)).item() == 0


def test_the_sphere_keeps_the_direction_and_has_radius_root_d():
    z = torch.randn(100, 9)
    values = PRIORS["sphere"](z)
    torch.testing.assert_close(values.norm(dim=1), torch.full((100,), 3.0))
    torch.testing.assert_close(values * z.norm(dim=1, keepdim=True), 3 * z)


def test_normal_stays_as_it_is():
    z = torch.randn(4, 3)
    assert PRIORS["normal"](z) is z

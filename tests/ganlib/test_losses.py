"""Losses against values published with other implementations, and against their derivatives in float64."""

import pytest
import torch

from ganlib.losses import LOSSES

REAL, FAKE = [-5, 1.4, 12.5, 2.7], [10, 4.4, -5.5, 3.6]  # the scores in TF-GAN's losses_impl_test
REAL_R, FAKE_R = [-2, 0.4, 12.5, 2.7], FAKE  # those of its relativistic losses
REAL_2, FAKE_2 = [1.3, 2.9, 8.4, 6.3], [4.8, 1.2, -3.5, 5.9]  # the scores in torchgan's tests


@pytest.mark.parametrize(
    ("name", "real", "fake", "discriminator", "generator"),
    [
        ("least_squares", REAL, FAKE, 41.73375, 17.69625),
        ("non_saturating", REAL, FAKE, 5.833866, 1.38582),
        ("minimax", REAL, FAKE, 5.833866, -4.510821),
        ("wasserstein", REAL, FAKE, 0.225, -3.125),
        ("hinge", REAL, FAKE, 6.75, -3.125),
        ("relativistic_average", REAL_R, FAKE_R, 4.390114, 4.9401135),
        ("relativistic_paired", REAL_R, FAKE_R, 4.3148275, 4.5898275),
        ("wasserstein", REAL_2, FAKE_2, -2.625, -2.1),
        ("least_squares", REAL_2, FAKE_2, 19.76125, 7.3425),
        ("non_saturating", REAL_2, FAKE_2, 3.1251488, 0.9509911),
        ("minimax", REAL_2, FAKE_2, 3.1251488, -3.050991),
    ],
)
def test_published_values(name: str, real: list[float], fake: list[float], discriminator: float, generator: float):
    real_score, fake_score = torch.tensor(real), torch.tensor(fake)
    assert LOSSES[name].discriminator(real_score, fake_score).mean().item() == pytest.approx(discriminator, abs=1e-5)
    assert LOSSES[name].generator(fake_score, real_score).mean().item() == pytest.approx(generator, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_first_and_second_derivatives(name: str):
    scores = [torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2)]  # away from every kink
    for function in (LOSSES[name].discriminator, LOSSES[name].generator):
        assert torch.autograd.gradcheck(function, scores)
        assert torch.autograd.gradgradcheck(function, scores)


@pytest.mark.parametrize("name", LOSSES)
def test_one_value_per_sample_and_patches_averaged(name: str):
    real, fake = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    value = LOSSES[name].discriminator(real, fake)
    assert value.shape == (3,) and LOSSES[name].generator(fake, real).shape == (3,)
    if not LOSSES[name].couples_samples:
        patches = LOSSES[name].discriminator(real[1].flatten(), fake[1].flatten())
        torch.testing.assert_close(value[1], patches.mean())


@pytest.mark.parametrize("name", LOSSES)
def test_scores_that_would_broadcast_are_refused(name: str):
    with pytest.raises(ValueError, match=r"\(4, 1\).*\(4,\).*squeeze"):
        LOSSES[name].discriminator(torch.randn(4, 1), torch.randn(4))


@pytest.mark.parametrize("name", ["relativistic_average", "relativistic_paired"])
def test_relativistic_scores_that_would_broadcast_are_refused_to_the_generator_too(name: str):
    with pytest.raises(ValueError, match=r"\(4, 1\).*\(4,\).*squeeze"):
        LOSSES[name].generator(torch.randn(4, 1), torch.randn(4))


def test_energies_in_closed_form():
    """Fakes above the margin cost nothing; at k = ½ half of L(G) is taken off L(x)."""
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 12.0])
    torch.testing.assert_close(LOSSES["energy_margin"].discriminator(real, fake, margin=10.0), torch.tensor([8.0, 2.0]))
    balanced = LOSSES["boundary_equilibrium"].discriminator(real, fake, k=0.5)
    torch.testing.assert_close(balanced, torch.tensor([-0.5, -4.0]))
    for name in ("energy_margin", "boundary_equilibrium"):
        torch.testing.assert_close(LOSSES[name].generator(fake), fake)


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_smoothed_target_is_where_the_real_loss_is_least(name: str):
    """With target t the best logit for reals is log(t / (1 − t)), not infinity."""
    score = torch.linspace(-5, 5, 2001)
    loss = LOSSES[name].discriminator(score, torch.zeros_like(score), real_target=0.9)
    assert score[loss.argmin()].item() == pytest.approx(torch.logit(torch.tensor(0.9)).item(), abs=0.01)

"""The mixtures of Gaussians, and what counts as a covered mode."""

import numpy as np
import pytest
import torch

from benchmarks.mixtures import MIXTURES, SIGMA, TRAINING, Mixture, play, quality, sections

CPU = torch.device("cpu")


def drawn(mixture: str, start: int, count: int, seed: int = 0) -> torch.Tensor:
    return Mixture(MIXTURES[mixture]).draw(seed, start, count, CPU)[0]


def test_a_position_holds_one_point_however_it_is_drawn():
    torch.testing.assert_close(drawn("grid", 0, 100)[30:50], drawn("grid", 30, 20), rtol=0, atol=0)
    assert not torch.equal(drawn("grid", 0, 100), drawn("grid", 0, 100, seed=1))


@pytest.mark.parametrize("mixture, modes", [("ring", 8), ("grid", 25)])
def test_the_data_have_equal_modes_of_the_stated_width(mixture: str, modes: int):
    centres, count = MIXTURES[mixture], 50_000
    points = drawn(mixture, 0, count).flatten(1).numpy()
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    share = np.bincount(nearest, minlength=modes) / count
    np.testing.assert_allclose(share, 1 / modes, atol=4 * np.sqrt(1 / modes / count))
    np.testing.assert_allclose((points - centres[nearest]).std(axis=0), SIGMA, rtol=0.02)
    assert (np.abs(points) > 1).mean() < 1e-3  # which tanh cannot reach


@pytest.mark.parametrize("mixture, modes", [("ring", 8), ("grid", 25)])
def test_the_data_themselves_cover_everything(mixture: str, modes: int):
    covered, good = quality(drawn(mixture, 0, 2500).flatten(1).numpy(), MIXTURES[mixture])
    assert covered == modes
    assert good == pytest.approx(1 - np.exp(-4.5), abs=0.01)


def test_one_point_covers_one_mode_and_a_miss_none():
    centre = MIXTURES["ring"][:1]
    assert quality(np.repeat(centre, 100, axis=0), MIXTURES["ring"]) == (1, 1.0)
    assert quality(np.repeat(centre + 4 * SIGMA, 100, axis=0), MIXTURES["ring"]) == (0, 0.0)


def test_a_mode_with_less_than_half_of_its_share_is_lost():
    points = np.repeat(MIXTURES["ring"], [50, 49] + [100] * 5 + [201], axis=0)  # 800 in all; half of 100 is 50
    assert quality(points, MIXTURES["ring"]).covered == 7


def test_a_blur_over_the_square_covers_nothing():
    blur = np.random.default_rng(0).uniform(-1, 1, (25_000, 2))
    assert quality(blur, MIXTURES["grid"]).covered == 0


def test_runs_share_all_that_is_not_the_objective():
    plain, gp = sections(["objective=minimax"]), sections(["objective=wgan_gp"])
    for key in ("networks", "training"):
        assert plain[key] == gp[key]
    assert plain["objective"]["optimizers"] == gp["objective"]["optimizers"]


def test_a_run_is_a_function_of_its_seed():
    run = sections(["objective=minimax"])
    run["training"] = TRAINING | {"images": 20 * TRAINING["batch_size"]}
    first, again, other = (play(("minimax", run, "ring", seed)).points for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)

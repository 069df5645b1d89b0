"""The moving average of weights."""

import pytest
import torch
from torch import nn

from ganlib.training.ema import MovingAverage


def test_half_is_left_after_one_half_life():
    source = nn.Linear(1, 1)
    average = MovingAverage(source, half_life=1000, rampup=1e9)
    nn.init.zeros_(average.module.weight)
    nn.init.ones_(source.weight)
    for step in range(100):
        average.update(10, (step + 1) * 10)
    assert average.module.weight.item() == pytest.approx(0.5, abs=1e-5)


def test_early_on_the_half_life_follows_the_images_seen():
    source = nn.Linear(1, 1)
    average = MovingAverage(source, half_life=1000, rampup=0.05)
    nn.init.zeros_(average.module.weight)
    nn.init.ones_(source.weight)
    average.update(10, 200)  # the half-life is 0.05 · 200 = 10 images
    assert average.module.weight.item() == pytest.approx(0.5, abs=1e-6)


def test_zero_half_life_is_the_weights_themselves_and_buffers_follow():
    source = nn.BatchNorm2d(2)
    average = MovingAverage(source, half_life=0, rampup=0.05)
    source(torch.randn(4, 2, 3, 3) + 5)
    average.update(4, 4)
    for mine, theirs in zip(average.module.state_dict().values(), source.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert not average.module.training


def test_stage_and_level_are_copied_and_not_averaged():
    """Whole numbers and truths, as games in stages keep them; a frozen buffer of weights stays bit for bit."""
    source = nn.Module()
    source.register_buffer("level", torch.tensor(1))
    source.register_buffer("on", torch.tensor(False))
    source.register_buffer("first_stage", torch.randn(100))
    average = MovingAverage(source, half_life=1000, rampup=1e9)
    kept = average.module.first_stage.clone()
    source.level.fill_(4)
    source.on.fill_(True)
    for step in range(50):
        average.update(10, 10 * step + 10)
    assert average.module.level == 4 and average.module.level.dtype == torch.int64 and average.module.on
    assert torch.equal(average.module.first_stage, kept)

"""Instance noise: its size and its end."""

import pytest
import torch

from ganlib.augmentations.instance_noise import Config, build
from ganlib.config import ConfigError
from ganlib.objectives.base import Noise


def test_no_std_no_noise():
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(build(Config(std=0.0))(images, Noise(0, 2)), images)


def test_gaussian_noise_that_falls_linearly_to_none():
    augmentation, images = build(Config(std=0.5, images=1000)), torch.randn(100, 3, 16, 16)
    for images_seen, std in ((0, 0.5), (500, 0.25), (900, 0.05), (1000, 0), (5000, 0)):
        augmentation.advance({}, images_seen, 100)
        noise = augmentation(images, Noise(0, 100)) - images
        assert noise.std().item() == pytest.approx(std, rel=0.02) and noise.mean().abs() <= 0.01
        assert augmentation.stats()["augmentation/std"] == pytest.approx(std)


def test_negative_noise_is_refused():
    with pytest.raises(ConfigError, match=r"std: must not be negative"):
        Config(std=-1)

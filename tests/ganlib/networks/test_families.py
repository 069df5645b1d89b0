"""What every network family promises."""

from typing import Any

import pytest
import torch

from ganlib import build
from ganlib.config import ConfigError
from ganlib.verdict import Verdict

SMALL = {"dcgan": {"width": 4}, "subpixel": {"width": 4}, "mlp": {"width": 8, "depth": 2}}
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64)]


def networks(family: str, shape: tuple[int, int, int], **options: Any) -> dict[str, Any]:
    module, config = build.component("networks", {"name": family, "latent": 6} | SMALL.get(family, {}) | options)
    torch.manual_seed(0)
    return module.build(config, shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", build.names("networks"))
def test_images_in_range_and_one_score_each(family, shape):
    players = networks(family, shape)
    images = players["generator"](torch.randn(5, players["generator"].latent))
    assert images.shape == (5, *shape) and images.abs().max() <= 1
    verdict = players["discriminator"](images)
    assert isinstance(verdict, Verdict) and verdict.score.shape == (5,) and verdict.features.shape[0] == 5


@pytest.mark.parametrize("family", build.names("networks"))
def test_mixes_batch_says_whether_other_images_matter(family):
    """A discriminator that claims to judge each image by itself gives it the same score in any company."""
    for options in ({}, {"discriminator_norm": "batch"}) if family != "mlp" else ({},):
        discriminator = networks(family, SHAPES[0], **options)["discriminator"].train()
        images = torch.randn(6, *SHAPES[0])
        together, alone = discriminator(images).score[:3], discriminator(images[:3]).score
        assert torch.allclose(together, alone, atol=1e-5) == (not discriminator.mixes_batch)


@pytest.mark.parametrize("family", build.names("networks"))
def test_the_same_seed_gives_the_same_weights_and_all_of_them_learn(family):
    players, again = networks(family, SHAPES[0]), networks(family, SHAPES[0])
    for role, network in players.items():
        for mine, theirs in zip(network.parameters(), again[role].parameters(), strict=True):
            assert torch.equal(mine, theirs)
    images = players["generator"](torch.randn(4, players["generator"].latent))
    players["discriminator"](images).score.square().sum().backward()
    for role, network in players.items():
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), f"{role}.{name}"


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance", "spectral"])
def test_normalisations_by_name(norm):
    discriminator = networks("dcgan", SHAPES[1], discriminator_norm=norm)["discriminator"]
    assert discriminator(torch.randn(4, *SHAPES[1])).score.isfinite().all()


def test_spectral_norm_bounds_every_layer_to_the_largest_singular_value_one():
    discriminator = networks("dcgan", SHAPES[1], discriminator_norm="spectral")["discriminator"]
    for _ in range(200):  # power iterations
        discriminator(torch.randn(2, *SHAPES[1]))
    for module in discriminator.modules():
        if hasattr(module, "parametrizations"):
            largest = torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
            assert largest == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(
    ("family", "shape", "message"),
    [
        ("dcgan", (1, 28, 30), "28×30"),
        ("dcgan", (1, 36, 36), "dataset.resolution=32"),
        ("subpixel", (1, 8, 8), "too small for subpixel"),
        ("subpixel", (1, 25, 25), "25×25"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(family, shape, message):
    with pytest.raises(ConfigError, match=message):
        networks(family, shape)

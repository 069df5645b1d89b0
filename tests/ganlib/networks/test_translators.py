"""U-Net, ResNet and patch discriminator: the published sizes, what each score sees, noise, and the way back."""

from typing import Any

import pytest
import torch

from ganlib import build
from ganlib.condition import Condition, of_classes
from ganlib.config import ConfigError
from ganlib.layers.translators import Options, Patches


def networks(family: str, sides: tuple[int, int] = (64, 64), told: int = 3, channels: int = 3, **options: Any
             ) -> dict[str, Any]:
    condition = Condition("image", told, sides)
    return build.networks({"name": family} | options, (channels, *sides), condition, 0)


def weights(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_sizes_are_those_of_the_authors_networks():
    """Counted on the authors' code: U-Net-256, ResNet-9, PatchGAN of 70 px on pairs and on images."""
    with torch.device("meta"):
        pix2pix, cyclegan = networks("unet", (256, 256)), networks("resnet", (256, 256))
        scores = pix2pix["discriminator"](torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256)).score
    assert weights(pix2pix["generator"]) == 54_413_955
    assert weights(pix2pix["discriminator"]) == 2_768_705
    assert weights(cyclegan["generator"]) == 11_378_179
    assert weights(cyclegan["discriminator"]) == 2_764_737
    assert scores.shape == (1, 1, 30, 30)


@pytest.mark.parametrize("patch", [1, 16, 34, 70])
def test_a_score_sees_a_patch_of_its_size_and_no_more(patch):
    """The pixels that reach the score in the middle, by its gradient."""
    torch.manual_seed(0)
    options = Options(discriminator_width=4, discriminator_norm="none", patch=patch, conditioning="none")
    patches, images = Patches(options, (1, 160, 160)).double(), torch.randn(1, 1, 160, 160, dtype=torch.float64)
    images.requires_grad_()
    scores = patches(images).score
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    rows = images.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == patch


def test_dropout_is_a_function_of_z_and_keeps_the_share_and_the_mean():
    unet = networks("unet", width=4, dropout=0.25)["generator"].eval()
    assert unet.latent == 32 * 4 * 4  # the one level of full width between the innermost and the rest
    images, z = torch.randn(3, 3, 64, 64), torch.randn(3, unet.latent)
    assert torch.equal(unet(z, images), unet(z, images)) and not torch.equal(unet(z, images), unet(z.flip(0), images))
    assert (torch.randn(100_000) > unet.threshold).float().mean().item() == pytest.approx(0.75, abs=0.01)
    pix2pix = networks("unet", (256, 256), width=1, dropout=0.5)["generator"]
    assert list(pix2pix.dropped) == [6, 5, 4]  # three levels, as the authors'


@pytest.mark.parametrize("family", ["unet", "resnet"])
def test_in_two_directions_the_way_back_has_the_channels_of_the_other_set(family):
    players = networks(family, told=1, channels=3, width=4, discriminator_width=4, patch=16, directions=2,
                       conditioning="none")
    there, discriminator = players["generator"], players["discriminator"]
    drawn = there(torch.zeros(2, there.latent), torch.zeros(2, 1, 64, 64))
    again = there.back(torch.zeros(2, there.back.latent), drawn)
    assert drawn.shape == (2, 3, 64, 64) and again.shape == (2, 1, 64, 64)
    assert discriminator(drawn).score.shape == discriminator.back(again).score.shape
    assert there.back.told == Condition("image", 3, (64, 64))
    first = [next(network.parameters()) for network in (there, there.back)]
    assert not torch.equal(first[0].flatten()[:9], first[1].flatten()[:9])


@pytest.mark.parametrize("norm", ["none", "batch", "sync_batch", "layer", "group", "instance"])
@pytest.mark.parametrize("options", [{"name": "unet", "depth": 3}, {"name": "unet", "upsampling": "subpixel"},
                                     {"name": "resnet", "blocks": 1}])  # fmt: skip
def test_every_option_learns_in_bfloat16(norm, options):
    name = options["name"]
    rest = {key: value for key, value in options.items() if key != "name"}
    norms = {"generator_norm": norm, "discriminator_norm": "spectral" if norm == "none" else norm}
    players = networks(name, width=4, discriminator_width=4, patch=34, **norms, **rest)
    images = torch.randn(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        drawn = players["generator"](torch.randn(2, players["generator"].latent), images)
        verdict = players["discriminator"](drawn, images)
    verdict.score.float().square().sum().backward()
    for role, network in players.items():
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), f"{role}.{parameter_name}"


@pytest.mark.parametrize(
    ("family", "condition", "options", "message"),
    [
        ("unet", of_classes(3), {}, r"draws images 3×64×64 from images .* one of 3 classes; take networks=subpixel"),
        ("resnet", Condition("image", 3, (32, 32)), {}, r"from images of that height and width.*an image 3×32×32"),
        ("unet", Condition("image", 3, (64, 64)), {"depth": 7}, r"networks\.depth: images of 64×64 cannot be halved 7"),
        ("resnet", Condition("image", 3, (64, 64)), {"patch": 50}, r"networks\.patch: 50 is not a choice"),
        ("unet", Condition("image", 3, (64, 64)), {"depth": 5, "dropout": 0.5}, "dropout: at a depth of 5 there"),
        ("unet", Condition("image", 3, (64, 64)), {"directions": 2}, r"conditioning: in two directions"),
        ("unet", Condition("image", 3, (64, 64)), {"generator_norm": "spectral"}, r"generator_norm: spectral is for"),
    ],
)
def test_what_cannot_be_built_is_refused(family, condition, options, message):
    with pytest.raises(ConfigError, match=message):
        build.networks({"name": family, "width": 2} | options, (3, 64, 64), condition, 0)


def test_images_smaller_than_the_patches_are_refused():
    with pytest.raises(ConfigError, match=r"networks\.patch: images of 16×16 are too small for patches of 70 pixels"):
        networks("resnet", (16, 16), width=2)
    with pytest.raises(ConfigError, match="multiples of 4"):
        networks("resnet", (18, 18), width=2)

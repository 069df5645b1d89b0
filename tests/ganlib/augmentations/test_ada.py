"""Adaptive augmentation: each change in closed form, and the way of p."""

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import pad

from ganlib.augmentations.ada import ADA, Config, build
from ganlib.augmentations.resample import bilinear
from ganlib.config import ConfigError
from ganlib.objectives.base import Noise
from ganlib.objectives.two_player import Config as Game
from ganlib.objectives.two_player import TwoPlayer


def augment(images: torch.Tensor, *changes: Any, p: float = 1.0) -> torch.Tensor:
    return build(Config(changes=changes, p=p))(images, Noise(0, len(images)))


def pictures(count: int, channels: int = 3, height: int = 8, width: int = 8) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (7, 12)])
def test_at_p_zero_every_bit_stays(channels, size):
    images = pictures(8, channels, *size)
    assert torch.equal(build(Config())(images, Noise(0, 8)), images)


def counts(seen: torch.Tensor, *possible: torch.Tensor, within: float = 0.0) -> list[int]:
    """How often each of the possible results came out; every image must be one of them."""
    matches = torch.stack([(seen - each).abs().flatten(1).amax(1) <= within for each in possible])
    assert (matches.sum(0) == 1).all()
    return matches.sum(1).tolist()


def test_xflip_mirrors_every_other_image():
    images = pictures(1000)
    _, flipped = counts(augment(images, "xflip"), images, images.flip(3))
    assert 430 < flipped < 570
    _, flipped = counts(augment(images, "xflip", p=0.5), images, images.flip(3))
    assert 190 < flipped < 310


def test_rotate90_turns_by_each_quarter_alike():
    images = pictures(1000)
    turned = counts(augment(images, "rotate90"), *(images.rot90(k, (2, 3)) for k in range(4)))
    assert all(190 < count < 310 for count in turned)


def test_xint_shifts_by_whole_pixels_with_mirrored_borders():
    images = pictures(300, 3, 16, 8)
    padded = pad(images, (1, 1, 2, 2), mode="reflect")
    shifts = [padded[:, :, y : y + 16, x : x + 8] for y in range(5) for x in range(3)]
    assert all(counts(augment(images, "xint"), *shifts))


def test_lumaflip_negates_the_grey_part_alone():
    images = pictures(400)
    grey = images.mean(1, keepdim=True)
    assert all(count > 150 for count in counts(augment(images, "lumaflip"), images, images - 2 * grey, within=1e-6))
    images = pictures(400, 1)
    assert all(count > 150 for count in counts(augment(images, "lumaflip"), images, -images))


def test_brightness_and_contrast_are_as_strong_as_the_papers():
    shift = (augment(pictures(4000, 1, 2, 2), "brightness") - pictures(4000, 1, 2, 2)).flatten(1)
    assert torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-6)
    assert shift.std() == pytest.approx(0.2, rel=0.05) and shift.mean().abs() < 0.02
    scale = (augment(pictures(4000, 3, 2, 2), "contrast") / pictures(4000, 3, 2, 2)).flatten(1).double().log2()
    assert torch.allclose(scale, scale[:, :1].expand_as(scale), atol=1e-2)
    assert scale[:, 0].std() == pytest.approx(0.5, rel=0.05) and scale[:, 0].mean().abs() < 0.05


def chroma(images: torch.Tensor) -> torch.Tensor:
    """The part orthogonal to grey, as complex numbers: (N, pixels)."""
    first = torch.tensor([2.0, -1, -1]) / math.sqrt(6)
    second = torch.tensor([0.0, 1, -1]) / math.sqrt(2)
    flat = images.flatten(2).transpose(1, 2)
    return torch.complex(flat @ first, flat @ second)


def test_hue_turns_all_colours_of_an_image_by_one_angle_about_grey():
    images = pictures(1000, 3, 2, 2)
    seen = augment(images, "hue")
    assert torch.allclose(seen.mean(1), images.mean(1), atol=1e-6)
    turn = chroma(seen) / chroma(images)
    assert torch.allclose(turn.abs(), torch.ones(()), atol=1e-3)
    assert torch.allclose(turn, turn[:, :1].expand_as(turn), atol=1e-3)
    angle = turn[:, 0].angle()
    assert angle.min() < -3 and angle.max() > 3 and angle.std() == pytest.approx(math.pi / math.sqrt(3), rel=0.05)


def test_saturation_scales_all_colours_of_an_image_about_grey():
    images = pictures(2000, 3, 2, 2)
    seen = augment(images, "saturation")
    assert torch.allclose(seen.mean(1), images.mean(1), atol=1e-5)
    scale = chroma(seen) / chroma(images)
    assert scale.imag.abs().max() < 1e-2
    assert scale.real[:, 0].log2().std() == pytest.approx(1.0, rel=0.05)


def test_grey_images_have_no_hue_and_no_saturation():
    images = pictures(16, 1)
    assert torch.equal(augment(images, "hue", "saturation"), images)


def ramp(count: int, size: int = 33) -> torch.Tensor:
    """Channel 0 is x, channel 1 is y, in pixels from the centre: what comes out are the places that were read."""
    x = (torch.arange(size) - (size - 1) / 2).expand(size, size)
    return torch.stack([x, x.T]).expand(count, 2, size, size)


def jacobian(seen: torch.Tensor) -> torch.Tensor:
    """∂(place read)/∂(place) at the centre of the ramp: (N, 2, 2)."""
    c = seen.shape[2] // 2
    return torch.stack([seen[:, :, c, c + 1] - seen[:, :, c, c], seen[:, :, c + 1, c] - seen[:, :, c, c]], 2)


def test_scale_rotate_and_aniso_by_their_jacobians():
    scaled = jacobian(augment(ramp(2000), "scale"))
    assert torch.allclose(scaled, scaled[:, :1, :1] * torch.eye(2), atol=1e-4)
    assert scaled[:, 0, 0].log2().std() == pytest.approx(0.2, rel=0.05)
    stretched = jacobian(augment(ramp(2000), "aniso"))
    assert torch.allclose(torch.linalg.det(stretched), torch.ones(()), atol=1e-3)
    assert stretched[:, 0, 0].log2().std() == pytest.approx(0.2, rel=0.05)
    turned = jacobian(augment(ramp(2000), "rotate"))
    assert torch.allclose(turned @ turned.mT, torch.eye(2), atol=1e-3)


@pytest.mark.parametrize("change", ["scale", "rotate", "aniso", "xfrac"])
def test_each_change_is_as_likely_as_p(change):
    """Also rotations, of which there are two, and shifts, which go along two axes."""
    images = ramp(3000, 9)
    changed = (augment(images, change, p=0.4) - images).abs().flatten(1).amax(1) > 1e-4
    assert changed.float().mean() == pytest.approx(0.4, abs=0.03)


def test_xfrac_shifts_by_an_eighth_of_the_side():
    seen = augment(ramp(1000), "xfrac")[:, :, 16, 16]
    assert torch.allclose(seen.std(0), torch.full((2,), 33 / 8), rtol=0.06)


def test_changes_are_made_in_the_papers_order():
    """Shifted by whole pixels and then scaled: the new centre is a pixel of the old image. Brighter and then of another
    contrast: what was −brightness is zero, whatever the contrast."""
    centre = augment(ramp(500), "scale", "xint")[:, :, 16, 16]
    assert torch.allclose(centre, centre.round(), atol=1e-4) and centre.abs().max() == pytest.approx(4)
    images = pictures(4000, 1, 1, 2)
    seen = augment(images, "contrast", "brightness").flatten(1)
    contrast = (seen[:, 1] - seen[:, 0]) / (images[..., 1] - images[..., 0]).flatten()
    brightness = seen[:, 0] / contrast - images[..., 0].flatten()
    assert brightness.median().abs() < 0.02 and brightness.std() == pytest.approx(0.2, rel=0.05)


def test_bilinear_is_torchs_grid_sample():
    images = pictures(2, 3, 6, 9).double()
    row, column = torch.rand(2, 2, 4, 5, dtype=torch.float64).mul(40).sub(20)
    grid = torch.stack([2 * column / 8 - 1, 2 * row / 5 - 1], 3)
    theirs = torch.nn.functional.grid_sample(images, grid, "bilinear", "reflection", align_corners=True)
    assert torch.allclose(bilinear(images, row, column), theirs, atol=1e-12)


def advance(ada: ADA, sign: float, images: int, batch: int = 64) -> None:
    for images_seen in range(0, images, batch):
        ada.advance({"D/real_sign": torch.tensor(sign)}, images_seen, batch)


def test_p_goes_from_zero_to_one_in_kimg_and_no_further():
    ada = build(Config(kimg=10))
    advance(ada, 0.9, 5_120)
    assert ada.p.item() == pytest.approx(0.512, abs=1e-4)
    advance(ada, 0.9, 10_240)
    assert ada.p == 1 == ada.stats()["augmentation/p"]
    advance(ada, 0.1, 2_560)
    assert ada.p.item() == pytest.approx(0.744, abs=1e-4)
    advance(ada, 0.1, 20_480)
    assert ada.p == 0


def test_p_moves_once_an_interval_by_the_sign_of_the_mean():
    ada = build(Config(p=0.5, interval=256, kimg=1))
    for number, sign in enumerate((1.0, 1.0, -1.0)):
        ada.advance({"D/real_sign": torch.tensor(sign)}, number * 64, 64)
        assert ada.p == 0.5
    ada.advance({"D/real_sign": torch.tensor(1.0)}, 192, torch.tensor(64))  # the mean, 0.5, lies below 0.6
    assert ada.p.item() == pytest.approx(0.5 - 0.256)
    assert ada.signs == 0 == ada.counted


def test_a_fixed_p_needs_no_signs_and_an_adaptive_one_says_so():
    signless = TwoPlayer(Game(loss="wasserstein"))
    ada = build(Config(p=0.3, target=None))
    ada.check(signless)
    ada.advance({}, 0, 1000)
    assert ada.p == pytest.approx(0.3)
    with pytest.raises(ConfigError, match=r"augmentation\.target: ada follows the sign.*target=null"):
        build(Config()).check(signless)
    build(Config()).check(TwoPlayer(Game(loss="hinge")))


@pytest.mark.parametrize(("options", "message"), [
    ({"p": 1.5}, "p: must lie in"), ({"target": 1.0}, "null keeps p fixed"), ({"kimg": 0}, "kimg: must be above 0"),
    ({"interval": 0}, "interval: must be at least 1"),
])  # fmt: skip
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Config(**options)

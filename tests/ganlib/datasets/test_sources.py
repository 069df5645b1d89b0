"""Files as a translator is told them: upright, over white, on one scale, of its size and channels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlib.condition import Condition
from ganlib.config import ConfigError
from ganlib.datasets import images, sources
from ganlib.datasets.images import Unreadable, White

GREY, COLOUR = Condition("image", 1, (8, 16)), Condition("image", 3, (8, 16))
WHITE = White()


def test_what_is_known_before_anything_is_read(tmp_path: Path):
    paths = [tmp_path / name for name in ("grey.png", "colour.png", "torn.png", "deep.png")]
    Image.new("L", (4, 4)).save(paths[0])
    Image.new("RGB", (4, 4)).save(paths[1])
    paths[2].write_bytes(b"nothing")
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(paths[3])
    seen = sources.look(paths)
    assert (seen.white.deep, seen.coloured, seen.broken) == (4095, [paths[1]], {paths[2]: "of no known type"})
    assert sources.look(paths[:3]).white == WHITE


def test_images_of_more_than_eight_bits_share_one_scale(tmp_path: Path):
    paths = [tmp_path / "dark.png", tmp_path / "bright.png"]
    for path, value in zip(paths, (400, 4000), strict=True):
        Image.fromarray(np.full((8, 16), value, np.uint16)).save(path)
    white = sources.look(paths).white
    values = [int(sources.read(path, GREY, white)[0, 0, 0]) for path in paths]
    assert values == [round(400 * 255 / 4095), round(4000 * 255 / 4095)]


def test_an_image_is_turned_upright_laid_over_white_and_cut_or_padded(tmp_path: Path):
    path = tmp_path / "a.png"
    lying = Image.new("RGBA", (8, 32), (255, 0, 0, 255))  # upright it is 32 wide, and its left end is transparent
    lying.paste((0, 0, 0, 0), (0, 24, 8, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    lying.save(path, exif=exif)
    cut, padded = (sources.read(path, COLOUR, WHITE, sources.Reading(fit)) for fit in ("crop", "pad"))
    assert cut.shape == padded.shape == (3, 8, 16)
    assert (cut == np.array([255, 0, 0], np.uint8)[:, None, None]).all()  # the middle 16 of 32
    assert (padded[:, 0] == 255).all() and (padded[:, 4, 0] == 255).all() and padded[:, 4, 15].tolist() == [255, 0, 0]


def test_channels_are_those_that_are_told(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("L", (16, 8), 77).save(path)
    assert (sources.read(path, COLOUR, WHITE) == 77).all() and sources.read(path, COLOUR, WHITE).shape == (3, 8, 16)
    Image.new("RGB", (16, 8), (255, 0, 0)).save(path)
    assert (sources.read(path, GREY, WHITE) == 76).all()  # red by its luminance
    with pytest.raises(ConfigError, match="is told an image 2×8×16, and image files have 1 or 3 channels"):
        sources.read(path, Condition("image", 2, (8, 16)), WHITE)


def test_an_image_of_the_size_is_told_as_it_is(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(sources.read(tmp_path / "a.png", COLOUR, WHITE), pixels.transpose(2, 0, 1))
    assert np.array_equal(images.read(tmp_path / "a.png"), pixels.transpose(2, 0, 1))
    with pytest.raises(Unreadable):
        sources.read(tmp_path / "none.png", COLOUR, WHITE)

"""Image files of every type that is taken, and files that are none."""

import numpy as np
import pytest
from PIL import Image

from ganlib.datasets.images import FORMATS, Unreadable, White, look, read
from ganlib.datasets.listing import SUFFIXES

Image.init()
WRITABLE = {suffix: Image.EXTENSION[suffix] for suffix in sorted(SUFFIXES) if suffix in Image.EXTENSION}


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_ending_that_is_taken_is_read(tmp_path, suffix):
    if suffix not in WRITABLE:
        pytest.skip(f"this Pillow does not know {suffix}")
    mode = "1" if suffix == ".pbm" else "L" if suffix == ".pgm" else "RGB"
    image = Image.new("RGB", (16, 12), (200, 100, 50)).convert(mode, dither=Image.Dither.NONE)
    image.save(tmp_path / f"a{suffix}", WRITABLE[suffix])
    expected = np.asarray(image.convert("L" if mode != "RGB" else "RGB"), int).reshape(12, 16, -1).transpose(2, 0, 1)
    assert np.abs(read(tmp_path / f"a{suffix}") - expected).max() <= 8
    image.save(tmp_path / "b.tga" if suffix == ".tga" else tmp_path / "b.png", WRITABLE[suffix])  # by what is in it
    assert look(tmp_path / ("b.tga" if suffix == ".tga" else "b.png")).grey == (mode != "RGB")


def test_programs_are_not_run(tmp_path):
    """EPS is one, which Pillow hands to Ghostscript, whatever the file's name."""
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png", "EPS")
    assert "EPS" not in FORMATS
    with pytest.raises(Unreadable, match=r"a\.png: cannot be read as an image \(of no known type\)"):
        read(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of TIFFs whose metadata is damaged
@pytest.mark.parametrize("suffix", sorted(WRITABLE))
def test_damaged_files_are_unreadable_and_nothing_else(tmp_path, suffix):
    draw = np.random.default_rng(0)
    pixels = Image.fromarray(draw.integers(0, 256, (24, 20, 3), np.uint8))
    pixels.convert("L" if suffix in (".pbm", ".pgm") else "RGB").save(tmp_path / f"a{suffix}", WRITABLE[suffix])
    whole = bytearray((tmp_path / f"a{suffix}").read_bytes())
    for _ in range(60):
        content = bytearray(whole)
        for place in draw.integers(0, min(len(content), 200), 3):
            content[place] = draw.integers(256)
        (tmp_path / f"a{suffix}").write_bytes(content[:draw.integers(1, len(content) + 1)])
        try:
            look(tmp_path / f"a{suffix}", decode=True)
            image = read(tmp_path / f"a{suffix}")
            assert image.dtype == np.uint8 and image.ndim == 3 and len(image) in (1, 3)
        except Unreadable as error:
            assert error.reason and "\n" not in str(error)


def test_a_16_bit_image_is_turned_as_the_camera_says_too(tmp_path):
    pixels = np.zeros((8, 8), np.uint16)
    pixels[0] = 4095  # a bright top
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180°
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image = read(tmp_path / "a.png", white=White(deep=4095))
    assert image[0, -1].min() == 255 and image[0, :-1].max() == 0

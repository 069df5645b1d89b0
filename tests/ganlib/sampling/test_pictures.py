"""Grids put each image where they say, captions stand beside pictures, animations hold their frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib.sampling.pictures import animation, captioned, grid, thumbnails


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 3])
def test_each_image_is_at_its_place(channels: int, scale: int) -> None:
    images = torch.randint(0, 256, (5, channels, 4, 6), dtype=torch.uint8)
    picture = grid(images, columns=2, scale=scale)
    assert picture.size == (12 * scale, 12 * scale) and picture.mode == ("L" if channels == 1 else "RGB")
    for index in range(5):
        row, column = divmod(index, 2)
        box = (column * 6 * scale, row * 4 * scale, (column + 1) * 6 * scale, (row + 1) * 4 * scale)
        cell = np.asarray(picture.crop(box).resize((6, 4), Image.Resampling.NEAREST)).reshape(4, 6, channels)
        np.testing.assert_array_equal(cell.transpose(2, 0, 1), images[index])
    assert not np.asarray(picture)[8 * scale:, 6 * scale:].any()  # the empty cell


@pytest.mark.parametrize("wrong", [torch.zeros(2, 1, 4, 4), torch.zeros(2, 2, 4, 4, dtype=torch.uint8),
                                   torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(0, 1, 4, 4, dtype=torch.uint8)])
def test_what_is_no_batch_of_images_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="uint8 images"):
        grid(wrong, 2)


def test_captions_stand_beside_their_pictures() -> None:
    red = Image.new("RGB", (30, 20), (200, 0, 0))
    rows = [("first", red), ("the second\nwith a caption\nthat is higher\nthan it", red)]
    page = captioned(rows, "a title that is wider than the pictures beside it,\nand has a second line")
    pixels = np.asarray(page)
    ink = pixels.max(2) < 128
    assert page.mode == "RGB" and not ink[:, -1].any() and not ink[-1].any()  # nothing is cut
    down, across = np.nonzero((pixels == (200, 0, 0)).all(2))
    assert len(down) == 2 * 30 * 20 and across.max() - across.min() == 29
    assert not ink[:, across.min():][down.min():].any()  # captions are left of them
    assert captioned([("grey", red.convert("L"))]).mode == "L"


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_are_averaged_down_and_small_ones_left(channels: int) -> None:
    image = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2).mul(20).expand(2, channels, 2, 2)
    large = image.repeat_interleave(64, 2).repeat_interleave(32, 3)  # 128 high, 64 wide
    small = thumbnails(large, side=4)
    assert small.shape == (2, channels, 4, 2) and small.dtype == torch.uint8
    torch.testing.assert_close(small[:, :, ::2], image)
    assert torch.equal(thumbnails(image.numpy(), side=4), image)


def test_an_animation_saved_holds_every_frame(tmp_path: Path) -> None:
    shades = [10, 100, 200]
    animation([Image.new("L", (8, 6), shade) for shade in shades], 0.5).save(tmp_path / "a.png", save_all=True)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.n_frames == 3 and picture.info["loop"] == 0
        for frame, (shade, seconds) in enumerate(zip(shades, (0.5, 0.5, 1.5), strict=True)):
            picture.seek(frame)
            assert picture.convert("L").getextrema() == (shade, shade)
            assert picture.info["duration"] == 1000 * seconds

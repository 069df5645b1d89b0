"""Grids put each image where they say; the spherical path keeps the norm."""

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib.sampling.pictures import captioned, grid, interpolate


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
    black = Image.new("L", (30, 20))
    page = captioned([("first", black), ("second one", black)], "a title that is wider than the pictures beside it")
    ink = np.asarray(page).min(2) < 128
    assert page.mode == "RGB" and ink[:, -1].sum() == 0
    blocks = [top for top in range(page.height - 20) if ink[top:top + 20].sum(1).min() >= 30]
    assert len(blocks) == 2


def test_the_spherical_path_keeps_norm_and_angle() -> None:
    a, b = torch.eye(8)[0] * 3, torch.eye(8)[1] * 3
    path = interpolate(a, b, 7)
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b)
    torch.testing.assert_close(path.norm(dim=1), torch.full((7,), 3.0))
    steps = torch.nn.functional.cosine_similarity(path[1:], path[:-1]).arccos()
    torch.testing.assert_close(steps, torch.full((6,), torch.pi / 12), rtol=1e-3, atol=0)


def test_batches_of_pairs_and_parallel_latents() -> None:
    a, b = torch.randn(3, 16), torch.randn(3, 16)
    b[1] = a[1]  # no angle: 0/0 if it were not looked after
    path = interpolate(a, b, 5)
    assert path.shape == (3, 5, 16)
    torch.testing.assert_close(path[0], interpolate(a[0], b[0], 5))
    torch.testing.assert_close(path[1], a[1].expand(5, 16))

"""The resize that extractors share: half-pixel centres, and no aliases."""

import torch

from ganlib.metrics.resizing import bilinear


def test_centres_of_pixels_lie_half_a_pixel_inside() -> None:
    ramp = torch.tensor([[0, 100]], dtype=torch.uint8).expand(1, 1, 2, 2)
    assert bilinear(ramp, 2, 4)[0, 0, 0].tolist() == [0, 25, 75, 100]


def test_what_is_too_fine_for_the_smaller_image_becomes_its_mean() -> None:
    stripes = torch.tensor([252, 0, 0, 0], dtype=torch.uint8).repeat(8).expand(1, 1, 32, 32)
    inside = bilinear(stripes, 8, 8)[0, 0, :, 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 63.0))


def test_images_of_that_size_stay_as_they_are() -> None:
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    torch.testing.assert_close(bilinear(images, 5, 7), images.float(), rtol=0, atol=0)

"""DiffAugment against what the paper says of each change."""

import torch

from ganlib.augmentations.diffaugment import Config, build
from ganlib.objectives.base import Noise


def augment(images: torch.Tensor, *policy: str) -> torch.Tensor:
    return build(Config(policy))(images, Noise(0, len(images)))  # type: ignore[arg-type]


def test_no_policy_no_change():
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(augment(images), images)


def test_translation_shifts_by_whole_pixels_up_to_an_eighth_and_fills_with_zeros():
    images = torch.randn(400, 2, 16, 24)
    seen, found = augment(images, "translation"), set()
    for image, moved in zip(images, seen, strict=True):
        padded = torch.nn.functional.pad(image, (3, 3, 2, 2))
        (shift,) = [(down, right) for down in range(-2, 3) for right in range(-3, 4)
                    if torch.equal(padded[:, 2 - down : 18 - down, 3 - right : 27 - right], moved)]
        found.add(shift)
    assert len(found) == 5 * 7


def test_cutout_hides_half_of_each_side_wherever_its_centre_falls():
    hidden = augment(torch.ones(500, 3, 8, 12), "cutout") == 0
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))  # alike in all channels
    rows, columns = hidden[:, 0].any(2).sum(1), hidden[:, 0].any(1).sum(1)
    assert torch.equal(hidden[:, 0].sum((1, 2)), rows * columns)  # a rectangle
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 4, 3, 6)  # centred on the border: half of it
    assert hidden.any(0).all()


def test_color_keeps_to_its_ranges():
    """Pixels a and b of a grey image: contrast is the ratio of their distances, brightness the shift of their mean."""
    images = torch.tensor([-0.5, 0.5]).expand(2000, 1, 1, 2)
    seen = augment(images, "color").flatten(1)
    contrast, brightness = seen[:, 1] - seen[:, 0], seen.mean(1)
    for values, low, high in ((contrast, 0.5, 1.5), (brightness, -0.5, 0.5)):
        assert low <= values.min() < low + 0.02 and high - 0.02 < values.max() <= high


def test_saturation_scales_the_distance_to_grey():
    """Of one pixel, whose mean is then moved by brightness alone, and whose distance to it by contrast too."""
    colour = torch.tensor([-0.3, 0.0, 0.6])
    seen = augment(colour.view(1, 3, 1, 1).expand(2000, 3, 1, 1), "color").flatten(1)
    chroma, chroma_seen = colour - colour.mean(), seen - seen.mean(1, keepdim=True)
    scale = chroma_seen @ chroma / chroma.square().sum()
    assert torch.allclose(chroma_seen, scale[:, None] * chroma, atol=1e-6)
    assert 0 <= scale.min() < 0.02 and 2.8 < scale.max() < 3  # saturation below 2 times contrast below 1.5

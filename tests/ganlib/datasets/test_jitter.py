import itertools

import numpy as np
import pytest
import torch

from ganlib.condition import Condition
from ganlib.config import ConfigError
from ganlib.datasets.jitter import Jitter, uniform
from ganlib.datasets.table import Table

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 3, 16, 12), np.uint8)


def ramp(count=1, height=16, width=16):
    """Each pixel says where it lies: red grows to the right, green downwards."""
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    image = np.stack([across / width * 255, down / height * 255, 0 * across]).round().astype(np.uint8)
    return np.repeat(image[None], count, 0)


def corners(images):
    """Where the first and the last pixel of each image come from, as shares of the sides (N, 2, 2)."""
    seen = (images[:, :2] + 1) / 2
    return torch.stack([seen[:, :, 0, 0], seen[:, :, -1, -1]], 1)


def test_without_jitter_and_flips_it_is_the_identity_bit_for_bit():
    table = Table.from_arrays(PIXELS, sources=PIXELS)
    for got, expected in zip(Jitter(table, flip=False, jitter=0).draw(3, 5, 40), table.draw(3, 5, 40), strict=True):
        assert torch.equal(got, expected)


def test_half_of_the_images_are_mirrored_exactly():
    table = Table.from_arrays(PIXELS)
    got, plain = Jitter(table, jitter=0).draw(3, 0, 4000)[0], table.draw(3, 0, 4000)[0]
    as_it_was = (got == plain).flatten(1).all(1)
    assert ((got == plain.flip(3)).flatten(1).all(1) ^ as_it_was).all()
    assert as_it_was.float().mean().item() == pytest.approx(0.5, abs=0.03)  # 4 standard errors


@pytest.mark.parametrize("jitter", [0.0, 0.12])
@pytest.mark.parametrize("paired", [True, False])
def test_it_is_a_pure_function_of_the_position_however_it_is_cut(jitter, paired):
    images = Jitter(Table.from_arrays(PIXELS, sources=PIXELS[:37], paired=False) if not paired else
                    Table.from_arrays(PIXELS, sources=PIXELS), jitter=jitter)
    whole = images.draw(3, 0, 130)
    for cuts in ((0, 130), (0, 64, 128, 130), (0, 1, 7, 51, 130)):
        parts = [images.draw(3, start, stop - start) for start, stop in itertools.pairwise(cuts)]
        for which in (0, 1):
            assert torch.equal(torch.cat([part[which] for part in parts]), whole[which])
    assert not torch.equal(images.draw(4, 0, 130)[0], whole[0])
    first, second = (images.draw(3, start, 50)[0].sum((1, 2, 3)).sort().values for start in (0, 50))
    assert torch.allclose(first, second) == (jitter == 0)  # another epoch is cut otherwise


def test_pairs_move_alike_and_others_on_their_own():
    together = Jitter(Table.from_arrays(PIXELS, sources=PIXELS))
    images, told = together.draw(0, 0, 200)
    assert torch.equal(images, told)
    apart = Jitter(Table.from_arrays(ramp(50), sources=ramp(50), paired=False))
    images, told = (corners(part) for part in apart.draw(0, 0, 2000))
    turned = [part[:, 0, 0] > part[:, 1, 0] for part in (images, told)]
    assert (turned[0] == turned[1]).float().mean().item() == pytest.approx(0.5, abs=0.05)
    tops = torch.stack([part[:, 0, 1] for part in (images, told)])
    assert abs(torch.corrcoef(tops)[0, 1].item()) < 0.1


def test_a_condition_of_another_size_is_cut_at_the_same_place():
    images, told = Jitter(Table.from_arrays(ramp(50, 64, 64), sources=ramp(50, 16, 32)), jitter=0.5).draw(0, 0, 100)
    assert told.shape == (100, 3, 16, 32)
    cuts = []
    for sides, mine in (((64, 64), images), ((16, 32), told)):
        seen = corners(mine)
        # The middle of the corner pixel → the corner itself: half a pixel of what is seen, 2/3 of the image.
        half = torch.tensor([sides[1], sides[0]]).reciprocal() / 3
        low, high = seen.min(1).values - half, seen.max(1).values + half
        torch.testing.assert_close(high - low, torch.full_like(low, 2 / 3), atol=0.02, rtol=0)
        cuts.append(low)
    torch.testing.assert_close(*cuts, atol=0.02, rtol=0)
    assert cuts[0].min() < 0.02 and cuts[0].max() > 1 / 3 - 0.02  # every place is met


def test_classes_and_texts_are_left_alone_and_all_else_is_handed_on():
    labelled = Table.from_arrays(PIXELS, np.arange(50) % 2)
    jittered = Jitter(labelled)
    assert torch.equal(jittered.draw(1, 0, 70)[1], labelled.draw(1, 0, 70)[1])
    assert not torch.equal(jittered.draw(1, 0, 70)[0], labelled.draw(1, 0, 70)[0])
    for name in ("shape", "condition", "label_counts", "sha256"):
        assert getattr(jittered, name) == getattr(labelled, name)
    assert len(jittered) == 50
    texts = Table.from_arrays(PIXELS, texts=np.eye(50), captions=["a"] * 50)
    assert Jitter(texts).condition == Condition("text", 50)
    assert torch.equal(Jitter(texts).draw(1, 0, 70)[1], texts.draw(1, 0, 70)[1])
    assert Jitter(Table.from_arrays(PIXELS)).draw(1, 0, 2)[1] is None
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="jitter: a share by which to enlarge"):
            Jitter(labelled, jitter=share)


def test_the_numbers_are_uniform_and_independent():
    for seed in (0, 2**63 - 1):
        numbers = uniform(seed, 10**12, 30_000, 3)
        assert numbers.min() >= 0 and numbers.max() < 1
        counts = np.histogram(numbers, 20, (0, 1))[0]
        assert ((counts - 4500) ** 2 / 4500).sum() < 44  # χ² of 19 degrees of freedom: 0.1 %
        neighbours = np.corrcoef(np.concatenate([numbers[:-1].T, numbers[1:].T]))
        assert np.abs(neighbours - np.eye(6)).max() < 0.025

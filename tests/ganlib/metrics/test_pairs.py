"""Numbers of pairs: closed forms, scikit-image's values, and which way is better."""

import itertools
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganlib import seeds
from ganlib.metrics import lpips
from ganlib.metrics.comparison import Measured, improvement
from ganlib.metrics.features import NAMES, Extractor, extract, extractor
from ganlib.metrics.pairs import (
    BETTER,
    MOST_DB,
    colour_histograms,
    cosine_distance,
    l1,
    pair_intervals,
    psnr,
    ssim,
    total_variation,
)


def flat(*levels: int, side: int = 11) -> torch.Tensor:
    """Images of one level each, uint8 (N, 3, side, side)."""
    return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, side, side).contiguous()


class Colours(nn.Module):
    """Mean colours as features."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mean((2, 3)), x.mean((2, 3))


@pytest.fixture
def light() -> Extractor:
    return Extractor("efficientnet_lite0", Colours(), "", 16, "", "cpu")


def test_scikit_image_says_the_same(known_pairs: tuple[np.ndarray, ...]) -> None:
    """scikit-image 0.26.0 of the images / 255: `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1, channel_axis=0)` and `peak_signal_noise_ratio`."""
    similarities = [0.7071034880303227, 0.31585321918022186, -0.02011206834696098]
    assert ssim(*known_pairs).tolist() == pytest.approx(similarities, abs=1e-12)
    red = [0.6767689467202349, 0.3353025948857346, -0.04485181116234424]
    assert ssim(*(images[:, :1] for images in known_pairs)).tolist() == pytest.approx(red, abs=1e-12)
    ratios = [18.035356192062267, 11.536834637962874, 6.593531038536536]
    assert psnr(*known_pairs).tolist() == pytest.approx(ratios, rel=1e-12)


def test_differences_of_flat_images() -> None:
    truth, output = flat(0, 100, 255), flat(51, 100, 0)
    assert l1(truth, output).tolist() == pytest.approx([0.2, 0, 1])
    assert psnr(truth, output).tolist() == pytest.approx([20 * np.log10(5), MOST_DB, 0])
    a, b = torch.tensor([0, 1.0]), torch.tensor([0.2, 0.0])  # in a flat image only the luminance differs
    expected = (2 * a * b + 0.01**2) / (a**2 + b**2 + 0.01**2)
    assert ssim(truth[::2], output[::2]).tolist() == pytest.approx(expected.tolist())


def test_the_same_image_is_as_near_as_can_be(known_pairs: tuple[np.ndarray, ...]) -> None:
    truth = known_pairs[0]
    assert l1(truth, truth).tolist() == [0, 0, 0]
    assert psnr(truth, truth).tolist() == [MOST_DB] * 3  # a mean over images stays finite
    assert ssim(truth, truth).tolist() == pytest.approx([1, 1, 1], abs=1e-12)
    barely = truth.copy()
    barely[:, 0, 0, 0] ^= 1
    assert (psnr(truth, barely) < MOST_DB).all()  # one value by one level


def test_the_similarity_of_one_window_is_that_of_the_definition() -> None:
    """Of images as large as the window, with the weights' means, variances and covariance (equations 13 to 16)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 1, 1, 11, 11)).astype(np.uint8)
    x, y = images[:, 0, 0] / 255
    distance = (np.arange(11) - 5) ** 2
    weights = np.exp(-(distance[:, None] + distance) / (2 * 1.5**2))
    weights /= weights.sum()
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
    variances = (weights * (x - mean_x) ** 2).sum() + (weights * (y - mean_y) ** 2).sum()
    expected = ((2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
                / ((mean_x**2 + mean_y**2 + 1e-4) * (variances + 9e-4)))
    assert ssim(images[0], images[1]).item() == pytest.approx(expected, rel=1e-12)


def test_images_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="its window is 11 px, and these images have 10×11"):
        ssim(flat(0)[..., :10, :], flat(0)[..., :10, :])


def test_cosines() -> None:
    a = torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 1], [0, 0]])
    b = torch.tensor([[3.0, 0], [0, 2], [-1, 0], [1, 0], [1, 0]])
    assert cosine_distance(a, b).tolist() == pytest.approx([0, 1, 2, 1 - sqrt(0.5), 1])
    many = torch.rand(100, 8, generator=torch.Generator().manual_seed(0)).double()
    assert cosine_distance(many, 7 * many).min() == 0  # and not below, by rounding
    with pytest.raises(ValueError, match="5 images against 4"):
        cosine_distance(a, b[:4])


def test_a_histogram_counts_colours_wherever_they_are() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images[0, 0, 0] = torch.tensor([42, 43, 255, 214])  # reds of levels 0, 1, 5, 5: each is 42⅔ wide
    images[0, 2, 1, 0] = 128  # blue of level 3
    found = colour_histograms(images)
    assert found.shape == (2, 216) and found[1].tolist() == [1] + 215 * [0]
    assert {k: share * 16 for k, share in enumerate(found[0].tolist()) if share} == {0: 12, 36: 1, 5 * 36: 2, 3: 1}
    grey = torch.randint(0, 256, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    torch.testing.assert_close(colour_histograms(grey), colour_histograms(grey.expand(-1, 3, -1, -1)))
    assert total_variation(*colour_histograms(torch.cat([grey, grey.flip(2)]))) == 0
    p, q = torch.tensor([0.5, 0.5, 0]), torch.tensor([0, 0.25, 0.75])
    assert total_variation(p, q) == 0.75 and total_variation(p, p) == 0


def test_better_is_what_it_says_of_every_number(known_pairs: tuple[np.ndarray, ...]) -> None:
    """By worse and worse noise, with the networks themselves."""
    network, perceptual = extractor(resize=64), lpips.load(lpips.weights_file())
    truth = torch.from_numpy(known_pairs[0])
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for sigma in (0, 10, 40, 120):
        output = (truth + sigma * noise).clamp(0, 255).to(torch.uint8)
        features = extract(network, truth)[0], extract(network, output)[0]
        found.append(pair_intervals(truth, output, features, network.name, perceptual, groups=3))
    names = ["lpips", "l1", "psnr", "ssim", "cosine_efficientnet_lite0", "colour_histogram"]
    assert list(found[0]) == names == [name for name in BETTER if "cosine" not in name or "lite0" in name]
    assert {f"cosine_{name}" for name in NAMES} < set(BETTER)
    for name in names:
        values = [-each[name].value if BETTER[name] == "high" else each[name].value for each in found]
        assert all(better < worse for better, worse in itertools.pairwise(values)), name


def _of(network: Extractor, truth: torch.Tensor, output: torch.Tensor, **options: Any) -> dict[str, Any]:
    features = extract(network, truth)[0], extract(network, output)[0]
    return pair_intervals(truth, output, features, network.name, **options)


def test_each_number_is_the_mean_over_pairs_or_of_all_pixels(light: Extractor) -> None:
    random = torch.Generator().manual_seed(0)
    truth, output = torch.randint(0, 256, (2, 7, 3, 12, 12), generator=random, dtype=torch.uint8)
    found = _of(light, truth, output, groups=3, seed=5)
    assert "lpips" not in found
    for name, function in [("l1", l1), ("psnr", psnr), ("ssim", ssim)]:
        assert found[name].value == pytest.approx(function(truth, output).mean().item(), rel=1e-12)
    groups = torch.randperm(7, generator=seeds.stream("groups", 5)).tensor_split(3)
    rest = [torch.cat([*groups[:g], *groups[g + 1:]]) for g in range(3)]
    for kept, interval in [(torch.arange(7), found["colour_histogram"].value),
                           *zip(rest, found["colour_histogram"].left_out, strict=True)]:
        pooled = [torch.histogramdd(images[kept].double().movedim(1, -1).flatten(0, -2), 6, [0.0, 256.0] * 3).hist
                  for images in (truth, output)]
        pixels = len(kept) * 144
        assert interval == pytest.approx((pooled[0] - pooled[1]).abs().sum().item() / (2 * pixels), rel=1e-12)
    assert found["l1"].left_out == pytest.approx([l1(truth[kept], output[kept]).mean().item() for kept in rest])
    swapped = _of(light, output, truth, groups=3, seed=5)
    assert all(swapped[name].value == pytest.approx(found[name].value, rel=1e-12) for name in found)


def test_images_smaller_than_the_window_have_no_similarity_and_all_other_numbers(light: Extractor) -> None:
    found = _of(light, flat(1, 2, 3, side=8), flat(2, 2, 2, side=8), groups=2)
    assert list(found) == ["l1", "psnr", "cosine_efficientnet_lite0", "colour_histogram"]


def test_two_models_are_compared_on_the_same_pairs(light: Extractor) -> None:
    """Errors that differ from pair to pair alike for both leave their difference sharp."""
    random = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 100, (60, 1, 12, 12), generator=random, dtype=torch.uint8)
    shift = torch.randint(0, 100, (60, 1, 1, 1), generator=random, dtype=torch.uint8)
    models = [_of(light, truth, truth + shift + more, groups=10)["l1"] for more in (0, 5)]
    good, bad = (Measured(name, found.value, found.left_out, {}) for name, found in zip("gb", models, strict=True))
    gain, error = improvement(good, bad)
    assert gain == pytest.approx(5 / 255) and error == pytest.approx(0, abs=1e-12)
    assert min(found.standard_error for found in models) > 0.01


def test_what_is_no_pair_is_refused() -> None:
    for function in (l1, psnr, ssim):
        with pytest.raises(ValueError, match="each image needs one of its own shape"):
            function(flat(0, 0), flat(0))
        with pytest.raises(ValueError, match=f"{function.__name__}: uint8 images"):
            function(flat(0).float(), flat(0).float())

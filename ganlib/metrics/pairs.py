"""How near images are to those that they should be, pair by pair: of a translation or an enlargement with a known
answer.

Images are uint8 (N, 1 or 3, H, W), the truth first; all numbers are the same the other way round. Values are in
[0, 1], a level being 1/255, and computed in float64.
"""

from collections.abc import Callable
from math import exp
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganlib.metrics import lpips
from ganlib.metrics.arrays import image_pairs, pair, require_images, untyped
from ganlib.metrics.features import NAMES, Extractor, extract
from ganlib.metrics.lpips import LPIPS
from ganlib.metrics.uncertainty import Interval, mean_interval

BETTER: dict[str, Literal["low", "high"]] = {
    "lpips": "low",
    "l1": "low",
    "psnr": "high",
    "ssim": "high",
    **{f"cosine_{name}": "low" for name in NAMES},
    "colour_histogram": "low",
}  # fmt: skip
MOST_DB = 100.0  # the PSNR of the same image, which would be infinite
WINDOW, SIGMA = 11, 1.5  # px
C1, C2 = 0.01**2, 0.03**2
LEVELS = 6  # of each colour in a histogram


def l1(truth: Tensor | np.ndarray, output: Tensor | np.ndarray) -> Tensor:
    """Mean absolute difference over pixels and channels (N,)."""
    return _each(truth, output, "l1", lambda a, b: (a - b).abs().mean((1, 2, 3)))


def psnr(truth: Tensor | np.ndarray, output: Tensor | np.ndarray) -> Tensor:
    """Peak signal-to-noise ratio in dB (N,): −10 log₁₀ of the mean squared difference, at most MOST_DB.

    Papers report the mean of the images' ratios, which is not the ratio of their mean difference. The limit is reached
    by the same image, and by one of more than 150,000 values of which a single one is a level off.
    """
    least = 10 ** (-MOST_DB / 10)
    return _each(truth, output, "psnr",
                 lambda a, b: -10 * (a - b).square().mean((1, 2, 3)).clamp(min=least).log10())


def ssim(truth: Tensor | np.ndarray, output: Tensor | np.ndarray) -> Tensor:
    """Structural similarity (Wang et al. 2004, equation 13), averaged over pixels and channels (N,); 1 for the same
    image, below 0 where one is the other's negative.

    As there: a Gaussian window of 11 px, σ = 1.5, in which means, variances and covariance are those of its weights
    (the population's, nothing added for the sample), K₁ = 0.01, K₂ = 0.03; where the window fits into the image, so
    nothing is padded. Theirs is of luminance, and of images that are halved until a side is about 256 px; these are
    neither. ValueError for a side below 11 px.
    """
    require_images(truth, "ssim")
    if min(truth.shape[2:]) < WINDOW:
        raise ValueError(f"ssim: its window is {WINDOW} px, and these images have {truth.shape[2]}×{truth.shape[3]}")
    return _each(truth, output, "ssim", _ssim)


def cosine_distance(truth: Tensor | np.ndarray, output: Tensor | np.ndarray) -> Tensor:
    """Features (N, d) of images and of those that should be them → 1 − cos of the angle between the two (N,), 0 … 2;
    features that are all 0 have a distance of 1."""
    a, b = pair(truth, output, "cosine_distance")
    if len(a) != len(b):
        raise ValueError(f"cosine_distance: {len(a)} images against {len(b)}; each needs its own")
    return (1 - F.cosine_similarity(a.double(), b.double())).clamp(0, 2)


def colour_histograms(images: Tensor | np.ndarray) -> Tensor:
    """The share of an image's pixels that has each colour, of 6 levels of red, green and blue (N, 216); their mean is
    the histogram of all pixels. Grey is red, green and blue alike."""
    require_images(images, "colour_histograms")
    level = untyped(images).int().mul(LEVELS).div(256, rounding_mode="floor").expand(-1, 3, -1, -1).flatten(2)
    colour = (level[:, 0] * LEVELS + level[:, 1]) * LEVELS + level[:, 2]
    counts = torch.zeros(len(colour), LEVELS**3, dtype=torch.float64)
    counts.scatter_add_(1, colour.long(), torch.ones_like(colour, dtype=torch.float64))
    return counts / colour.shape[1]


def total_variation(p: Tensor, q: Tensor) -> float:
    """Of two distributions (k,): the probability that has to be moved to make one the other, 0 … 1."""
    return float((p - q).abs().sum() / 2)


class PairDistance(NamedTuple):
    """The distance that pairs are compared by, smaller being better: its name, what it depends on, for a protocol, and
    the function of truth and output, uint8 (N, 1 or 3, H, W) each → (N,)."""

    name: str
    about: str
    measure: Callable[[Tensor | np.ndarray, Tensor | np.ndarray], Tensor]


def pair_distance(extractor: Extractor) -> PairDistance:
    """LPIPS where its weights are installed; else the cosine distance of the extractor's features."""
    if network := lpips.installed():
        network = network.to(extractor.device)
        return PairDistance("lpips", f"LPIPS 0.1 of AlexNet, weights {lpips.SHA256[:12]}, {lpips.RESIZE_METHOD}",
                            lambda truth, output: lpips.lpips_distance(truth, output, network))
    return PairDistance(
        f"cosine_{extractor.name}", "cosine distance of features",
        lambda truth, output: cosine_distance(*(extract(extractor, images)[0] for images in (truth, output))))


def trivial(sources: Tensor | np.ndarray, shape: tuple[int, int, int]) -> Tensor:
    """What a translation has to beat: the images that it is given, uint8 (N, 1 or 3, H′, W′), themselves, as uint8 of
    `shape` (C, H, W); by bicubic interpolation, where that is of another size."""
    images = untyped(sources)
    if images.shape[2:] != shape[1:]:
        resized = F.interpolate(images.float(), shape[1:], mode="bicubic", antialias=True)
        images = resized.round().clamp(0, 255).to(torch.uint8)
    if images.shape[1] > shape[0]:
        images = images.float().mean(1, keepdim=True).round().to(torch.uint8)
    return images.expand(-1, shape[0], -1, -1).contiguous()


def pair_intervals(truth: Tensor | np.ndarray, output: Tensor | np.ndarray, features: tuple[Tensor, Tensor],
                   extractor: str, perceptual: LPIPS | None = None, groups: int = 20, confidence: float = 0.95,
                   seed: int = 0, batch_size: int = 16, progress: Callable[[int], object] | None = None
                   ) -> dict[str, Interval]:
    """All numbers of N ≥ groups pairs, by name (BETTER says which way is better), with their noise: `lpips` where
    its network is given, `l1`, `psnr`, `ssim` where a side has its 11 px, `cosine_<extractor>` of the `features` (N, d)
    of both, and `colour_histogram`, the total variation between the histograms of all pixels of either set, which sees
    colours that are right on the whole and in the wrong places.

    The groups of the jackknife are of pairs, and depend on N and the seed alone: those of another model of the same
    truth are the same. `progress` is told of N pairs, with LPIPS.
    """
    each = {
        "l1": l1(truth, output),
        "psnr": psnr(truth, output),
        f"cosine_{extractor}": cosine_distance(*features),
    }
    if min(truth.shape[2:]) >= WINDOW:
        each["ssim"] = ssim(truth, output)
    if perceptual:
        each["lpips"] = lpips.lpips_distance(truth, output, perceptual, batch_size, progress)
    found = {name: mean_interval(values, groups, confidence, seed) for name, values in each.items()}
    histograms = torch.cat([colour_histograms(truth), colour_histograms(output)], 1)
    found["colour_histogram"] = mean_interval(histograms, groups, confidence, seed,
                                              of=lambda mean: total_variation(*mean.chunk(2)))
    return {name: found[name] for name in BETTER if name in found}


def _each(truth: Tensor | np.ndarray, output: Tensor | np.ndarray, where: str,
          function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`function` of float64 images in [0, 1], some at a time."""
    return torch.cat([function(a.double() / 255, b.double() / 255) for a, b in image_pairs(truth, output, where)])


def _ssim(a: Tensor, b: Tensor) -> Tensor:
    mean_a, mean_b, aa, bb, ab = _window_means(_window_means(torch.stack([a, b, a * a, b * b, a * b]), 3), 4)
    covariance, variances = ab - mean_a * mean_b, aa - mean_a.square() + bb - mean_b.square()
    luminance = (2 * mean_a * mean_b + C1) / (mean_a.square() + mean_b.square() + C1)
    return (luminance * (2 * covariance + C2) / (variances + C2)).mean((1, 2, 3))


def _window_means(x: Tensor, dim: int) -> Tensor:
    """Means with the window's weights along a dimension, wherever it fits. One shift after the other: float64
    convolutions take ten times as long."""
    weights = [exp(-((i - WINDOW // 2) / SIGMA) ** 2 / 2) for i in range(WINDOW)]
    size = x.shape[dim] - WINDOW + 1
    means = torch.zeros_like(x.narrow(dim, 0, size))
    for start, weight in enumerate(weights):
        means.add_(x.narrow(dim, start, size), alpha=weight / sum(weights))
    return means

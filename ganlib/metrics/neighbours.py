"""Nearest neighbours in feature space: precision and recall, density and coverage, memorised images."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganlib.metrics.arrays import matrix, pair

BLOCK = 1024


def precision_recall(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, k: int = 3) -> tuple[float, float]:
    """Features real (n, d) and fake (m, d), n, m > k → precision and recall in [0, 1].

    Precision is the share of fakes that lie in a ball around some real image, which reaches to its k-th nearest other
    real image; recall swaps the two (Kynkäänniemi et al. 2019, equations 1 to 3). An outlier has a large ball: images
    without any content can fall into one, so precision says little where recall is near 0.
    """
    real, fake = _centred(real, fake, "precision_recall", k)
    around_real, around_fake = _radii(real, k), _radii(fake, k)
    precise, recalled = 0, torch.zeros(len(real), dtype=torch.bool)
    for block, radii in zip(fake.split(BLOCK), around_fake.split(BLOCK), strict=True):
        squared = _squared(block, real)
        precise += int((squared <= around_real).any(1).sum())
        recalled |= (squared <= radii[:, None]).any(0)
    return precise / len(fake), int(recalled.sum()) / len(real)


def density_coverage(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, k: int = 5) -> tuple[float, float]:
    """Features real (n, d) and fake (m, d), n, m > k → density ≥ 0 and coverage in [0, 1] (Naeem et al. 2020,
    equations 3 and 4, with the paper's k).

    Density is the number of real balls (see `precision_recall`) that a fake lies in, on average and over k: expected 1
    for equal distributions, and an outlier's large ball counts little in it. Coverage is the share of real balls that
    hold a fake: expected 1 − (n − 1) … (n − k) / ((n + m − 1) … (n + m − k)) for equal distributions, about 1 − 2⁻ᵏ.
    """
    real, fake = _centred(real, fake, "density_coverage", k)
    radii = _radii(real, k)
    inside, covered = 0, torch.zeros(len(real), dtype=torch.bool)
    for block in fake.split(BLOCK):
        within = _squared(block, real) <= radii
        inside += int(within.sum())
        covered |= within.any(0)
    return inside / (k * len(fake)), int(covered.sum()) / len(real)


class Memorization(NamedTuple):
    """What `memorization` found. Where nothing is memorised, `share` is ½ and `z` is 0 but for chance."""

    share: float  # P(a fake is closer to the training images than a test image is), ties by half; 1: copies
    z: float  # its deviation from ½ in standard deviations, negative for copies: below −3 it is not chance
    median_fake: float  # distance of a fake to its nearest training image
    median_test: float  # the same of real images that were not trained on
    suspects: Tensor  # (closest,) which fakes lie nearest to a training image, nearest first
    originals: Tensor  # (closest,) those training images
    distances: Tensor  # (closest,)


def memorization(train: Tensor | np.ndarray, test: Tensor | np.ndarray, fake: Tensor | np.ndarray,
                 closest: int = 16) -> Memorization:
    """Features (n, d) of the training images, (m, d) of real images never trained on, (l, d) of generated ones: are the
    generated ones closer to the training images than real ones are? The Mann–Whitney statistic of the two sets of
    nearest distances; `z` is C_T of Meehan, Chaudhuri and Dasgupta 2020 with one cell.

    It tells copies of many images; a few among thousands show in `suspects` alone. Images of a poor generator lie far
    from all real ones, so a small `share` is no proof of the absence of copies: look at the suspects.
    """
    images, tested = pair(train, test, "memorization")
    _, generated = pair(train, fake, "memorization")
    of_test, _ = _nearest_one(tested, images)
    of_fake, originals = _nearest_one(generated, images)
    n, m = len(of_fake), len(of_test)
    ordered = of_test.sort().values
    closer, ties_too = (m - torch.searchsorted(ordered, of_fake, right=right) for right in (True, False))
    share = float((closer + ties_too).double().mean()) / (2 * m)
    z = (0.5 - share) * n * m / (n * m * (n + m + 1) / 12) ** 0.5
    order = of_fake.argsort()[:closest]
    return Memorization(share, z, float(of_fake.median()), float(of_test.median()), order, originals[order],
                        of_fake[order])


def nearest(queries: Tensor | np.ndarray, among: Tensor | np.ndarray, k: int) -> tuple[Tensor, Tensor]:
    """For each of the queries (n, d): the indices (n, k) of its k nearest among (m, d), k ≤ m, nearest first, and the
    Euclidean distances (n, k). Works through `among` in blocks; in float64 if the queries are, else in float32."""
    queries = matrix(queries, "nearest")
    if among.shape[1:] != queries.shape[1:] or not 1 <= k <= len(among):
        raise ValueError(f"nearest: k = {k} neighbours of {tuple(queries.shape)} are to be found among "
                         f"{tuple(among.shape)}; k is between 1 and {len(among)}, and both have one number of columns")
    distances = torch.empty(len(queries), 0, dtype=queries.dtype)
    indices = torch.empty(len(queries), 0, dtype=torch.long)
    for start in range(0, len(among), BLOCK):
        block = matrix(among[start:start + BLOCK], "nearest").to(queries.dtype)
        distances = torch.cat([distances, _squared(queries, block)], 1)
        indices = torch.cat([indices, torch.arange(start, start + len(block)).expand(len(queries), -1)], 1)
        distances, order = distances.topk(min(k, distances.shape[1]), largest=False)
        indices = indices.gather(1, order)
    return indices, distances.sqrt()


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return torch.addmm(y.square().sum(1), x, y.T, alpha=-2).add_(x.square().sum(1, keepdim=True)).clamp_(min=0)


def _nearest_one(queries: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """The distance (n,) of each to its nearest, and which (n,); the distance from differences, exact for copies."""
    centre = among.mean(0)  # for float32: less is lost to cancellation
    indices = nearest(queries - centre, among - centre, 1)[0][:, 0]
    distances = [(block - among[index]).norm(dim=1)
                 for block, index in zip(queries.split(BLOCK), indices.split(BLOCK), strict=True)]
    return torch.cat(distances), indices


def _centred(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, where: str, k: int) -> tuple[Tensor, Tensor]:
    """In float32, around the mean of the reals: distances stay, and less is lost to cancellation."""
    a, b = pair(real, fake, where)
    if k < 1 or min(len(a), len(b)) <= k:
        raise ValueError(f"{where}: more than k = {k} of each are needed, got {len(a)} and {len(b)}; k is 1 or more")
    centre = a.mean(0)
    return (a - centre).float(), (b - centre).float()


def _radii(x: Tensor, k: int) -> Tensor:
    """(n,) squared distance of each to its k-th nearest other. Each pair is computed once."""
    smallest = torch.full((len(x), k), torch.inf)
    for start in range(0, len(x), BLOCK):
        squared = _squared(x[start:start + BLOCK], x[start:])
        squared.diagonal().fill_(torch.inf)  # not itself
        end = start + len(squared)
        for part, distances in [(smallest[start:end], squared), (smallest[end:], squared[:, len(squared):].T)]:
            part.copy_(torch.cat([part, distances], 1).topk(k, largest=False).values)
    return smallest[:, -1]

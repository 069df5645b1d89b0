"""Nearest neighbours in feature space: improved precision and recall, and the search for memorised images."""

import numpy as np
import torch
from torch import Tensor

BLOCK = 1024


def precision_recall(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, k: int = 3) -> tuple[float, float]:
    """Features real (n, d) and fake (m, d), n, m > k → precision and recall in [0, 1].

    Precision is the share of fakes that lie in a ball around some real image, which reaches to its k-th nearest other
    real image; recall swaps the two (Kynkäänniemi et al. 2019, equations 1 to 3). An outlier has a large ball: images
    without any content can fall into one, so precision says little where recall is near 0.
    """
    real, fake = torch.as_tensor(real).float(), torch.as_tensor(fake).float()
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"precision_recall: more than k = {k} of each are needed, got {len(real)} and {len(fake)}")
    centre = real.mean(0)  # distances stay; less is lost to cancellation in float32
    real, fake = real - centre, fake - centre
    return _covered(fake, real, _radii(real, k)), _covered(real, fake, _radii(fake, k))


def nearest(queries: Tensor | np.ndarray, among: Tensor | np.ndarray, k: int) -> tuple[Tensor, Tensor]:
    """For each of the queries (n, d): the indices (n, k) of its k nearest among (m, d), nearest first, and the
    Euclidean distances (n, k). Works through `among` in blocks; float32."""
    queries = torch.as_tensor(queries).float()
    distances = torch.empty(len(queries), 0)
    indices = torch.empty(len(queries), 0, dtype=torch.long)
    for start in range(0, len(among), BLOCK):
        block = torch.from_numpy(np.array(among[start:start + BLOCK], np.float32))  # a copy: tables are read-only
        distances = torch.cat([distances, _squared(queries, block)], 1)
        indices = torch.cat([indices, torch.arange(start, start + len(block)).expand(len(queries), -1)], 1)
        distances, order = distances.topk(min(k, distances.shape[1]), largest=False)
        indices = indices.gather(1, order)
    return indices, distances.sqrt()


def _squared(x: Tensor, y: Tensor) -> Tensor:
    return torch.addmm(y.square().sum(1), x, y.T, alpha=-2).add_(x.square().sum(1, keepdim=True)).clamp_(min=0)


def _radii(x: Tensor, k: int) -> Tensor:
    """(n,) squared distance of each to its k-th nearest other."""
    radii = []
    for start in range(0, len(x), BLOCK):
        squared = _squared(x[start:start + BLOCK], x)
        squared.diagonal(start).fill_(torch.inf)  # not itself
        radii.append(squared.kthvalue(k, 1).values)
    return torch.cat(radii)


def _covered(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    inside = [(_squared(block, centres) <= radii).any(1) for block in points.split(BLOCK)]
    return float(torch.cat(inside).double().mean())

"""The precision-recall curve of two distributions (PRD; Sajjadi et al. 2018)."""

import numpy as np
import torch
from torch import Tensor

from ganlib import seeds
from ganlib.metrics.arrays import pair


def precision_recall_curve(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, clusters: int = 20, angles: int = 1001,
                           runs: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features real (n, d) and fake (m, d) → precision (angles,) and recall (angles,) in [0, 1] along the curve.

    Both sets are counted in the clusters of their union (k-means), and the shares compared by equation 7 and
    algorithm 1; the mean over `runs` clusterings. Give equally many of each, or the clusters follow the larger set.
    """
    from scipy.cluster.vq import kmeans2

    a, b = pair(real, fake, "precision_recall_curve")
    union = torch.cat([a, b]).double().numpy()
    if not 2 <= clusters <= len(union):
        raise ValueError(f"precision_recall_curve: {clusters} clusters of {len(union)} images; give 2 or more, fewer "
                         "than there are images")
    slope = np.tan(np.linspace(1e-6, np.pi / 2 - 1e-6, angles))[:, None]
    precision, recall = np.zeros(angles), np.zeros(angles)
    for run in range(runs):
        rng = np.random.default_rng(seeds.derive("clusters", seed, run))
        _, cluster = kmeans2(union, clusters, minit="++", rng=rng)
        p, q = (np.bincount(part, minlength=clusters) / len(part) for part in (cluster[:len(a)], cluster[len(a):]))
        precision += np.minimum(slope * p, q).sum(1) / runs
        recall += np.minimum(p, q / slope).sum(1) / runs
    return precision.clip(max=1), recall.clip(max=1)  # sums of shares, rounded


def f_score(precision: np.ndarray, recall: np.ndarray, beta: float) -> float:
    """The largest F_β along a curve, in [0, 1]. β = 8 weighs recall, β = 1/8 precision (section 4.2)."""
    if beta <= 0:
        raise ValueError(f"f_score: beta must be above 0, got {beta}")
    sums = beta**2 * precision + recall
    scores = np.divide((1 + beta**2) * precision * recall, sums, out=np.zeros_like(sums), where=sums > 0)
    return float(scores.max())

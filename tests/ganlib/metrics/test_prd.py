"""The precision-recall curve in cases where it is known."""

import numpy as np
import pytest

from ganlib.metrics.prd import f_score, precision_recall_curve

MODES = 20 * np.eye(8)[:4]  # far apart: the clusters are the modes


def drawn(counts: list[int], seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(sum(counts), 8))
    return MODES.repeat(counts, 0) + 0.01 * noise


def test_equal_distributions_reach_the_corner() -> None:
    precision, recall = precision_recall_curve(drawn([50] * 4, 0), drawn([50] * 4, 1), clusters=4)
    assert f_score(precision, recall, 1) == pytest.approx(1, abs=1e-3)
    assert (np.diff(precision) >= -1e-12).all() and (np.diff(recall) <= 1e-12).all()


@pytest.mark.parametrize("modes", [1, 2, 3])
def test_modes_that_are_left_out_cost_recall_and_no_precision(modes: int) -> None:
    real, fake = drawn([60] * 4, 0), drawn([240 // modes] * modes + [0] * (4 - modes), 1)
    precision, recall = precision_recall_curve(real, fake, clusters=4)
    assert precision.max() == pytest.approx(1, abs=1e-5) and recall.max() == pytest.approx(modes / 4, abs=1e-5)
    assert f_score(precision, recall, 1 / 8) > 0.9 > f_score(precision, recall, 8)
    swapped = precision_recall_curve(fake, real, clusters=4)  # inventing modes instead
    assert swapped[0].max() == pytest.approx(modes / 4, abs=1e-5) and swapped[1].max() == pytest.approx(1, abs=1e-5)


def test_disjoint_is_zero() -> None:
    precision, recall = precision_recall_curve(drawn([50, 50, 0, 0], 0), drawn([0, 0, 50, 50], 1), clusters=4)
    assert f_score(precision, recall, 8) == f_score(precision, recall, 1 / 8) == 0


def test_the_curve_is_its_formula() -> None:
    """α(λ) = Σ min(λ p, q) and β(λ) = Σ min(p, q / λ) (equation 7)."""
    p, q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.1, 0.2, 0.6])
    precision, recall = precision_recall_curve(drawn([40, 30, 20, 10], 0), drawn([10, 10, 20, 60], 1), 4, angles=3)
    assert (precision[1], recall[1]) == pytest.approx((np.minimum(p, q).sum(),) * 2)  # λ = 1
    assert precision[0] == pytest.approx(0, abs=1e-5) and recall[2] == pytest.approx(0, abs=1e-5)


def test_no_share_is_more_than_one() -> None:
    x = np.random.default_rng(0).normal(size=(10, 2))
    for seed in range(20):  # sums of seven shares: some are rounded up
        precision, recall = precision_recall_curve(x, x + 0.1, clusters=7, angles=11, runs=1, seed=seed)
        assert precision.max() <= 1 and recall.max() <= 1


def test_more_clusters_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="20 clusters of 10 images"):
        precision_recall_curve(np.zeros((5, 2)), np.zeros((5, 2)))

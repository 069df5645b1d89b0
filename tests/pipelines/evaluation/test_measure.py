"""All numbers at once: each is its metric, real first, whatever the order of the images."""

import numpy as np
import pytest
import torch
from torch import nn

from ganlib import metrics
from ganlib.metrics.features import Extractor
from ganlib.metrics.protocol import Evaluation
from pipelines.evaluation import measure

NETWORK = Extractor("efficientnet_lite0", nn.Identity(), "", 32, "", "cpu")
SETTINGS = Evaluation(splits=2)
D = 6


def features(count: int, shift: float, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, 1 + shift, (count, D)).astype(np.float32))


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    return features(300, 0, 0)


@pytest.fixture(scope="module")
def fake() -> torch.Tensor:
    return features(200, 0.5, 1)


def test_each_number_is_its_metric_real_first(real: torch.Tensor, fake: torch.Tensor) -> None:
    statistics = metrics.Statistics.from_features(real)
    precision, recall = metrics.precision_recall(real, fake, 3)
    density, coverage = metrics.density_coverage(real, fake, 5)
    expected = {
        "fd_efficientnet_lite0": metrics.frechet_distance(statistics, fake),
        "kernel_distance": metrics.kernel_distance(real, fake),
        "precision": precision, "recall": recall, "density": density, "coverage": coverage,
        "sliced_wasserstein": metrics.sliced_wasserstein(real, fake, measure.PROJECTIONS),
    }  # fmt: skip
    assert abs(precision - recall) > 0.1 and metrics.density_coverage(fake, real, 5)[0] != pytest.approx(density, 0.1)
    logits = torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    for noise in (True, False):
        found = measure.numbers(NETWORK, SETTINGS, real, fake, logits, noise)
        for name, value in expected.items():
            assert found[name]["value"] == pytest.approx(value, rel=1e-5), name
        assert ("standard_error" in found["kernel_distance"]) == noise
        assert found["near_duplicates"]["samples"] == 200


def test_images_that_come_sorted_by_label_make_no_difference(real: torch.Tensor) -> None:
    """Of the splits of the score, the halves of the bound and the subset of collisions, each would see one class."""
    labels = torch.arange(10).repeat_interleave(60)
    centres = 5 * features(10, 0, 2)
    sorted_real, sorted_fake = (centres[labels] + 0.1 * features(600, 0, seed) for seed in (3, 4))
    logits = 20 * nn.functional.one_hot(labels, 10).float()
    found = measure.numbers(NETWORK, Evaluation(splits=10), sorted_real, sorted_fake, logits, noise=False)
    assert found["is_efficientnet_lite0"]["value"] > 8  # 1 in order
    assert found["wasserstein_lower_bound"]["value"] < 0.5  # several in order
    few = measure.numbers(NETWORK, Evaluation(splits=1), sorted_real, sorted_fake[::6], logits[::6], noise=False)
    apart = metrics.collision_test(sorted_fake[::6], real=sorted_real[::6])
    assert few["near_duplicates"]["value"] == pytest.approx(apart.collisions, abs=10)


def test_the_limit_is_given_where_there_are_images_enough_with_both_errors() -> None:
    real, many, few = features(300, 0, 0), features(3 * D, 0.5, 1), features(3 * D - 1, 0.5, 1)
    name = "fd_efficientnet_lite0_infinity"
    assert name not in measure.numbers(NETWORK, SETTINGS, real, few, torch.zeros(len(few), 3))
    found = measure.numbers(NETWORK, SETTINGS, real, many, torch.zeros(len(many), 3))
    assert found[name]["standard_error"] > found["fd_efficientnet_lite0"]["standard_error"] > 0
    assert found[name]["value"] < found["fd_efficientnet_lite0"]["value"]

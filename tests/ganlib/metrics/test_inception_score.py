"""The inception score in its closed forms, and against its definition."""

import numpy as np
import pytest
import torch

from ganlib.metrics.inception_score import inception_score


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_certain_and_even_gives_the_number_of_classes(classes: int) -> None:
    mean, deviation = inception_score(1e4 * torch.eye(classes), splits=1)
    assert mean == pytest.approx(classes) and deviation == 0


@pytest.mark.parametrize("splits", [1, 5])
def test_the_same_prediction_for_all_gives_one(splits: int) -> None:
    assert inception_score(torch.randn(1, 7).expand(50, 7), splits)[0] == pytest.approx(1)


def test_it_is_the_mean_of_the_definition_over_the_parts() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (43, 5))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    parts = p[:10], p[10:21], p[21:32], p[32:]
    scores = [np.exp(np.mean((part * np.log(part / part.mean(0))).sum(1))) for part in parts]
    assert inception_score(logits, 4) == pytest.approx((np.mean(scores), np.std(scores)))


@pytest.mark.parametrize("scale", [1e3, 1e8, 9e14])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_certainty_beyond_what_a_probability_can_tell_is_certainty(scale: float, dtype: type) -> None:
    """Where p log p is 0 · −∞ in floating point: three images, two of one class."""
    logits = np.array([[1, -1, 0], [1, -1, 0], [-1, 0, 1]])
    expected = np.exp(2 / 3 * np.log(3 / 2) + 1 / 3 * np.log(3))
    scaled = (min(scale, 6e4) if dtype == np.float16 else scale) * logits
    assert inception_score(scaled.astype(dtype), 1)[0] == pytest.approx(expected)


@pytest.mark.parametrize("splits", [0, 11])
def test_more_parts_than_images_are_refused(splits: int) -> None:
    with pytest.raises(ValueError, match="splits"):
        inception_score(torch.zeros(10, 3), splits)

"""Precision and recall against their definition, and in cases where the answer is known; the neighbour search."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ganlib.metrics import neighbours
from ganlib.metrics.neighbours import nearest, precision_recall


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 16)


def covered(points: np.ndarray, centres: np.ndarray, k: int) -> float:
    """Kynkäänniemi et al. 2019, equation 1, image by image."""
    radii = np.array([np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(cdist(centres, centres))])
    return float(np.mean([any(row <= radii) for row in cdist(points, centres)]))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_it_is_the_definition(k: int) -> None:
    rng = np.random.default_rng(k)
    real, fake = 100 + rng.normal(size=(50, 6)), 100 + rng.normal(0.5, 0.8, size=(41, 6))  # far from 0
    expected = (covered(fake, real, k), covered(real, fake, k))
    assert min(expected) > 0.1 and max(expected) < 0.99  # the case says something
    assert precision_recall(real, fake, k) == pytest.approx(expected)


def test_a_generator_that_repeats_a_part_of_the_data_is_precise_and_recalls_little() -> None:
    real = np.random.default_rng(0).normal(size=(200, 4))
    precision, recall = precision_recall(real, real[:20].repeat(10, 0))
    assert precision == 1 and recall < 0.2


def test_far_apart_is_zero_and_equal_is_one() -> None:
    real = np.random.default_rng(0).normal(size=(60, 4))
    assert precision_recall(real, real + 100) == (0, 0)
    assert precision_recall(real, real) == (1, 1)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="more than k = 3"):
        precision_recall(np.zeros((3, 2)), np.zeros((10, 2)))


def test_nearest_are_those_of_the_full_distance_matrix() -> None:
    rng = np.random.default_rng(0)
    queries, among = rng.normal(size=(5, 3)), rng.normal(size=(70, 3))
    indices, distances = nearest(queries, among, 4)
    full = cdist(queries, among)
    np.testing.assert_array_equal(indices, full.argsort(1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(full, 1)[:, :4], rtol=1e-4)


def test_a_memorised_image_is_found_among_bytes() -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 64), np.uint8)
    indices, distances = nearest(images[[31, 77]], images, 1)
    assert indices.flatten().tolist() == [31, 77]
    assert distances.max() == 0  # sums of squared bytes are exact in float32

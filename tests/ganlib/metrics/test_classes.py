"""Distances within classes, and the accuracy of a classifier that has seen generated images only."""

import numpy as np
import pytest

from ganlib.metrics.classes import classification_accuracy_score, intra_class_distance
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.statistics import Statistics


def test_each_class_has_its_distance_and_the_mean_is_theirs() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(300, 5)), rng.integers(3, size=300)
    shifts = np.array([0.0, 1, 3])[labels]
    y = x + shifts[:, None] / np.sqrt(5)  # by the square root of the distance
    order = rng.permutation(300)
    mean, distances = intra_class_distance(x, labels, y[order], labels[order])
    assert distances == pytest.approx({0: 0, 1: 1, 2: 9}, abs=1e-9)
    assert mean == pytest.approx(10 / 3)


def test_exchanged_classes_are_seen_though_all_images_together_are_right() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    x, y = (rng.normal(size=(200, 4)) + 5 * labels[:, None] for _ in range(2))
    assert frechet_distance(Statistics.from_features(x), y) < 1
    assert intra_class_distance(x, labels, y, labels)[0] < 1
    assert intra_class_distance(x, labels, y, 1 - labels)[0] > 50


def test_a_class_that_one_set_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="class 2 has 0 real and 5 generated"):
        intra_class_distance(np.ones((10, 2)), np.zeros(10, int), np.ones((15, 2)), np.repeat([0, 2], [10, 5]))
    with pytest.raises(ValueError, match="a label for each image"):
        intra_class_distance(np.ones((10, 2)), np.zeros(9, int), np.ones((5, 2)), np.zeros(5, int))


def squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise with a bright quarter; the label says which."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 100, (count, 1, 8, 8), np.uint8), rng.integers(4, size=count)
    for image, label in zip(images, labels, strict=True):
        top, left = 4 * (label // 2), 4 * (label % 2)
        image[0, top:top + 4, left:left + 4] += 120
    return images, labels


def test_labels_that_fit_the_images_teach_and_others_do_not() -> None:
    real, fake, classes = squares(200, 0), squares(300, 1), ("a", "b", "c", "d")
    assert classification_accuracy_score(*real, *fake, classes, images_shown=6000) > 0.95
    scrambled = (fake[0], (fake[1] + 1) % 4)
    assert classification_accuracy_score(*real, *scrambled, classes, images_shown=6000) < 0.05
    collapsed = tuple(part[fake[1] < 2] for part in fake)  # two of four classes
    assert 0.4 < classification_accuracy_score(*real, *collapsed, classes, images_shown=6000) < 0.6


def test_as_many_labels_as_images() -> None:
    images, labels = squares(10, 0)
    with pytest.raises(ValueError, match="9 labels for 10 real"):
        classification_accuracy_score(images, labels[:9], images, labels, ("a", "b", "c", "d"))

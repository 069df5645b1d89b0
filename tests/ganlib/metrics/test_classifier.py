"""The class counter: it learns, is the same for the same seed, and counts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib.metrics import classifier

CLASSES = ("left", "right", "none")


def bars(count: int, seed: int, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """A bright bar on the left, on the right, or none, in noise."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 120, (count, 1, size, size), np.uint8), rng.integers(0, 3, count)
    for image, label in zip(images, labels, strict=True):
        if label < 2:
            column = rng.integers(0, size // 2 - 1) + label * size // 2
            image[0, :, column] += 100
    return images, labels


@pytest.fixture(scope="module")
def trained() -> classifier.Classifier:
    return classifier.train(*bars(600, 0), CLASSES, images_shown=6_000)


def test_it_learns_and_counts(trained: classifier.Classifier) -> None:
    images, labels = bars(300, 1)
    assert (classifier.predict(trained, images).numpy() == labels).mean() > 0.97
    shares = classifier.class_shares(trained, images[labels != 1])
    assert tuple(shares) == CLASSES and sum(shares.values()) == pytest.approx(1)
    assert shares["right"] < 0.05 and min(shares["left"], shares["none"]) > 0.35


def test_the_seed_decides_and_the_callers_random_numbers_stay() -> None:
    images, labels = bars(50, 0)
    state = torch.get_rng_state()
    weights = [classifier.train(images, labels, CLASSES, 500, seed).head.weight for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_back_from_the_disk(trained: classifier.Classifier, tmp_path: Path) -> None:
    path, images = tmp_path / "c.safetensors", bars(50, 2)[0]
    classifier.save(path, trained)
    assert classifier.class_shares(classifier.load(path), images) == classifier.class_shares(trained, images)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"c\.safetensors does not hold a classifier"):
        classifier.load(path)


def test_large_images_are_brought_down() -> None:
    images, labels = bars(20, 0, size=80)
    assert classifier.scale(torch.from_numpy(images)).shape == (20, 1, 32, 32)
    assert len(classifier.class_shares(classifier.train(images, labels, CLASSES, 200), images)) == 3

"""The classifier of the data set as an extractor: what it sees, what it refuses, and that its file is its identity."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib.config import ConfigError
from ganlib.metrics import classifier
from ganlib.metrics.features import Extractor, extract, extractor
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.statistics import Statistics


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright bar that lies or stands, in noise: uint8 (count, 1, 16, 16), labels 0 and 1."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 60, (count, 1, 16, 16), np.uint8), rng.integers(0, 2, count)
    for image, label in zip(images, labels, strict=True):
        line = image[0, rng.integers(2, 14)] if label == 0 else image[0, :, rng.integers(2, 14)]
        line += 150
    return images, labels


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("domain") / "classifier.safetensors"
    classifier.save(path, classifier.train(*bars(400, 0), ("lying", "standing"), images_shown=6_000))
    return path


@pytest.fixture(scope="module")
def domain(file: Path) -> Extractor:
    return extractor("domain", path=file)


def test_it_is_the_classifier_before_and_after_its_last_layer(domain: Extractor, file: Path) -> None:
    images, _ = bars(50, 1)
    features, logits = extract(domain, images)
    assert features.shape == (50, 96) and logits.shape == (50, 2)
    trained = classifier.load(file)
    assert torch.equal(logits.argmax(1), classifier.predict(trained, images))
    activations = trained.body(classifier.scale(torch.from_numpy(images)))  # (50, 96 channels of 4×4)
    torch.testing.assert_close(features, activations.view(50, 96, 16).mean(2), rtol=1e-5, atol=1e-6)
    assert (domain.distance, domain.score, domain.resize) == ("fd_domain", "is_domain", 32)
    assert 1.8 < inception_score(logits, 1)[0] <= 2  # both classes, each sure


def test_distances_rank_what_is_wrong_with_the_images(domain: Extractor) -> None:
    def statistics(images: np.ndarray) -> Statistics:
        return Statistics.from_features(extract(domain, images)[0])

    (images, labels), real = bars(600, 2), statistics(bars(600, 1)[0])
    noisy = (images + np.random.default_rng(0).normal(0, 60, images.shape)).clip(0, 255).astype(np.uint8)
    floor, lost, noise = (frechet_distance(real, statistics(fake)) for fake in (images, images[labels == 0], noisy))
    assert 5 * floor < lost and 5 * floor < noise


def test_equal_weights_make_equal_files(file: Path, tmp_path: Path) -> None:
    """The hash of the file stands in protocols; safetensors writes several entries of metadata in any order."""
    for _ in range(20):
        classifier.save(tmp_path / "copy", classifier.load(file))
        assert (tmp_path / "copy").read_bytes() == file.read_bytes()


def test_images_of_other_channels_are_refused(domain: Extractor) -> None:
    with pytest.raises(ValueError, match="trained on images of 1 channels, these have 3"):
        domain(torch.zeros(2, 3, 16, 16))


def test_without_a_path_it_says_what_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"domain needs the path of a classifier"):
        extractor("domain")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "other.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"other\.safetensors does not hold a classifier"):
        extractor("domain", path=path)

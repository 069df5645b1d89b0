"""A generator on disk: what is damaged is named; any stretch of its sequence of images is that of the whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib import build
from ganlib.config import ConfigError
from ganlib.sampling import generator as generators

NETWORKS = {"name": "mlp", "width": 16, "depth": 1, "latent": 4}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    module, config = build.component("networks", NETWORKS | {"conditioning": "concat"})
    generator = module.build(config, (1, 8, 8), 3)["generator"]
    generators.save(tmp_path, generator, {"networks": NETWORKS | {"conditioning": "concat"}, "shape": [1, 8, 8],
                                          "classes": ["a", "b", "c"], "label_counts": [4, 0, 12], "seed": 0})
    return tmp_path


def test_a_stretch_of_the_sequence_is_that_of_the_whole(directory: Path) -> None:
    """Labels go on as well: what two workers make is what one makes."""
    generator, _ = generators.load(directory)
    generator.label_counts = (5, 0, 1)
    whole = generators.sample(generator, 10, seed=3)
    parts = [generators.excerpt(generator, start, count, seed=3) for start, count in ((0, 4), (4, 5), (9, 1))]
    assert torch.equal(torch.cat(parts), whole)


class Told:
    """What `labels_of` asks of a generator."""

    def __init__(self, counts: tuple[int, ...], codes: bool = False) -> None:
        self.classes, self.labels_are_codes, self.label_counts = len(counts), codes, counts


def test_labels_come_in_the_shares_of_the_training_images_from_wherever_one_begins() -> None:
    counts = (950, 0, 50, 1000)
    expected = np.array(counts) / 2000
    for start, count in ((0, 1000), (12_345, 1000), (7, 100), (0, 60_000)):
        labels = generators.labels_of(Told(counts), count, start)
        assert labels is not None and labels.dtype == torch.long
        found = np.bincount(labels.numpy(), minlength=4)
        assert np.abs(found - count * expected).max() < 3 and found[1] == 0


def test_labels_do_not_go_with_their_places() -> None:
    """In turn, the second of two classes would have every other latent; and of more classes than images, the last none.
    """
    labels = generators.labels_of(Told((1,) * 500), 50)
    assert labels is not None and len(labels.unique()) == 50 and labels.max() > 450 and labels.min() < 50


def test_codes_are_all_equally_often_and_an_older_file_has_no_counts() -> None:
    for generator in (Told((9, 1), codes=True), Told(())):
        generator.classes = 2
        labels = generators.labels_of(generator, 100)
        assert labels is not None and abs(int(labels.sum()) - 50) <= 2
    generator.classes = 0
    assert generators.labels_of(generator, 100) is None


def test_initial_weights_and_latents_of_one_seed_share_nothing(directory: Path) -> None:
    """From one stream, the first of each would be the same numbers, but for their scale."""
    generator, _ = generators.untrained(directory)
    weights = next(generator.parameters()).detach().flatten()
    z = generators.latents(generator, 64, seed=0).flatten()[:len(weights)]
    assert abs(float(torch.corrcoef(torch.stack([weights[:len(z)], z]))[0, 1])) < 0.3


def test_the_law_of_the_labels_is_kept_with_the_generator(directory: Path) -> None:
    generator, _ = generators.load(directory)
    assert generator.label_counts == (4, 0, 12)
    labels = generators.labels_of(generator, 16)
    assert labels is not None and torch.bincount(labels).tolist() == [5, 0, 11]  # within one of 4, 0, 12


@pytest.mark.parametrize("damage", ["cut", "gone", "of another network"])
def test_weights_that_are_not_its_own_are_named(damage: str, directory: Path) -> None:
    weights, description = directory / "generator.safetensors", directory / "generator.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "gone":
        weights.unlink()
    else:
        description.write_text(description.read_text().replace('"width": 16', '"width": 17'))
    with pytest.raises(ConfigError, match=r"generator\.safetensors does not hold the weights of this generator"):
        generators.load(directory)

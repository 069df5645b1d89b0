"""A generator on disk: what is damaged is named; any stretch of its sequence of images is that of the whole."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

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


def edited(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    """What is in generator.json with some of it changed, and with GONE not there."""
    return lambda about: {key: value for key, value in (about | changes).items() if value is not GONE}


GONE = object()
# Edits of generator.json (a text, or what makes another value of it), and of the weights' bytes or tensors; and whether
# the generator still works.
EDITS: list[tuple[Any, bool]] = [
    ("", False), ("{", False), ("[]", False), ("null", False), ("5", False), ("{}", False), ("\0" * 50, False),
    ("[" * 10_000, False), ('{"seed": 1e999}', False), (b"\xff\xfe{}", False),
    *[(edited(**{key: GONE}), False) for key in ("networks", "shape", "classes", "seed")],
    (edited(label_counts=GONE), True), (edited(more={"kept": 1}, run=None), True),
    *[(edited(**{key: value}), False) for key in ("networks", "shape", "classes", "seed", "label_counts")
      for value in (None, 7.5, "x", {"a": 1}, [None], [[1]])],
    (edited(shape=[1, 8]), False), (edited(shape=[1, 8, 8, 8]), False), (edited(shape=[1, 0, 8]), False),
    (edited(shape=[1, -8, 8]), False), (edited(shape=[1, 8, 10**9]), False), (edited(shape=[1, 8, 9]), False),
    (edited(shape=[1, 8, "8"]), True), (edited(shape=[True, 8, 8]), False), (edited(shape=[3, 8, 8]), False),
    (edited(classes=["a", "b"]), False), (edited(classes=[]), False), (edited(classes=["a", 2, "c"]), False),
    (edited(classes=["d", "e", "../x"]), True), (edited(classes=list("abcd")), False),
    (edited(label_counts=[1, 2]), False), (edited(label_counts=[-1, 2, 2]), False),
    (edited(label_counts=[0] * 3), False), (edited(label_counts=[1e300] * 3), False),
    (edited(label_counts=[]), True), (edited(label_counts=[1, 2, 0.5]), False),
    (edited(seed=-1), True), (edited(seed="0"), True), (edited(seed=True), False), (edited(seed=10**400), False),
    (edited(networks={}), False), (edited(networks={"name": "mlpp"}), False),
    (edited(networks={"name": ["mlp"]}), False),
    (edited(networks=NETWORKS | {"width": 17, "conditioning": "concat"}), False),
    (edited(networks=NETWORKS | {"width": 0}), False), (edited(networks=NETWORKS | {"widht": 16}), False),
    (edited(networks=NETWORKS | {"name": "dcgan"}), False), (edited(networks=NETWORKS | {"latent": "many"}), False),
    (edited(networks=NETWORKS | {"conditioning": "no"}), False), (edited(networks=NETWORKS), False),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "works"), EDITS)
def test_whatever_is_in_its_description_it_works_or_is_refused(edit: Any, works: bool, directory: Path) -> None:
    path = directory / "generator.json"
    content = edit if isinstance(edit, bytes) else edit.encode() if isinstance(edit, str) else json.dumps(
        edit(json.loads(path.read_text()))).encode()  # fmt: skip
    path.write_bytes(content)
    if not works:
        with pytest.raises(ConfigError, match="generator") as error:
            generators.load(directory)
        assert str(directory) in str(error.value) and "train it again" in str(error.value)
        return
    generator, about = generators.load(directory)
    assert generators.sample(generator, 5, 0).shape == (5, 1, 8, 8) and about["networks"]["name"] == "mlp"
    assert generators.untrained(directory)[1] == about


@pytest.mark.parametrize("edit", [
    lambda weights: {}, lambda weights: weights | {"more": torch.zeros(1)},
    lambda weights: {name: values[:1] for name, values in weights.items()},
    lambda weights: {name: values * torch.nan for name, values in weights.items()},
    lambda weights: dict(list(weights.items())[1:]), b"", b"\0" * 8, b"\xff" * 100, b"{}" * 50,
])  # fmt: skip
def test_whatever_is_in_the_file_of_its_weights_it_is_refused(edit: Any, directory: Path) -> None:
    path = directory / "generator.safetensors"
    if isinstance(edit, bytes):
        path.write_bytes(edit)
    else:
        save_file({name: values.contiguous() for name, values in edit(load_file(path)).items()}, path)
    with pytest.raises(ConfigError, match=r"generator\.safetensors does not hold the weights of this generator"):
        generators.load(directory)


@pytest.mark.parametrize(("labels", "message"), [
    ([0, 1, 3], "0 … 2 is needed, got \\[3\\]"), ([0, -1, 2], "got \\[-1\\]"), ([0, 1], "3 .*needed|shape \\(3,\\)"),
    ([[0], [1], [2]], "shape"), ([0.0, 1.0, 2.0], "int64"), ([True, False, True], "int64")])
def test_labels_that_are_none_are_refused(labels: list[Any], message: str, directory: Path) -> None:
    generator, _ = generators.load(directory)
    with pytest.raises(ConfigError, match=message):
        generators.sample(generator, 3, 0, torch.tensor(labels))
    assert len(generators.sample(generator, 3, 0, torch.tensor([0, 2, 1]))) == 3


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

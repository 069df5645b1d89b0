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
from ganlib.condition import NOTHING, Condition, of_classes
from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from ganlib.sampling import generator as generators

NETWORKS = {"name": "mlp", "width": 16, "depth": 1, "latent": 4}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    module, config = build.component("networks", NETWORKS | {"conditioning": "concat"})
    generator = module.build(config, (1, 8, 8), of_classes(3))["generator"]
    generators.save(tmp_path, generator, {"networks": NETWORKS | {"conditioning": "concat"}, "shape": [1, 8, 8],
                                          "classes": ["a", "b", "c"], "label_counts": [4, 0, 12], "seed": 0})
    return tmp_path


def test_a_stretch_of_the_sequence_is_that_of_the_whole(directory: Path) -> None:
    """Labels go on as well: what two workers make is what one makes."""
    generator, _ = generators.load(directory)
    generator.label_counts = (5, 0, 1)
    whole = generators.sample(generator, 10, seed=3)
    parts = [generators.sample(generator, count, seed=3, start=start) for start, count in ((0, 4), (4, 5), (9, 1))]
    assert torch.equal(torch.cat(parts), whole)


class Told:
    """What `labels_of` asks of a generator."""

    def __init__(self, counts: tuple[int, ...], codes: bool = False) -> None:
        self.classes, self.labels_are_codes, self.label_counts = len(counts), codes, counts
        self.told = of_classes(len(counts))


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
    ([0, 1, 3], "classes 0 … 2, got 0 … 3"), ([0, -1, 2], "got -1 … 2"), ([[0], [1], [2]], r"shape \(3, 1\)"),
    ([0.0, 1.0, 2.0], "float32"), ([True, False, True], "bool")])
def test_labels_that_are_none_are_refused(labels: list[Any], message: str, directory: Path) -> None:
    generator, _ = generators.load(directory)
    with pytest.raises(ConfigError, match=message):
        generators.sample(generator, torch.tensor(labels), 0)
    assert len(generators.sample(generator, torch.tensor([0, 2, 1]), 0)) == 3


def test_a_generator_is_asked_for_what_it_can_give(directory: Path) -> None:
    noise = build.networks(NETWORKS, (1, 8, 8), NOTHING, 0)["generator"]
    with pytest.raises(ConfigError, match=r"makes its images of noise alone.* ask for a number"):
        generators.sample(noise, torch.zeros(2, 1, 8, 8, dtype=torch.uint8), 0)
    translator = _translator()
    with pytest.raises(ConfigError, match=r"count: this generator goes by an image 3×64×64.*pipelines\.translate"):
        generators.sample(translator, 3, 0)
    for wrong in (torch.zeros(2, 1, 64, 64, dtype=torch.uint8), torch.zeros(2, 3, 32, 64, dtype=torch.uint8),
                  torch.zeros(2, dtype=torch.int64)):  # fmt: skip
        with pytest.raises(ConfigError, match=r"conditions: an image 3×64×64 each, got"):
            generators.sample(translator, wrong, 0)
    with pytest.raises(ConfigError, match=r"truncation: this generator translates images"):
        generators.sample(translator, torch.zeros(2, 3, 64, 64, dtype=torch.uint8), 0, 0.5)
    texts = build.networks(NETWORKS | {"conditioning": "concat"}, (1, 8, 8), Condition("text", 5), 0)["generator"]
    with pytest.raises(ConfigError, match=r"goes by a text's 5 numbers.*give it texts"):
        generators.sample(texts, 2, 0)
    assert generators.sample(texts, torch.randn(2, 5), 0).shape == (2, 1, 8, 8)


def _translator(**options: Any) -> Any:
    unet = {"name": "unet", "width": 2, "discriminator_width": 2, "dropout": 0.5} | options
    generator = build.networks(unet, (1, 64, 64), Condition("image", 3, (64, 64)), 0)["generator"].eval()
    for parameter in generator.parameters():
        parameter.data *= 10  # or all that it draws were grey
    return generator


def test_what_a_translator_draws_is_a_function_of_image_place_and_seed() -> None:
    """Its dropout is drawn from the seed: any piece of the sequence is that of the whole, and another seed another."""
    translator = _translator()
    assert translator.latent > 0
    images = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = generators.sample(translator, images, 1)
    assert whole.dtype == torch.uint8 and whole.shape == (5, 1, 64, 64)
    pieces = [generators.sample(translator, images[start : start + 2], 1, start=start) for start in (0, 2, 4)]
    assert torch.equal(torch.cat(pieces), whole)
    assert not torch.equal(generators.sample(translator, images, 2), whole)
    floats = images.float() / 127.5 - 1
    assert (generators.sample(translator, floats, 1).int() - whole.int()).abs().max() <= 1
    still = _translator(dropout=0.0)
    assert still.latent == 0 and torch.equal(generators.sample(still, images, 1), generators.sample(still, images, 2))


def test_of_a_table_a_generator_is_asked_for_its_conditions_or_a_number(directory: Path) -> None:
    pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(-1, 3, 64, 64)
    pairs = Table.from_arrays(pixels[:, :1].contiguous(), sources=pixels.flip(0).contiguous())
    asked = generators.asked(_translator(), pairs, 3)
    assert asked[:, 0, 0, 0].tolist() == [5, 3, 1]  # evenly spread
    assert torch.equal(generators.piece(asked, 1, 2), asked[1:])
    generator, _ = generators.load(directory)
    assert generators.asked(generator, pairs, 3) == 3 and generators.piece(3, 1, 2) == 2


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

"""The real images through the extractor, once → what `pipelines.reference` writes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganlib.config import require
from ganlib.datasets.table import Table, choosing
from ganlib.files import read_json, replacing
from ganlib.metrics import classifier, intra_class_distance
from ganlib.metrics.features import Extractor
from ganlib.metrics.pairs import trivial
from ganlib.metrics.protocol import Evaluation
from pipelines.evaluation.headline import Headline, Seen
from pipelines.evaluation.measure import (
    cautions,
    choice_of,
    curve_of,
    enough_of_each,
    make_extractor,
    make_protocol,
    numbers,
    pair_numbers,
    run,
    told,
)
from pipelines.runs.bar import images_bar
from pipelines.runs.project import REFERENCE, TABLE

CLASSIFIER = "classifier.safetensors"


def reference(evaluation: Evaluation, table: Path = TABLE, directory: Path = REFERENCE) -> dict[str, Any]:
    """Write `directory`, whole or not at all; gives what its reference.json holds."""
    test, train = Table.open(table, "test"), Table.open(table, "train")
    labelled = train.labels is not None and test.labels is not None
    require(labelled or evaluation.extractor != "domain", "evaluation.extractor: domain is a classifier of the data, "
            "which has no labels; choose efficientnet_lite0")
    network = make_extractor(evaluation) if evaluation.extractor != "domain" else None  # refused before time is spent
    if network:
        make_protocol(evaluation, network, table)
    with replacing(directory) as new:
        return _write(evaluation, table, new, network)


def _write(evaluation: Evaluation, table: Path, directory: Path, network: Extractor | None) -> dict[str, Any]:
    test, train = Table.open(table, "test"), Table.open(table, "train")
    result: dict[str, Any] = {}
    counter = None
    if train.labels is not None and test.labels is not None:
        with images_bar(evaluation.classifier_images, "classifier", stays=False) as bar:
            counter = classifier.train(train.images, train.labels, train.classes, evaluation.classifier_images,
                                       evaluation.seed, bar.update)
        classifier.save(directory / CLASSIFIER, counter)
        right = classifier.predict(counter, test.images) == torch.from_numpy(np.array(test.labels))
        result["classifier_accuracy"] = float(right.double().mean())

    network = network or make_extractor(evaluation, directory / CLASSIFIER)
    protocol = make_protocol(evaluation, network, table)
    test, others = test.evenly(evaluation.images), others_of(table, evaluation.images)
    if counter:
        result["class_shares"] = classifier.class_shares(counter, others.images)
    real, _ = run(network, test.images, evaluation, "real test images")
    other, logits = run(network, others.images, evaluation, "other real images")
    measured = numbers(network, evaluation, real, other, logits, noise=False)
    chosen_by = Seen(others.images[:protocol.choosing_images], other[:protocol.choosing_images])
    floors = {name: entry["value"] for name, entry in measured.items()}
    headline = Headline(network, test, choosing(table)[1])
    if headline.pairs:
        floors |= _of_the_sources(network, evaluation, Seen(test.images, real), test)
        sources = trivial(told(choosing(table)[1], evaluation.images), test.shape)
        floors[choice_of(protocol)] = headline.value(chosen_by, Seen(sources, _features(network, sources, evaluation)))
    else:
        floors[choice_of(protocol)] = headline.value(chosen_by, Seen(test.images, real))
    result |= {"protocol": dataclasses.asdict(protocol), "floor": floors}
    result["cautions"] = cautions(protocol, real.shape[1], result.get("classifier_accuracy"))
    if test.labels is not None and others.labels is not None and enough_of_each(test.labels, others.labels):
        within, _ = intra_class_distance(real, test.labels, other, others.labels)
        result["floor"][f"intra_class_{network.distance}"] = within

    save_file({"test": real, "others": other}, directory / "features.safetensors")
    precision, recall = curve_of(real, other, evaluation.seed)
    save_file({"precision": torch.from_numpy(precision), "recall": torch.from_numpy(recall)},
              directory / "curve.safetensors")
    (directory / "reference.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def _of_the_sources(network: Extractor, evaluation: Evaluation, truth: Seen, test: Table) -> dict[str, float]:
    """The numbers of pairs that the images reach which a translator is given; alike in both directions."""
    sources = trivial(told(test, evaluation.images), test.shape)
    found = pair_numbers(network, evaluation, truth, Seen(sources, _features(network, sources, evaluation)))
    return {name + way: entry["value"] for name, entry in found.items() for way in ("", "_back")}


def _features(network: Extractor, images: Tensor, evaluation: Evaluation) -> Tensor:
    return run(network, images, evaluation, "the sources themselves")[0]


class Reference:
    """The images of a table with what `reference` wrote of them: what generators are measured against. ConfigError
    where that is not there, or the table has fewer images than the evaluation needs."""

    def __init__(self, evaluation: Evaluation, table: Path, directory: Path) -> None:
        self.evaluation, self.table, self.directory = evaluation, table, directory
        self.test, self.train = Table.open(table, "test"), Table.open(table, "train")
        self.stored = read_json(directory / "reference.json", "write it with `python -m pipelines.reference`")
        self.network = make_extractor(evaluation, directory / CLASSIFIER)
        self.protocol = make_protocol(evaluation, self.network, table)
        self.choice = choice_of(self.protocol)  # the name of the distance to choose by
        self.asks = self.test.condition.given  # generators for images of the table's conditions
        self.chosen_by = choosing(table)[1]
        self.headline = Headline(self.network, self.test, self.chosen_by)
        self.features = load_file(directory / "features.safetensors")  # of `test` images, and of `others`

    @property
    def of_test(self) -> Seen:
        """The test images that are measured against."""
        return Seen(self.test.evenly(self.evaluation.images).images, self.features["test"])

    @property
    def of_choice(self) -> Seen:
        """The images that generators are chosen by."""
        count = self.protocol.choosing_images
        return Seen(self.chosen_by.evenly(self.evaluation.images).images, self.features["others"][:count])

    @property
    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision and recall of the others against the test images."""
        found = load_file(self.directory / "curve.safetensors")
        return found["precision"].numpy(), found["recall"].numpy()


def others_of(table: Path, count: int) -> Table:
    """`count` real images that are no test images: of the split by which generators are chosen, then, where those are
    not enough, training images. All of them if there are no more."""
    split, chosen_by = choosing(table)
    images = chosen_by.evenly(count)
    if split == "train" or len(images) == count:
        return images
    rest = Table.open(table, "train").evenly(count - len(images))
    return images.followed_by(rest)

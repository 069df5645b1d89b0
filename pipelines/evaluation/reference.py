"""The real images through the extractor, once → what `pipelines.reference` writes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ganlib.config import require
from ganlib.datasets.table import Table, choosing
from ganlib.files import read_json, replacing
from ganlib.metrics import Statistics, classifier, frechet_distance, intra_class_distance
from ganlib.metrics.features import Extractor
from ganlib.metrics.protocol import Evaluation
from pipelines.evaluation.measure import (
    cautions,
    choice_of,
    curve_of,
    enough_of_each,
    make_extractor,
    make_protocol,
    numbers,
    run,
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
    result |= {"protocol": dataclasses.asdict(protocol), "floor": {
        **{name: entry["value"] for name, entry in measured.items()},
        choice_of(protocol): frechet_distance(Statistics.from_features(other[:protocol.choosing_images]), real)}}
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
        self.features = load_file(directory / "features.safetensors")  # of `test` images, and of `others`

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

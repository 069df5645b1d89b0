"""The generator of model/ against the real images → what `pipelines.evaluate` writes."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ganlib import seeds
from ganlib.config import ConfigError, require
from ganlib.datasets.table import Table
from ganlib.files import replacing
from ganlib.metrics import (
    classification_accuracy_score,
    classifier,
    intra_class_distance,
    memorization,
    perceptual_path_length,
    slerp,
)
from ganlib.metrics.comparison import learned
from ganlib.metrics.features import Extractor
from ganlib.metrics.protocol import Evaluation, ProtocolMismatch, require_equal
from ganlib.sampling import generator as generators
from pipelines.evaluation import illustrations
from pipelines.evaluation.headline import Seen
from pipelines.evaluation.measure import curve_of, enough_of_each, numbers, pair_numbers, run, told
from pipelines.evaluation.names import safe
from pipelines.evaluation.reference import CLASSIFIER, Reference, others_of
from pipelines.runs.bar import images_bar
from pipelines.runs.model import Description, described
from pipelines.runs.project import EVALUATION, MODEL, REFERENCE, TABLE

PATHS = 500  # of the path length
UNTRAINED = 1000  # images of the generator before its training: they differ little, so that few of them have no bias
QUERIES = 1000  # images whose nearest training image is looked for
LESSON = 20_000  # images generated to train a classifier on; it sees them several times
ACCURACIES = ("code_accuracy", "label_accuracy", "classification_accuracy_score")


class Generated(NamedTuple):
    """Images of a generator, and what the extractor and the classifier see in them."""

    images: Tensor
    features: Tensor
    logits: Tensor
    for_choice: Seen  # what is compared with the images that generators are chosen by: the same, unless of conditions
    seen: Tensor | None  # the class of each image; None where the data has no labels
    shares: dict[str, float]  # of the classes


def evaluate(evaluation: Evaluation, model: Path = MODEL, reference: Path = REFERENCE, table: Path = TABLE,
             directory: Path = EVALUATION) -> dict[str, Any]:
    """Write `directory`, metrics.json last; gives what that holds."""
    generator, _ = _model(model, Table.open(table, "train"))
    description, real = described(model), Reference(evaluation, table, reference)
    _require_comparable(description, model, real)
    generated = _generated(generator, real)
    metrics = with_floors(measured(generator, generated, model, real), real)
    choice, shares = real.choice, generated.shares
    result = {"generator_sha256": generators.digest(model), "distance": real.headline.name, "choice": choice,
              "failed": failure(choice, metrics[choice]), "cautions": real.stored["cautions"], **metrics,
              **({"class_shares": shares} if shares else {}),
              "protocol": {**dataclasses.asdict(real.protocol), "ema": description.ema}}
    by_class = {f"class_share.{safe(name)}": {"value": share, "floor": real.stored["class_shares"][name]}
                for name, share in shares.items()}
    write(directory, result, {**metrics, **by_class}, drawn(generator, generated, model, real))
    return result


def measured_again(evaluation: Evaluation, model: Path, reference: Path = REFERENCE, table: Path = TABLE
                   ) -> dict[str, Any]:
    """The distance to choose by, as metrics.json has it, and `failed`, of a generator that was measured in another way
    or trained on another version of the data. ConfigError if that has another shape, or other classes of which it is
    told, or if its networks are not those of today."""
    real = Reference(evaluation, table, reference)
    generator, description = _model(model, real.train)
    shape, classes = "×".join(map(str, real.train.shape)), tuple(description["classes"])
    require(tuple(description["shape"]) == real.train.shape, f"it makes images of another shape than {shape}")
    told = generator.classes and not generator.labels_are_codes
    require(not told or classes == real.train.classes, f"it was trained on other classes: {', '.join(classes)}")
    made = _seen(generator, real, real.chosen_by, evaluation.images, "images of the champion")
    entry = with_floors({real.choice: _to_choose_by(made, _untrained(model, real, real.chosen_by), real)}, real)
    entry = entry[real.choice]
    return entry | {"failed": failure(real.choice, entry)}


def measured(generator: Any, generated: Generated, model: Path, real: Reference) -> dict[str, dict[str, Any]]:
    """All numbers of a generator, without their floors: the distance to report and the one to choose by first."""
    network, evaluation = real.network, real.evaluation
    metrics = numbers(network, evaluation, real.features["test"], generated.features, generated.logits)
    if real.headline.pairs:
        metrics |= pair_numbers(network, evaluation, real.of_test, Seen(generated.images, generated.features))
        if hasattr(generator, "back"):
            metrics |= {f"{name}_back": entry for name, entry in _way_back(generator, real).items()}
    untrained = _untrained(model, real, real.test)
    metrics[real.headline.name]["untrained"] = real.headline.value(real.of_test, untrained)
    if real.asks:
        untrained = _untrained(model, real, real.chosen_by)
    metrics[real.choice] = _to_choose_by(generated.for_choice, untrained, real)
    metrics["memorization"] = copied(real.train, real.test, generated.images)
    if generators.walks(generator):
        length, noise = path_length(generator, network, evaluation, generators.asked(generator, real.test, PATHS))
        metrics[f"path_length_{network.name}"] = {"value": length, "standard_error": noise}
    if generated.seen is not None:
        metrics["class_share_min"] = {"value": min(generated.shares.values())}
        metrics |= _told(generator, generated, generated.seen, real)
    return {name: metrics[name] for name in (real.headline.name, real.choice)} | metrics


def with_floors(metrics: dict[str, dict[str, Any]], real: Reference) -> dict[str, dict[str, Any]]:
    """The numbers, each with what real images reach in place of generated ones, where that is known."""
    floors = dict(real.stored["floor"])
    if "class_shares" in real.stored:
        floors["class_share_min"] = min(real.stored["class_shares"].values())
        floors |= dict.fromkeys(ACCURACIES, real.stored["classifier_accuracy"])
    return {name: entry | ({"floor": floors[name]} if name in floors else {}) for name, entry in metrics.items()}


def drawn(generator: Any, generated: Generated, model: Path, real: Reference) -> dict[str, Image.Image]:
    """The pictures of a generator by their names."""
    evaluation = real.evaluation
    asked = generators.asked(generator, real.test, evaluation.images)
    curves = {"generated": curve_of(real.features["test"], generated.features, evaluation.seed),
              "other real images": real.curve}
    return illustrations.draw(
        generator, generated.images, seed=evaluation.seed, snapshots=model / "snapshots", features=generated.features,
        known=others_of(real.table, evaluation.images).images, known_features=real.features["others"],
        real_images=real.train.images, classes=real.train.classes, seen=generated.seen,
        truncation=evaluation.truncation, conditions=None if isinstance(asked, int) else asked,
        truth=real.of_test.images if real.headline.pairs else None, curves=curves,
    )  # fmt: skip


def write(directory: Path, result: dict[str, Any], metrics: dict[str, dict[str, Any]],
          pictures: dict[str, Image.Image]) -> None:
    """The directory of an evaluation, whole or not at all: the pictures, the metrics one a file, and `result`."""
    with replacing(directory) as new:
        illustrations.save(pictures, new)
        (new / "numbers").mkdir()
        for name, entry in metrics.items():
            scalars = {key: value for key, value in entry.items() if not isinstance(value, list)}  # for DVC's table
            (new / "numbers" / f"{name}.json").write_text(json.dumps(scalars) + "\n")
        (new / "metrics.json").write_text(json.dumps(result, indent=2) + "\n")


def _require_comparable(description: Description, model: Path, real: Reference) -> None:
    """ConfigError unless model, table and reference are of the same data, and the reference of this evaluation."""
    protocol = dataclasses.asdict(real.protocol)
    try:
        require_equal(real.stored["protocol"], protocol, str(real.directory), "this evaluation")
    except ProtocolMismatch as error:
        raise ConfigError(f"{error}; run `python -m pipelines.reference`") from None
    if description.data_sha256 != protocol["data_sha256"]:
        raise ConfigError(f"{model} was trained on other data than {real.table} holds; run `dvc repro`")


def _model(model: Path, train: Table, trained: bool = True) -> tuple[Any, dict[str, Any]]:
    """The generator and its description. It is told labels as this data has them, whatever its file says of its own."""
    generator: Any
    generator, description = (generators.load if trained else generators.untrained)(model)
    generator.label_counts = train.label_counts
    return generator, description


def _generated(generator: nn.Module, real: Reference) -> Generated:
    images = _sample(generator, real.test, real.evaluation)
    features, logits = run(real.network, images, real.evaluation, "generated images")
    for_choice = Seen(images, features)
    if real.asks:
        for_choice = _seen(generator, real, real.chosen_by, real.evaluation.images, "images to choose by")
    if real.train.labels is None or real.test.labels is None:
        return Generated(images, features, logits, for_choice, None, {})
    seen = classifier.predict(classifier.load(real.directory / CLASSIFIER), images)
    return Generated(images, features, logits, for_choice, seen, classifier.shares_of(seen, real.train.classes))


def _seen(generator: nn.Module, real: Reference, split: Table, count: int, what: str) -> Seen:
    """So many images like those of a split."""
    images = _sample(generator, split, dataclasses.replace(real.evaluation, images=count))
    return Seen(images, run(real.network, images, real.evaluation, what)[0])


def _untrained(model: Path, real: Reference, split: Table) -> Seen:
    """Images like those of a split, of the generator as it was before its training: few, but where each has an answer.
    """
    generator, _ = _model(model, real.train, trained=False)
    count = real.evaluation.images if real.headline.pairs else min(UNTRAINED, real.evaluation.images)
    return _seen(generator, real, split, count, "untrained generator")


def _way_back(generator: Any, real: Reference) -> dict[str, dict[str, Any]]:
    """The numbers of pairs of a translator's other direction, from the test images to what they were drawn from."""
    truth = torch.from_numpy(np.array(told(real.test, real.evaluation.images)))
    made = generators.sample(generator.back, torch.from_numpy(np.array(real.of_test.images)), real.evaluation.seed)
    features = [run(real.network, images, real.evaluation, "the way back")[0] for images in (truth, made)]
    return pair_numbers(real.network, real.evaluation, Seen(truth, features[0]), Seen(made, features[1]))


def _to_choose_by(made: Seen, untrained: Seen, real: Reference) -> dict[str, Any]:
    """The number to choose by: of generated images, and of an untrained generator's."""
    entry = real.headline.entry(real.of_choice, made, real.evaluation)
    return entry | {"untrained": real.headline.value(real.of_choice, untrained)}


def failure(name: str, entry: dict[str, Any]) -> str | None:
    """Why a generator counts as failed, by the distance that it is chosen by; None if it does not."""
    value, noise, untrained, floor = (entry[key] for key in ("value", "standard_error", "untrained", "floor"))
    if learned(value, noise, untrained, floor):
        return None
    return (f"{name} is {value:.4g} ± {noise:.2g}, and {untrained:.4g} before any training: this generator is not "
            "clearly better than an untrained one")


def _told(generator: Any, generated: Generated, seen: Tensor, real: Reference) -> dict[str, dict[str, Any]]:
    """What can be asked of a generator that is told a label, or a code that may be given a class's name."""
    labels = generators.labels_of(generator, len(generated.images))
    if labels is None:
        return {}
    if generator.labels_are_codes:
        return {"code_accuracy": {"value": label_accuracy(labels, seen, name_codes=True)}}
    found: dict[str, dict[str, Any]] = {"label_accuracy": {"value": label_accuracy(labels, seen)}}
    evaluation, test = real.evaluation, real.test
    chosen = test.evenly(evaluation.images)
    assert chosen.labels is not None and test.labels is not None
    if enough_of_each(chosen.labels, labels):
        within, _ = intra_class_distance(real.features["test"], chosen.labels, generated.features, labels)
        found[f"intra_class_{real.network.distance}"] = {"value": within}
    shown = evaluation.classifier_images
    lesson = generators.sample(generator, min(shown, LESSON), seeds.derive("lesson", evaluation.seed),
                               evaluation.truncation)
    taught = generators.labels_of(generator, len(lesson))
    assert taught is not None
    with images_bar(shown, "classifier of generated images", stays=False) as bar:
        score = classification_accuracy_score(test.images, test.labels, lesson, taught, test.classes, shown,
                                              evaluation.seed, bar.update)
    return {**found, "classification_accuracy_score": {"value": score}}


def copied(train: Table, test: Table, images: Tensor) -> dict[str, Any]:
    """Are generated images nearer to training images than test images are? Against all training images, in pixels of at
    most 32 a side: of features one would have to compute those of the whole training split."""
    def pixels(images: np.ndarray) -> Tensor:  # of some at a time: the table may be larger than memory
        blocks = (torch.from_numpy(np.array(images[start:start + QUERIES])) for start in range(0, len(images), QUERIES))
        return torch.cat([classifier.scale(block).flatten(1) for block in blocks])

    found = memorization(pixels(train.images), pixels(test.evenly(QUERIES).images), pixels(images[:QUERIES].numpy()))
    return {"value": found.share, "z": found.z, "train_images": len(train)}


def path_length(generator: Any, network: Extractor, evaluation: Evaluation, asked: int | Tensor = PATHS
                ) -> tuple[float, float]:
    """The path length by the extractor's features, which are not LPIPS, and its standard error. `asked`: the texts
    to go by, of a generator that is told any."""
    device = next(generator.parameters()).device

    def decode(z: Tensor, label: Tensor | None = None) -> Tensor:
        # not rounded: a step along a path is less than a level of grey
        return generators.to_pixels(generator(z.to(device), None if label is None else label.to(device)))

    a, b = (evaluation.truncation * generators.latents(generator, 2 * PATHS, evaluation.seed)).split(PATHS)
    labels = (generators.labels_of(generator, PATHS) if isinstance(asked, int)
              else asked[torch.arange(PATHS) % len(asked)])
    return perceptual_path_length(decode, lambda pixels: network(pixels)[0], a, b, slerp,
                                  labels=labels, seed=evaluation.seed)


def _sample(generator: nn.Module, split: Table, evaluation: Evaluation) -> Tensor:
    asked = generators.asked(generator, split, evaluation.images)
    return generators.sample(generator, asked, evaluation.seed, evaluation.truncation)


def label_accuracy(told: Tensor, seen: Tensor, name_codes: bool = False) -> float:
    """The share of images whose told label (N,) is the class seen (N,), the mean over the labels: a rare one counts as
    much as a frequent one. With `name_codes`, which are equally frequent, each code first gets a class of its own:
    those names under which the share of all images is the largest."""
    if not name_codes:
        right = (told == seen).double()
        return float(torch.stack([right[told == label].mean() for label in told.unique()]).mean())
    size = int(max(told.max(), seen.max())) + 1
    together = torch.zeros(size, size).index_put_((told, seen), torch.ones(len(told)), accumulate=True)
    rows, columns = linear_sum_assignment(together.numpy(), maximize=True)
    return float(together[rows, columns].sum() / len(told))

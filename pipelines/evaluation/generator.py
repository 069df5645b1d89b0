"""The generator of model/ against the real images → what `pipelines.evaluate` writes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ganlib import seeds
from ganlib.config import ConfigError, require
from ganlib.datasets.table import Table
from ganlib.files import read_json, replacing
from ganlib.metrics import (
    Statistics,
    classification_accuracy_score,
    classifier,
    frechet_distance,
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
from pipelines.evaluation.measure import (
    choice_of,
    curve_of,
    distance_of,
    enough_of_each,
    make_extractor,
    make_protocol,
    numbers,
    run,
)
from pipelines.evaluation.names import safe
from pipelines.evaluation.reference import CLASSIFIER, others_of
from pipelines.runs.bar import images_bar
from pipelines.runs.model import described
from pipelines.runs.project import EVALUATION, MODEL, REFERENCE, TABLE

PATHS = 500  # of the path length
UNTRAINED = 1000  # images of the generator before its training: they differ little, so that few of them have no bias
QUERIES = 1000  # images whose nearest training image is looked for
LESSON = 20_000  # images generated to train a classifier on; it sees them several times
ACCURACIES = ("code_accuracy", "label_accuracy", "classification_accuracy_score")


def evaluate(evaluation: Evaluation, model: Path = MODEL, reference: Path = REFERENCE, table: Path = TABLE,
             directory: Path = EVALUATION) -> dict[str, Any]:
    """Write `directory`, metrics.json last; gives what that holds."""
    test, train = Table.open(table, "test"), Table.open(table, "train")
    generator, _ = _model(model, train)
    description, stored = described(model), _stored(reference)
    network = make_extractor(evaluation, reference / CLASSIFIER)
    measured_by = make_protocol(evaluation, network, table)
    choice, protocol = choice_of(measured_by), dataclasses.asdict(measured_by)
    try:
        require_equal(stored["protocol"], protocol, str(reference), "this evaluation")
    except ProtocolMismatch as error:
        raise ConfigError(f"{error}; run `python -m pipelines.reference`") from None
    if description.data_sha256 != protocol["data_sha256"]:
        raise ConfigError(f"{model} was trained on other data than {table} holds; run `dvc repro`")
    features = load_file(reference / "features.safetensors")
    real, chosen_by = features["test"], Statistics.from_features(features["others"][:measured_by.choosing_images])

    images = _sample(generator, evaluation)
    fake, logits = run(network, images, evaluation, "generated images")
    metrics = numbers(network, evaluation, real, fake, logits)
    noise = _untrained(model, train, network, evaluation)
    metrics[network.distance]["untrained"] = frechet_distance(Statistics.from_features(real), noise)
    metrics[choice] = _chosen(chosen_by, fake, noise, evaluation)
    metrics["memorization"] = copied(train, test, images)
    length, noise_of_length = path_length(generator, network, evaluation)
    metrics[f"path_length_{network.name}"] = {"value": length, "standard_error": noise_of_length}
    seen, shares = None, {}
    if train.labels is not None and test.labels is not None:
        seen = classifier.predict(classifier.load(reference / CLASSIFIER), images)
        shares = classifier.shares_of(seen, train.classes)
        metrics["class_share_min"] = {"value": min(shares.values())}
        stored["floor"]["class_share_min"] = min(stored["class_shares"].values())
        metrics |= _told(generator, evaluation, network.distance, images, fake, seen, test, real)
        stored["floor"] |= dict.fromkeys(ACCURACIES, stored["classifier_accuracy"])
    metrics = {name: metrics[name] for name in (network.distance, choice)} | metrics  # these two first
    for name, entry in metrics.items():
        if name in stored["floor"]:
            entry["floor"] = stored["floor"][name]

    floor_curve = load_file(reference / "curve.safetensors")
    curves = {"generated": curve_of(real, fake, evaluation.seed),
              "other real images": (floor_curve["precision"].numpy(), floor_curve["recall"].numpy())}
    pictures = illustrations.draw(
        generator, images, seed=evaluation.seed, snapshots=model / "snapshots", features=fake,
        known=others_of(table, evaluation.images).images, known_features=features["others"], real_images=train.images,
        classes=train.classes, seen=seen, truncation=evaluation.truncation, curves=curves,
    )  # fmt: skip
    by_class = {f"class_share.{safe(name)}": {"value": share, "floor": stored["class_shares"][name]}
                for name, share in shares.items()}
    result = {"generator_sha256": generators.digest(model),
              "distance": network.distance, "choice": choice, "failed": failure(choice, metrics[choice]),
              "cautions": stored["cautions"], **metrics, **({"class_shares": shares} if shares else {}),
              "protocol": {**protocol, "ema": description.ema}}
    with replacing(directory) as new:
        illustrations.save(pictures, new)
        _write_numbers(new / "numbers", {**metrics, **by_class})
        (new / "metrics.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def measured_again(evaluation: Evaluation, model: Path, reference: Path = REFERENCE, table: Path = TABLE
                   ) -> dict[str, Any]:
    """The distance to choose by, as metrics.json has it, and `failed`, of a generator that was measured in another way
    or trained on another version of the data. ConfigError if that has another shape, or other classes of which it is
    told, or if its networks are not those of today."""
    train, stored = Table.open(table, "train"), _stored(reference)
    generator, description = _model(model, train)
    shape, classes = "×".join(map(str, train.shape)), tuple(description["classes"])
    require(tuple(description["shape"]) == train.shape, f"it makes images of another shape than {shape}")
    told = generator.classes and not generator.labels_are_codes
    require(not told or classes == train.classes, f"it was trained on other classes: {', '.join(classes)}")
    network = make_extractor(evaluation, reference / CLASSIFIER)
    protocol = make_protocol(evaluation, network, table)
    real = load_file(reference / "features.safetensors")["others"][:protocol.choosing_images]
    fake, _ = run(network, _sample(generator, evaluation), evaluation, "images of the champion")
    noise = _untrained(model, train, network, evaluation)
    entry = _chosen(Statistics.from_features(real), fake, noise, evaluation)
    entry["floor"] = stored["floor"][choice_of(protocol)]
    return entry | {"failed": failure(choice_of(protocol), entry)}


def _model(model: Path, train: Table, trained: bool = True) -> tuple[Any, dict[str, Any]]:
    """The generator and its description. It is told labels as this data has them, whatever its file says of its own."""
    generator: Any
    generator, description = (generators.load if trained else generators.untrained)(model)
    generator.label_counts = train.label_counts
    return generator, description


def _untrained(model: Path, train: Table, network: Extractor, evaluation: Evaluation) -> Tensor:
    """Features of a few images of the generator as it was before its training."""
    generator, _ = _model(model, train, trained=False)
    few = dataclasses.replace(evaluation, images=min(UNTRAINED, evaluation.images))
    return run(network, _sample(generator, few), evaluation, "untrained generator")[0]


def _chosen(real: Statistics, fake: Tensor, untrained: Tensor, evaluation: Evaluation) -> dict[str, Any]:
    """The distance to choose by, without its floor: of the features of generated images, and of an untrained
    generator's."""
    return distance_of(real, fake, evaluation) | {"untrained": frechet_distance(real, untrained)}


def failure(name: str, entry: dict[str, Any]) -> str | None:
    """Why a generator counts as failed, by the distance that it is chosen by; None if it does not."""
    value, noise, untrained, floor = (entry[key] for key in ("value", "standard_error", "untrained", "floor"))
    if learned(value, noise, untrained, floor):
        return None
    return (f"{name} is {value:.4g} ± {noise:.2g}, and {untrained:.4g} before any training: this generator is not "
            "clearly better than an untrained one")


def _stored(directory: Path) -> dict[str, Any]:
    """What the stage `reference` says of itself; ConfigError if it has not run."""
    return read_json(directory / "reference.json", "write it with `python -m pipelines.reference`")


def _told(generator: Any, evaluation: Evaluation, distance: str, images: Tensor, fake: Tensor, seen: Tensor,
          test: Table, real: Tensor) -> dict[str, dict[str, Any]]:
    """What can be asked of a generator that is told a label, or a code that may be given a class's name."""
    told = generators.labels_of(generator, len(images))
    if told is None:
        return {}
    if generator.labels_are_codes:
        return {"code_accuracy": {"value": label_accuracy(told, seen, name_codes=True)}}
    found: dict[str, dict[str, Any]] = {"label_accuracy": {"value": label_accuracy(told, seen)}}
    chosen = test.evenly(evaluation.images)
    assert chosen.labels is not None and test.labels is not None
    if enough_of_each(chosen.labels, told):
        within, _ = intra_class_distance(real, chosen.labels, fake, told)
        found[f"intra_class_{distance}"] = {"value": within}
    shown = evaluation.classifier_images
    lesson = generators.sample(generator, min(shown, LESSON), seeds.derive("lesson", evaluation.seed), None,
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


def path_length(generator: Any, network: Extractor, evaluation: Evaluation) -> tuple[float, float]:
    """The path length by the extractor's features, which are not LPIPS, and its standard error."""
    device = next(generator.parameters()).device

    def decode(z: Tensor, label: Tensor | None = None) -> Tensor:
        # not rounded: a step along a path is less than a level of grey
        return generators.to_pixels(generator(z.to(device), None if label is None else label.to(device)))

    a, b = (evaluation.truncation * generators.latents(generator, 2 * PATHS, evaluation.seed)).split(PATHS)
    return perceptual_path_length(decode, lambda pixels: network(pixels)[0], a, b, slerp,
                                  labels=generators.labels_of(generator, PATHS), seed=evaluation.seed)


def _sample(generator: nn.Module, evaluation: Evaluation) -> Tensor:
    return generators.sample(generator, evaluation.images, evaluation.seed, None, evaluation.truncation)


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


def _write_numbers(directory: Path, metrics: dict[str, dict[str, Any]]) -> None:
    directory.mkdir()
    for name, entry in metrics.items():
        scalars = {key: value for key, value in entry.items() if not isinstance(value, list)}  # what DVC's table takes
        (directory / f"{name}.json").write_text(json.dumps(scalars) + "\n")

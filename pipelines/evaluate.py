"""Stage evaluate: the generator of model/ against the real images → evaluation/.

    python -m pipelines.evaluate

    metrics.json        every number: {"value", "floor": of real training images}, class shares, the protocol
    numbers/*.json      the same, one number a file: `dvc metrics show` makes a row of each file
    samples.png         100 images
    progress.png        the same latents, over the images seen in training
    interpolation.png   spherical paths between latents
    neighbours.png      samples beside their nearest real training images, by features and by pixels
    labels.png          a row for each label (or code of InfoGAN's) that the generator is told, the same latents in each
    codes.png           the continuous codes of InfoGAN, each varied alone from left to right

Where the generator is told a label, metrics.json also has the share of images in which the classifier sees that label
(`label_accuracy`); for codes that nobody named, under the best one-to-one naming (`code_accuracy`).
"""

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from ganlib.metrics import classifier, statistics
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.protocol import Evaluation, differences
from ganlib.metrics.statistics import Statistics
from ganlib.sampling import generator as generators
from pipelines import illustrations
from pipelines.measure import make_extractor, make_protocol, numbers, run, use_cores
from pipelines.params import load
from pipelines.prepare import TABLE
from pipelines.reference import REFERENCE

MODEL, EVALUATION = Path("model"), Path("evaluation")


def evaluate(evaluation: Evaluation, model: Path = MODEL, reference: Path = REFERENCE, table: Path = TABLE,
             directory: Path = EVALUATION) -> dict[str, Any]:
    """Write `directory`, metrics.json last; gives what that holds."""
    test, train = Table.open(table, "test"), Table.open(table, "train")
    generator: Any
    generator, description = generators.load(model)
    network = make_extractor(evaluation)
    protocol = dataclasses.asdict(make_protocol(evaluation, network, test))
    stored, real, features = _reference(reference, protocol)
    if description["data_sha256"] != protocol["data_sha256"]:
        raise ConfigError(f"{model} was trained on other data than {table} holds; run `dvc repro`")

    images = _sample(generator, evaluation)
    fake, logits = run(network, images, evaluation, "generated images")
    values = numbers(network, evaluation, (real, features["test"]), (Statistics.from_features(fake), fake), logits)
    metrics: dict[str, Any] = {name: {"value": value, "floor": stored["floor"][name]} for name, value in values.items()}
    untrained = _sample(generators.untrained(model)[0], evaluation)
    noise, _ = run(network, untrained, evaluation, "images of an untrained generator")
    metrics[network.distance]["untrained"] = frechet_distance(real, Statistics.from_features(noise))
    shares: dict[str, float] = {}
    if (reference / "classifier.safetensors").exists():
        seen = classifier.predict(classifier.load(reference / "classifier.safetensors"), images)
        shares = classifier.shares_of(seen, train.classes)
        floor = min(stored["class_shares"].values())
        metrics["class_share_min"] = {"value": min(shares.values()), "floor": floor}
        if (told := generators.in_turn(generator, len(images))) is not None:
            name = "code_accuracy" if generator.labels_are_codes else "label_accuracy"
            metrics[name] = {"value": label_accuracy(told, seen, name_codes=generator.labels_are_codes),
                             "floor": stored["classifier_accuracy"]}

    directory.mkdir(parents=True, exist_ok=True)
    pictures = illustrations.draw(generator, images, seed=evaluation.seed, snapshots=model / "snapshots", features=fake,
                                  real_features=features, real_images=train.images, classes=train.classes)
    for name, picture in pictures.items():
        picture.save(directory / f".{name}.png")
        os.replace(directory / f".{name}.png", directory / f"{name}.png")
    by_class = {f"class_share.{name}": {"value": share, "floor": stored["class_shares"][name]}
                for name, share in shares.items()}
    _write_numbers(directory / "numbers", {**metrics, **by_class})
    result = {"distance": network.distance, **metrics, **({"class_shares": shares} if shares else {}),
              "protocol": {**protocol, "ema": description["ema"]}}
    (directory / ".metrics.json").write_text(json.dumps(result, indent=2) + "\n")
    os.replace(directory / ".metrics.json", directory / "metrics.json")
    return result


def _reference(directory: Path, protocol: dict[str, Any]) -> tuple[dict[str, Any], Statistics, dict[str, Tensor]]:
    """What the stage `reference` wrote; ConfigError if it is not there or was made for another protocol."""
    if not (directory / "reference.json").exists():
        raise ConfigError(f"{directory}: not found; write it with `python -m pipelines.reference`")
    stored = json.loads((directory / "reference.json").read_text())
    if differing := differences(stored["protocol"], protocol):
        fields = ", ".join(f"{name} {there!r} (now {here!r})" for name, there, here in differing)
        raise ConfigError(f"{directory} was made for another protocol: {fields}; run `python -m pipelines.reference`")
    real, _ = statistics.load(directory / "statistics.safetensors")
    return stored, real, load_file(directory / "features.safetensors")


def _sample(generator: nn.Module, evaluation: Evaluation) -> Tensor:
    return generators.sample(generator, evaluation.images, evaluation.seed, None, evaluation.truncation)


def label_accuracy(told: Tensor, seen: Tensor, name_codes: bool = False) -> float:
    """The share of images whose told label (N,) is the class seen (N,). With `name_codes`, each code first gets a class
    of its own: those names under which the share is the largest."""
    if not name_codes:
        return float((told == seen).double().mean())
    size = int(max(told.max(), seen.max())) + 1
    together = torch.zeros(size, size).index_put_((told, seen), torch.ones(len(told)), accumulate=True)
    rows, columns = linear_sum_assignment(together.numpy(), maximize=True)
    return float(together[rows, columns].sum() / len(told))


def _write_numbers(directory: Path, metrics: dict[str, dict[str, float]]) -> None:
    temporary = directory.with_name(f".{directory.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name, entry in metrics.items():
        (temporary / f"{name.replace('/', '_')}.json").write_text(json.dumps(entry) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    temporary.rename(directory)


def show(result: dict[str, Any]) -> str:
    """The table for people."""
    lines = [f"{'':24} {'value':>10} {'floor':>10} {'untrained':>10}"]
    for name, entry in result.items():
        if isinstance(entry, dict) and "value" in entry:
            cells = (f"{entry[key]:>10.4g}" if key in entry else f"{'':>10}" for key in ("value", "floor", "untrained"))
            lines.append(f"{name:24} {' '.join(cells)}".rstrip())
    if "class_shares" in result:
        lines.append("shares  " + ", ".join(f"{name} {share:.1%}" for name, share in result["class_shares"].items()))
    return "\n".join(lines)


def main() -> None:
    start = time.monotonic()
    use_cores()
    try:
        result = evaluate(load().evaluation)
    except ConfigError as error:
        raise SystemExit(f"evaluate: {error}") from None
    print(show(result))
    protocol = result["protocol"]
    print(f"{protocol['generated_images']:,} generated against {protocol['real_images']:,} real test images, "
          f"{protocol['extractor']} at {protocol['resize']} px; floor: real training images instead")
    print(f"→ {EVALUATION}/metrics.json and *.png in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

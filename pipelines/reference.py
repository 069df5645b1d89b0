"""Stage reference: the real images through the extractor, once → data/reference/.

    python -m pipelines.reference

    statistics.safetensors   mean and covariance of the features of the first `evaluation.images` test images
    features.safetensors     `test`: those features; `train`: of as many training images
    classifier.safetensors   counts the classes of generated images; only where the data has labels
    reference.json           the protocol, and `floor`: what real training images reach in place of generated ones
"""

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from ganlib.config import ConfigError, require
from ganlib.datasets.table import Table
from ganlib.metrics import classifier, statistics
from ganlib.metrics.features import Extractor, extract, extractor
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.kernel import kernel_distance
from ganlib.metrics.neighbours import precision_recall
from ganlib.metrics.protocol import Evaluation, Protocol
from ganlib.metrics.statistics import Statistics
from pipelines.params import load
from pipelines.prepare import TABLE

REFERENCE = Path("data/reference")
MOST_THREADS = 8  # of more, batches that fit the cache gain nothing


def reference(evaluation: Evaluation, table: Path = TABLE, directory: Path = REFERENCE) -> dict[str, Any]:
    """Write `directory`, whole or not at all; gives what its reference.json holds."""
    test, train = Table.open(table, "test"), Table.open(table, "train")
    network = make_extractor(evaluation)
    protocol = make_protocol(evaluation, network, test)
    real, _ = run(network, test.images[:protocol.real_images], evaluation, "real test images")
    other, other_logits = run(network, train.images[:evaluation.images], evaluation, "real training images")
    measured = Statistics.of(real)
    floor = numbers(network, evaluation, (measured, real), (Statistics.of(other), other), other_logits)
    result: dict[str, Any] = {"protocol": dataclasses.asdict(protocol), "floor": floor}

    temporary = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    statistics.save(temporary / "statistics.safetensors", measured, result["protocol"])
    # Half precision is enough to find neighbours by, and the numbers are not computed from these.
    save_file({"test": real, "train": other.half()}, temporary / "features.safetensors")
    if train.labels is not None and test.labels is not None:
        with tqdm(total=evaluation.classifier_images, desc="classifier", unit=" images", disable=None) as bar:
            counter = classifier.train(train.images, train.labels, train.classes, evaluation.classifier_images,
                                       evaluation.seed, bar.update)
        classifier.save(temporary / "classifier.safetensors", counter)
        right = classifier.predict(counter, test.images) == torch.from_numpy(np.array(test.labels))
        result["classifier_accuracy"] = float(right.double().mean())
        result["class_shares"] = classifier.class_shares(counter, train.images[:evaluation.images])
    (temporary / "reference.json").write_text(json.dumps(result, indent=2) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    temporary.rename(directory)
    return result


def use_cores() -> None:
    """Let torch use this machine's cores, unless OMP_NUM_THREADS says how many; no TF32 where there is a GPU."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(len(os.sched_getaffinity(0)), MOST_THREADS))
    torch.backends.cudnn.allow_tf32 = False


def make_extractor(evaluation: Evaluation) -> Extractor:
    """The extractor that the configuration names, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return extractor(evaluation.extractor, evaluation.resize, evaluation.inception_path, device)


def make_protocol(evaluation: Evaluation, network: Extractor, test: Table) -> Protocol:
    """The protocol of the numbers of EMA weights; `test` gives the number of real images, if it has not enough."""
    count = min(evaluation.images, len(test))
    require(count > evaluation.neighbours, f"evaluation.neighbours: the test split has {len(test)} images, and "
            f"{evaluation.neighbours} neighbours need at least {evaluation.neighbours + 1}; prepare more test images")
    return Protocol(
        distance=network.distance, extractor=network.name, weights_sha256=network.weights_sha256,
        resize=network.resize, resize_method=network.resize_method, real_split="test", real_images=count,
        generated_images=evaluation.images, quantisation="uint8", ema=True, truncation=evaluation.truncation,
        neighbours=evaluation.neighbours, splits=evaluation.splits, seed=evaluation.seed,
        data_sha256=test.manifest["sha256"],
    )  # fmt: skip


def run(network: Extractor, images: np.ndarray | Tensor, evaluation: Evaluation, what: str) -> tuple[Tensor, Tensor]:
    """`extract` with a progress bar."""
    with tqdm(total=len(images), desc=what, unit=" images", disable=None) as bar:
        return extract(network, images, evaluation.batch_size, bar.update)


def numbers(network: Extractor, evaluation: Evaluation, real: tuple[Statistics, Tensor],
            fake: tuple[Statistics, Tensor], logits: Tensor) -> dict[str, float]:
    """All numbers of some images (`fake`, with their logits) against the real ones."""
    precision, recall = precision_recall(real[1], fake[1], evaluation.neighbours)
    return {
        network.distance: frechet_distance(real[0], fake[0]),
        "kernel_distance": kernel_distance(real[1], fake[1]),
        "precision": precision,
        "recall": recall,
        network.score: inception_score(logits, min(evaluation.splits, len(logits)))[0],
    }  # fmt: skip


def main() -> None:
    start = time.monotonic()
    use_cores()
    try:
        result = reference(load().evaluation)
    except ConfigError as error:
        raise SystemExit(f"reference: {error}") from None
    protocol = result["protocol"]
    print(f"features  {protocol['extractor']} at {protocol['resize']} px of {protocol['real_images']:,} test images")
    for name, value in result["floor"].items():
        print(f"floor     {name} {value:.5g}")
    if "classifier_accuracy" in result:
        print(f"classes   counted by a classifier that is right on {result['classifier_accuracy']:.1%} of the test set")
    print(f"→ {REFERENCE}/ in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

"""Stage reference: the real images through the extractor, once → data/reference/.

    python -m pipelines.reference

    statistics.safetensors   mean and covariance of the features of the first `evaluation.images` test images
    features.safetensors     `test`: those features; `train`: of as many training images
    classifier.safetensors   counts the classes of generated images; only where the data has labels
    reference.json           the protocol, and `floor`: what real training images reach in place of generated ones
"""

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from ganlib.metrics import classifier, statistics
from ganlib.metrics.protocol import Evaluation
from ganlib.metrics.statistics import Statistics
from pipelines.measure import make_extractor, make_protocol, numbers, run, use_cores
from pipelines.params import load
from pipelines.prepare import TABLE

REFERENCE = Path("data/reference")


def reference(evaluation: Evaluation, table: Path = TABLE, directory: Path = REFERENCE) -> dict[str, Any]:
    """Write `directory`, whole or not at all; gives what its reference.json holds."""
    test, train = Table.open(table, "test"), Table.open(table, "train")
    network = make_extractor(evaluation)
    protocol = make_protocol(evaluation, network, test)
    real, _ = run(network, test.images[:protocol.real_images], evaluation, "real test images")
    other, other_logits = run(network, train.images[:evaluation.images], evaluation, "real training images")
    measured = Statistics.from_features(real)
    floor = numbers(network, evaluation, (measured, real), (Statistics.from_features(other), other), other_logits)
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

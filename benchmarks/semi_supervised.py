"""What unlabelled images are worth to a discriminator that has few labels: objective=semi_supervised on Fashion-MNIST,
beside what the labelled images alone give.

    python -m benchmarks.semi_supervised                # six minutes of one core: test accuracy, the table
    python -m benchmarks.semi_supervised --validate objective.optimizers.discriminator.lr=3e-3 --seeds 1

Three ways, from the same labelled images (`labels_per_class` of each class) and the same seeds:

- the GAN, trained by `ganlib.training.loop` as conf/ and the given choices compose it;
- its discriminator by itself: the same network from the same weights, the same optimizer and number of steps, the same
  batches of labelled images behind the same augmentation, and the cross entropy alone;
- the classifier of `ganlib.metrics.classifier`, as the metrics train it.

Settings are to be chosen with --validate: accuracy on the validation split. Each finished run is kept in
runs/semi_supervised/: to go on after an interruption, run the same command again.
"""

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganlib.datasets.table import Table
from ganlib.files import write_json
from ganlib.metrics import classifier
from ganlib.objectives.augmented import Augmented
from ganlib.objectives.base import Networks, Noise
from ganlib.training import optimizers
from ganlib.training.loop import seed_layers, train
from ganlib.training.run import Run
from pipelines.runs.composition import composition
from pipelines.runs.project import TABLE

SEEDS, IMAGES = (1, 2, 3), 60_000
RUNS = Path("runs/semi_supervised")


def configured(choices: list[str], seed: int, images: int) -> Run:
    """The run that conf/ and the choices compose to, measured once, at its end."""
    raw = composition(["objective=semi_supervised", f"training.images={images}", *choices])
    training = raw["training"] | {"log_every": images, "checkpoint_every": images}
    return Run.parse({key: raw[key] for key in ("networks", "objective", "augmentation")}
                     | {"training": training, "seed": seed})  # fmt: skip


@torch.no_grad()
def accuracy(tell: Callable[[Tensor], Tensor], judged: Table) -> float:
    """The share of images whose class is told, in per cent. `tell`: images (N, C, H, W) in [−1, 1] → logits."""
    right = 0
    for start in range(0, len(judged), 1000):
        images, label = judged.batch(np.arange(start, min(start + 1000, len(judged))))
        right += int((tell(images).argmax(1) == label).sum())
    return 100 * right / len(judged)


def gan(run: Run, images: Table, judged: Table) -> float:
    """The discriminator's accuracy at the end of the game."""
    found: list[float] = []

    def measure(images_seen: int, generator: nn.Module, networks: Networks) -> None:
        discriminator = networks["discriminator"].eval()
        found.append(accuracy(lambda x: discriminator(x).label, judged))
        discriminator.train()

    train(run, images, snapshot=measure)
    return found[-1]


def labels_per_class(run: Run) -> int:
    """How many labelled images of each class the game has."""
    return run.objective["terms"]["few_labels"]["labels_per_class"]


def alone(run: Run, images: Table, judged: Table) -> float:
    """The accuracy of the same discriminator, trained on the labelled images and on nothing else."""
    objective, size = run.build_objective(), run.training.batch_size
    augment = objective.augmentation if isinstance(objective, Augmented) else None
    few = images.few(labels_per_class(run))
    discriminator = run.build_networks(images.shape, images.condition)["discriminator"]
    discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    config = objective.optimizers["discriminator"]
    optimizer = optimizers.build(config, discriminator.parameters())
    for images_seen in range(0, run.training.images, size):
        seed_layers(run.seed << 32 | images_seen, torch.device("cpu"))
        x, label = few.draw(run.seed, images_seen, size)
        if augment is not None:
            x = augment(x, Noise(run.seed << 32 | images_seen, size))
            augment.advance({}, images_seen, size)
        cross_entropy(discriminator(x).label, label).backward()
        optimizers.set_learning_rate(optimizer, config, images_seen / run.training.images)
        optimizer.step()
        optimizer.zero_grad()
    discriminator.eval()
    return accuracy(lambda x: discriminator(x).label, judged)


def small_classifier(run: Run, images: Table, judged: Table) -> float:
    """The accuracy of the metrics' classifier, trained on the labelled images."""
    few = images.few(labels_per_class(run))
    trained = classifier.train(few.images, few.labels, few.classes, seed=run.seed)  # type: ignore[arg-type]
    return 100 * (classifier.predict(trained, judged.images).numpy() == judged.labels).mean().item()


WAYS: dict[str, tuple[str, Callable[[Run, Table, Table], float]]] = {
    "gan": ("`objective=semi_supervised`", gan),
    "alone": ("its discriminator by itself, on the labelled images", alone),
    "classifier": ("`ganlib.metrics.classifier`, on the labelled images", small_classifier),
}


def measure(way: str, choices: list[str], seed: int, images: int, validate: bool) -> dict[str, Any]:
    """Train and measure one run, or read what it came to."""
    run = configured(choices, seed, images)
    key = hashlib.sha256(json.dumps([run.asdict(), validate], sort_keys=True).encode()).hexdigest()[:8]
    path = RUNS / f"{way}-{'validation' if validate else 'test'}-{seed}-{images}-{key}.json"
    if path.exists():
        return json.loads(path.read_text())
    start = time.process_time()
    training, judged = Table.open(TABLE, "train"), Table.open(TABLE, "validation" if validate else "test")
    result = {"way": way, "choices": choices, "seed": seed, "accuracy": WAYS[way][1](run, training, judged)}
    result["seconds"] = round(time.process_time() - start, 1)
    write_json(path, result)
    print(f"{way:10} seed {seed}: {result['accuracy']:.2f} % ({result['seconds']:.0f} s)", flush=True)
    return result


def table(found: dict[str, list[dict[str, Any]]], judged: str, images: int) -> str:
    """Markdown: accuracy of each way, mean ± standard deviation over the seeds."""
    lines = [f"| trained | {judged} accuracy, % | seeds | seconds of one core |", "|---|---|---|---|"]
    for way, results in found.items():
        values = [result["accuracy"] for result in results]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        each = ", ".join(f"{value:.1f}" for value in values)
        seconds = statistics.mean(result["seconds"] for result in results)
        lines.append(f"| {WAYS[way][0]} | {statistics.mean(values):.1f}{spread} | {each} | {seconds:.0f} |")
    return "\n".join([*lines, "", f"{images:,} images seen, one thread.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("choices", nargs="*", help="as of pipelines.compose: objective.terms.few_labels.weight=5")
    parser.add_argument("--validate", action="store_true", help="judge by validation images, not by the test's")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--images", type=int, default=IMAGES)
    arguments = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = {way: [measure(way, arguments.choices, seed, arguments.images, arguments.validate)
                   for seed in arguments.seeds] for way in arguments.ways}  # fmt: skip
    print(table(found, "validation" if arguments.validate else "test", arguments.images))


if __name__ == "__main__":
    main()

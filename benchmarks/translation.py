"""What the tiny presets of images from images reach: pix2pix beside L1 alone and the line drawings themselves, CycleGAN
beside the emoji themselves, by pairs that were never seen.

    python -m pipelines.compose preset=pix2pix_openmoji_tiny && python -m pipelines.prepare
    python -m benchmarks.translation pix2pix --seed 0
    python -m benchmarks.translation l1 --seed 0 --images 100000     # as many as take the same CPU time
    python -m pipelines.compose preset=cyclegan_emoji_tiny && python -m pipelines.prepare
    python -m benchmarks.translation cyclegan --seed 0

One thread each; CPU seconds are those of training alone. Each prints a line of JSON, and keeps a grid of input, output,
truth and, of CycleGAN, the ways back, in runs/translation/.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganlib.datasets.table import Table
from ganlib.metrics import kernel_distance, lpips
from ganlib.metrics.features import extract, extractor
from ganlib.metrics.pairs import pair_intervals, trivial
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid
from ganlib.training.loop import train
from pipelines.runs.bar import images_bar
from pipelines.runs.composition import composition
from pipelines.runs.params import parse_params

WAYS = {
    "pix2pix": ["preset=pix2pix_openmoji_tiny"],
    "l1": ["preset=pix2pix_openmoji_tiny", "objective.adversarial_from=0.99999"],  # a batch is a larger share: never
    "cyclegan": ["preset=cyclegan_emoji_tiny"],
}
OUT = Path("runs/translation")
SHOWN = 16


def numbers(truth: np.ndarray, output: torch.Tensor) -> dict[str, float]:
    """Of pairs, and the kernel distance of the two sets."""
    network = extractor("efficientnet_lite0", 112)
    features = [extract(network, images)[0] for images in (truth, output)]
    found = pair_intervals(truth, output, (features[0], features[1]), network.name, lpips.installed())
    return {name: round(interval.value, 4) for name, interval in found.items()} | {
        "kernel_distance": round(kernel_distance(*features), 4)}


def measure(way: str, seed: int, images: int | None, place: Path) -> dict[str, Any]:
    """Train one, and measure it by the test pairs."""
    torch.set_num_threads(1)
    more = [f"training.images={images}"] if images else []
    run = parse_params(composition([*WAYS[way], f"seed={seed}", "training.precision=float32", *more])).run
    table, test = Table.open(place, "train"), Table.open(place, "test")
    start = time.process_time()
    with images_bar(run.training.images, f"{way}, seed {seed}") as bar:
        generator: Any = train(run, table, tick=lambda seen: bar.update(seen - bar.n))
    seconds = time.process_time() - start
    assert test.conditions is not None and test.paired
    sources, truth = np.array(test.conditions), np.array(test.images)
    output = generators.sample(generator, torch.from_numpy(sources), 0)
    result = {"way": way, "seed": seed, "images": run.training.images, "cpu_seconds": round(seconds),
              "there": numbers(truth, output), "sources": numbers(truth, trivial(sources, test.shape))}
    few = test.evenly(SHOWN)
    asked = generators.asked(generator, few, SHOWN)
    rows = [np.array(few.conditions), generators.sample(generator, asked, 0).numpy(), np.array(few.images)]
    if hasattr(generator, "back"):
        back = generators.sample(generator.back, torch.from_numpy(truth), 0)
        result["back"] = numbers(sources, back)
        rows += [generators.sample(generator.back, torch.from_numpy(rows[place]), 0).numpy() for place in (1, 2)]
    OUT.mkdir(parents=True, exist_ok=True)
    grid(np.concatenate(rows), SHOWN, 2).save(OUT / f"{way}-{seed}.png")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, help="to train on; else as the preset has it")
    parser.add_argument("--table", type=Path, default=Path("data/table"))
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.way, arguments.seed, arguments.images, arguments.table)))


if __name__ == "__main__":
    main()

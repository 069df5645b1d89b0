"""By what should configurations and checkpoints be ranked while they train? How well does a cheap number order
generators of all kinds (good, early, collapsed, blurred, lacking a class) as the full protocol does, and in which time?

    python -m benchmarks.criteria            # about 40 minutes on one core → a table; runs/criteria/ keeps what is made

Each criterion is measured on `DRAWS` sets of images that the full protocol does not see, against the validation split.
The full protocol is the Fréchet distance at 112 px of 5,000 generated against 5,000 test images; beside it stands the
kernel distance of the same features.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr
from torch import Tensor

from ganlib.datasets.table import Table
from ganlib.metrics import Statistics, classifier, frechet_distance, kernel_distance
from ganlib.metrics.features import extract, extractor
from ganlib.sampling import generator as generators
from ganlib.training.loop import train
from ganlib.training.run import Run
from pipelines.runs.composition import composition
from pipelines.runs.project import TABLE

PLACE = Path("runs/criteria")
FULL, DRAWS, DRAW, SEED = 5000, 5, 1000, 17  # images of the full protocol; sets of a criterion, and images of each
SMALL = ["networks.width=16", "objective.n_critic=1"]
RATE = ["objective.optimizers.generator.lr=3e-3", "objective.optimizers.discriminator.lr=3e-3"]
TRAINED: dict[str, tuple[list[str], list[int]]] = {  # choices; at how many images seen the generator is looked at
    "default": (["seed=1"], [15_000, 45_000, 90_000, 180_000]),
    "seed 2": (["seed=2"], [45_000, 90_000]),
    "acgan": (["objective=acgan", "seed=3", *RATE], [90_000]),
    "hinge": (["objective=hinge", "seed=4", *SMALL], [60_000]),
    "wgan_gp": (["objective=wgan_gp", "seed=5", *SMALL, *RATE], [60_000]),
    "least_squares": (["objective=least_squares", "seed=6", *SMALL, *RATE], [30_000, 60_000]),
    "dragan": (["objective=dragan", "seed=7", *SMALL, *RATE], [60_000]),
}


def images_of(generator: Any, labels: Tensor | None = None, z: Tensor | None = None) -> np.ndarray:
    """What the full protocol sees, and after it what the criteria see."""
    count = FULL + DRAWS * DRAW
    z = generators.latents(generator, count, SEED) if z is None else z
    if generator.classes and labels is None:
        labels = torch.arange(count) % generator.classes
    return generators.decode(generator, z, labels).numpy()


def made(name: str) -> None:
    """Train one configuration, and keep the images of what it is at each look."""
    torch.set_num_threads(1)
    choices, looks = TRAINED[name]
    raw = composition(choices)
    raw["training"] |= {"images": looks[-1], "checkpoint_every": 15_000, "log_every": 15_000}
    run = Run.parse({key: raw[key] for key in ("networks", "objective", "augmentation", "training", "seed")})

    def snapshot(images_seen: int, generator: Any, networks: Any) -> None:
        look = next((look for look in looks if look <= images_seen < look + 32), None)
        if look:
            keep(f"{name} {look // 1000}k", images_of(generator))
        if look == looks[-1]:
            for label, kind in variants(generator, name):
                keep(label, kind)

    if not (PLACE / f"{name} {looks[-1] // 1000}k.npy").exists():
        train(run, Table.open(TABLE, "train"), snapshot=snapshot)


def variants(generator: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Faults, made on purpose of a generator that has trained well."""
    count = FULL + DRAWS * DRAW
    z = generators.latents(generator, count, SEED)
    if name == "acgan":
        for missing in (1, 3):
            yield f"acgan, {missing} of 10 classes missing", images_of(generator, torch.arange(count) % (10 - missing))
        yield "acgan, a class in half of all", images_of(generator, torch.where(
            torch.arange(count) % 2 == 0, 0, torch.arange(count) % 10))
    if name == "default":
        images = torch.from_numpy(images_of(generator)).float()
        blurred = torch.nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
        noisy = images + 0.05 * 255 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
        for label, changed in (("blurred", blurred), ("noisy", noisy)):
            yield f"default, {label}", changed.round().clamp(0, 255).to(torch.uint8).numpy()
        yield "default, truncated to 0.6", images_of(generator, z=0.6 * z)
        yield "default, 100 latents over and over", images_of(generator, z=z[:100].repeat(count // 100, 1))


def keep(name: str, images: np.ndarray) -> None:
    np.save(PLACE / f"{name}.npy", images)
    print(name, flush=True)


def features(name: str, resize: int, images: dict[str, np.ndarray], part: slice) -> tuple[dict[str, Tensor], float]:
    """Features of a part of each set of images, and the seconds of one core that an image takes."""
    weights = PLACE / "classifier.safetensors" if name == "domain" else None
    network = extractor(name, resize, weights)  # type: ignore[arg-type]
    found, seconds = {}, []
    for key, value in images.items():
        cache = PLACE / f"{name}-{resize}-{part.start}-{part.stop}-{key}.pt"
        if not cache.exists():
            start = time.process_time()
            result = extract(network, value[part])[0]
            torch.save((result, (time.process_time() - start) / len(result)), cache)
        found[key], each = torch.load(cache)
        seconds.append(each)
    return found, float(np.median(seconds))


def frechet(real: Tensor, fake: Tensor) -> float:
    return frechet_distance(Statistics.from_features(real), fake)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with multiprocessing.get_context("fork").Pool(arguments.processes, maxtasksperchild=1) as pool:
        pool.map(made, TRAINED, chunksize=1)
    data = {split: Table.open(TABLE, split) for split in ("train", "validation", "test")}
    if not (PLACE / "classifier.safetensors").exists():
        train_split = data["train"]
        assert train_split.labels is not None
        classifier.save(PLACE / "classifier.safetensors",
                        classifier.train(train_split.images, train_split.labels, train_split.classes))
    real = {split: table.evenly(FULL).images for split, table in data.items()}
    images = {path.stem: np.load(path, mmap_mode="r") for path in sorted(PLACE.glob("*.npy"))}
    full, _ = features("efficientnet_lite0", 112, images, slice(0, FULL))
    test, _ = features("efficientnet_lite0", 112, {"real test": real["test"]}, slice(0, FULL))
    order = list(full)
    by_frechet, by_kernel = ({name: distance(test["real test"], found) for name, found in full.items()}
                             for distance in (frechet, kernel_distance))
    print(f"{len(order)} generators by the full protocol: Fréchet, kernel")
    for name in sorted(order, key=by_frechet.__getitem__):
        print(f"  {by_frechet[name]:8.1f} {by_kernel[name]:8.3f}  {name}")
    print("| criterion | images | seconds | Spearman | Kendall | Spearman, kernel | noise | floor / median |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for extractor_name, resize in (("efficientnet_lite0", 64), ("squeezenet", 64), ("domain", 32)):
        those, each = features(extractor_name, resize, images, slice(FULL, FULL + DRAWS * DRAW))
        reals, _ = features(extractor_name, resize, {f"real {split}": found for split, found in real.items()},
                            slice(0, FULL))
        validation, known = reals["real validation"], reals["real train"]
        criteria: list[tuple[str, Tensor, Callable[[Tensor, Tensor], float], list[int]]] = [
            ("Fréchet, 5,000 validation images", validation, frechet, [500, 1000, 5000]),
            ("kernel, 5,000 validation images", validation, kernel_distance, [500, 1000, 5000])]
        if extractor_name == "efficientnet_lite0":
            criteria.append(("Fréchet, 1,000 training images", known[::5], frechet, [1000]))
        for label, against, distance, counts in criteria:
            for count in counts:
                starts = range(0, DRAWS * DRAW - count + 1, max(DRAW, count))
                start = time.process_time()
                values = np.array([[distance(against, those[name][first:first + count]) for first in starts]
                                   for name in order])
                cost = count * each + (time.process_time() - start) / values.size
                spearman, kendall, other = (
                    np.mean([correlation(column, [truth[name] for name in order])[0] for column in values.T])
                    for correlation, truth in ((spearmanr, by_frechet), (kendalltau, by_frechet),
                                               (spearmanr, by_kernel)))
                middle = np.median(values.mean(1))
                spread = np.median(np.abs(values.mean(1) - middle))
                noise = f"{np.median(values.std(1, ddof=1)) / spread:.3f}" if len(starts) > 1 else ""
                floor = distance(against, known[1::5] if count <= 1000 else known)
                print(f"| {extractor_name} {resize} px, {label} | {count:,} | {cost:.2f} | {spearman:.3f} | "
                      f"{kendall:.3f} | {other:.3f} | {noise} | {floor / middle:.1%} |", flush=True)
    print("noise: the deviation from draw to draw over that between generators (medians)")


if __name__ == "__main__":
    main()

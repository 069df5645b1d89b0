"""Every unconditional objective of conf/objective on Fashion-MNIST: one network size, one budget, several seeds.

    python benchmarks/objectives.py                   # about an hour on two cores → docs/objectives/
    python benchmarks/objectives.py --only hinge wgan_gp --images 20000

All take n_critic = 1 and one optimizer, Adam with β (0.5, 0.99) decayed linearly to 0 (RMSprop for WGAN, whose authors
found momentum to harm it); its learning rate is chosen among `RATES` by a shorter run on a seed of its own, and by
validation images. Everything else is as conf/ has it. Each finished run is kept in runs/objectives/: to go on after an
interruption, run the same command again. The distance is fd_efficientnet_lite0 at 112 px of `FAKES` generated against
`REAL` test images.
"""

import argparse
import hashlib
import json
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ganlib.datasets.table import Table
from ganlib.files import write_json
from ganlib.metrics.features import extract, extractor
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.statistics import Statistics
from ganlib.sampling.generator import sample
from ganlib.sampling.pictures import captioned, grid
from ganlib.training.loop import train
from ganlib.training.run import Run, Training
from pipelines.runs.composition import composition
from pipelines.runs.project import TABLE

RATES, CHOOSING_SEED, CHOOSING_IMAGES = (1e-3, 3e-3), 100, 45_000
SEEDS, IMAGES, WIDTH, REAL, FAKES, RESIZE = (1, 2, 3), 60_000, 16, 5_000, 2_000, 112
RUNS, OUT = Path("runs/objectives"), Path("docs/objectives")
# Best FID found on Fashion-MNIST by a search, mean ± std of 50 seeds: Lucic et al. 2018, arXiv:1711.10337, table 2.
LUCIC = {"minimax": "29.6 ± 1.6", "non_saturating": "26.5 ± 1.6", "least_squares": "30.7 ± 2.2", "wgan": "21.5 ± 1.6",
         "wgan_gp": "24.5 ± 2.1", "dragan": "27.7 ± 1.2", "began": "22.9 ± 0.9"}  # fmt: skip


TRANSLATIONS = ("cyclegan", "pix2pix")  # of images, which this data does not have


def unconditional() -> list[str]:
    """The files of conf/objective whose generator is told nothing but z."""
    names = sorted(path.stem for path in Path("conf/objective").glob("*.yaml"))
    return [name for name in names if name not in TRANSLATIONS
            and composition([f"objective={name}"])["networks"].get("conditioning", "none") == "none"]


def configured(name: str, rate: float, seed: int, images: int) -> Run:
    """The run of one objective under the common conditions."""
    raw = composition([f"objective={name}", f"networks.width={WIDTH}"])
    kind = raw["objective"]["optimizers"]["generator"]["name"]
    optimizer = {"name": kind, "lr": rate, "betas": [0.5, 0.99], "decay": "linear"}
    objective = raw["objective"] | {"n_critic": 1, "optimizers": {"generator": optimizer, "discriminator": optimizer}}
    return Run(networks=raw["networks"], objective=objective, seed=seed, training=Training(
        images=images, batch_size=32, share_fakes=True, log_every=images, checkpoint_every=images))  # fmt: skip


def measure(job: tuple[str, float, int, int]) -> dict[str, Any]:
    """Train and measure one run, or read what it came to."""
    name, rate, seed, images = job
    torch.set_num_threads(1)
    run = configured(*job)
    key = hashlib.sha256(json.dumps([run.asdict(), FAKES, sorted(REFERENCE)], sort_keys=True).encode()).hexdigest()[:8]
    path = RUNS / f"{name}-{rate:g}-{seed}-{images}-{key}.json"
    if path.exists():
        return json.loads(path.read_text())
    start = time.process_time()
    result: dict[str, Any] = {"objective": name, "rate": rate, "seed": seed, "images": images}
    try:
        generator = train(run, Table.open(TABLE, "train"))
        result["training_seconds"] = round(time.process_time() - start, 1)
        fakes = sample(generator, FAKES, seed)
        grid(fakes[:16], 16).save(path.with_suffix(".png"))
        found = Statistics.from_features(extract(NETWORK, fakes)[0])
        result |= {split: frechet_distance(real, found) for split, real in REFERENCE.items()}
    except RuntimeError as error:  # a loss that is not finite: a result too
        result |= {split: float("inf") for split in REFERENCE} | {"error": str(error)}
    write_json(path, result)
    print(f"{name:26} lr {rate:g} seed {seed:3} {images:7,} images: {result['test']:7.1f} "
          f"({time.process_time() - start:.0f} s)", flush=True)
    return result


def table(found: dict[str, tuple[float, list[dict[str, Any]]]], floor: float, images: int) -> str:
    """Markdown, best first."""
    def mean(name: str) -> float:
        return statistics.mean(result["test"] for result in found[name][1])

    lines = ["| objective | distance | seeds | learning rate | training s | Lucic et al. 2018 |", 6 * "|---" + "|"]
    for name in sorted(found, key=mean):
        rate, results = found[name]
        distances = [result["test"] for result in results]
        spread = statistics.stdev(distances) if len(distances) > 1 else 0.0
        seconds = statistics.mean(result.get("training_seconds", float("nan")) for result in results)
        each = ", ".join(f"{distance:.0f}" for distance in distances)
        lines.append(f"| `{name}` | {mean(name):.0f} ± {spread:.0f} | {each} | {rate:g} | {seconds:.0f} "
                     f"| {LUCIC.get(name, '')} |")
    conditions = (f"fd_efficientnet_lite0 at {RESIZE} px, {FAKES:,} generated against {REAL:,} test images; as many "
                  f"training images reach {floor:.1f}. {images:,} images seen, seeds {', '.join(map(str, SEEDS))}.")
    return "\n".join([*lines, "", conditions, ""])


def main() -> None:
    global NETWORK, REFERENCE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=unconditional(), metavar="objective")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    for folder in (RUNS, OUT):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.processes)
    NETWORK = extractor("efficientnet_lite0", RESIZE)
    REFERENCE = {split: Statistics.from_features(extract(NETWORK, Table.open(TABLE, split).evenly(REAL).images)[0])
                 for split in ("validation", "test")}
    train_images = Table.open(TABLE, "train").images[:FAKES]
    floor = frechet_distance(REFERENCE["test"], Statistics.from_features(extract(NETWORK, train_images)[0]))
    torch.set_num_threads(1)  # before the fork: a pool of threads does not survive it
    with multiprocessing.get_context("fork").Pool(arguments.processes, maxtasksperchild=1) as pool:
        length = min(CHOOSING_IMAGES, arguments.images)
        trials = [(name, rate, CHOOSING_SEED, length) for name in arguments.only for rate in RATES]
        best: dict[str, dict[str, Any]] = {}
        for result in pool.map(measure, trials, chunksize=1):
            name = result["objective"]
            if name not in best or result["validation"] < best[name]["validation"]:
                best[name] = result
        jobs = [(name, best[name]["rate"], seed, arguments.images) for seed in SEEDS for name in arguments.only]
        results = pool.map(measure, jobs, chunksize=1)
    found = {name: (best[name]["rate"], [r for r in results if r["objective"] == name]) for name in arguments.only}
    text = table(found, floor, arguments.images)
    (OUT / "fashion_mnist.md").write_text(text)
    pictures = {path.name.split("-")[0]: path for path in sorted(RUNS.glob(f"*-{SEEDS[0]}-{arguments.images}-*.png"))}
    best_first = sorted(found.keys() & pictures.keys(), key=lambda name: text.index(f"`{name}`"))
    rows = [(name, Image.open(pictures[name])) for name in best_first]
    captioned([(name, picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST))
               for name, picture in rows]).save(OUT / "fashion_mnist.png")
    print(text)


if __name__ == "__main__":
    main()

"""How far the difference of two generators' distances can be trusted: of two checkpoints of one run, and of two runs.

    python -m benchmarks.pairs               # about 15 minutes on one core; runs/pairs/ keeps what is made

Each of `DRAWS` draws takes `IMAGES` latents, the same for all generators, and the jackknife of the difference
(`ganlib.metrics.comparison.improvement`). The truth is the mean over all draws. Beside it stands what the two errors
come to if they are taken for independent.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ganlib.condition import NOTHING
from ganlib.datasets.table import Table
from ganlib.metrics import Statistics, frechet_interval
from ganlib.metrics.comparison import Measured, improvement
from ganlib.metrics.features import extract, extractor
from ganlib.sampling import generator as generators
from ganlib.training.loop import train
from ganlib.training.run import Run
from pipelines.evaluation.headline import GROUPS
from pipelines.runs.composition import composition
from pipelines.runs.project import TABLE

PLACE = Path("runs/pairs")
LOOKS, SEEDS = (60_000, 90_000), (1, 2)  # images seen, training seeds
DRAWS, IMAGES, RESIZE, STUDENT = 50, 1000, 64, 2.262  # the last: of 9 degrees, 95 %


def run_of(seed: int) -> Run:
    """The default run, shorter."""
    raw = composition([f"seed={seed}"])
    raw["training"] |= {"images": LOOKS[-1], "checkpoint_every": 30_000, "log_every": 30_000}
    return Run.parse({key: raw[key] for key in ("networks", "objective", "augmentation", "training", "seed")})


def keeper(seed: int) -> Callable[..., None]:
    """A snapshot that keeps the averaged generator at the looks."""
    def snapshot(images_seen: int, generator: Any, networks: Any) -> None:
        for look in LOOKS:
            if look <= images_seen < look + 32:
                save_file({name: value.contiguous() for name, value in generator.state_dict().items()},
                          PLACE / f"seed {seed}, {look // 1000}k.safetensors")

    return snapshot


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data, validation = Table.open(TABLE, "train"), Table.open(TABLE, "validation")
    network = extractor("efficientnet_lite0", RESIZE)
    real = Statistics.from_features(extract(network, validation.images)[0])
    measured: dict[str, list[Measured]] = {}
    for seed in SEEDS:
        if not (PLACE / f"seed {seed}, {LOOKS[-1] // 1000}k.safetensors").exists():
            train(run_of(seed), data, snapshot=keeper(seed))
        for look in LOOKS:
            name = f"seed {seed}, {look // 1000}k"
            generator = run_of(seed).build_networks(data.shape, NOTHING)["generator"].eval()
            generator.load_state_dict(load_file(PLACE / f"{name}.safetensors"))
            measured[name] = []
            for draw in range(DRAWS):
                fake = extract(network, generators.sample(generator, IMAGES, draw))[0]
                interval = frechet_interval(real, fake, GROUPS, seed=draw)
                measured[name].append(Measured(name, interval.value, interval.left_out, {}))
            print(f"{name}: {np.mean([one.value for one in measured[name]]):.1f}", flush=True)
    print("| pair | difference | its deviation | paired error | as if independent | correlation | covered |")
    print("|---|---|---|---|---|---|---|")
    for new, old in itertools.combinations(measured, 2):
        found = [(*improvement(a, b), np.hypot(a.standard_error, b.standard_error))
                 for a, b in zip(measured[new], measured[old], strict=True)]
        gains, noises, apart = np.array(found).T
        values = [[one.value for one in measured[name]] for name in (new, old)]
        covered = np.mean(np.abs(gains - gains.mean()) < STUDENT * noises)
        print(f"| {new} and {old} | {gains.mean():.1f} | {gains.std(ddof=1):.1f} | {np.median(noises):.1f} | "
              f"{np.median(apart):.1f} | {np.corrcoef(values)[0, 1]:.2f} | {covered:.0%} |", flush=True)


if __name__ == "__main__":
    main()

"""What a sweep costs beyond its trials, and what early stopping saves: real sweeps on this machine's cores.

    python benchmarks/sweep.py overhead                 # 12 small trials: wall time ÷ (their time ÷ cores)
    python benchmarks/sweep.py early_stopping           # ASHA against random search, the same 24 configurations each

More choices of pipelines.sweep may follow.

Each sweep is a process of its own, begun on an empty directory with a store of its own; data/table must be prepared.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMON = ["sweep=losses", "sweep.register=false"]


def sweep(choices: list[str]) -> dict[str, Any]:
    """Run one; gives its wall time in seconds, the rows of its table, and the outcome of each trial."""
    with tempfile.TemporaryDirectory() as place:
        project = Path(place)
        for name in ("conf", "data"):
            (project / name).symlink_to(ROOT / name)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
        start = time.time()
        subprocess.run([sys.executable, "-m", "pipelines.sweep", *COMMON, *choices], cwd=project, env=environment,
                       check=True, stdout=subprocess.DEVNULL)
        wall = time.time() - start
        with (project / "sweep/table.csv").open() as file:
            rows = list(csv.DictReader(file))
        outcomes = [json.loads(path.read_text()) | {"end": path.stat().st_mtime - start}
                    for path in project.glob("runs/sweeps/*/trials/*/outcome.json")]
        metrics = json.loads((project / "sweep/metrics.json").read_text())
    return {"wall": wall, "rows": rows, "outcomes": outcomes, **metrics}


def overhead(choices: list[str]) -> None:
    """Wall time of the whole command against what its trials took, spread over the cores."""
    cores = len(os.sched_getaffinity(0))
    found = sweep(["sweep.trials=12", "sweep.scheduler=none", *choices])
    spent = [outcome["seconds"] for outcome in found["outcomes"]]
    ideal = sum(spent) / cores
    print(f"{len(spent)} trials on {cores} cores: {sum(spent):.0f} s of training in trials of {min(spent):.0f} to "
          f"{max(spent):.0f} s; wall time {found['wall']:.0f} s = {found['wall'] / ideal:.3f} × {ideal:.0f} s")
    begin = min(outcome["end"] - outcome["seconds"] for outcome in found["outcomes"])
    *_, before, last = sorted(outcome["end"] for outcome in found["outcomes"])
    print(f"{begin:.0f} s until the first trial begins, the last runs alone for {last - before:.0f} s, "
          f"{found['wall'] - last:.0f} s for the table and the pictures")


def early_stopping(choices: list[str], seeds: int = 3) -> None:
    """The best distance and the images seen of both, for sweeps of several seeds."""
    best: dict[str, list[float]] = {"none": [], "asha": []}
    shares = []
    for seed in range(seeds):
        images = {}
        for scheduler in best:
            found = sweep(["sweep.trials=24", "sweep.images=9000", "networks.width=16", f"sweep.seed={seed}",
                           f"sweep.scheduler={scheduler}", *choices])
            best[scheduler].append(found["distance"])
            images[scheduler] = found["images_seen"]
            print(f"seed {seed} {scheduler:5} best {found['distance']:8.2f} after {found['images_seen']:9,} images, "
                  f"{found['complete']} complete, {found['stopped_early']} stopped early, {found['failed']} failed, "
                  f"{found['wall']:.0f} s", flush=True)
        shares.append(images["asha"] / images["none"])
    print(f"mean best: random search {statistics.fmean(best['none']):.2f}, ASHA {statistics.fmean(best['asha']):.2f}, "
          f"with {statistics.fmean(shares):.1%} of the images")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "early_stopping"])
    parser.add_argument("choices", nargs="*", help="more of pipelines.sweep's")
    arguments = parser.parse_args()
    {"overhead": overhead, "early_stopping": early_stopping}[arguments.what](arguments.choices)


if __name__ == "__main__":
    main()

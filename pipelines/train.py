"""Stage train: the run of params.yaml on Ray's workers → model/.

    python -m pipelines.train

The run's durable files lie in runs/<name>/, where the name holds a hash of all that its result depends on: parameters,
data and code. To resume after an interruption, run the same command again: it goes on from the last checkpoint.
"""

import csv
import fcntl
import hashlib
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from tqdm import tqdm

from ganlib.config import ConfigError
from ganlib.datasets.table import read_manifest
from ganlib.training import state
from pipelines import tracking
from pipelines.params import Params, load
from pipelines.prepare import TABLE
from pipelines.revision import git_revision
from pipelines.worker import FAILURE, work

ROOT = Path(__file__).resolve().parents[1]
MODEL, RUNS = Path("model"), Path("runs")
# What the weights depend on; dvc.yaml names the same as the stage's deps, and a test holds that.
CODE = (
    "ganlib/build.py", "ganlib/collectives.py", "ganlib/config.py", "ganlib/losses.py", "ganlib/penalties.py",
    "ganlib/verdict.py", "ganlib/augmentations", "ganlib/objectives", "ganlib/networks", "ganlib/layers",
    "ganlib/training",
    "ganlib/datasets/table.py", "ganlib/datasets/order.py",
)  # fmt: skip


def run_name(params: Params, manifest: dict[str, Any]) -> str:
    """<dataset>-<networks>-<hash of what the result depends on>; where it runs (`cluster`) is not part of that."""
    digest = hashlib.sha256(json.dumps([params.run.asdict(), manifest["sha256"]], sort_keys=True).encode())
    for part in CODE:
        for file in sorted((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / part]:
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{manifest['name']}-{params.run.networks['name']}-{digest.hexdigest()[:12]}"


def train(params: Params) -> Path:
    """Train, or go on with, the run of these parameters; gives its directory, with `generator/` in it."""
    manifest = read_manifest(TABLE)
    params.run.check(tuple(manifest["shape"]), len(manifest["classes"]), params.cluster.workers,
                     manifest["splits"]["train"]["images"])
    name = run_name(params, manifest)
    directory = (RUNS / name).resolve()
    if (directory / "generator/generator.json").exists():  # written last
        print(f"train: {directory} is trained already")
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    experiment = f"ganlib-{manifest['name']}"
    tracking.open_store(experiment)
    (directory / FAILURE).unlink(missing_ok=True)
    job: dict[str, Any] = {
        "params": params.raw, "directory": str(directory), "table": str(TABLE.resolve()),
        "git": git_revision(),
        "tracking": {
            "experiment": experiment, "run_name": name, "params": params.raw,
            "tags": {"dataset": manifest["name"], "data_sha256": manifest["sha256"]},
        },
    }  # fmt: skip
    with only_one(directory), cluster(params), progress(directory, params.run.training.images):
        TorchTrainer(
            work,
            train_loop_config=job,
            scaling_config=ScalingConfig(
                num_workers=params.cluster.workers,
                use_gpu=params.cluster.gpus_per_worker > 0,
                resources_per_worker={"CPU": params.cluster.cpus_per_worker, "GPU": params.cluster.gpus_per_worker},
            ),
            # Ray keeps its own notes of an attempt there; the checkpoints are ours (ganlib.training.state).
            run_config=RunConfig(name=f"{os.getpid()}", storage_path=str(directory / "ray"),
                                 failure_config=FailureConfig(max_failures=params.cluster.max_failures)),
        ).fit()
    failed = (directory / FAILURE).exists()
    tracker = tracking.Tracker(directory, **job["tracking"])
    tracker.finish("FAILED" if failed else "FINISHED")
    if failed:
        raise SystemExit(f"train: {(directory / FAILURE).read_text()}")
    return directory


def export(directory: Path, model: Path = MODEL) -> None:
    """What the next stages read, from the run's directory to `model`: whole or not at all."""
    temporary = model.with_name(model.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(directory / "generator", temporary)
    shutil.copytree(directory / "snapshots", temporary / "snapshots")
    rows = tracking.history(directory)
    losses, distances = [], []
    for row in rows:
        # The monitor's name for the distance tells the number of images; a plot needs a name that stays.
        distances += [{"images_seen": row["images_seen"], "distance": row[key]} for key in row if key.startswith("fd_")]
        others = {key: value for key, value in row.items() if not key.startswith("fd_")}
        if len(others) > 1:  # more than the images seen
            losses.append(others)
    _write_csv(temporary / "history.csv", losses)
    _write_csv(temporary / "distance.csv", distances)
    shutil.rmtree(model, ignore_errors=True)
    temporary.replace(model)


def _write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    columns = ["images_seen", *sorted({key for row in rows for key in row} - {"images_seen"})]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Two drivers on one run would write over each other."""
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{directory}: another process trains this run; wait for it or stop it") from None
        yield


@contextmanager
def cluster(params: Params) -> Iterator[None]:
    """Ray's cluster: the one that RAY_ADDRESS names, or one of this machine's cores for as long as it is needed."""
    own = "RAY_ADDRESS" not in os.environ
    # With a dashboard Ray Train starts its workers seconds sooner; it stays on loopback.
    ray.init(include_dashboard=own or None, logging_level=logging.ERROR, log_to_driver=False)
    try:
        needed = {"CPU": params.cluster.workers * params.cluster.cpus_per_worker,
                  "GPU": params.cluster.workers * params.cluster.gpus_per_worker}
        for kind, amount in needed.items():
            if amount > (there := ray.cluster_resources().get(kind, 0)):
                raise ConfigError(f"cluster: {params.cluster.workers} workers need {amount:g} {kind}s, and Ray has "
                                  f"{there:g}; lower cluster.workers or cluster.{kind.lower()}s_per_worker")
        yield
    finally:
        ray.shutdown()


@contextmanager
def progress(directory: Path, images: int) -> Iterator[None]:
    """A bar with images/s and time left, from what rank 0 logs."""
    saved = state.newest(directory / "checkpoints")
    start = state.images_seen(saved) if saved else 0
    if saved:
        print(f"train: going on from {saved}", flush=True)
    done = threading.Event()
    interval = 1 if sys.stderr.isatty() else 15
    bar = tqdm(total=images, initial=start, unit="img", unit_scale=True, desc="train", mininterval=interval)

    shown: dict[str, str] = {}

    def show() -> None:
        if last := tracking.last(directory):
            images_seen, metrics = last
            losses = {key: f"{value:.3g}" for key, value in metrics.items() if key.endswith("loss")}
            shown.update(losses)
            bar.set_postfix(shown, refresh=False)
            bar.update(max(0, images_seen - bar.n))

    def follow() -> None:
        while not done.wait(1):
            show()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        show()  # what came since the last look
        bar.close()


def main() -> None:
    try:
        export(train(load()))
    except ConfigError as error:
        raise SystemExit(f"train: {error}") from None


if __name__ == "__main__":
    main()

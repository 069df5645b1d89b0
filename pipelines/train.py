"""Stage train: the run of params.yaml on Ray's workers → model/.

    python -m pipelines.train

The run's durable files lie in runs/<name>/, where the name holds a hash of all that its result depends on: parameters,
data and code. To resume after an interruption, run the same command again: it goes on from the last checkpoint.
"""

import csv
import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from ganlib.config import ConfigError
from ganlib.datasets.table import Table, read_manifest
from ganlib.training import state
from pipelines import project, tracking
from pipelines.bar import images_bar
from pipelines.cluster import connected
from pipelines.command import command
from pipelines.params import Params, load, public
from pipelines.prepare import TABLE
from pipelines.revision import git_revision
from pipelines.storage import Mirror, check, filesystem
from pipelines.worker import FAILURE, monitored, work

ROOT = Path(__file__).resolve().parents[1]
MODEL, RUNS = Path("model"), Path("runs")
# What the weights depend on; dvc.yaml names the same as the stage's deps, and a test holds that.
CODE = (
    "ganlib/build.py", "ganlib/collectives.py", "ganlib/config.py", "ganlib/files.py", "ganlib/losses.py",
    "ganlib/penalties.py", "ganlib/seeds.py", "ganlib/verdict.py", "ganlib/augmentations", "ganlib/objectives",
    "ganlib/networks", "ganlib/layers", "ganlib/training",
    "ganlib/datasets/table.py", "ganlib/datasets/order.py",
)  # fmt: skip


def run_name(params: Params, manifest: dict[str, Any]) -> str:
    """<dataset>-<networks>-<hash of what the result depends on>. Where it runs (`cluster`) is part of that only by the
    number of workers, where these have batch norms of their own."""
    share = params.run.share(tuple(manifest["shape"]), len(manifest["classes"]), params.cluster.workers)
    what = digest(params.run.asdict(), manifest["sha256"], *([] if share is None else [share]))
    return f"{manifest['name']}-{params.run.networks['name']}-{what}"


def digest(*parts: Any) -> str:
    """12 letters that stand for what is given, and for the code that weights depend on."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for part in CODE:
        for file in sorted((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / part]:
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def train(params: Params, tags: dict[str, str] | None = None) -> Path:
    """Train, or go on with, the run of these parameters; gives its directory, with `generator/` in it. `tags`: more of
    them, for MLflow."""
    manifest = read_manifest(TABLE)
    params.run.check(tuple(manifest["shape"]), len(manifest["classes"]), params.cluster.workers,
                     manifest["splits"]["train"]["images"])
    if few := params.run.build_objective().labels_per_class:
        Table.open(TABLE, "train").few(few)  # refused before Ray starts
    name = run_name(params, manifest)
    directory = (RUNS / name).resolve()
    storage = f"{params.cluster.storage.rstrip('/')}/{name}" if params.cluster.storage else None
    if storage:
        check(storage)
    mirror = Mirror(directory, storage)
    mirror.pull()
    if (directory / "generator/generator.json").exists():  # written last
        print(f"train: {directory} is trained already")
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    experiment = f"ganlib-{manifest['name']}"
    tracking.open_store(experiment)
    (directory / FAILURE).unlink(missing_ok=True)
    job: dict[str, Any] = {
        "params": params.raw, "directory": str(directory), "table": str(TABLE.resolve()),
        "git": git_revision(), "store": tracking.store(), "storage": storage,
        "tracking": {
            "experiment": experiment, "run_name": name, "params": public(params.raw),
            "tags": {"dataset": manifest["name"], "data_sha256": manifest["sha256"], **(tags or {})},
        },
    }  # fmt: skip
    with only_one(directory), connected(params.cluster), progress(directory, params.run.training.images, storage):
        files, path = filesystem(storage or str(directory))
        trainer = TorchTrainer(
            work,
            train_loop_config=job,
            scaling_config=ScalingConfig(
                num_workers=params.cluster.workers,
                use_gpu=params.cluster.gpus_per_worker > 0,
                resources_per_worker={"CPU": params.cluster.cpus_per_worker, "GPU": params.cluster.gpus_per_worker},
            ),
            # Ray keeps its own notes of an attempt there; the checkpoints are ours (ganlib.training.state).
            run_config=RunConfig(name=f"{os.getpid()}", storage_path=f"{path}/ray", storage_filesystem=files,
                                 failure_config=FailureConfig(max_failures=params.cluster.max_failures)),
        )
        try:
            trainer.fit()
        except KeyboardInterrupt:
            tracking.Tracker(directory, **job["tracking"]).finish("KILLED")
            raise
    mirror.pull()
    failed = (directory / FAILURE).exists()
    tracker = tracking.Tracker(directory, **job["tracking"])
    tracker.finish("FAILED" if failed else "FINISHED")
    mirror.push()
    if failed:
        raise SystemExit(f"train: {(directory / FAILURE).read_text()}")
    return directory


def export(directory: Path, model: Path = MODEL) -> None:
    """What the next stages read, from the run's directory to `model`: whole or not at all."""
    temporary = model.with_name(model.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(directory / "generator", temporary)
    shutil.copytree(directory / "snapshots", temporary / "snapshots")
    monitor = monitored(directory)
    losses, distances = [], []
    for row in tracking.history(directory):
        # The monitor's name for the distance tells the number of images; a plot needs a name that stays.
        if monitor and (distance := row.pop(monitor["protocol"]["distance"], None)) is not None:
            distances.append({"images_seen": row["images_seen"], "distance": distance, "floor": monitor["floor"]})
        if len(row) > 1:  # more than the images seen
            losses.append(row)
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
def progress(directory: Path, images: int, storage: str | None) -> Iterator[None]:
    """A bar with images/s and time left, from what rank 0 logs."""
    mirror = Mirror(directory, storage, lambda name: name == tracking.JOURNAL)
    saved = state.newest(directory / "checkpoints")
    start = state.images_seen(saved) if saved else 0
    if saved:
        print(f"train: going on from {saved}", flush=True)
    done = threading.Event()
    bar = images_bar(images, start, "train")
    shown: dict[str, str] = {}

    def show() -> None:
        if last := tracking.last(directory):
            images_seen, metrics = last
            losses = {key: f"{value:.3g}" for key, value in metrics.items() if key.endswith("loss")}
            shown.update(losses)
            bar.set_postfix(shown, refresh=False)
            bar.update(max(0, images_seen - bar.n))

    def follow() -> None:
        while not done.wait(1 if storage is None else 15):
            with suppress(OSError):  # the next look may succeed
                mirror.pull()
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
    with command("train", "the same command goes on from the last checkpoint"):
        project.enter()
        params = load()
        tracking.use(params.cluster.tracking_uri)
        export(train(params))


if __name__ == "__main__":
    main()

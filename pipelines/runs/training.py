"""A run of params.yaml: trained on Ray's workers, or gone on with; and what the next stages read of it."""

import csv
import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlib.config import ConfigError, differences, take
from ganlib.datasets.manifest import condition_of
from ganlib.datasets.table import Table, read_manifest
from ganlib.files import read_json, replacing, write_json
from ganlib.sampling import generator as generators
from ganlib.training import state
from ganlib.training.start import rehearse
from pipelines.command import Stopped, first_line
from pipelines.runs import project
from pipelines.runs import tracker as tracking
from pipelines.runs.bar import images_bar
from pipelines.runs.cluster import connected
from pipelines.runs.fit import fit
from pipelines.runs.params import Params, public
from pipelines.runs.project import MODEL, RUNS, TABLE
from pipelines.runs.revision import git_revision
from pipelines.runs.storage import Mirror, check
from pipelines.runs.worker import CHECKPOINTS, FAILURE, PROGRESS, monitored

RUN = "run.json"  # in a run's directory: what `Begun` has
COMPLETE = "complete"  # the reason for which runs end that are FINISHED
NEAR = 3  # differences at most between runs of which it is worth saying what they are
# What the weights depend on; dvc.yaml names the same as the stage's deps, and a test holds that.
CODE = (
    "ganlib/build.py", "ganlib/collectives.py", "ganlib/condition.py", "ganlib/config.py", "ganlib/files.py",
    "ganlib/losses.py", "ganlib/penalties.py", "ganlib/seeds.py", "ganlib/verdict.py", "ganlib/augmentations",
    "ganlib/objectives", "ganlib/networks", "ganlib/layers", "ganlib/training",
    "ganlib/datasets/columns.py", "ganlib/datasets/jitter.py", "ganlib/datasets/manifest.py",
    "ganlib/datasets/order.py", "ganlib/datasets/table.py",
)  # fmt: skip


@dataclass(frozen=True)
class Begun:
    """A run: all that its weights depend on but their number of images, and that number."""

    identity: dict[str, Any]
    images: int


def run_name(params: Params, manifest: dict[str, Any]) -> str:
    """<dataset>-<networks>-<hash of what the result depends on>. Where it runs (`cluster`) is part of that only by the
    number of workers, where these have batch norms of their own."""
    share = params.run.share(tuple(manifest["shape"]), condition_of(manifest), params.cluster.workers)
    what = digest(params.run.asdict(), manifest["sha256"], *([] if share is None else [share]))
    return f"{manifest['name']}-{params.run.networks['name']}-{what}"


def digest(*parts: Any) -> str:
    """12 letters that stand for what is given, and for the code that weights depend on."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    root = project.CODE
    for part in CODE:
        for file in sorted((root / part).rglob("*.py")) if (root / part).is_dir() else [root / part]:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def train(params: Params, tags: dict[str, str] | None = None) -> Path:
    """Train, or go on with, the run of these parameters; gives its directory, with `generator/` in it. `tags`: more of
    them, for MLflow. However it ends, its run in MLflow ends too, with the reason in the tag `end`."""
    manifest = read_manifest(TABLE)
    shape, condition = tuple(manifest["shape"]), condition_of(manifest)
    params.run.check(shape, condition, params.cluster.workers, manifest["splits"]["train"]["images"])
    rehearse(params.run, Table.open(TABLE, "train"))  # refused before Ray starts
    name = run_name(params, manifest)
    directory = (RUNS / name).resolve()
    storage = f"{params.cluster.storage.rstrip('/')}/{name}" if params.cluster.storage else None
    if storage:
        check(storage)
    mirror = Mirror(directory, storage)
    mirror.pull()
    track: dict[str, Any] = {
        "experiment": f"ganlib-{manifest['name']}", "run_name": name, "params": public(params.raw),
        "tags": {"dataset": manifest["name"], "data_sha256": manifest["sha256"], **(tags or {})},
    }
    if is_whole(directory / "generator"):
        print(f"train: {directory} is trained already")
        if tracking.ended(directory) != "FINISHED":  # whoever trained it did not live to say so
            close(directory, track, mirror, "FINISHED", COMPLETE)
        return directory
    tracking.open_store(track["experiment"])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FAILURE).unlink(missing_ok=True)
    job: dict[str, Any] = {
        "params": params.raw, "directory": str(directory), "table": str(TABLE.resolve()),
        "git": git_revision(), "store": tracking.store(), "storage": storage, "tracking": track,
    }  # fmt: skip
    with only_one(directory), ended(directory, track, mirror):
        identity = params.run.identity(shape, condition, params.cluster.workers)
        begin(directory, identity | {"data": manifest["sha256"], "code": digest()}, params, track)
        batch = params.run.training.batch_size
        images = -(-params.run.training.images // batch) * batch  # it ends with a whole batch
        with connected(params.cluster), progress(directory, images, storage):
            fit(job, params.cluster, str(os.getpid()))
        mirror.pull()
        if (directory / FAILURE).exists():
            raise ConfigError((directory / FAILURE).read_text())
    return directory


def is_whole(generator: Path) -> bool:
    """Whether a run has left its generator there. One that cannot be read counts as none: it is written again from the
    last checkpoint."""
    try:
        generators.load(generator)
    except ConfigError:
        (generator / "generator.json").unlink(missing_ok=True)
        return False
    return True


@contextmanager
def ended(directory: Path, track: dict[str, Any], mirror: Mirror) -> Iterator[None]:
    """However the block ends, the run in MLflow ends: FINISHED, KILLED or FAILED, with the reason."""
    try:
        yield
    except KeyboardInterrupt as error:
        close(directory, track, mirror, "KILLED", "SIGTERM" if isinstance(error, Stopped) else "SIGINT")
        raise
    except BaseException as error:
        with suppress(OSError):  # the disk may be full, and the reason is worth more
            close(directory, track, mirror, "FAILED", first_line(error))
        raise
    close(directory, track, mirror, "FINISHED", COMPLETE)


def close(directory: Path, track: dict[str, Any], mirror: Mirror, status: str, reason: str) -> None:
    """End the run in MLflow."""
    if directory.is_dir():  # it may have been removed
        tracker = tracking.Tracker(directory, **track)
        tracker.tag("end", reason)
        tracker.finish(status)
        mirror.push()


def begin(directory: Path, identity: dict[str, Any], params: Params, track: dict[str, Any]) -> None:
    """Fill the directory of a new run: with what a shorter run has left, if there is one that is the same till then. If
    there is none, but one that nearly is, what differs is said."""
    if (directory / RUN).exists():
        return
    images, storage = params.run.training.images, params.cluster.storage
    Mirror(RUNS, storage, lambda name: Path(name).name == RUN).pull()  # what was trained elsewhere
    shorter: list[tuple[int, Path]] = []
    near: list[tuple[int, str, Path]] = []
    for path in sorted(RUNS.glob(f"*/{RUN}")):
        with suppress(ConfigError):
            other = take(Begun, read_json(path, ""), str(path), "")
            differing = differences(other.identity, identity, "it", "this run")
            if not differing and other.images < images:
                shorter.append((other.images, path.parent.resolve()))
            elif len(differing) <= NEAR:
                said = differing or [f"it was asked for {other.images:,} images, or for other records"]
                near.append((len(differing), "; ".join(said), path.parent))
    if not any(_continues(directory, run, storage, track) for _, run in sorted(shorter, reverse=True)) and near:
        _, what, run = min(near)
        print(f"train: this run begins from 0 images; {run} is nearly the same, but {what}")
    write_json(directory / RUN, {"identity": identity, "images": images})


def _continues(directory: Path, shorter: Path, storage: str | None, track: dict[str, Any]) -> bool:
    """Take over what a shorter run has left, rows and pictures too. False if it has not ended."""
    Mirror(shorter, storage and f"{storage.rstrip('/')}/{shorter.name}").pull()
    last = state.newest(shorter / CHECKPOINTS)
    if last is None or not (shorter / "generator/generator.json").exists():
        return False
    for folder in (CHECKPOINTS, "snapshots"):
        shutil.copytree(shorter / folder, directory / folder, dirs_exist_ok=True)
    tracker = tracking.Tracker(directory, **track)
    for picture in sorted((directory / "snapshots").iterdir()):
        tracker.artifact(picture.relative_to(directory), "snapshots")
    for row in tracking.history(shorter):
        tracker.log(int(row.pop("images_seen")), row)
    print(f"train: going on from the {state.images_seen(last):,} images of {shorter}")
    return True


def export(directory: Path, checkpoint: str, model: Path = MODEL) -> None:
    """What the next stages read, from the run's directory to `model`, whole or not at all: the generator of its "last"
    or of its "best" `checkpoint`."""
    monitor = monitored(directory)
    losses, distances = [], []
    for row in tracking.history(directory):
        # The monitor's name for the distance tells the number of images; a plot needs a name that stays.
        if monitor and (distance := row.pop(monitor["protocol"]["distance"], None)) is not None:
            distances.append({"images_seen": row["images_seen"], "distance": distance, "floor": monitor["floor"]})
        if len(row) > 1:  # more than the images seen
            losses.append(row)
    with replacing(model) as new:
        shutil.copytree(directory / "generator", new, dirs_exist_ok=True)
        if checkpoint == "best":
            _take_best(directory, new)
        shutil.copytree(directory / "snapshots", new / "snapshots")
        _write_csv(new / "history.csv", losses)
        _write_csv(new / "distance.csv", distances)


def _take_best(directory: Path, model: Path) -> None:
    """Put the generator of a run's best checkpoint in place of that of its last."""
    if (path := state.best(directory / CHECKPOINTS)) is None:
        raise ConfigError(f"registry.checkpoint: no distance is known of the checkpoints of {directory}; write last")
    stored, (generator, about) = state.read(path), generators.load(model)
    generator.load_state_dict(stored["average"])
    generators.save(model, generator, about | {"images_seen": stored["images_seen"]})


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
    saved = state.newest(directory / CHECKPOINTS)
    (directory / PROGRESS).unlink(missing_ok=True)
    start = state.images_seen(saved) if saved else 0
    if saved:
        print(f"train: going on from {saved}", flush=True)
    done = threading.Event()
    bar = images_bar(images, "train", start)
    shown: dict[str, str] = {}

    def show() -> None:
        images_seen, metrics = tracking.last(directory) or (start, {})
        losses = {key: f"{value:.3g}" for key, value in metrics.items() if key.endswith("loss")}
        shown.update(losses)
        bar.set_postfix(shown, refresh=False)
        with suppress(OSError, ValueError):  # not there, or being written
            images_seen = max(images_seen, int((directory / PROGRESS).read_text()))
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

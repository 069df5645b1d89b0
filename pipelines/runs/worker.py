"""What each training worker runs: ganlib's loop, and its share of the distance; rank 0 also keeps the run's records in
its directory."""

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from torch import nn

from ganlib import seeds
from ganlib.config import require, take
from ganlib.datasets.table import Table, choosing
from ganlib.files import read_json, replace, write_json, write_text
from ganlib.metrics.features import extractor
from ganlib.metrics.monitor import Monitor, PairMonitor
from ganlib.objectives.base import Networks
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid
from ganlib.training.guard import NotFinite
from ganlib.training.loop import Saved, train
from pipelines.runs.params import RUN, Params, parse_params, public
from pipelines.runs.storage import Mirror
from pipelines.runs.tracker import Tracker

FAILURE = "failure.txt"  # in the run's directory: why training cannot go on
CHECKPOINTS = "checkpoints"  # there too: see ganlib.training.state
PROGRESS = "progress"  # there too: the images seen, a second ago at most
MONITOR = "monitor.json"  # there too: the protocol of the distance during training, and its floor
CACHE = "monitor.safetensors"  # the statistics of the real images for it; made anew where they are not
MONITOR_RESIZE = 64  # px: of 1,000 images it takes two seconds of a core, and orders generators as the evaluation does
MONITOR_IMAGES = 5_000  # real ones, at most, of the split by which generators are chosen
MONITOR_SEED = seeds.derive("monitor")  # of its latents, alike for all runs, so that they can be compared
COLLAPSED = 1.0  # of 256 levels of grey: images that differ less than this are one and the same


class Collapsed(RuntimeError):
    """The generator makes one and the same image of all latents."""


def work(job: dict[str, Any]) -> None:
    """A worker of Ray Train: its part of `run`. With `job["reports"]`, which are the other entries of each, it tells of
    the distances, which holds training up for as long as Ray's health check takes."""
    def report(images_seen: int, distance: float | None) -> None:
        if "reports" in job and distance is not None:
            ray.train.report({**job["reports"], "images_seen": images_seen, "distance": distance})

    run(job, ray.train.get_context().get_world_rank(), ray.train.torch.get_device(), report)
    ray.train.report({})


def run(job: dict[str, Any], rank: int, device: torch.device | str, report: Saved) -> None:
    """One worker's part of a run. `job`:

        params, table, git     the raw parameters; the absolute path of the images; the revision of the code
        directory, storage     of the run: its absolute path, and the URI that keeps it where not all nodes see it
        tracking, store        what `Tracker` takes, and the URI of the store
        cache                  a file for the statistics of real images; without it one in the directory
        stop_collapsed         whether a generator that makes one image of all latents is given up; not without it
        looks                  at which checkpoints, from 1, the distance is measured besides the last; else at all

    Why a run cannot go on stands in its file FAILURE.
    """
    os.environ["MLFLOW_TRACKING_URI"] = job["store"]  # a worker has the environment of its node, not of the driver
    with placed(Path(job["directory"]), job.get("storage")) as (directory, push):
        _run(job, directory, push, rank, device, report)


@contextmanager
def placed(directory: Path, uri: str | None) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Where the files of a run are on this node, and what brings them to the storage at `uri`. Without one that is
    `directory`, which all nodes see. Else it is an empty place, filled from the storage: what an earlier attempt left
    on this node alone the other workers do not know."""
    if uri is None:
        yield directory, lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="ganlib-") as scratch:
        mirror = Mirror(Path(scratch), uri, lambda name: name != CACHE)
        mirror.pull()
        yield Path(scratch), mirror.push


def _run(job: dict[str, Any], directory: Path, push: Callable[[], None], rank: int, device: torch.device | str,
         report: Saved) -> None:
    params = parse_params(job["params"])
    torch.set_num_threads(params.cluster.cpus_per_worker)
    device = torch.device(device)
    table = Table.open(job["table"], "train")
    look = make_look(params, Path(job["table"]), Path(job.get("cache", directory / CACHE)), device)
    recorder = None
    if rank == 0:
        first = look.by.name if look and "looks" in job else None  # of a trial's metrics: trials are compared by it
        tracker = Tracker(directory, **job["tracking"], first=first)
        recorder = Recorder(params, table, directory, tracker, device, job)
        if look:
            recorder.keep(MONITOR, {"protocol": dataclasses.asdict(look.by.protocol), "floor": look.by.floor,
                                    "floor_images": look.by.floor_images})

    def snapshot(images_seen: int, generator: nn.Module, networks: Networks) -> float | None:
        """The distance of fresh images to real ones, which all workers measure together; rank 0 also draws a grid."""
        if recorder:
            recorder.snapshot(images_seen, generator, networks)
        if job.get("stop_collapsed") and 2 * images_seen >= params.run.training.images:  # at first all are grey
            require_diverse(generator, table, params.seed, images_seen)
        number = images_seen // params.run.training.checkpoint_every
        looks = job.get("looks", [number])
        if look is None or (number not in looks and images_seen < params.run.training.images):
            return None
        measured = look(generator)
        if recorder:
            recorder.tracker.log(images_seen, measured)
        return measured[look.by.name]

    def saved(images_seen: int, distance: float | None) -> None:
        if recorder:
            push()
        report(images_seen, distance)

    def log(images_seen: int, metrics: dict[str, float]) -> None:
        if recorder:
            recorder.tracker.log(images_seen, metrics)

    ticked = 0.0

    def tick(images_seen: int) -> None:
        nonlocal ticked
        if recorder is None:
            return
        # Else what is written next would make it again, without what was in it.
        require(directory.is_dir(), f"{directory}: the run's directory is not there any more")
        if time.monotonic() > ticked + 1:
            (directory / PROGRESS).write_text(str(images_seen))
            ticked = time.monotonic()

    try:
        generator = train(params.run, table, directory / CHECKPOINTS, log, snapshot, device, saved, tick)
    except (NotFinite, Collapsed) as error:
        # Alike on every worker, and again after every restart: nothing that Ray should retry.
        if recorder:
            recorder.tracker.release()
            write_text(directory / FAILURE, str(error))
    else:
        if recorder:
            generators.save(directory / "generator", generator, recorder.description)
    if recorder:
        push()


def require_diverse(generator: Any, table: Table, seed: int, images_seen: int) -> None:
    """Raise Collapsed if the images of 16 latents hardly differ: all under one label, or text, where the generator is
    told one, since these alone make images differ; those of a translator differ by the images it is told."""
    images = generators.sample(generator, _alike(generator, table), seed)
    if (levels := images.float().std(0).mean().item()) < COLLAPSED:
        raise Collapsed(f"the generator has collapsed: at {images_seen:,} images seen what it makes of {len(images)} "
                        f"latents differs by {levels:.2g} of 256 levels of grey (standard deviation, mean of pixels)")


def _alike(generator: Any, table: Table) -> int | torch.Tensor:
    """16 times the same condition; of images, 16 of them."""
    if not generator.told:
        return 16
    if generator.told.kind == "class":
        return torch.zeros(16, dtype=torch.int64)
    asked = generators.asked(generator, table, 16)
    assert isinstance(asked, torch.Tensor)
    return asked if generator.told.kind == "image" else asked[:1].expand(16, -1)


@dataclass(frozen=True)
class Look:
    """A look at a generator while it is trained: its distance to the `chosen_by` split."""

    by: Monitor | PairMonitor
    chosen_by: Table
    images: int

    def __call__(self, generator: nn.Module) -> dict[str, float]:
        asked = generators.asked(generator, self.chosen_by, self.images)
        return self.by(lambda start, count: generators.sample(
            generator, generators.piece(asked, start, count), MONITOR_SEED, start=start))


def make_look(params: Params, table: Path, cache: Path, device: torch.device) -> Look | None:
    """How a generator is looked at during training: by the split by which generators are chosen. The floor of its
    distance is that of training images; where these are what generators are chosen by, of test images, of which there
    may be few. Images that are drawn from others are compared with the right answers, where these are known, and the
    floor is that of the others themselves. None where `training.monitor_images` is 0."""
    if not (count := params.run.training.monitor_images):
        return None
    split, chosen_by = choosing(table)
    features = extractor("efficientnet_lite0", MONITOR_RESIZE, device=str(device))
    data, ema = chosen_by.manifest["sha256"], params.run.training.ema_half_life > 0
    if chosen_by.condition.given:
        few = chosen_by.evenly(count)
        assert few.conditions is not None
        if few.paired and few.condition.kind == "image":
            return Look(PairMonitor(features, few.images, few.conditions, split, MONITOR_SEED, data, ema), few, count)
        count = len(few.conditions)  # as many as can be asked for
    others = Table.open(table, "train" if split != "train" else "test")
    return Look(Monitor(features, chosen_by.evenly(MONITOR_IMAGES).images, others.evenly(count).images, count, split,
                        MONITOR_SEED, data, ema, cache), chosen_by, count)


@dataclass(frozen=True)
class Monitored:
    """What MONITOR holds."""

    protocol: dict[str, Any]
    floor: float
    floor_images: int


def monitored(directory: Path) -> dict[str, Any]:
    """What a run says of its distance during training: its `protocol` and its `floor`. {} where none was measured."""
    path, remedy = directory / MONITOR, "remove it, and the curve of distances is left out"
    if not path.exists():
        return {}
    found = take(Monitored, read_json(path, remedy), str(path), remedy)
    require(isinstance(found.protocol.get("distance"), str), f"{path}: protocol.distance: missing; {remedy}")
    return dataclasses.asdict(found)


class Recorder:
    """Rank 0's records of a run: metrics and fixed-latent grids to the tracker, and the accuracy of a discriminator
    that tells the class: on validation images to choose by, where there are any, and at the end on test images."""

    def __init__(self, params: Params, table: Table, directory: Path, tracker: Tracker, device: torch.device,
                 job: dict[str, Any]):
        self.directory, self.seed, self.tracker, self.device = directory, params.seed, tracker, device
        self.place, self.images = Path(job["table"]), params.run.training.images
        self.description = {
            "networks": params.run.networks, "shape": table.shape, "classes": table.classes,
            "condition": dataclasses.asdict(table.condition), "label_counts": table.label_counts, "seed": params.seed,
            "dataset": table.manifest["name"], "data_sha256": table.manifest["sha256"], "run": job["directory"],
            "images_seen": params.run.training.images, "ema": params.run.training.ema_half_life > 0,
            "git": job["git"], "workers": params.cluster.workers,
            "params": {key: value for key, value in public(params.raw).items() if key in (*RUN, "dataset", "composed")},
        }

    def keep(self, name: str, value: Any) -> None:
        """A JSON file of the run's directory and of its artifacts."""
        if not (self.directory / name).exists():
            write_json(self.directory / name, value)
            self.tracker.artifact(name)

    def snapshot(self, images_seen: int, generator: nn.Module, networks: Networks) -> None:
        """A grid of the same latents, and of the same conditions, every time."""
        picture = self.directory / "snapshots" / f"images-{images_seen:09d}.png"
        asked = generators.asked(generator, choosing(self.place)[1], 64)
        drawn = grid(generators.sample(generator, asked, self.seed), columns=8)
        replace(picture, lambda temporary: drawn.save(temporary, "PNG"))
        self.tracker.artifact(picture.relative_to(self.directory), "snapshots")
        discriminator = networks.get("discriminator")
        if discriminator is not None and discriminator.classes and not networks["generator"].labels_are_codes:
            split, chosen_by = choosing(self.place)
            judged = {split: chosen_by} if split == "validation" else {}
            if images_seen >= self.images:
                judged["test"] = Table.open(self.place, "test")
            found = {f"{name}_accuracy": self.accuracy(discriminator, images)
                     for name, images in judged.items()}
            if found:
                self.tracker.log(images_seen, found)

    @torch.inference_mode()
    def accuracy(self, discriminator: nn.Module, judged: Table) -> float:
        """The share of images whose class the discriminator tells."""
        discriminator.eval()
        right = 0.0
        for start in range(0, len(judged), 1000):
            images, label = judged.batch(np.arange(start, min(start + 1000, len(judged))), self.device)
            right += (discriminator(images).label.argmax(1) == label).sum().item()
        discriminator.train()
        return right / len(judged)

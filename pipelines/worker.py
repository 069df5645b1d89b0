"""What each training worker runs: ganlib's loop, and its share of the distance; rank 0 also keeps the run's records in
its directory."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from torch import nn

from ganlib.datasets.table import Table
from ganlib.metrics.features import extractor
from ganlib.metrics.monitor import Monitor
from ganlib.objectives.base import Networks
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid
from ganlib.training.guard import NonFiniteLoss
from ganlib.training.loop import train
from ganlib.training.state import write_json
from pipelines.params import RUN, Params, parse_params
from pipelines.tracking import Tracker

FAILURE = "failure.txt"  # in the run's directory: why training cannot go on
MONITOR_RESIZE = 64  # px; a 1,000-image distance at this size takes seconds on one core and still ranks checkpoints


def work(job: dict[str, Any]) -> None:
    """One worker's part of a run. `job`: the raw parameters, absolute paths `directory` (the run's) and
    `table`, what `tracking.Tracker` takes, and the revision of the code, `git`."""
    params, directory = parse_params(job["params"]), Path(job["directory"])
    torch.set_num_threads(params.cluster.cpus_per_worker)
    table, device = Table.open(job["table"], "train"), ray.train.torch.get_device()
    monitor = make_monitor(params, table, directory, device)
    recorder = None
    if ray.train.get_context().get_world_rank() == 0:
        test = Table.open(job["table"], "test")
        recorder = Recorder(params, table, test, directory, Tracker(directory, **job["tracking"]), device,
                            job["git"])
        if monitor:
            recorder.keep("monitor.json", dataclasses.asdict(monitor.protocol))

    def snapshot(images_seen: int, generator: nn.Module, networks: Networks) -> float | None:
        """The distance of fresh images to real ones, which all workers measure together; rank 0 also draws a grid."""
        if recorder:
            recorder.snapshot(images_seen, generator, networks)
        if monitor is None:
            return None
        measured = monitor(lambda start, count: generators.excerpt(generator, start, count, params.seed + 1))
        if recorder:
            recorder.tracker.log(images_seen, measured)
        return measured[monitor.name]

    log = recorder.tracker.log if recorder else lambda images_seen, metrics: None
    try:
        generator = train(params.run, table, directory / "checkpoints", log, snapshot, device)
    except NonFiniteLoss as error:
        # Alike on every worker, and again after every restart: nothing that Ray should retry.
        if recorder:
            (directory / FAILURE).write_text(str(error))
    else:
        if recorder:
            generators.save(directory / "generator", generator, recorder.description)
    ray.train.report({})


def make_monitor(params: Params, table: Table, directory: Path, device: torch.device) -> Monitor | None:
    """The distance during training, of latents that no grid shows; None where `training.monitor_images` is 0."""
    if not (count := params.run.training.monitor_images):
        return None
    features = extractor("efficientnet_lite0", MONITOR_RESIZE, device=str(device))
    return Monitor(features, table.evenly(count).images, count, params.seed + 1, table.manifest["sha256"],
                   params.run.training.ema_half_life > 0, directory / "monitor.safetensors")


class Recorder:
    """Rank 0's records of a run: metrics and fixed-latent grids to the tracker, and the accuracy on test images of a
    discriminator that tells the class."""

    def __init__(self, params: Params, table: Table, test: Table, directory: Path, tracker: Tracker,
                 device: torch.device, git: str):
        self.directory, self.seed, self.tracker, self.test, self.device = directory, params.seed, tracker, test, device
        self.description = {
            "networks": params.run.networks, "shape": table.shape, "classes": table.classes, "seed": params.seed,
            "dataset": table.manifest["name"], "data_sha256": table.manifest["sha256"], "run": str(directory),
            "images_seen": params.run.training.images, "ema": params.run.training.ema_half_life > 0,
            "git": git, "params": {key: params.raw[key] for key in (*RUN, "dataset", "composed") if key in params.raw},
        }

    def keep(self, name: str, value: Any) -> None:
        """A JSON file of the run's directory and of its artifacts."""
        if not (self.directory / name).exists():
            write_json(self.directory / name, value)
            self.tracker.artifact(name)

    def snapshot(self, images_seen: int, generator: nn.Module, networks: Networks) -> None:
        """A grid of the same latents every time."""
        picture = self.directory / "snapshots" / f"images-{images_seen:09d}.png"
        picture.parent.mkdir(exist_ok=True)
        grid(generators.sample(generator, 64, self.seed), columns=8).save(picture)
        self.tracker.artifact(picture.relative_to(self.directory), "snapshots")
        if networks["discriminator"].classes and not networks["generator"].labels_are_codes:
            self.tracker.log(images_seen, {"test_accuracy": self.accuracy(networks["discriminator"])})

    @torch.inference_mode()
    def accuracy(self, discriminator: nn.Module) -> float:
        """The share of test images whose class the discriminator tells."""
        discriminator.eval()
        right = 0.0
        for start in range(0, len(self.test), 1000):
            images, label = self.test.batch(np.arange(start, min(start + 1000, len(self.test))), self.device)
            right += (discriminator(images).label.argmax(1) == label).sum().item()
        discriminator.train()
        return right / len(self.test)

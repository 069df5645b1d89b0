"""What each training worker runs: ganlib's loop; rank 0 also keeps the run's records in its directory."""

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
from pipelines.params import Params, parse_params
from pipelines.tracking import Tracker

FAILURE = "failure.txt"  # in the run's directory: why training cannot go on
MONITOR_RESIZE = 64  # px; a 1,000-image distance at this size takes seconds on one core and still ranks checkpoints


def work(job: dict[str, Any]) -> None:
    """One worker's part of a run. `job`: the raw parameters, and absolute paths `directory` (the run's) and `table`."""
    params, directory = parse_params(job["params"]), Path(job["directory"])
    torch.set_num_threads(params.cluster.cpus_per_worker)
    table, device = Table.open(job["table"], "train"), ray.train.torch.get_device()
    records: dict[str, Any] = {}
    if ray.train.get_context().get_world_rank() == 0:
        test = Table.open(job["table"], "test")
        recorder = Recorder(params, table, test, directory, Tracker(directory, **job["tracking"]), device)
        records = {"log": recorder.tracker.log, "snapshot": recorder.snapshot}
    try:
        generator = train(params.run, table, directory / "checkpoints", device=device, **records)
    except NonFiniteLoss as error:
        # Alike on every worker, and again after every restart: nothing that Ray should retry.
        if records:
            (directory / FAILURE).write_text(str(error))
    else:
        if records:
            generators.save(directory / "generator", generator, recorder.description)
    ray.train.report({})


class Recorder:
    """Rank 0's records of a run: metrics and fixed-latent grids to the tracker, the distance as it goes, and the
    accuracy on test images of a discriminator that tells the class."""

    def __init__(self, params: Params, table: Table, test: Table, directory: Path, tracker: Tracker,
                 device: torch.device):
        self.directory, self.seed, self.tracker, self.test, self.device = directory, params.seed, tracker, test, device
        self.description = {
            "networks": params.run.networks, "shape": table.shape, "classes": table.classes, "seed": params.seed,
            "dataset": table.manifest["name"], "data_sha256": table.manifest["sha256"], "run": str(directory),
            "images_seen": params.run.training.images, "ema": params.run.training.ema_half_life > 0,
        }
        self.monitor: Monitor | None = None
        if count := params.run.training.monitor_images:
            features = extractor("efficientnet_lite0", MONITOR_RESIZE, device=str(device))
            self.monitor = Monitor(features, table.images[:count], count, directory / "monitor.safetensors")

    def snapshot(self, images_seen: int, generator: nn.Module, networks: Networks) -> float | None:
        """A grid of the same latents every time, and the distance of fresh ones to real images."""
        picture = self.directory / "snapshots" / f"images-{images_seen:09d}.png"
        picture.parent.mkdir(exist_ok=True)
        grid(generators.sample(generator, 64, self.seed), columns=8).save(picture)
        self.tracker.artifact(picture.relative_to(self.directory), "snapshots")
        if networks["discriminator"].classes and not networks["generator"].labels_are_codes:
            self.tracker.log(images_seen, {"test_accuracy": self.accuracy(networks["discriminator"])})
        if self.monitor is None:
            return None
        measured = self.monitor(lambda count: generators.sample(generator, count, self.seed + 1))
        self.tracker.log(images_seen, measured)
        (distance,) = measured.values()
        return distance

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

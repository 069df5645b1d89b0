"""The distance while training goes on: few images at low resolution, spread over the workers, so that a call costs
seconds."""

import dataclasses
import functools
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganlib import collectives
from ganlib.config import require
from ganlib.metrics.features import Extractor, extract
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.pairs import pair_distance, trivial
from ganlib.metrics.protocol import Protocol, differences
from ganlib.metrics.statistics import Statistics, load, save


class Monitor:
    """Called with a function `(start, count) → uint8 images (count, C, H, W)`, the images start … start + count of an
    endless sequence: gives {"fd_efficientnet_lite0_1000": distance}. Its `floor` is what `floor_images` real images
    reach in their place, the first of the `other_images`: as many, or as there are.

    Every worker of torch's default process group makes and calls one, and gets the same number: each sees to its share
    of the images, and the statistics are merged. No random number of torch's own generators is drawn. The statistics of
    `real_images` uint8 (N, C, H, W) and the floor are computed once, and kept in the file `cache` where one is given: a
    later monitor takes them from there if the protocol is the same.

    The number is for following a run, and for comparing runs of the same `protocol`: few images bias it upward, as the
    floor shows, so it is not the distance of an evaluation. It orders generators as that does (docs/numbers.md).
    `real_split`, `seed`, `data_sha256` and `ema` are noted in the protocol.
    """

    def __init__(self, extractor: Extractor, real_images: np.ndarray, other_images: np.ndarray, generated: int,
                 real_split: str, seed: int, data_sha256: str, ema: bool = True, cache: Path | None = None) -> None:
        require(min(len(real_images), generated) >= collectives.workers(), "training.monitor_images: each worker needs "
                f"at least one image; write {collectives.workers()} or more, or 0 to switch the distance off")
        self.extractor = extractor
        self.name = f"{extractor.distance}_{generated}"
        self.protocol = Protocol(
            distance=self.name, extractor=extractor.name, weights_sha256=extractor.weights_sha256,
            resize=extractor.resize, resize_method=extractor.resize_method, real_split=real_split,
            real_images=len(real_images), generated_images=generated, quantisation="uint8", ema=ema, truncation=1.0,
            seed=seed, data_sha256=data_sha256, labels="in the shares of the training split",
        )  # fmt: skip
        self.floor_images = min(generated, len(other_images))
        self.real, self.floor = self._known(real_images, other_images[:generated], cache)

    def __call__(self, sample: Callable[[int, int], Tensor]) -> dict[str, float]:
        return {self.name: frechet_distance(self.real, self._spread(sample, self.protocol.generated_images))}

    def _known(self, images: np.ndarray, others: np.ndarray, cache: Path | None) -> tuple[Statistics, float]:
        """The statistics of the real images, and the floor."""
        protocol = dataclasses.asdict(self.protocol)
        stored = None
        if cache and cache.exists():
            statistics, found = load(cache)
            floor = found.pop("floor", None)
            stored = None if differences(found, protocol) else (statistics, floor)
        # A worker on another machine may not see the file; then none of them uses it, or the others would wait for it.
        share = collectives.mean(torch.tensor(float(stored is not None), device=self.extractor.device))
        if stored and share == 1:
            return stored
        real, other = (self._spread(functools.partial(_piece, part), len(part)) for part in (images, others))
        floor = frechet_distance(real, other)
        if cache and collectives.rank() == 0:
            save(cache, real, protocol | {"floor": floor})
        return real, floor

    def _spread(self, sample: Callable[[int, int], Tensor], total: int) -> Statistics:
        """The statistics of the first `total` images, each worker having looked at its share."""
        rank, workers = collectives.rank(), collectives.workers()
        start, end = total * rank // workers, total * (rank + 1) // workers
        mine = Statistics.from_features(extract(self.extractor, sample(start, end - start))[0])
        return reduce(Statistics.merge, _of_all(mine, self.extractor.device))


class PairMonitor:
    """As `Monitor`, for images whose right answer is known: called with the same kind of function, it gives
    {"lpips_190": mean distance} of the images to their `truth` uint8 (N, C, H, W). Its `floor` is what the `sources`,
    from which they are drawn, reach themselves."""

    def __init__(self, extractor: Extractor, truth: np.ndarray, sources: np.ndarray, real_split: str, seed: int,
                 data_sha256: str, ema: bool = True) -> None:
        require(len(truth) >= collectives.workers(), f"training.monitor_images: each worker needs at least one image; "
                f"write {collectives.workers()} or more, or 0 to switch the distance off")
        self.distance, self.truth = pair_distance(extractor), truth
        self.device = extractor.device
        self.name = f"{self.distance.name}_{len(truth)}"
        self.protocol = Protocol(
            distance=self.name, extractor=extractor.name, weights_sha256=extractor.weights_sha256,
            resize=extractor.resize, resize_method=extractor.resize_method, real_split=real_split,
            real_images=len(truth), generated_images=len(truth), quantisation="uint8", ema=ema, truncation=1.0,
            seed=seed, data_sha256=data_sha256, pairs=self.distance.about,
        )  # fmt: skip
        self.floor_images = len(truth)
        known = trivial(sources, truth.shape[1:])
        self.floor = self(lambda start, count: known[start : start + count])[self.name]

    def __call__(self, sample: Callable[[int, int], Tensor]) -> dict[str, float]:
        rank, workers, total = collectives.rank(), collectives.workers(), len(self.truth)
        start, end = total * rank // workers, total * (rank + 1) // workers
        mine = self.distance.measure(np.array(self.truth[start:end]), sample(start, end - start)).double().sum()
        return {self.name: float(collectives.gather(mine.view(1).to(self.device)).sum()) / total}


def _piece(images: np.ndarray, start: int, count: int) -> Tensor:
    return torch.from_numpy(np.array(images[start:start + count]))


def _of_all(mine: Statistics, device: str) -> list[Statistics]:
    """The statistics of every worker, by rank."""
    d = len(mine.mean)
    flat = torch.cat([torch.tensor([mine.count]).double(), mine.mean, mine.covariance.flatten()])
    gathered = collectives.gather(flat[None].to(device)).cpu()
    return [Statistics(int(row[0]), row[1:d + 1], row[d + 1:].view(d, d)) for row in gathered]

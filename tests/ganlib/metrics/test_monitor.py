"""The monitor: its number is the distance, workers share its work, training does not notice, and its cache serves only
what it was made for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from ganlib.metrics.features import Extractor, extract, extractor
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.monitor import Monitor
from ganlib.metrics.statistics import Statistics
from ganlib.sampling import generator as generators
from ganlib.training.loop import train
from ganlib.training.run import Run

REAL = np.random.default_rng(0).integers(0, 256, (31, 1, 8, 8), np.uint8)
OTHERS = np.random.default_rng(2).integers(0, 256, (40, 1, 8, 8), np.uint8)
FAKE = torch.from_numpy(np.random.default_rng(1).integers(0, 100, (21, 1, 8, 8), np.uint8))


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return extractor("efficientnet_lite0", resize=32)


def monitor(lite0: Extractor, images: np.ndarray = REAL, generated: int = 21, cache: Path | None = None) -> Monitor:
    return Monitor(lite0, images, OTHERS, generated, "validation", seed=0, data_sha256="d", cache=cache)


def excerpt(start: int, count: int) -> torch.Tensor:
    return FAKE[start:start + count]


def test_it_is_the_distance(lite0: Extractor) -> None:
    # On the covariance of these 31 images, with most features dead, torch.linalg.eigh does not converge.
    real, fake = (Statistics.from_features(extract(lite0, images)[0]) for images in (REAL, FAKE))
    made = monitor(lite0)
    found = made(excerpt)
    others = Statistics.from_features(extract(lite0, OTHERS[:21])[0])
    assert made.floor == pytest.approx(frechet_distance(real, others), rel=1e-6) and made.floor < min(found.values())
    assert found == {"fd_efficientnet_lite0_21": pytest.approx(frechet_distance(real, fake), rel=1e-6)}


def test_two_workers_share_the_images_and_both_get_the_number_of_one(lite0: Extractor, tmp_path: Path, on_workers):
    (alone,) = monitor(lite0)(excerpt).values()

    def together(rank: int) -> list[Any]:
        asked: list[tuple[int, int]] = []

        def sample(start: int, count: int) -> torch.Tensor:
            asked.append((start, count))
            return excerpt(start, count)

        first = monitor(lite0, cache=tmp_path / "m.safetensors")  # makes the file
        again = monitor(lite0, cache=tmp_path / "m.safetensors")  # takes it
        elsewhere = monitor(lite0, cache=tmp_path / ("m.safetensors" if rank else "none"))  # seen by one alone
        return [*first(sample).values(), *again(sample).values(), *elsewhere(sample).values(), asked[0]]

    (*left, share), (*right, other) = on_workers(together, 2)
    assert left == right == pytest.approx([alone] * 3, rel=1e-6)
    assert (tuple(share), tuple(other)) == ((0, 10), (10, 11))


@pytest.mark.parametrize("workers", [1, 2])
def test_training_does_not_notice_it(lite0: Extractor, workers: int, on_workers) -> None:
    """Equal weights with and without, bit for bit."""
    run = Run.parse({"networks": {"name": "mlp", "width": 16, "depth": 1, "latent": 4},
                     "augmentation": {"name": "diffaugment"},
                     "training": {"images": 64, "batch_size": 8, "checkpoint_every": 16}})
    table = Table.from_arrays(torch.from_numpy(REAL))

    def weights(watched: bool) -> tuple[torch.Tensor, list[float]]:
        watch, seen = monitor(lite0), []

        def snapshot(images_seen: int, generator: torch.nn.Module, networks: Any) -> float:
            seen.extend(watch(lambda start, count: generators.sample(generator, count, 1, start=start)).values())
            return seen[-1]

        generator = train(run, table, snapshot=snapshot) if watched else train(run, table)
        return torch.cat([value.double().flatten() for value in generator.state_dict().values()]), seen

    def both(rank: int) -> list[Any]:
        (watched, seen), (unwatched, _) = weights(True), weights(False)
        return [torch.equal(watched, unwatched), seen]

    for same, seen in [both(0)] if workers == 1 else on_workers(both, workers):
        assert same and len(seen) == 4 and len(set(seen)) == 4


def test_the_cache_is_used_and_not_for_another_protocol(lite0: Extractor, tmp_path: Path) -> None:
    cache = tmp_path / "monitor.safetensors"
    first = monitor(lite0, cache=cache)
    written = cache.stat().st_mtime_ns
    again = monitor(lite0, cache=cache)
    assert cache.stat().st_mtime_ns == written and torch.equal(first.real.mean, again.real.mean)
    assert again.floor == first.floor
    fewer = monitor(lite0, REAL[:20], cache=cache)
    assert cache.stat().st_mtime_ns != written and not torch.equal(fewer.real.mean, first.real.mean)
    smaller = monitor(extractor("efficientnet_lite0", resize=40), REAL[:20], cache=cache)
    assert not torch.allclose(smaller.real.mean, fewer.real.mean)
    other = Monitor(lite0, REAL[::-1][:20], OTHERS, 21, "validation", seed=0, data_sha256="other", cache=cache)
    assert not torch.allclose(other.real.mean, fewer.real.mean)


def test_an_image_for_each_worker_is_the_least(lite0: Extractor, on_workers) -> None:
    def refused(rank: int) -> bool:
        with pytest.raises(ConfigError, match="write 2 or more"):
            monitor(lite0, generated=1)
        return True

    assert on_workers(refused, 2) == [True, True]

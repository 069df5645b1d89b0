"""The metrics against their plain forms, one thread: ratio of process times, and peak memory.

    python benchmarks/metrics.py [section ...] [--rounds 3]      # in the root of the repository

The plain forms are the usual ones: scipy's `sqrtm` of the product of the covariances, and all distances at once in
float64. Rounds of plain and ours are interleaved; what counts is the median of the ratios of the rounds. Memory is
that of a process of its own: how much its largest resident set grows while it computes, its input not counted. Where
there are fewer images than dimensions, `sqrtm` is exact to 1e-7 only, and so is the agreement. The section `features`
takes its images from data/table. Prints a table in Markdown.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from ganlib.metrics import Statistics, frechet_distance, precision_recall

D, IMAGES, STREAMED, FEW = 2048, 10_000, 50_000, 1000


class Row(NamedTuple):
    """A line of the table; cells that do not apply are empty."""

    what: str
    plain: str
    ours: str
    result: str
    aim: str
    agreement: str = ""


def drawn(count: int, seed: int, d: int = D) -> Tensor:
    """float32 (count, d) with standard deviations over two decades, as features of images have, mixed by a rotation."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0)))[0]
    scale = torch.logspace(0, -2, d) * (1 + 0.1 * seed)
    return (torch.randn(count, d, generator=random) * scale) @ mixing


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def paired(plain: Callable[[], Any], ours: Callable[[], Any], rounds: int) -> tuple[float, float, float, Any, Any]:
    """Medians over the rounds of plain's and our seconds and of their ratio, and what both gave."""
    times = []
    for _ in range(rounds):
        (a, expected), (b, found) = seconds(plain), seconds(ours)
        times.append((a, b, a / b))
    plain_s, ours_s, ratio = (statistics.median(column) for column in zip(*times, strict=True))
    return plain_s, ours_s, ratio, expected, found


def plain_frechet(mean_a: np.ndarray, a: np.ndarray, mean_b: np.ndarray, b: np.ndarray) -> float:
    difference = mean_a - mean_b
    return float(difference @ difference + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a.dot(b))).real)


def frechet(rounds: int) -> Iterator[Row]:
    """Two statistics given; then the features of few images against the statistics of the reals, with a kept root."""
    real, fake = (Statistics.from_features(drawn(IMAGES, seed)) for seed in (0, 1))
    arrays = real.mean.numpy(), real.covariance.numpy()

    def ours() -> float:  # new ones, without a kept root
        return frechet_distance(Statistics(real.count, real.mean, real.covariance), fake)

    plain_s, ours_s, ratio, expected, found = paired(
        lambda: plain_frechet(*arrays, fake.mean.numpy(), fake.covariance.numpy()), ours, rounds)
    yield Row(f"Fréchet distance of given statistics, d = {D}", f"{plain_s:.2f} s", f"{ours_s:.2f} s",
              f"{ratio:.1f} ×", "10 ×", f"{abs(found / expected - 1):.0e} relative")

    few = drawn(FEW, 2)
    frechet_distance(real, few)  # keeps the root

    def plain() -> float:
        values = few.double().numpy()
        return plain_frechet(*arrays, values.mean(0), np.cov(values, rowvar=False))

    plain_s, ours_s, ratio, expected, found = paired(plain, lambda: frechet_distance(real, few), rounds)
    yield Row(f"Fréchet distance of {FEW:,} images' features, kept root", f"{plain_s:.2f} s", f"{ours_s:.2f} s",
              f"{ratio:.1f} ×", "30 ×", f"{abs(found / expected - 1):.0e} relative")


def streaming(rounds: int) -> Iterator[Row]:
    """One chunk over and over: what it costs to draw 50,000 is not measured."""
    del rounds
    memory, (took, _) = in_a_process(partial(stream, STREAMED, D))
    yield Row(f"statistics of a stream of {STREAMED:,} × {D} float32", "", f"{STREAMED / took:,.0f} images/s",
              f"{memory:.0f} MiB", "< 1024 MiB")


def stream(count: int, d: int) -> Callable[[], tuple[float, int]]:
    """Seconds of the statistics of chunks of 1,000, and how many there were."""
    chunk = drawn(1000, 0, d)
    return lambda: seconds(lambda: Statistics.from_features(chunk for _ in range(count // len(chunk))).count)


def plain_precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """All distances in float64 at once; of the k + 1 nearest the first is the image itself."""
    real, fake = real.double(), fake.double()
    around_real = torch.cdist(real, real).kthvalue(k + 1).values
    around_fake = torch.cdist(fake, fake).kthvalue(k + 1).values
    across = torch.cdist(fake, real)
    precise, recalled = (across <= around_real).any(1), (across <= around_fake[:, None]).any(0)
    return float(precise.double().mean()), float(recalled.double().mean())


def neighbours(rounds: int) -> Iterator[Row]:
    """Precision and recall, all in float64 against blocks of float32."""
    sets = drawn(IMAGES, 0), drawn(IMAGES, 1)
    plain_s, ours_s, ratio, expected, found = paired(
        lambda: plain_precision_recall(*sets), lambda: precision_recall(*sets), rounds)
    memory, _ = in_a_process(_neighbours)
    what = f"precision and recall, {IMAGES:,} + {IMAGES:,} × {D}"
    agreement = "equal" if found == expected else f"{found} against {expected}"
    yield Row(what, f"{plain_s:.1f} s", f"{ours_s:.1f} s", f"{ratio:.2f} ×", "2.5 ×", agreement)
    yield Row("the same, memory", "", "", f"{memory:.0f} MiB", "< 2048 MiB")


def _neighbours() -> Callable[[], Any]:
    sets = drawn(IMAGES, 0), drawn(IMAGES, 1)
    return lambda: precision_recall(*sets)


def in_a_process(prepare: Callable[[], Callable[[], Any]]) -> tuple[float, Any]:
    """MiB by which the largest resident set of a new process grows in what `prepare` gives, and what that gives."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_memory, (prepare,))


def _measure_memory(prepare: Callable[[], Callable[[], Any]]) -> tuple[float, Any]:
    work = prepare()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew, at what is resident now
    before = _memory("VmRSS")
    found = work()
    return _memory("VmHWM") - before, found


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def extractors(rounds: int) -> Iterator[Row]:
    """The speed of the feature extractors, and what it costs in agreement."""
    from benchmarks import features

    for what, rate, ratio, aim in features.rows(2 * rounds + 1):
        yield Row(what, "", rate and f"{rate} images/s", ratio, aim)


SECTIONS: dict[str, Callable[[int], Iterator[Row]]] = {
    "frechet": frechet, "streaming": streaming, "neighbours": neighbours, "features": extractors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), metavar="section",
                        help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no section {unknown.pop()!r}; there are {', '.join(SECTIONS)}")
    if os.environ.get("OMP_NUM_THREADS") != "1" or not __package__:
        # scipy's BLAS reads its number of threads at its start; and a script would not find its neighbour
        command = [sys.executable, "-m", "benchmarks.metrics", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "OMP_NUM_THREADS": "1"})
    if "features" in arguments.sections and not Path("data/table").exists():
        arguments.sections.remove("features")
        print("The section features is left out: it takes images from data/table, which `dvc repro prepare` writes.\n")
    print(f"torch {torch.__version__}, numpy {np.__version__}, 1 thread, {torch.backends.cpu.get_cpu_capability()}, "
          f"medians of {arguments.rounds} rounds\n")
    print("| what | plain | ours | result | aim | agreement |\n|---|---|---|---|---|---|", flush=True)
    for section in arguments.sections:
        for row in SECTIONS[section](arguments.rounds):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()

"""What one driver of a sweep holds, what one tracking store takes, and how training scales over workers.

    python -m benchmarks.scale sweep [--trials 100 1000] [--settings default reuse ...]   # Ray Tune, empty trials
    python -m benchmarks.scale store [--stores sqlite server+postgresql ...]              # writing to MLflow
    python -m benchmarks.scale search [--stores ...] [--runs 100 1000 10000]              # reading a table of runs
    python -m benchmarks.scale workers                                                    # a model: nothing is timed

`sweep` runs trials that report once and end, on a Ray of its own with as many CPUs as --cpus says: what is left is the
cost of Tune itself. The driver is a process of its own for each row. Its CPU time per trial bounds what it could do for
a cluster of any size; trials per minute are bounded by this machine, where the trials' processes start as well.

`store` lets 1, 4 and 8 processes write at once: rows of metrics by `log_batch`, and whole small runs by
`runs.tracker.Tracker`. Failed calls are counted by their message. `postgresql` starts a server of its own in a
temporary folder that listens on a unix socket (Debian: `apt-get install postgresql`; `pip install psycopg2-binary`);
`server+` puts an `mlflow server` on loopback before a database.

`workers` counts bytes and operations in ganlib's own loop, and puts them into a ring all-reduce with the bandwidths
named in the output. Every table is Markdown.
"""

import argparse
import contextlib
import glob
import logging
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from benchmarks.step_time import CASES, Flops
from ganlib.datasets.table import Table
from ganlib.training.distributed import Workers
from ganlib.training.loop import train
from ganlib.training.run import Run, Training

MIB = 1 << 20


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a Markdown table, each row as soon as it is there."""
    columns = list(columns)
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print()


def _load() -> str:
    """The machine's load in the last minute, this script's processes included: what else was running."""
    return f"{os.getloadavg()[0]:.1f}"


# --- a sweep: one driver, trials that do nothing ---------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What can be changed about a sweep without changing its trials."""

    what: str
    reuse: bool = True  # the process of a finished trial takes the next one
    cpus: float = 1.0  # of a trial
    concurrent: int | None = None  # max_concurrent_trials
    reports: int = 1  # of each trial
    tpe: bool = False  # configurations come from Optuna's tree-structured Parzen estimator; else they are drawn
    environment: dict[str, str] = field(default_factory=dict)


LOGGERS_OFF = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
FEW_PENDING = {"TUNE_MAX_PENDING_TRIALS_PG": "4"}
SETTINGS = {
    "default": Setting("Ray's defaults: a process a trial", reuse=False),
    "reuse": Setting("reuse_actors=True"),
    "loggers": Setting("reuse, TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1", environment=LOGGERS_OFF),
    "pending": Setting("reuse, TUNE_MAX_PENDING_TRIALS_PG=4", environment=FEW_PENDING),
    "concurrent": Setting("reuse, max_concurrent_trials=2", concurrent=2),
    "often": Setting("reuse, TUNE_GLOBAL_CHECKPOINT_S=0", environment={"TUNE_GLOBAL_CHECKPOINT_S": "0"}),
    "rarely": Setting("reuse, TUNE_GLOBAL_CHECKPOINT_S=600", environment={"TUNE_GLOBAL_CHECKPOINT_S": "600"}),
    "fraction": Setting("reuse, 0.25 CPUs a trial", cpus=0.25),
    "reports": Setting("reuse, 10 reports a trial", reports=10),
    "buffer": Setting("reuse, 10 reports a trial, TUNE_RESULT_BUFFER_LENGTH=10", reports=10,
                      environment={"TUNE_RESULT_BUFFER_LENGTH": "10"}),
    "all": Setting("reuse, loggers off, 4 pending", environment=LOGGERS_OFF | FEW_PENDING),
    "tpe": Setting("reuse, loggers off, max_concurrent_trials=2, Optuna's TPE", environment=LOGGERS_OFF, concurrent=2,
                   tpe=True),
}  # fmt: skip


class Sweep(NamedTuple):
    """What a sweep of empty trials took; memory in MiB, times in seconds."""

    trials: int
    failed: int
    seconds: float
    last_tenth: float  # trials a minute in the last tenth of them
    cpu: float  # of the driver's process, all threads
    memory: float  # the driver's largest resident set
    grown: float  # by how much the sweep raised that
    saves: list[float]  # of the experiment's state, one each
    state: float  # its file
    files: int  # of all trials
    stored: float  # all of the sweep's files
    restore: float  # until a new driver has read it all


def sweep(setting: Setting, trials: int, cpus: int = 2) -> Sweep:
    """Run empty trials in a new process, on a Ray of its own that is gone afterwards."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_sweep, setting, trials, cpus).result()


def _sweep(setting: Setting, trials: int, cpus: int) -> Sweep:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "OMP_NUM_THREADS": "1"}
    os.environ |= setting.environment
    import ray
    from ray import tune
    from ray.tune.execution.tune_controller import TuneController

    searcher = None
    if setting.tpe:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        searcher = OptunaSearch(metric="metric_0", mode="min", sampler=optuna.samplers.TPESampler(seed=0))

    def nothing(config: dict[str, float]) -> None:
        for _ in range(config["reports"]):
            tune.report({f"metric_{i}": config["x_0"] for i in range(5)})

    saves: list[float] = []
    save = TuneController.save_to_dir

    def timed(controller: TuneController) -> None:
        start = time.monotonic()
        save(controller)
        saves.append(time.monotonic() - start)

    with tempfile.TemporaryDirectory(prefix="sweep", dir="/tmp") as folder:  # a unix socket's path has to be short
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=f"{folder}/ray",
                 _node_ip_address="127.0.0.1", log_to_driver=False, logging_level=logging.ERROR)
        try:
            space = {f"x_{i}": tune.uniform(0, 1) for i in range(5)} | {"reports": tune.choice([setting.reports])}
            tuner = tune.Tuner(
                tune.with_resources(nothing, {"CPU": setting.cpus}),
                param_space=space,
                tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=setting.reuse,
                                            max_concurrent_trials=setting.concurrent, search_alg=searcher),
                run_config=tune.RunConfig(name="sweep", storage_path=f"{folder}/results", verbose=0),
            )  # fmt: skip
            before, start, cpu = _peak_memory(), time.monotonic(), time.process_time()
            with patch.object(TuneController, "save_to_dir", timed):
                results = tuner.fit()
            seconds, cpu, memory = time.monotonic() - start, time.process_time() - cpu, _peak_memory()

            start = time.monotonic()
            stored = tune.Tuner.restore(f"{folder}/results/sweep", nothing).get_results()
            assert len(stored) == trials
            restore = time.monotonic() - start
        finally:
            ray.shutdown()
        ends = sorted(result.metrics["timestamp"] for result in results if result.metrics)
        tenth = ends[-(trials // 10) - 1:]
        files = [path for path in Path(folder, "results").rglob("*") if path.is_file()]
        state = sum(path.stat().st_size for path in files if path.name.startswith("experiment_state"))
        return Sweep(trials, results.num_errors, seconds, 60 * (len(tenth) - 1) / max(1, tenth[-1] - tenth[0]),
                     cpu, memory, memory - before, saves, state / MIB,
                     sum(path.parents[1].name == "sweep" for path in files),
                     sum(path.stat().st_size for path in files) / MIB, restore)


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sweeps(settings: list[str], trials: list[int], cpus: int) -> Iterator[list[str]]:
    """A row for each setting and number of trials."""
    for count in trials:
        for name in settings:
            result = sweep(SETTINGS[name], count, cpus)
            yield [f"{count:,}", SETTINGS[name].what, f"{result.failed}", f"{result.seconds:.0f}",
                   f"{60 * count / result.seconds:,.0f}", f"{result.last_tenth:,.0f}" if count >= 1000 else "",
                   f"{1000 * result.cpu / count:.1f}", f"{result.memory:.0f} (+{result.grown:.0f})",
                   f"{result.state:.2f}", f"{len(result.saves)} × {statistics.mean(result.saves):.2f} s",
                   f"{max(result.saves):.2f}", f"{result.files / count:.0f}", f"{result.stored:.0f}",
                   f"{result.restore:.1f}", _load()]


SWEEP_COLUMNS = ["trials", "setting", "failed", "s", "trials/min", "in the last tenth", "driver: CPU ms/trial",
                 "driver: MiB (grown by)", "state: MiB", "saves", "longest: s", "files/trial", "stored: MiB",
                 "restore: s", "load"]  # fmt: skip


# --- the store: MLflow with sqlite and PostgreSQL --------------------------------------------------------------------

STORES = ("sqlite", "server+sqlite", "postgresql", "server+postgresql")
PARAMS = {f"section.option_{i}": f"{i / 7}" for i in range(60)}  # as many as params.yaml has
METRICS = [f"metric_{i}" for i in range(10)]


@contextlib.contextmanager
def serving(store: str, server_workers: int) -> Iterator[str]:
    """A new, empty store with its schema; gives its URI."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="store", dir="/tmp")))
        if store.endswith("postgresql"):
            database = stack.enter_context(_postgresql(folder))
        else:
            database = f"sqlite:///{folder}/mlflow.db"
        _prepare(database)
        yield stack.enter_context(_server(database, folder, server_workers)) if "server" in store else database


def _prepare(uri: str) -> None:
    """The schema and the experiment, by one process: the first use of a store by several at once corrupts it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(_open_store, uri).result()


def _open_store(uri: str) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = uri
    from pipelines.runs import tracker as tracking

    if tracking.open_store("scale") is None:
        raise SystemExit(f"scale: {tracking.shown(uri)} cannot be opened")


@contextlib.contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb")]
    if found[0] is None:
        raise SystemExit("scale: there is no PostgreSQL on this machine; apt-get install postgresql")
    programs, data = Path(found[0]).resolve().parent, folder / "postgresql"
    data.mkdir()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": data}
        shutil.chown(data, "postgres", "postgres")
        folder.chmod(0o755)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"],
                   check=True, **quiet, **user)
    server = subprocess.Popen([programs / "postgres", "-D", data, "-k", data, "-h", ""], **quiet, **user)
    try:
        _until((data / "postmaster.pid").exists)
        _until(lambda: "ready" in (data / "postmaster.pid").read_text())
        yield f"postgresql+psycopg2://postgres@/postgres?host={data}"
    finally:
        server.send_signal(signal.SIGINT)  # ends the clients' connections, and stops
        server.wait()


@contextlib.contextmanager
def _server(database: str, folder: Path, workers: int) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--workers", f"{workers}", "--host", "127.0.0.1",
         "--port", f"{port}", "--backend-store-uri", database, "--artifacts-destination", f"{folder}/artifacts"],
        env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    uri = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return urllib.request.urlopen(f"{uri}/health", timeout=5).status == 200
        except OSError:
            return False

    try:
        _until(answers)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # its workers too
        server.wait()


def _until(there: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            raise SystemExit("scale: a server did not start")
        time.sleep(0.2)


class Written(NamedTuple):
    """What one process wrote, and what failed."""

    count: int
    seconds: float
    slowest: float  # one call, or one run
    errors: Counter[str]


@contextlib.contextmanager
def writers(uri: str, clients: int) -> Iterator[Callable[..., list[Written]]]:
    """Processes that use a store; what is given calls a function with arguments in each of them, all at once."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(clients, initializer=_join, initargs=(context.Barrier(clients), uri)) as pool:
        yield lambda work, *arguments: pool.starmap(work, [arguments] * clients, chunksize=1)


def _join(barrier: Any, uri: str) -> None:
    global _start_together
    _start_together = barrier.wait
    os.environ |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true",
                   "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "OMP_NUM_THREADS": "1"}


def write_rows(seconds: float, batch: int) -> Written:
    """Metric rows of one run, `batch` of them a call."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from pipelines.runs import tracker as tracking

    client = MlflowClient()
    run = client.create_run(client.get_experiment_by_name("scale").experiment_id).info.run_id
    count, slowest, errors = 0, 0.0, Counter[str]()
    _start_together()
    start = time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        step = count // len(METRICS)
        rows = [Metric(METRICS[i % len(METRICS)], i / 3, int(1000 * time.time()), step + i // len(METRICS))
                for i in range(batch)]
        try:
            client.log_batch(run, metrics=rows)
            count += batch
        except Exception as error:
            errors[tracking.short(error)] += 1
        slowest = max(slowest, time.monotonic() - now)
    return Written(count, time.monotonic() - start, slowest, errors)


def write_runs(seconds: float) -> Written:
    """Whole runs with 60 parameters and ten times 10 metrics, as a short trial logs them."""
    from pipelines.runs import tracker as tracking

    count, slowest, errors = 0, 0.0, Counter[str]()

    def warning(message: str, *arguments: object) -> None:
        """The tracker raises nothing: it tells which store cannot be reached, and why."""
        errors.update(str(reason) for reason in arguments[1:2])

    tracking.open_store("scale")  # as a driver does; afterwards this process is connected
    with tempfile.TemporaryDirectory() as folder, patch.object(tracking.log, "warning", warning):
        _start_together()
        start = time.monotonic()
        while (now := time.monotonic()) < start + seconds:
            failed = errors.total()
            tracker = tracking.Tracker(Path(folder, f"{count + failed}"), "scale", "trial", PARAMS, {"kind": "trial"})
            for images_seen in range(10):
                tracker.log(images_seen, {name: random.random() for name in METRICS})
            tracker.finish()
            count += errors.total() == failed
            slowest = max(slowest, time.monotonic() - now)
    return Written(count, time.monotonic() - start, slowest, errors)


def writing(stores: list[str], clients: list[int], seconds: float, server_workers: int) -> Iterator[list[str]]:
    """A row for each store and number of processes."""
    for store in stores:
        with serving(store, server_workers) as uri:
            for count in clients:
                with writers(uri, count) as at_once:
                    big, small = (at_once(write_rows, seconds, batch) for batch in (1000, 20))
                    runs = at_once(write_runs, seconds)
                errors = sum((part.errors for part in (*big, *small, *runs)), Counter[str]())
                yield [store, f"{count}", f"{_rate(big):,.0f}", f"{_slowest(big):.2f}", f"{_rate(small):,.0f}",
                       f"{_slowest(small):.2f}", f"{60 * _rate(runs):,.0f}", f"{_slowest(runs):.2f}",
                       "; ".join(f"{times} × {message}" for message, times in errors.items()) or "none", _load()]


def _rate(parts: list[Written]) -> float:
    return sum(part.count / part.seconds for part in parts)


def _slowest(parts: list[Written]) -> float:
    return max(part.slowest for part in parts)


STORE_COLUMNS = ["store", "processes", "rows/s, 1,000 a call", "slowest call: s", "rows/s, 20 a call",
                 "slowest call: s", "runs/min", "slowest run: s", "errors", "load"]  # fmt: skip


def fill(database: str, start: int, end: int) -> None:
    """Runs number `start` to `end` of one sweep, written into the database's tables: one parent, 60 parameters and 10
    metrics each. Through MLflow's own interface 10,000 of them would take from ten minutes to an hour."""
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import create_engine, insert, select

    engine = create_engine(database)
    with engine.begin() as connection:
        experiment = connection.execute(select(models.SqlExperiment.experiment_id).filter_by(name="scale")).scalar_one()
        for first in range(start, end, 500):
            runs = {uuid.UUID(int=number).hex: number for number in range(first, min(first + 500, end))}
            connection.execute(insert(models.SqlRun), [
                {"run_uuid": run, "name": f"trial-{number}", "status": "FINISHED", "start_time": number,
                 "end_time": number + 1, "lifecycle_stage": "active", "experiment_id": experiment,
                 "user_id": "", "artifact_uri": "file:///nowhere"} for run, number in runs.items()])  # fmt: skip
            connection.execute(insert(models.SqlTag), [
                {"run_uuid": run, "key": key, "value": value} for run in runs
                for key, value in (("mlflow.parentRunId", "parent"), ("mlflow.runName", "trial"), ("kind", "trial"))])
            connection.execute(insert(models.SqlParam), [
                {"run_uuid": run, "key": key, "value": value} for run in runs for key, value in PARAMS.items()])
            connection.execute(insert(models.SqlLatestMetric), [
                {"run_uuid": run, "key": key, "value": random.random(), "timestamp": 0, "step": 0, "is_nan": False}
                for run in runs for key in METRICS])  # fmt: skip
    engine.dispose()


def search(uri: str) -> dict[str, tuple[float, int]]:
    """Seconds, and runs found, of what the pages and a table at the end of a sweep ask for; medians of 3."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [client.get_experiment_by_name("scale").experiment_id]
    of_the_sweep = "tags.`mlflow.parentRunId` = 'parent'"

    def page(text: str = "", order: str = "attributes.start_time DESC") -> int:
        return len(client.search_runs(experiments, text, order_by=[order], max_results=100))

    def everything() -> int:
        found, token = 0, None
        while found == 0 or token:
            runs = client.search_runs(experiments, of_the_sweep, max_results=1000, page_token=token)
            found, token = found + len(runs), runs.token
        return found

    questions: dict[str, Callable[[], int]] = {
        "100 newest": page,
        "100 best of the sweep": lambda: page(of_the_sweep, "metrics.metric_0 ASC"),
        "100 by a parameter": lambda: page("params.`section.option_3` LIKE '0.4%'"),
        "all of the sweep": everything,
    }
    answers = {}
    for what, ask in questions.items():
        times, found = [], 0
        for _ in range(3):
            start = time.monotonic()
            found = ask()
            times.append(time.monotonic() - start)
        answers[what] = statistics.median(times), found
    return answers


def searching(stores: list[str], runs: list[int], server_workers: int) -> Iterator[list[str]]:
    """A row for each store and number of runs in it; and one when the database has counted what is in its tables."""
    from sqlalchemy import create_engine, text

    for store in stores:
        with serving(store.removeprefix("server+"), server_workers) as database, contextlib.ExitStack() as stack:
            uri = database
            if "server" in store:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                uri = stack.enter_context(_server(database, Path(folder), server_workers))

            def row(what: str, count: int, uri: str = uri) -> list[str]:
                answers = search(uri)
                assert answers["all of the sweep"][1] == count
                return [what, f"{count:,}", *(f"{seconds:.3f}" for seconds, _ in answers.values()), _load()]

            for before, count in zip([0, *runs], runs, strict=False):
                fill(database, before, count)
                yield row(store, count)
            with create_engine(database).begin() as connection:
                connection.execute(text("ANALYZE"))
            yield row(f"{store}, after ANALYZE", runs[-1])


SEARCH_COLUMNS = ["store", "runs", "100 newest: s", "100 best of the sweep: s", "100 by a parameter: s",
                  "all of the sweep: s", "load"]  # fmt: skip


# --- workers: bytes against compute, on paper ------------------------------------------------------------------------


@dataclass(frozen=True)
class Fabric:
    """GPUs in nodes, within which they have NVLink. Bandwidths are one way, of one GPU, in bytes a second; latencies of
    one hop, in seconds."""

    name: str
    node: int
    inside: float
    outside: float
    inside_latency: float = 3e-6
    outside_latency: float = 10e-6


FABRICS = (
    Fabric("nodes of 8, 200 Gb/s a GPU", 8, 240e9, 200e9 / 8),
    Fabric("nodes of 8, 25 Gb/s a node", 8, 240e9, 25e9 / 8 / 8, outside_latency=30e-6),
    Fabric("1 GPU a machine, 25 Gb/s", 1, math.inf, 25e9 / 8, outside_latency=30e-6),
)
SUSTAINED = 452e9 / 12.53e-3  # operations a second: StyleGAN2-256 on one A100, 452 GFLOP and 12.53 ms an image
SMALLEST_PHASE = 1.25e-3  # seconds: below, an eager loop is bound by the launching of its kernels
MEMORY = 1.5e12  # bytes a second of a GPU's memory
COPIES = 6  # times a flat average reads or writes the gradients: into one tensor, divided, and back, two each


def ring(size: float, n: int, bandwidth: float, latency: float) -> float:
    """Seconds of a ring all-reduce of `size` bytes over n: 2(n − 1) hops of size/n each."""
    return 2 * (n - 1) / n * size / bandwidth + 2 * (n - 1) * latency


def all_reduce(size: float, n: int, fabric: Fabric) -> float:
    """Seconds over n GPUs: rings within nodes, and as many rings between nodes as a node has GPUs, each for its part.
    (Half of a ring scatters sums and half of it gathers them, so the inner ring encloses the outer ones.)"""
    inner = min(n, fabric.node)
    if n % inner:
        raise ValueError(f"{n} GPUs do not fill nodes of {fabric.node}")
    within = ring(size, inner, fabric.inside, fabric.inside_latency)
    return within + ring(size / inner, n // inner, fabric.outside, fabric.outside_latency)


class Move(NamedTuple):
    """One phase's gradients (bytes of all of them), its compute in seconds, and how often it is due in a step."""

    size: float
    forward: float
    backward: float
    often: float = 1.0


def after(move: Move, n: int, fabric: Fabric) -> float:
    """Seconds that averaging adds to a phase when it comes after the backward pass, flat, as ganlib does it."""
    return 0.0 if n == 1 else all_reduce(move.size, n, fabric) + COPIES * move.size / MEMORY


def overlapped(move: Move, n: int, fabric: Fabric) -> float:
    """The same, at best, when buckets are averaged during the backward pass, in the number of buckets that suits. The
    last one is ready when the pass ends, and the optimizer waits for it: the next phase needs its step."""
    if n == 1:
        return 0.0
    return min(max(one, buckets * one - move.backward * (buckets - 1) / buckets)
               for buckets in (1, 2, 4, 8, 16, 32) for one in [all_reduce(move.size / buckets, n, fabric)])


def efficiency(moves: Iterable[Move], n: int, fabric: Fabric, added: Callable[[Move, int, Fabric], float]) -> float:
    """The share of a step of n GPUs that is compute: their images a second against n times those of one."""
    moves = list(moves)
    compute = sum(move.often * (move.forward + move.backward) for move in moves)
    return compute / (compute + sum(move.often * added(move, n, fabric) for move in moves))


class Counted(NamedTuple):
    """What one phase of ganlib's loop sends (bytes), and its operations before and in its backward pass."""

    size: int
    forward: float
    backward: float


def counted(networks: dict[str, Any], objective: dict[str, Any], side: int, batch: int = 16) -> list[Counted]:
    """Counted while ganlib's loop trains one batch of RGB images: the tensors it hands to `Workers.average` (gradients
    and scalars), and its products and convolutions, per image."""
    marks: list[float] = [0.0]
    sizes: list[int] = []
    average, backward = Workers.average, torch.Tensor.backward

    def averaging(workers: Workers, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
        return average(workers, tensors)

    images = Table.from_arrays(torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8))
    with Flops() as flops:

        def marked(loss: torch.Tensor) -> None:
            marks.append(flops.total)
            backward(loss)
            marks.append(flops.total)

        with patch.object(Workers, "average", averaging), patch.object(torch.Tensor, "backward", marked):
            train(Run(networks, objective, training=Training(images=batch, batch_size=batch)), images)
    forward, back = ([(b - a) / batch for a, b in zip(marks[i:], marks[i + 1:], strict=False)][::2] for i in (0, 1))
    return [Counted(*parts) for parts in zip(sizes, forward, back, strict=True)]


def moves_of(phases: Iterable[Counted], batch: int) -> list[Move]:
    """The phases at a batch of so many images a GPU, at `SUSTAINED` operations a second."""
    moves = []
    for phase in phases:
        seconds = max(batch * (phase.forward + phase.backward) / SUSTAINED, SMALLEST_PHASE)
        share = phase.backward / (phase.forward + phase.backward)
        moves.append(Move(phase.size, seconds * (1 - share), seconds * share))
    return moves


def stylegan2(batch: int) -> list[Move]:
    """StyleGAN2-256, which ganlib has not got: 29 M parameters of D and 30 M of G, 12.53 ms an image on one A100 with
    both lazy penalties, D's every 16 steps and G's every 4, which are phases of their own. Assumed: the time goes over
    the phases as over steps of equal cost, and two thirds of each are its backward pass."""
    parts = [(29e6, 1.0), (30e6, 1.0), (29e6, 1 / 16), (30e6, 1 / 4)]
    step = batch * 12.53e-3 / sum(often for _, often in parts)
    return [Move(4 * parameters, step / 3, 2 * step / 3, often) for parameters, often in parts]


def enough(moves_at: Callable[[int], list[Move]], n: int, fabric: Fabric, added: Callable[..., float]) -> int | None:
    """The smallest power of two of images a GPU with which n GPUs keep an efficiency of 0.9; None above 65,536."""
    batches = (2**k for k in range(17))
    return next((batch for batch in batches if efficiency(moves_at(batch), n, fabric, added) >= 0.9), None)


def scaling() -> None:
    """Print what the model assumes and gives."""
    _, networks, objective, *_ = CASES["dcgan-64"]
    dcgan = counted(networks, objective, 64)
    print("Counted in ganlib's loop, DCGAN 64², width 64, RGB, minimax:\n")
    table(["phase", "bytes averaged", "GFLOP/image, forward", "backward"],
          ([name, f"{phase.size:,}", f"{phase.forward / 1e9:.2f}", f"{phase.backward / 1e9:.2f}"]
           for name, phase in zip("DG", dcgan, strict=True)))  # fmt: skip
    print(f"Assumed: {SUSTAINED / 1e12:.0f} TFLOP/s sustained, at least {1000 * SMALLEST_PHASE} ms a phase, gradients "
          f"in float32, {MEMORY / 1e12} TB/s of memory; within a node "
          f"{FABRICS[0].inside / 1e9:.0f} GB/s and {1e6 * FABRICS[0].inside_latency:.0f} µs a hop, between nodes "
          f"{' / '.join(f'{1e6 * fabric.outside_latency:.0f}' for fabric in FABRICS)} µs a hop.\n")
    counts = (8, 64, 512)
    networks_of: dict[str, tuple[Callable[[int], list[Move]], tuple[int, ...]]] = {
        "DCGAN 64²": (lambda batch: moves_of(dcgan, batch), (64, 512, 2048)),
        "StyleGAN2-256": (stylegan2, (4, 8, 32)),
    }
    print("Efficiency, averaging after the backward pass / overlapped with it:\n")
    table(["fabric", "network", "batch a GPU", "bytes a step", "compute: ms", *(f"{n} GPUs" for n in counts)],
          ([fabric.name, name, f"{batch}", f"{sum(move.often * move.size for move in moves) / 1e6:.0f} MB",
            f"{1000 * sum(move.often * (move.forward + move.backward) for move in moves):.1f}",
            *(f"{efficiency(moves, n, fabric, after):.2f} / {efficiency(moves, n, fabric, overlapped):.2f}"
              for n in counts)]
           for fabric in FABRICS for name, (moves_at, batches) in networks_of.items() for batch in batches
           for moves in [moves_at(batch)]))  # fmt: skip
    print("What averaging after the backward pass adds to a step, and the smallest batch a GPU (a power of two) that "
          "keeps 0.9, after / overlapped:\n")
    table(["fabric", "network", *(f"{n} GPUs" for n in counts)],
          ([fabric.name, name,
            *(f"{1000 * sum(move.often * after(move, n, fabric) for move in moves_at(1)):.1f} ms; "
              f"{enough(moves_at, n, fabric, after)} / {enough(moves_at, n, fabric, overlapped)}" for n in counts)]
           for fabric in FABRICS for name, (moves_at, _) in networks_of.items()))  # fmt: skip


# --- the command -----------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_sweep = commands.add_parser("sweep", help="Ray Tune with trials that do nothing")
    of_sweep.add_argument("--trials", type=int, nargs="+", default=[100])
    of_sweep.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS, metavar="setting",
                          help=f"of {', '.join(SETTINGS)}")
    of_sweep.add_argument("--cpus", type=int, default=2, help="that Ray is told of")
    of_store = commands.add_parser("store", help="writing to MLflow")
    of_store.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8])
    of_store.add_argument("--seconds", type=float, default=10, help="of each measurement")
    of_search = commands.add_parser("search", help="reading a table of runs")
    of_search.add_argument("--runs", type=int, nargs="+", default=[100, 1000, 10_000], help="from few to many")
    for of_stores in (of_store, of_search):
        of_stores.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
        of_stores.add_argument("--server-workers", type=int, default=1, help="processes of `mlflow server`")
    commands.add_parser("workers", help="a model of data-parallel training")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that servers are stopped
    if arguments.command == "sweep":
        table(SWEEP_COLUMNS, sweeps(arguments.settings, arguments.trials, arguments.cpus))
    elif arguments.command == "store":
        table(STORE_COLUMNS, writing(arguments.stores, arguments.clients, arguments.seconds, arguments.server_workers))
    elif arguments.command == "search":
        table(SEARCH_COLUMNS, searching(arguments.stores, arguments.runs, arguments.server_workers))
    else:
        scaling()


if __name__ == "__main__":
    main()

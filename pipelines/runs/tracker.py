"""The journal of a run, and MLflow, which follows it; `pipelines.tracking` says how."""

import contextlib
import fcntl
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DBAPIError

from ganlib.config import ConfigError
from ganlib.files import read_json, write_json
from pipelines.command import first_line
from pipelines.runs import database, project

JOURNAL, STATE = "journal.jsonl", "mlflow.json"
LAST = 2.0  # seconds in which the end of a run is tried to be sent; else its next command sends it
SEND_EVERY = 5.0  # seconds between two sendings of metrics
RETRY_AFTER = (30.0, 600.0)  # seconds until a store that failed is tried again: at first, and, doubling, at most
BATCH = 1000  # metrics MLflow takes at once
START = {"experiment": "", "run_name": "", "params": {}, "tags": {}}  # what a journal's start says
STATUS = {name: name for name in ("RUNNING", "FINISHED", "FAILED", "KILLED")}  # MLflow's
METRIC_NAME = re.compile(r"[\w\-. :/]{1,250}")  # what MLflow takes

log = logging.getLogger(__name__)
for noisy in ("mlflow.store", "urllib3.connectionpool"):  # pages of what is one warning here
    logging.getLogger(noisy).setLevel(logging.CRITICAL)


def store() -> str:
    """The URI of the tracking store and registry."""
    return os.environ.get("MLFLOW_TRACKING_URI") or database.uri_of(project.directory() / "mlflow.db")


def client(writes: bool = True) -> MlflowClient:
    """What all that speaks to the store begins with. A store of sqlite's is made where it lacks. ConfigError if it
    cannot be used, `writes`: written to; see `database.ready`."""
    if path := database.path_of(store()):
        database.ready(path, writes)
    return MlflowClient(store())


def use_store(writes: bool = True) -> MlflowClient:
    """The same, where MLflow is also used by functions that are no client's."""
    ready = client(writes)
    mlflow.set_tracking_uri(store())
    return ready


def use(uri: str | None) -> None:
    """Take `cluster.tracking_uri` for the store, unless MLFLOW_TRACKING_URI names another."""
    if uri:
        os.environ.setdefault("MLFLOW_TRACKING_URI", uri)


def shown(uri: str) -> str:
    """The URI without the user name and password that it may hold."""
    parts = urlsplit(uri)
    return uri.replace(f"{parts.netloc}", parts.netloc.rpartition("@")[2]) if "@" in parts.netloc else uri


def open_store(name: str) -> str | None:
    """Create the store and the experiment where they lack; gives the experiment's id, None if the store is away."""
    os.environ["MLFLOW_TRACKING_URI"] = store()  # for the workers that this process starts
    try:
        return experiment(client(), name)
    except Exception as error:
        log.warning("%s cannot be reached (%s); the run's journal keeps what is logged", shown(store()), short(error))
        return None


def experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment of this name, which is made if it lacks."""
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    path = database.path_of(store())
    try:
        return client.create_experiment(name, database.artifacts_of(path).as_uri() if path else None)
    except MlflowException:  # made by another process meanwhile; or deleted, and MLflow says how to restore it
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        raise


class Tracker:
    """Logs one run. Opening one on the directory of an earlier run goes on with that run.

    params (nested ones are flattened with dots) and tags are those of the first time. MLflow compares runs by the
    metric that came first: where that is to be `first`, metrics are held back until it comes, or `release` is called.
    """

    def __init__(self, directory: Path, experiment: str, run_name: str, params: dict[str, Any], tags: dict[str, Any],
                 first: str | None = None) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        drop_torn_line(self.directory / JOURNAL)
        records = list(_records(self.directory))
        self._seen = {(name, record["images_seen"]) for record in records for name in record.get("metrics", ())}
        self._first = None if first in {name for name, _ in self._seen} else first
        self._held: list[tuple[int, dict[str, float]]] = []
        self._wait, self._next = 0.0, 0.0  # the pause after a failure, and the time before which nothing is sent
        if unreadable := sum(record.keys() == {"end"} for record in records):
            log.warning("%s: %d of %d lines cannot be read and are left out", self.directory / JOURNAL, unreadable,
                        len(records))
        if not any("start" in record for record in records):
            self._append({"start": {"id": uuid.uuid4().hex, "experiment": experiment, "run_name": run_name,
                                    "params": flatten(params),
                                    "tags": {name: str(value) for name, value in tags.items()}}})
        if ended(self.directory):
            self._append({"status": "RUNNING"})
        self._send()

    def log(self, images_seen: int, metrics: dict[str, float]) -> None:
        """Metrics at a time, measured in images seen. Those that were logged for that time before are left out."""
        for name in metrics:
            if not METRIC_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a metric: letters, digits and _-.:/ or space are allowed")
        if self._first is not None and self._first not in metrics:
            self._held.append((images_seen, metrics))
            return
        self._log(images_seen, metrics)
        self.release()

    def release(self) -> None:
        """Log what was held back, also where the first metric will not come any more."""
        held, self._held, self._first = self._held, [], None
        for images_seen, metrics in held:
            self._log(images_seen, metrics)

    def _log(self, images_seen: int, metrics: dict[str, float]) -> None:
        fresh = {name: float(value) for name, value in metrics.items() if (name, images_seen) not in self._seen}
        if fresh:
            self._seen.update((name, images_seen) for name in fresh)
            self._append({"images_seen": images_seen, "metrics": fresh})
        self._send()

    def artifact(self, path: str | Path, folder: str = "") -> None:
        """A file, by its path relative to the run's directory, into a folder of the run's artifacts."""
        self._append({"artifact": Path(path).as_posix(), "folder": folder})
        self._send()

    def tag(self, name: str, value: str) -> None:
        """Set a tag of the run."""
        self._append({"tags": {name: value}})
        self._send()

    def finish(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED."""
        self.release()
        self._append({"status": status})
        end = time.monotonic() + LAST
        while not self.flush() and time.monotonic() < end:  # others write to it as well, or send the same journal
            time.sleep(0.2)

    def flush(self) -> bool:
        """Send what was not sent yet, now. False if the store is away, or another process is sending the journal."""
        self._next = 0.0
        self._send()
        return _state(self.directory)["sent"] == (self.directory / JOURNAL).stat().st_size

    def _append(self, record: dict[str, Any]) -> None:
        with (self.directory / JOURNAL).open("a") as file:
            file.write(json.dumps({"time": int(time.time() * 1000), **record}) + "\n")

    def _send(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        try:
            send(self.directory)
        except Exception as error:  # whatever a store's client raises: training goes on
            if not self._wait:
                log.warning("%s cannot be reached (%s). Training goes on; what is logged is kept in %s and sent later, "
                            "or by: python -m pipelines.tracking %s", shown(store()), short(error),
                            self.directory / JOURNAL, self.directory)
            self._wait = min(max(2 * self._wait, RETRY_AFTER[0]), RETRY_AFTER[1])
            self._next = time.monotonic() + self._wait
        else:
            if self._wait:
                log.warning("%s is reached again: all that was logged is there now", shown(store()))
            self._wait, self._next = 0.0, now + SEND_EVERY


def send(directory: Path, wait: bool = False) -> str | None:
    """Send what the store lacks of a journal; gives the id of the MLflow run. Raises what MLflow's client raises, and
    ConfigError for a store or a journal that cannot be used.

    While another process is sending the same journal: None, and nothing is sent; or `wait` until it has.
    """
    with _alone(directory, wait) as alone:
        if not alone:
            return None
        to, state = client(), _state(directory)
        if not _exists(to, state["run_id"]):
            state = {"run_id": _create_run(to, directory), "sent": 0}
            _write_state(directory, state)
        if state["sent"] > (Path(directory) / JOURNAL).stat().st_size:  # of a journal that was lost
            state["sent"] = 0
        pending = list(_records(directory, state["sent"]))
        metrics: list[Metric] = []
        for record in pending:
            metrics += [Metric(name, value, record["time"], record["images_seen"])
                        for name, value in record.get("metrics", {}).items()]
            if len(metrics) >= BATCH or "metrics" not in record:
                _log_metrics(to, state["run_id"], metrics)
                metrics = []
                _send_other(to, state["run_id"], directory, record)
                state["sent"] = record["end"]
                _write_state(directory, state)
        if metrics:
            _log_metrics(to, state["run_id"], metrics)
            state["sent"] = pending[-1]["end"]
            _write_state(directory, state)
        return state["run_id"]


def run_id(directory: Path) -> str | None:
    """The run's id in the present store, if it was sent there."""
    return _state(directory)["run_id"]


def history(directory: Path) -> list[dict[str, float]]:
    """The logged metrics by time: one {"images_seen": …, name: value, …} for each, in order."""
    rows: dict[int, dict[str, float]] = {}
    for record in _records(directory):
        if "metrics" in record:
            row = rows.setdefault(record["images_seen"], {"images_seen": record["images_seen"]})
            row.update(record["metrics"])
    return [rows[images_seen] for images_seen in sorted(rows)]


def ended(directory: Path) -> str | None:
    """How the run ended by its journal: FINISHED, FAILED or KILLED. None if it has not, or goes on again."""
    status = [record["status"] for record in _records(directory) if "status" in record][-1:]
    return status[0] if status and status != ["RUNNING"] else None


def last(directory: Path) -> tuple[int, dict[str, float]] | None:
    """The images seen and the metrics that were logged last. Cheap: reads the end of the journal only."""
    path = Path(directory) / JOURNAL
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        lines = file.read().split(b"\n")[:-1]  # what follows the last newline is being written
    for line in reversed(lines):
        if "metrics" in (record := _read(line)):  # the first one may be cut
            return record["images_seen"], record["metrics"]
    return None


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} → {"a.b": "1"}"""
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _exists(client: MlflowClient, run: str | None) -> bool:
    """Whether the store has the run; someone may have deleted it, or the whole store."""
    try:
        return run is not None and client.get_run(run).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _create_run(client: MlflowClient, directory: Path) -> str:
    record = next((record for record in _records(directory) if "start" in record), None)
    if record is None:
        raise ConfigError(f"{directory / JOURNAL}: how the run began cannot be read; the command that runs it again "
                          "writes it anew")
    start = record["start"]
    of, tags = experiment(client, start["experiment"]), dict(start["tags"])
    if name := start.get("id"):  # journals of older revisions have none
        tags["journal"] = name
        if found := client.search_runs([of], f"tags.journal = '{name}'"):
            return found[0].info.run_id
    return client.create_run(of, record["time"], tags, start["run_name"]).info.run_id


def _log_metrics(client: MlflowClient, run: str, metrics: list[Metric]) -> None:
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[start:start + BATCH])


def _send_other(client: MlflowClient, run: str, directory: Path, record: dict[str, Any]) -> None:
    if "start" in record:
        params = [Param(name, value[:6000]) for name, value in record["start"]["params"].items()]
        for first in range(0, len(params), 100):  # MLflow's limits for a value and for a batch
            client.log_batch(run, params=params[first:first + 100])
    elif "artifact" in record:
        path = Path(directory) / record["artifact"]
        if path.exists():
            client.log_artifact(run, str(path), record["folder"] or None)
        else:  # must not hold up what comes after it
            client.log_batch(run, tags=[RunTag("missing_artifact", record["artifact"])])
            log.warning("%s was logged but is not there any more; it is left out", path)
    elif "tags" in record:
        client.log_batch(run, tags=[RunTag(name, value[:5000]) for name, value in record["tags"].items()])
    elif record.get("status") == "RUNNING":
        client.update_run(run, status="RUNNING")
    elif "status" in record:
        client.set_terminated(run, record["status"], record["time"])


def _records(directory: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """The journal's records from byte `start` on, each with the byte at which it ends as "end"; of a line that cannot
    be read there is nothing but that."""
    path = Path(directory) / JOURNAL
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        end = start
        for line in file:
            if not line.endswith(b"\n"):
                return  # being written, or torn by a kill
            end += len(line)
            yield {**_read(line), "end": end}


def _read(line: bytes) -> dict[str, Any]:
    """A line of a journal; {} if a lost disk or an editor left none of our records there."""
    try:
        record = json.loads(line)
        start, metrics = record.get("start", START), record.get("metrics", {})
        kinds = [(record["time"], int), (start["experiment"], str), (start["run_name"], str), (start["params"], dict),
                 (start["tags"], dict), (record.get("tags", {}), dict), (record.get("artifact", ""), str),
                 (record.get("folder", ""), str), (STATUS[record.get("status", "RUNNING")], str),
                 (record["images_seen"] if metrics else 0, int), *((value, int | float) for value in metrics.values()),
                 *((value, str) for texts in (start["params"], start["tags"], record.get("tags", {}))
                   for value in texts.values())]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return {}
    times = (record["time"], record.get("images_seen", 0))
    known = all(isinstance(value, kind) for value, kind in kinds) and all(0 <= time < 2**53 for time in times)
    return record if known else {}


def drop_torn_line(path: Path) -> None:
    """Cut off the half line that a killed process may have left, or the next record would be glued to it."""
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)


def _states(directory: Path) -> dict[str, Any]:
    try:
        return read_json(Path(directory) / STATE, "")
    except ConfigError:  # none, or lost: then the store knows the run
        return {}


def _state(directory: Path) -> dict[str, Any]:
    """The run's id in the present store, and how many bytes of the journal were sent there."""
    state: Any = _states(directory).get(shown(store()))
    known = isinstance(state, dict) and isinstance(state.get("run_id"), str) and isinstance(state.get("sent"), int)
    return dict(state) if known else {"run_id": None, "sent": 0}


def _write_state(directory: Path, state: dict[str, Any]) -> None:
    write_json(Path(directory) / STATE, _states(directory) | {shown(store()): state})


@contextlib.contextmanager
def _alone(directory: Path, wait: bool = False) -> Iterator[bool]:
    """Whether this process is the only one that sends this journal, held until the end of the block; or `wait`."""
    with (Path(directory) / "mlflow.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def short(error: BaseException) -> str:
    """The first line of an error; of a database's, what that itself said and not what was tried with it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError):
        cause = cause.__cause__
    return first_line(error if cause is None or cause.orig is None else cause.orig)

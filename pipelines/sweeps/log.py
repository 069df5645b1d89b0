"""What the driver of a sweep writes down while trials run: its own run in MLflow, the ends of theirs, a bar."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune

from pipelines.runs import tracker as tracking
from pipelines.runs.bar import images_bar
from pipelines.runs.params import Sweep
from pipelines.runs.storage import Mirror
from pipelines.sweeps.ranking import COMPLETE, FAILED, STOPPED
from pipelines.sweeps.trial import name_of_trial

REPORTS = "reports.jsonl"  # in the sweep's directory: what every trial reported, in order of time
PATIENCE = 1.0  # seconds for a trial's process to let go of its journal when all is being stopped


class Log:
    """The sweep's run in MLflow is `tracker`; `track` is what `tracking.Tracker` takes for each of the trials."""

    def __init__(self, directory: Path, sweep: Sweep, tracker: tracking.Tracker, track: dict[str, Any],
                 storage: str | None) -> None:
        self.directory, self.sweep, self.tracker, self.track = directory, sweep, tracker, track
        self.storage, self.mirror = storage, of_driver(directory, storage)
        self.running: set[str] = set()
        self.seen: dict[str, int] = {}  # trial → images seen
        self.best = float("inf")
        self.searching = True
        self.reported: set[tuple[str, int]] = set()
        tracking.drop_torn_line(directory / REPORTS)
        for report in reports(directory):
            self._take(report)

    @contextmanager
    def bar(self, trials: int) -> Iterator[None]:
        """A bar over the images of all trials, with images/s and time left."""
        self._trials, self._ended = trials, 0
        done = sum(self.seen.values()) if self.searching else 0
        self._bar = images_bar(trials * self.sweep.images, "sweep" if self.searching else "confirm", done)
        try:
            yield
        finally:
            self._bar.close()

    def reports(self, name: str, result: dict[str, Any]) -> None:
        """A trial tells of itself."""
        report = {key: result[key] for key in ("name", "images_seen", "distance", "came_from")}
        told = (name, result["images_seen"]) in self.reported and not result["came_from"]
        if not result["images_seen"] or told:
            return
        if not self.searching:  # no part of the search: of the bar alone
            self._bar.update(result["images_seen"] - self.seen.get(name, 0))
            self.seen[name] = result["images_seen"]
            return
        with (self.directory / REPORTS).open("a") as file:
            file.write(json.dumps(report) + "\n")
        before, best = sum(self.seen.values()), self.best
        self._take(report)
        total = sum(self.seen.values())
        if self.best < best:
            self.tracker.log(total, {"best_distance": self.best})
        self._bar.update(total - before)
        self._show()

    def confirming(self, anew: Sweep) -> None:
        """From here on trials are of `anew`: they confirm what the search has found."""
        self.sweep, self.searching = anew, False

    def ends(self, name: str, result: dict[str, Any], error: str = "") -> None:
        """A trial has ended; its run in MLflow is told why."""
        self.running.discard(name)
        self._ended += 1
        self._bar.total -= max(0, self.sweep.images - self.seen.get(name, 0))
        self._show()
        self.patience = time.monotonic() + PATIENCE
        reason = error or result.get("failed", "")
        state = FAILED if reason else COMPLETE if result.get("images_seen", 0) >= self.sweep.images else STOPPED
        self._close(name, "FAILED" if reason else "FINISHED", f"{state}: {reason}" if reason else state)
        self.mirror.push()

    def killed(self) -> None:
        """All is being stopped: no run is left that seems to go on."""
        self.tracker.finish("KILLED")
        self.patience = time.monotonic() + PATIENCE
        for name in sorted(self.running):
            self._close(name, "KILLED", "killed with the sweep")
        self.mirror.push()

    def _close(self, name: str, status: str, end: str) -> None:
        directory = self.directory / "trials" / name
        mirror = self.fetch(name)
        if not (directory / tracking.JOURNAL).exists():
            return
        tracker = tracking.Tracker(directory, **self.track, run_name=name, params={})
        tracker.tag("end", end)
        tracker.finish(status)
        while not tracker.flush() and time.monotonic() < self.patience:  # the trial's own process is sending
            time.sleep(0.05)
        mirror.push()

    def fetch(self, name: str) -> Mirror:
        """The files of a trial, but for its checkpoints, from the storage."""
        mirror = Mirror(self.directory / "trials" / name, f"{self.storage}/trials/{name}" if self.storage else None,
                        lambda file: not file.startswith("checkpoints/"))
        mirror.pull()
        return mirror

    def _take(self, report: dict[str, Any]) -> None:
        self.reported.add((report["name"], report["images_seen"]))
        self.seen[report["name"]] = max(report["images_seen"], self.seen.get(report["name"], 0))
        if report["distance"] is not None and report["images_seen"] >= self.sweep.images:  # as the table has it
            self.best = min(self.best, report["distance"])

    def _show(self) -> None:
        best = f"{self.best:.4g}" if math.isfinite(self.best) else "–"
        self._bar.set_postfix({"ended": f"{self._ended}/{self._trials}", "best": best}, refresh=False)


def of_driver(directory: Path, storage: str | None) -> Mirror:
    """The files of a sweep that its driver writes: those that lie in no folder."""
    return Mirror(directory, storage, lambda name: "/" not in name)


def reports(directory: Path) -> list[dict[str, Any]]:
    """What the trials of a sweep reported: {name, images_seen, distance, came_from}, in order of time. What
    cannot be read of it is left out."""
    path = directory / REPORTS
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # what follows the last newline is torn
    return [report for line in lines if (report := _read(line))]


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        report = json.loads(line)
        sound = (isinstance(report["name"], str) and isinstance(report["images_seen"], int) and "came_from" in report
                 and isinstance(report["distance"], int | float | None))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return report if sound else None


_logs: dict[str, Log] = {}  # Tune pickles its callbacks and, restored, calls the copies


class Told(tune.Callback):
    """Tune's callback: passes on what happens to the log of a directory."""

    def __init__(self, log: Log) -> None:
        self.directory = str(log.directory)
        _logs[self.directory] = log

    @property
    def log(self) -> Log:
        return _logs[self.directory]

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.log.running.add(self._name(trial))

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any],
                        **info: Any) -> None:
        self.log.reports(self._name(trial), result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.log.ends(self._name(trial), trial.last_result or {})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.log.ends(self._name(trial), trial.last_result or {}, last_line(trial.get_error()))

    def _name(self, trial: Any) -> str:
        return name_of_trial(trial.trial_id, trial.config, self.log.sweep)


def last_line(error: BaseException | None) -> str:
    """What a remote traceback ends in."""
    lines = [line for line in str(error or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it died without a word"

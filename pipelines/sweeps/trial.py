"""One trial of a sweep, as Ray Tune runs it: with one worker the loop as a plain function, with more through Ray Train.

A trial's files lie in trials/<hash of its values and seed>/ of the sweep's directory. Whatever starts the same trial
again, Tune after a lost worker or a restored sweep, goes on from the checkpoint there, or tells the outcome it had.
"""

import dataclasses
import fcntl
import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.search.repeater import TRIAL_INDEX

from ganlib.config import ConfigError
from ganlib.files import read_json, write_json
from ganlib.training import state
from pipelines.runs import tracker as tracking
from pipelines.runs.fit import fit
from pipelines.runs.params import Cluster, Params, Sweep, parse_params
from pipelines.runs.storage import Mirror
from pipelines.runs.worker import CACHE, FAILURE, monitored, placed, run
from pipelines.sweeps.space import Space, Values

START = "start"  # in Tune's configuration: the values, where no searcher has put them there one by one
OUTCOME = "outcome.json"  # in a trial's directory: its last report
ORIGIN = "trial.json"  # in a checkpoint that is handed to other trials: whose it is


def name_of(values: Values) -> str:
    """The name of the directory of a trial with these values, the seed among them."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def name_of_trial(trial_id: str, config: dict[str, Any], sweep: Sweep) -> str:
    """The same for Tune's trial: where checkpoints and values are handed on, a trial is known by its id alone."""
    return trial_id if sweep.scheduler == "pbt" else name_of(values_of(config, sweep.seeds))


def title(values: Values) -> str:
    """What people read: wgan_gp n_critic=5 lambda=3.2 seed=0."""
    def short(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    return " ".join(short(value) if name in ("objective", "networks") else f"{name}={short(value)}"
                    for name, value in values.items())


def params_of(space: Space, values: Values, training: dict[str, Any], cluster: Cluster) -> Params:
    """The parameters of a trial: `training` replaces some of what the composition has, `cluster` all. ConfigError for
    values that cannot be trained."""
    raw = space.raw(values)
    raw["seed"] = values.get("seed", raw["seed"])
    raw["training"] |= training
    raw["cluster"] = dataclasses.asdict(cluster)
    return parse_params(raw)


def trial(config: dict[str, Any], job: dict[str, Any]) -> None:
    """Train with the values of `config`. `job`: the `space` and the `sweep`, the sections `training` and `cluster` as
    `params_of` takes them, the `directory` of the sweep, and what all trials share of `worker.run`'s job."""
    Trial(config, job).go()


class Trial:
    """Reports {images_seen, distance, seconds, name, title, protocol, failed, came_from}. A trial that cannot go on
    ends with its reason in `failed` and an infinite distance: an exception Tune would try again."""

    def __init__(self, config: dict[str, Any], job: dict[str, Any]) -> None:
        sweep = job["sweep"]
        self.job, self.values, self.id = job, values_of(config, sweep.seeds), tune.get_context().get_trial_id()
        self.hands_on = sweep.scheduler == "pbt"
        self.name = name_of_trial(self.id, config, sweep)
        self.storage = f"{job['storage']}/trials/{self.name}" if job["storage"] else None
        self.start = time.monotonic()
        self.last: dict[str, Any] = {"images_seen": 0, "distance": math.inf, "seconds": 0.0, "name": self.name,
                                     "title": title(self.values), "protocol": "{}", "failed": "", "came_from": ""}

    def go(self) -> None:
        """From where it stands to its end."""
        at_home = Path(self.job["directory"]) / "trials" / self.name
        with placed(at_home, self.storage) as (self.directory, self.push), alone(self.directory):
            if not self.hands_on and (outcome := outcome_of(self.directory)):
                tune.report(outcome)
                return
            if self.hands_on:
                self.take_over()
            tune.report(self.last)  # so that it is known by name, whatever comes
            try:
                self.train()
            except ConfigError as error:  # values that do not go together
                self.last["failed"] = str(error)
            if (failure := self.directory / FAILURE).exists():
                self.last["failed"] = failure.read_text()
            if self.last["failed"]:
                self.last["distance"] = math.inf
            write_json(self.directory / OUTCOME, self.last)
            self.push()
            if self.last["failed"]:
                tune.report(self.last)

    def train(self) -> None:
        params = params_of(self.job["space"], self.values, self.job["training"], self.job["cluster"])
        job = {
            **{key: self.job[key] for key in ("table", "git", "store", "looks")}, "stop_collapsed": True,
            "params": params.raw, "directory": str(self.directory), "cache": str(self.cache()),
            "tracking": {**self.job["tracking"], "run_name": self.last["title"],
                         "params": {**self.values, "images": params.run.training.images}},
        }  # fmt: skip
        if params.cluster.workers == 1:
            device = torch.device("cuda" if params.cluster.gpus_per_worker else "cpu")
            run(job, 0, device, self.report)
        else:  # the workers, wherever they are, have the storage
            self.drive({**job, "storage": self.storage, "reports": self.last}, params)
            Mirror(self.directory, self.storage).pull()
        self.catch_up()

    def catch_up(self) -> None:
        """Report the last distance of the journal, if this attempt has not: an earlier one came as far."""
        name = monitored(self.directory).get("protocol", {}).get("distance")
        measured = [(int(row["images_seen"]), row[name]) for row in tracking.history(self.directory) if name in row]
        if measured and measured[-1][0] > self.last["images_seen"]:
            self.report(*measured[-1])

    def cache(self) -> Path:
        """The statistics of the real images that the driver made for all trials."""
        if self.storage is None:
            return Path(self.job["directory"]) / CACHE
        Mirror(self.directory, self.job["storage"], CACHE.__eq__).pull()
        return self.directory / CACHE

    def report(self, images_seen: int, distance: float | None) -> None:
        """To Tune, which may end the trial here."""
        self.push()
        if distance is None:
            return
        protocol = json.dumps(monitored(self.directory)["protocol"])
        self.last |= {"images_seen": images_seen, "distance": distance, "protocol": protocol,
                      "seconds": round(time.monotonic() - self.start, 2)}
        checkpoint = None
        if self.hands_on:
            write_json(self.directory / "checkpoints" / ORIGIN, {"trial": self.id})
            checkpoint = tune.Checkpoint.from_directory(self.directory / "checkpoints")
        tune.report(self.last, checkpoint=checkpoint)

    def take_over(self) -> None:
        """Put the checkpoint that Tune hands over, this trial's own or a better one's, in place of what is there."""
        given = tune.get_checkpoint()
        if given is None:
            return
        checkpoints = self.directory / "checkpoints"
        with given.as_directory() as source:
            origin = read_json(Path(source) / ORIGIN, "begin the sweep anew").get("trial")
            shutil.rmtree(checkpoints, ignore_errors=True)
            shutil.copytree(source, checkpoints)
        state.release(checkpoints)  # whose values may be others from here on
        self.last["came_from"] = origin if origin != self.id else ""

    def drive(self, job: dict[str, Any], params: Params) -> None:
        """The same on several workers. Their reports reach Tune by way of a callback."""
        fit(job, params.cluster, self.id, [TuneReportCallback()])


def outcome_of(directory: Path) -> dict[str, Any] | None:
    """The last report of a trial that has ended. None if it has not, or if that cannot be read: then it goes on from
    its last checkpoint, and comes to the same."""
    try:
        found = read_json(directory / OUTCOME, "")
    except ConfigError:
        return None
    return found if found.keys() >= {"images_seen", "distance", "name", "protocol", "failed", "came_from"} else None


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Waits until the process of an earlier attempt at a trial is gone, or of an equal trial."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def values_of(config: dict[str, Any], seeds: tuple[int, ...]) -> Values:
    """The values in Tune's configuration, in which the seed is named by its place among all seeds."""
    values = {name: value for name, value in config.get(START, config).items() if name != TRIAL_INDEX}
    return values | {"seed": seeds[config.get(TRIAL_INDEX, 0)]}

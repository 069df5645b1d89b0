"""The search itself: Ray Tune over the trials, with Optuna's samplers, early stopping, and restoring after a crash."""

import dataclasses
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import Repeater
from ray.tune.search.optuna import OptunaSearch

from ganlib.config import require
from pipelines.runs.cluster import fitting
from pipelines.runs.params import Cluster, Sweep
from pipelines.runs.storage import filesystem
from pipelines.sweeps.log import Log, Told, last_line
from pipelines.sweeps.ranking import COMPLETE, FAILED, STOPPED, Outcome
from pipelines.sweeps.space import Space, Values
from pipelines.sweeps.trial import START, name_of, trial, values_of

optuna.logging.set_verbosity(optuna.logging.WARNING)
STATE = "tune"  # in the sweep's directory: what Tune restores itself from


class Seeds(Repeater):
    """Each suggestion once for each seed; to the searcher they are one, with their mean. (Ray's forgets which belong
    together when it is restored.)"""

    def save(self, checkpoint_path: str) -> None:
        with open(checkpoint_path, "wb") as file:
            pickle.dump(self.__dict__, file)

    def restore(self, checkpoint_path: str) -> None:
        with open(checkpoint_path, "rb") as file:  # of this sweep's own directory
            self.__dict__.update(pickle.load(file))


class Draw:
    """Optuna's trial → values; an object and no closure, since searchers are pickled."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def __call__(self, trial: Any) -> None:
        self.space.draw(trial)


def listed(space: Space, sweep: Sweep) -> list[Values]:
    """The configurations of a random or grid search, each once; none for a search that goes by what came before."""
    if sweep.search == "grid":
        grid = space.grid()
        require(sweep.trials is None or sweep.trials >= len(grid), f"sweep.trials: the grid has {len(grid)} "
                f"configurations, and {sweep.trials} are allowed; write sweep.trials=null for all of them")
        return grid
    if sweep.search == "optuna":
        return []
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=sweep.seed))
    found: list[Values] = []
    for _ in range(20 * (sweep.trials or 0)):  # a small space may have no more that are new
        values = space.draw(study.ask())
        if values not in found:
            found.append(values)
        if len(found) == sweep.trials:
            break
    return found


def search(space: Space, sweep: Sweep, cluster: Cluster, job: dict[str, Any], log: Log) -> list[Outcome]:
    """Run the trials, or go on with those of an earlier call that was interrupted; gives how they ended."""
    configurations = listed(space, sweep)
    outcomes = _tuned(space, sweep, cluster, job, log, STATE, configurations)
    for again in range(1, 3):  # what Tune saves in a moment of trouble may not name every trial that it had begun
        there = {outcome.name for outcome in outcomes}
        lost = [values for values in configurations if sweep.scheduler != "pbt"
                and not there.issuperset(name_of(values | {"seed": seed}) for seed in sweep.seeds)]
        if not lost:
            break
        outcomes += _tuned(space, sweep, cluster, job, log, f"{STATE}-{again}", lost)
    return outcomes


def confirm(space: Space, sweep: Sweep, cluster: Cluster, job: dict[str, Any], log: Log, values: Values,
            seeds: tuple[int, ...]) -> list[Outcome]:
    """Train one configuration again, with seeds that the search did not have; gives how these trials ended."""
    anew = dataclasses.replace(sweep, seeds=seeds, trials=1, search="random", scheduler="none")
    log.confirming(anew)
    return _tuned(space, anew, cluster, job | {"sweep": anew, "looks": []}, log, f"{STATE}-{name_of(values)}", [values])


def _tuned(space: Space, sweep: Sweep, cluster: Cluster, job: dict[str, Any], log: Log, state: str,
           configurations: list[Values]) -> list[Outcome]:
    """One run of Ray Tune, restored if `state` is there."""
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_DISABLE_SIGINT_HANDLER": "1"}
    if sweep.workers == 1:
        needs = {"CPU": float(cluster.cpus_per_worker), "GPU": cluster.gpus_per_worker}
    else:  # the workers take what they need; a driver that held a core could keep theirs from them
        needs = {"CPU": 0.0, "memory": 2.0**20}
    handed_on = sweep.scheduler == "pbt"
    trainable = tune.with_resources(tune.with_parameters(trial, job=job), needs)
    told = Told(log)
    # A population is trained all at once, taking turns where there is no room for that.
    room = None if handed_on else max(1, fitting(cluster) // sweep.workers)
    trials = (len(configurations) or sweep.trials or 0) * len(sweep.seeds)
    files, path = filesystem(job["storage"] or job["directory"])
    if tune.Tuner.can_restore(f"{path}/{state}", storage_filesystem=files):
        tuner = tune.Tuner.restore(f"{path}/{state}", trainable, resume_unfinished=True, restart_errored=True,
                                   storage_filesystem=files)
    else:
        tuner = tune.Tuner(
            trainable,
            # Population-based training goes with no searcher; what it changes are values of these.
            param_space={START: tune.grid_search(configurations)} if handed_on else None,
            tune_config=tune.TuneConfig(
                num_samples=1 if handed_on else trials,
                search_alg=None if handed_on else Seeds(_searcher(space, sweep, configurations), len(sweep.seeds)),
                scheduler=_scheduler(space, sweep),
                max_concurrent_trials=sweep.concurrent or room,
                reuse_actors=sweep.workers == 1 and not handed_on,
            ),
            run_config=tune.RunConfig(
                name=state, storage_path=path, storage_filesystem=files, verbose=0, callbacks=[told],
                failure_config=tune.FailureConfig(max_failures=cluster.max_failures),
            ),
        )
    with log.bar(trials):
        results = tuner.fit()
    return [_outcome(results[number], sweep) for number in range(len(results))]


def _searcher(space: Space, sweep: Sweep, configurations: list[Values]) -> OptunaSearch:
    sampler = optuna.samplers.TPESampler(seed=sweep.seed, n_startup_trials=min(10, max(1, (sweep.trials or 0) // 3)))
    return OptunaSearch(Draw(space), metric="distance", mode="min", sampler=sampler,
                        points_to_evaluate=configurations or None)


def _scheduler(space: Space, sweep: Sweep) -> TrialScheduler:
    interval = max(1, sweep.images // sweep.reports)
    if sweep.scheduler == "asha":  # with no rung at the end of a trial, where it has its generator still to write
        return ASHAScheduler("images_seen", "distance", "min", grace_period=interval, max_t=sweep.images - interval,
                             reduction_factor=sweep.reduction, stop_last_trials=False)
    if sweep.scheduler == "pbt":
        return PopulationBasedTraining(
            "images_seen", "distance", "min", perturbation_interval=max(1, interval * 9 // 10),  # reports are not exact
            hyperparam_mutations={START: {name: tune.loguniform(*space.parameters[name].range)
                                          for name in learning_rates(space)}},
            custom_explore_fn=Within(space), quantile_fraction=0.25, synch=False,
        )  # fmt: skip
    return FIFOScheduler()


class Within:
    """What population-based training multiplies stays in its range."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def __call__(self, config: Values) -> Values:
        values = config[START]
        for name in learning_rates(self.space):
            if name in values:
                low, high = self.space.parameters[name].range
                values[name] = min(max(values[name], low), high)
        return config


def learning_rates(space: Space) -> list[str]:
    """The continuous parameters that set nothing but learning rates, which the loop reads anew at each step."""
    return [name for name, parameter in space.parameters.items()
            if parameter.continuous and all(key.endswith(".lr") for key in parameter.key)]


def _outcome(result: Any, sweep: Sweep) -> Outcome:
    metrics = result.metrics or {}
    if result.error or metrics.get("failed"):
        state, reason = FAILED, metrics.get("failed") or last_line(result.error)
    else:
        state, reason = COMPLETE if metrics["images_seen"] >= sweep.images else STOPPED, ""
    if "name" not in metrics:  # it never came to a report
        return Outcome(name := Path(result.path).name, {"trial": name}, math.inf, 0, 0.0, state, reason)
    return Outcome(metrics["name"], values_of(metrics["config"], sweep.seeds), metrics["distance"],
                   metrics["images_seen"], metrics["seconds"], state, reason, metrics["protocol"], metrics["came_from"])


def looks(sweep: Sweep) -> Iterator[int]:
    """At which of its reports a trial's distance is measured, from 1; the last one comes by itself."""
    number = 1
    while number < sweep.reports:
        yield number
        number = number + 1 if sweep.scheduler == "pbt" else number * sweep.reduction

"""Stage sweep: many configurations on Ray's workers, each a run in MLflow; the best one trained in full and registered.

    python -m pipelines.sweep sweep=losses sweep.trials=8     # choices as for pipelines.compose; without: params.yaml
    python -m pipelines.sweep sweep=losses sweep.trials=8 --resume
    ray job submit --address http://127.0.0.1:8265 -- python -m pipelines.sweep sweep=losses sweep.trials=8

The sweep's durable files lie in runs/sweeps/<name>/, where the name holds a hash of all that its result depends on. It
can be killed at any time: `--resume` goes on with it; finished trials stay finished, running ones continue from their
checkpoints. The same table then comes out as from an undisturbed sweep, unless trials are stopped early (asha) or take
over from others (pbt): that depends on which of them comes first.

    sweep/table.csv     configurations, best first       sweep/*.png      what is to be seen of them
    sweep/metrics.json  the best, trained again with new seeds, for `dvc exp show`
    sweep/model, sweep/evaluation, sweep/report          of the winner, trained for `training.images`

Configurations are ranked by their distance to the validation split. The smallest of many is small by luck as well; what
is said first of the winner is therefore what it reaches when it is trained again, with seeds that the search did not
have. In population-based training there is no configuration to train again, since learning rates change on the way:
the best of the population is evaluated and registered as it is.
"""

import argparse
import dataclasses
import functools
import json
import math
import shlex
import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ray.tune import TuneError

from ganlib import build
from ganlib.config import ConfigError, require
from ganlib.datasets.manifest import condition_of
from ganlib.datasets.table import read_manifest
from ganlib.files import require_writable, write_json
from ganlib.metrics.protocol import require_enough
from ganlib.sampling import generator as generators
from pipelines.command import command, shortage
from pipelines.evaluation.generator import evaluate, measured_again
from pipelines.evaluation.human_test import human_test
from pipelines.evaluation.measure import use_cores
from pipelines.evaluation.reference import reference
from pipelines.evaluation.registry import register
from pipelines.evaluation.report import report
from pipelines.evaluation.results import show as show_numbers
from pipelines.runs import project
from pipelines.runs import tracker as tracking
from pipelines.runs.cluster import connected, require_room
from pipelines.runs.composition import composer, composition, conf
from pipelines.runs.params import PARAMS, RUN, Params, load, parse_params
from pipelines.runs.project import RUNS, SWEEP, TABLE
from pipelines.runs.revision import git_revision
from pipelines.runs.storage import check
from pipelines.runs.table import prepare
from pipelines.runs.training import digest, export, only_one, train
from pipelines.runs.worker import CACHE, Look, make_look
from pipelines.sweeps import pictures
from pipelines.sweeps.log import REPORTS, Log, last_line, of_driver, reports
from pipelines.sweeps.ranking import COMPLETE, FAILED, STOPPED, Outcome, Row, Scale, rank, show, write_csv
from pipelines.sweeps.search import confirm, learning_rates, listed, looks, search
from pipelines.sweeps.space import Space
from pipelines.sweeps.trial import params_of, title

SAID = ("distance", "standard_error", "distance_in_search", "floor")  # of the best, in the sweep's run in MLflow
RESULT = "result.json"  # in the sweep's directory: written last


class Plan:
    """A sweep that is known to be one that can be run: everything is checked here, before any time is spent."""

    def __init__(self, params: Params) -> None:
        self.space = space_of(params)
        assert params.sweep is not None
        self.params, self.sweep = params, params.sweep
        require(params.run.training.monitor_images > 0, "training.monitor_images: configurations are ranked by that "
                "distance; write 1000")
        manifest = self.manifest = read_manifest(TABLE)
        require_enough(params.evaluation, {split: about["images"] for split, about in manifest["splits"].items()})
        there, chosen = f"{manifest['name']} of {manifest['shape'][1]}×{manifest['shape'][2]} px", _chosen(params)
        require(there == chosen, f"{TABLE} holds {there}, and {chosen} was chosen; compose that, and run `python -m "
                "pipelines.prepare`")
        interval = -(-self.sweep.images // self.sweep.reports)
        batch = params.run.training.batch_size
        require(interval >= batch, f"sweep.reports: {self.sweep.reports} in {self.sweep.images} images would be closer "
                f"together than batches of {batch}; write {max(1, self.sweep.images // batch)} or fewer")
        require(self.sweep.scheduler != "pbt" or bool(learning_rates(self.space)), "sweep.scheduler: pbt changes "
                "learning rates, and the space has none; see conf/sweep/learning_rates.yaml")
        self.training = {"images": self.sweep.images, "checkpoint_every": interval, "keep": 1,
                         "log_every": max(1, interval // 3)}
        gpus = params.cluster.gpus_per_worker if self.sweep.gpus_per_worker is None else self.sweep.gpus_per_worker
        self.cluster = dataclasses.replace(params.cluster, workers=self.sweep.workers, gpus_per_worker=gpus)
        for values in [*self.space.edges(), *listed(self.space, self.sweep)]:
            self._check(values)
        self.population = self.sweep.scheduler == "pbt"  # whose generators are what they have become
        self.new_seed = max(self.sweep.seeds) + 1
        depends = [{section: raw.get(section) for section in RUN} for raw in self.space.compositions.values()]
        kept = {key: value for key, value in dataclasses.asdict(self.sweep).items()
                if key not in ("register", "concurrent", "gpus_per_worker")}
        self.name = f"{self.sweep.name}-{manifest['name']}-{digest(depends, kept, manifest['sha256'])}"
        self.directory = (RUNS / "sweeps" / self.name).resolve()
        storage = params.cluster.storage
        self.storage = f"{storage.rstrip('/')}/sweeps/{self.name}" if storage else None

    def _check(self, values: dict[str, Any]) -> None:
        shape, condition = tuple(self.manifest["shape"]), condition_of(self.manifest)
        images = self.manifest["splits"]["train"]["images"]
        in_full: dict[str, Any] = {}  # as the winner will be trained
        for training, cluster in ((self.training, self.cluster), (in_full, self.params.cluster)):
            try:
                params = params_of(self.space, values, training, cluster)
                params.run.check(shape, condition, params.cluster.workers, images)
            except ConfigError as error:
                told = ", ".join(f"{name}={value}" for name, value in values.items())
                raise ConfigError(f"sweep.space: {told} cannot be trained: {error}") from None

    def look(self) -> Look:
        """What measures the distances of this sweep."""
        made = make_look(self.params, TABLE, self.directory / CACHE, torch.device("cpu"))
        assert made is not None  # since monitor_images is above 0
        return made

    def winner(self, row: Row) -> Params:
        """The parameters of a configuration in full, with a seed that no trial had."""
        raw = self.space.raw(row.values)
        return parse_params(raw | {"seed": self.new_seed + self.sweep.confirm, "composed": self.choices(row)})

    def choices(self, row: Row) -> list[str] | None:
        """What pipelines.compose takes for the same, but for where it runs; None if that is not known."""
        mine = self.params.raw.get("composed")
        if mine is None:
            return None
        return [*(choice for choice in mine if not choice.lstrip("~+").startswith(("sweep", "cluster"))),
                *self.space.choices(row.values), f"seed={self.new_seed + self.sweep.confirm}"]


def space_of(params: Params) -> Space:
    """The space of the sweep, with the compositions of its groups."""
    require(params.sweep is not None, "which sweep? name a file of conf/sweep/: sweep=losses")
    assert params.sweep is not None
    groups = {path.name: sorted(file.stem for file in path.glob("*.yaml"))
              for path in conf().iterdir() if path.is_dir()}
    return Space(params.sweep.space, composer(params.raw), groups)


def _chosen(params: Params) -> str:
    """Name and size that the table of the chosen data set has."""
    _, config = build.component("datasets", params.dataset)
    height, width = size if isinstance(size := config.resolution, tuple) else (size, size)
    return f"{getattr(config, 'title', params.dataset['name'])} of {height}×{width} px"


def sweep(params: Params, resume: bool = False) -> dict[str, Any]:
    """Search, rank, and write sweep/; gives what its metrics.json holds. ConfigError before anything is begun."""
    if not TABLE.exists():
        space_of(params)  # refused before anything is fetched
        print(f"sweep: {TABLE} is not there yet: preparing {params.dataset['name']}", flush=True)
        prepare(params.dataset, evaluation=params.evaluation)
    plan = Plan(params)
    directory = plan.directory
    if plan.storage:
        check(plan.storage)
    directory.mkdir(parents=True, exist_ok=True)
    with only_one(directory):  # before all else: what another process is making is not to be gone on with, nor removed
        return _sweep(plan, resume)


def _sweep(plan: Plan, resume: bool) -> dict[str, Any]:
    directory = plan.directory
    of_driver(directory, plan.storage).pull()
    if (directory / RESULT).exists():
        print(f"sweep: {directory} is finished already; {SWEEP}/ is written from it", flush=True)
    elif (directory / REPORTS).exists():
        require(resume, f"{directory} was begun and not finished; add --resume to go on with it, or remove it to begin "
                "anew")
        print(f"sweep: going on with {directory}", flush=True)
    else:
        print(f"sweep: {directory}{' (nothing there to resume: it begins)' if resume else ''}", flush=True)
    experiment = f"ganlib-{plan.manifest['name']}"
    require(tracking.open_store(experiment) is not None, f"MLflow at {tracking.shown(tracking.store())} cannot be "
            "reached, and a sweep is of no use without it; start it, or unset MLFLOW_TRACKING_URI")
    # Ray handles signals by itself from when it is connected; ours come after that.
    with connected(plan.cluster), stopped_cleanly(_begin(plan, experiment)) as log:
        if plan.sweep.register and not plan.population:
            require_room(plan.params.cluster)
        floor, job = _prepared(plan, log)
        rows = rank(search(plan.space, plan.sweep, plan.cluster, job, log))
        _write(plan, rows, log, Scale(floor, _untrained(plan, rows[0], log)))
        if rows[0].state != COMPLETE:
            raise SystemExit("sweep: no configuration ran to its end; the table says why each did not")
        result = _summary(plan, rows, _confirmed(plan, rows, job, log), floor)
        log.tracker.log(result["images_seen"], {name: result[name] for name in SAID if name in result})
        if plan.sweep.register:
            result |= _crown(plan, rows[0])
        write_json(directory / RESULT, result)
        write_json(SWEEP / "metrics.json", result)
        log.tracker.finish()
        log.mirror.push()
    return result


def _begin(plan: Plan, experiment: str) -> Log:
    """The sweep's run in MLflow, and what the trials' runs have in common."""
    about = {"dataset": plan.manifest["name"], "data_sha256": plan.manifest["sha256"]}
    tracker = tracking.Tracker(plan.directory, experiment, f"sweep {plan.name}", _settings(plan),
                               {"kind": "sweep", "git": git_revision(), **about})
    track = {"experiment": experiment, "tags": {
        "kind": "trial", "sweep": plan.name, "mlflow.parentRunId": tracking.run_id(plan.directory), **about}}
    return Log(plan.directory, plan.sweep, tracker, track, plan.storage)


def _settings(plan: Plan) -> dict[str, Any]:
    settings = {name: value for name, value in dataclasses.asdict(plan.sweep).items() if name != "space"}
    space = {name: {key: value for key, value in dataclasses.asdict(parameter).items() if value}
             for name, parameter in plan.sweep.space.items()}
    return {"sweep": settings, "space": {name: json.dumps(parameter) for name, parameter in space.items()}}


def _prepared(plan: Plan, log: Log) -> tuple[float, dict[str, Any]]:
    """The floor of the distances, and what trials have in common."""
    use_cores()
    floor = plan.look().by.floor  # what it must know of the real images is made once for all trials
    log.mirror.push()
    return floor, {
        "space": plan.space, "sweep": plan.sweep, "training": plan.training, "cluster": plan.cluster,
        "directory": str(plan.directory), "table": str(TABLE.resolve()), "git": git_revision(),
        "storage": plan.storage, "store": tracking.store(), "tracking": log.track, "looks": list(looks(plan.sweep)),
    }  # fmt: skip


def _confirmed(plan: Plan, rows: list[Row], job: dict[str, Any], log: Log) -> list[Outcome]:
    """The best configuration, trained again; nothing where nothing was chosen."""
    seeds = tuple(range(plan.new_seed, plan.new_seed + plan.sweep.confirm))
    if not seeds or len(rows) < 2:
        return []
    print(f"sweep: training the best again, with {len(seeds)} new seeds", flush=True)
    return confirm(plan.space, plan.sweep, plan.cluster, job, log, rows[0].values, seeds)


def _untrained(plan: Plan, best: Row, log: Log) -> float:
    """The distance of the best configuration's generator before it was trained; NaN where none ran to its end."""
    if best.state != COMPLETE:
        return math.nan
    log.fetch(best.outcomes[0].name)
    generator, _ = generators.untrained(plan.directory / "trials" / best.outcomes[0].name / "generator")
    (distance,) = plan.look()(generator).values()
    return distance


def _write(plan: Plan, rows: list[Row], log: Log, scale: Scale) -> None:
    """The table and the pictures, to sweep/ and to MLflow."""
    for row in rows[:pictures.BEST]:
        for outcome in row.outcomes:
            log.fetch(outcome.name)
    names = list(plan.space.parameters)
    print(show(rows, names, scale), flush=True)
    write_csv(plan.directory / "table.csv", rows, names, scale)
    drawn = pictures.draw(plan.space, plan.sweep, rows, reports(plan.directory), plan.directory / "trials", scale.floor)
    for name, picture in drawn.items():
        picture.save(plan.directory / f"{name}.png")
    shutil.rmtree(SWEEP, ignore_errors=True)  # of another sweep
    SWEEP.mkdir()
    for file in ("table.csv", *(f"{name}.png" for name in drawn)):
        shutil.copy(plan.directory / file, SWEEP / file)
        log.tracker.artifact(file)


def _summary(plan: Plan, rows: list[Row], confirmed: list[Outcome], floor: float) -> dict[str, Any]:
    best, states = rows[0], [row.state for row in rows]
    result = honest(best, confirmed)
    print(f"best of {len(rows)}: {title(best.values)}")
    if result.get("seeds"):
        noise = f" ± {result['standard_error']:.2g}" if "standard_error" in result else ""
        failed = f" ({result['seeds_failed']} more failed)" if result["seeds_failed"] else ""
        print(f"distance {result['distance']:.4g}{noise} when trained again with {result['seeds']} new seeds{failed}; "
              f"in the search {best.distance:.4g}, the smallest of {len(rows)} and so biased low")
    else:
        again = "it was not trained again"
        if confirmed:
            again = f"trained again with {len(confirmed)} new seeds none ran to its end: {confirmed[0].reason}"
        print(f"distance {best.distance:.4g} in the search" + (
            f", the smallest of {len(rows)} and so biased low; {again}" if len(rows) > 1 else ""))
    return {
        **result, "floor": floor, "configurations": len(rows),
        **{state.replace(" ", "_"): states.count(state) for state in (COMPLETE, STOPPED, FAILED)},
        "images_seen": sum(outcome.images_seen for row in rows for outcome in row.outcomes)
                       + sum(outcome.images_seen for outcome in confirmed), "best": best.values,
    }  # fmt: skip


def honest(best: Row, confirmed: list[Outcome]) -> dict[str, Any]:
    """What may be said of the best configuration: the mean `distance` of the trials that `confirmed` it, which had no
    part in the choice, with the standard error of that mean; and what it was chosen for, which is biased low."""
    ended = [outcome.distance for outcome in confirmed if outcome.state == COMPLETE]
    found: dict[str, Any] = {}
    if confirmed:
        found = {"seeds": len(ended), "seeds_failed": len(confirmed) - len(ended)}
    if ended:
        found["distance"] = statistics.fmean(ended)
    if len(ended) > 1:
        found["standard_error"] = statistics.stdev(ended) / math.sqrt(len(ended))
    return found | {"distance_in_search": best.distance}


def _trained(plan: Plan, row: Row, params: Params) -> Path:
    """The run of the winner: of its configuration in full; of a population, the generator that it is."""
    if plan.population:
        print("sweep: the best of the population is taken as it is: its learning rates changed while it was trained",
              flush=True)
        return plan.directory / "trials" / row.outcomes[0].name
    print(f"sweep: training the best for {params.run.training.images:,} images, with a seed that no trial had",
          flush=True)
    parent = str(tracking.run_id(plan.directory))
    return train(params, {"kind": "winner", "sweep": plan.name, "mlflow.parentRunId": parent})


def _crown(plan: Plan, row: Row) -> dict[str, Any]:
    """Train the best configuration for as long as the parameters say, evaluate and register it."""
    params = plan.winner(row)
    directory = _trained(plan, row, params)
    export(directory, params.registry.checkpoint, SWEEP / "model")
    try:
        measured = evaluate(params.evaluation, SWEEP / "model", directory=SWEEP / "evaluation")
    except ConfigError:  # no reference, or one of another protocol
        reference(params.evaluation)
        measured = evaluate(params.evaluation, SWEEP / "model", directory=SWEEP / "evaluation")
    print(show_numbers(measured))
    report(SWEEP / "model", SWEEP / "evaluation", out=SWEEP / "report/report.html")
    human_test(SWEEP / "model", out=SWEEP / "report/human_test.html")
    registered = register(SWEEP / "model", SWEEP / "evaluation", SWEEP / "report", params.registry.standard_errors,
                          functools.partial(measured_again, params.evaluation))
    verdict = "champion" if registered["champion"] else "not champion"
    print(f"{registered['name']} version {registered['version']}: {verdict}, {registered['reason']}")
    if not plan.population and (choices := plan.choices(row)):
        print(f"to make it the run of {PARAMS}: python -m pipelines.compose {shlex.join(choices)}")
    names = (measured["distance"], measured["choice"])
    return {**{name: measured[name]["value"] for name in names},
            "version": registered["version"], "champion": registered["champion"]}


@contextmanager
def stopped_cleanly(log: Log) -> Iterator[Log]:
    """On Ctrl-C, and on SIGTERM, which is how `ray job stop` begins: the runs in MLflow are closed as killed."""
    try:
        yield log
    except KeyboardInterrupt:
        log.killed()
        raise
    except (Exception, SystemExit):
        log.tracker.finish("FAILED")
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resume", action="store_true", help="go on with this sweep, if it was begun")
    parser.add_argument("--if-chosen", action="store_true", help=f"do nothing where {PARAMS} has no sweep")
    parser.add_argument("choices", nargs="*", metavar="group=choice or key=value")
    arguments = parser.parse_intermixed_args()
    with command("sweep", "go on with it by the same command and --resume"):
        project.enter()
        require_writable(SWEEP, RUNS)
        chosen = arguments.choices or not PARAMS.exists()
        params = parse_params(composition(arguments.choices)) if chosen else load()
        if params.sweep is None and arguments.if_chosen:
            write_json(SWEEP / "metrics.json", {})
            print(f"sweep: {PARAMS} has none; choose one by: python -m pipelines.compose sweep=losses")
            return
        tracking.use(params.cluster.tracking_uri)
        try:
            sweep(params, arguments.resume)
        except (OSError, TuneError) as error:  # of the disk or the storage, mostly
            raise ConfigError(f"{shortage(error) or last_line(error)}; nothing that was made is lost: when that is "
                              "mended, go on with --resume") from None


if __name__ == "__main__":
    main()

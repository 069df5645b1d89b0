"""Sweeps on a real Ray with a real MLflow store: what they leave, what they survive, and what they refuse."""

import csv
import fcntl
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from pyarrow.fs import FileSelector, FileSystem
from safetensors.torch import load_file

from ganlib.config import parse
from ganlib.datasets import table
from pipelines import sweep
from pipelines.runs.params import Sweep
from pipelines.runs.storage import filesystem
from pipelines.runs.tracker import Tracker
from pipelines.sweeps.log import REPORTS, Log, reports
from pipelines.sweeps.ranking import COMPLETE, FAILED, Outcome, rank
from pipelines.sweeps.trial import OUTCOME, outcome_of

ROOT = Path(__file__).parents[2]
BASE = ["dataset=folder", "dataset.path=images", "dataset.resolution=16", "networks=mlp", "networks.width=32",
        "networks.depth=1", "networks.latent=8", "training.batch_size=16", "training.monitor_images=20",
        "evaluation=quick", "sweep.register=false", "sweep.scheduler=none", "sweep.confirm=1"]  # fmt: skip
SPACE = ["sweep=losses", "~sweep.space.lambda", "~sweep.space.clip", "~sweep.space.beta1",
         "~sweep.space.discriminator_norm"]  # fmt: skip
HINGE = [*SPACE, "sweep.space.objective.choice=[hinge,least_squares]", "sweep.trials=4", "sweep.images=320"]


@pytest.fixture(scope="module")
def make_project(tmp_path_factory, empty_store) -> Callable[[], Path]:
    """A directory as `prepare` leaves it."""
    def make() -> Path:
        project = tmp_path_factory.mktemp("project")
        shutil.copytree(ROOT / "conf", project / "conf")
        random = np.random.default_rng(0)
        splits = {name: (count, [(random.integers(0, 256, (count, 1, 16, 16), np.uint8), None)])
                  for name, count in (("train", 200), ("validation", 60), ("test", 60))}  # fmt: skip
        table.write(project / "data/table", splits, shape=(1, 16, 16), name="images", source="drawn")
        shutil.copy(empty_store, project / "mlflow.db")
        return project

    return make


@pytest.fixture
def project(make_project) -> Path:
    return make_project()


def start(project: Path, *choices: str, **environment: str) -> subprocess.Popen[str]:
    """The sweep as a process in a session of its own, by which its workers are found."""
    command = [sys.executable, "-m", "pipelines.sweep", *BASE, *choices]
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True, env=inherited | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db", "PYTHONPATH": str(ROOT), **environment})  # fmt: skip


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == code, output
    return output


def rows(project: Path) -> list[dict[str, str]]:
    with (project / "sweep/table.csv").open() as file:
        return list(csv.DictReader(file))


def trials(project: Path) -> dict[str, torch.Tensor]:
    """The weights of each trial's generator, by the trial's name."""
    return {path.parts[-3]: torch.cat([value.double().flatten() for value in load_file(path).values()])
            for path in project.glob("runs/sweeps/*/trials/*/generator/generator.safetensors")}


def until(process: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[str], name: str) -> list[int]:
    """Process ids of the session's workers whose title has `name` in it."""
    listed = subprocess.run(["ps", "-eo", "pid,sid,args"], capture_output=True, text=True, check=True).stdout
    found = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, session, title in found if name in title and int(session) == process.pid]


def runs(project: Path) -> tuple[list, list]:
    """The sweep's runs in MLflow, and those of its trials."""
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return ([run for run in found if run.data.tags["kind"] == "sweep"],
            [run for run in found if run.data.tags["kind"] == "trial"])


@pytest.fixture(scope="module")
def undisturbed(make_project) -> Path:
    """After a sweep that nothing disturbed, two trials at a time."""
    project = make_project()
    print(finish(start(project, *HINGE)))
    return project


def test_every_trial_is_a_run_beneath_the_sweep_and_the_best_is_named(undisturbed: Path):
    found = rows(undisturbed)
    assert [row["rank"] for row in found] == ["1", "2", "3", "4"] and {row["end"] for row in found} == {"complete"}
    distances = [float(row["distance"]) for row in found]
    assert distances == sorted(distances)

    (parent,), children = runs(undisturbed)
    (confirming,) = (run for run in children if run.data.params["seed"] == "1")  # that the search did not have
    children.remove(confirming)
    assert parent.info.status == "FINISHED" and len(children) == 4
    assert parent.data.metrics["best_distance"] == pytest.approx(distances[0])
    for run in [*children, confirming]:
        assert run.info.status == "FINISHED" and run.data.tags["end"] == "complete"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert set(run.data.params) == {"objective", "n_critic", "lr", "seed", "images"}
        assert {"D/loss", "G/loss", "fd_efficientnet_lite0_20"} <= set(run.data.metrics)
        # By which MLflow compares them when the comparison is opened: what came first.
        assert next(iter(run.data.metrics)) == "fd_efficientnet_lite0_20"
        assert (run.data.metrics["fd_efficientnet_lite0_20"] in distances) == (run is not confirming)
        assert run.info.run_name.startswith(f"{run.data.params['objective']} n_critic=")
    kept = {file.path for file in MlflowClient(f"sqlite:///{undisturbed}/mlflow.db").list_artifacts(parent.info.run_id)}
    assert {"table.csv", "best.png", "best_so_far.png", "parallel_coordinates.png"} <= kept
    assert Image.open(undisturbed / "sweep/best.png").width > 64

    metrics = json.loads((undisturbed / "sweep/metrics.json").read_text())
    assert metrics["distance_in_search"] == distances[0] and metrics["seeds"] == 1
    assert metrics["distance"] == confirming.data.metrics["fd_efficientnet_lite0_20"]
    assert metrics["images_seen"] == 5 * 320 and metrics["complete"] == 4
    assert 0 < metrics["floor"] == float(found[0]["floor"]) < distances[0]


def outcome(configuration: int, seed: int, distance: float, state: str = COMPLETE) -> Outcome:
    return Outcome(f"{configuration}-{seed}", {"lr": configuration, "seed": seed}, distance, 320, 1.0, state)


def test_what_is_said_of_the_winner_is_the_truth_within_its_error():
    """2,000 sweeps of 24 configurations that are all equal: 450, with a deviation of 30 from seed to seed."""
    random, said, chosen, errors = np.random.default_rng(0), [], [], []
    for _ in range(2000):
        best = rank(outcome(k, 0, distance) for k, distance in enumerate(random.normal(450, 30, 24)))[0]
        found = sweep.honest(best, [outcome(0, seed, distance) for seed, distance in
                                    enumerate(random.normal(450, 30, 3), 1)])
        said.append(found["distance"])
        chosen.append(found["distance_in_search"])
        errors.append(found["standard_error"])
    assert np.mean(chosen) == pytest.approx(450 - 1.948 * 30, abs=2)  # the expected smallest of 24 normal numbers
    assert np.mean(said) == pytest.approx(450, abs=2)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(said), rel=0.05)


def test_a_seed_that_fails_is_counted_and_one_seed_has_no_error():
    best, bad = rank([outcome(1, 0, 5.0)])[0], outcome(1, 1, math.inf, FAILED)
    assert sweep.honest(best, [bad, outcome(1, 2, 7.0)]) == {"distance": 7.0, "seeds": 1, "seeds_failed": 1,
                                                             "distance_in_search": 5.0}
    assert sweep.honest(best, []) == {"distance_in_search": 5.0}
    assert sweep.honest(best, [bad]) == {"seeds": 0, "seeds_failed": 1, "distance_in_search": 5.0}


def test_two_trials_at_once_give_the_weights_of_each_alone(undisturbed: Path, project: Path):
    finish(start(project, *HINGE, "sweep.concurrent=1"))
    together, alone = trials(undisturbed), trials(project)
    assert together.keys() == alone.keys() and len(alone) == 5
    for name in alone:
        assert torch.equal(together[name], alone[name])


def test_a_finished_sweep_is_finished(undisturbed: Path):
    before = rows(undisturbed)
    assert "is finished already" in finish(start(undisturbed, *HINGE))
    assert rows(undisturbed) == before


@pytest.mark.slow
def test_a_killed_driver_goes_on_and_the_table_is_the_undisturbed_one(undisturbed: Path, project: Path):
    process = start(project, *HINGE)
    until(process, lambda: list(project.glob("runs/sweeps/*/trials/*/outcome.json")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    refused = finish(start(project, *HINGE), 1)
    assert "was begun and not finished; add --resume" in refused and "Traceback" not in refused
    assert "going on with" in finish(start(project, *HINGE, "--resume"))
    assert rows(project) == rows(undisturbed)
    (parent,), children = runs(project)
    assert parent.info.status == "FINISHED"
    assert len(children) == 5 and {run.info.status for run in children} == {"FINISHED"}
    for name, weights in trials(undisturbed).items():
        assert torch.equal(trials(project)[name], weights)


@pytest.mark.slow
def test_killed_while_the_best_is_trained_again_it_says_the_same_of_it(undisturbed: Path, project: Path):
    process = start(project, *HINGE)
    until(process, lambda: len(list(project.glob("runs/sweeps/*/trials/*/monitor.json"))) == 5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finish(start(project, *HINGE, "--resume"))
    assert rows(project) == rows(undisturbed)
    said, expected = (json.loads((place / "sweep/metrics.json").read_text()) for place in (project, undisturbed))
    assert said == expected


@pytest.mark.slow
def test_a_trial_killed_between_its_last_checkpoint_and_its_end_keeps_its_result(undisturbed: Path, project: Path):
    finish(start(project, *HINGE))
    best = next(path.parent for path in project.glob("runs/sweeps/*/trials/*/outcome.json")
                if json.loads(path.read_text())["distance"] == float(rows(project)[0]["distance"]))
    (best / "outcome.json").unlink()
    shutil.rmtree(best / "generator")
    (best.parents[1] / "result.json").unlink()
    shutil.rmtree(best.parents[1] / "tune")
    finish(start(project, *HINGE, "--resume"))
    assert rows(project) == rows(undisturbed) and best.name in trials(project)


@pytest.mark.slow
def test_a_killed_trial_goes_on_from_its_checkpoint(undisturbed: Path, project: Path):
    process = start(project, *HINGE)
    until(process, lambda: list(project.glob("runs/sweeps/*/trials/*/checkpoints/*.json")))
    (victim, *_) = workers_of(process, "ray::ImplicitFunc")
    os.kill(victim, signal.SIGKILL)
    finish(process)
    assert rows(project) == rows(undisturbed)


@pytest.mark.slow
def test_a_stopped_sweep_closes_its_runs_as_killed_and_goes_on_later(undisturbed: Path, project: Path):
    process = start(project, *HINGE)
    until(process, lambda: list(project.glob("runs/sweeps/*/trials/*/checkpoints/*.json")))
    os.kill(process.pid, signal.SIGTERM)
    output = finish(process, 128 + signal.SIGTERM)
    assert "go on with it by the same command and --resume" in output and "Traceback" not in output
    (parent,), children = runs(project)
    assert parent.info.status == "KILLED"
    assert children and "RUNNING" not in {run.info.status for run in children}
    assert "KILLED" in {run.info.status for run in children}
    finish(start(project, *HINGE, "--resume"))
    assert rows(project) == rows(undisturbed)
    (parent,), children = runs(project)
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}


@pytest.mark.slow
def test_a_loss_that_is_not_finite_fails_the_trial_with_its_reason_and_the_sweep_goes_on(project: Path):
    wild = ["sweep.space.lr.loguniform=null", "+sweep.space.lr.choice=[1e-3,1e18]", "sweep.search=grid",
            "sweep.space.objective.choice=[least_squares]", "sweep.space.n_critic.choice=[1]", "sweep.trials=null"]
    output = finish(start(project, *SPACE, *wild, "sweep.images=320"))
    good, bad = rows(project)
    assert (good["end"], bad["end"]) == ("complete", "failed") and "is not finite between" in bad["reason"]
    assert "is not finite" in output
    ends = {run.data.params["lr"]: (run.info.status, run.data.tags["end"]) for run in runs(project)[1]}
    assert ends["0.001"] == ("FINISHED", "complete")
    assert ends["1e+18"][0] == "FAILED" and "is not finite between" in ends["1e+18"][1]


@pytest.mark.slow
def test_bad_trials_are_stopped_early_and_ranked_below_those_that_ran_to_their_end(project: Path):
    finish(start(project, *HINGE, "sweep.scheduler=asha", "sweep.trials=8", "sweep.images=432", "sweep.reports=9"))
    found = rows(project)
    ends = [row["end"] for row in found]
    assert ends == sorted(ends) and set(ends) == {"complete", "stopped early"}
    assert {int(row["images_seen"]) for row in found if row["end"] == "stopped early"} <= {48, 144}
    assert {run.data.tags["end"] for run in runs(project)[1]} == {"complete", "stopped early"}
    assert {run.info.status for run in runs(project)[1]} == {"FINISHED"}
    assert Image.open(project / "sweep/importance.png").height > 64


@pytest.mark.slow
def test_population_based_training_takes_checkpoints_over_from_better_trials(project: Path):
    rates = ["sweep=learning_rates", "sweep.confirm=0", "sweep.register=true", "evaluation.images=40",
             "sweep.trials=4", "sweep.images=800", "sweep.reports=4", "sweep.scheduler=pbt",
             "sweep.space.generator_lr.loguniform=[1e-9,1e-2]", "sweep.space.discriminator_lr.loguniform=[1e-9,1e-2]"]
    output = finish(start(project, *rates))
    reports = [json.loads(line) for line in next(project.glob("runs/sweeps/*/reports.jsonl")).read_text().splitlines()]
    taken = [report for report in reports if report["came_from"]]
    assert taken
    names = {report["name"] for report in reports}
    assert all(report["came_from"] in names - {report["name"]} for report in taken)
    assert len(rows(project)) == 4 and {row["end"] for row in rows(project)} == {"complete"}
    for row in rows(project):
        assert 1e-9 <= float(row["generator_lr"]) <= 1e-2
    # The best of them is registered as it is: no learning rate alone would lead there.
    assert "taken as it is" in output and "pipelines.compose" not in output
    model = (project / "sweep/model/generator.safetensors").read_bytes()
    first = float(rows(project)[0]["distance"])
    best = [path.parent for path in project.glob("runs/sweeps/*/trials/*/outcome.json")
            if json.loads(path.read_text())["distance"] == first]
    assert model in [(trial / "generator/generator.safetensors").read_bytes() for trial in best]
    assert "ganlib-images version 1" in output


@pytest.mark.slow
def test_a_trial_of_two_workers_runs_on_ray_train(project: Path):
    output = finish(start(project, *HINGE, "sweep.workers=2", "sweep.trials=2"), 0)
    assert "complete" not in output  # which the table says by saying nothing else
    assert [row["end"] for row in rows(project)] == ["complete", "complete"]


@pytest.mark.slow
def test_a_searcher_that_learns_takes_each_configuration_with_every_seed(project: Path):
    choices = [*HINGE, "sweep.search=optuna", "sweep.trials=3", "sweep.seeds=[0,7]"]
    process = start(project, *choices)
    until(process, lambda: list(project.glob("runs/sweeps/*/trials/*/outcome.json")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finish(start(project, *choices, "--resume"))
    found = rows(project)
    assert len(found) == 3 and {row["seeds"] for row in found} == {"2"}
    assert all(float(row["half_width"]) > 0 for row in found)


@pytest.mark.slow
def test_kept_on_s3_a_sweep_goes_on_from_a_machine_without_its_files(undisturbed: Path, project: Path, s3: str):
    storage = f"cluster.storage={s3}/kept"
    kept, bucket = filesystem(s3)
    process = start(project, *HINGE, storage)
    until(process, lambda: any("outcome.json" in file for file in names(kept, bucket)))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    shutil.rmtree(project / "runs")
    finish(start(project, *HINGE, storage, "--resume"))
    assert rows(project) == rows(undisturbed)
    assert len([file for file in names(kept, bucket) if file.endswith("generator.safetensors")]) == 5
    (parent,), children = runs(project)
    assert len(children) == 5 and {run.info.status for run in [parent, *children]} == {"FINISHED"}


def names(store: FileSystem, path: str) -> list[str]:
    return [info.path for info in store.get_file_info(FileSelector(path, recursive=True))]


REFUSED = {
    "no sweep": (["~sweep"], "which sweep? name a file of conf/sweep/: sweep=losses"),
    "unknown sweep": (["sweep=looses"], "looses"),
    "empty space": (["sweep=seeds", "~sweep.space.n_critic"], "sweep.space: it is empty"),
    "no lambda": (["sweep=wgan_gp", "sweep.space.objective.choice=[hinge]"],
                  "sweep.space.lambda: hinge has no objective.penalties.gradient_penalty.weight"),
    "no trials": (["sweep=losses", "sweep.trials=0"], "sweep.trials: 1 … 1,000,000 is needed, got 0"),
    "beyond what training accepts": (["sweep=wgan_gp", "sweep.space.n_critic.integer=[0,5]"],
                                     "n_critic=0 cannot be trained: objective.n_critic: 1 … 1,000,000 is needed"),
    "values that do not go together": (["sweep=losses", "networks=dcgan",
                                        "sweep.space.discriminator_norm.only.objective=[wgan_gp]"],
                                       "objective=wgan_gp, discriminator_norm=batch cannot be trained"),
    "a winner that cannot be trained": (["sweep=wgan_gp", "cluster.workers=3"], "cannot be split evenly between 3"),
    "reports closer than batches": (["sweep=wgan_gp", "sweep.images=100"], "write 6 or fewer"),
    "no learning rate to change": (["sweep=seeds", "sweep.scheduler=pbt", "sweep.seeds=[0]"], "the space has none"),
    "no distance": (["sweep=wgan_gp", "training.monitor_images=0"], "configurations are ranked by that distance"),
    "other data": (["sweep=wgan_gp", "dataset.resolution=32"], "holds images of 16×16 px, and images of 32×32 px"),
    "no such storage": (["sweep=wgan_gp", "cluster.storage=/proc/nowhere"], "storage: /proc/nowhere/sweeps/"),
}  # fmt: skip


@pytest.mark.parametrize(("choices", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_searched_is_refused_before_anything_is_begun(choices: list[str], message: str, make_project,
                                                                    monkeypatch: pytest.MonkeyPatch):
    project = make_project()
    monkeypatch.chdir(project)
    base = [choice for choice in BASE if not choice.startswith(("sweep.", "networks.depth"))]
    monkeypatch.setattr(sys, "argv", ["sweep", *base, *(choice for choice in choices if choice != "~sweep")])
    with pytest.raises(SystemExit, match=re.escape(message)) as refusal:
        sweep.main()
    assert str(refusal.value).startswith("sweep: ")
    assert not (project / "runs").exists() and not (project / "sweep").exists()


def test_a_torn_line_of_the_reports_is_dropped(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    track = {"experiment": "toys", "tags": {}}
    tracker = Tracker(tmp_path, **track, run_name="sweep", params={})
    settings = parse(Sweep, {"name": "s", "images": 900, "trials": 2}, "sweep")
    whole = {"name": "a", "images_seen": 900, "distance": 5.0, "came_from": ""}
    damaged = ["\0" * 9, "[]", "{}", json.dumps(whole | {"distance": "far"}), json.dumps(whole)[:-9], ""]
    (tmp_path / "reports.jsonl").write_text("\n".join([*damaged, json.dumps(whole), '{"name": "b", "ima']))
    log = Log(tmp_path, settings, tracker, track, None)
    with log.bar(2):
        log.reports("b", whole | {"name": "b", "distance": 4.0})
    assert [report["name"] for report in reports(tmp_path)] == ["a", "b"] and log.best == 4.0


@pytest.mark.parametrize("content", [None, "", "\0\0", "[]", "{}", '{"name": "a", "distance": 1.0}'])
def test_an_outcome_that_cannot_be_read_counts_as_none(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / OUTCOME).write_text(content)
    assert outcome_of(tmp_path) is None


def test_beside_a_sweep_that_runs_a_second_one_is_told_so(project: Path, monkeypatch: pytest.MonkeyPatch):
    """And not to remove what the first one is making."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["sweep", *BASE, *HINGE])
    with pytest.raises(SystemExit, match="cannot be reached"):
        sweep.main()
    (lock,) = project.glob("runs/sweeps/*/lock")
    (lock.parent / REPORTS).touch()
    with pytest.raises(SystemExit, match="was begun and not finished; add --resume"):
        sweep.main()
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match="another process") as told:
            sweep.main()
    assert "remove" not in str(told.value)


def test_a_store_that_is_away_is_said_before_anything_is_begun(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["sweep", *BASE, *HINGE])
    with pytest.raises(SystemExit, match=r"MLflow at http://127.0.0.1:9 cannot be reached"):
        sweep.main()


@pytest.mark.slow
def test_no_cluster_at_the_address_is_said(project: Path):
    output = finish(start(project, *HINGE, RAY_ADDRESS="127.0.0.1:9"), 1)
    assert "no Ray at RAY_ADDRESS=127.0.0.1:9" in output and "Traceback" not in output
    assert not runs(project)[0]


@pytest.mark.slow
def test_the_winner_is_trained_in_full_evaluated_and_registered(project: Path):
    choices = ["sweep.register=true", "training.images=640", "evaluation.images=40", "evaluation.classifier_images=100"]
    output = finish(start(project, *HINGE, *choices))
    # Of noise so short a training makes nothing that is clearly better than before.
    assert "version 1: not champion" in output and "not clearly better than an untrained one" in output
    assert "python -m pipelines.compose" in output
    metrics = json.loads((project / "sweep/metrics.json").read_text())
    assert not metrics["champion"] and metrics["fd_efficientnet_lite0"] > 0
    described = json.loads((project / "sweep/model/generator.json").read_text())
    assert described["images_seen"] == 640 and described["seed"] == 2  # that no trial had
    assert (project / "sweep/report/report.html").exists()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    version = client.get_model_version("ganlib-images", "1")
    assert client.get_run(version.run_id).data.tags["kind"] == "winner"

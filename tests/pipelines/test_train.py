"""Stage train on a real Ray: what it makes, and what it survives. Small data, one process tree at a time."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient
from safetensors.torch import load_file

from ganlib.datasets import table
from ganlib.files import write_json
from ganlib.sampling import generator as generators
from ganlib.training import loop
from ganlib.training.run import Run
from pipelines.runs.params import parse_params
from pipelines.runs.training import begin, export

ROOT = Path(__file__).parents[2]
PARAMS = {
    "dataset": {"name": "folder", "path": "images", "resolution": 16, "channels": 1},
    "networks": {"name": "dcgan", "width": 4, "latent": 8, "discriminator_norm": "none"},
    "objective": {"name": "two_player", "penalties": {"r1": {"weight": 1, "every": 4}}},
    "training": {"images": 6400, "batch_size": 32, "log_every": 320, "checkpoint_every": 640, "monitor_images": 0},
    "evaluation": {},
    "registry": {},
    "cluster": {"workers": 2},
    "seed": 0,
}


def set_up(project: Path) -> Path:
    """A directory as `dvc repro` leaves it before training: params.yaml and data/table."""
    generator = np.random.default_rng(0)
    splits = {name: (count, [(generator.integers(0, 256, (count, 1, 16, 16), np.uint8), None)])
              for name, count in (("train", 200), ("test", 50))}  # fmt: skip
    table.write(project / "data/table", splits, shape=(1, 16, 16), name="noise", source="drawn")
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return set_up(tmp_path)


def train(project: Path, store: str = "") -> subprocess.Popen[str]:
    """Start the stage; the store is by default one of its own."""
    store = store or f"sqlite:///{project}/mlflow.db"
    environment = os.environ | {"MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(ROOT),
                                "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}  # fmt: skip
    # A session of its own, by which its workers are found.
    return subprocess.Popen([sys.executable, "-m", "pipelines.train"], cwd=project, stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.STDOUT, start_new_session=True, env=environment)  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def weights(project: Path) -> torch.Tensor:
    stored = load_file(project / "model/generator.safetensors")
    return torch.cat([value.double().flatten() for value in stored.values()])


def until_checkpoint(project: Path, process: subprocess.Popen[str]) -> None:
    """Wait for the second checkpoint."""
    while len(list(project.glob("runs/*/checkpoints/*.json"))) < 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def workers_of(driver: int) -> list[int]:
    """Process ids of the training workers that descend from a driver."""
    listed = subprocess.run(["ps", "-eo", "pid,sid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, session, args in rows if "RayTrainWorker" in args and int(session) == driver]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """The weights of a run that nothing disturbs."""
    project = set_up(tmp_path_factory.mktemp("undisturbed"))
    finish(train(project))
    return weights(project)


def test_train_makes_model_and_curves_though_the_store_is_away(project: Path):
    """The journal keeps what a store cannot be told, and it can be sent later."""
    output = finish(train(project, store="http://127.0.0.1:9"))  # a port that nothing listens on
    assert "cannot be reached" in output and "6.40k of 6.40k" in output
    described = json.loads((project / "model/generator.json").read_text())
    assert described["images_seen"] == 6400 and described["shape"] == [1, 16, 16]
    assert len(list((project / "model/snapshots").glob("*.png"))) == 10
    history = np.genfromtxt(project / "model/history.csv", delimiter=",", names=True)
    assert history["images_seen"][-1] == 6400 and len(history) == 20
    assert np.isfinite(history["Gloss"]).all()

    store = f"sqlite:///{project}/mlflow.db"
    command = [sys.executable, "-m", "pipelines.tracking", str(next((project / "runs").iterdir()))]
    environment = os.environ | {"MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(ROOT)}
    sent = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert sent.returncode == 0, sent.stderr
    client = MlflowClient(store)
    (logged,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert logged.info.status == "FINISHED" and len(client.get_metric_history(logged.info.run_id, "G/loss")) == 20

    assert "is trained already" in finish(train(project, store))


def logged(project: Path) -> list[tuple[str, str | None, int]]:
    """Of each run in the project's store: how it ended, why, and how many rows of metrics it has."""
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return [(run.info.status, run.data.tags.get("end"), len(client.get_metric_history(run.info.run_id, "G/loss")))
            for run in runs]


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_what_none_would(project: Path, tmp_path_factory: pytest.TempPathFactory):
    """Of workers as they begin, as they train and as they end, and of the driver; MLflow has each row once."""
    change = {"training": PARAMS["training"] | {"images": 64000, "log_every": 3200, "checkpoint_every": 3200},
              "cluster": {"workers": 2, "max_failures": 20}}
    calm = set_up(tmp_path_factory.mktemp("calm"))
    for place in (calm, project):
        (place / "params.yaml").write_text(yaml.safe_dump(PARAMS | change))
    finish(train(calm))
    moments, outputs = random.Random(0), []
    for _ in range(10):
        process = train(project)
        try:
            for victims in (workers_of, lambda pid: [pid]):
                while process.poll() is None and not workers_of(process.pid):
                    time.sleep(0.05)
                time.sleep(moments.uniform(0, 3))
                for pid in victims(process.pid)[:1]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        finally:
            process.kill()
            outputs.append(process.communicate()[0])
        assert "Traceback" not in outputs[-1]
    finish(train(project))
    assert torch.equal(weights(project), weights(calm))
    assert logged(project) == [("FINISHED", "complete", 20)]


@pytest.mark.slow
def test_a_driver_killed_near_the_end_leaves_a_run_that_the_same_command_closes(project: Path):
    """Its workers live long enough to finish."""
    change = {"training": PARAMS["training"] | {"checkpoint_every": 3200}}
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS | change))
    process = train(project)
    while (tracked := next(project.glob("runs/*/journal.jsonl"), None)) is None or '"images_seen": 6080' not in (
            tracked.read_text()):
        time.sleep(0.01)
    process.kill()
    process.wait()
    while workers_of(process.pid):
        time.sleep(0.1)
    assert [status for status, _, _ in logged(project)] == ["RUNNING"]
    finish(train(project))
    assert logged(project) == [("FINISHED", "complete", 20)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_everywhere_and_goes_on(project: Path, undisturbed: torch.Tensor, number):
    process = train(project)
    until_checkpoint(project, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "Traceback" not in output
    assert output.endswith(f"train: stopped by {number.name}; the same command goes on from the last checkpoint\n")
    ((status, reason, _),) = logged(project)
    assert (status, reason) == ("KILLED", number.name)
    finish(train(project))
    assert torch.equal(weights(project), undisturbed) and logged(project) == [("FINISHED", "complete", 20)]


def test_ctrl_c_while_a_command_still_imports_is_one_line(project: Path):
    process = train(project)
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and len(output.splitlines()) == 1 and "stopped by SIGINT" in output


@pytest.mark.slow
def test_a_run_whose_directory_is_removed_ends(project: Path):
    process = train(project)
    until_checkpoint(project, process)
    while (project / "runs").exists():  # it may write into it meanwhile
        shutil.rmtree(project / "runs", ignore_errors=True)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "directory is not there any more" in output.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, which needs root")
def test_a_full_disk_is_one_line_and_with_more_space_it_goes_on(project: Path, undisturbed: torch.Tensor):
    wide = PARAMS | {"networks": PARAMS["networks"] | {"width": 24}}
    (project / "params.yaml").write_text(yaml.safe_dump(wide))
    disk = project / "runs"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        process = train(project)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1 and "Traceback" not in output
        assert re.match(r"train: no space is left at .*/checkpoints .* MB are free there\); free some",
                        output.splitlines()[-1])
        assert len(list(disk.glob("*/checkpoints/*.json"))) == 2  # what was there is whole
        ((status, reason, _),) = logged(project)
        assert status == "FAILED" and "no space" in str(reason)
        subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
        assert "going on from" in finish(train(project))
        assert logged(project) == [("FINISHED", "complete", 20)]
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
def test_a_longer_run_goes_on_from_a_shorter_one(project: Path, undisturbed: torch.Tensor):
    """All of its rows are there, and the weights are those of one that never stopped."""
    shorter = PARAMS | {"training": PARAMS["training"] | {"images": 3200}}
    (project / "params.yaml").write_text(yaml.safe_dump(shorter))
    finish(train(project))
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    output = finish(train(project))
    assert "going on from the 3,200 images of" in output
    assert torch.equal(weights(project), undisturbed)
    assert sorted(logged(project)) == [("FINISHED", "complete", 10), ("FINISHED", "complete", 20)]
    history = np.genfromtxt(project / "model/history.csv", delimiter=",", names=True)
    assert history["images_seen"].tolist() == list(range(320, 6401, 320))
    assert len(list((project / "model/snapshots").glob("*.png"))) == 10


def test_the_best_checkpoint_is_exported_where_it_is_asked_for(tmp_path: Path):
    """It is kept, though it is not among the last."""
    pixels = torch.randint(0, 256, (40, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    distances, seen, networks = {8: 5.0, 16: 1.0, 24: 4.0, 32: 3.0}, {}, {"name": "mlp", "width": 8, "latent": 4}
    run = Run.parse({"networks": networks,
                     "training": {"images": 32, "batch_size": 8, "checkpoint_every": 8, "keep": 1}})

    def snapshot(images_seen: int, generator: torch.nn.Module, networks: object) -> float:
        seen[images_seen] = generators.sample(generator, 4, 0)
        return distances[images_seen]

    directory = tmp_path / "run"
    (directory / "snapshots").mkdir(parents=True)
    last = loop.train(run, table.Table.from_arrays(pixels), directory / "checkpoints", snapshot=snapshot)
    generators.save(directory / "generator", last, {"networks": networks, "shape": [1, 16, 16], "classes": [],
                                                    "label_counts": [], "seed": 0, "images_seen": 32})
    for checkpoint, images_seen in (("last", 32), ("best", 16)):
        export(directory, checkpoint, tmp_path / "model")
        exported, about = generators.load(tmp_path / "model")
        assert about["images_seen"] == images_seen
        assert torch.equal(generators.sample(exported, 4, 0), seen[images_seen])


def test_a_run_that_begins_from_zero_says_what_differs_from_the_nearest(project: Path, capsys, monkeypatch):
    monkeypatch.chdir(project)
    params = parse_params(PARAMS)
    there = {"seed": 0, "training": {"images": 3200}, "objective": {"loss": "hinge"}}
    write_json(project / "runs/other/run.json", {"identity": there | {"seed": 7, "code": "new"}, "images": 3200})
    write_json(project / "runs/near/run.json", {"identity": there, "images": 3200})
    (project / "runs/damaged").mkdir()
    (project / "runs/damaged/run.json").write_text("{")
    begin(project / "runs/mine", there | {"training": {"images": 6400}}, params, {})
    assert capsys.readouterr().out == ("train: this run begins from 0 images; runs/near is nearly the same, but "
                                       "training.images is 3200 in it and 6400 in this run\n")
    short = parse_params(PARAMS | {"training": PARAMS["training"] | {"images": 640}})
    begin(project / "runs/shorter", there, short, {})
    assert "runs/near is nearly the same, but it was asked for 3,200 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": PARAMS["training"] | {"batch_size": 33}}, "33 cannot be split evenly between 2 workers"),
        ({"objective": {"name": "two_player", "loss": "hing"}}, "objective.loss: 'hing' is not a choice; did you mean"),
        ({"cluster": {"workers": 1000}, "training": PARAMS["training"] | {"batch_size": 1000}}, "images"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_ray_starts(project: Path, change: dict, message: str):
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS | change))
    process = train(project)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and message in output and "Traceback" not in output
    assert not (project / "model").exists()


def test_more_workers_than_the_cluster_has_is_said_at_once(project: Path):
    more = 200
    change = {"cluster": {"workers": more}, "training": PARAMS["training"] | {"batch_size": more}}
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS | change))
    process = train(project)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and f"{more} workers need {more} CPUs" in output


def test_a_loss_that_is_not_finite_ends_the_run_as_failed(project: Path):
    wild = {"name": "two_player", "loss": "least_squares",
            "optimizers": {role: {"name": "sgd", "lr": 1e6} for role in ("generator", "discriminator")}}  # fmt: skip
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"objective": wild, "cluster": {"workers": 1}}))
    process = train(project)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 1 and "is not finite between" in output
    journal = next(project.glob("runs/*/journal.jsonl")).read_text()
    assert '"FAILED"' in journal

"""Stage train on a real Ray: what it makes, and what it survives. Small data, one process tree at a time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient
from safetensors.torch import load_file

from ganlib.datasets import table

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


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_result_is_the_same(project: Path, undisturbed: torch.Tensor):
    process = train(project)
    until_checkpoint(project, process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    finish(process)
    assert torch.equal(weights(project), undisturbed)


@pytest.mark.slow
def test_a_killed_driver_goes_on_with_the_same_command(project: Path, undisturbed: torch.Tensor):
    process = train(project)
    until_checkpoint(project, process)
    process.kill()
    process.wait()
    output = finish(train(project))
    assert "going on from" in output
    assert torch.equal(weights(project), undisturbed)


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

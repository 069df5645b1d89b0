"""The main job on a scratch copy of the repository: a real DVC, Ray and MLflow, on a user's own folder of images."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

ROOT = Path(__file__).parents[1]
SMALL = ["networks.width=8", "evaluation=quick", "training.images=3200", "training.batch_size=32",
         "training.checkpoint_every=1600", "training.monitor_images=20", "evaluation.images=40",
         "dataset=folder", "dataset.path=pictures", "dataset.resolution=16", "dataset.channels=3"]  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files, as a repository of their own, with 300 pictures of all modes and sizes."""
    project = tmp_path_factory.mktemp("project")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock":
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    random = np.random.default_rng(0)
    (project / "pictures").mkdir()
    for number in range(300):
        mode, channels = [("L", ()), ("RGB", (3,)), ("RGBA", (4,))][number % 3]
        height, width = random.integers(17, 40, 2)
        pixels = random.integers(0, 256, (height, width, *channels), np.uint8)
        Image.fromarray(pixels).convert(mode).save(project / "pictures" / f"{number}.png")
    run(project, sys.executable, "-m", "pipelines.compose", *SMALL)
    return project


def run(project: Path, *command: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "PYTHONPATH")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def would_run(project: Path) -> set[str]:
    """The stages that `dvc repro` finds changed; but for `look`, which runs always."""
    lines = run(project, "dvc", "repro", "--dry").splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")} - {"look"}


@pytest.mark.slow
def test_from_raw_images_to_a_champion(project: Path):
    output = run(project, "dvc", "repro")
    assert "version 1: champion" in output
    metrics = json.loads((project / "evaluation/metrics.json").read_text())
    assert metrics["distance"] == "fd_efficientnet_lite0" and metrics["protocol"]["generated_images"] == 40
    assert 0 < metrics["fd_efficientnet_lite0"]["floor"] < metrics["fd_efficientnet_lite0"]["untrained"]
    for name in ("samples", "progress", "interpolation", "truncation", "precision_recall", "neighbours"):
        assert Image.open(project / f"evaluation/{name}.png").size > (64, 64)
    assert "fd_efficientnet_lite0" in run(project, "dvc", "metrics", "show")
    assert metrics["fd_efficientnet_lite0"]["standard_error"] > 0

    # The pages of the run lie with it in MLflow, and the protocol of the distance during training.
    version = MlflowClient(f"sqlite:///{project}/mlflow.db").get_model_version("ganlib-pictures", "1")
    files = {path.relative_to(project / "mlartifacts" / version.run_id / "artifacts").as_posix()
             for path in (project / "mlartifacts" / version.run_id).rglob("*") if path.is_file()}
    assert {"report/report.html", "report/human_test.html", "monitor.json", "evaluation/truncation.png"} <= files

    # Nothing has changed, so nothing runs; and registering by hand registers nothing twice.
    assert would_run(project) == set()
    assert "didn't change, skipping" in run(project, "dvc", "repro")
    assert "version 1: champion, it is the champion already" in run(project, sys.executable, "-m", "pipelines.register")

    model = "models:/ganlib-pictures@champion"
    run(project, sys.executable, "-m", "pipelines.sample", "--model", model, "-n", "9", "--out", "grid.png")
    assert Image.open(project / "grid.png").size == (3 * 16, 3 * 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "runs", "rests"),
    [
        ("evaluation.seed=1", {"reference", "evaluate"}, {"prepare", "train"}),
        ("cluster.workers=1", {"train"}, {"prepare", "reference"}),
        ("cluster.cpus_per_worker=2", set(), {"prepare", "reference", "train", "evaluate"}),
        ("objective.n_critic=2", {"train"}, {"prepare", "reference"}),
    ],
)
def test_a_changed_choice_runs_what_depends_on_it(project: Path, choice: str, runs: set[str], rests: set[str]):
    run(project, sys.executable, "-m", "pipelines.compose", *SMALL, choice)
    try:
        changed = would_run(project)
        assert runs <= changed and not rests & changed
    finally:
        run(project, sys.executable, "-m", "pipelines.compose", *SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("room", ["losses.py", "objectives/two_player.py", "layers/norms.py", "training/loop.py"])
def test_changed_code_of_the_library_retrains(project: Path, room: str):
    file = project / "ganlib" / room
    before = file.read_text()
    file.write_text(before + "\n# changed\n")
    try:
        assert "train" in would_run(project)
    finally:
        file.write_text(before)


@pytest.mark.slow
def test_an_edit_of_conf_stops_the_next_run_with_the_command_to_type(project: Path):
    file = project / "conf/evaluation/quick.yaml"
    before = file.read_text()
    file.write_text(before.replace("neighbours: 3", "neighbours: 4"))
    try:
        with pytest.raises(AssertionError, match=r"neighbours is 3 in params.yaml and 4 in conf/.*compose networks"):
            run(project, "dvc", "repro")
    finally:
        file.write_text(before)


@pytest.mark.slow
def test_images_that_come_and_go_are_prepared_again(project: Path):
    def repro() -> tuple[bool, str]:
        output = run(project, "dvc", "repro", "prepare")
        return "Running stage 'prepare'" in output, json.loads((table / "manifest.json").read_text())["sha256"]

    table, new = project / "data/table", project / "pictures/new.png"
    _, before = repro()
    assert repro() == (False, before)
    Image.new("RGB", (20, 20), (1, 2, 3)).save(new)
    ran, with_it = repro()
    assert ran and with_it != before and repro() == (False, with_it)
    Image.new("RGB", (20, 20), (3, 2, 1)).save(new)  # of the same size, as a file too
    ran, with_another = repro()
    assert ran and with_another != with_it
    os.utime(new)  # touched, and nothing more: prepared again, into the same table
    assert repro()[1] == with_another
    assert "train" not in run(project, "dvc", "repro", "--dry", "reference")
    new.unlink()
    assert repro()[1] == before


@pytest.mark.slow
@pytest.mark.parametrize("lock_is_committed", [True, False])
def test_a_clone_takes_the_table_from_a_remote(project: Path, tmp_path: Path, lock_is_committed: bool):
    """The clone has no pictures, so it could not make the table itself."""
    run(project, "dvc", "repro", "prepare")
    run(project, "dvc", "remote", "add", "--default", "--force", "team", str(tmp_path / "remote"))
    run(project, "dvc", "push", "--run-cache")
    for command in (["add", "dvc.lock"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "t"]):
        run(project, "git", *command)
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    if lock_is_committed:
        run(clone, "dvc", "pull", "prepare")
    else:
        (clone / "dvc.lock").unlink()
        run(clone, "dvc", "fetch", "--run-cache", "prepare")
        run(clone, "dvc", "repro", "--pull", "prepare")
    assert (clone / "data/table/manifest.json").read_bytes() == (project / "data/table/manifest.json").read_bytes()
    assert "Stage 'prepare' didn't change, skipping" in run(clone, "dvc", "repro", "prepare")


@pytest.mark.slow
def test_a_sweep_runs_as_a_stage_once_one_is_chosen(project: Path):
    run(project, "dvc", "repro", "sweep")  # there is none, and nothing happens
    assert json.loads((project / "sweep/metrics.json").read_text()) == {}
    few = ["sweep=wgan_clip", "sweep.scheduler=none", "sweep.trials=2", "sweep.images=320", "sweep.register=false"]
    run(project, sys.executable, "-m", "pipelines.compose", *SMALL, *few)
    try:
        assert "best of 2" in run(project, "dvc", "repro", "sweep")
        metrics = json.loads((project / "sweep/metrics.json").read_text())
        assert metrics["complete"] == 2 and (project / "sweep/table.csv").exists()
        assert "distance_in_search" in run(project, "dvc", "exp", "show", "--csv")
        assert "Stage 'sweep' didn't change" in run(project, "dvc", "repro", "sweep")
    finally:
        run(project, sys.executable, "-m", "pipelines.compose", *SMALL)


PAIRS = ["preset=pix2pix_openmoji_tiny", "dataset=pairs", "dataset.path=drawings", "dataset.resolution=32",
         "networks.width=8", "networks.depth=4", "networks.discriminator_width=4", "networks.patch=16",
         "objective.adversarial_from=0.8", "objective.optimizers.generator.lr=0.003", "training.images=4000",
         "training.checkpoint_every=2000", "training.ema_half_life=100", "training.monitor_images=20",
         "training.jitter=0", "evaluation=quick", "evaluation.images=30"]  # fmt: skip


@pytest.mark.slow
def test_from_pairs_of_drawings_to_a_translated_folder(project: Path):
    """Outlines of boxes and the boxes filled, side by side: measured pair by pair, registered, used on other files."""
    random, drawings = np.random.default_rng(1), project / "drawings"
    drawings.mkdir()
    for number in range(240):
        pair = np.full((32, 64, 3), 255, np.uint8)
        top, left = random.integers(2, 14, 2)
        bottom, right = top + random.integers(6, 16), left + random.integers(6, 16)
        pair[top:bottom, left:right] = 0
        pair[top + 1:bottom - 1, left + 1:right - 1] = 255
        pair[top:bottom, 32 + left:32 + right] = (200, 60, 20)
        Image.fromarray(pair).save(drawings / f"{number}.png")
    run(project, sys.executable, "-m", "pipelines.compose", *PAIRS)
    output = run(project, "dvc", "repro")
    assert "version 1: champion" in output and "an image 3×32×32" in output
    metrics = json.loads((project / "evaluation/metrics.json").read_text())
    assert (metrics["distance"], metrics["failed"]) == ("lpips", None) and metrics["choice"].startswith("lpips_")
    assert metrics["lpips"]["value"] < metrics["lpips"]["floor"] < metrics["lpips"]["untrained"]
    assert {"l1", "psnr", "ssim", "colour_histogram", "cosine_efficientnet_lite0"} <= metrics.keys()
    assert (project / "evaluation/pairs.png").exists() and not (project / "evaluation/interpolation.png").exists()

    (project / "mine").mkdir()
    for name in ("a.png", "b.png"):
        Image.open(drawings / "0.png").crop((0, 0, 32, 32)).save(project / "mine" / name)
    model = "models:/ganlib-drawings@champion"
    run(project, sys.executable, "-m", "pipelines.translate", "--model", model, "mine", "drawn")
    first, second = (np.asarray(Image.open(project / "drawn" / name)) for name in ("a.png", "b.png"))
    assert first.shape == (32, 32, 3) and np.array_equal(first, second)
    assert first[..., 0].mean() > first[..., 2].mean() + 10  # red, where the drawing was grey

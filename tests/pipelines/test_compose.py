"""conf/ → params.yaml: what is composed, checked, recorded, and noticed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ganlib.config import ConfigError
from pipelines import compose
from pipelines.runs.params import load

ROOT = Path(__file__).parents[2]
GROUPS = [(group.name, file.stem) for group in sorted((ROOT / "conf").iterdir()) if group.is_dir()
          for file in sorted(group.glob("*.yaml"))]  # fmt: skip


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_committed_params_are_what_conf_composes_to():
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    compose.check()
    assert yaml.safe_load(Path("params.yaml").read_text())["composed"] == []


@pytest.mark.parametrize(("group", "choice"), GROUPS)
def test_every_file_of_conf_composes_to_what_training_accepts(group: str, choice: str):
    needs = {"folder": ["dataset.path=images"], "autoencoder": ["objective=began"],
             "pairs": ["dataset.path=images", "objective=pix2pix"],
             "dcgan_paper": ["objective=non_saturating"], "cyclegan": ["dataset=emoji"],
             "emoji": ["objective=cyclegan"], "openmoji": ["objective=pix2pix"],
             "unet": ["objective=pix2pix", "dataset=openmoji"], "resnet": ["dataset=openmoji"],
             "pix2pix": ["preset=pix2pix_openmoji_tiny" if group == "sweep" else "dataset=openmoji"]}.get(choice, [])
    compose.write([f"{group}={choice}", *needs])
    assert load().raw["composed"] == [f"{group}={choice}", *needs]


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_of_conf_begins_with_the_command_that_uses_it(path: Path):
    first = next(line for line in path.read_text().splitlines() if not line.startswith("# @package"))
    choice = f"{path.parent.name}={path.stem}"
    listed = f"{path.parent.name}=[{path.stem}]"
    assert first.startswith("# python -m pipelines.") and (path.stem == "config" or choice in first or listed in first)


def test_numbers_and_nested_choices_arrive():
    compose.write(["objective=wgan_gp", "training.images=2e6", "objective.penalties.gradient_penalty.weight=1"])
    params = load()
    assert params.run.training.images == 2_000_000
    assert params.run.build_objective().config.penalties["gradient_penalty"].weight == 1.0


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("objective=wgan_pg", "wgan_pg"),
        ("training.imagse=3", "imagse"),
        ("+training.imagse=3", "training.imagse: unknown key; did you mean 'images'"),
        ("objective.n_critic=0", "objective.n_critic: 1 … 1,000,000 is needed"),
        ("objective.penalties.r1.weight=-1", "r1.weight: must not be negative"),
        ("dataset=folder", "path"),
        ("cluster.workers=0", "cluster.workers: 1 … 100,000 is needed"),
        ("networks.prior=sphere evaluation.truncation=0.5", r"evaluation\.truncation: .*write 1, or networks\.prior"),
    ],
)
def test_what_cannot_be_run_is_not_written(choice: str, message: str):
    with pytest.raises(ConfigError, match=message):
        compose.write(choice.split())
    assert not Path("params.yaml").exists()


def test_the_sphere_is_for_latents_that_are_not_truncated():
    compose.write(["networks.prior=sphere"])
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("truncation: 1.0", "truncation: 0.9"))
    with pytest.raises(ConfigError, match=r"evaluation\.truncation: .*write 1"):
        compose.check()


def test_an_edit_of_conf_is_noticed_with_the_command_to_type():
    compose.write(["objective=hinge"])
    compose.check()
    file = Path("conf/objective/hinge.yaml")
    file.write_text(file.read_text().replace("n_critic: 1", "n_critic: 2"))
    with pytest.raises(ConfigError, match=r"critic is 1 in .* and 2 in conf/.*pipelines.compose objective=hinge"):
        compose.check()


@pytest.mark.parametrize("path", ["été", "猫/图片", "photos (2020)", "photos#1", "a,b", "x=y", "it's",
                                  'the "best"', "a[1]", "50%", "{a}", "plain/path", "with space", "a:b", "back\\slash",
                                  "2024", "1e3", "true", "[xxx]", "a\\,b", "a\\ b", "end ", "${HOME}", "x${", "\\"])
def test_a_path_is_taken_as_it_stands(path: str):
    compose.write(["dataset=folder", f"dataset.path={path}", "dataset.resolution=32"])
    assert load().dataset["path"] == path
    compose.check()


def test_values_of_hydras_grammar_stay_what_they_are():
    compose.write(["objective/terms=[lecam,top_k]", "training.images=2e6", "sweep=losses", "sweep.seeds=[1,2]",
                   "sweep.scheduler=none"])
    params = load()
    assert set(params.raw["objective"]["terms"]) == {"lecam", "top_k"} and params.run.training.images == 2_000_000
    assert params.sweep is not None and params.sweep.seeds == (1, 2)


def test_an_edit_of_params_is_noticed():
    compose.write([])
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("\nseed: 0\n", "\nseed: 7\n"))
    with pytest.raises(ConfigError, match=r"seed is 7 in params\.yaml and 0 in conf/"):
        compose.check()


def test_the_command_says_what_is_wrong_and_exits(project: Path):
    command = [sys.executable, "-m", "pipelines.compose", "training.batch_size=0"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": ""})
    assert done.returncode == 1 and done.stderr.startswith("compose: ") and "batch_size" in done.stderr
    assert "Traceback" not in done.stderr

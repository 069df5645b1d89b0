"""Where files are, wherever a command is started."""

from pathlib import Path

import pytest

from ganlib.config import ConfigError
from pipelines.runs import project
from pipelines.runs import tracker as tracking


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(project.VARIABLE, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that it is put back, whatever a test makes of it
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return tmp_path


def test_elsewhere_it_is_the_checkout():
    assert project.enter() == Path(__file__).parents[3] == Path.cwd()


def test_a_directory_with_conf_or_params_is_a_project(outside: Path):
    (outside / "params.yaml").touch()
    assert project.enter() == outside
    assert tracking.store() == f"sqlite:///{outside}/mlflow.db"


def test_the_variable_wins(outside: Path, monkeypatch: pytest.MonkeyPatch):
    (outside / "params.yaml").touch()
    (outside / "other").mkdir()
    monkeypatch.setenv(project.VARIABLE, str(outside / "other"))
    assert project.enter() == outside / "other" == Path.cwd()
    monkeypatch.setenv(project.VARIABLE, str(outside / "nothing"))
    with pytest.raises(ConfigError, match="there is no directory"):
        project.enter()


def test_a_place_that_ray_removes_is_refused(outside: Path, monkeypatch: pytest.MonkeyPatch):
    uploaded = outside / project.UPLOADED / "_ray_pkg_1"
    (uploaded / "conf").mkdir(parents=True)
    monkeypatch.chdir(uploaded)
    with pytest.raises(ConfigError, match=r"temporary copy that Ray removes.*GANLIB_PROJECT"):
        project.enter()


def test_the_store_of_the_configuration_is_used_unless_the_environment_names_another(monkeypatch: pytest.MonkeyPatch):
    tracking.use(None)
    assert tracking.store().startswith("sqlite:///")
    tracking.use("http://127.0.0.1:9")
    assert tracking.store() == "http://127.0.0.1:9"
    tracking.use("http://127.0.0.1:10")
    assert tracking.store() == "http://127.0.0.1:9"

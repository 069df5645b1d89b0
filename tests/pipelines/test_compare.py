"""A table of generators: best first, with the noise of each gap; no table across protocols."""

import json
import sys

import pytest
from mlflow import MlflowClient

from ganlib.config import ConfigError
from ganlib.metrics.protocol import ProtocolMismatch
from pipelines import compare

KEY = "fd_efficientnet_lite0"


def evaluation(path, value, error, **protocol):
    protocol = {"distance": KEY, "resize": 112} | protocol
    entry = {"value": value, "standard_error": error}
    path.write_text(json.dumps({"distance": KEY, KEY: entry, "protocol": protocol}))
    return str(path)


@pytest.fixture
def version(empty_store, tmp_path, monkeypatch):
    """A registered version with the tags that pipelines.register gives it."""
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.create_registered_model("toy")
    protocol = json.dumps({"resize": 112, "distance": KEY})
    made = client.create_model_version("toy", str(tmp_path), tags={"distance": KEY, KEY: "97.0", "protocol": protocol,
                                                                   "standard_error": "4.0"})
    client.set_registered_model_alias("toy", "champion", made.version)
    return "models:/toy/1"


def test_files_and_versions_are_ranked_with_the_noise_of_each_gap(version, tmp_path, monkeypatch, capsys):
    a, b = evaluation(tmp_path / "a.json", 122.5, 0.5), evaluation(tmp_path / "b.json", 110.0, 3.0)
    ranked = compare.compare([a, b, version])
    assert [measured.name for measured, _, _ in ranked] == [version, b, a]
    assert ranked[0][1:] == (13.0, 5.0)  # 3, 4, 5
    assert ranked[1][1] == 12.5
    monkeypatch.setattr(sys, "argv", ["compare", a, "models:/toy@champion"])
    compare.main()
    lines = capsys.readouterr().out.splitlines()
    assert KEY in lines[0] and lines[1].startswith("models:/toy@champion") and "97 ± 4" in lines[1]
    assert "25.5 ± 4" in lines[1] and lines[2].split()[0] == a


def test_unequal_protocols_make_no_table(tmp_path):
    places = [evaluation(tmp_path / "a.json", 1.0, 0.1), evaluation(tmp_path / "b.json", 2.0, 0.1, resize=64)]
    with pytest.raises(ProtocolMismatch, match=r"resize 112 \(.*a\.json\) against 64 \(.*b\.json\)"):
        compare.compare(places)


@pytest.mark.parametrize(("place", "message"), [
    ("nowhere.json", "no evaluation here"),
    ("broken.json", "no evaluation here"),
    ("models:/toy/7", "models:/toy/7: .*not found"),
    ("models:/toy@best", "models:/toy@best: .*best"),
])
def test_what_is_not_there_is_named(place, message, version, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text('{"distance": "x"}')
    with pytest.raises(ConfigError, match=message):
        compare.compare([place])

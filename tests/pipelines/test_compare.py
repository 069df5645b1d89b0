"""A table of generators: best first, with the noise of each gap; no table across protocols."""

import json
import math
import sys

import numpy as np
import pytest
from mlflow import MlflowClient

from ganlib.config import ConfigError
from ganlib.metrics.protocol import ProtocolMismatch
from pipelines import compare

KEY = "fd_efficientnet_lite0"


CHOICE = f"{KEY}_validation"
SIGNS = np.array([[1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 3**0.5  # three noises with nothing in common


def left_out(value, error, which):
    """Of four groups, with a jackknife error of `error`."""
    return (value + error * SIGNS[which]).tolist()


def evaluation(path, value, error, which=0, failed=None, **protocol):
    protocol = {"distance": KEY, "resize": 112, "real_split": "test", "chosen_by": "validation"} | protocol
    entry = {"value": value, "standard_error": error, "left_out": left_out(value, error, which)}
    path.write_text(json.dumps({"distance": KEY, "choice": CHOICE, KEY: {"value": value + 1000}, CHOICE: entry,
                                "failed": failed, "protocol": protocol}))
    return str(path)


@pytest.fixture
def version(empty_store, tmp_path, monkeypatch):
    """A registered version with the tags that pipelines.register gives it."""
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.create_registered_model("toy")
    protocol = {"resize": 112, "distance": KEY, "real_split": "test", "chosen_by": "validation"}
    made = client.create_model_version("toy", str(tmp_path), tags={
        "distance": KEY, KEY: "1097.0", "choice": CHOICE, CHOICE: "97.0", "protocol": json.dumps(protocol),
        "left_out": json.dumps(left_out(97.0, 4.0, 1)), "failed": "no"})
    client.set_registered_model_alias("toy", "champion", made.version)
    return "models:/toy/1"


def test_files_and_versions_are_ranked_with_the_noise_of_each_gap(version, tmp_path, monkeypatch, capsys):
    a, b = evaluation(tmp_path / "a.json", 122.5, 0.5), evaluation(tmp_path / "b.json", 110.0, 3.0)
    ranked = compare.compare([a, b, version])
    assert [one.measured.name for one in ranked] == [version, b, a]
    assert [one.reported for one in ranked] == [1097, 1110, 1122.5]
    assert (ranked[0].gain, ranked[0].noise) == pytest.approx((13.0, 5.0))  # 3, 4, 5
    assert (ranked[1].gain, ranked[1].noise) == pytest.approx((12.5, 2.5))  # they rise and fall together
    monkeypatch.setattr(sys, "argv", ["compare", a, "models:/toy@champion"])
    compare.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("models:/toy@champion") and lines[1].split()[1] == "1097" and "97 ± 4" in lines[1]
    assert "25.5 ± 4" in lines[1] and lines[2].split()[0] == a
    assert lines[3].startswith(f"{KEY}: to report, by real images of test; to choose by, of validation")


def test_what_has_no_distance_comes_last_and_what_failed_is_marked(tmp_path, monkeypatch, capsys):
    places = [evaluation(tmp_path / f"{name}.json", value, 1.0, failed=failed) for name, value, failed in
              (("a", 3.0, None), ("nan", math.nan, None), ("b", 1.0, "it is grey"), ("c", 2.0, None))]
    assert [one.measured.value for one in compare.compare(places)][:3] == [1, 2, 3]
    monkeypatch.setattr(sys, "argv", ["compare", *places])
    compare.main()
    lines = capsys.readouterr().out.splitlines()
    assert "FAILED" in lines[1] and not any("FAILED" in line for line in lines[2:])


def test_folders_have_one_distance_for_both(tmp_path):
    path = tmp_path / "folders.json"
    path.write_text(json.dumps({"distance": KEY, KEY: {"value": 5.0, "left_out": [4.0, 6.0]}, "protocol": {}}))
    (one,) = compare.compare([str(path)])
    assert one.reported == one.measured.value == 5 and one.measured.standard_error == 1 and not one.failed


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

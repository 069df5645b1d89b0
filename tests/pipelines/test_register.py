import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from ganlib import build
from ganlib.config import ConfigError
from ganlib.sampling import generator as generators
from pipelines import register, sample
from pipelines.evaluation import registry
from pipelines.runs import tracker as tracking
from pipelines.runs.project import EVALUATION, MODEL
from pipelines.runs.revision import git_revision

ROOT = Path(__file__).parents[2]
SHAPE, KEY = (1, 8, 8), "fd_efficientnet_lite0"
CHOICE = f"{KEY}_validation"


@pytest.fixture
def place(empty_store, tmp_path, monkeypatch):
    """A repository after training and evaluation, with an MLflow store of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    logged = tracking.Tracker(tmp_path / "runs" / "toy", "ganlib-toy", "toy", {"seed": 0}, {})
    logged.log(640, {"D/loss": 1.0})
    logged.finish()
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    train(0)
    evaluate(100.0)
    return tmp_path


def train(seed):
    options = {"name": "mlp", "width": 16, "depth": 1, "latent": 4}
    module, config = build.component("networks", options)
    torch.manual_seed(seed)
    network = module.build(config, SHAPE)["generator"]
    generators.save(MODEL, network, {
        "networks": options, "shape": list(SHAPE), "classes": [], "seed": seed, "dataset": "toy", "data_sha256": "d1",
        "run": os.path.abspath("runs/toy"), "images_seen": 640, "ema": True})  # fmt: skip


def evaluate(distance, signs=(1, -1, 1, -1), failed=None, **protocol):
    """Of test images the distance is 1,000 more than of those to choose by. `signs`: of the noise without each of four
    groups, ± 1 in all."""
    EVALUATION.mkdir(exist_ok=True)
    (EVALUATION / "metrics.json").write_text(json.dumps({
        KEY: {"value": 1000 + distance, "standard_error": 1.0, "floor": 16.4}, "recall": {"value": 0.5},
        CHOICE: {"value": distance, "left_out": [distance + sign / 3**0.5 for sign in signs]},
        "classes": {"shares": [0.1, 0.9]}, "failed": failed,
        "distance": KEY, "choice": CHOICE, "generator_sha256": generators.digest(MODEL),
        "protocol": {"extractor": "efficientnet_lite0", "resize": 112, "data_sha256": "d1", "seed": 0, **protocol}}))
    Image.new("L", (8, 8)).save(EVALUATION / "grid.png")


def champion():
    aliases = MlflowClient().get_registered_model("ganlib-toy").aliases
    return str(aliases["champion"])


def test_a_first_model_becomes_champion_and_says_all_about_itself(place):
    result = registry.register()
    assert (result["name"], result["version"], result["champion"]) == ("ganlib-toy", "1", True)
    version = MlflowClient().get_model_version("ganlib-toy", "1")
    assert champion() == "1" and version.run_id == tracking.run_id(place / "runs" / "toy")
    assert version.tags[KEY] == "1100.0" and version.tags[CHOICE] == "100.0" and version.tags["recall"] == "0.5"
    assert version.tags["data_sha256"] == "d1"
    assert json.loads(version.tags["protocol"])["resize"] == 112
    assert version.tags["git"] == "unknown"  # here is no checkout
    run = MlflowClient().get_run(version.run_id)
    assert run.data.metrics == {"D/loss": 1.0, f"evaluation/{KEY}": 1100.0, f"evaluation/{KEY}.floor": 16.4,
                                f"evaluation/{KEY}.standard_error": 1.0, f"evaluation/{CHOICE}": 100.0,
                                "evaluation/recall": 0.5}
    assert run.info.status == "FINISHED"
    files = [file.path for file in MlflowClient().list_artifacts(version.run_id, "evaluation")]
    assert files == ["evaluation/grid.png", "evaluation/metrics.json"]


def test_a_second_time_registers_nothing(place):
    first = registry.register()
    again = registry.register()
    assert again["version"] == first["version"] == "1" and again["champion"]
    assert again["reason"] == "it is the champion already"
    assert len(MlflowClient().search_model_versions("name = 'ganlib-toy'")) == 1
    history = MlflowClient().get_metric_history(tracking.run_id(place / "runs" / "toy"), f"evaluation/{KEY}")
    assert len(history) == 1


@pytest.mark.parametrize(("distance", "protocol", "moves", "reason"), [
    (90.0, {}, True, f"better than version 1: {CHOICE} 90 ± 1 against 100 ± 1"),
    (97.5, {}, False, f"better than version 1, but not by 2 standard errors (1.4): {CHOICE} 97.5"),
    (97.0, {}, True, "97 ± 1 against 100 ± 1"),  # 3 > 2·√2
    (99.9, {"signs": (1, -1, 1, -1)}, True, "99.9 ± 1 against 100 ± 1"),  # which rise and fall together
    (97.0, {"signs": (-1, 1, -1, 1)}, False, "not by 2 standard errors (2)"),  # the one rises as the other falls
    (100.0, {}, False, f"not better than version 1: {CHOICE} 100 ± 1 against 100 ± 1"),
    (110.0, {}, False, "not better than version 1"),
    (90.0, {"failed": "it is grey"}, False, "it is grey"),
    (float("nan"), {}, False, f"its {CHOICE} is nan"),
    (50.0, {"resize": 64}, False, "was measured in another way (resize differ)"),
    (50.0, {"seed": 1, "new": 5}, False, "was measured in another way (seed, new differ)"),
])
def test_the_champion_changes_only_for_a_better_distance_of_the_same_protocol(place, distance, protocol, moves, reason):
    registry.register()
    train(1)
    evaluate(distance, **({"signs": (1, 1, -1, -1)} | protocol))  # which have nothing to do with the champion's
    result = registry.register()
    assert result["version"] == "2" and result["champion"] is moves and reason in result["reason"]
    assert champion() == ("2" if moves else "1")
    assert registry.register() == result | ({"reason": "it is the champion already"} if moves else {})


def test_how_far_beyond_the_noise_is_a_choice(place):
    registry.register()
    train(1)
    evaluate(97.5, signs=(1, 1, -1, -1))
    assert not registry.register(standard_errors=2)["champion"]
    assert registry.register(standard_errors=1)["champion"] and champion() == "2"


@pytest.mark.parametrize("unknown", [(), (float("nan"), 1.0, 1.0, 1.0)])
def test_where_the_noise_is_not_known_nothing_moves_unless_any_gain_will_do(place, unknown):
    registry.register()
    train(1)
    evaluate(50.0, signs=unknown)
    result = registry.register()
    assert not result["champion"] and "the noise of one is not known" in result["reason"]
    assert registry.register(standard_errors=0)["champion"]


def test_an_evaluation_that_was_made_again_replaces_the_numbers_and_the_pages(place):
    registry.register()
    (place / "report").mkdir()
    (place / "report" / "report.html").write_text("new")
    evaluate(80.0)
    assert registry.register()["version"] == "1"
    version = MlflowClient().get_model_version("ganlib-toy", "1")
    assert version.tags[KEY] == "1080.0"
    assert MlflowClient().get_run(version.run_id).data.metrics[f"evaluation/{KEY}"] == 1080.0
    assert (place / "mlartifacts" / version.run_id / "artifacts" / "report" / "report.html").read_text() == "new"


def test_other_data_never_takes_the_champion_over(place):
    registry.register()
    evaluate(50.0, data_sha256="d2")
    with pytest.raises(ConfigError, match="model was trained on the data d1 and evaluation was measured with d2"):
        registry.register()
    description = json.loads((MODEL / "generator.json").read_text())
    (MODEL / "generator.json").write_text(json.dumps(description | {"data_sha256": "d2"}))
    result = registry.register()
    assert not result["champion"] and "was measured in another way (data_sha256 differ)" in result["reason"]


@pytest.mark.parametrize("how", ["empty", "cut", "of other networks"])
def test_a_generator_that_cannot_be_loaded_is_not_registered(place, how):
    weights = MODEL / "generator.safetensors"
    if how == "of other networks":
        about = MODEL / "generator.json"
        about.write_text(about.read_text().replace('"width": 16', '"width": 17'))
    else:
        weights.write_bytes(weights.read_bytes()[:100 if how == "cut" else 0])
    evaluate(50.0)
    with pytest.raises(ConfigError, match=r"generator\.safetensors does not hold the weights of this generator"):
        registry.register()
    assert tracking.client().search_registered_models() == []


def test_the_numbers_of_other_weights_are_refused(place):
    train(1)
    with pytest.raises(ConfigError, match=r"other weights than those of model; run `python -m pipelines\.evaluate`"):
        registry.register()
    assert tracking.client().search_registered_models() == []


@pytest.mark.parametrize("change", [{"protocol": 5}, {"protocol": {"data_sha256": "d1"}, CHOICE: 7}, {"failed": ...},
                                    {"distance": []}, {CHOICE: {"value": 1}}, {"distance": "fd"}, {"protocol": {}}])
def test_numbers_that_are_not_as_they_were_written_are_refused(place, change):
    path = EVALUATION / "metrics.json"
    measured = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in measured.items() if value is not ...}))
    with pytest.raises(ConfigError, match=r"metrics\.json: not as it was written.*run `python|measured with None"):
        registry.register()
    assert tracking.client().search_registered_models() == []


def register_when(barrier):
    create = registry._create

    def together(*arguments):
        barrier.wait(60)  # neither has found a version
        return create(*arguments)

    registry._create = together
    registry.register()


@pytest.mark.parametrize("local", [True, False])
def test_two_at_once_make_one_version(place, local):
    if not local:
        shutil.rmtree("runs")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=register_when, args=(barrier,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    (version,) = tracking.use_store().search_model_versions("name = 'ganlib-toy'")
    assert champion() == str(version.version)
    assert MlflowClient().get_run(version.run_id).data.metrics[f"evaluation/{KEY}"] == 1100.0
    assert registry.register()["version"] == champion()
    assert len(list(place.glob("mlartifacts/*/artifacts/generator-*"))) == 1


def test_two_first_uses_of_the_store_at_once_make_one_version(place):
    (place / "mlflow.db").unlink()
    (place / "runs/toy/mlflow.json").unlink()
    test_two_at_once_make_one_version(place, True)


CLASSES = ("C++", "C--", "T-shirt (blue)", "100%", "a,b", "it's", "value", "..", "x=y", "T-shirt/top", "#1", "n" * 300)


@pytest.mark.parametrize("dataset", ["it's mine", 'a "quote"', "photos (2020)", "x:y", "50%"])
def test_classes_and_data_sets_of_any_name_are_registered(place, dataset):
    measured = json.loads((EVALUATION / "metrics.json").read_text())
    shares = {name: (1 + place) / 100 for place, name in enumerate(CLASSES)}
    (EVALUATION / "metrics.json").write_text(json.dumps(measured | {"class_shares": shares}))
    about = MODEL / "generator.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"dataset": dataset}))
    result = registry.register()
    assert result["champion"] and registry.register() == result | {"reason": "it is the champion already"}
    version = MlflowClient().get_model_version(result["name"], result["version"])
    assert version.tags["dataset"] == dataset and version.tags.get("class_shares") is None
    logged = MlflowClient().get_run(version.run_id).data.metrics
    found = {name: value for name, value in logged.items() if name.startswith("evaluation/class_shares.")}
    assert sorted(found.values()) == sorted(shares.values())
    assert found["evaluation/class_shares.value"] == shares["value"]
    assert found["evaluation/class_shares.T-shirt/top"] == shares["T-shirt/top"]
    assert sample.images(f"models:/{result['name']}@champion", 2, 0)[0].shape == (2, *SHAPE)
    there = MlflowClient().list_artifacts(version.run_id, "evaluation")
    assert "evaluation/metrics.json" in [file.path for file in there]  # which has the true names


def test_what_could_not_be_completed_is_said_and_completed_by_the_same_command(place):
    with sqlite3.connect(place / "mlflow.db") as stopped:
        stopped.execute("CREATE TRIGGER no BEFORE INSERT ON registered_model_aliases "
                        "BEGIN SELECT RAISE(ABORT, 'no more aliases'); END")
    with pytest.raises(SystemExit, match=r"version 1 of ganlib-toy is there, but not yet all .*\(no more aliases\); "
                                         "the same command completes it"):
        register.main()
    with sqlite3.connect(place / "mlflow.db") as goes_on:
        goes_on.execute("DROP TRIGGER no")
    register.main()
    assert champion() == "1" and json.loads(register.REGISTRATION.read_text())["champion"]


@pytest.mark.parametrize("name", ["gan?x", "gan%20y", "gän #1 (v2)"])
def test_it_is_registered_whatever_the_projects_directory_is_called(place, empty_store, monkeypatch, name):
    (place / name).mkdir()
    for part in ("model", "evaluation", "params.yaml"):
        shutil.move(place / part, place / name / part)
    (place / name / "mlflow.db").write_bytes(empty_store.read_bytes())
    before = sorted(os.listdir(place))
    monkeypatch.chdir(place / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    register.main()
    drawn, _ = sample.images("models:/ganlib-toy@champion", 3, 5)
    assert (drawn == generators.sample(generators.load(MODEL)[0], 3, 5).numpy()).all()
    assert sorted(os.listdir(place)) == before
    assert sorted(os.listdir()) == ["evaluation", "mlartifacts", "mlflow.db", "model", "params.yaml",
                                    "registration.json"]


def test_a_copy_of_the_project_registers_in_its_own_runs(place, tmp_path_factory, monkeypatch):
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(place, copy)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    monkeypatch.chdir(copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy}/mlflow.db")
    with pytest.raises(SystemExit, match="was copied or moved: its files are in"):
        register.main()
    (copy / "mlflow.db").unlink()
    register.main()
    version = tracking.client().get_model_version("ganlib-toy", "1")
    assert version.run_id == tracking.run_id(copy / "runs/toy")
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_generator_that_learned_nothing_is_never_the_first_champion(place):
    evaluate(100.0, failed="not clearly better than an untrained one")
    result = registry.register()
    assert not result["champion"] and result["reason"] == "not clearly better than an untrained one"
    assert MlflowClient().get_model_version("ganlib-toy", "1").tags["failed"] == result["reason"]
    assert MlflowClient().get_registered_model("ganlib-toy").aliases == {}


@pytest.mark.parametrize(("theirs", "moves"), [(70.0, True), (50.0, False)])
def test_a_champion_of_an_older_protocol_is_measured_again(place, theirs, moves):
    registry.register()
    weights = (MODEL / "generator.safetensors").read_bytes()
    train(1)
    evaluate(60.0, signs=(1, 1, -1, -1), resize=64)
    asked = []

    def again(model):
        asked.append((model / "generator.safetensors").read_bytes())
        return {"value": theirs, "left_out": [theirs + sign / 3**0.5 for sign in (1, -1, 1, -1)], "failed": None}

    result = registry.register(again=again)
    assert result["champion"] is moves and "60 ± 1 against" in result["reason"] and asked == [weights]
    assert registry.register(again=again)["champion"] is moves and len(asked) == 1  # what it came to is noted


def test_a_champion_that_learned_nothing_gives_way_to_whatever_did(place):
    """As an older revision crowned them."""
    registry.register()
    train(1)
    evaluate(120.0, resize=64)
    result = registry.register(again=lambda model: {"value": 110.0, "left_out": [110.0] * 4, "failed": "it is grey"})
    assert result["champion"] and "the champion so far, failed: it is grey" in result["reason"]


def test_an_evaluation_of_an_older_revision_says_what_to_run(place):
    path = EVALUATION / "metrics.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "choice"}))
    with pytest.raises(ConfigError, match=r"older revision.*python -m pipelines\.evaluate"):
        registry.register()


def test_a_champion_that_cannot_be_measured_again_says_what_to_do(place):
    registry.register()
    train(1)
    evaluate(60.0, resize=64)

    def again(model):
        raise ConfigError("its networks are others")

    result = registry.register(again=again)
    assert not result["champion"] and "its networks are others. Remove its alias" in result["reason"]


def test_an_alias_that_was_not_reached_is_set_the_next_time(place):
    """As after an interruption between the version and its alias."""
    registry.register()
    MlflowClient().delete_registered_model_alias("ganlib-toy", "champion")
    result = registry.register()
    assert result["champion"] and champion() == result["version"] == "1"


def test_a_model_whose_run_is_not_on_this_machine_gets_one(place):
    description = json.loads((MODEL / "generator.json").read_text())
    (MODEL / "generator.json").write_text(json.dumps(description | {"run": "/elsewhere/runs/far"}))
    result = registry.register()
    run = MlflowClient().get_run(MlflowClient().get_model_version("ganlib-toy", result["version"]).run_id)
    assert run.info.run_name == "far" and run.data.metrics[f"evaluation/{KEY}"] == 1100.0
    assert run.info.status == "FINISHED"


LOAD = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/ganlib-toy@champion")
images = model.predict(pd.DataFrame({"seed": [3, 5], "truncation": [1.0, 0.0]}), params={"n": 2})
import ganlib
print(json.dumps({"ganlib": ganlib.__file__, "dtype": str(images.dtype), "images": images.tolist()}))
"""


@pytest.mark.slow
def test_elsewhere_it_loads_with_its_own_code_and_gives_the_same_images(place, tmp_path_factory):
    registry.register()
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    finished = subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path_factory.mktemp("elsewhere"), env=environment,
                              capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    loaded = json.loads(finished.stdout.splitlines()[-1])
    assert loaded["ganlib"].startswith(str(place / "mlartifacts"))
    assert loaded["dtype"] == "uint8"
    network, _ = generators.load(MODEL)
    expected = torch.cat([generators.sample(network, 2, 3), generators.sample(network, 2, 5, truncation=0.0)])
    assert loaded["images"] == expected.tolist()
    pickles = [path for path in (place / "mlartifacts").rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".pth")]
    assert pickles == []


@pytest.mark.parametrize(("table", "n", "message"), [
    ({"seed": [0], "truncation": [1.5]}, 1, "truncation"),
    ({"seed": [0], "label": [1]}, 1, "this generator is unconditional"),
    ({"seed": [0]}, 0, "at least 1 image"),
    ({"seed": ["x"]}, 1, "seed"),
    ({"sed": [0]}, 1, "seed"),
])
def test_what_it_cannot_draw_is_refused(place, table, n, message):
    import mlflow
    registry.register()
    model = mlflow.pyfunc.load_model("models:/ganlib-toy/1")
    with pytest.raises(ValueError if message != "seed" else mlflow.MlflowException, match=message):
        model.predict(pd.DataFrame(table), params={"n": n})


def test_a_registry_out_of_reach_is_one_clear_message(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(SystemExit, match=r"registry at http://127\.0\.0\.1:9 failed .* the same command completes"):
        register.main()
    assert not register.REGISTRATION.exists()


def test_the_command_writes_registration_json(place, capsys):
    register.main()
    assert json.loads(register.REGISTRATION.read_text()) == {
        "name": "ganlib-toy", "version": "1", "champion": True, "reason": f"it is the first with a {CHOICE}: 100"}
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"ganlib-toy version 1: champion, it is the first with a {CHOICE}: 100")


def test_without_a_model_or_an_evaluation_it_says_what_to_run(place):
    (EVALUATION / "metrics.json").write_text("{")
    with pytest.raises(ConfigError, match=r"metrics\.json: not JSON"):
        registry.register()
    (EVALUATION / "metrics.json").unlink()
    with pytest.raises(SystemExit, match=r"evaluation/metrics\.json: not found; run `dvc repro`"):
        register.main()


def test_the_revision_is_dirty_when_code_was_edited(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "ganlib").mkdir()
    (tmp_path / "ganlib" / "losses.py").write_text("1")
    (tmp_path / "notes.txt").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    clean = git_revision()
    (tmp_path / "notes.txt").write_text("2")
    assert len(clean) == 40 and git_revision() == clean
    (tmp_path / "ganlib" / "losses.py").write_text("2")
    assert git_revision() == f"{clean}-dirty"

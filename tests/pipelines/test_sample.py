import json
import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganlib import build
from ganlib.condition import of_classes
from ganlib.sampling import generator as generators
from pipelines import sample
from pipelines.evaluation import registry
from pipelines.evaluation.pyfunc_model import GeneratorModel
from pipelines.runs import tracker as tracking

OPTIONS, SHAPE = {"name": "mlp", "width": 16, "depth": 1, "latent": 4}, (3, 8, 8)


CLASSES = ["C++", "C--", "T-shirt (blue)", "1"]


def registered(where, classes):
    """A generator in `where`, and in the registry there as its champion."""
    options = OPTIONS | ({"conditioning": "concat"} if classes else {})
    torch.manual_seed(0)
    network = build.networks(options, SHAPE, of_classes(len(classes)), 0)["generator"]
    generators.save(where / "model", network, {
        "networks": options, "shape": list(SHAPE), "classes": classes, "seed": 0, "dataset": "toy", "data_sha256": "d",
        "label_counts": [5, 1, 3, 7] if classes else [], "run": "runs/gone", "images_seen": 640,
        "ema": True})  # fmt: skip
    (where / "evaluation").mkdir()
    (where / "evaluation" / "metrics.json").write_text(json.dumps({
        "fd": {"value": 1.0, "left_out": []}, "distance": "fd", "choice": "fd", "failed": None,
        "protocol": {"data_sha256": "d"}, "generator_sha256": generators.digest(where / "model")}))
    assert registry.register(where / "model", where / "evaluation")["champion"]


@contextmanager
def a_place(empty_store, where, classes):
    (where / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{where}/mlflow.db")
        registered(where, classes)
        yield where


@pytest.fixture(scope="module")
def told(empty_store, tmp_path_factory):
    """The same of a generator that is told a class."""
    with a_place(empty_store, tmp_path_factory.mktemp("told"), CLASSES) as where:
        yield where


@pytest.fixture(scope="module")
def place(empty_store, tmp_path_factory):
    """A directory with a generator that is also in a registry, as its champion."""
    with a_place(empty_store, tmp_path_factory.mktemp("place"), []) as where:
        yield where


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["sample", *words])
    sample.main()


def test_a_directory_and_the_champion_give_the_same_grid(place, monkeypatch):
    for model, out in (("model", "a.png"), ("models:/ganlib-toy@champion", "deep/b.png")):
        run(monkeypatch, "--model", model, "-n", "10", "--seed", "3", "--truncation", "0.5", "--out", out)
    ours, theirs = (np.asarray(Image.open(place / out)) for out in ("a.png", "deep/b.png"))
    assert ours.shape == (3 * 8, 4 * 8, 3) and np.array_equal(ours, theirs)
    network, _ = generators.load(place / "model")
    images = generators.sample(network, 10, 3, truncation=0.5)
    assert np.array_equal(ours[8:16, 8:16], images[5].permute(1, 2, 0))  # second row, second of four columns
    assert sorted(os.listdir(place / "deep")) == ["b.png"]


@pytest.mark.parametrize(("words", "message"), [
    (("--model", "nowhere"), r"nowhere/generator\.json: no generator here"),
    (("--model", "models:/ganlib-toy@best"), "best"),
    (("--model", "models:/other/1"), "other"),
    (("--model", "model", "--truncation", "2"), "truncation"),
    (("--model", "models:/ganlib-toy@champion", "--label", "1"), "unconditional"),
    (("--model", "model", "--label", "1"), "unconditional"),
    (("--model", "model", "-n", "0"), "at least 1 image"),
    (("--model", "models:/ganlib-toy@champion", "-n", "0"), "at least 1 image"),
    (("--model", "model", "--seed", "99999999999999999999"), r"seed: a number from 0 to 2\*\*63 - 1"),
    (("--model", "models:/ganlib-toy@champion", "--seed", "-1"), r"seed: a number from 0 to 2\*\*63 - 1"),
])
def test_what_cannot_be_drawn_is_one_message_and_no_file(place, monkeypatch, words, message):
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, *words, "--out", "none.png")
    assert not (place / "none.png").exists()


def test_latents_on_a_sphere_are_not_truncated(make_run, tmp_path, monkeypatch):
    """By none of the ways to images; and whole ones are drawn."""
    model = make_run(tmp_path, prior="sphere", classes=()) / "model"
    registered, out = GeneratorModel(), str(tmp_path / "grid.png")
    registered.load_context(SimpleNamespace(artifacts={"generator": str(model)}))
    with pytest.raises(SystemExit, match=r"truncation: 0\.5 would change nothing .*write 1"):
        run(monkeypatch, "--model", str(model), "-n", "4", "--truncation", "0.5", "--out", out)
    with pytest.raises(ValueError, match=r"truncation: .*write 1"):
        registered.predict(None, pd.DataFrame({"seed": [0, 0], "truncation": [1.0, 0.5]}))
    run(monkeypatch, "--model", str(model), "-n", "4", "--truncation", "1", "--out", out)
    whole = registered.predict(None, pd.DataFrame({"seed": [0], "truncation": [1.0]}), {"n": 4})
    assert np.array_equal(np.asarray(Image.open(out))[:8, :8], whole[0, 0])


BOTH = ["{}/model", "models:/ganlib-toy@champion"]


@pytest.mark.parametrize("model", BOTH)
def test_a_label_is_a_name_or_a_number_and_is_said(told, monkeypatch, capsys, tmp_path, model):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{told}/mlflow.db")
    network, _ = generators.load(told / "model")
    for label, number in (("C++", 0), ("T-shirt (blue)", 2), ("2", 2), ("0", 0), ("1", 3)):  # the name counts first
        run(monkeypatch, "--model", model.format(told), "-n", "4", "--label", label, "--out", str(tmp_path / "a.png"))
        expected = generators.sample(network, torch.full((4,), number), 0)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png"))[:8, :8], expected[0].permute(1, 2, 0))
        assert capsys.readouterr().out.endswith(f"a.png, class {number} ({CLASSES[number]})\n")


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize(("label", "message"), [
    ("-1", r"label: 0 … 3 is needed, got -1"), ("4", r"label: 0 … 3 is needed, got 4"),
    ("9" * 5000, r"label: 0 … 3 is needed"), ("c++", r"no class 'c\+\+'; did you mean 'C\+\+'\?"),
    ("1.0", "no class '1.0'"), ("", "no class ''")])
def test_a_label_that_is_none_is_one_message(told, monkeypatch, tmp_path, model, label, message):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{told}/mlflow.db")
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, "--model", model.format(told), f"--label={label}", "--out", str(tmp_path / "a.png"))
    assert not list(tmp_path.iterdir())


def test_without_a_label_a_directory_and_the_registry_give_the_same_as_training_has_them(told, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{told}/mlflow.db")
    (ours, said), (theirs, too) = (sample.images(model.format(told), 16, 3) for model in BOTH)
    network, _ = generators.load(told / "model")
    assert np.array_equal(ours, theirs) and np.array_equal(ours, generators.sample(network, 16, 3))
    assert said == too == ", class 0 (C++), 1 (C--), 2 (T-shirt (blue)), 3 (1)"


def test_a_registered_model_is_told_classes_by_name_too(told, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{told}/mlflow.db")
    tracking.use_store()
    model = mlflow.pyfunc.load_model("models:/ganlib-toy@champion")
    by_name = model.predict(pd.DataFrame({"seed": [1, 2], "class": ["C--", "1"]}))
    assert np.array_equal(by_name, model.predict(pd.DataFrame({"seed": [1, 2], "label": [1, 3]})))
    drawn = model.predict(pd.DataFrame({"seed": [1, 2]}), params={"n": 3})
    network, _ = generators.load(told / "model")
    assert np.array_equal(drawn, torch.cat([generators.sample(network, 3, seed) for seed in (1, 2)]))
    for table, message in (({"seed": [1], "class": ["C"]}, "no class 'C'; known: "),
                           ({"seed": [1], "label": [-1]}, "0 … 3"),
                           ({"seed": [1], "label": [1], "class": ["C"]}, "give one of them")):
        with pytest.raises(ValueError, match=message):
            model.predict(pd.DataFrame(table))
    with pytest.raises(ValueError, match="at least 1 row is needed"):
        model.predict(pd.DataFrame({"seed": np.zeros(0, np.int64)}))


def test_a_registered_model_is_drawn_from_with_the_library_that_it_was_made_with(place, monkeypatch):
    """Which is changed here: it makes everything black."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    (code,) = (place / "mlartifacts").rglob("ganlib/sampling/generator.py")
    before = code.read_text()
    code.write_text(before + "\n\ndef to_uint8(images):\n    return torch.zeros_like(images, dtype=torch.uint8)\n")
    try:
        assert sample.images("models:/ganlib-toy@champion", 4, 0)[0].max() == 0
    finally:
        code.write_text(before)
    assert sample.images(str(place / "model"), 4, 0)[0].max() > 0  # ours is ours again
    assert sample.images("models:/ganlib-toy@champion", 4, 0)[0].max() > 0
    assert sys.modules["ganlib.sampling.generator"] is generators


def test_a_wrong_ending_is_refused_without_a_file(place, monkeypatch):
    with pytest.raises(SystemExit, match=r"--out out/grid\.picture: .* write for example out/grid\.png"):
        run(monkeypatch, "--model", "model", "--out", "out/grid.picture")
    assert not (place / "out").exists() or os.listdir(place / "out") == []

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from ganlib import build
from ganlib.sampling import generator as generators
from pipelines import register, sample
from pipelines.pyfunc_model import GeneratorModel

OPTIONS, SHAPE = {"name": "mlp", "width": 16, "depth": 1, "latent": 4}, (3, 8, 8)


@pytest.fixture(scope="module")
def place(empty_store, tmp_path_factory):
    """A directory with a generator that is also in a registry, as its champion."""
    where = tmp_path_factory.mktemp("place")
    (where / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{where}/mlflow.db")
        module, config = build.component("networks", OPTIONS)
        torch.manual_seed(0)
        network = module.build(config, SHAPE, 0)["generator"]
        generators.save(where / "model", network, {
            "networks": OPTIONS, "shape": list(SHAPE), "classes": [], "seed": 0, "dataset": "toy", "data_sha256": "d",
            "run": "runs/gone", "images_seen": 640})  # fmt: skip
        (where / "evaluation").mkdir()
        (where / "evaluation" / "metrics.json").write_text(json.dumps({
            "fd": {"value": 1.0, "left_out": []}, "distance": "fd", "choice": "fd", "failed": None,
            "protocol": {"data_sha256": "d"}}))
        register.register()
        assert MlflowClient().get_registered_model("ganlib-toy").aliases
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


def test_a_wrong_ending_is_refused_without_a_file(place, monkeypatch):
    with pytest.raises(SystemExit, match=r"--out out/grid\.picture: .* write for example out/grid\.png"):
        run(monkeypatch, "--model", "model", "--out", "out/grid.picture")
    assert not (place / "out").exists() or os.listdir(place / "out") == []

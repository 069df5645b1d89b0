"""Translators at work: on files, by the command; and in MLflow's registry, on bytes and paths."""

import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganlib import build
from ganlib.condition import NOTHING, Condition, of_classes
from ganlib.config import ConfigError
from ganlib.datasets import sources
from ganlib.sampling import generator as generators
from pipelines import sample, translate
from pipelines.evaluation import registry
from pipelines.evaluation.pyfunc_model import GeneratorModel
from pipelines.runs import tracker as tracking

SIDE = 64  # at which a U-Net of this width has dropout
GREY, COLOUR = Condition("image", 1, (SIDE, SIDE)), Condition("image", 3, (SIDE, SIDE))
UNET = {"name": "unet", "width": 2, "discriminator_width": 2, "patch": 16, "dropout": 0.5}
MLP = {"name": "mlp", "width": 8, "depth": 1, "latent": 4}
NAME = "models:/ganlib-toy@champion"


def write_model(where: Path, condition: Condition, side: int = SIDE, **networks: Any) -> None:
    """An untrained generator of colour images."""
    shape = (3, side, side)
    torch.manual_seed(0)
    network = build.networks(networks, shape, condition, 0)["generator"]
    for weights in network.parameters():
        if weights.ndim == 4:  # as they begin, all translations are grey
            torch.nn.init.xavier_normal_(weights, 2)
    generators.save(where, network, {
        "networks": networks, "shape": list(shape), "classes": [str(label) for label in range(condition.classes)],
        "condition": condition.__dict__, "seed": 0, "dataset": "toy", "data_sha256": "d", "run": "runs/gone",
        "images_seen": 640, "ema": True})  # fmt: skip


def register(where: Path) -> None:
    (where / "evaluation").mkdir(exist_ok=True)
    (where / "evaluation" / "metrics.json").write_text(json.dumps({
        "fd": {"value": 1.0, "left_out": []}, "distance": "fd", "choice": "fd", "failed": None,
        "protocol": {"data_sha256": "d"}, "generator_sha256": generators.digest(where / "model")}))
    assert registry.register(where / "model", where / "evaluation")["champion"]


@pytest.fixture(scope="module")
def place(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generators in directories; `model` is told grey images, knows the way back, and is a registered champion, too."""
    where = tmp_path_factory.mktemp("place")
    (where / "mlflow.db").write_bytes(empty_store.read_bytes())
    write_model(where / "model", GREY, **UNET, directions=2, conditioning="none")
    write_model(where / "colour", COLOUR, **UNET)
    write_model(where / "noise", NOTHING, 8, **MLP)
    write_model(where / "classes", of_classes(3), 8, **MLP, conditioning="concat")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{where}/mlflow.db")
        register(where)
    return where


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with grey images in `in/`, and the store of `place`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    for index, name in enumerate(("a.png", "deep/b.jpg", "deep/er/c.d.bmp")):
        write_image(tmp_path / "in" / name, (70, 90 + index), index)
    return tmp_path


def write_image(path: Path, size: tuple[int, ...], seed: int = 0) -> Path:
    """Noise of `size` (H, W) in grey, or (H, W, 3) in colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)).save(path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["translate", *map(str, words)])
    translate.main()


def files(folder: Path) -> dict[str, np.ndarray]:
    """Of all files, hidden ones too."""
    return {path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in folder.rglob("*")
            if path.is_file()}


def expected(model: Path, path: Path, seed: int = 0, fit: sources.Fit = "crop", back: bool = False,
             background: int = 255, white: float | None = None) -> np.ndarray:
    """A translation (H, W, C) by the library."""
    generator: Any
    generator, _ = generators.load(model)
    translator = generators.translator_of(generator, back)
    reading = sources.Reading(fit, background, white)
    told = sources.read(path, translator.told, sources.look([path], reading).white, reading)
    return generators.sample(translator, torch.from_numpy(np.stack([told])), seed)[0].permute(1, 2, 0).numpy()


def near(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Up to the rounding of sums that are taken in another order in batches of another size."""
    return ours.shape == theirs.shape and int(np.abs(ours.astype(int) - theirs).max()) <= 1


def test_a_directory_and_the_champion_translate_a_folder_alike(place, here, monkeypatch, capsys):
    for model, out in ((place / "model", "ours"), (NAME, "theirs")):
        run(monkeypatch, "--model", model, "--seed", "3", "in", out)
        assert "3 images in " in (said := capsys.readouterr().out) and "an image 1×64×64 (crop)" in said
    ours, theirs = files(here / "ours"), files(here / "theirs")
    assert sorted(ours) == sorted(theirs) == ["a.png", "deep/b.png", "deep/er/c.d.png"]
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert near(ours["deep/b.png"], expected(place / "model", here / "in/deep/b.jpg", 3))


@pytest.mark.parametrize("model", ["model", NAME])
def test_a_translation_depends_on_the_image_and_the_seed_alone(place, here, monkeypatch, model):
    model = model if ":/" in model else place / model
    for out, words in (("alone.png", ()), ("folder", ()), ("other.png", ("--seed", "1"))):
        run(monkeypatch, "--model", model, *words, "in/a.png", out)
    run(monkeypatch, "--model", model, "in", "all")
    alone, other = (np.asarray(Image.open(name)) for name in ("alone.png", "other.png"))
    assert near(alone, files(here / "all")["a.png"]) and np.array_equal(alone, files(here / "folder")["a.png"])
    assert not near(alone, other)


def test_the_whole_is_kept_by_padding_and_the_centre_by_cutting(place, here, monkeypatch):
    found = []
    for fit in ("crop", "pad"):
        run(monkeypatch, "--model", place / "model", "--fit", fit, "in/a.png", f"{fit}.png")
        found.append(np.asarray(Image.open(f"{fit}.png")))
        assert near(found[-1], expected(place / "model", here / "in/a.png", fit=fit))
    assert not near(*found)


def test_files_are_read_as_those_of_the_training_were(place, here, monkeypatch, capsys):
    copied, dataset = here / "dark", {"name": "pairs", "fit": "pad", "background": 0, "white": 100}
    shutil.copytree(place / "model", copied)
    about = json.loads((copied / "generator.json").read_text())
    (copied / "generator.json").write_text(json.dumps(about | {"params": {"dataset": dataset}}))
    run(monkeypatch, "--model", copied, "in/a.png", "as.png")
    assert "(pad)" in capsys.readouterr().out
    read = dict(background=0, white=100)
    assert near(np.asarray(Image.open("as.png")), ours := expected(copied, here / "in/a.png", fit="pad", **read))
    assert not near(ours, expected(copied, here / "in/a.png", fit="pad", background=0))
    assert not near(ours, expected(copied, here / "in/a.png", fit="pad", white=100))
    run(monkeypatch, "--model", copied, "--fit", "crop", "in/a.png", "cut.png")
    assert near(np.asarray(Image.open("cut.png")), expected(copied, here / "in/a.png", **read))
    model = GeneratorModel()
    model.load_context(SimpleNamespace(artifacts={"generator": str(copied)}))
    table = pd.DataFrame({"image": [str(here / "in/a.png")]})
    assert near(model.predict(None, table)[0].transpose(1, 2, 0), ours)


@pytest.mark.parametrize("model", ["model", NAME])
def test_the_way_back_is_that_of_the_other_translator(place, here, monkeypatch, model):
    write_image(here / "colour.png", (64, 64, 3))
    run(monkeypatch, "--model", model if ":/" in model else place / model, "--back", "colour.png", "back.png")
    with Image.open("back.png") as picture:
        assert picture.mode == "L"
        assert near(np.asarray(picture)[..., None], expected(place / "model", here / "colour.png", back=True))


def test_grey_is_told_as_colour_and_colour_as_grey_when_asked(place, here, monkeypatch, capsys):
    run(monkeypatch, "--model", place / "colour", "in/a.png", "a.png")
    assert near(np.asarray(Image.open("a.png")), expected(place / "colour", here / "in/a.png"))
    write_image(here / "in/red.png", (64, 64, 3))
    with pytest.raises(SystemExit, match=r"told grey images: in/red\.png; --grey makes them grey"):
        run(monkeypatch, "--model", place / "model", "in", "out")
    assert not (here / "out").exists()
    run(monkeypatch, "--model", place / "model", "--grey", "in", "out")
    assert near(files(here / "out")["red.png"], expected(place / "model", here / "in/red.png"))


def test_what_cannot_be_read_is_named_and_the_rest_translated(place, here, monkeypatch, capsys):
    (here / "in/notes.txt").write_text("no image")
    (here / "in/torn.png").write_bytes((here / "in/a.png").read_bytes()[:900])
    (here / "in/lost.png").symlink_to("nowhere.png")
    with pytest.raises(SystemExit, match=r"^translate: 2 of 5 files in in cannot .*lost\.png.*torn\.png.*others"):
        run(monkeypatch, "--model", place / "model", "in", "out")
    assert set(files(here / "out")) == {"a.png", "deep/b.png", "deep/er/c.d.png"}
    assert "left out: 1 files of other types: .txt (1)" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^translate: in/torn\.png: cannot be read as an image \(.*\); repair it$"):
        run(monkeypatch, "--model", place / "model", "in/torn.png", "torn.png")
    assert not (here / "torn.png").exists() and "images in" not in capsys.readouterr().out


@pytest.mark.parametrize(("words", "message"), [
    (("nowhere", "out"), r"nowhere: not found; name an image"),
    (("empty", "out"), r"IN: empty holds 0 images .*at least 1 must be there"),
    (("in", "file"), r"file is a file, and in a folder"),
    (("in", "in/out"), r"in/out lies in in, whose images are translated"),
    (("in", "in"), r"in lies in in"),
    (("in/a.png", "in/a.png"), r"in/a\.png: would be written over"),
    (("in/deep", "in"), r"of one name, .*: in/deep/twice\.jpg and in/deep/twice\.png; rename one"),
    (("nested/deep", "nested"), r"nested/deep/x\.png: would be written over"),
    (("in/a.png", "a.jpg"), r"a\.jpg: translations are PNG files; write for example a\.png"),
    (("in/a.png", "file/out"), r"file/out.*: cannot be written"),
    (("in/a.png", "out", "--seed", "-1"), r"seed: a number from 0"),
    (("in/a.png", "out", "--model", "{}/noise"), r"makes its images of noise, and translates none; draw from it with"),
    (("in/a.png", "out", "--model", "{}/classes"), r"makes its images of noise and one of 3 classes, and"),
    (("in/a.png", "out", "--model", "{}/colour", "--back"), r"back: this translator knows one direction alone"),
    (("in/a.png", "out", "--model", "nowhere"), r"nowhere/generator\.json: no generator here"),
    (("in/a.png", "out", "--model", "models:/ganlib-toy@best"), "best"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_nothing_written(place, here, monkeypatch, words, message):
    (here / "empty").mkdir()
    (here / "file").write_text("")
    for name in ("in/deep/twice.png", "in/deep/twice.jpg", "nested/deep/deep/x.png", "nested/deep/x.png"):
        write_image(here / name, (64, 64))
    before = sorted(here.rglob("*"))
    with pytest.raises(SystemExit, match=r"^translate: [^\n]*" + message) as stopped:
        run(monkeypatch, "--model", place / "model", *(word.format(place) for word in words))
    assert "\n" not in str(stopped.value) and sorted(here.rglob("*")) == before


def test_a_registered_translator_takes_bytes_and_paths(place, here):
    tracking.use_store()
    model = mlflow.pyfunc.load_model(NAME)
    paths = [here / "in/a.png", here / "in/deep/b.jpg"]
    table = pd.DataFrame({"image": [path.read_bytes() for path in paths], "seed": [0, 5]})
    by_bytes = model.predict(table)
    assert by_bytes.dtype == np.uint8 and by_bytes.shape == (2, 3, SIDE, SIDE)
    assert np.array_equal(by_bytes, model.predict(table.assign(image=[str(path) for path in paths])))
    for image, path, seed in zip(by_bytes, paths, (0, 5), strict=True):
        assert near(image.transpose(1, 2, 0), expected(place / "model", path, seed))
    assert np.array_equal(by_bytes[:1], model.predict(table[:1].drop(columns="seed")))
    several = model.predict(table, params={"n": 2})
    assert several.shape[0] == 4 and near(several[0], by_bytes[0]) and not near(several[0], several[1])
    padded = model.predict(table[:1], params={"fit": "pad"})[0]
    assert near(padded.transpose(1, 2, 0), expected(place / "model", paths[0], fit="pad"))
    red = pd.DataFrame({"image": [str(write_image(here / "red.png", (64, 64, 3)))]})
    back = model.predict(red, params={"back": True})
    assert near(back[0].transpose(1, 2, 0), expected(place / "model", here / "red.png", back=True))
    assert model.predict(red, params={"grey": True}).shape == (1, 3, SIDE, SIDE)
    assert model.predict(model.input_example).shape == (1, 3, SIDE, SIDE)
    for wrong, params, message in (
            (red, {}, r"told grey images: row 0 \(in colour\); make them grey, or give the parameter grey=True"),
            (red, {"fit": "stretch"}, "fit: crop or pad is needed, got 'stretch'"),
            (table.assign(image=[b"", str(here / "none.png")]), {}, r"row 0 \(empty\), row 1 \(.*No such file"),
            (table.assign(image=[table.image[0], table.image[0][:900]]), {}, r"cannot be read as images: row 1 \("),
            (table[:0], {}, "at least 1 row is needed")):
        with pytest.raises(ValueError, match=message):
            model.predict(wrong, params=params)
    with pytest.raises(mlflow.MlflowException, match="image"):
        model.predict(pd.DataFrame({"seed": [0]}))


def test_without_a_schema_too_what_is_no_image_is_said(place):
    model = GeneratorModel()
    model.load_context(SimpleNamespace(artifacts={"generator": str(place / "colour")}))
    picture = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(picture, "PNG")
    assert model.predict(None, pd.DataFrame({"image": [picture.getvalue()]})).shape == (1, 3, SIDE, SIDE)
    for table, params, message in (({"seed": [0]}, {}, "image: this generator translates images"),
                                   ({"image": [5]}, {}, "row 0 is of type int; the bytes of a file"),
                                   ({"image": [picture.getvalue()]}, {"back": True}, "one direction alone")):
        with pytest.raises(ValueError, match=message):
            model.predict(None, pd.DataFrame(table), params)


def test_a_registered_generator_of_classes_is_as_it_was(place, tmp_path, empty_store, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    write_model(tmp_path / "model", of_classes(3), 8, **MLP, conditioning="concat")
    register(tmp_path)
    model = mlflow.pyfunc.load_model(NAME)
    generator, _ = generators.load(tmp_path / "model")
    drawn = model.predict(model.input_example, params={"n": 6})
    assert np.array_equal(drawn, generators.sample(generator, 6, 0))
    assert np.array_equal(drawn, sample.images(NAME, 6, 0)[0])
    assert model.metadata.signature.params.to_dict() == [
        {"name": "n", "type": "long", "default": 1, "shape": None}]  # and not those of translators
    with pytest.raises(ConfigError, match="makes its images of noise and one of 3 classes"):
        translate.translate(NAME, {Path("a.png"): Path("b.png")}, 0)


@pytest.mark.parametrize("model", ["model", NAME])
def test_a_translator_is_not_sampled_by_a_number(place, here, monkeypatch, model):
    model = model if ":/" in model else str(place / model)
    monkeypatch.setattr(sys, "argv", ["sample", "--model", model, "--out", "g.png"])
    with pytest.raises(SystemExit, match=r"this generator goes by an image 1×64×64.* `python -m pipelines\.translate`"):
        sample.main()
    assert not (here / "g.png").exists()

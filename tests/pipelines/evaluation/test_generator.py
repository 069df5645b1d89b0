"""Reference and evaluate on a small table and a small generator: the files, the numbers, and what is refused."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ganlib import build, seeds
from ganlib.condition import NOTHING, of_classes
from ganlib.config import ConfigError
from ganlib.datasets import table
from ganlib.metrics import Statistics, frechet_distance, slerp
from ganlib.metrics.path_length import trimmed_mean
from ganlib.metrics.protocol import Evaluation
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid
from pipelines import sample
from pipelines.evaluation.generator import PATHS, copied, evaluate, label_accuracy, measured_again, path_length
from pipelines.evaluation.reference import others_of, reference
from pipelines.evaluation.registry import register
from pipelines.evaluation.report import report
from pipelines.evaluation.results import show
from pipelines.runs import tracker as tracking

SMALL = Evaluation(images=40, resize=32, splits=2, classifier_images=2_000)
NETWORK = {"name": "mlp", "width": 16, "depth": 1, "latent": 4}
SHAPE = (1, 8, 8)


def write_table(directory: Path, classes: tuple[str, ...], test: int = 50, validation: int = 30) -> str:
    rng = np.random.default_rng(0)
    splits: dict[str, tuple[int, table.Chunks]] = {}
    for split, count in (("train", 60), ("validation", validation), ("test", test)):
        if not count:
            continue
        labels = np.arange(count) % max(2, len(classes))
        images = rng.integers(0, 100, (count, *SHAPE)).astype(np.uint8)
        images[labels == 1, :, :4] += 100  # the upper half tells the class
        splits[split] = (count, [(images, labels if classes else None)])
    table.write(directory, splits, shape=SHAPE, name="toy", source="test", classes=classes)
    return str(table.read_manifest(directory)["sha256"])


def write_model(directory: Path, data_sha256: str, classes: tuple[str, ...] = (), **options: Any) -> None:
    networks = NETWORK | options
    module, config = build.component("networks", networks)
    torch.manual_seed(5)
    generator = module.build(config, SHAPE, of_classes(len(classes)))["generator"]
    generators.save(directory, generator, {"networks": networks, "shape": list(SHAPE), "classes": list(classes),
                                           "seed": 0, "data_sha256": data_sha256, "ema": True, "dataset": "toy",
                                           "images_seen": 1280, "run": "runs/gone"})
    (directory / "snapshots").mkdir()
    for seen in (0, 640, 1280):
        images = generators.sample(generator, 16, 0)
        grid(images, 4).save(directory / "snapshots" / f"images-{seen:09d}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after prepare, reference and train."""
    root = tmp_path_factory.mktemp("place")
    sha256 = write_table(root / "table", ("dark", "bright"))
    reference(SMALL, root / "table", root / "reference")
    write_model(root / "model", sha256)
    return root


def run(place: Path, evaluation: Evaluation = SMALL, **paths: Path) -> dict[str, Any]:
    places = {"model": place / "model", "reference": place / "reference", "table": place / "table",
              "directory": place / "evaluation"}
    return evaluate(evaluation, **(places | paths))


@pytest.fixture(scope="module")
def result(place: Path) -> dict[str, Any]:
    return run(place)


def test_every_number_has_its_floor_and_its_protocol(place: Path, result: dict[str, Any]) -> None:
    assert json.loads((place / "evaluation" / "metrics.json").read_text()) == result
    assert result["distance"] == "fd_efficientnet_lite0"
    assert set(result) - {"support_size"} == {  # which has no value where nothing repeats itself
        "generator_sha256", "distance", "choice", "failed", "cautions", "protocol", "class_shares", "class_share_min",
        "fd_efficientnet_lite0", "fd_efficientnet_lite0_validation", "kernel_distance",
        "precision", "recall", "density", "coverage", "is_efficientnet_lite0", "sliced_wasserstein",
        "wasserstein_lower_bound", "near_duplicates", "memorization", "path_length_efficientnet_lite0"}  # fmt: skip
    distance = dict(result["fd_efficientnet_lite0"])
    assert 0 < distance["floor"] < distance["value"] and distance["untrained"] != distance["value"]
    assert distance["interval"][0] < distance["value"] < distance["interval"][1] and distance["standard_error"] > 0
    # Of 40 images 15 are bright: every other one of 30, and none of each sixth of the training images.
    assert result["class_share_min"]["floor"] == 15 / 40 and sum(result["class_shares"].values()) == pytest.approx(1)
    protocol = result["protocol"]
    assert (protocol["real_images"], protocol["generated_images"], protocol["resize"]) == (40, 40, 32)
    assert (protocol["chosen_by"], protocol["choosing_images"], protocol["groups"]) == ("validation", 30, 10)
    choice = result[result["choice"]]
    assert choice["left_out"] and choice["value"] != distance["value"] and 0 < choice["floor"] < choice["value"]
    assert "of 40 images" not in result["cautions"] and "1,280 dimensions" in result["cautions"][0]
    assert "not clearly better than an untrained one" in result["failed"]  # it is not trained
    assert "FAILED" in show(result) and "caution 40 real and 40 generated images" in show(result)
    rows = {path.stem: json.loads(path.read_text()) for path in (place / "evaluation" / "numbers").iterdir()}
    del distance["interval"], distance["left_out"]  # DVC's tables take single numbers
    assert rows["fd_efficientnet_lite0"] == distance and rows["class_share.dark"]["floor"] == 25 / 40
    assert "untrained" in show(result) and "dark" in show(result)


NAMES = ("C++", "C--", "T-shirt (blue)", "100%", "it's", "value", "..", "n" * 200, "a/b", "<b>")


def test_classes_of_any_name_are_evaluated_reported_and_registered(tmp_path: Path, empty_store: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = write_table(tmp_path / "table", NAMES, test=60, validation=60)
    reference(SMALL, tmp_path / "table", tmp_path / "reference")
    write_model(tmp_path / "model", sha256, NAMES, conditioning="concat")
    few = run(tmp_path)
    assert set(few["class_shares"]) == set(NAMES) and len(show(few)) > 0
    floors = [json.loads(path.read_text())["floor"] for path in (tmp_path / "evaluation/numbers").glob("class_share.*")]
    assert len(floors) == len(NAMES)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    page = report(tmp_path / "model", tmp_path / "evaluation", tmp_path / "none.yaml", tmp_path / "report.html")
    assert page.read_text().count('class="bar"') == len(NAMES) and "T-shirt (blue)" in page.read_text()
    assert register(tmp_path / "model", tmp_path / "evaluation")["version"] == "1"
    version = tracking.client().get_model_version("ganlib-toy", "1")
    logged = tracking.client().get_run(version.run_id).data.metrics
    shares = {name: value for name, value in logged.items() if name.startswith("evaluation/class_shares.")}
    assert len(shares) == len(NAMES) and sum(shares.values()) == pytest.approx(1)
    drawn, said = sample.images("models:/ganlib-toy/1", 2, 0, label="T-shirt (blue)")
    assert drawn.shape == (2, *SHAPE) and said == ", class 2 (T-shirt (blue))"


def test_the_pictures_show_what_they_say(place: Path, result: dict[str, Any]) -> None:
    assert {path.name for path in (place / "evaluation").iterdir()} == {
        "metrics.json", "numbers", "samples.png", "progress.png", "animation.png", "interpolation.png",
        "truncation.png", "neighbours.png", "precision_recall.png", "classes.png"}  # fmt: skip
    generator, _ = generators.load(place / "model")
    samples = grid(generators.sample(generator, 40, SMALL.seed), 10, scale=2)
    with Image.open(place / "evaluation" / "samples.png") as picture:
        assert picture.tobytes() == samples.tobytes()
    with Image.open(place / "evaluation" / "interpolation.png") as picture:
        assert picture.width > 10 * 8 * 2 and picture.height > 10 * 8 * 2  # with captions


def test_it_is_a_function_of_the_model_and_the_protocol(place: Path, result: dict[str, Any]) -> None:
    assert run(place, directory=place / "again") == result


def test_real_images_as_generated_ones_reach_the_floor(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = others_of(place / "table", SMALL.images)
    monkeypatch.setattr(generators, "sample", lambda generator, count, *rest: torch.from_numpy(others.images))
    result = run(place, directory=place / "real")
    for name, entry in result.items():
        if isinstance(entry, dict) and "floor" in entry and name != result["choice"]:
            assert entry["value"] == pytest.approx(entry["floor"], rel=1e-5), name


class Bank(torch.nn.Module):
    """A perfect generator of labelled data: a training image of the class that it is told."""

    latent, labels_are_codes, continuous, prior = 4, False, 0, "normal"

    def __init__(self, train: table.Table) -> None:
        super().__init__()
        self.classes, self.told, self.label_counts = len(train.classes), train.condition, train.label_counts
        self.of_class = [torch.from_numpy(train.images[train.labels == label]) for label in range(self.classes)]
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        chosen = [images[int(x * 1e6) % len(images)] for x, images in
                  zip(z[:, 0].abs(), (self.of_class[int(y)] for y in label), strict=True)]
        return torch.stack(chosen).float() / 127.5 - 1


def test_a_perfect_generator_of_unbalanced_classes_reaches_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nine of ten images are of one class. With the labels in turn, half of the generated ones are of the other."""
    rng = np.random.default_rng(0)
    splits: dict[str, tuple[int, table.Chunks]] = {}
    for split, count in (("train", 600), ("validation", 300), ("test", 300)):
        labels = (np.arange(count) % 10 == 9).astype(int)
        images = rng.integers(0, 40, (count, *SHAPE)).astype(np.uint8)
        images[labels == 1, :, 2:] += 200
        splits[split] = (count, [(images, labels)])
    table.write(tmp_path / "table", splits, shape=SHAPE, name="toy", source="test", classes=("most", "few"))
    settings = dataclasses.replace(SMALL, images=300)
    reference(settings, tmp_path / "table", tmp_path / "reference")
    sha256 = table.read_manifest(tmp_path / "table")["sha256"]
    write_model(tmp_path / "model", sha256, ("most", "few"), conditioning="concat")
    bank = Bank(table.Table.open(tmp_path / "table", "train"))

    def measured(generator: Bank) -> dict[str, Any]:
        description = json.loads((tmp_path / "model" / "generator.json").read_text())
        monkeypatch.setattr(generators, "load", lambda model: (generator, description))
        monkeypatch.setattr("pipelines.evaluation.generator.path_length", lambda *rest: (0.0, 0.0))
        monkeypatch.setattr("pipelines.evaluation.generator.illustrations.draw", lambda *rest, **more: {})
        return run(tmp_path, settings, directory=tmp_path / "evaluation")

    result = measured(bank)
    for name in (result["distance"], result["choice"]):
        assert result[name]["value"] < 2 * result[name]["floor"]
    assert result["label_accuracy"]["value"] > 0.9 and result["failed"] is None
    monkeypatch.setattr(generators, "labels_of", lambda generator, count, start=0: torch.arange(count) % 2)
    in_turn = measured(bank)
    assert in_turn[result["distance"]]["value"] > 5 * in_turn[result["distance"]]["floor"]


def test_the_floor_is_of_images_that_are_no_test_images_those_to_choose_by_first(place: Path) -> None:
    others, validation = others_of(place / "table", 40), table.Table.open(place / "table", "validation")
    np.testing.assert_array_equal(others.images[:30], validation.images)
    train = table.Table.open(place / "table", "train").evenly(10)
    np.testing.assert_array_equal(others.images[30:], train.images)
    np.testing.assert_array_equal(others.labels[30:], train.labels)
    assert len(others_of(place / "table", 20)) == 20 and len(others_of(place / "table", 1000)) == 90


def test_the_floor_of_the_choice_is_that_of_test_images(place: Path, result: dict[str, Any]) -> None:
    features = load_file(place / "reference" / "features.safetensors")
    real = Statistics.from_features(features["others"][:30])
    assert result[result["choice"]]["floor"] == pytest.approx(frechet_distance(real, features["test"]))


def test_measured_again_is_the_distance_to_choose_by(place: Path, result: dict[str, Any], tmp_path: Path) -> None:
    entry = measured_again(SMALL, place / "model", place / "reference", place / "table")
    assert entry["value"] == result[result["choice"]]["value"]
    assert entry["left_out"] == result[result["choice"]]["left_out"]
    description = json.loads((place / "model" / "generator.json").read_text())
    shutil.copytree(place / "model", tmp_path / "model")
    (tmp_path / "model" / "generator.json").write_text(json.dumps(description | {"shape": [1, 16, 16]}))
    with pytest.raises(ConfigError, match=r"does not hold the weights|images of another shape than 1×8×8"):
        measured_again(SMALL, tmp_path / "model", place / "reference", place / "table")
    assert "not clearly better than an untrained one" in entry["failed"]


@pytest.mark.parametrize("classes", [("dark", "bright", "red"), ("bright", "dark"), ("dark",)])
def test_a_generator_of_other_classes_is_not_measured_again(classes: tuple[str, ...], place: Path, tmp_path: Path):
    write_model(tmp_path / "model", "other", classes, conditioning="concat")
    with pytest.raises(ConfigError, match="it was trained on other classes"):
        measured_again(SMALL, tmp_path / "model", place / "reference", place / "table")


def test_a_file_that_does_not_know_its_labels_takes_those_of_the_data(place: Path, tmp_path: Path) -> None:
    """As files of older revisions; and files of data whose shares were others."""
    values = []
    for name, counts in (("unknown", None), ("other", [1, 999]), ("known", [30, 30])):
        write_model(tmp_path / name, str(table.read_manifest(place / "table")["sha256"]), ("dark", "bright"),
                    conditioning="concat")
        description = json.loads((tmp_path / name / "generator.json").read_text())
        (tmp_path / name / "generator.json").write_text(json.dumps(description | {"label_counts": counts} if counts else
                                                                   description))
        values.append(measured_again(SMALL, tmp_path / name, place / "reference", place / "table")["value"])
        values.append(run(place, model=tmp_path / name, directory=tmp_path / "e")["fd_efficientnet_lite0_validation"]
                      ["value"])
    assert len(set(values)) == 1


def test_a_reference_of_another_protocol_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"resize 32 \(.*\) against 64 \(this evaluation\); run .*\.reference"):
        run(place, dataclasses.replace(SMALL, resize=64))


def test_a_model_of_other_data_is_refused(place: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "model", "other")
    with pytest.raises(ConfigError, match="trained on other data"):
        run(place, model=tmp_path / "model")


def test_a_missing_reference_says_what_to_run(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not found; write it with `python -m pipelines\.reference`"):
        run(place, reference=tmp_path / "nowhere")


def test_data_without_labels_has_no_classes(place: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "model", write_table(tmp_path / "table", ()))
    shutil.rmtree(tmp_path / "model" / "snapshots")  # nor snapshots
    reference(SMALL, tmp_path / "table", tmp_path / "reference")
    assert not (tmp_path / "reference" / "classifier.safetensors").exists()
    result = run(place, model=tmp_path / "model", table=tmp_path / "table", reference=tmp_path / "reference",
                 directory=tmp_path / "evaluation")
    assert "class_shares" not in result and "class_share_min" not in result
    assert (tmp_path / "evaluation" / "progress.png").exists()


def test_a_test_split_of_too_few_images_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    write_table(tmp_path / "table", (), test=3)
    with pytest.raises(ConfigError, match=r"of 93 images 3 are the test split, and at least 6 .* dataset\.test_share"):
        reference(SMALL, tmp_path / "table", tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


@pytest.mark.parametrize("validation", [0, 30])
def test_a_dozen_test_images_are_measured_by_and_what_that_cannot_tell_is_said(validation: int, tmp_path: Path):
    write_model(tmp_path / "model", write_table(tmp_path / "table", (), test=12, validation=validation))
    reference(SMALL, tmp_path / "table", tmp_path / "reference")
    result = run(tmp_path)
    assert result["choice"] == f"fd_efficientnet_lite0_{'validation' if validation else 'train'}"
    assert result["protocol"]["choosing_images"] == (validation or 40)
    assert result["cautions"][0].startswith("12 real and 40 generated images in 1,280 dimensions")
    assert any("there is no validation split" in caution for caution in result["cautions"]) == (validation == 0)


@pytest.mark.parametrize(
    ("options", "metric", "pictures"),
    [
        ({"conditioning": "concat"}, "label_accuracy", {"labels"}),
        ({"conditioning": "code", "code_classes": 3, "code_continuous": 2}, "code_accuracy", {"labels", "codes"}),
    ],
)
def test_a_generator_that_is_told_labels_is_asked_for_each(options, metric, pictures, place: Path, tmp_path: Path):
    sha256 = table.read_manifest(place / "table")["sha256"]
    write_model(tmp_path / "model", sha256, ("dark", "bright"), **options)
    result = evaluate(SMALL, tmp_path / "model", place / "reference", place / "table", tmp_path / "evaluation")
    assert 0 <= result[metric]["value"] <= 1 and 0.5 < result[metric]["floor"] <= 1
    assert pictures <= {path.stem for path in (tmp_path / "evaluation").glob("*.png")}


def test_codes_are_named_so_that_most_images_are_right() -> None:
    told = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    seen = torch.tensor([4, 4, 1, 0, 0, 4, 0, 1])
    assert label_accuracy(told, seen) == 0
    assert label_accuracy(told, seen, name_codes=True) == 5 / 8  # 0 → 4, 1 → 0, 2 → 1: not 2 → 0, which is taken
    assert label_accuracy(seen, seen) == 1
    rare = torch.tensor([0] * 9 + [1])
    assert label_accuracy(rare, torch.zeros(10, dtype=torch.long)) == 0.5  # the mean over the labels


def tables(place: Path) -> tuple[table.Table, table.Table]:
    return table.Table.open(place / "table", "train"), table.Table.open(place / "table", "test")


def test_copies_of_training_images_are_told_from_new_ones(place: Path) -> None:
    train, test = tables(place)
    copies = copied(train, test, torch.from_numpy(np.array(train.images)))
    assert copies["value"] == 1 and copies["z"] < -3 and copies["train_images"] == 60
    assert 0.3 < copied(train, test, torch.from_numpy(np.array(test.images[::-1])))["value"] < 0.7


class Linear(torch.nn.Module):
    """A generator of which a step along a path is far less than a level of grey."""

    latent, classes = 4, 0

    def __init__(self) -> None:
        super().__init__()
        self.told = NOTHING
        self.weight = torch.nn.Parameter(0.1 * torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))

    def forward(self, z: torch.Tensor, label: None = None) -> torch.Tensor:
        return (z @ self.weight).view(-1, 1, 2, 2)


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_the_path_is_spherical_its_images_are_not_rounded_and_its_ends_are_truncated(truncation: float) -> None:
    generator = Linear()
    network: Any = lambda pixels: (pixels.flatten(1).double(), None)  # noqa: E731
    settings = dataclasses.replace(SMALL, truncation=truncation)
    a, b = (truncation * generators.latents(generator, 2 * PATHS, SMALL.seed).double()).split(PATHS)
    t = torch.rand(PATHS, 1, generator=seeds.stream("paths", SMALL.seed), dtype=torch.float64)
    step = (slerp(a, b, t + 1e-4) - slerp(a, b, t)) @ generator.weight.double() * 127.5 / 1e-4
    length, _ = path_length(generator, network, settings)
    assert length == pytest.approx(trimmed_mean(step.detach().square().sum(1))[0], rel=0.02)


def test_the_protocol_says_whether_the_weights_are_averaged(place: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "model", str(table.read_manifest(place / "table")["sha256"]), ("dark", "bright"))
    description = json.loads((tmp_path / "model" / "generator.json").read_text())
    (tmp_path / "model" / "generator.json").write_text(json.dumps(description | {"ema": False}))
    assert run(place, model=tmp_path / "model", directory=tmp_path / "evaluation")["protocol"]["ema"] is False

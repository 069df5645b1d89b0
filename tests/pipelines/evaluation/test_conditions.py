"""Evaluations of generators that are told images or texts: numbers, pictures, report, and what is left out."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib import build
from ganlib.condition import Condition
from ganlib.datasets import table
from ganlib.metrics.pairs import BETTER
from ganlib.metrics.protocol import Evaluation
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import captioned as pictures_captioned
from ganlib.sampling.pictures import grid
from pipelines.evaluation import illustrations
from pipelines.evaluation.generator import evaluate
from pipelines.evaluation.human_test import human_test
from pipelines.evaluation.reference import reference
from pipelines.evaluation.registry import register
from pipelines.evaluation.report import report
from pipelines.runs import tracker as tracking

SIDE = 16
SHAPE = (3, SIDE, SIDE)
SMALL = Evaluation(images=24, resize=32, splits=2, classifier_images=2_000)
UNET = {"name": "unet", "width": 2, "discriminator_width": 2, "patch": 16}
TWO = UNET | {"directions": 2, "conditioning": "none"}
OF_ALL = {"samples", "progress", "animation", "precision_recall", "neighbours"}
WALKS = {"interpolation", "truncation"}


def make(where: Path, condition: Condition, networks: dict[str, Any], answers: bool = True) -> None:
    """A table, its reference and an untrained generator. Without `answers` the images told have no pairs, and are half
    as many."""
    rng = np.random.default_rng(0)
    splits: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    captions: dict[str, list[str]] = {}
    for split, count in (("train", 40), ("validation", 30), ("test", 30)):
        images = rng.integers(0, 256, (count, *SHAPE)).astype(np.uint8)
        if condition.kind == "text":
            told, captions[split] = rng.normal(size=(count, *condition.shape)).astype(np.float32), ["a text"] * count
        else:
            told = np.ascontiguousarray(images[:, :condition.size] // 2)
        if not answers:
            sources[split] = (count // 2, [told[::2]])
        splits[split] = (count, [(images, told if answers else None)])
    table.write(where / "table", splits, shape=SHAPE, name="toy", source="test", condition=condition, sources=sources,
                captions=captions)
    reference(SMALL, where / "table", where / "reference")
    generator = build.networks(networks, SHAPE, condition, 0)["generator"]
    generators.save(where / "model", generator, {
        "networks": networks, "shape": list(SHAPE), "classes": [], "condition": condition.__dict__, "seed": 0,
        "dataset": "toy", "data_sha256": table.read_manifest(where / "table")["sha256"], "ema": True,
        "images_seen": 1280, "run": "runs/gone"})  # fmt: skip
    (where / "model" / "snapshots").mkdir()
    for seen in (0, 1280):
        picture = grid(np.full((16, *SHAPE), seen // 10, np.uint8), 4)
        picture.save(where / "model" / "snapshots" / f"images-{seen:09d}.png")


def run(where: Path) -> dict[str, Any]:
    return evaluate(SMALL, where / "model", where / "reference", where / "table", where / "evaluation")


def pictures(where: Path) -> set[str]:
    return {path.stem for path in (where / "evaluation").glob("*.png")}


def written(where: Path) -> str:
    """The report, as text."""
    page = report(where / "model", where / "evaluation", where / "none.yaml", where / "report" / "report.html")
    return re.sub(r"\s+", " ", page.read_text())


def holds(picture: Image.Image, part: Image.Image) -> bool:
    """Whether a picture has another in it somewhere, in the colours of the first."""
    whole, small = np.asarray(picture), np.asarray(part.convert(picture.mode))
    height, width = small.shape[:2]
    corners = np.argwhere((whole[:whole.shape[0] - height + 1, :whole.shape[1] - width + 1] == small[0, 0]).all(-1))
    return any((whole[down:down + height, across:across + width] == small).all() for down, across in corners)


def test_a_translator_is_measured_pair_by_pair_shown_beside_the_truth_and_registered(
        tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, Condition("image", 1, (SIDE, SIDE)), TWO)
    result = run(tmp_path)
    assert pictures(tmp_path) == OF_ALL | {"pairs"}
    of_pairs = set(result) & set(BETTER)
    assert {"l1", "psnr", "ssim", "colour_histogram", "cosine_efficientnet_lite0"} <= of_pairs
    assert all("floor" in result[name] and f"{name}_back" in result for name in of_pairs)
    assert not any(name.startswith("path_length") for name in result)
    page = written(tmp_path)
    assert "what the inputs themselves reach in place of their translations" in page and "Inputs and outputs" in page
    rows = re.findall(r'<th scope="row">([^<]+?) (?:<small>(.*?)</small>)?</th>', page)
    meanings = {name.strip(): meaning for name, meaning in rows if name.strip() in result}
    assert all(meanings.values()) and of_pairs < meanings.keys()
    assert all(("higher" if BETTER[name] == "high" else "lower") in meanings[name] for name in of_pairs)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert register(tmp_path / "model", tmp_path / "evaluation", tmp_path / "report")["version"] == "1"
    version = tracking.client().get_model_version("ganlib-toy", "1")
    artifacts = [file.path for file in tracking.client().list_artifacts(version.run_id, "evaluation")]
    assert "evaluation/pairs.png" in artifacts


def test_without_answers_a_translator_has_pictures_and_no_numbers_of_pairs(tmp_path: Path) -> None:
    make(tmp_path, Condition("image", 3, (SIDE, SIDE), paired=False), TWO, answers=False)
    result = run(tmp_path)
    assert pictures(tmp_path) == OF_ALL | {"pairs"} and not set(result) & set(BETTER)
    assert result["distance"] == "kernel_distance" and "the inputs themselves" not in written(tmp_path)
    assert human_test(tmp_path / "model", tmp_path / "table", tmp_path / "test.html").exists()


@pytest.mark.parametrize("conditioning", ["concat", "projection"])
def test_a_generator_that_is_told_texts_is_shown_and_measured_by_those_of_the_test_images(
        conditioning: str, tmp_path: Path) -> None:
    make(tmp_path, Condition("text", 5), {"name": "subpixel", "width": 4, "latent": 4, "conditioning": conditioning})
    result = run(tmp_path)
    assert pictures(tmp_path) == OF_ALL | WALKS and "path_length_efficientnet_lite0" in result
    texts = torch.from_numpy(np.array(table.Table.open(tmp_path / "table", "test").evenly(24).conditions))
    generator, _ = generators.load(tmp_path / "model")
    expected = generators.sample(generator, texts[:10], SMALL.seed, 0.5)
    with Image.open(tmp_path / "evaluation" / "truncation.png") as picture:
        assert holds(picture, grid(expected, 10, 2))


@pytest.mark.parametrize(("side", "scale"), [(16, 8), (64, 2), (160, 1)])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("known", [True, False])
def test_inputs_outputs_truths_and_ways_back_lie_below_each_other(side: int, scale: int, directions: int, known: bool
                                                                  ) -> None:
    condition = Condition("image", 1, (side, side))
    networks = (UNET | {"depth": 4}) if directions == 1 else (TWO | {"depth": 4})
    generator: Any = build.networks(networks, (3, side, side), condition, 0)["generator"].eval()
    sources, truth = (torch.randint(0, 256, (20, channels, side, side), dtype=torch.uint8) for channels in (1, 3))
    outputs = truth.flip(0)
    picture = illustrations.pairs(generator, sources, outputs, truth if known else None, 0)
    chosen = [place * 20 // 16 for place in range(16)]
    lines = [(sources, True), (outputs, True), (truth, known)]
    if directions == 2:
        back = torch.zeros_like(sources)
        back[chosen] = generators.sample(generator.back, outputs[chosen], 0)
        lines.append((back, True))
    if side > 128:  # smaller in the picture
        assert 1024 < picture.width < 1200
        return
    for line, there in lines:
        for eight in (chosen[:8], chosen[8:]):
            assert holds(picture, grid(line[eight], 8, scale)) is there


def test_a_moment_of_a_translator_is_of_the_same_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    condition, titles = Condition("image", 3, (SIDE, SIDE)), []
    generator = build.networks(UNET, SHAPE, condition, 0)["generator"].eval()
    images = torch.zeros(20, *SHAPE, dtype=torch.uint8)
    grid(images, 5).save(tmp_path / "images-000000000.png")

    def captioned(rows: Any, title: str = "") -> Image.Image:
        titles.append(title)
        return pictures_captioned(rows, title)

    monkeypatch.setattr(illustrations, "captioned", captioned)
    drawn = illustrations.draw(generator, images, seed=0, snapshots=tmp_path, features=torch.randn(20, 4),
                               known=images.numpy(), known_features=torch.randn(20, 4), real_images=images.numpy(),
                               classes=(), conditions=images)
    assert set(drawn) == {"samples", "progress", "neighbours", "pairs"}
    assert "the same inputs, after so many images seen" in titles and not any("latents" in title for title in titles)

"""Images of 48×64 px: every family of networks, every augmentation, and every stage from a folder to the numbers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlib import build
from ganlib.condition import NOTHING
from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from ganlib.metrics.protocol import Evaluation
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid
from ganlib.training.loop import train
from ganlib.training.run import Run
from pipelines.evaluation.generator import evaluate
from pipelines.evaluation.human_test import human_test
from pipelines.evaluation.reference import reference
from pipelines.runs.table import prepare

EVALUATION = Evaluation(images=20, resize=32, splits=2, classifier_images=500)
NETWORKS = {"dcgan": {"width": 4}, "subpixel": {"width": 4}, "mlp": {"width": 8}, "autoencoder": {"width": 4}}
TRANSLATORS = ("unet", "resnet")
SHAPE = (3, 48, 64)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of all sizes, and a table of them."""
    place = tmp_path_factory.mktemp("place")
    draw = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (place / "pictures" / label).mkdir(parents=True)
        for k in range(60):
            pixels = draw.integers(0, 256, (40 + k % 30, 50 + k % 40, 3), np.uint8)
            Image.fromarray(pixels).save(place / "pictures" / label / f"{k}.png")
    section = {"name": "folder", "path": str(place / "pictures"), "resolution": [48, "64"], "test_share": 0.25}
    manifest = prepare(section, place / "table", EVALUATION)
    assert list(manifest["shape"]) == [3, 48, 64]
    return place


@pytest.mark.parametrize("augmentation", [None, *build.names("augmentations")])
@pytest.mark.parametrize("family", build.names("networks"))
def test_every_family_trains_and_draws(place: Path, family: str, augmentation: str | None):
    options: dict[str, Any] = {"p": 0.8} if augmentation == "ada" else {}
    networks = {"latent": 8, **NETWORKS[family]} if family in NETWORKS else {"width": 4, "patch": 16}
    values = {"networks": {"name": family, **networks},
              "training": {"images": 24, "batch_size": 8},
              "augmentation": {"name": augmentation, **options} if augmentation else None}
    if family == "autoencoder":  # an energy, which ada's sign tells nothing of
        values["objective"] = {"name": "two_player", "loss": "energy_margin"}
        if augmentation == "ada":
            values["augmentation"]["target"] = None
    run, table = Run.parse(values), Table.open(place / "table", "train")
    if family in TRANSLATORS:
        table = Table.from_arrays(table.images, sources=np.ascontiguousarray(table.images[..., ::-1]))
    run.check(SHAPE, table.condition, 1, len(table))
    generator = train(run, table)
    images = generators.sample(generator, generators.asked(generator, table, 6), seed=0)
    assert images.shape == (6, *SHAPE) and grid(images, 3).size == (3 * 64, 2 * 48)


@pytest.mark.parametrize(("sides", "families", "write"), [
    ((45, 64), ("dcgan", "subpixel", "autoencoder"), r"images of 45×64 do not come from .*resolution=\[48,64\]"),
    ((48, 60), ("dcgan", "subpixel", "autoencoder"), r"resolution=\[48,64\]"),
    ((100, 100), ("dcgan", "subpixel", "autoencoder"), r"resolution=96,"),
    ((3, 64), ("dcgan",), r"resolution=\[8,64\]"),
    ((3, 64), ("subpixel", "autoencoder"), r"resolution=\[16,64\]"),
])
def test_sizes_that_cannot_be_are_refused_at_the_door_with_one_that_can(sides, families, write):
    for family in families:
        run = Run.parse({"networks": {"name": family}})
        with pytest.raises(ConfigError, match=write) as refusal:
            run.check((3, *sides), NOTHING, 1, 1000)
        told = [int(side) for side in re.findall(r"\d+", str(refusal.value).partition("resolution=")[2])]
        run.build_networks((3, told[0], told[-1]), NOTHING)


def test_from_a_folder_to_the_numbers(place: Path):
    networks = {"name": "subpixel", "width": 4, "latent": 8, "conditioning": "projection"}
    run = Run.parse({"networks": networks, "training": {"images": 64, "batch_size": 8}})
    table = Table.open(place / "table", "train")
    generator = train(run, table)
    generators.save(place / "model", generator, {
        "networks": networks, "shape": list(SHAPE), "classes": list(table.classes), "seed": 0, "dataset": "pictures",
        "label_counts": list(table.label_counts), "data_sha256": table.manifest["sha256"], "run": "runs/x", "ema": True,
        "images_seen": 64})  # fmt: skip
    (place / "model" / "snapshots").mkdir()
    for seen in (0, 64):
        grid(generators.sample(generator, 64, seen), 8).save(place / "model/snapshots" / f"images-{seen:09d}.png")
    reference(EVALUATION, place / "table", place / "reference")
    result = evaluate(EVALUATION, place / "model", place / "reference", place / "table", place / "evaluation")
    assert result["fd_efficientnet_lite0"]["value"] > 0
    for picture in (place / "evaluation").glob("*.png"):
        assert min(Image.open(picture).size) >= 48, picture
    page = human_test(place / "model", place / "table", place / "human_test.html", images=10, rounds=1)
    assert '"width": 64' in page.read_text()

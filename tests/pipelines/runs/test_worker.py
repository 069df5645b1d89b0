"""What a worker watches for while it trains, and by which images; which runs are one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganlib.condition import of_classes
from ganlib.datasets import table
from ganlib.datasets.table import Table
from ganlib.metrics import Statistics, frechet_distance
from ganlib.metrics.features import extract
from ganlib.metrics.monitor import Monitor
from pipelines.runs.composition import composition
from pipelines.runs.params import parse_params
from pipelines.runs.training import run_name
from pipelines.runs.worker import Collapsed, make_look, require_diverse

ANY = Table.from_arrays(np.zeros((1, 1, 4, 4), np.uint8))


class Painter(nn.Module):
    """Images of one grey: that of z, of the label, or of neither."""

    latent = 1

    def __init__(self, classes: int, of_latent: float, of_label: float):
        super().__init__()
        self.classes, self.told, self.of_label = classes, of_classes(classes), of_label
        self.labels_are_codes = False
        self.of_latent = nn.Parameter(torch.tensor(of_latent))

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        grey = self.of_latent * z[:, 0] + (0 if label is None else self.of_label * label)
        return grey.view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("of_label", [0.0, 0.2])
def test_a_generator_that_ignores_its_latents_has_collapsed_whatever_the_labels_do(classes: int, of_label: float):
    with pytest.raises(Collapsed, match=r"at 640 images seen what it makes of 16 latents differs by 0 of 256"):
        require_diverse(Painter(classes, 0.0, of_label), ANY, 3, 640)
    require_diverse(Painter(classes, 0.1, of_label), ANY, 3, 640)


def test_what_is_chosen_while_training_is_chosen_by_validation_images(tmp_path: Path) -> None:
    rng, params = np.random.default_rng(0), parse_params(composition(["training.monitor_images=20"]))
    splits: dict[str, tuple[int, table.Chunks]] = {
        name: (count, [(rng.integers(low, high, (count, 1, 8, 8)).astype(np.uint8), None)])
        for name, count, low, high in (("train", 40, 0, 250), ("validation", 30, 0, 150), ("test", 25, 200, 250))}
    for names, chosen_by, others in ((("train", "validation", "test"), "validation", "train"),
                                     (("train", "test"), "train", "test")):
        place = tmp_path / chosen_by
        table.write(place, {name: splits[name] for name in names}, shape=(1, 8, 8), name="toy", source="test")
        look = make_look(params, place, tmp_path / f"{chosen_by}.safetensors", torch.device("cpu"))
        assert look is not None and isinstance(look.by, Monitor)
        monitor = look.by
        assert monitor.protocol.real_split == chosen_by and monitor.floor_images == 20
        real, other = (Statistics.from_features(extract(monitor.extractor, images)[0]) for images in
                       (Table.open(place, chosen_by).images, Table.open(place, others).evenly(20).images))
        torch.testing.assert_close(monitor.real.mean, real.mean)
        assert monitor.floor == pytest.approx(frechet_distance(real, other), rel=1e-5)


def test_a_run_is_another_where_each_worker_has_batch_norms_of_its_own() -> None:
    manifest = {"name": "toy", "sha256": "x", "shape": [1, 28, 28], "classes": [],
                "condition": {"kind": "nothing", "size": 0, "sides": None, "paired": True, "description": ""}}
    def name(norm: str, workers: int) -> str:
        choices = [f"cluster.workers={workers}", f"networks.generator_norm={norm}"]
        return run_name(parse_params(composition(choices)), manifest)

    assert name("batch", 1) != name("batch", 2)
    assert name("sync_batch", 1) == name("sync_batch", 2) and name("none", 1) == name("none", 2)

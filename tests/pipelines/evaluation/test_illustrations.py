"""The pictures of an evaluation: which there are for which generator, and that they show what they say."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganlib.condition import Condition, of_classes
from ganlib.datasets.table import Table
from ganlib.metrics import slerp
from ganlib.sampling import generator as generators
from ganlib.sampling import latents
from ganlib.sampling.pictures import grid
from ganlib.training.loop import train
from ganlib.training.run import Run, Training
from ganlib.verdict import Verdict
from pipelines.evaluation import illustrations

ALWAYS = {"samples", "progress", "animation", "interpolation", "truncation", "neighbours"}
CLASSES = ("a", "b", "c")


def draw(place: Path, **options: Any) -> tuple[dict[str, Image.Image], Any, Tensor]:
    """The pictures, the generator, and 120 images of it."""
    generator, description = generators.load(place / "model")
    images = generators.sample(generator, 120, 7)
    real = Table.open(place / "table", "train").images
    pictures = illustrations.draw(generator, images, seed=7, snapshots=place / "model" / "snapshots",
                                  features=torch.randn(120, 6), known=real[::2], real_images=real,
                                  known_features=torch.randn(len(real[::2]), 6).half(),
                                  classes=description["classes"], **options)
    return pictures, generator, images


def holds(picture: Image.Image, part: Image.Image) -> bool:
    """Whether a grey picture has another in it somewhere."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(picture), part.size[::-1])
    first = np.argwhere(windows[:, :, 0, 0] == np.asarray(part)[0, 0])
    return any((windows[down, across] == np.asarray(part)).all() for down, across in first)


@pytest.mark.parametrize(("networks", "seen", "more"), [
    ({}, True, {"classes", "arithmetic"}),
    ({}, False, set()),
    ({"conditioning": "concat"}, True, {"labels"}),
    ({"conditioning": "code", "code_classes": 3, "code_continuous": 2}, True, {"labels", "codes", "classes"}),
])  # fmt: skip
def test_each_kind_of_generator_has_its_pictures(networks, seen, more, make_run, tmp_path: Path) -> None:
    place = make_run(tmp_path, **networks)
    pictures, _, _ = draw(place, seen=torch.arange(120) % 3 if seen else None)
    assert set(pictures) == ALWAYS | more


class Plain(nn.Module):
    """A linear player that has the attributes which docs/extending.md lists for its role, and no others."""

    def __init__(self, role: str, inputs: int, outputs: int, **values: Any):
        super().__init__()
        text = (Path(__file__).parents[3] / "docs" / "extending.md").read_text()
        (listed,) = re.findall(rf"\n- A {role} maps.*?(?=\n- |\n\n)", text, re.DOTALL)
        for name in re.findall(r"`\.(\w+)", listed.partition("and then")[0]):  # what follows is for codes
            setattr(self, name, values[name])
        self.layer = nn.Linear(inputs, outputs)


class PlainGenerator(Plain):
    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        shift = 0 if label is None else 0.1 * label[:, None]
        return (self.layer(z) + shift).tanh().view(-1, 1, 8, 8)


class PlainDiscriminator(Plain):
    def forward(self, images: Tensor, label: Tensor | None = None) -> Verdict:
        score = self.layer(images.flatten(1)).squeeze(1)
        return Verdict(score if label is None else score + label)


@pytest.mark.parametrize("classes", [0, 3])
def test_players_by_the_letter_of_the_docs_are_trained_and_drawn(classes: int, make_run, tmp_path: Path) -> None:
    class Ours(Run):
        def build_networks(self, shape: tuple[int, int, int], condition: Condition) -> dict[str, nn.Module]:
            told = of_classes(classes)
            return {"generator": PlainGenerator("generator", 5, 64, latent=5, told=told, classes=classes,
                                                labels_are_codes=False),
                    "discriminator": PlainDiscriminator("discriminator", 64, 1, mixes_batch=False, own_gradients=True,
                                                        told=told, classes=0, energy=False)}

    place = make_run(tmp_path)
    table = Table.open(place / "table", "train")
    game = {"name": "two_player", "penalties": {"r1": {"weight": 1}}}
    generator = train(Ours(objective=game, training=Training(images=64, batch_size=16)), table)
    images = generators.sample(generator, 120, 7)
    pictures = illustrations.draw(generator, images, seed=7, snapshots=place / "model" / "snapshots",
                                  features=torch.randn(120, 6), known=table.images, real_images=table.images,
                                  known_features=torch.randn(70, 6), classes=CLASSES, seen=torch.arange(120) % 3)
    assert set(pictures) == ALWAYS | ({"labels"} if classes else {"classes", "arithmetic"})


def test_pictures_are_a_function_of_the_seed(make_run, tmp_path: Path) -> None:
    place = make_run(tmp_path)
    first, again = (draw(place, seen=torch.arange(120) % 3)[0] for _ in range(2))
    del first["neighbours"], again["neighbours"]  # of random features
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


@pytest.mark.parametrize(("side", "columns", "scale"), [(8, 10, 2), (64, 10, 1), (128, 8, 1)])
def test_pictures_of_large_images_stay_small(side: int, columns: int, scale: int, make_run, tmp_path: Path) -> None:
    place = make_run(tmp_path, (3, side, side), test=4)
    pictures, _, images = draw(place, seen=torch.arange(120) % 3)
    assert pictures["samples"].tobytes() == grid(images[:columns**2], columns, scale).tobytes()
    assert all(max(picture.size) <= 1024 for picture in pictures.values())
    assert all(picture.mode == "RGB" for picture in pictures.values())


def test_the_rows_by_class_hold_the_first_of_each(make_run, tmp_path: Path) -> None:
    _, _, images = draw(make_run(tmp_path))
    seen = torch.zeros(120, dtype=torch.long)
    seen[[3, 5]] = 2  # and none of class 1
    picture = illustrations.by_class(images, seen, CLASSES)
    assert holds(picture, grid(images[[3, 5]], 2, 2)) and not holds(picture, grid(images[[3, 5, 6]], 3, 2))
    assert holds(picture, grid(images[[0, 1, 2, 4, 6, 7, 8, 9, 10, 11]], 10, 2))


def test_neighbours_by_features_and_by_pixels_are_those(make_run, tmp_path: Path) -> None:
    real = Table.open(make_run(tmp_path) / "table", "train").images
    known, features = real[::2], torch.randn(35, 6)
    images = torch.from_numpy(np.array(real[10:20]))
    images[:, :, 0, 0] ^= 1  # nearly training images 10 … 19
    like = features[:10] + 1e-3  # by their features, nearly training images 0, 2 … 18
    picture = illustrations.neighbours(images, like, known, features, real)
    for row in range(10):
        assert holds(picture, grid(np.stack([images[row].numpy(), np.full_like(real[0], 255), real[2 * row]]), 3, 2))
    four = torch.cdist(features[:1], features)[0].argsort()[:4]
    near = torch.cdist(torch.tensor(real[10:11]).flatten(1).float(), torch.tensor(real).flatten(1).float())[0]
    gap = np.full_like(real[:1], 255)
    assert holds(picture, grid(np.concatenate([known[four], gap, real[near.argsort()[:4]]]), 9, 2))


def test_truncation_begins_with_the_whole_and_ends_near_the_mean(make_run, tmp_path: Path) -> None:
    place = make_run(tmp_path)
    generator, _ = generators.load(place / "model")
    picture = illustrations.truncations(generator, 3)
    for scale in (1.0, 0.3):
        assert holds(picture, grid(generators.sample(generator, 10, 3, scale), 10, 2))
    assert not holds(picture, grid(generators.sample(generator, 10, 3, 0.2), 10, 2))


def test_where_truncation_would_change_nothing_it_is_not_drawn(make_run, tmp_path: Path) -> None:
    pictures, _, _ = draw(make_run(tmp_path, prior="sphere"))
    assert set(pictures) == ALWAYS - {"truncation"}


def test_each_path_is_drawn_straight_and_spherical(make_run, tmp_path: Path) -> None:
    generator, _ = generators.load(make_run(tmp_path, conditioning="concat") / "model")
    picture = illustrations.interpolation(generator, 3)
    z = generators.latents(generator, 10, 3)
    for pair, label in ((0, 0), (4, 1)):
        for path in (torch.lerp, slerp):
            along = path(z[pair].expand(10, -1), z[5 + pair].expand(10, -1), torch.linspace(0, 1, 10)[:, None])
            images = generators.decode(generator, along, torch.full((10,), label))
            assert holds(picture, grid(images, 10, 2))


def test_the_arithmetic_shows_exemplars_means_and_sums(make_run, tmp_path: Path) -> None:
    generator, _ = generators.load(make_run(tmp_path) / "model")
    z, seen = generators.latents(generator, 300, 3), torch.arange(300) % 3
    picture = illustrations.arithmetic(generator, z, seen, CLASSES, 3)
    groups = [z[seen == label][:50] for label in range(3)]
    for group in groups:
        column = generators.decode(generator, torch.cat([group[:3], group.mean(0, keepdim=True)]))
        assert holds(picture, grid(column, 1, 2))
    (a, b, c), *others = illustrations.analogies({label: group.mean(0) for label, group in enumerate(groups)})
    assert not others  # the same three classes
    sums = generators.decode(generator, latents.arithmetic(groups[a], groups[b], groups[c], 3))
    assert holds(picture, grid(sums, 3, 2))


def test_sums_are_taken_where_the_classes_lie_near() -> None:
    means = {2: torch.tensor([0.0, 0]), 5: torch.tensor([1.0, 0]), 3: torch.tensor([0, 1.5]), 9: torch.tensor([9.0, 9])}
    first, *others = illustrations.analogies(means)
    assert first == (5, 2, 3)  # 5 − 2 + 3: the corner of the square
    assert all(set(other) != {2, 3, 5} for other in others)
    assert illustrations.analogies({1: torch.zeros(2), 2: torch.ones(2)}) == []


def test_too_few_classes_have_no_sums(make_run, tmp_path: Path) -> None:
    pictures, _, _ = draw(make_run(tmp_path), seen=torch.arange(120) % 2)
    assert "arithmetic" not in pictures and "classes" in pictures


def test_progress_shows_each_snapshot_and_the_animation_moves(make_run, tmp_path: Path) -> None:
    place = make_run(tmp_path)
    pictures, _, _ = draw(place)
    generator, _ = generators.load(place / "model")
    illustrations.save(pictures, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == set(pictures)
    with Image.open(tmp_path / "animation.png") as picture:
        assert picture.n_frames == 3
        for frame, seen in enumerate((0, 640, 1280)):
            picture.seek(frame)
            shown = np.asarray(picture.convert("L"))[-4 - 128:-4, 4:4 + 128]
            np.testing.assert_array_equal(shown, np.asarray(grid(generators.sample(generator, 64, seen), 8, 2)))


def test_without_snapshots_nothing_moves(make_run, tmp_path: Path) -> None:
    place = make_run(tmp_path)
    for file in (place / "model" / "snapshots").iterdir():
        file.unlink()
    pictures, _, _ = draw(place)
    assert "animation" not in pictures and "progress" in pictures


def test_the_curve_of_precision_and_recall_is_drawn_where_it_is_given(make_run, tmp_path: Path) -> None:
    line = np.linspace(0, 1, 5)
    pictures, _, _ = draw(make_run(tmp_path), curves={"generated": (1 - line, line), "real": (1 - line**2, line)})
    assert pictures["precision_recall"].size == (456, 432)
    assert len(set(pictures["precision_recall"].convert("L").getdata())) > 2

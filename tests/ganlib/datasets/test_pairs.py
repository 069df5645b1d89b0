import re

import numpy as np
import pytest
from PIL import Image

from ganlib.condition import Condition
from ganlib.config import ConfigError
from ganlib.datasets import pairs
from ganlib.datasets.table import Table, read_manifest


def picture(path, red, green=0, size=(20, 20), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (red, green, 0)).convert(mode).save(path)


def side_by_side(path, red, size=(40, 20)):
    """A has green 0, B has green 200."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (red, 0, 0))
    image.paste((red, 200, 0), (size[0] // 2, 0, *size))
    image.save(path)


def two_folders(root, count=10, a="A", b="B", first=0):
    for k in range(first, first + count):
        picture(root / a / f"{k}.png", k)
        picture(root / b / f"{k}.jpg" if k % 2 and b == "B" else root / b / f"{k}.png", k, 200)


def prepare(root, directory, **options):
    pairs.prepare(pairs.Config(**{"path": str(root), "resolution": 8, **options}), directory)
    return {split: Table.open(directory, split) for split in read_manifest(directory)["splits"]}


def reds(images):
    return [round(int(image[0, 4, 4])) for image in images]


def require_pairs(table, sources=0, answers=200):
    assert table.paired and reds(table.images) == pytest.approx(reds(table.conditions), abs=3)
    assert table.images[:, 1].mean() == pytest.approx(answers, abs=3)
    assert table.conditions[:, 1].mean() == pytest.approx(sources, abs=3)


@pytest.mark.parametrize("layout", ["side by side", "two folders"])
def test_pairs_are_matched_and_divided_by_their_names(tmp_path, layout):
    if layout == "two folders":
        two_folders(tmp_path / "mine")
    else:
        for k in range(10):
            side_by_side(tmp_path / "mine" / f"{k}.png", k)
    tables = prepare(tmp_path / "mine", tmp_path / "t")
    assert {split: len(table) for split, table in tables.items()} == {"train": 9, "test": 1}
    assert sorted(red for table in tables.values() for red in map(int, table.captions)) == list(range(10))
    for table in tables.values():
        require_pairs(table)
        assert reds(table.images) == pytest.approx([int(name) for name in table.captions], abs=3)
        assert table.condition == Condition("image", 3, (8, 8)) and table.classes == ()
        assert (table.images[0] == table.images[0][:, :1, :1]).all()  # nothing of the other half
    first = read_manifest(tmp_path / "t")
    assert first["condition"]["description"] == ("A" if layout == "two folders" else "the left half")
    assert first["sha256"] == tables["train"].manifest["sha256"]
    other = prepare(tmp_path / "mine", tmp_path / "u", direction="b_to_a")
    require_pairs(other["train"], sources=200, answers=0)
    assert other["train"].captions == tables["train"].captions
    assert prepare(tmp_path / "mine", tmp_path / "v")["train"].manifest["sha256"] == first["sha256"]
    assert prepare(tmp_path / "mine", tmp_path / "v", seed=1)["train"].captions != tables["train"].captions


@pytest.mark.parametrize("layout", ["side by side", "A/train", "trainA", "train_A"])
def test_splits_of_the_folder_are_kept(tmp_path, layout):
    root = tmp_path / "mine"
    for split, first in (("train", 0), ("val", 20)):
        if layout == "side by side":
            for k in range(first, first + 5):
                side_by_side(root / split / f"{k}.png", k)
        else:
            a, b = ((f"{side}/{split}" if layout == "A/train" else layout.replace("train", split).replace("A", side))
                    for side in "AB")
            two_folders(root, 5, a, b, first)
    tables = prepare(root, tmp_path / "t")
    assert {split: reds(table.conditions) for split, table in tables.items()} == {
        "train": [0, 1, 2, 3, 4], "test": [20, 21, 22, 23, 24]}  # what is beside train alone is what is reported by
    for table in tables.values():
        require_pairs(table)


def test_two_sets_without_pairs_keep_a_test_part_of_each(tmp_path):
    for k in range(30):
        picture(tmp_path / "mine" / "A" / f"horse {k}.png", k)
    for k in range(20):
        picture(tmp_path / "mine" / "B" / "deeper" / f"zebra {k}.png", k, 200, mode="L")
    tables = prepare(tmp_path / "mine", tmp_path / "t", paired=False)
    assert {split: (len(table), len(table.conditions)) for split, table in tables.items()} == {
        "train": (18, 27), "test": (2, 3)}
    for table in tables.values():
        assert not table.paired and table.condition == Condition("image", 3, (8, 8), False) and table.shape == (1, 8, 8)
    assert sorted(red for table in tables.values() for red in reds(table.conditions)) == list(range(30))
    images, told = tables["train"].draw(0, 0, 50)
    assert images.shape == (50, 1, 8, 8) and told.shape == (50, 3, 8, 8)
    back = prepare(tmp_path / "mine", tmp_path / "t", paired=False, direction="b_to_a")["train"]
    assert (len(back), len(back.conditions)) == (27, 18) and back.condition.size == 1


def test_a_split_that_one_set_has_alone_is_cut_from_the_other_where_that_can_be(tmp_path):
    root = tmp_path / "mine"
    for k in range(20):
        picture(root / "A" / ("train" if k < 15 else "test") / f"{k}.png", k)
        picture(root / "B" / "train" / f"{k}.png", k)
    tables = prepare(root, tmp_path / "t", paired=False)
    assert {split: (len(table), len(table.conditions)) for split, table in tables.items()} == {
        "train": (18, 15), "test": (2, 5)}
    picture(root / "A" / "val" / "20.png", 20)
    with pytest.raises(ConfigError, match="a validation split of one of the two alone; add one of the other"):
        prepare(root, tmp_path / "t", paired=False)


def test_a_validation_split_is_one_of_both_sets_or_of_none(tmp_path):
    for k in range(210):
        picture(tmp_path / "mine" / "A" / f"{k}.png", k)
        if k < 40:
            picture(tmp_path / "mine" / "B" / f"{k}.png", k)
    for direction in ("a_to_b", "b_to_a"):
        tables = prepare(tmp_path / "mine", tmp_path / "t", paired=False, direction=direction, validation_share=0.5)
        assert sorted((len(tables["train"]), len(tables["train"].conditions))) == [36, 189] and len(tables) == 2


def test_each_side_has_channels_and_a_shape_of_its_own(tmp_path):
    for k in range(6):
        picture(tmp_path / "mine" / "A" / f"{k}.png", k, size=(30, 20), mode="L")
        picture(tmp_path / "mine" / "B" / f"{k}.png", k, size=(30, 20))
    train = prepare(tmp_path / "mine", tmp_path / "t", resolution=(8, 12))["train"]
    assert train.shape == (3, 8, 12) and train.condition == Condition("image", 1, (8, 12))
    assert prepare(tmp_path / "mine", tmp_path / "t", channels=1)["train"].shape == (1, 8, 8)
    assert pairs.Config(path="x", resolution=8).expected == ((3, 8, 8), Condition("image", 3, (8, 8)))
    assert not pairs.Config(path="x", resolution=8, paired=False).expected[1].paired


def test_what_cannot_be_read_goes_with_its_pair(tmp_path):
    two_folders(tmp_path / "mine")
    (tmp_path / "mine" / "A" / "3.png").write_bytes(b"no image")
    (tmp_path / "mine" / "B" / "4.png").write_bytes((tmp_path / "mine" / "B" / "4.png").read_bytes()[:-30])
    with pytest.raises(ConfigError, match=r"2 of 20 files in .* cannot be read as images: A/3\.png \(.*B/4\.png \("):
        prepare(tmp_path / "mine", tmp_path / "t", broken="refuse")
    assert not (tmp_path / "t").exists()
    tables = prepare(tmp_path / "mine", tmp_path / "t", broken="leave_out")
    assert sorted(int(name) for table in tables.values() for name in table.captions) == [0, 1, 2, 5, 6, 7, 8, 9]
    for table in tables.values():
        require_pairs(table)
    said = dict(map(reversed, read_manifest(tmp_path / "t")["details"]["said"]))
    assert "2 whose pairs cannot be read" in said


def add(path, **options):
    return lambda root: picture(root / path, 1, **options)


def gone(*paths):
    return lambda root: [(root / path).unlink() for path in paths]


def moved(old, new):
    return lambda root: (root / old).rename(root / new)


@pytest.mark.parametrize(("spoil", "options", "message"), [
    (gone("B/2.png", "B/4.png"), {}, "2 images of A have no B: 2, 4; give both the same name, or write"),
    (gone("A/2.png"), {}, "1 images of B have no A: 2; give both"),
    (gone("A/2.png"), {"broken": "leave_out"}, "1 images of B have no A: 2; give both"),
    (add("A/2.jpg"), {}, "A holds 1 images twice: 2.jpg and 2.png; leave one of each"),
    (add("A/2.png", size=(20, 30)), {}, "1 pairs are of unequal sizes: 2 (A 20×30, B 20×20); bring both images"),
    (add("A/2.png", mode="L"), {}, "dataset.channels: "),
    (moved("B", "C"), {}, "A/; A and B are needed, or trainA and trainB and"),
    (moved("B", "trainB"), {}, "A/, trainB/; A and B are needed"),
    (add("loose.png"), {}, "A/, B/, and beside them images outside of folders; move these away"),
    (add("more/1.png"), {}, "A/, B/, and beside them more/; move these away"),
    (lambda root: [path.unlink() for path in (root / "B").iterdir()], {}, "no images in B/ of"),
    (lambda root: [path.unlink() for path in (root / "B").iterdir()], {"paired": False}, "no images in B/ of"),
    (lambda root: [(root / "B" / f"{k}.{'jpg' if k % 2 else 'png'}").unlink() for k in range(1, 10)],
     {"paired": False}, "there are 1 images, and none is left for a test split; add images"),
])
def test_folders_that_are_no_pairs_are_refused_before_anything_is_written(tmp_path, spoil, options, message):
    two_folders(tmp_path / "mine")
    spoil(tmp_path / "mine")
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        prepare(tmp_path / "mine", tmp_path / "t", **options)
    assert "\n" not in str(caught.value) and not (tmp_path / "t").exists()


@pytest.mark.parametrize(("sizes", "options", "message"), [
    ({"1": (41, 20), "2": (20, 20)}, {}, "2 images are no A and B side by side, each of the shape 8×8: 1.png (41×20), "
                                         "2.png (20×20); make them twice as wide as that, set dataset.resolution="),
    ({"1": (60, 20)}, {}, "1.png (60×20)"),
    ({"1": (40, 20)}, {"resolution": (8, 12)}, "10 images are no A and B side by side, each of the shape 12×8: "),
    ({}, {"paired": False}, "has no folders A and B; where both lie side by side in each file they are pairs: write"),
    ({"1": (40, 20)}, {"path": "nowhere"}, "nowhere is not a folder"),
])
def test_images_that_are_no_two_side_by_side_are_refused(tmp_path, sizes, options, message):
    for k in range(10):
        side_by_side(tmp_path / "mine" / f"{k}.png", k, sizes.get(str(k), (40, 20)))
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        prepare(tmp_path / "mine", tmp_path / "t", **options)
    assert "\n" not in str(caught.value) and not (tmp_path / "t").exists()


def test_images_that_the_camera_turned_have_the_size_one_sees(tmp_path):
    two_folders(tmp_path / "mine")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 20), (1, 0, 0)).save(tmp_path / "mine" / "A" / "1.png", exif=turned)
    picture(tmp_path / "mine" / "B" / "1.jpg", 1, 200, size=(20, 30))
    require_pairs(prepare(tmp_path / "mine", tmp_path / "t")["train"])


def test_many_pairs_have_a_validation_split(tmp_path):
    for k in range(150):
        side_by_side(tmp_path / "mine" / f"{k}.png", k)
    tables = prepare(tmp_path / "mine", tmp_path / "t", validation_share=0.7)
    assert {split: len(table) for split, table in tables.items()} == {"train": 30, "validation": 105, "test": 15}
    assert np.unique([red for table in tables.values() for red in reds(table.images)]).tolist() == list(range(150))
    for table in tables.values():
        require_pairs(table)

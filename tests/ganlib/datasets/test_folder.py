import os

import numpy as np
import pytest
from PIL import Image

from ganlib import build
from ganlib.config import ConfigError
from ganlib.datasets.table import Table, choosing


def prepare(root, directory, **options):
    source, config = build.component("datasets", {"name": "folder", "path": str(root), "resolution": 8, **options})
    source.prepare(config, directory)
    return Table.open(directory, "train"), Table.open(directory, "test")


def grey(path, value=100, size=(8, 8), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "images"


def both(tables):
    return np.concatenate([table.images for table in tables])


def test_sub_folders_become_labels(root, tmp_path):
    for k in range(10):
        grey(root / "dark" / f"{k}.png", 10)
        grey(root / "light" / "more" / f"{k}.PNG", 200)
    (root / "light" / "notes.txt").write_text("not an image")
    grey(root / ".thumbnails" / "0.png", 77)
    train, test = prepare(root, tmp_path / "table")
    assert (len(train), len(test), train.shape, train.classes) == (18, 2, (1, 8, 8), ("dark", "light"))
    for table in (train, test):
        assert np.array_equal(table.images[:, 0, 0, 0], np.where(table.labels == 0, 10, 200))
    assert train.manifest["ignored_files"] == 1


def test_without_sub_folders_there_are_no_labels(root, tmp_path):
    for k in range(5):
        grey(root / f"{k}.png", k)
    train, test = prepare(root, tmp_path / "table")
    assert train.labels is None and train.classes == () and len(train) == 4 and len(test) == 1


def test_images_inside_and_outside_of_sub_folders_are_refused(root, tmp_path):
    grey(root / "loose.png")
    grey(root / "cat" / "a.png")
    with pytest.raises(ConfigError, match=r"cat/a\.png lies in a sub-folder .*loose\.png in none"):
        prepare(root, tmp_path / "table")


def test_the_split_depends_on_names_and_seed_alone(root, tmp_path):
    for k in range(30):
        grey(root / f"{k}.png", k)
    tests = [set(prepare(root, tmp_path / f"t{seed}{again}", seed=seed, test_share=0.2)[1].images[:, 0, 0, 0].tolist())
             for seed, again in ((0, 0), (0, 1), (1, 0))]
    assert tests[0] == tests[1] != tests[2] and len(tests[0]) == 6
    grey(root / "new.png", 99)
    after = set(prepare(root, tmp_path / "more", test_share=0.2)[1].images[:, 0, 0, 0].tolist())
    assert len(after & tests[0]) >= 5  # one more file does not shuffle the rest


def test_a_validation_split_is_made_where_it_has_images_enough(root, tmp_path):
    for k in range(200):
        grey(root / f"{k}.png", k)
    train, test = prepare(root, tmp_path / "table", test_share=0.1, validation_share=0.5)
    validation = Table.open(tmp_path / "table", "validation")
    assert [len(split) for split in (train, validation, test)] == [80, 100, 20]
    assert sorted(both((train, validation, test))[:, 0, 0, 0].tolist()) == list(range(200))
    assert choosing(tmp_path / "table")[0] == "validation"
    without, same = prepare(root, tmp_path / "small", test_share=0.1, validation_share=0.49)
    assert len(without) == 180 and choosing(tmp_path / "small")[0] == "train"
    assert np.array_equal(same.images, test.images)
    with pytest.raises(ConfigError, match=r"validation_share: .* images to train on are left"):
        prepare(root, tmp_path / "none", test_share=0.5, validation_share=0.5)


def test_the_sizes_of_the_splits_are_told_before_an_image_is_read(root, tmp_path):
    for k in range(20):
        (root / f"{k}.png").parent.mkdir(exist_ok=True)
        (root / f"{k}.png").write_text("no image")
    source, config = build.component("datasets", {"name": "folder", "path": str(root), "resolution": 8, "channels": 1})
    told = []
    with pytest.raises(ConfigError, match="cannot be read"):
        source.prepare(config, tmp_path / "table", check=told.append)
    assert told == [{"train": 18, "test": 2}]


def test_unequal_channels_name_two_files_and_the_setting(root, tmp_path):
    grey(root / "a.png")
    grey(root / "b.png", (10, 20, 30), mode="RGB")
    with pytest.raises(ConfigError, match=r"a\.png is grey and .*b\.png is in colour; set dataset\.channels to 1"):
        prepare(root, tmp_path / "table")
    assert not (tmp_path / "table").exists()
    assert prepare(root, tmp_path / "one", channels=1)[0].shape == (1, 8, 8)
    images = both(prepare(root, tmp_path / "three", channels=3))
    assert sorted(map(tuple, images[:, :, 0, 0].tolist())) == [(10, 20, 30), (100, 100, 100)]


def test_every_mode_comes_out_as_what_one_sees(root, tmp_path):
    root.mkdir()
    Image.new("RGBA", (8, 8), (200, 0, 0, 0)).save(root / "clear.png")             # white shows through
    Image.new("RGBA", (8, 8), (0, 0, 0, 255)).save(root / "opaque.png")
    Image.new("LA", (8, 8), (0, 128)).save(root / "half.png")
    Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)).save(root / "sixteen.png")  # 16-bit grey: 100 of 255
    Image.new("1", (8, 8), 1).save(root / "bilevel.png")
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(root / "cmyk.jpg", quality=100)
    Image.new("RGB", (8, 8), (50, 60, 70)).quantize(4).save(root / "palette.png")
    cutout = Image.new("P", (8, 8), 1)
    cutout.putpalette([0, 0, 0, 9, 9, 9])
    cutout.save(root / "cutout.gif", transparency=1)
    expected = {"clear": 255, "opaque": 0, "half": 127, "sixteen": 100, "bilevel": 255, "cmyk": 255,
                "palette": (50, 60, 70), "cutout": 255}
    images = both(prepare(root, tmp_path / "table", channels=3, test_share=0.5))
    seen = sorted(tuple(image[:, 4, 4].tolist()) for image in images)
    wanted = sorted(value if isinstance(value, tuple) else (value,) * 3 for value in expected.values())
    assert np.abs(np.array(seen) - wanted).max() <= 1
    black = both(prepare(root, tmp_path / "black", channels=3, background=0))
    assert (0, 0, 0) in {tuple(image[:, 4, 4].tolist()) for image in black}


def test_crop_takes_the_centre_and_pad_keeps_all(root, tmp_path):
    pixels = np.zeros((16, 48), np.uint8)  # wide: its left and right thirds are not in the centre square
    pixels[:, :16], pixels[:, 16:32], pixels[:, 32:] = 50, 100, 150
    root.mkdir()
    for name in "ab":
        Image.fromarray(pixels).save(root / f"{name}.png")
    cropped = both(prepare(root, tmp_path / "crop"))
    assert np.abs(cropped.astype(int) - 100).max() <= 5  # bicubic looks a little beyond the square
    padded = both(prepare(root, tmp_path / "pad", fit="pad", resolution=24))
    assert (padded[:, 0, [0, -1], :] == 255).all()                       # bars above and below
    assert padded[0, 0, 12, [2, 12, 21]].tolist() == [50, 100, 150]      # and the whole picture between them


def test_the_camera_orientation_is_followed(root, tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255  # a bright top
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180°
    for name in "ab":
        Image.fromarray(pixels).save(root / f"{name}.png", exif=exif)
    images = both(prepare(root, tmp_path / "table"))
    assert images[0, 0, -1].min() > 200 and images[0, 0, 0].max() < 50


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_corrupt_image_is_named_and_nothing_is_written(root, tmp_path, damage):
    for k in range(4):
        grey(root / f"{k}.png", k, size=(64, 64))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(root / "bad.png")
    content = (root / "bad.png").read_bytes()
    (root / "bad.png").write_bytes({"cut": content[:len(content) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(ConfigError, match=r"images/bad\.png: cannot be read as an image"):
        prepare(root, tmp_path / "table")
    assert os.listdir(tmp_path) == ["images"]


def test_folders_that_are_no_data_set_are_refused(root, tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.path: .*images is not a folder"):
        prepare(root, tmp_path / "table")
    root.mkdir()
    (root / "readme.txt").write_text("")
    with pytest.raises(ConfigError, match=r"holds 0 images of the types .*at least 2"):
        prepare(root, tmp_path / "table")


@pytest.mark.parametrize(("options", "message"), [
    ({"resolution": 0}, "resolution: 4 … 4096"), ({"fit": "stretch"}, "fit: 'stretch' is not a choice"),
    ({"channels": 2}, "channels: 2 is not a choice"), ({"test_share": 0}, "test_share: above 0 and below 1"),
    ({"background": 256}, "background: 0"), ({"crop": True}, "crop: unknown key"),
])
def test_bad_options_are_refused(root, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        prepare(root, tmp_path / "table", **options)

import json
import os
import shutil
import tempfile
from pathlib import Path

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
    assert train.manifest["details"]["left_out"]["other_types"] == {".txt": 1}


def test_without_sub_folders_there_are_no_labels(root, tmp_path):
    for k in range(5):
        grey(root / f"{k}.png", 20 * k)
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


def said(table):
    return [f"{word}: {text}" for word, text in table.manifest["details"]["said"]]


def test_a_class_that_would_be_lost_is_an_error_that_names_it(root, tmp_path):
    for k in range(10):
        grey(root / "ant" / f"{k}.png")
        grey(root / "cow" / f"{k}.png")
    (root / "bee").mkdir()
    (root / "dog").mkdir()
    (root / "dog" / "0.heic").write_bytes(b"")
    (root / "__MACOSX").mkdir()
    (root / ".cache").mkdir()
    with pytest.raises(ConfigError, match=r"without images: \S*/bee, \S*/dog \(1 files of other types: \.heic .*\);"):
        prepare(root, tmp_path / "table")
    assert not (tmp_path / "table").exists()


def test_other_endings_are_taken_and_what_is_not_is_counted(root, tmp_path):
    for k in range(20):
        grey(root / "cat" / f"{k}.jpg")
        (root / "dog").mkdir(exist_ok=True)
        grey(root / "dog" / f"{k}.jpg")
        (root / "dog" / f"{k}.jpg").rename(root / "dog" / f"{k}.jfif")
    for name in ("a.txt", "b.TXT", "c.csv", "Thumbs.db", "._0.jpg", "LICENSE"):
        (root / "cat" / name).write_text("")
    (root / "cat" / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(root / "cat" / "pipe.png")
    train, test = prepare(root, tmp_path / "table")
    assert train.classes == ("cat", "dog") and len(train) + len(test) == 40
    assert said(train) == ["left out: 4 files of other types: .txt (2), .csv (1), no ending (1)",
                           "left out: 1 links to nothing", "left out: 1 neither files nor folders"]


def test_links_to_folders_are_followed_but_not_in_circles(root, tmp_path):
    for k in range(10):
        grey(tmp_path / "elsewhere" / f"{k}.png", 50)
        grey(root / "here" / f"{k}.png", 100)
    (root / "there").symlink_to(tmp_path / "elsewhere")
    (root / "here" / "up").symlink_to(root)
    train, test = prepare(root, tmp_path / "table")
    assert train.classes == ("here", "there") and len(train) + len(test) == 20


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_class_folder_that_may_not_be_read_is_named(tmp_path):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "images"
        for name in ("ant", "bee"):
            grey(root / name / "0.png")
            grey(root / name / "1.png")
        Path(place).chmod(0o755)
        (root / "bee").chmod(0)
        os.seteuid(65534)
        try:
            with pytest.raises(ConfigError, match=r"cannot be read: \S*/bee \(Permission denied\)"):
                prepare(root, tmp_path / "table")
        finally:
            os.seteuid(0)


def test_classes_are_in_natural_order(root, tmp_path):
    for k in range(1, 13):
        grey(root / str(k) / "a.png", 20 * k)
        grey(root / str(k) / "b.png", 20 * k)
    train, _ = prepare(root, tmp_path / "table")
    assert train.classes == tuple(map(str, range(1, 13)))
    assert train.images[:, 0, 0, 0].tolist() == (20 * (train.labels + 1)).tolist()


def test_a_rare_class_is_trained_on_and_may_be_alone(root, tmp_path):
    for k in range(97):
        grey(root / "common" / f"{k:04}.png")
    for k in range(10):  # whichever its name, and so its hash
        grey(root / "rare" / f"{k}.png")
        train, test = prepare(root, tmp_path / "table")
        assert train.label_counts == (87, 1) and test.label_counts == (10, 0)
        (root / "rare" / f"{k}.png").unlink()


def test_splits_in_the_folder_are_taken_as_they_are(root, tmp_path):
    for k in range(20):
        grey(root / "Train" / "cat" / f"{k}.png", 20)
        grey(root / "Train" / "dog" / f"{k}.png", 60)
        grey(root / "val" / "cat" / f"{k}.png", 100)
        grey(root / "TESTING" / "dog" / f"{k}.png", 200)
    train, test = prepare(root, tmp_path / "table")
    validation = Table.open(tmp_path / "table", "validation")
    assert set(train.images.flat) == {20, 60} and train.label_counts == (20, 20) and train.classes == ("cat", "dog")
    assert set(validation.images.flat) == {100} and validation.label_counts == (20, 0)
    assert set(test.images.flat) == {200} and test.label_counts == (0, 20)
    assert said(train)[0].startswith("splits: test as in TESTING/, train as in Train/, validation as in val/; ")
    as_classes, _ = prepare(root, tmp_path / "classes", splits="none")
    assert as_classes.classes == ("TESTING", "Train", "val")
    grey(root / "val" / "bee" / "0.png")
    with pytest.raises(ConfigError, match=r"classes of val that Train has no images of: bee"):
        prepare(root, tmp_path / "table")


@pytest.mark.parametrize("second", ["val", "test"])
def test_a_second_split_is_the_test_split_and_validation_is_cut_from_train(root, tmp_path, second):
    for k in range(200):
        grey(root / "train" / f"{k}.png", 20)
        grey(root / second / f"{k % 30}.png", 100)
    train, test = prepare(root, tmp_path / "table", validation_share=0.5)
    assert len(Table.open(tmp_path / "table", "validation")) == len(train) == 100
    assert set(train.images.flat) == {20} and set(test.images.flat) == {100} and len(test) == 30


def test_folders_that_only_look_like_splits(root, tmp_path):
    for name in ("train", "bus"):
        for k in range(5):
            grey(root / name / f"{k}.png")
    assert prepare(root, tmp_path / "vehicles")[0].classes == ("bus", "train")
    shutil.rmtree(root / "bus")
    grey(root / "val" / "0.png")
    grey(root / "dev" / "0.png")
    with pytest.raises(ConfigError, match=r"are both the validation split; .*dataset\.splits=none"):
        prepare(root, tmp_path / "table")
    (root / "dev" / "0.png").unlink()
    (root / "dev").rename(root / "test")
    with pytest.raises(ConfigError, match=r"no images in \S*/test; fill it"):
        prepare(root, tmp_path / "table")


@pytest.mark.parametrize(("bits", "dtype", "suffix"), [(12, np.uint16, "png"), (10, np.uint16, "tif"),
                                                       (8, np.int32, "tif"), (14, np.int32, "tif")])
def test_deep_images_share_one_scale(root, tmp_path, bits, dtype, suffix):
    root.mkdir()
    for k in range(12):
        Image.fromarray(np.full((8, 8), round((2**bits - 1) * k / 11)).astype(dtype)).save(root / f"{k}.{suffix}")
    train, test = prepare(root, tmp_path / "table")
    assert sorted(both((train, test))[:, 0, 0, 0].tolist()) == [round(255 * k / 11) for k in range(12)]
    assert said(train) == [f"white: {bits}-bit: {2**bits - 1} is white"]
    assert train.manifest["details"]["white"] == 2**bits - 1
    halved = both(prepare(root, tmp_path / "halved", white=2 * (2**bits - 1)))
    assert halved.max() in (127, 128)


def test_white_is_for_images_of_every_kind(root, tmp_path):
    root.mkdir()
    Image.new("L", (8, 8), 10).save(root / "grey.png")
    Image.new("RGBA", (8, 8), (5, 10, 20, 255)).save(root / "colour.png")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(root / "float.tif")
    train, test = prepare(root, tmp_path / "table", white=10, channels=3)
    assert sorted(map(tuple, both((train, test))[:, :, 0, 0].tolist())) == [(13,) * 3, (128, 255, 255), (255,) * 3]


@pytest.mark.parametrize(("dtype", "write"), [(np.int32, "dataset.white=1"), (np.uint8, "dataset.white=1")])
def test_an_almost_black_data_set_is_refused_with_what_to_write(root, tmp_path, dtype, write):
    for k in range(12):
        grey(root / f"{k}.png", 100)
    prepare(root, tmp_path / "table")
    before = (tmp_path / "table" / "manifest.json").read_bytes()
    for k in range(12):
        (root / f"{k}.png").unlink()
        Image.fromarray(np.full((8, 8), k % 2).astype(dtype)).save(root / f"{k}.tif")
    with pytest.raises(ConfigError, match=rf"would be 1 of 255, almost black; .*{write}$"):
        prepare(root, tmp_path / "table")
    assert (tmp_path / "table" / "manifest.json").read_bytes() == before
    assert both(prepare(root, tmp_path / "table", white=1)).max() == 255


def test_deep_images_that_use_a_sliver_of_their_range_are_refused(root, tmp_path):
    root.mkdir()
    for k in range(12):
        Image.fromarray(np.full((8, 8), 30_000 + 90 * k, np.uint16)).save(root / f"{k}.png")
    with pytest.raises(ConfigError, match=r"would lie in 117 … 121 of 255, and hardly differ; save them"):
        prepare(root, tmp_path / "table")
    assert not (tmp_path / "table").exists()


def test_a_hidden_folder_of_images_is_said(root, tmp_path):
    for k in range(12):
        for name in ("seen", ".hidden"):
            grey(root / name / f"{k}.png", 20 * k)
    train, test = prepare(root, tmp_path / "table")
    assert train.classes == ("seen",) and len(train) + len(test) == 12
    assert ["left out", "images in hidden folders: .hidden/"] in train.manifest["details"]["said"]


@pytest.mark.parametrize("name", ["train", "Testing"])
def test_one_split_alone_is_no_class(root, tmp_path, name):
    for k in range(12):
        for label in ("cat", "dog"):
            grey(root / name / label / f"{k}.png", 20 * k)
    with pytest.raises(ConfigError, match=rf"one sub-folder alone, {name}/.*; write dataset.path=.*/{name}, or"):
        prepare(root, tmp_path / "table")
    assert prepare(root, tmp_path / "table", splits="none")[0].classes == (name,)
    assert prepare(root / name, tmp_path / "table")[0].classes == ("cat", "dog")


def test_a_class_of_a_labels_file_whose_images_are_all_broken_is_an_error(root, tmp_path):
    for k in range(20):
        grey(root / f"{k}.png", 10 * k)
    (root / "0.png").write_bytes(b"")
    (root / "labels.csv").write_text("file,label\n" + "".join(f"{k}.png,{'a' if k == 0 else 'b'}\n" for k in range(20)))
    with pytest.raises(ConfigError, match=r"dataset\.labels: no image is left of a; repair some"):
        prepare(root, tmp_path / "table", labels="labels.csv", broken="leave_out")


@pytest.mark.parametrize("name", [b"caf\xe9", b"back\\slash", b"x" * 250])
def test_a_folder_of_any_name_has_a_table(tmp_path, name):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    for k in range(12):
        grey(root / f"{k}.png", 20 * k)
    train, _ = prepare(root, tmp_path / "table")
    assert len(train.manifest["name"]) <= 100 and train.manifest["name"].isprintable()


def test_floats_need_to_be_told_what_is_white(root, tmp_path):
    root.mkdir()
    for k in range(5):
        Image.fromarray(np.full((8, 8), k / 4, np.float32)).save(root / f"{k}.tif")
    with pytest.raises(ConfigError, match=r"5 of 5 files .*floats, of no agreed range; set dataset\.white"):
        prepare(root, tmp_path / "table")
    assert sorted(both(prepare(root, tmp_path / "table", white=1))[:, 0, 0, 0].tolist()) == [0, 64, 128, 191, 255]


def broken_folder(root):
    for k in range(40):
        grey(root / "ab"[k % 2] / f"{k}.png", 100, size=(64, 64))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    for k in range(3):
        Image.fromarray(noise).save(root / "a" / f"cut{k}.png")
        content = (root / "a" / f"cut{k}.png").read_bytes()
        (root / "a" / f"cut{k}.png").write_bytes(content[:len(content) // 2])
    (root / "a" / "empty.png").write_bytes(b"")
    (root / "a" / "page.png").write_text("<html>")


def test_all_broken_files_are_named_at_once_or_left_out(root, tmp_path):
    broken_folder(root)
    with pytest.raises(ConfigError) as caught:
        prepare(root, tmp_path / "table")
    message = str(caught.value)
    assert message.startswith("5 of 45 files") and message.endswith("write dataset.broken=leave_out")
    for name in ("cut0", "cut1", "cut2"):
        assert f"a/{name}.png (" in message
    assert "a/empty.png (empty)" in message and "a/page.png (of no known type)" in message
    told = []
    source, config = build.component("datasets", {"name": "folder", "path": str(root), "resolution": 8,
                                                  "broken": "leave_out"})
    source.prepare(config, tmp_path / "table", check=told.append)
    train, test = Table.open(tmp_path / "table", "train"), Table.open(tmp_path / "table", "test")
    assert (len(train), len(test)) == (36, 4) and told[-1] == {"train": 36, "test": 4}
    assert len(train.manifest["details"]["left_out"]["broken"]) == 5
    assert said(train)[0].startswith("left out: 5 files that cannot be read: a/cut0.png (")
    for path in (root / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"classes without images: \S*/b;"):
        prepare(root, tmp_path / "table", broken="leave_out")


def test_more_broken_files_than_a_line_holds_are_counted(root, tmp_path):
    for k in range(30):
        grey(root / f"{k}.png")
        (root / f"broken{k}.png").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"30 of 60 files .* and 10 more; repair"):
        prepare(root, tmp_path / "table")


def test_very_large_images_name_the_setting_and_warn_of_nothing(root, tmp_path, recwarn):
    for k in range(3):
        grey(root / f"{k}.png", size=(200, 100))
    with pytest.raises(ConfigError, match=r"3 of 3 .* \(20,000 pixels, .* 19,999: dataset\.max_pixels\): 0\.png, 1"):
        prepare(root, tmp_path / "table", max_pixels=19_999)
    assert len(both(prepare(root, tmp_path / "table", max_pixels=20_000))) == 3
    grey(root / "large.png", size=(10_000, 9_000))  # beyond half of Pillow's own limit
    assert len(both(prepare(root, tmp_path / "table"))) == 4 and not recwarn.list


def test_names_that_are_not_utf8(root, tmp_path):
    for k in range(20):
        grey(root / "a" / f"{k}.png")
    os.rename(os.fsencode(root / "a" / "0.png"), os.fsencode(root / "a") + b"/caf\xe9.png")
    assert len(both(prepare(root, tmp_path / "table"))) == 20
    os.mkdir(os.fsencode(root) + b"/caf\xe9")
    os.rename(root / "a" / "1.png", os.fsencode(root) + b"/caf\xe9/1.png")
    with pytest.raises(ConfigError, match=r"a class cannot be named 'caf\\xe9'"):
        prepare(root, tmp_path / "table")


def test_labels_from_a_file_beside_the_images(root, tmp_path):
    for k in range(24):
        grey(root / f"{k % 3}" / f"{k}.png", 10 * k)
    rows = [(f"{k % 3}/{k}.png", k % 12 + 1) for k in range(24)]
    (root / "labels.csv").write_text("file,label\n" + "".join(f"{name},{label}\n" for name, label in rows))
    (root / "dataset.json").write_text(json.dumps({"labels": rows}))
    train, test = prepare(root, tmp_path / "table", labels="labels.csv")
    assert train.classes == tuple(map(str, range(1, 13)))
    for table in (train, test):
        assert (table.images[:, 0, 0, 0] // 10 % 12).tolist() == table.labels.tolist()
    assert said(train) == ["left out: 1 files of other types: .json (1)"]
    again, _ = prepare(root, tmp_path / "again", labels=str(root / "dataset.json"))
    assert again.manifest["sha256"] == train.manifest["sha256"]

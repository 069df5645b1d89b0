import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from ganlib.config import ConfigError
from ganlib.datasets import table
from ganlib.datasets.table import Table

SHAPE = (3, 4, 5)


def some(count, seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, *SHAPE), np.uint8), draw.integers(0, 2, count)


def pieces(images, labels, size=7):
    for start in range(0, len(images), size):
        yield images[start:start + size], None if labels is None else labels[start:start + size]


def write(directory, count=20, seed=0, labelled=True, size=7, **changes):
    images, labels = some(count, seed)
    labels = labels if labelled else None
    options = {"shape": SHAPE, "name": "toy", "source": "test", "classes": ("a", "b") if labelled else ()}
    table.write(directory, {"train": (count, pieces(images, labels, size)),
                            "test": (2, pieces(images[:2], None if labels is None else labels[:2]))},
                **{**options, **changes})
    return images, labels


@pytest.mark.parametrize("labelled", [True, False])
def test_what_was_written_is_read_back_without_a_copy(tmp_path, labelled):
    images, labels = write(tmp_path / "table", labelled=labelled)
    opened = Table.open(tmp_path / "table", "train")
    assert len(opened) == 20 and opened.shape == SHAPE
    assert np.array_equal(opened.images, images)
    assert not opened.images.flags.owndata and not opened.images.flags.writeable
    if labelled:
        assert opened.classes == ("a", "b") and np.array_equal(opened.labels, labels)
        assert opened.labels.dtype == np.int64
    else:
        assert opened.classes == () and opened.labels is None
    assert len(Table.open(tmp_path / "table", "test")) == 2
    assert opened.manifest["splits"]["train"]["images"] == 20
    assert sorted(os.listdir(tmp_path)) == ["table"]
    assert sorted(os.listdir(tmp_path / "table")) == ["manifest.json", "test.arrow", "train.arrow"]


def test_the_ipc_file_holds_fixed_shape_tensors(tmp_path):
    import pyarrow as pa
    write(tmp_path / "table")
    with pa.memory_map(str(tmp_path / "table" / "train.arrow")) as file:
        schema = pa.ipc.open_file(file).schema
    assert schema.field("image").type == pa.fixed_shape_tensor(pa.uint8(), SHAPE)
    assert schema.field("condition").type == pa.int64()


def test_the_hash_is_of_the_content(tmp_path):
    def digest(where, **options):
        write(tmp_path / where, **options)
        return table.read_manifest(tmp_path / where)["sha256"]

    first = digest("a")
    assert first == digest("b", size=3, source="elsewhere")
    assert len({first, digest("c", seed=1), digest("d", labelled=False), digest("e", classes=("a", "c"))}) == 4


@pytest.mark.parametrize(("labels", "classes", "whole", "train"), [
    (np.arange(12) % 3, "abc", "2fce7542b9c6dc432be3f14c39c8bcd0c2a690d2be9a33af2c5c41f65a171654",
     "3a96c3b4169ed6e6edff2961d28572311a58d69b2f97ebef674fd150c778e6fa"),
    (None, "", "8ab4ae1fba2dd5a49b25d6e4e2dba9e0c5a66611e80a862ec9388a5e35c6eef1",
     "31887c9488a0160ac10fd1fa93cb28d265a346cf5f461822798e54447316b44e"),
])
def test_the_hash_of_classes_is_what_it_was_when_nothing_else_was_told(tmp_path, labels, classes, whole, train):
    """Or numbers of older tables could not be compared with those of newer ones."""
    pixels = (np.arange(12 * 60) * 37 % 251).astype(np.uint8).reshape(12, *SHAPE)
    splits = {split: (len(pixels[part]), [(pixels[part], None if labels is None else labels[part])])
              for split, part in (("train", slice(10)), ("test", slice(10, 12)))}
    table.write(tmp_path / "table", splits, shape=SHAPE, name="x", source="y", classes=classes)
    manifest = table.read_manifest(tmp_path / "table")
    assert (manifest["sha256"], manifest["splits"]["train"]["sha256"]) == (whole, train)
    in_memory = Table.from_arrays(pixels[:10], None if labels is None else labels[:10], classes)
    assert in_memory.sha256 == train == Table.open(tmp_path / "table", "train").sha256


def test_batches_are_floats_from_minus_one_to_one():
    images = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    batch, labels = Table.from_arrays(images, np.arange(256)).batch(np.array([0, 255, 255, 127]))
    assert batch.dtype == torch.float32 and batch.shape == (4, 1, 1, 1)
    assert batch[0] == -1 and batch[1] == 1 and batch[3].item() == pytest.approx(-1 / 255, rel=1e-4)
    assert labels.dtype == torch.int64 and labels.tolist() == [0, 255, 255, 127]
    every, none = Table.from_arrays(torch.from_numpy(images)).batch(np.arange(256))
    assert none is None
    assert torch.equal(((every + 1) * 127.5).round().to(torch.uint8), torch.from_numpy(images))


@pytest.mark.parametrize(("images", "labels", "classes", "message"), [
    (np.zeros((2, 1, 4, 4), np.float32), None, (), "uint8 of shape"),
    (np.zeros((2, 4, 4), np.uint8), None, (), "uint8 of shape"),
    (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(3, int), (), r"whole numbers of shape \(2,\)"),
    (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2), (), "whole numbers"),
    (np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 2]), ("a", "b"), "0 … 1 are needed for 2 classes, got 0 … 2"),
    (np.zeros((2, 1, 4, 4), np.uint8), np.array([-1, 0]), ("a", "b"), "got -1 … 0"),
])
def test_arrays_that_are_no_table_are_refused(images, labels, classes, message):
    with pytest.raises(ConfigError, match=message):
        Table.from_arrays(images, labels, classes)


def test_a_missing_cut_or_foreign_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"manifest\.json: not found; prepare the data again$"):
        Table.open(tmp_path / "table", "train")
    write(tmp_path / "table")
    with pytest.raises(ConfigError, match="no split 'validation'; there are: train, test"):
        Table.open(tmp_path / "table", "validation")
    arrow = tmp_path / "table" / "train.arrow"
    whole = arrow.read_bytes()
    for damaged in (whole[:len(whole) // 2], b"", (tmp_path / "table" / "test.arrow").read_bytes()):
        arrow.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"train\.arrow: cannot be read"):
            Table.open(tmp_path / "table", "train")
    arrow.unlink()
    with pytest.raises(ConfigError, match=r"train\.arrow: cannot be read"):
        Table.open(tmp_path / "table", "train")


def edited(*path, to):
    """The manifest with another value at that path of keys, in JSON; REMOVED takes the key away."""
    def edit(manifest):
        within = manifest
        for key in path[:-1]:
            within = within[key]
        if to is REMOVED:
            del within[path[-1]]
        else:
            within[path[-1]] = to
        return json.dumps(manifest)
    return edit


REMOVED = object()
EDITS = {
    **{f"without {key}": edited(key, to=REMOVED) for key in ("name", "source", "shape", "classes", "condition",
                                                             "splits", "sha256", "details")},
    **{f"{key} null": edited(key, to=None) for key in ("name", "source", "shape", "classes", "splits", "sha256")},
    **{f"name {name!r}": edited("name", to=name) for name in ("../../x", "a/b", "a\\b", "", "..", "a\nb", 3, ["x"])},
    "without train": edited("splits", "train", to=REMOVED),
    "without the images": edited("splits", "train", "images", to=REMOVED),
    "without a split's hash": edited("splits", "train", "sha256", to=REMOVED),
    "no images": edited("splits", "train", "images", to=0),
    "fewer images": edited("splits", "train", "images", to=19),
    "negative images": edited("splits", "train", "images", to=-20),
    "a part of an image": edited("splits", "train", "images", to=20.5),
    "images as text": edited("splits", "train", "images", to="20"),
    "images true": edited("splits", "train", "images", to=True),
    "images beyond all memory": edited("splits", "train", "images", to=10**30),
    "many images": edited("splits", "train", "images", to=10**11),
    "images NaN": edited("splits", "train", "images", to=float("nan")),
    "images infinite": edited("splits", "train", "images", to=float("inf")),
    "a split that is a path": edited("splits", "../train", to={"images": 20, "sha256": "0" * 64}),
    "a split that is a number": edited("splits", "train", to=20),
    "another split": edited("splits", "more", to={"images": 20, "sha256": "0" * 64}),
    "splits as a list": edited("splits", to=[]),
    "a short hash": edited("sha256", to="abc"),
    "another hash": edited("sha256", to="0" * 64),
    "four sides": edited("shape", to=[3, 4, 5, 6]),
    "two channels": edited("shape", to=[2, 4, 5]),
    "turned": edited("shape", to=[3, 5, 4]),
    "no height": edited("shape", to=[3, 0, 5]),
    "a negative height": edited("shape", to=[3, -4, -5]),
    "a huge side": edited("shape", to=[3, 4, 5000]),
    "sides as text": edited("shape", to=["3", "4", "5"]),
    "shape as text": edited("shape", to="345"),
    "two classes of one name": edited("classes", to=["a", "a"]),
    "fewer classes": edited("classes", to=["a"]),
    "classes as text": edited("classes", to="ab"),
    "nested classes": edited("classes", to=[["a"], ["b"]]),
    "classes, and another number is told": edited("condition", "size", to=3),
    "classes, and nothing is told": edited("condition", "kind", to="nothing"),
    "classes, and texts are told": edited("condition", "kind", to="text"),
    "an unknown kind": edited("condition", "kind", to="sound"),
    "sides of a class": edited("condition", "sides", to=[4, 5]),
    "unpaired classes": edited("condition", "paired", to=False),
    "without what is told": edited("condition", "kind", to=REMOVED),
    "condition as text": edited("condition", to="class"),
    "a number in place of words": edited("condition", "description", to=3),
    "sources of classes": edited("splits", "train", "sources", to=20),
    "negative sources": edited("splits", "train", "sources", to=-1),
    "without sources": edited("splits", "train", "sources", to=REMOVED),
    "details as a list": edited("details", to=[]),
    "one key more": edited("extra", to=1),
    "deeply nested": lambda manifest: json.dumps(manifest)[:-1] + ', "x": ' + "[" * 100_000,
    "deep details": lambda manifest: json.dumps(manifest | {"details": 0})[:-2] + "[" * 900 + "]" * 900 + "}",
    "a list": lambda manifest: "[]",
    "a number": lambda manifest: "3",
    "empty": lambda manifest: "",
    "cut": lambda manifest: json.dumps(manifest)[:-20],
    "no JSON": lambda manifest: "name: toy",
    "not UTF-8": lambda manifest: b"\xff\xfe" + json.dumps(manifest).encode(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_manifest_is_refused_whatever_the_edit(tmp_path, edit):
    write(tmp_path / "table")
    path = tmp_path / "table" / "manifest.json"
    content = edit(json.loads(path.read_text()))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (lambda: table.read_manifest(tmp_path / "table"), lambda: Table.open(tmp_path / "table", "train")):
        with pytest.raises(ConfigError, match=r"manifest\.json: .*prepare the data again$"):
            read()


def test_what_a_manifest_may_hold_is_kept(tmp_path):
    write(tmp_path / "table", details={"said": [["left out", "nothing"]], "deep": [[[1]]]}, name="été (2020)",
          classes=("C++", "T-shirt (blue)"))
    manifest = table.read_manifest(tmp_path / "table")
    assert manifest["name"] == "été (2020)" and manifest["details"]["deep"] == [[[1]]]
    assert manifest["classes"] == ("C++", "T-shirt (blue)") and manifest["shape"] == SHAPE
    with pytest.raises(ConfigError, match="name: a printable one without slashes"):
        write(tmp_path / "table", name="../x")


def test_a_lack_of_memory_is_no_fault_of_the_table(tmp_path):
    write(tmp_path / "table", count=200_000)
    script = """
import resource
from ganlib.datasets.table import Table
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + 4_000_000, resource.RLIM_INFINITY))
try:
    Table.open("table", "train")
except OSError as error:
    print(error)
"""
    finished = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert finished.stdout == "Memory mapping file failed: Cannot allocate memory\n", finished


def test_an_older_table_is_replaced_only_by_a_complete_one(tmp_path):
    write(tmp_path / "table")
    before = table.read_manifest(tmp_path / "table")["sha256"]

    def broken():
        yield some(5)
        raise RuntimeError("decoder")

    with pytest.raises(RuntimeError, match="decoder"):
        table.write(tmp_path / "table", {"train": (20, broken())}, shape=SHAPE, name="toy", source="", classes="ab")
    with pytest.raises(ValueError, match="20 images were announced, 5 came"):
        table.write(tmp_path / "table", {"train": (20, [some(5)])}, shape=SHAPE, name="toy", source="", classes="ab")
    assert table.read_manifest(tmp_path / "table")["sha256"] == before
    assert os.listdir(tmp_path) == ["table"]
    write(tmp_path / "table", seed=1)
    assert table.read_manifest(tmp_path / "table")["sha256"] != before


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".table.partial").mkdir()
    (tmp_path / ".table.partial" / "train.raw").write_bytes(b"half")
    write(tmp_path / "table")
    assert os.listdir(tmp_path) == ["table"]


def test_a_directory_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(ConfigError, match="holds files that are not an image table"):
        write(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years"


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 1 MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)], capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_disk_too_small_is_refused_before_work_starts(small_disk):
    def never():
        raise AssertionError("the first piece was asked for")
        yield

    with pytest.raises(OSError, match=r"about 1[0-9]\.\d MB are needed and 1\.0 MB are free") as caught:
        table.write(small_disk / "table", {"train": (100_000, never())}, shape=SHAPE, name="toy", source="")
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(small_disk) == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_written(small_disk):
    def filling():
        (small_disk / "someone else's").write_bytes(bytes((1 << 20) - (64 << 10)))
        yield np.zeros((5000, *SHAPE), np.uint8), None

    with pytest.raises(OSError, match=r"no space for the image table: about .* MB are needed") as caught:
        table.write(small_disk / "table", {"train": (5000, filling())}, shape=SHAPE, name="toy", source="")
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(small_disk) == ["someone else's"]


def test_a_file_that_may_not_grow_leaves_nothing_half_written(tmp_path):
    """The same fault where nothing can be mounted: the kernel refuses to let a file of the process grow.

    The first limit meets the scratch file of 300,000 bytes, the second the Arrow file, which is a little longer.
    """
    script = """
import resource, numpy as np
from ganlib.datasets import table
for limit in (300_100, 100_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        table.write("table", {"train": (5000, [(np.zeros((5000, 3, 4, 5), np.uint8), None)])}, shape=(3, 4, 5),
                    name="toy", source="")
    except OSError as error:
        print(error)
"""
    finished = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = finished.stdout.splitlines()
    assert len(lines) == 2 and all("no space for the image table: about 0.7 MB are needed" in line for line in lines)
    assert os.listdir(tmp_path) == []


def test_few_are_the_first_of_each_class():
    labels = np.array([1, 0, 1, 1, 0, 0, 1])
    table = Table.from_arrays(np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1), labels, ("a", "b"))
    few = table.few(2)
    assert few.images.flatten().tolist() == [0, 1, 2, 4] and few.labels.tolist() == [1, 0, 1, 0]
    images, drawn = few.draw(0, 0, 8)  # twice over: more than there are
    assert images.shape == (8, 1, 1, 1) and sorted(drawn.tolist()) == [0] * 4 + [1] * 4
    with pytest.raises(ConfigError, match="class a has 3 images; 4 labelled ones are asked for"):
        table.few(4)
    with pytest.raises(ConfigError, match="this data has none"):
        Table.from_arrays(np.zeros((3, 1, 1, 1), np.uint8)).few(1)


def test_evenly_takes_of_every_class_where_the_table_is_sorted_by_label():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    sorted_table = Table.from_arrays(np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1), labels)
    some = sorted_table.evenly(10)
    assert some.images.flatten().tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert np.bincount(some.labels).tolist() == [5, 3, 2]
    assert len(sorted_table.evenly(1000)) == 100


def test_a_table_of_the_older_layout_is_refused_in_one_line(tmp_path):
    write(tmp_path / "table")
    path = tmp_path / "table" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["condition"]
    for split in manifest["splits"].values():
        del split["sources"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ConfigError) as caught:
        Table.open(tmp_path / "table", "train")
    assert str(caught.value) == (f"{path}: of an older layout, which does not say what is told of the images; "
                                 "prepare the data again")
    write(tmp_path / "table")  # it is in nobody's way
    assert len(Table.open(tmp_path / "table", "train")) == 20

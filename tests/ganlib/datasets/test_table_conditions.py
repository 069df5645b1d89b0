"""What a table tells of its images beside classes: texts, images, and images of no known pair."""

import json
import os
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
import torch

from ganlib.condition import NOTHING, Condition, of_classes
from ganlib.config import ConfigError
from ganlib.datasets import order, table
from ganlib.datasets.table import Table

SHAPE, SMALL = (3, 4, 6), (1, 5, 2)
LINE = Condition("image", 1, (5, 2))
APART = Condition("image", 1, (5, 2), paired=False)
TEXT = Condition("text", 7)


def pixels(count, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def vectors(count):
    return np.random.default_rng(1).normal(size=(count, 7)).astype(np.float32)


def in_pieces(*arrays, size=4):
    for start in range(0, len(arrays[0]), size):
        piece = [array[start:start + size] for array in arrays]
        yield tuple(piece) if len(piece) > 1 else piece[0]


def write(directory, images, told, condition, **options):
    table.write(directory, {"train": (len(images), in_pieces(images, told)), "test": (2, [(images[:2], told[:2])])},
                shape=SHAPE, name="toy", source="test", condition=condition, **options)


def unpaired(directory, images, sources, hidden=2, seed=0):
    """`hidden` pairs are known in the test split."""
    tests, theirs = pixels(hidden, seed=8), pixels(hidden, SMALL, seed=9)
    table.write(directory, {"train": (len(images), ((piece, None) for piece in in_pieces(images))),
                            "test": (hidden, [(tests, theirs)])},
                shape=SHAPE, name="toy", source="test", condition=APART, description="a line drawing",
                sources={"train": (len(sources), in_pieces(sources))})
    return tests, theirs


@pytest.mark.parametrize(("condition", "told"), [(LINE, pixels(10, SMALL)), (TEXT, vectors(10))])
def test_pairs_are_read_back_without_a_copy(tmp_path, condition, told):
    images, captions = pixels(10, seed=3), [f"picture {k}" for k in range(10)]
    write(tmp_path / "t", images, told, condition, captions={"train": captions, "test": captions[:2]},
          description="what is told")
    opened = Table.open(tmp_path / "t", "train")
    assert opened.condition == condition and type(opened.condition) is Condition and opened.paired
    assert np.array_equal(opened.images, images) and np.array_equal(opened.conditions, told)
    assert opened.conditions.dtype == told.dtype and not opened.conditions.flags.owndata
    assert opened.labels is None and opened.label_counts == () and opened.classes == ()
    assert list(opened.captions) == captions
    assert Table.open(tmp_path / "t", "test").captions == captions[:2]
    manifest = json.loads((tmp_path / "t" / "manifest.json").read_text())
    assert manifest["condition"] == {"kind": condition.kind, "size": condition.size, "paired": True,
                                     "sides": list(condition.sides) if condition.sides else None,
                                     "description": "what is told"}
    assert sorted(os.listdir(tmp_path / "t")) == ["manifest.json", "test.arrow", "train.arrow"]
    with pa.memory_map(str(tmp_path / "t" / "train.arrow")) as file:
        assert isinstance(pa.ipc.open_file(file).schema.field("condition").type, pa.FixedShapeTensorType)


def test_a_batch_has_the_conditions_of_its_images(tmp_path):
    images, lines = pixels(10, seed=3), np.arange(100, dtype=np.uint8).reshape(10, *SMALL)
    lines[9] = 255
    write(tmp_path / "t", images, lines, LINE)
    opened = Table.open(tmp_path / "t", "train")
    got, told = opened.batch(np.array([9, 0, 9]))
    assert told.dtype == torch.float32 and told.shape == (3, *SMALL)
    assert (told[0] == 1).all() and told[1, 0, 0, 0] == -1 and torch.equal(told[0], told[2])
    LINE.require_fit(told)
    got, told = opened.draw(5, 3, 12)
    assert torch.equal(((told + 1) * 127.5).round().to(torch.uint8),
                       torch.from_numpy(lines[order.indices(5, 10, 3, 12)]))
    assert torch.equal(((got + 1) * 127.5).round().to(torch.uint8),
                       torch.from_numpy(images[order.indices(5, 10, 3, 12)]))
    texts = Table.from_arrays(images, texts=vectors(10), captions=["a"] * 10)
    assert torch.equal(texts.batch(np.array([4, 2]))[1], torch.from_numpy(vectors(10)[[4, 2]]))


def test_unpaired_conditions_have_a_sequence_of_their_own(tmp_path):
    images = np.arange(10, dtype=np.uint8).repeat(72).reshape(10, *SHAPE)
    sources = np.arange(7, dtype=np.uint8).repeat(10).reshape(7, *SMALL)
    tests, theirs = unpaired(tmp_path / "t", images, sources)
    assert "train.source.arrow" in os.listdir(tmp_path / "t") and "test.source.arrow" not in os.listdir(tmp_path / "t")
    train, test = Table.open(tmp_path / "t", "train"), Table.open(tmp_path / "t", "test")
    assert not train.paired and len(train) == 10 and len(train.conditions) == 7
    assert train.condition == test.condition == APART
    assert test.paired and np.array_equal(test.images, tests) and np.array_equal(test.conditions, theirs)

    def drawn(start, count, seed=0, of=train):
        return [((part[:, 0, 0, 0] + 1) * 127.5).round().int().tolist() for part in of.draw(seed, start, count)]

    got, told = drawn(0, 70)
    assert [sorted(got[k:k + 10]) for k in range(0, 70, 10)] == [list(range(10))] * 7
    assert [sorted(told[k:k + 7]) for k in range(0, 70, 7)] == [list(range(7))] * 10
    for start, count in ((0, 1), (3, 11), (64, 6)):  # a pure function of the position, however it is cut
        assert drawn(start, count) == [got[start:start + count], told[start:start + count]]
    assert drawn(0, 70, seed=1)[1] != told
    # Of as many sources as images, none has the place of its image more often than chance.
    equal = Table.from_arrays(images, sources=images, paired=False)
    met = np.array(drawn(0, 1000, of=equal))
    assert (met[0] == met[1]).mean() == pytest.approx(0.1, abs=0.05)
    with pytest.raises(ValueError, match="no condition of this split belongs to an image"):
        train.batch(np.array([0]))


def test_each_permutation_of_the_two_sequences_is_drawn_once():
    """It takes longer than the batch."""
    images = pixels(40)
    apart = Table.from_arrays(images, sources=images[:30], paired=False)
    order._permutation.cache_clear()
    for start in range(0, 240, 7):
        apart.draw(0, start, min(7, 240 - start))
    assert order._permutation.cache_info().misses == 240 // 40 + 240 // 30


def test_parts_of_a_table_keep_what_is_told(tmp_path):
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    names = [f"picture {k}" for k in range(10)]
    part = Table.from_arrays(images, sources=images, captions=names).evenly(5)
    assert part.conditions.flatten().tolist() == part.images.flatten().tolist() == [0, 2, 4, 6, 8]
    assert part.captions == [names[k] for k in (0, 2, 4, 6, 8)] and part.paired and part.condition.kind == "image"
    apart = Table.from_arrays(images, sources=images[:6], paired=False).evenly(3)
    assert apart.images.flatten().tolist() == [0, 3, 6] and apart.conditions.flatten().tolist() == [0, 2, 4]
    assert not apart.paired and len(apart.evenly(3).draw(0, 0, 9)[1]) == 9
    with pytest.raises(ConfigError, match="few labels are asked for, and this data has none"):
        apart.few(1)
    labelled = Table.from_arrays(images, np.arange(10) % 2, captions=names)
    assert labelled.few(2).captions == names[:4] and labelled.condition == of_classes(2)


def test_splits_are_joined_where_both_tell_alike():
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    whole, names = Table.from_arrays(images, sources=images, captions=list("abcdefghij")), list("abcdefghij")
    joined = whole.followed_by(whole.evenly(2))
    assert joined.conditions.flatten().tolist() == joined.images.flatten().tolist() == [*range(10), 0, 5]
    assert joined.captions == [*names, "a", "f"] and joined.condition == whole.condition
    apart = Table(images, images[:3], Condition("image", 1, (1, 1), False), paired=False)
    for both in (apart.followed_by(whole), whole.followed_by(apart)):
        assert len(both) == 20 and both.conditions is None and both.condition == NOTHING and both.captions is None


def test_the_hash_covers_pixels_and_conditions_and_what_they_are(tmp_path):
    def digest(where, images=None, told=None, condition=LINE, **options):
        write(tmp_path / where, pixels(10) if images is None else images, pixels(10, SMALL) if told is None else told,
              condition, **options)
        return table.read_manifest(tmp_path / where)["sha256"]

    other = pixels(10, SMALL)
    other[9] ^= 1
    first = digest("a")
    assert first == digest("b", description="in other words")
    turned = Condition("image", 1, (2, 5))
    assert len({first, digest("c", told=other), digest("d", images=pixels(10, seed=1)),
                digest("e", told=pixels(10, SMALL).reshape(10, 1, 2, 5), condition=turned)}) == 4
    assert Table.from_arrays(pixels(10), sources=pixels(10, SMALL)).sha256 == Table.open(tmp_path / "a", "train").sha256

    def of_unpaired(where, sources):
        unpaired(tmp_path / where, pixels(10), sources)
        return table.read_manifest(tmp_path / where)["sha256"]

    assert len({first, of_unpaired("f", pixels(10, SMALL)), of_unpaired("g", other),
                of_unpaired("h", pixels(9, SMALL))}) == 4


def test_memory_stays_at_one_piece(tmp_path):
    piece, told = np.zeros((100, 3, 32, 32), np.uint8), np.zeros((100, 3, 32, 32), np.uint8)
    tracemalloc.start()
    table.write(tmp_path / "t", {"train": (5000, ((piece, told) for _ in range(50)))}, shape=(3, 32, 32), name="toy",
                source="", condition=Condition("image", 3, (32, 32)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6  # the table has 31 MB, a piece 0.6


@pytest.mark.parametrize(("options", "message"), [
    ({"texts": vectors(3)}, "captions: there are none, and texts are told; give the text of each vector"),
    ({"texts": vectors(3), "captions": ["a", " ", ""]}, "captions: 2 are empty, first that of image 1; write a text"),
    ({"texts": vectors(3), "captions": ["a", "b"]}, "captions: 2 of them, and 3 images; give one for each"),
    ({"texts": vectors(2), "captions": ["a"] * 3}, r"texts: floats of shape \(3, D\) are needed, got float32 \(2, 7\)"),
    ({"texts": np.ones((3, 7), int), "captions": ["a"] * 3}, "texts: floats of shape"),
    ({"texts": np.full((3, 7), np.nan), "captions": ["a"] * 3}, "texts: some numbers are not finite"),
    ({"texts": vectors(3)[:, :, None], "captions": ["a"] * 3}, r"got float32 \(3, 7, 1\)"),
    ({"sources": pixels(2)}, r"sources: uint8 of shape \(3, C, H, W\) are needed, got uint8 \(2, 3, 4, 6\)"),
    ({"sources": np.zeros((3, 1, 4, 4))}, r"sources: uint8 of shape .* got float64"),
    ({"sources": pixels(3)[0], "paired": False}, r"sources: uint8 of shape \(M, C, H, W\)"),
    ({"labels": np.arange(3), "sources": pixels(3)}, "labels and sources: one of them can be told of an image"),
    ({"labels": np.arange(3), "paired": False}, "paired: only sources can come without their pairs"),
    ({"classes": ("a", "b")}, "classes: there are no labels"),
    ({"labels": np.array([-1, -1, -1])}, "labels: 0 … 0 are needed for 1 classes, got -1 … -1"),
])
def test_arrays_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Table.from_arrays(pixels(3), **options)


@pytest.mark.parametrize(("splits", "options", "message"), [
    ({"train": (4, [(pixels(4), pixels(3, SMALL))])}, {"condition": LINE},
     r"train\.arrow: 4 conditions were announced, 3 came"),
    ({"train": (4, [(pixels(4), None)])}, {"condition": LINE}, r"train\.arrow: 4 conditions were announced, 0 came"),
    ({"train": (4, [(pixels(3), pixels(4, SMALL))])}, {"condition": LINE}, "4 images were announced, 3 came"),
    ({"train": (4, [(pixels(4), pixels(4))])}, {"condition": LINE},
     r"train\.arrow: pieces of conditions: uint8 of shape \(n, 1, 5, 2\) are needed, got uint8 \(4, 3, 4, 6\)"),
    ({"train": (4, [(pixels(4), vectors(4)[:, :6])])}, {"condition": TEXT, "captions": {"train": ["a"] * 4}},
     r"floats of shape \(n, 7\) are needed, got float32 \(4, 6\)"),
    ({"train": (4, [(pixels(4), vectors(4))])}, {"condition": TEXT}, "captions of train: there are none"),
    ({"train": (4, [(pixels(4), vectors(4))])}, {"condition": TEXT, "captions": {"train": ["a", "b", "", "d"]}},
     "captions of train: 1 are empty, first that of image 2"),
    ({"train": (4, [(pixels(4), None)])}, {"condition": APART, "sources": {"train": (4, [pixels(3, SMALL)])}},
     "4 conditions were announced, 3 came"),
    ({"train": (4, [(pixels(4), pixels(4, SMALL))])}, {"condition": APART}, "splits: sources are the conditions of"),
    ({"train": (4, [(pixels(4), None)])}, {"condition": LINE, "sources": {"train": (4, [pixels(4, SMALL)])}},
     "splits: sources are the conditions of unpaired data"),
    ({"train": (4, [(pixels(4), np.zeros(4, int))])}, {"classes": "ab", "condition": LINE}, "conditions: uint8 of"),
    ({"train": (4, [(pixels(4), pixels(4, SMALL))])}, {"classes": "ab", "condition": LINE},
     "classes: 2 names, and the condition is an image 1×5×2"),
    ({"train": (4, [(pixels(4), None)])}, {"condition": APART, "sources": {"trian": (4, [pixels(4, SMALL)])}},
     "sources and captions: there is no split trian"),
    ({"train": (4, [(pixels(4), np.zeros(4, int))])}, {}, "nothing is told"),
])
def test_what_does_not_fit_is_refused_and_nothing_stays(tmp_path, splits, options, message):
    with pytest.raises(ValueError, match=message):
        table.write(tmp_path / "t", splits, shape=SHAPE, name="toy", source="", **options)
    assert os.listdir(tmp_path) == []


def test_an_edited_or_cut_condition_is_refused(tmp_path):
    unpaired(tmp_path / "t", pixels(10), pixels(7, SMALL))
    manifest = (tmp_path / "t" / "manifest.json").read_text()
    for old, new in (('"sources": 7', '"sources": 6'), ('"paired": false', '"paired": true'),
                     ('"sources": 7', '"sources": 0'), ('"kind": "image"', '"kind": "text"')):
        assert old in manifest
        (tmp_path / "t" / "manifest.json").write_text(manifest.replace(old, new))
        with pytest.raises(ConfigError, match=r"manifest\.json: .*prepare the data again$"):
            Table.open(tmp_path / "t", "train")
    (tmp_path / "t" / "manifest.json").write_text(manifest)
    path = tmp_path / "t" / "train.source.arrow"
    for damaged in (path.read_bytes()[:200], (tmp_path / "t" / "train.arrow").read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"train\.source\.arrow: cannot be read as the table"):
            Table.open(tmp_path / "t", "train")
    write(tmp_path / "u", pixels(10), vectors(10), TEXT, captions={"train": ["a"] * 10, "test": ["a"] * 2})
    (tmp_path / "u" / "train.arrow").write_bytes((tmp_path / "t" / "test.arrow").read_bytes())
    with pytest.raises(ConfigError, match=r"train\.arrow: cannot be read as the table"):
        Table.open(tmp_path / "u", "train")

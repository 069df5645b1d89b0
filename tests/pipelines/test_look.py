"""The fingerprint of the user's own data: what changes it, and what happens where the data is not there."""

import json
import os

import pytest

from ganlib import build
from ganlib.config import ConfigError
from pipelines.look import look


@pytest.fixture
def place(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png", "notes.txt"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_text("x")
    return tmp_path


def seen(place, **options):
    section = {"name": "folder", "path": str(place / "images"), "resolution": 8, **options}
    look(section, place / "data" / "source.json")
    return (place / "data" / "source.json").read_bytes()


def test_it_stays_while_nothing_changes(place):
    first = seen(place)
    (place / "images" / ".DS_Store").write_text("")
    assert seen(place) == first and (json.loads(first)["files"], json.loads(first)["bytes"]) == (4, 4)


@pytest.mark.parametrize("change", [
    lambda images: (images / "a" / "3.png").write_text("x"),
    lambda images: (images / "a" / "2.png").unlink(),
    lambda images: (images / "a" / "2.png").rename(images / "b" / "2.png"),
    lambda images: (images / "a" / "2.png").write_text("longer"),
    lambda images: os.utime(images / "a" / "2.png", ns=(0, 0)),
    lambda images: (images / "c").mkdir(),
    lambda images: (images / "a" / "3.png").symlink_to("nowhere"),
    lambda images: os.rename(images / "a" / "2.png", os.fsencode(images) + b"/a/caf\xe9.png"),
])  # fmt: skip
def test_it_changes_with_whatever_prepare_may_see(place, change):
    first = seen(place)
    change(place / "images")
    assert seen(place) != first


def test_the_file_with_the_labels_is_looked_at_too(place):
    (place / "labels.csv").write_text("a/1.png,x")
    first = seen(place, labels="../labels.csv")
    (place / "labels.csv").write_text("a/1.png,yy")
    assert seen(place, labels="../labels.csv") != first


def test_where_the_data_is_not_there_what_was_seen_stays(place):
    first = seen(place)
    (place / "images").rename(place / "gone")
    assert seen(place) == first
    (place / "data" / "source.json").unlink()
    with pytest.raises(ConfigError, match="images is not there"):
        seen(place)


@pytest.mark.parametrize("name", build.names("datasets"))
def test_every_source_says_what_it_reads_of_the_users(name, place):
    options = {"resolution": 8, "path": str(place / "images")}
    look({"name": name, **options}, place / "source.json")
    assert json.loads((place / "source.json").read_text())["files"] > 0


def test_what_is_fetched_is_nobodys_file(tmp_path):
    look({"name": "fashion_mnist"}, tmp_path / "source.json")
    assert json.loads((tmp_path / "source.json").read_text())["files"] == 0

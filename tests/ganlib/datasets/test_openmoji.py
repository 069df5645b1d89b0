import io
import json
import os
import shutil
import sys
import tarfile

import numpy as np
import pytest

from ganlib.condition import Condition
from ganlib.config import ConfigError
from ganlib.datasets import fetching, openmoji
from ganlib.datasets.table import Table, read_manifest

pytest.importorskip("resvg_py")
SVG = '<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg"><g id="line">{}</g></svg>'
CIRCLE = '<circle cx="36" cy="36" r="{}" fill="{}" stroke="#000" stroke-width="2"/>'


def row(code, name="thing", subgroup="objects", skin="", tags=""):
    return {"hexcode": code, "annotation": name, "subgroups": subgroup, "skintone": skin, "tags": tags,
            "openmoji_tags": "own", "order": 1, "unicode": 1}


ROWS = [*(row(f"E{k:03}", f"thing {k}", tags="one, two" if k % 2 else "") for k in range(40)),
        row("1F468-200D-1F33E", "man farmer", "person-role"), row("1F469-200D-1F33E", "woman farmer", "person-role"),
        row("1F468-1F3FB-200D-1F33E", "man farmer: light skin tone", "person-role", "1F3FB"),
        row("F000", "a trademark", "brand"), row("1F1E6-1F1E8", "flag: Ascension Island", "country-flag"),
        row("E0F1", "red flag", "flags"), row("1F195", "NEW button", "alphanum")]  # which is blank


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "openmoji" / "package"
    for folder in ("data", "color/svg", "black/svg"):
        (root / folder).mkdir(parents=True)
    (root / "data" / "openmoji.json").write_text(json.dumps(ROWS))
    for k, about in enumerate(ROWS):
        for folder, fill in (("color", f"rgb({5 * k},200,0)"), ("black", "none")):
            drawing = "" if (folder, about["hexcode"]) == ("black", "1F195") else CIRCLE.format(10 + k // 2, fill)
            (root / folder / "svg" / f"{about['hexcode']}.svg").write_text(SVG.format(drawing))
    return root


def config(package, **options):
    return openmoji.Config(**{"path": str(package), "resolution": 16, "test_share": 0.25, **options})


def test_pairs_of_line_and_colour_with_captions(package, tmp_path):
    seen = []
    openmoji.prepare(config(package.parent), tmp_path / "t", lambda *progress: seen.append(progress), seen.append)
    train, test = (Table.open(tmp_path / "t", split) for split in ("train", "test"))
    assert seen[0] == {"train": len(train), "test": len(test)} and seen[-1] == (42, 42) and len(train) + len(test) == 42
    assert train.condition == Condition("image", 3, (16, 16)) == config(package).expected[1] and train.paired
    assert train.shape == config(package).expected[0] == (3, 16, 16)
    codes = read_manifest(tmp_path / "t")["details"]["codes"]
    kept = {code for those in codes.values() for code in those}
    assert kept == {about["hexcode"] for about in ROWS[:42]}
    names = {about["hexcode"]: place for place, about in enumerate(ROWS)}
    for table, split in ((train, "train"), (test, "test")):
        assert (table.images[:, :, 0, 0] == 255).all() and (table.conditions[:, :, 0, 0] == 255).all()  # on white
        place = np.array([names[code] for code in codes[split]])
        assert np.array_equal(table.images[:, 0, 8, 8], 5 * place)  # each image is that of its row
        assert (table.conditions[:, :, 8, 8] == 255).all() and table.conditions.min() < 200  # and lines are lines
        begins = (table.conditions < 250).any((1, 2)).argmax(1)  # where the circle does, which grows from row to row
        assert (np.diff(begins[np.argsort(place)]) <= 0).all() and len(set(begins)) > 2
        assert list(table.captions) == [
            ", ".join([ROWS[k]["annotation"], ROWS[k]["tags"] or "own"]) for k in place]
    farmers = [[code in codes[split] for code in ("1F468-200D-1F33E", "1F469-200D-1F33E")] for split in codes]
    assert all(one == other for one, other in farmers)


def test_the_table_is_the_same_wherever_the_package_lies_and_another_for_another_seed(package, tmp_path):
    def digest(where, **options):
        openmoji.prepare(config(where, **options), tmp_path / "t")
        return read_manifest(tmp_path / "t")["sha256"]

    shutil.copytree(package, tmp_path / "elsewhere")
    first = digest(package)
    assert first == digest(package.parent) == digest(tmp_path) == digest(tmp_path / "elsewhere")
    assert len({first, digest(package, seed=1), digest(package, resolution=20)}) == 3


@pytest.mark.parametrize(("spoilt", "content", "message"), [
    ("black/svg", None, r"holds no data/openmoji\.json and color/svg and black/svg, as the npm package openmoji does"),
    ("color/svg/E003.svg", None, r"1 files of the package are missing: color/svg/E003\.svg; unpack it again"),
    ("color/svg/E003.svg", "<svg", r"E003\.svg: cannot be read as an image \(.*\); unpack the package again"),
    ("color/svg/E003.svg", SVG.replace("72 72", "72 36").format(""), "16×8 pixels, and a square is needed"),
    ("data/openmoji.json", "[{}]", r"openmoji\.json: not the table of its package \(KeyError: 'hexcode'\)"),
    ("data/openmoji.json", "nothing", "not the table of its package"),
])
def test_a_package_that_is_not_whole_is_one_line_and_nothing_is_written(package, tmp_path, spoilt, content, message):
    if content is None:
        (package / spoilt).rename(tmp_path / "gone")
    else:
        (package / spoilt).write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        openmoji.prepare(config(package), tmp_path / "t")
    assert "\n" not in str(caught.value) and not (tmp_path / "t").exists()


def test_what_is_missing_on_the_machine_is_said(package, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"dataset\.path: nowhere is not a folder"):
        openmoji.prepare(config("nowhere"), tmp_path / "t")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"openmoji@17\.0\.0 was found nowhere:\n  - npm pack: there is no npm"):
        openmoji.prepare(openmoji.Config(), tmp_path / "t")
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ConfigError, match="needs the package resvg-py; write pip install resvg-py"):
        openmoji.prepare(config(package), tmp_path / "t")


@pytest.fixture
def npm(tmp_path, monkeypatch, package):
    """A program of that name, which hands out this package as npm does; gives its file."""
    file = tmp_path / "handed-out.tgz"
    with tarfile.open(file, "w:gz") as archive:
        archive.add(package, "package")
        archive.addfile(tarfile.TarInfo("package/scripts/run-me"), io.BytesIO())
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "npm"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncp {file} openmoji-17.0.0.tgz\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return file


def test_it_is_fetched_by_npm_and_checked(npm, package, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"\n  - npm pack: openmoji-17\.0\.0\.tgz: SHA-256 .*, expected 55ee7d"):
        openmoji.prepare(openmoji.Config(), tmp_path / "t")
    known = fetching.hashlib.sha256(npm.read_bytes()).hexdigest()
    monkeypatch.setattr(openmoji, "PACKAGE", fetching.Package("openmoji", "17.0.0", known, openmoji.PACKAGE.parts))
    openmoji.prepare(openmoji.Config(resolution=16, test_share=0.25), tmp_path / "t")
    assert (tmp_path / "asked").read_text() == "pack --silent --ignore-scripts openmoji@17.0.0\n"
    manifest = read_manifest(tmp_path / "t")
    openmoji.prepare(config(package), tmp_path / "u")
    assert manifest["sha256"] == read_manifest(tmp_path / "u")["sha256"]
    assert manifest["source"] == "npm package openmoji@17.0.0"


@pytest.mark.slow
def test_the_real_one_has_2087_pairs(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    try:
        openmoji.prepare(openmoji.Config(), tmp_path / "t")
    except ConfigError as error:
        pytest.skip(f"cannot be fetched here: {error}")
    assert {split: about["images"] for split, about in read_manifest(tmp_path / "t")["splits"].items()} == {
        "train": 1513, "validation": 188, "test": 386}

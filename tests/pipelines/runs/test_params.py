"""params.yaml, edited by hand: whatever is in it, it is taken, or refused in one message."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ganlib.config import ConfigError
from pipelines import compose
from pipelines.runs.params import load, parse_params, read

ROOT = Path(__file__).parents[3]
RAW = yaml.safe_load((ROOT / "params.yaml").read_text())
VALUES = [None, True, "", "x", "7", "1e3", -1, 0, 0.5, 3, 1e6, 1e12, 1e18, 2**63, 10**400, 1e-300, float("nan"),
          float("inf"), [], [1], ["x"], [[]], {}, {"x": 1}, {1: 2}, {"name": "x"}, b"\xff", "../../x"]


def paths(values: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Of every key, those of sections included."""
    for key, value in values.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from paths(value, (*before, key))


@pytest.mark.parametrize("path", list(paths(RAW)), ids=".".join)
def test_a_value_of_any_kind_is_taken_or_refused_by_its_key(path: tuple[str, ...]):
    for value in VALUES:
        raw = copy.deepcopy(RAW)
        section = raw
        for key in path[:-1]:
            section = section[key]
        section[path[-1]] = value
        try:
            parse_params(raw)
        except ConfigError as error:
            assert len(str(error)) < 1000


@pytest.mark.parametrize("path", list(paths(RAW)), ids=".".join)
def test_a_key_that_is_gone_or_new_is_taken_or_refused(path: tuple[str, ...]):
    for key in (None, "unheard_of", 7, None):
        raw = copy.deepcopy(RAW)
        section = raw
        for part in path[:-1]:
            section = section[part]
        value = section.pop(path[-1])
        if key is not None:
            section[key] = value
            with pytest.raises(ConfigError):
                parse_params(raw)
        else:
            try:
                parse_params(raw)
            except ConfigError as error:
                assert path[-1] in str(error)


@pytest.mark.parametrize(("change", "message"), [
    ({"seed": -1}, "seed: 0 … 9,223,372,036,854,775,807 is needed, got -1"),
    ({"seed": 2**64}, "seed: numbers below 2.63 are needed, got one of 65 bits"),
    ({"training": {"monitor_images": 1e12}}, r"training\.monitor_images: 0 … 100,000 is needed"),
    ({"networks": {"width": 1e6}}, r"networks\.width: 1 … 16,384 is needed, got 1,000,000"),
    ({"networks": {"width": 1e18}}, r"networks\.width: 1 … 16,384"),
    ({"networks": {"width": 8000}}, r"networks: these have 8,\d{3},\d{3},\d{3} weights, 35 GB .*lower networks\.width"),
    ({"evaluation": {"resize": 1e6}}, r"evaluation\.resize: 32 … 2,048 is needed"),
    ({"trainig": {}}, "trainig: unknown section; did you mean 'training'"),
    ({"composed": 5}, "composed: a list of choices is needed, got 5"),
    ({"registry": {"checkpoint": "best"}, "training": {"monitor_images": 0}}, r"registry\.checkpoint: which is best"),
])
def test_what_is_out_of_range_is_refused_by_name(change: dict[str, Any], message: str):
    raw = copy.deepcopy(RAW)
    for key, value in change.items():
        raw[key] = raw.get(key, {}) | value if isinstance(value, dict) else value
    with pytest.raises(ConfigError, match=message):
        parse_params(raw)


def test_a_number_is_a_number_however_it_is_written():
    for seed in ("7", 7.0, "7e0"):
        assert parse_params(RAW | {"seed": seed}).seed == 7
    assert parse_params(RAW | {"seed": 2**53 + 1}).run.seed == 2**53 + 1  # which a float does not hold


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True))
FILES = {
    "empty": b"", "a comment": b"# nothing\n", "a list": b"- 1\n- 2\n", "a word": b"word", "a number": b"7",
    "no YAML": b"a: [1,\nb: }", "a tab": b"a:\n\tb: 1\n", "latin-1": "name: é\n".encode("latin-1"),
    "UTF-16": "a: 1\n".encode("utf-16"), "NUL": b"a: \x00\n", "a picture": bytes(range(256)),
    "a tag": b"a: !!python/object/apply:os.system ['touch hacked']\n", "an unknown tag": b"a: !mine 1\n",
    "a wrong tag": b"a: !!int x\n", "a date that is none": b"a: 2026-99-99\n", "a key that is a list": b"[1]: 2\n",
    "a key that is a mapping": b"? {a: 1}\n: 2\n", "keys that are numbers": b"1: 2\n",
    "an alias of nothing": b"a: *b\n",
    "an alias within itself": b"a: &a [*a]\n", "a mapping within itself": b"a: &a {b: *a}\n", "a bomb": BOMB.encode(),
    "deep": b"a: " + b"[" * 5000 + b"]" * 5000,
    "digits": b"seed: " + b"9" * 5000, "two documents": b"a: 1\n---\nb: 2\n",
    "binary that is none": b"a: !!binary '%'\n", "a merge of nothing": b"<<: 5\n",
    "a bomb as keys": b"? &a [1]\n: *a\n",
    "octal": b"seed: 0o7x\n", "sixty": b"seed: 1:99999999999999999999\n",
}  # fmt: skip


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_that_is_no_params_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = Path("params.yaml")
    path.write_bytes(content)
    for door in (load, compose.check):
        with pytest.raises(ConfigError, match=r"params\.yaml|section"):
            door()
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


def test_files_that_are_none_are_refused(tmp_path: Path):
    (tmp_path / "directory").mkdir()
    for name, message in (("directory", "cannot be read"), ("none", "not found; write it with")):
        with pytest.raises(ConfigError, match=message):
            read(tmp_path / name)


def test_what_editors_leave_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A mark of the byte order, lines as on other systems, and what YAML has to write a value once."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    for content in (b"\xef\xbb\xbf" + text.encode(), text.replace("\n", "\r\n").encode(),
                    text.replace("seed: 0\n", "seed: &zero 0\n", 1).encode()):
        Path("params.yaml").write_bytes(content)
        compose.check()
        assert load().seed == 0

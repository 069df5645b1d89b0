"""Small files and directories: the old one or the new one, whatever happens; and what is read is what is meant."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ganlib import files
from ganlib.config import ConfigError


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_file_whose_writing_fails_stays_what_it_was(tmp_path: Path):
    path = tmp_path / "deep" / "a.json"
    files.write_json(path, {"a": 1})

    def half(temporary: Path) -> None:
        temporary.write_text("{")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*a\.json'"):  # which one, it did not know
        files.replace(path, half)
    assert files.read_json(path, "") == {"a": 1} and names(path.parent) == {"a.json"}


def test_a_directory_is_replaced_by_what_is_whole(tmp_path: Path):
    place = tmp_path / "results"
    for content in ("old", "new"):
        with files.replacing(place) as new:
            (new / content).touch()
            assert not place.exists() or names(place) == {"old"}
        assert names(place) == {content} and names(tmp_path) == {"results"}
    with pytest.raises(KeyboardInterrupt), files.replacing(place) as new:
        (new / "half").touch()
        raise KeyboardInterrupt
    assert names(place) == {"new"} and names(tmp_path) == {"results"}


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path):
    code = f"""
import os, signal
from pathlib import Path
from ganlib import files
with files.replacing(Path({str(tmp_path / "results")!r})) as new:
    (new / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert names(tmp_path) == {".results.partial"}
    with files.replacing(tmp_path / "results") as new:
        (new / "whole").touch()
    assert names(tmp_path) == {"results"} and names(tmp_path / "results") == {"whole"}


@pytest.mark.parametrize(("content", "message"), [
    (b"", "not JSON"), (b"{", "not JSON"), (b"\xff\xfe", "not JSON"), (b"[1]", "a mapping is needed"),
    (b"7", "a mapping is needed"),    (b"[" * 100_000, "not JSON"),
    (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"), (b"\x00" * 20, "not JSON"),
])
def test_what_is_no_mapping_is_refused_with_what_to_do(content: bytes, message: str, tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"a\.json: {message}.*; write it again$"):
        files.read_json(path, "write it again")


def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path):
    for name, message in (("none.json", "not found"), (".", "cannot be read")):
        with pytest.raises(ConfigError, match=f"{message}.*; write it again"):
            files.read_json(tmp_path / name, "write it again")


def test_places_that_cannot_be_written_are_known_before(tmp_path: Path):
    (tmp_path / "file").touch()
    files.require_writable(tmp_path / "new" / "deep", tmp_path / "file", tmp_path)
    with pytest.raises(ConfigError, match=r"file/below: cannot be written \(.*/file: Not a directory\)"):
        files.require_writable(tmp_path / "file" / "below")
    with pytest.raises(ConfigError, match=r"/proc/new: cannot be written \(/proc: "):  # by nobody, root included
        files.require_writable(Path("/proc/new"))

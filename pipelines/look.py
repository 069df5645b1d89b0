"""Stage look: the user's own data from outside → data/source.json, on which stage prepare depends.

    python -m pipelines.look

DVC does not know the images that `dataset.path` names. This stage runs each time, and writes a fingerprint of their
names, sizes and times of modification: while it stays the same, so does all that comes after. The file is kept in git:
a clone without the images takes it, and the table that was made of them, as they are.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganlib import build
from ganlib.config import require
from ganlib.datasets.listing import shown, walk
from ganlib.files import write_json
from pipelines.command import command
from pipelines.runs.params import read

SOURCE = Path("data/source.json")


def look(section: Any, out: Path = SOURCE) -> str:
    """Write `out` for a `dataset` section; gives a line on it. Where the data is not there, `out` stays as it is;
    ConfigError, if that is not there either."""
    module, config = build.component("datasets", section)
    sources: list[Path] = module.sources(config)
    if gone := [path for path in sources if not path.exists()]:
        require(out.exists(), f"dataset: {shown(gone[0])} is not there")
        return f"{shown(gone[0])} is not there; {out} stays as it is"
    digest, files, size = hashlib.sha256(), 0, 0
    for name, about in (entry for source in sources for entry in _entries(source)):
        digest.update(os.fsencode(f"{name}\0") + repr(about).encode())
        files, size = (files + 1, size + about[0]) if about else (files, size)
    write_json(out, {"files": files, "bytes": size, "sha256": digest.hexdigest()})
    return f"{files} files of {size / 1e6:.1f} MB" if sources else "found or fetched by itself"


def _entries(source: Path) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """The files and folders below a source, or itself, in the order of their names; size and time of modification of
    each, or None of a folder and of a link to nothing."""
    if source.is_file():
        yield source.name, _size_and_time(source)
        return
    for here, folders, files in walk(source):
        folders.sort()
        place = here.relative_to(source).as_posix()
        yield f"{place}/", None
        for name in sorted(files):
            yield f"{place}/{name}", _size_and_time(here / name)


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:  # a link to nothing, or to itself
        return None
    return about.st_size, about.st_mtime_ns


def main() -> None:
    with command("look"):
        line = look(read().get("dataset"))
    print(f"source    {line}")


if __name__ == "__main__":
    main()

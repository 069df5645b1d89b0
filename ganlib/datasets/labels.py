"""Labels from a file beside the images: a CSV with the columns file and label, or the dataset.json of StyleGAN."""

import csv
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ganlib.config import ConfigError, require
from ganlib.datasets.listing import natural, several, shown
from ganlib.files import read_json

FILE, LABEL = ("file", "filename", "file_name", "image", "path"), ("label", "class")  # the names of the columns


def labels_of(names: list[str], path: Path) -> list[str]:
    """The label of each image, by its name relative to the folder. ConfigError that names the images without a label,
    the names in the file that are no images, and those with two labels."""
    found: dict[str, str] = {}
    twice = []
    for name, label in _json(path) if path.suffix.lower() == ".json" else _csv(path):
        name = posixpath.normpath(name.strip())
        if label and found.setdefault(name, label) != label:
            twice.append(name)
    where = f"dataset.labels: {shown(path)}"
    require(not twice, f"{where}: two labels are given to {listed(twice)}; leave one")
    unknown = found.keys() - set(names)
    require(not unknown, f"{where}: {len(unknown)} names in it are no images of the folder: {listed(unknown)}; take "
            "them out of the file, or put the images there")
    missing = set(names) - found.keys()
    require(not missing, f"{where}: {len(missing)} images have no label in it: {listed(missing)}; give them one, or "
            "take them out of the folder")
    return [found[name] for name in names]


def listed(names: Iterable[str]) -> str:
    """The first of them in their natural order."""
    return several([shown(name) for name in sorted(names, key=natural)])


def _csv(path: Path) -> Iterator[tuple[str, str]]:
    where = f"dataset.labels: {shown(path)}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{where}: no CSV in UTF-8 ({error}); save it as that") from None
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    file_at, label_at = (next((head.index(name) for name in known if name in head), None) for known in (FILE, LABEL))
    if named := file_at is not None and label_at is not None:
        del rows[0]
    for row in rows:
        require(len(row) == (len(head) if named else 2), f"{where}: two columns are needed, file and label, got "
                f"{', '.join(row)[:80]!r}; where there are more, the first line must name those two")
        yield row[file_at or 0], row[(label_at or 0) if named else 1].strip()


def _json(path: Path) -> Iterator[tuple[str, str]]:
    remedy = 'dataset.labels: {"labels": [["dir/img.png", 3], …]} is needed, or a CSV'
    rows: Any = read_json(path, remedy).get("labels")
    require(isinstance(rows, list) and bool(rows), f"{shown(path)}: no list of `labels`; {remedy}")
    for row in rows:
        right = isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and type(row[1]) in (int, str)
        require(right, f"{shown(path)}: {str(row)[:80]} is no name with a label; {remedy}")
        yield row[0], str(row[1])

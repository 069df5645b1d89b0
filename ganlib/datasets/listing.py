"""The image files below a folder, and all else that lies there: nothing is passed over without being counted."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import ConfigError

SUFFIXES = {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".dib", ".gif", ".tif",
            ".tiff", ".jp2", ".j2k", ".jpx", ".j2c", ".jpc", ".jpf", ".mpo", ".pbm", ".pgm", ".ppm", ".pnm", ".tga"}
# What systems and programs leave in folders; and all names that begin with a dot.
SILENT = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information",
          "lost+found"}
MOST = 20  # names in a message


@dataclass(frozen=True)
class Listing:
    """`images` in the order of their paths, `folders` (of the first two levels), files of other types, links to
    nothing, and what is neither file nor folder."""

    images: list[Path]
    folders: list[Path]
    others: list[Path]
    dangling: list[Path]
    special: list[Path]
    hidden: list[Path]  # folders that are passed over, and hold images


def images_below(root: Path, where: str = "dataset.path", least: int = 2) -> Listing:
    """All below root, links followed. Hidden files are not in it. ConfigError, which begins with `where`, if root is no
    folder, holds fewer than the `least` images, or has a sub-folder that cannot be read."""
    if not root.is_dir():
        raise ConfigError(f"{where}: {shown(root)} is not a folder")
    found = Listing([], [], [], [], [], [])
    unread: list[OSError] = []
    for here, folders, files in walk(root, unread.append):
        if len(here.relative_to(root).parts) < 2:
            found.folders.extend(here / folder for folder in folders)
        for path in (here / file for file in files):
            _kind(found, path).append(path)
        found.hidden.extend(path for path in here.iterdir() if _silent(path.name) and _holds_images(path))
    if unread:
        raise ConfigError(f"{where}: cannot be read: "
                          + several([f"{shown(error.filename)} ({error.strerror})" for error in unread])
                          + "; give yourself the right to read them, or move them out of the folder")
    if len(found.images) < least:
        rest = f", and {types(found.others)}" if found.others else ""
        raise ConfigError(f"{where}: {shown(root)} holds {len(found.images)} images of the types "
                          f"{', '.join(sorted(SUFFIXES))}{rest}; at least {least} must be there")
    for paths in (found.images, found.folders, found.others, found.hidden):
        paths.sort()
    return found


def walk(root: Path, unread: Callable[[OSError], object] = lambda error: None
         ) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder, the names of the folders in it, and those of the files; links are followed, but not in circles. What
    is hidden, and what systems leave there, is passed over."""
    for name, folders, files in os.walk(root, onerror=unread, followlinks=True):
        here = Path(name)
        folders[:] = [folder for folder in folders if not _silent(folder) and not _leads_back(here / folder, root)]
        yield here, folders, [file for file in files if not _silent(file)]


def _holds_images(folder: Path) -> bool:
    return any(Path(file).suffix.lower() in SUFFIXES and not _silent(file)
               for _, _, files in os.walk(folder) for file in files)


def _silent(name: str) -> bool:
    return name.startswith(".") or name.lower() in SILENT


def _kind(found: Listing, path: Path) -> list[Path]:
    if path.is_file():
        return found.images if path.suffix.lower() in SUFFIXES else found.others
    return found.special if path.exists() else found.dangling


def _leads_back(folder: Path, root: Path) -> bool:
    """Is it a link to a folder that it lies in?"""
    if not folder.is_symlink():
        return False
    parents = [root, *(root.joinpath(*parts[:n]) for parts in [folder.relative_to(root).parts]
                       for n in range(1, len(parts)))]
    return any(os.path.samefile(folder, parent) for parent in parents)


def types(paths: Iterable[Path]) -> str:
    """3 files of other types: .txt (2), .csv (1)"""
    counts = endings(paths)
    return f"{sum(counts.values())} files of other types: " + several(
        [f"{ending} ({count})" for ending, count in counts.items()])


def endings(paths: Iterable[Path]) -> dict[str, int]:
    """How many files there are of each ending, the most frequent one first."""
    counts = Counter(shown(path.suffix.lower()) or "no ending" for path in paths)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def natural(name: str) -> list[object]:
    """A key by which names are sorted as people read them: 1, 2, 10."""
    parts = re.split("([0-9]+)", name)  # text, digits, text, …
    digits = [part.lstrip("0") for part in parts[1::2]]
    return [*(key for text, number in zip(parts, [*digits, ""], strict=False) for key in (text, len(number), number)),
            name]


def several(texts: Iterable[str]) -> str:
    """The first of many texts, in their order, and how many more there are."""
    texts = list(texts)
    more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return ", ".join(texts[:MOST]) + more


def shown(path: str | Path) -> str:
    """A name as it can be printed in a line: what is no UTF-8, and no letter to see, as an escape (caf\\xe9.png)."""
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in str(path))


def _escape(letter: str) -> str:
    byte = ord(letter) - 0xDC00  # so Python keeps a byte of a file's name that is no UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()

"""What the data sets of a user's own files share: the options, a look at all files, and what is left out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganlib.config import ConfigError, require
from ganlib.datasets import images
from ganlib.datasets.images import Look, White
from ganlib.datasets.listing import Listing, endings, several, shown, types
from ganlib.datasets.splits import require_shares


@dataclass(frozen=True)
class Files:
    """path: the folder. resolution: side of the square images, in pixels, or their height and width.

    fit: "crop" the centre, or "pad" with the background; then resized (bicubic, antialiased). channels: 1 grey, 3
    colour; None: as the images are, refused where some are grey and some are not. background: 0 black … 255 white,
    behind transparent pixels and in the padding. test_share, validation_share: parts of the images, and of each class,
    that are the test split, by which generators are reported, and the validation split, by which they are chosen; which
    ones depends on their names and the seed alone. There is no validation split where it would have fewer than
    LEAST_VALIDATION images.
    white: the value in the files that is white; None: 255, and of deeper grey images that of the number of bits which
    holds them all. broken: "refuse" files that cannot be read, or "leave_out". max_pixels: of an image.
    """

    path: str
    resolution: int | tuple[int, int]
    fit: Literal["crop", "pad"] = "crop"
    channels: Literal[1, 3] | None = None
    background: int = 255
    test_share: float = 0.1
    validation_share: float = 0.1
    seed: int = 0
    white: float | None = None
    broken: Literal["refuse", "leave_out"] = "refuse"
    max_pixels: int = images.MAX_PIXELS

    def __post_init__(self) -> None:
        require(all(4 <= side <= 4096 for side in self.size),
                f"resolution: 4 … 4096 is needed, or [height,width] of such, got {self.resolution}")
        require(0 <= self.background <= 255,
                f"background: 0 (black) … 255 (white) is needed, got {self.background}")
        require_shares(self.test_share, self.validation_share)
        require(self.white is None or 0 < self.white < float("inf"), f"white: above 0 is needed, got {self.white}")
        require(self.max_pixels >= 1, f"max_pixels: at least 1 is needed, got {self.max_pixels}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.resolution if isinstance(self.resolution, tuple) else (self.resolution, self.resolution)

    @property
    def title(self) -> str:
        """The name of the table."""
        return re.sub(r"[/\\]", "-", shown(self.root.resolve().name))[:100].strip() or "images"

    @property
    def root(self) -> Path:
        """The folder."""
        return Path(self.path).expanduser()


def look(files: Files, paths: list[Path], decode: bool) -> tuple[list[Look], dict[Path, str]]:
    """What is known of the images that can be read, in their order, and why the others cannot be."""
    floats = files.white is not None
    found = list(images.each(paths, lambda path: images.look(path, files.max_pixels, floats, decode)))
    return ([seen for seen in found if isinstance(seen, Look)],
            {error.path: error.reason for error in found if isinstance(error, images.Unreadable)})


def refusal(files: Files, paths: list[Path], known: dict[Path, str] | None = None) -> ConfigError:
    """What to say once a first one cannot be read: all that cannot be are named at once."""
    broken = {**(known or {}), **look(files, paths, decode=True)[1]}
    return images.refusal(broken, len(paths), files.root, "repair or remove what is broken, or write "
                          "dataset.broken=leave_out")


def channels_of(files: Files, looks: dict[Path, Look]) -> int:
    """1 or 3: as asked for, or as all the images are. ConfigError if some are grey and some are not."""
    if files.channels:
        return files.channels
    first: dict[bool, Path] = {}
    for path, seen in looks.items():
        first.setdefault(seen.grey, path)
    if len(first) > 1:
        raise ConfigError(f"dataset.channels: {shown(first[True])} is grey and {shown(first[False])} is in colour; "
                          "set dataset.channels to 1 (all become grey) or 3 (all become colour)")
    return 1 if True in first else 3


def white_of(asked: float | None, looks: Iterable[Look]) -> White:
    """What is white in the images: as asked for, or by their number of bits."""
    if asked is not None:
        return White(asked, asked, asked)
    return White(images.white_of(looks) or White.deep)


def left_out(files: Files, found: Listing, broken: dict[Path, str], labels: Path | None = None
             ) -> tuple[dict[str, Any], list[list[str]]]:
    """For the manifest: what of the folder is not in the table, counted, and the lines that say so. labels: a file
    that is there for another purpose."""
    said = []
    others = [path for path in found.others if labels is None or path.resolve() != labels.resolve()]
    if others:
        said.append(["left out", types(others)])
    if found.hidden:
        names = several([shown(path.relative_to(files.root)) + "/" for path in found.hidden])
        said.append(["left out", f"images in hidden folders: {names}"])
    for what, paths in (("links to nothing", found.dangling), ("neither files nor folders", found.special)):
        if paths:
            said.append(["left out", f"{len(paths)} {what}"])
    unread = images.reasons(broken, files.root)
    if unread:
        said.append(["left out", f"{len(unread)} files that cannot be read: {several(unread)}"])
    counts = {"other_types": endings(others), "dangling": len(found.dangling), "special": len(found.special),
              "hidden": [shown(path.relative_to(files.root)) for path in found.hidden], "broken": unread}
    return counts, said

"""Image files → the images that a translator is told: read as those of a folder, and brought to the size and channels
of its condition."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ganlib.condition import Condition
from ganlib.config import parse, require
from ganlib.datasets import images
from ganlib.datasets.images import Look, Unreadable, White
from ganlib.datasets.reading import white_of

Fit = Literal["crop", "pad"]


@dataclass(frozen=True)
class Reading:
    """How files become images. fit: "crop" the centre, or "pad" with the background. background: 0 black … 255 white,
    behind transparent pixels and in the padding. white: the value in the files that is white; None: by their bits."""

    fit: Fit = "crop"
    background: int = 255
    white: float | None = None


def reading_of(description: dict[str, Any]) -> Reading:
    """As those were that a generator was trained on, by what its file says of its data set; what older files, and data
    sets of no files, do not say, as by default. ConfigError for values of another type."""
    said = (description.get("params") or {}).get("dataset") or {}
    return parse(Reading, {field.name: said[field.name] for field in fields(Reading) if field.name in said}, "dataset")


class Looked(NamedTuple):
    """What is known of files before they are read: what is white in them all, which ones are in colour, and which ones
    cannot be read, with the reason."""

    white: White
    coloured: list[Path]
    broken: dict[Path, str]


def look(paths: list[Path], reading: Reading = Reading()) -> Looked:
    """At all of them, since those of more than 8 bits share one scale."""
    floats = reading.white is not None
    found = dict(zip(paths, images.each(paths, lambda path: images.look(path, floats=floats)), strict=True))
    seen = {path: look for path, look in found.items() if isinstance(look, Look)}
    return Looked(white_of(reading.white, seen.values()),
                  [path for path, look in seen.items() if not look.grey],
                  {path: error.reason for path, error in found.items() if isinstance(error, Unreadable)})


def read(path: Path, told: Condition, white: White, reading: Reading = Reading()) -> np.ndarray:
    """An image as uint8 of the condition's shape (C, H, W): its centre cut out, or the whole padded, and resized.
    Grey ones are told as colour where colour is told, and the other way round. Raises Unreadable."""
    assert told.sides is not None
    require(told.size in (1, 3), f"this translator is told {told}, and image files have 1 or 3 channels")
    return images.fitted(path, (told.size, *told.sides), reading.fit, reading.background, white)

"""Image files → the images that a translator is told: read as those of a folder, and brought to the size and channels
of its condition."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ganlib.condition import Condition
from ganlib.config import require
from ganlib.datasets import images
from ganlib.datasets.images import Look, Unreadable, White

Fit = Literal["crop", "pad"]
BACKGROUND = 255  # behind transparent pixels, and in the padding


class Looked(NamedTuple):
    """What is known of files before they are read: what is white in them all, which ones are in colour, and which ones
    cannot be read, with the reason."""

    white: White
    coloured: list[Path]
    broken: dict[Path, str]


def look(paths: list[Path]) -> Looked:
    """At all of them, since those of more than 8 bits share one scale."""
    found = dict(zip(paths, images.each(paths, images.look), strict=True))
    seen = {path: look for path, look in found.items() if isinstance(look, Look)}
    return Looked(White(images.white_of(seen.values()) or White.deep),
                  [path for path, look in seen.items() if not look.grey],
                  {path: error.reason for path, error in found.items() if isinstance(error, Unreadable)})


def read(path: Path, told: Condition, white: White, fit: Fit = "crop") -> np.ndarray:
    """An image as uint8 of the condition's shape (C, H, W): its centre cut out, or the whole padded with white, and
    resized. Grey ones are told as colour where colour is told, and the other way round. Raises Unreadable."""
    assert told.sides is not None
    require(told.size in (1, 3), f"this translator is told {told}, and image files have 1 or 3 channels")
    return images.fitted(path, (told.size, *told.sides), fit, BACKGROUND, white)

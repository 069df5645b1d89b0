"""Figures of matplotlib, as files small enough for a repository."""

from pathlib import Path
from typing import Any

from PIL import Image


def save(figure: Any, file: Path) -> None:
    """With a palette of 64 colours: a third of the bytes, and nothing that one sees."""
    figure.savefig(file)
    small(file)


def small(file: Path) -> None:
    """The same for a picture that is there already."""
    with Image.open(file) as picture:
        reduced = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    reduced.save(file, optimize=True)

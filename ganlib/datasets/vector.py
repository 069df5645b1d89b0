"""SVG files → uint8 arrays."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ganlib.config import ConfigError
from ganlib.datasets.images import Unreadable


def require_renderer() -> None:
    """ConfigError that says what to install, where nothing here can draw an SVG."""
    try:
        import resvg_py  # noqa: F401
    except ImportError:
        raise ConfigError("dataset: drawing SVG files needs the package resvg-py; write pip install resvg-py") from None


def rendered(path: Path, resolution: int) -> np.ndarray:
    """A square drawing as (3, resolution, resolution), on white. Raises Unreadable."""
    import resvg_py

    try:
        # Without the system's fonts, whose search takes half of the time: text would look otherwise on each machine.
        png = resvg_py.svg_to_bytes(svg_path=str(path), width=resolution, height=resolution, background="white",
                                    skip_system_fonts=True)
        with Image.open(io.BytesIO(png)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except ValueError as error:
        raise Unreadable(path, str(error)) from error
    if pixels.shape != (resolution, resolution, 3):
        raise Unreadable(path, f"{pixels.shape[1]}×{pixels.shape[0]} pixels, and a square is needed")
    return pixels.transpose(2, 0, 1)

"""Image files → uint8 arrays, as one sees them: upright, grey or RGB, over a background where they are transparent."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ganlib.config import ConfigError
from ganlib.datasets.listing import natural, several, shown

# What Pillow reads by itself: EPS is a program, and would be run by Ghostscript.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "BMP", "DIB", "GIF", "TIFF", "JPEG2000", "PPM")
GREY_MODES = {"1", "L", "LA", "La", "I", "F"}  # and I;16 in its byte orders
MAX_PIXELS = 178_956_970  # where Pillow by itself refuses
OPENING = threading.Lock()


class Unreadable(ConfigError):
    """An image that cannot be taken: `path` and `reason`."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{shown(path)}: cannot be read as an image ({reason}); repair it or remove it")
        self.path, self.reason = path, reason


@dataclass(frozen=True)
class White:
    """The value that becomes 255: in images of more than 8 bits, in those of 8, and in floats (None: not agreed on)."""

    deep: float = 65535
    eight: float = 255
    floats: float | None = None


@dataclass(frozen=True)
class Look:
    """What is known of an image without its pixels; but `largest`, of a grey one of more than 8 bits (else None)."""

    grey: bool
    largest: int | None
    size: tuple[int, int]  # width and height, upright


def look(path: Path, max_pixels: int = MAX_PIXELS, floats: bool = False, decode: bool = False) -> Look:
    """Raises Unreadable; with `decode`, also if the pixels are damaged. `floats`: are they taken?"""
    with _opened(path, max_pixels) as image:
        largest = None
        if _deep(image):
            values = _values(image)
            if not floats and (values.min() < 0 or values.max() > 65535):
                raise ValueError("its pixels are numbers beyond 0 … 65535; set dataset.white to what is "
                                 "white, or save it with 8 or 16 bits")
            # The values of a PGM are numbers of its own range, which Pillow has brought to 16 bits.
            largest = 65535 if image.format == "PPM" else int(values.max())
        elif image.mode == "F" and not floats:
            raise ValueError("its pixels are floats, of no agreed range; set dataset.white to what is "
                             "white, or save it with 8 or 16 bits")
        if decode:
            image.load()
        lies = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # on a side, as the camera says
        return Look(_grey(image), largest, image.size[::-1] if lies else image.size)


def white_of(looks: Iterable[Look]) -> int | None:
    """The value that is white in the images of more than 8 bits: the largest one of 8, 10, 12, 14 or 16 bits, whichever
    holds them all. None if there are no such images."""
    largest = max((seen.largest for seen in looks if seen.largest is not None), default=None)
    if largest is None:
        return None
    return next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if largest < 2**bits)


def refusal(broken: dict[Path, str], total: int, root: Path, remedy: str) -> ConfigError:
    """What to say of files that cannot be read (path → reason), of so many below root."""
    if len(broken) == 1:
        ((path, reason),) = broken.items()
        return ConfigError(f"{shown(path)}: cannot be read as an image ({reason}); {remedy}")
    names, why = reasons(broken, root), ""
    if len(set(broken.values())) == 1:
        why = f" ({next(iter(broken.values()))})"
        names = [name.removesuffix(why) for name in names]
    return ConfigError(f"{len(broken)} of {total} files in {shown(root)} cannot be read as images{why}: "
                       f"{several(names)}; {remedy}")


def reasons(broken: dict[Path, str], root: Path) -> list[str]:
    """name (why), for each, in natural order."""
    return sorted((f"{shown(path.relative_to(root).as_posix())} ({reason})" for path, reason in broken.items()),
                  key=natural)


def each(paths: list[Path], task: Callable[[Path], Any]) -> Iterator[Any]:
    """task(path) of each, or the Unreadable that it raised, in order; on several threads, as decoding leaves Python's
    lock."""

    def attempt(path: Path) -> Any:
        try:
            return task(path)
        except Unreadable as error:
            return error

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), 1024):  # not all at once: they would lie in a queue
            yield from pool.map(attempt, paths[start:start + 1024])


def together(paths: list[Path], task: Callable[[Path], np.ndarray], refuse: Callable[[dict[Path, str]], ConfigError]
             ) -> np.ndarray:
    """task(path) of each, as one array; if some cannot be read, what `refuse` says of them is raised."""
    found = list(each(paths, task))
    if failed := {image.path: image.reason for image in found if isinstance(image, Unreadable)}:
        raise refuse(failed)
    return np.stack(found)


def read(path: Path, background: int = 255, white: White = White()) -> np.ndarray:
    """An image as it is: uint8 (1, H, W) if it is grey, else (3, H, W); `background` shows where it is transparent.
    Raises Unreadable."""
    with _opened(path) as file:
        image = _opaque(file, background, white)
        pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def fitted(path: Path, shape: tuple[int, int, int], fit: Literal["crop", "pad"], background: int, white: White,
           max_pixels: int = MAX_PIXELS, half: Literal["left", "right"] | None = None) -> np.ndarray:
    """An image, or one half of it, cut or padded to uint8 of `shape` (C, H, W). Raises Unreadable."""
    channels, height, width = shape
    with _opened(path, max_pixels) as file:
        image = _opaque(file, background, white).convert("L" if channels == 1 else "RGB")
        if half is not None:
            middle, right = image.width // 2, half == "right"
            image = image.crop((middle * right, 0, middle * (1 + right), image.height))
        size, bicubic = (width, height), Image.Resampling.BICUBIC
        if fit == "crop":
            image = ImageOps.fit(image, size, bicubic)
        else:
            image = ImageOps.pad(image, size, bicubic, color=(background,) * channels)
        return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


@contextmanager
def _opened(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The image file; whatever its decoder raises meanwhile becomes Unreadable."""
    try:
        with _open(path) as image:
            if (pixels := image.width * image.height) > max_pixels:
                raise ValueError(f"{pixels:,} pixels, and the limit is {max_pixels:,}: dataset.max_pixels")
            yield image
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(path, "empty" if path.stat().st_size == 0 else "of no known type") from error
    except Exception as error:  # a decoder that meets a damaged file can raise anything
        raise Unreadable(path, shown(str(error)) or type(error).__name__) from error


def _open(path: Path) -> Image.Image:
    # TGA has no mark by which it is known. JPEG 2000 and AVIF are not in every Pillow.
    Image.init()
    formats = [name for name in (*FORMATS, *(["TGA"] if path.suffix.lower() == ".tga" else [])) if name in Image.OPEN]
    with OPENING:  # Pillow's own limit is a global, and would warn from half of it on
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _grey(image: Image.Image) -> bool:
    return image.mode in GREY_MODES or image.mode.startswith("I;")


def _deep(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _values(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError("some of its pixels are no numbers")
    return values


def _opaque(file: Image.Image, background: int, white: White) -> Image.Image:
    """Upright, of 8 bits, L where it is grey, and without transparency."""
    grey = _grey(file)
    image = _eight_bits(ImageOps.exif_transpose(file), white)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        behind = Image.new("RGBA", image.size, (background,) * 3 + (255,))
        image = Image.alpha_composite(behind, image.convert("RGBA"))
    return image.convert("L") if grey else image


def _eight_bits(image: Image.Image, white: White) -> Image.Image:
    """Scaled so that white is 255, and cut off there. Pillow's own conversion would cut deeper images off at 255."""
    if image.mode == "F" or _deep(image):
        scale = white.floats if image.mode == "F" else white.deep
        if scale is None:
            raise ValueError("its pixels are floats, of no agreed range; save it with 8 or 16 bits")
        values = np.clip(_values(image) * (255 / scale), 0, 255)
        return Image.fromarray(values.round().astype(np.uint8))
    if white.eight == 255:
        return image
    mode = "RGBA" if "A" in image.mode.upper() or "transparency" in image.info else "L" if _grey(image) else "RGB"
    bands = image.convert(mode).split()
    table = [min(round(value * 255 / white.eight), 255) for value in range(256)]
    scaled = [band.point(table) for band in bands[:3]]
    return Image.merge(mode, [*scaled, *bands[3:]])

"""A user's own folder of images: grey, RGB, RGBA or any other mode, of any size.

    folder/a.png, folder/b.jpg …              images without labels
    folder/<label>/…/a.png                    images with labels: the name of the first sub-folder
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from ganlib.config import ConfigError, require
from ganlib.datasets import table

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"}
GREY_MODES = {"1", "L", "LA", "La", "I", "F"}  # and I;16 in its byte orders
CHUNK = 256  # images decoded at a time
LEAST_VALIDATION = 100  # images: with fewer of them, generators would be told apart by chance


@dataclass(frozen=True)
class Config:
    """path: the folder. resolution: side of the square images, in pixels.

    fit: "crop" the centre square, or "pad" to a square with the background; then resized (bicubic,
    antialiased). channels: 1 grey, 3 colour; None: as the images are, refused where some are grey and some are
    not. background: 0 black … 255 white, behind transparent pixels and in the padding. test_share, validation_share:
    parts of the images that are the test split, by which generators are reported, and the validation split, by which
    they are chosen; which ones depends on their names and the seed alone. There is no validation split where it would
    have fewer than LEAST_VALIDATION images.
    """

    path: str
    resolution: int
    fit: Literal["crop", "pad"] = "crop"
    channels: Literal[1, 3] | None = None
    background: int = 255
    test_share: float = 0.1
    validation_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        require(4 <= self.resolution <= 4096, f"resolution: 4 … 4096 is needed, got {self.resolution}")
        require(0 <= self.background <= 255,
                f"background: 0 (black) … 255 (white) is needed, got {self.background}")
        require(0 < self.test_share < 1, f"test_share: above 0 and below 1 is needed, got {self.test_share}")
        require(0 <= self.validation_share < 1 - self.test_share, "validation_share: at least 0, and so that images to "
                f"train on are left beside test_share, is needed, got {self.validation_share}")


def prepare(config: Config, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None,
            check: Callable[[dict[str, int]], None] = lambda images: None) -> None:
    """Write the table. progress(done, total) is called as images are written, and before that check(images of each
    split), which may raise.

    Raises ConfigError that names the file for an image that cannot be read, or says why the folder is no data set.
    """
    root = Path(config.path).expanduser()
    paths, ignored = images_below(root)
    labels, classes = _labels(paths, root)
    channels = config.channels or _common_channels(paths)
    names = [path.relative_to(root).as_posix() for path in paths]
    positions = _split(names, config)
    check({split: len(those) for split, those in positions.items()})
    done = 0

    def chunks(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        nonlocal done
        with ThreadPoolExecutor() as pool:  # decoding and resizing leave Python's lock
            for start in range(0, len(positions), CHUNK):
                piece = positions[start:start + CHUNK]
                images = pool.map(lambda position: _read(paths[position], config, channels), piece)
                yield np.stack(list(images)), None if labels is None else labels[piece]
                progress(done := done + len(piece), len(paths))

    splits = {split: (len(those), chunks(those)) for split, those in positions.items()}
    table.write(directory, splits, shape=(channels, config.resolution, config.resolution),
                name=root.resolve().name, source=f"folder {config.path}", classes=classes,
                details={"config": asdict(config), "ignored_files": ignored})


def images_below(root: Path, where: str = "dataset.path") -> tuple[list[Path], int]:
    """The image files below root in the order of their names, and how many other files there are. ConfigError, which
    begins with `where`, if root is no folder or holds fewer than 2 images."""
    if not root.is_dir():
        raise ConfigError(f"{where}: {root} is not a folder")
    files = [path for path in sorted(root.rglob("*")) if path.is_file()
             and not any(part.startswith(".") for part in path.relative_to(root).parts)]
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if len(images) < 2:
        raise ConfigError(f"{where}: {root} holds {len(images)} images of the types "
                          f"{', '.join(sorted(SUFFIXES))}; at least 2 are needed")
    return images, len(files) - len(images)


def _labels(paths: list[Path], root: Path) -> tuple[np.ndarray | None, tuple[str, ...]]:
    parts = [path.relative_to(root).parts for path in paths]
    loose = [path for path, names in zip(paths, parts, strict=True) if len(names) == 1]
    if len(loose) == len(paths):
        return None, ()
    if loose:
        within = next(path for path, names in zip(paths, parts, strict=True) if len(names) > 1)
        raise ConfigError(f"dataset.path: {within} lies in a sub-folder (its label) and {loose[0]} in none; "
                          "put all images into sub-folders named after their labels, or none")
    classes = tuple(sorted({names[0] for names in parts}))
    return np.array([classes.index(names[0]) for names in parts], np.int64), classes


def _common_channels(paths: list[Path]) -> int:
    first: dict[int, Path] = {}
    for path in paths:
        with _opened(path) as image:
            first.setdefault(1 if image.mode in GREY_MODES or image.mode.startswith("I;") else 3, path)
    if len(first) > 1:
        raise ConfigError(f"dataset.channels: {first[1]} is grey and {first[3]} is in colour; "
                          "set dataset.channels to 1 (all become grey) or 3 (all become colour)")
    return next(iter(first))


def _split(names: list[str], config: Config) -> dict[str, np.ndarray]:
    """Which of the names are in each split, positions in their order: those whose hash with the seed is smallest are
    the test split, the next ones the validation split.

    So the splits do not depend on the order of the files, and a new file moves at most one other across each border.
    """
    hashes = [hashlib.sha256(f"{config.seed}/{name}".encode()).digest() for name in names]
    ordered = np.array(sorted(range(len(names)), key=hashes.__getitem__))
    test = min(max(round(len(names) * config.test_share), 1), len(names) - 1)
    validation = min(round(len(names) * config.validation_share), len(names) - 1 - test)
    if validation < LEAST_VALIDATION:
        validation = 0
    splits = {"train": ordered[test + validation:], "validation": ordered[test:test + validation],
              "test": ordered[:test]}
    return {split: np.sort(those) for split, those in splits.items() if len(those)}


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{path}: cannot be read as an image ({error}); repair it or remove it from the folder")


def read(path: Path, background: int = 255) -> np.ndarray:
    """An image as it is: uint8 (1, H, W) if it is grey, else (3, H, W); `background` shows where it is transparent.

    Raises ConfigError that names the file, if it cannot be read."""
    try:
        with Image.open(path) as file:
            image = _opaque(file, background)
            pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
            return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    except Exception as error:  # a decoder that meets a damaged file can raise anything
        raise _unreadable(path, error) from error


def _read(path: Path, config: Config, channels: int) -> np.ndarray:
    """uint8 (channels, resolution, resolution)"""
    try:
        with Image.open(path) as file:
            image = _opaque(file, config.background).convert("L" if channels == 1 else "RGB")
            size, bicubic = (config.resolution, config.resolution), Image.Resampling.BICUBIC
            if config.fit == "crop":
                image = ImageOps.fit(image, size, bicubic)
            else:
                image = ImageOps.pad(image, size, bicubic, color=(config.background,) * channels)
            return np.asarray(image).reshape(*size, channels).transpose(2, 0, 1)
    except Exception as error:  # a decoder that meets a damaged file can raise anything
        raise _unreadable(path, error) from error


def _opaque(file: Image.Image, background: int) -> Image.Image:
    """Upright, of 8 bits, L where it is grey, and without transparency."""
    grey = file.mode in GREY_MODES or file.mode.startswith("I;")
    image = ImageOps.exif_transpose(_eight_bits(file))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        behind = Image.new("RGBA", image.size, (background,) * 3 + (255,))
        image = Image.alpha_composite(behind, image.convert("RGBA"))
    return image.convert("L") if grey else image


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, which Pillow's own conversion would cut off at 255."""
    if image.mode == "F":
        raise ValueError("its pixels are floats, of no agreed range; save it with 8 or 16 bits")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels are 32-bit numbers beyond 0 … 65535; save it with 8 or 16 bits")
    return Image.fromarray((values / 257).round().astype(np.uint8))

"""Fashion-MNIST: 60,000 + 10,000 grey 28×28 garments of 10 classes (Xiao et al. 2017, arXiv:1708.07747). The last 5,000
of the 60,000 are the validation split, by which generators are chosen; nothing is trained on them.

The files come from the first of these that has them, and are then checked by the SHA-256 of their decompressed
bytes: a folder that the user names (then nothing else is tried), the Debian package `dataset-fashion-mnist` where
it is installed, the same package fetched by apt-get without root and without installing it, the authors' own
download.
"""

import gzip
import hashlib
import http.client
import subprocess
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ganlib.condition import Condition, of_classes
from ganlib.config import ConfigError, require
from ganlib.datasets import table
from ganlib.datasets.fetching import run

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat",
           "sandal", "shirt", "sneaker", "bag", "ankle boot")

FILES = {  # name (with or without .gz) → SHA-256 of the decompressed bytes
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
PACKAGE = "dataset-fashion-mnist"
PACKAGE_FOLDER = Path("/usr/share/datasets/fashion-mnist")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
VALIDATION = 5000  # images at the end of the authors' training file, which is in random order
CHUNK = 4096  # images resized at a time


@dataclass(frozen=True)
class Config:
    """path: folder with the four idx files, .gz or not; None: found or fetched.

    resolution: 28 leaves the images as they are. Any other pads them with 2 black pixels on each side to 32×32
    and, unless it is 32, resizes that bilinearly (antialiased where it shrinks).
    """

    path: str | None = None
    resolution: int = 28

    def __post_init__(self) -> None:
        require(4 <= self.resolution <= 1024 and self.resolution % 4 == 0,
                f"resolution: a multiple of 4 in 4 … 1024 is needed, got {self.resolution}")

    @property
    def expected(self) -> tuple[tuple[int, int, int], Condition]:
        """Shape (C, H, W) of the table's images, and what is told of them."""
        return (1, self.resolution, self.resolution), of_classes(len(CLASSES))


def prepare(config: Config, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None,
            check: Callable[[dict[str, int]], None] = lambda images: None) -> None:
    """Write the table. progress(done, total) is called as images are written, and before that check(images of each
    split), which may raise.

    Raises ConfigError that names the file where one is missing, truncated or wrong, or lists every source that
    failed.
    """
    contents, source = _find(config.path)
    arrays = {name: _idx(content) for name, content in contents.items()}
    total, done = sum(len(array) for name, array in arrays.items() if "images" in name), 0

    def chunks(file: str, part: slice) -> tuple[int, Iterator[tuple[np.ndarray, np.ndarray]]]:
        images, labels = (arrays[f"{file}-{kind}"][part] for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))

        def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            nonlocal done
            for start in range(0, len(images), CHUNK):
                piece = slice(start, start + CHUNK)
                yield _resize(images[piece], config.resolution), labels[piece]
                progress(done := done + len(images[piece]), total)

        return len(images), pieces()

    splits = {"train": chunks("train", slice(-VALIDATION)), "validation": chunks("train", slice(-VALIDATION, None)),
              "test": chunks("t10k", slice(None))}
    check({split: images for split, (images, _) in splits.items()})
    table.write(directory, splits, shape=(1, config.resolution, config.resolution), name="fashion_mnist",
                source=source, classes=CLASSES)


def sources(config: Config) -> list[Path]:
    """The files and folders of the user's that `prepare` reads: none, where it finds or fetches the data itself."""
    return [] if config.path is None else [Path(config.path)]


def _find(path: str | None) -> tuple[dict[str, bytes], str]:
    """The decompressed bytes of the four files, and where they came from."""
    if path is not None:
        return _read_folder(Path(path)), f"folder {path}"
    tried = []
    for source, read in ((f"installed package {PACKAGE}", lambda: _read_folder(PACKAGE_FOLDER)),
                         (f"package {PACKAGE} by apt-get download", _read_package),
                         (f"download from {URL}", _read_url)):
        try:
            return read(), source
        except (ConfigError, OSError, subprocess.SubprocessError, http.client.HTTPException) as error:
            tried.append(f"  - {source}: {error}")
    raise ConfigError("Fashion-MNIST was found nowhere:\n" + "\n".join(tried) + "\nInstall the package "
                      f"(apt-get install {PACKAGE}), or put the four files {', '.join(FILES)} (.gz or not) "
                      "into a folder and set dataset.path to it")


def _read_folder(folder: Path) -> dict[str, bytes]:
    return {name: _verified(name, *_read_file(folder, name)) for name in FILES}


def _read_file(folder: Path, name: str) -> tuple[str, bytes]:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return str(path), path.read_bytes()
    raise ConfigError(f"{folder / name}: no such file, nor with .gz")


def _verified(name: str, where: str, content: bytes) -> bytes:
    """The decompressed content, if it is the right one."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigError(f"{where}: truncated or damaged ({error}); fetch it again") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != FILES[name]:
        raise ConfigError(f"{where}: not Fashion-MNIST's {name}, or truncated: decompressed it has {len(content)} "
                          f"bytes and SHA-256 {digest}, expected {FILES[name]}; fetch it again")
    return content


def _read_package() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        # A machine whose package lists were removed (most container images) has none to look the package up in,
        # and only root may renew the system's: the second try keeps lists of its own.
        own_lists = ["-o", f"Dir::State::Lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]
        (Path(scratch) / "lists" / "partial").mkdir(parents=True)
        (Path(scratch) / "cache" / "archives" / "partial").mkdir(parents=True)
        try:
            run(scratch, "apt-get", "download", PACKAGE)
        except subprocess.CalledProcessError:
            run(scratch, "apt-get", *own_lists, "update")
            run(scratch, "apt-get", *own_lists, "download", PACKAGE)
        (package,) = Path(scratch).glob("*.deb")
        run(scratch, "dpkg", "-x", package.name, "unpacked")
        return _read_folder(Path(scratch) / "unpacked" / PACKAGE_FOLDER.relative_to("/"))


def _read_url() -> dict[str, bytes]:
    contents = {}
    for name in FILES:
        where = f"{URL}{name}.gz"
        with urllib.request.urlopen(where, timeout=30) as response:
            contents[name] = _verified(name, where, response.read())
    return contents


def _idx(content: bytes) -> np.ndarray:
    """The array of an idx file: two zero bytes, type 8 (uint8), number of axes, big-endian sizes, values."""
    axes = content[3]
    sizes = np.frombuffer(content, ">i4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes)


def _resize(images: np.ndarray, resolution: int) -> np.ndarray:
    """uint8 (n, 28, 28) → uint8 (n, 1, resolution, resolution)"""
    if resolution == 28:
        return images[:, None]
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None]
    if resolution == 32:
        return padded
    resized = torch.nn.functional.interpolate(torch.from_numpy(padded).float(), (resolution, resolution),
                                              mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8).numpy()

"""The image table: uint8 images (and labels) of a data set in memory-mapped Arrow files, one a split, and a manifest.

    table/train.arrow   columns `image`: fixed-shape tensor uint8 (C, H, W), and `label`: int64, where there are any
    table/validation.arrow, where there are images enough: not trained on; by these generators are chosen
    table/test.arrow    by these they are reported
    table/manifest.json name, source, shape, classes, splits: {split: {images, sha256}}, sha256: the data hash, details

The hashes are over the pixels and labels, not over the files' bytes: the same data has the same hash wherever it came
from. An Arrow file holds one record batch, so that a split is one contiguous array on the disk.
"""

import dataclasses
import errno
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ganlib.config import ConfigError, parse, require
from ganlib.datasets import order
from ganlib.files import NO_SPACE, read_json, replacing

Chunks = Iterable[tuple[np.ndarray, np.ndarray | None]]  # (uint8 (n, C, H, W), int64 (n,) or None), one piece at a time

AGAIN = "prepare the data again"


@dataclass(frozen=True)
class Split:
    """One split in the manifest."""

    images: int
    sha256: str  # of its pixels and labels

    def __post_init__(self) -> None:
        require(1 <= self.images <= 10**12, f"images: at least 1, got {self.images}")
        _require_hash(self.sha256)


@dataclass(frozen=True)
class Manifest:
    """What manifest.json holds."""

    name: str
    source: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    splits: dict[str, Split]
    sha256: str
    details: dict[str, Any]

    def __post_init__(self) -> None:
        require(_is_name(self.name), f"name: a printable one without slashes is needed, got {self.name[:100]!r}")
        channels, *sides = self.shape
        require(channels in (1, 3) and all(1 <= side <= 4096 for side in sides),
                f"shape: 1 or 3 channels, and sides of 1 … 4096, got {self.shape}")
        require(len(set(self.classes)) == len(self.classes) and all(self.classes),
                "classes: each has a name of its own")
        require("train" in self.splits, "splits: train is missing")
        require(all(_is_name(name) for name in self.splits), "splits: names that can be printed, without slashes")
        _require_hash(self.sha256)


def _is_name(text: str) -> bool:
    """Is it one part of a path, that can be printed?"""
    return text.isprintable() and "/" not in text and "\\" not in text and text not in ("", ".", "..")


def _require_hash(text: str) -> None:
    require(re.fullmatch("[0-9a-f]{64}", text) is not None, f"sha256: 64 hexadecimal digits, got {text[:100]!r}")


class Table:
    """One split. `.images` uint8 (N, C, H, W), `.labels` int64 (N,) or None, `.classes` names, `.manifest` dict."""

    def __init__(self, images: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...],
                 manifest: dict[str, Any]) -> None:
        self.images, self.labels, self.classes, self.manifest = images, labels, classes, manifest

    @classmethod
    def open(cls, directory: str | Path, split: str) -> "Table":
        """Memory-map a split that `write` made. Raises ConfigError if it is not there, cut, or not of its manifest."""
        directory = Path(directory)
        manifest = read_manifest(directory)
        if split not in manifest["splits"]:
            raise ConfigError(f"{directory}: no split {split!r}; there are: {', '.join(manifest['splits'])}")
        path, shape = directory / f"{split}.arrow", tuple(manifest["shape"])
        try:
            with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
                batch = reader.get_batch(0)
            pixels = batch.column("image").storage.flatten().to_numpy(zero_copy_only=True)
            images = pixels.reshape(manifest["splits"][split]["images"], *shape)
            has_labels = "label" in batch.schema.names
            labels = batch.column("label").to_numpy(zero_copy_only=True) if has_labels else None
        except (OSError, ValueError, KeyError, AttributeError) as error:  # pa.ArrowInvalid is a ValueError
            if os.strerror(errno.ENOMEM) in str(error):  # that says nothing of the table. Arrow gives no errno
                raise
            raise ConfigError(f"{path}: cannot be read as the table its manifest describes ({error}); "
                              f"{AGAIN}") from error
        table = cls(images, labels, tuple(manifest["classes"]), manifest)
        table.sha256 = manifest["splits"][split]["sha256"]  # instead of reading all of it
        return table

    @classmethod
    def from_arrays(cls, images: np.ndarray | torch.Tensor, labels: np.ndarray | torch.Tensor | None = None,
                    classes: Iterable[str] = ()) -> "Table":
        """A table in memory. images: uint8 (N, C, H, W); labels: whole numbers (N,), 0 … classes − 1.

        Where labels are given without `classes`, the classes are named "0", "1", …
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ConfigError(f"images: uint8 of shape (N, C, H, W) are needed, got {images.dtype} {images.shape}")
        classes = tuple(classes)
        if labels is not None:
            labels = np.asarray(labels)
            if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
                raise ConfigError(f"labels: whole numbers of shape ({len(images)},) are needed, "
                                  f"got {labels.dtype} {labels.shape}")
            labels = labels.astype(np.int64)
            classes = classes or tuple(map(str, range(int(labels.max(initial=-1)) + 1)))
        _check_labels(labels, classes)
        return cls(images, labels, classes, {})

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def label_counts(self) -> tuple[int, ...]:
        """How many images there are of each class; () without labels."""
        if self.labels is None:
            return ()
        return tuple(np.bincount(self.labels, minlength=len(self.classes)).tolist())

    @functools.cached_property
    def sha256(self) -> str:
        """Of these pixels and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        if self.labels is not None:
            digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: np.ndarray, device: str | torch.device = "cpu"
              ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The images at `indices` (n,) as float32 (n, C, H, W) in [−1, 1], and their labels int64 (n,) or None."""
        # Bytes cross to the device, a quarter of what floats would be. In float32 the ends come out as ±1 exactly.
        images = torch.from_numpy(self.images[indices]).to(device).to(torch.float32).mul_(1 / 127.5).sub_(1)
        labels = None if self.labels is None else torch.from_numpy(self.labels[indices]).to(device)
        return images, labels

    def few(self, per_class: int) -> "Table":
        """The first `per_class` images of each class. ConfigError if there are no labels, or not so many images."""
        if self.labels is None:
            raise ConfigError("few labels are asked for, and this data has none; prepare data with labels")
        chosen = [np.flatnonzero(self.labels == label)[:per_class] for label in range(len(self.classes))]
        for name, indices in zip(self.classes, chosen, strict=True):
            if len(indices) < per_class:
                raise ConfigError(f"class {name} has {len(indices)} images; {per_class} labelled ones are asked for")
        together = np.sort(np.concatenate(chosen))
        return Table(self.images[together], self.labels[together], self.classes, self.manifest)

    def evenly(self, count: int) -> "Table":
        """`count` images spread evenly over the table, which may be sorted by label; all of them if it has no more."""
        chosen = np.arange(min(count, len(self))) * len(self) // min(count, len(self))
        return Table(self.images[chosen], None if self.labels is None else self.labels[chosen], self.classes,
                     self.manifest)

    def draw(self, seed: int, start: int, count: int, device: str | torch.device = "cpu"
             ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`batch` of positions start … start + count of the endless shuffled sequence of this table (see `order`)."""
        return self.batch(order.indices(seed, len(self), start, count), device)


def choosing(directory: str | Path) -> tuple[str, Table]:
    """The split by which generators are chosen, that those which report them stay unseen: "validation", or "train"
    where a data set is too small to have one."""
    split = "validation" if "validation" in read_manifest(directory)["splits"] else "train"
    return split, Table.open(directory, split)


def read_manifest(directory: str | Path) -> dict[str, Any]:
    """The manifest of a table, as a `Manifest` in plain mappings; ConfigError if there is none, or none that `write`
    wrote."""
    path = Path(directory) / "manifest.json"
    raw = read_json(path, AGAIN)
    try:
        manifest = parse(Manifest, raw)
        found = dataclasses.asdict(manifest)
        require(json.loads(json.dumps(found)) == raw, "some numbers are text")
        require(manifest.sha256 == _digest(manifest.shape, manifest.classes, manifest.splits),
                "sha256: it is not that of its shape, classes and splits")
    except (ConfigError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}; {AGAIN}") from None
    return found


def _digest(shape: Iterable[int], classes: Iterable[str], splits: "Mapping[str, Split]") -> str:
    """The hash of the data: of all that a run can see of a table."""
    content = {"shape": list(shape), "classes": list(classes),
               "splits": {name: dataclasses.asdict(split) for name, split in splits.items()}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write(directory: str | Path, splits: Mapping[str, tuple[int, Chunks]], *, shape: tuple[int, int, int], name: str,
          source: str, classes: Iterable[str] = (), details: Mapping[str, Any] | None = None) -> None:
    """Write a table: all of it or nothing. An older table at `directory` is replaced when the new one is complete.

    splits: name → (number of images, pieces of the split in order); `details`: what else to keep in the manifest; its
    `said`, pairs (word, text), are lines for people.
    Raises OSError (ENOSPC) if the disk has no room, with what is needed; ConfigError if `directory` holds other things.
    """
    directory, classes = Path(directory), tuple(classes)
    if directory.exists() and not (directory / "manifest.json").exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory}: holds files that are not an image table; give another directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    sizes = [images * (int(np.prod(shape)) + 8) for images, _ in splits.values()]
    needed = sum(sizes) + max(sizes) + (1 << 16)  # a split lies there twice while its Arrow file is written
    with _no_space_named(directory, needed), replacing(directory) as partial:
        if shutil.disk_usage(directory.parent).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = {split: _write_split(partial / f"{split}.arrow", images, chunks, shape, classes)
                   for split, (images, chunks) in splits.items()}
        manifest = Manifest(name, source, shape, classes, written, _digest(shape, classes, written),
                            dict(details or {}))
        (partial / "manifest.json").write_text(json.dumps(dataclasses.asdict(manifest), indent=2) + "\n")


def _write_split(path: Path, count: int, chunks: Chunks, shape: tuple[int, int, int],
                 classes: tuple[str, ...]) -> Split:
    """Stream the pixels into a scratch file, then copy that as one record batch: memory stays at one piece."""
    raw = path.with_suffix(".raw")
    digest, all_labels = hashlib.sha256(), []
    with raw.open("wb") as file:
        for images, labels in chunks:
            if images.dtype != np.uint8 or images.shape[1:] != shape:
                raise ValueError(f"{path.name}: pieces must be uint8 (n, {shape}), got {images.dtype} {images.shape}")
            _check_labels(labels, classes)
            piece = np.ascontiguousarray(images).data
            digest.update(piece)
            file.write(piece)
            if labels is not None:
                all_labels.append(labels.astype(np.int64))
    values = int(np.prod(shape))
    if raw.stat().st_size != count * values:
        raise ValueError(f"{path.name}: {count} images were announced, {raw.stat().st_size / values:g} came")
    pixels = np.memmap(raw, np.uint8, "r") if count else np.empty(0, np.uint8)  # an empty file cannot be mapped
    kind = pa.fixed_shape_tensor(pa.uint8(), list(shape))
    column = pa.FixedSizeListArray.from_arrays(pa.array(pixels), values)
    columns = {"image": pa.ExtensionArray.from_storage(kind, column)}
    if all_labels:
        joined = np.concatenate(all_labels)
        digest.update(joined.data)
        columns["label"] = pa.array(joined)
    batch = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    raw.unlink()
    return Split(count, digest.hexdigest())


def _check_labels(labels: np.ndarray | None, classes: tuple[str, ...]) -> None:
    if labels is not None and len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ConfigError(f"labels: 0 … {len(classes) - 1} are needed for {len(classes)} classes, "
                          f"got {labels.min()} … {labels.max()}")


@contextmanager
def _no_space_named(directory: Path, needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        free = shutil.disk_usage(directory.parent).free
        raise OSError(error.errno, f"no space for the image table: about {needed / 1e6:.1f} MB are needed and "
                      f"{free / 1e6:.1f} MB are free ({os.strerror(error.errno)}); nothing was written. "
                      "Free some space, and give the same command again", str(directory)) from error

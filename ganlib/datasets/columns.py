"""The columns of the table's Arrow files: arrays of one shape each, as they are stored, written and read."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ganlib.condition import Condition
from ganlib.config import ConfigError, require

# How what there is of each kind is stored; which arrays are taken as that; what they are called.
STORED: dict[str, tuple[type, type, str]] = {
    "class": (np.int64, np.integer, "whole numbers"),
    "text": (np.float32, np.floating, "floats"),
    "image": (np.uint8, np.uint8, "uint8"),
}


def bytes_of(condition: Condition) -> int:
    """What one of them takes on the disk."""
    return int(np.prod(condition.shape)) * np.dtype(STORED[condition.kind][0]).itemsize if condition else 0


def as_stored(what: str, values: Any, kind: str, shape: Sequence[int | str]) -> np.ndarray:
    """The values in the type that is stored. ConfigError if they are not of that kind and shape, in which names stand
    for any number."""
    values, (stored, taken, words) = np.asarray(values), STORED[kind]
    fits = values.ndim == len(shape) and all(isinstance(side, str) or side == mine
                                             for side, mine in zip(shape, values.shape, strict=True))
    if not fits or not np.issubdtype(values.dtype, taken):
        needed = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
        raise ConfigError(f"{what}: {words} of shape {needed} are needed, got {values.dtype} {values.shape}")
    return values.astype(stored, copy=False)


def require_values(what: str, values: np.ndarray, condition: Condition) -> None:
    """ConfigError unless these are classes that there are, or finite numbers."""
    if condition.kind == "class" and len(values) and not 0 <= values.min() <= values.max() < condition.size:
        raise ConfigError(f"{what}: 0 … {condition.size - 1} are needed for {condition.size} classes, "
                          f"got {values.min()} … {values.max()}")
    if condition.kind == "text":
        require(bool(np.isfinite(values).all()), f"{what}: some numbers are not finite")


class Scratch:
    """A column in a file of its own, that is added to piece after piece: memory stays at one piece."""

    def __init__(self, path: Path, what: str, kind: Condition) -> None:
        self.path, self.what, self.kind, self.count = path, what, kind, 0

    def add(self, piece: np.ndarray) -> None:
        """ConfigError if it is none of the kind."""
        require(bool(self.kind), f"{self.what}: nothing is told of the images")
        piece = as_stored(self.what, piece, self.kind.kind, ("n", *self.kind.shape))
        require_values(self.what, piece, self.kind)
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(piece).data)
        self.count += len(piece)

    def column(self, digest: "hashlib._Hash") -> pa.Array:
        """All of it where it lies on the disk, and taken into the digest."""
        stored, shape = STORED[self.kind.kind][0], self.kind.shape
        values = np.memmap(self.path, stored, "r") if self.count else np.empty(0, stored)  # no empty file can be mapped
        digest.update(values.data)
        numbers = pa.array(values)
        if not shape:
            return numbers
        column = pa.FixedSizeListArray.from_arrays(numbers, int(np.prod(shape)))
        return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(numbers.type, list(shape)), column)


def write(path: Path, columns: Mapping[str, pa.Array]) -> None:
    """An Arrow file of one record batch."""
    batch = pa.record_batch(dict(columns))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def read(path: Path) -> pa.RecordBatch:
    """What `write` wrote, memory-mapped."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        return reader.get_batch(0)


def values_of(column: pa.Array, kind: str, count: int, shape: Sequence[int]) -> np.ndarray:
    """(count, *shape), where it lies. ValueError if the column is not of that kind, or has not so many numbers."""
    values = (column.storage.flatten() if shape else column).to_numpy(zero_copy_only=True)
    stored, _, words = STORED[kind]
    if values.dtype != stored:
        raise ValueError(f"{values.dtype}, and not {words}")
    return values.reshape(count, *shape)

"""The image table: the images of a data set, and what is told of each, in memory-mapped Arrow files, one a split, and a
manifest.

    table/train.arrow   columns `image`: fixed-shape tensor uint8 (C, H, W); `condition`, where something is told of
                        them: int64 classes, or fixed-shape tensors, float32 (D,) of texts and uint8 (C′, H′, W′) of
                        images; `caption`: strings, where there are any
    table/train.source.arrow  `image`: the conditions of an unpaired split, in place of that column; any number of them
    table/validation.arrow, where there are images enough: not trained on; by these generators are chosen
    table/test.arrow    by these they are reported
    table/manifest.json name, source, shape, classes, condition (a `Told`), splits: {split: {images, sources, sha256}},
                        sha256: the data hash, details

The hashes are over the pixels and conditions, not over the files' bytes: the same data has the same hash wherever it
came from. An Arrow file holds one record batch, so that a split is one contiguous array on the disk.
"""

import dataclasses
import errno
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ganlib import seeds
from ganlib.condition import NOTHING, Condition, of_classes
from ganlib.config import ConfigError, require
from ganlib.datasets import columns, order
from ganlib.datasets.columns import Scratch, as_stored, bytes_of, require_values, values_of
from ganlib.datasets.manifest import AGAIN, Manifest, Split, Told, condition_of, digest_of, read_manifest
from ganlib.files import NO_SPACE, replacing

# (uint8 (n, C, H, W), conditions of these or None), one piece at a time
Chunks = Iterable[tuple[np.ndarray, np.ndarray | None]]
Sources = Mapping[str, tuple[int, Iterable[np.ndarray]]]  # unpaired split → number of its conditions, pieces of them


class Table:
    """One split.

    `.images` uint8 (N, C, H, W). `.condition`: what a game on this data tells. `.conditions`: one of each image, int64
    (N,), float32 (N, D) or uint8 (N, C′, H′, W′); None without. Where `.paired` is False there are M of them, of which
    none belongs to an image; in unpaired data (`.condition.paired`) that is so of the split that is trained on, and
    the others may have pairs, by which to evaluate. `.classes`: names; () unless classes are told. `.captions`: a text
    of each image, or None. `.manifest`: the mapping.
    """

    def __init__(self, images: np.ndarray, conditions: np.ndarray | None = None, condition: Condition = NOTHING,
                 classes: tuple[str, ...] = (), manifest: dict[str, Any] | None = None,
                 captions: Sequence[str] | None = None, paired: bool = True) -> None:
        self.images, self.conditions, self.condition, self.classes = images, conditions, condition, classes
        self.manifest, self.captions, self.paired = manifest or {}, captions, paired

    @classmethod
    def open(cls, directory: str | Path, split: str) -> "Table":
        """Memory-map a split that `write` made. Raises ConfigError if it is not there, cut, or not of its manifest."""
        directory = Path(directory)
        manifest = read_manifest(directory)
        if split not in manifest["splits"]:
            raise ConfigError(f"{directory}: no split {split!r}; there are: {', '.join(manifest['splits'])}")
        about, condition = manifest["splits"][split], condition_of(manifest)
        path, conditions = directory / f"{split}.arrow", None
        try:
            batch = columns.read(path)
            images = values_of(batch.column("image"), "image", about["images"], manifest["shape"])
            captions = batch.column("caption").to_pylist() if "caption" in batch.schema.names else None
            if about["sources"]:
                path = directory / f"{split}.source.arrow"
                conditions = values_of(columns.read(path).column("image"), "image", about["sources"], condition.shape)
            elif condition:
                conditions = values_of(batch.column("condition"), condition.kind, about["images"], condition.shape)
        except (OSError, ValueError, KeyError, AttributeError) as error:  # pa.ArrowInvalid is a ValueError
            if os.strerror(errno.ENOMEM) in str(error):  # that says nothing of the table. Arrow gives no errno
                raise
            raise ConfigError(f"{path}: cannot be read as the table its manifest describes ({error}); "
                              f"{AGAIN}") from error
        table = cls(images, conditions, condition, tuple(manifest["classes"]), manifest, captions, not about["sources"])
        table.sha256 = about["sha256"]  # instead of reading all of it
        return table

    @classmethod
    def from_arrays(cls, images: np.ndarray | torch.Tensor, labels: np.ndarray | torch.Tensor | None = None,
                    classes: Iterable[str] = (), *, texts: np.ndarray | torch.Tensor | None = None,
                    sources: np.ndarray | torch.Tensor | None = None, captions: Sequence[str] | None = None,
                    paired: bool = True) -> "Table":
        """A table in memory. images: uint8 (N, C, H, W). What is told of them is one of these, or nothing: `labels`,
        whole numbers (N,), 0 … classes − 1; `texts`, vectors (N, D) of the `captions`; or `sources`, images uint8
        (N, C′, H′, W′), of which there may be any number where they are not `paired`.

        Where labels are given without `classes`, the classes are named "0", "1", …
        """
        images, classes = as_stored("images", images, "image", ("N", "C", "H", "W")), tuple(classes)
        told = [(what, values) for what, values in (("labels", labels), ("texts", texts), ("sources", sources))
                if values is not None]
        require(len(told) <= 1, f"{' and '.join(what for what, _ in told)}: one of them can be told of an image")
        require(paired or sources is not None, "paired: only sources can come without their pairs")
        require(not classes or labels is not None, "classes: there are no labels")
        count, conditions, condition = len(images) if paired else "M", None, NOTHING
        if labels is not None:
            conditions = as_stored("labels", labels, "class", (count,))
            classes = classes or tuple(map(str, range(max(int(conditions.max(initial=0)) + 1, 1))))
            condition = of_classes(len(classes))
        elif texts is not None:
            conditions = as_stored("texts", texts, "text", (count, "D"))
            condition = Condition("text", conditions.shape[1])
        elif sources is not None:
            conditions = as_stored("sources", sources, "image", (count, "C", "H", "W"))
            channels, height, width = conditions.shape[1:]
            condition = Condition("image", channels, (height, width), paired)
        if conditions is not None:
            require_values(told[0][0], conditions, condition)
        _check_captions("captions", captions, len(images), condition)
        return cls(images, conditions, condition, classes, {}, captions, paired)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def labels(self) -> np.ndarray | None:
        """The conditions, if they are classes."""
        return self.conditions if self.condition.kind == "class" else None

    @property
    def label_counts(self) -> tuple[int, ...]:
        """How many images there are of each class; () without labels."""
        if self.labels is None:
            return ()
        return tuple(np.bincount(self.labels, minlength=len(self.classes)).tolist())

    @functools.cached_property
    def sha256(self) -> str:
        """Of these pixels and conditions."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        if self.conditions is not None:
            digest.update(np.ascontiguousarray(self.conditions).data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: np.ndarray, device: str | torch.device = "cpu", told: np.ndarray | None = None
              ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The images at `indices` (n,) as float32 (n, C, H, W) in [−1, 1], and their conditions: int64 (n,), float32
        (n, D), or float32 (n, C′, H′, W′) in [−1, 1]; None without. `told`: the places of the conditions; None: the
        same, which only pairs have."""
        if told is None and not self.paired:
            raise ValueError("no condition of this split belongs to an image; say which are told")
        images = _floats(self.images[indices], device)
        if self.conditions is None:
            return images, None
        conditions = self.conditions[indices if told is None else told]
        as_images = self.condition.kind == "image"
        return images, _floats(conditions, device) if as_images else torch.from_numpy(conditions).to(device)

    def few(self, per_class: int) -> "Table":
        """The first `per_class` images of each class. ConfigError if there are no labels, or not so many images."""
        if self.labels is None:
            raise ConfigError("few labels are asked for, and this data has none; prepare data with labels")
        chosen = [np.flatnonzero(self.labels == label)[:per_class] for label in range(len(self.classes))]
        for name, indices in zip(self.classes, chosen, strict=True):
            if len(indices) < per_class:
                raise ConfigError(f"class {name} has {len(indices)} images; {per_class} labelled ones are asked for")
        together = np.sort(np.concatenate(chosen))
        return self._part(together, together)

    def evenly(self, count: int) -> "Table":
        """`count` images spread evenly over the table, which may be sorted by label; all of them if it has no more. Of
        an unpaired split, so many conditions as well."""
        chosen = _spread(count, len(self))
        return self._part(chosen, chosen if self.paired or self.conditions is None
                          else _spread(count, len(self.conditions)))

    def followed_by(self, other: "Table") -> "Table":
        """These images, then those of another split of the same data. What is told of them is left out where one of the
        splits is unpaired."""
        paired, both = self.paired and other.paired, (self, other)
        conditions = [table.conditions for table in both if table.conditions is not None] if paired else []
        captions = None
        if self.captions is not None and other.captions is not None:
            captions = [*self.captions, *other.captions]
        return Table(np.concatenate([self.images, other.images]), np.concatenate(conditions) if conditions else None,
                     self.condition if conditions else NOTHING, self.classes, self.manifest, captions)

    def _part(self, chosen: np.ndarray, told: np.ndarray) -> "Table":
        conditions = None if self.conditions is None else self.conditions[told]
        captions = None if self.captions is None else [self.captions[place] for place in chosen]
        return Table(self.images[chosen], conditions, self.condition, self.classes, self.manifest, captions,
                     self.paired)

    def draw(self, seed: int, start: int, count: int, device: str | torch.device = "cpu"
             ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`batch` of positions start … start + count of the endless shuffled sequence of this table (see `order`). In
        an unpaired split the conditions have a sequence of their own."""
        told = None
        if not self.paired and self.conditions is not None:
            told = order.indices(seeds.derive("source", seed), len(self.conditions), start, count)
        return self.batch(order.indices(seed, len(self), start, count), device, told)


def _floats(pixels: np.ndarray, device: str | torch.device) -> torch.Tensor:
    # Bytes cross to the device, a quarter of what floats would be. In float32 the ends come out as ±1 exactly.
    return torch.from_numpy(pixels).to(device).to(torch.float32).mul_(1 / 127.5).sub_(1)


def _spread(count: int, size: int) -> np.ndarray:
    """`count` places spread evenly over `size`; all of them if there are no more."""
    count = min(count, size)
    return np.arange(count) * size // count


def choosing(directory: str | Path) -> tuple[str, Table]:
    """The split by which generators are chosen, that those which report them stay unseen: "validation", or "train"
    where a data set is too small to have one."""
    split = "validation" if "validation" in read_manifest(directory)["splits"] else "train"
    return split, Table.open(directory, split)


def write(directory: str | Path, splits: Mapping[str, tuple[int, Chunks]], *, shape: tuple[int, int, int], name: str,
          source: str, classes: Iterable[str] = (), condition: Condition | None = None, description: str = "",
          sources: Sources | None = None, captions: Mapping[str, Sequence[str]] | None = None,
          details: Mapping[str, Any] | None = None) -> None:
    """Write a table: all of it or nothing. An older table at `directory` is replaced when the new one is complete.

    splits: name → (number of images, pieces of the split in order). condition: what is told; None: one of the classes,
    or nothing where there are none. description: what that is, in words. sources: the conditions of the splits that are
    unpaired, in whose pieces there are none. captions: split → a text of each image. details: what else to keep in the
    manifest; its `said`, pairs (word, text), are lines for people.
    Raises OSError (ENOSPC) if the disk has no room, with what is needed; ConfigError if `directory` holds other things.
    """
    directory, classes, sources, captions = Path(directory), tuple(classes), sources or {}, captions or {}
    condition = of_classes(len(classes)) if condition is None else condition
    told = Told(**dataclasses.asdict(condition), description=description)
    if directory.exists() and not (directory / "manifest.json").exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory}: holds files that are not an image table; give another directory")
    unknown = [split for split in (*sources, *captions) if split not in splits]
    require(not unknown, f"sources and captions: there is no split {', '.join(unknown)}")
    for split, (images, _) in splits.items():
        _check_captions(f"captions of {split}", captions.get(split), images, condition)
    directory.parent.mkdir(parents=True, exist_ok=True)
    pixels = Condition("image", shape[0], shape[1:])
    sizes = [images * bytes_of(pixels) + (sources[split][0] if split in sources else images) * bytes_of(condition)
             + sum(len(text.encode()) + 4 for text in captions.get(split, ())) for split, (images, _) in splits.items()]
    needed = sum(sizes) + max(sizes) + (1 << 16)  # a split lies there twice while its Arrow file is written
    with _no_space_named(directory, needed), replacing(directory) as partial:
        if shutil.disk_usage(directory.parent).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = {split: _write_split(partial / f"{split}.arrow", images, chunks, pixels, condition,
                                       sources.get(split), captions.get(split))
                   for split, (images, chunks) in splits.items()}
        manifest = Manifest(name, source, shape, classes, told, written, digest_of(shape, classes, told, written),
                            dict(details or {}))
        (partial / "manifest.json").write_text(json.dumps(dataclasses.asdict(manifest), indent=2) + "\n")


def _write_split(path: Path, count: int, chunks: Chunks, shape: Condition, condition: Condition,
                 source: tuple[int, Iterable[np.ndarray]] | None, captions: Sequence[str] | None) -> Split:
    """Stream pixels and conditions into scratch files, then copy these as one record batch each."""
    images, conditions = (Scratch(path.with_suffix(f".{what}"), f"{path.name}: pieces of {what}", kind)
                          for what, kind in (("images", shape), ("conditions", condition)))
    for pixels, told in chunks:
        images.add(pixels)
        if told is not None:
            conditions.add(told)
    for pixels in () if source is None else source[1]:
        conditions.add(pixels)
    announced = 0 if not condition else count if source is None else source[0]
    for what, scratch, number in (("images", images, count), ("conditions", conditions, announced)):
        if scratch.count != number:
            raise ValueError(f"{path.name}: {number} {what} were announced, {scratch.count} came")
    digest = hashlib.sha256()
    content = {"image": images.column(digest)}
    if condition and source is None:
        content["condition"] = conditions.column(digest)
    elif condition:
        columns.write(path.with_suffix(".source.arrow"), {"image": conditions.column(digest)})
    if captions is not None:
        content["caption"] = pa.array(captions, pa.string())
    columns.write(path, content)
    for scratch in (images, conditions):
        scratch.path.unlink(missing_ok=True)
    return Split(count, 0 if source is None else announced, digest.hexdigest())


def _check_captions(what: str, captions: Sequence[str] | None, count: int, condition: Condition) -> None:
    if captions is None:
        require(condition.kind != "text", f"{what}: there are none, and texts are told; give the text of each vector")
        return
    require(len(captions) == count, f"{what}: {len(captions)} of them, and {count} images; give one for each")
    empty = [place for place, text in enumerate(captions) if not isinstance(text, str) or not text.strip()]
    require(not empty, f"{what}: {len(empty)} are empty, first that of image {(empty or [0])[0]}; write a text of each")


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

"""The manifest of an image table: what is in it, checked whenever it is read."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlib.condition import Condition
from ganlib.config import ConfigError, parse, require
from ganlib.files import read_json

AGAIN = "prepare the data again"


@dataclass(frozen=True)
class Told(Condition):
    """The condition of a table, and in words what it is: "the line drawing"."""

    description: str = ""

    @property
    def condition(self) -> Condition:
        """Without the words."""
        return Condition(self.kind, self.size, self.sides, self.paired)


@dataclass(frozen=True)
class Split:
    """One split in the manifest."""

    images: int
    sources: int  # the number of its conditions where it is unpaired; 0: one for each image, or none
    sha256: str  # of its pixels and conditions

    def __post_init__(self) -> None:
        require(1 <= self.images <= 10**12, f"images: at least 1, got {self.images}")
        require(0 <= self.sources <= 10**12, f"sources: at least 0, got {self.sources}")
        _require_hash(self.sha256)


@dataclass(frozen=True)
class Manifest:
    """What manifest.json holds."""

    name: str
    source: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    condition: Told
    splits: dict[str, Split]
    sha256: str
    details: dict[str, Any]

    def __post_init__(self) -> None:
        require(_is_name(self.name), f"name: a printable one without slashes is needed, got {self.name[:100]!r}")
        _require_shape("shape", self.shape)
        require(len(set(self.classes)) == len(self.classes) and all(self.classes),
                "classes: each has a name of its own")
        require(len(self.classes) == self.condition.classes, f"classes: {len(self.classes)} names, and the condition "
                f"is {self.condition}")
        if self.condition.kind == "image":
            _require_shape("condition", self.condition.shape)
        require("train" in self.splits, "splits: train is missing")
        require(all(_is_name(name) for name in self.splits), "splits: names that can be printed, without slashes")
        unpaired = [name for name, split in self.splits.items() if split.sources]
        require(("train" in unpaired) == (not self.condition.paired) and not (unpaired and self.condition.paired),
                "splits: sources are the conditions of unpaired data, where train has some")
        _require_hash(self.sha256)


def _is_name(text: str) -> bool:
    """Is it one part of a path, that can be printed?"""
    return text.isprintable() and "/" not in text and "\\" not in text and text not in ("", ".", "..")


def _require_hash(text: str) -> None:
    require(re.fullmatch("[0-9a-f]{64}", text) is not None, f"sha256: 64 hexadecimal digits, got {text[:100]!r}")


def _require_shape(where: str, shape: Sequence[int]) -> None:
    channels, *sides = shape
    require(channels in (1, 3) and all(1 <= side <= 4096 for side in sides),
            f"{where}: 1 or 3 channels, and sides of 1 … 4096, got {tuple(shape)}")


def read_manifest(directory: str | Path) -> dict[str, Any]:
    """The manifest of a table, as a `Manifest` in plain mappings; ConfigError if there is none, or none that `write`
    wrote."""
    path = Path(directory) / "manifest.json"
    raw = read_json(path, AGAIN)
    try:
        require("condition" in raw, "of an older layout, which does not say what is told of the images")
        manifest = parse(Manifest, raw)
        found = dataclasses.asdict(manifest)
        require(json.loads(json.dumps(found)) == raw, "some numbers are text, or something is missing")
        require(manifest.sha256 == digest_of(manifest.shape, manifest.classes, manifest.condition, manifest.splits),
                "sha256: it is not that of its shape, classes, condition and splits")
    except (ConfigError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}; {AGAIN}") from None
    return found


def condition_of(manifest: Mapping[str, Any]) -> Condition:
    """What a game on the data of this manifest tells."""
    return Told(**manifest["condition"]).condition


def digest_of(shape: Iterable[int], classes: Iterable[str], told: Told, splits: Mapping[str, Split]) -> str:
    """The hash of the data: of all that a run can see of a table. Classes are told by their names: data sets that tell
    no more than that have the hashes that they had when there was nothing else to tell."""
    content: dict[str, Any] = {
        "shape": list(shape), "classes": list(classes),
        "splits": {name: {"images": split.images, "sha256": split.sha256} for name, split in splits.items()},
    }  # fmt: skip
    if told.kind in ("text", "image"):
        content["condition"] = dataclasses.asdict(told.condition)
        content["sources"] = {name: split.sources for name, split in splits.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

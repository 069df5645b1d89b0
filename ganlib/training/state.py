"""Checkpoints: whole or absent. Each is one file `images-<n>.pt` beside its `images-<n>.json` with hash and distance.

Randomness and data order are pure functions of (seed, images seen), so the clock is all that they need.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganlib.files import write_json

State = dict[str, Any]


class RunState:
    """Everything of a run that changes: captured as plain tensors and numbers, restored in place."""

    def __init__(self, parts: Mapping[str, nn.Module | torch.optim.Optimizer]):
        self.parts = parts

    def capture(self, images_seen: int) -> State:
        return {"images_seen": images_seen, **{name: part.state_dict() for name, part in self.parts.items()}}

    def restore(self, state: State) -> int:
        """The images seen by then."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return state["images_seen"]


def save(directory: Path, state: State, distance: float | None, keep: int) -> Path:
    """Write a state under its `images_seen`; then drop all but the last `keep` and the one of smallest distance.

    The file is written under a temporary name, flushed to disk and renamed; its json, renamed last, makes it count.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"images-{state['images_seen']:012d}.pt"
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    about = {"images_seen": state["images_seen"], "distance": distance, "sha256": _sha256(temporary)}
    temporary.replace(path)
    write_json(path.with_suffix(".json"), about)
    _prune(directory, keep)
    return path


def load(directory: Path) -> State | None:
    """The newest whole state, on the CPU; None if there is none."""
    path = newest(directory)
    return torch.load(path, map_location="cpu", weights_only=True) if path else None


def newest(directory: Path) -> Path | None:
    """The newest whole checkpoint. A damaged one is skipped, and said."""
    for path in reversed(found(directory)):
        if _sha256(path) == _about(path)["sha256"]:
            return path
        warnings.warn(f"checkpoint {path} is damaged (its hash differs); going back to the one before it", stacklevel=2)
    return None


def images_seen(path: Path) -> int:
    """When a checkpoint was made."""
    return _about(path)["images_seen"]


def found(directory: Path) -> list[Path]:
    """The checkpoints in a directory, oldest first."""
    return sorted(path for path in directory.glob("images-*.pt") if path.with_suffix(".json").exists())


def _about(path: Path) -> dict[str, Any]:
    return json.loads(path.with_suffix(".json").read_text())


def _prune(directory: Path, keep: int) -> None:
    paths = found(directory)
    measured = {path: distance for path in paths if (distance := _about(path)["distance"]) is not None}
    kept = set(paths[-keep:]) | ({min(measured, key=lambda path: measured[path])} if measured else set())
    for path in set(paths) - kept:
        path.with_suffix(".json").unlink()
        path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

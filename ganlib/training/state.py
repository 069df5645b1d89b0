"""Checkpoints: whole or absent. Each is one file `images-<n>.pt` beside its `images-<n>.json` with hash, distance and
the run that it is of.

Randomness and data order are pure functions of (seed, images seen), so the clock is all that they need.
"""

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganlib.config import ConfigError, differences, require, take
from ganlib.files import read_json, replace, write_json

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


@dataclass(frozen=True)
class About:
    """The json beside a checkpoint."""

    images_seen: int
    sha256: str  # of the file
    distance: float | None = None  # of the averaged generator, where it was measured
    run: dict[str, Any] | None = None  # what the run's result depends on; None: any run may go on from it


def save(directory: Path, state: State, distance: float | None, keep: int, run: dict[str, Any] | None = None) -> Path:
    """Write a state under its `images_seen`; then drop all but the last `keep` and the one of smallest distance. Its
    json, renamed last, makes it count."""
    path = directory / f"images-{state['images_seen']:012d}.pt"
    for left in directory.glob(".*.tmp"):  # by a process that was killed while it wrote
        left.unlink()
    if path.is_dir():  # whatever it is, it is no checkpoint
        path.rename(path.with_suffix(".damaged"))
    replace(path, lambda temporary: _write(state, temporary))
    write_json(path.with_suffix(".json"), asdict(About(state["images_seen"], _sha256(path), distance, run)))
    _prune(directory, keep)
    return path


def load(directory: Path, run: dict[str, Any] | None = None) -> State | None:
    """The newest whole state, on the CPU; None if there is none. ConfigError that names what differs, if it is that of
    another `run`."""
    path = newest(directory)
    if path is None:
        return None
    require_same(path, run)
    return read(path)


def read(path: Path) -> State:
    """The state in a checkpoint, on the CPU. ConfigError if it holds none, or something that would run code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:  # its hash is right: it was written so
        reason = str(error).splitlines()[0]
        raise ConfigError(f"checkpoint {path} holds no state of a run ({reason}); remove it") from None


def require_same(path: Path, run: dict[str, Any] | None) -> None:
    """ConfigError that names what differs, if a checkpoint is that of another run."""
    theirs = _about(path).run
    if run is None or theirs is None:
        return
    if differing := differences(theirs, run, "its run", "this one"):
        raise ConfigError(f"{path.parent} holds checkpoints of another run: {'; '.join(differing)}. Name another "
                          "directory, or remove that one to begin anew in it")


def newest(directory: Path) -> Path | None:
    """The newest whole checkpoint. A damaged one is skipped, and said."""
    for path in sorted(directory.glob("images-*.pt"), reverse=True):
        if path.with_suffix(".json").exists() and _whole(path):  # without, it was cut off before it counted
            return path
    return None


def best(directory: Path) -> Path | None:
    """The whole checkpoint of smallest distance; None where none was measured."""
    return next(filter(_whole, _by_distance(directory)), None)


def _by_distance(directory: Path) -> list[Path]:
    measured = {path: distance for path in found(directory) if (distance := _about(path).distance) is not None}
    return sorted(measured, key=lambda path: measured[path])


def _whole(path: Path) -> bool:
    try:
        require(_sha256(path) == _about(path).sha256, "its hash differs")
    except (ConfigError, OSError) as error:
        warnings.warn(f"checkpoint {path} is damaged ({error}); it is passed over", stacklevel=3)
        return False
    return True


def images_seen(path: Path) -> int:
    """When a checkpoint was made."""
    return _about(path).images_seen


def release(directory: Path) -> None:
    """Let any run go on from the checkpoints in a directory."""
    for path in found(directory):
        write_json(path.with_suffix(".json"), asdict(_about(path)) | {"run": None})


def found(directory: Path) -> list[Path]:
    """The checkpoints in a directory, oldest first; without those of which nothing can be told."""
    return [path for path in sorted(directory.glob("images-*.pt")) if _readable(path)]


def _readable(path: Path) -> bool:
    try:
        return _about(path) is not None
    except ConfigError:
        return False


def _about(path: Path) -> About:
    file, remedy = path.with_suffix(".json"), "remove it and its checkpoint"
    return take(About, read_json(file, remedy), str(file), remedy)


def _write(state: State, path: Path) -> None:
    with path.open("wb") as file:  # torch itself does not tell of a full disk that it is one
        torch.save(state, file)


def _prune(directory: Path, keep: int) -> None:
    paths = found(directory)
    for path in set(paths) - {*paths[-keep:], *_by_distance(directory)[:1]}:
        path.with_suffix(".json").unlink()
        path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

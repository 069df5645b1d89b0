"""What the sub-folders of a folder of images mean: splits, and below them, or in their place, classes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganlib.config import ConfigError, require
from ganlib.datasets.labels import labels_of
from ganlib.datasets.listing import Listing, natural, several, shown, types
from ganlib.datasets.splits import SPLITS, alone, divided


@dataclass(frozen=True)
class Layout:
    """`splits`: positions (n,) of the images of each; `labels` int64 (N,) or None; `given`: split → its folder's name,
    where the folder has splits of its own."""

    splits: dict[str, np.ndarray]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    given: dict[str, str]


def layout(root: Path, found: Listing, paths: list[Path], shares: tuple[float, float], seed: int, labels: Path | None,
           recognise: bool) -> Layout:
    """The splits and classes of `paths`, images of the folder. shares: of the test and the validation split. labels:
    the file that has them. recognise: are sub-folders that are named like splits taken as such? ConfigError, if
    something would be lost."""
    names = [path.relative_to(root).as_posix() for path in paths]
    given = _given(root, found) if recognise else {}
    if labels is not None:
        every = [path.relative_to(root).as_posix() for path in found.images]
        label_of = dict(zip(every, labels_of(every, labels), strict=True))
        told = [label_of[name] for name in names]
        gone = sorted(set(label_of.values()) - set(told), key=natural)
        require(not gone, f"dataset.labels: no image is left of {several([shown(name) for name in gone])}; repair "
                "some, or leave these classes out of the file")
    else:
        told = _by_folder(root, found, names, 1 if given else 0)
    odd = [f"'{shown(name)}'" for name in sorted(set(told)) if shown(name) != name or name != name.strip()]
    require(not odd, f"dataset: a class cannot be named {several(odd)}; give it a name in UTF-8 that can be printed")
    classes = tuple(sorted(set(told) - {""}, key=natural))
    if given:
        split_of = [SPLITS[name.split("/", 1)[0].lower()] for name in names]
        given = alone(given)
        parts = {split: np.flatnonzero([SPLITS[folder.lower()] == mine for mine in split_of])
                 for split, folder in given.items()}
        _all_in_train(told, parts, given)
    else:
        parts = {"train": np.arange(len(names))}
    splits = divided(names, told, parts, shares, seed)
    index = {name: label for label, name in enumerate(classes)}
    return Layout(splits, np.array([index[name] for name in told], np.int64) if classes else None, classes, given)


def _given(root: Path, found: Listing) -> dict[str, str]:
    """Split → the name of its sub-folder, where all sub-folders are named like splits: train, and one more at least."""
    folders = [path.name for path in found.folders if path.parent == root]
    kinds = Counter(SPLITS.get(name.lower()) for name in folders)
    loose = any(path.parent == root for path in found.images)
    if not loose and len(folders) == 1 and None not in kinds:
        raise ConfigError(f"dataset.path: {shown(root)} has one sub-folder alone, {folders[0]}/, named like a split; "
                          f"write dataset.path={shown(root / folders[0])}, or dataset.splits=none if it is a class")
    if loose or None in kinds or "train" not in kinds or len(kinds) < 2:
        return {}
    for split, count in kinds.items():
        same = [name for name in folders if SPLITS[name.lower()] == split]
        require(count == 1, f"dataset.path: {' and '.join(same)} in {shown(root)} are both the {split} split; put them "
                "together, or write dataset.splits=none, under which sub-folders are classes")
    given = {SPLITS[name.lower()]: name for name in folders}
    empty = [name for name in folders if not any(path.is_relative_to(root / name) for path in found.images)]
    require(not empty, f"dataset.path: no images in {several([shown(root / name) for name in empty])}; fill it, or "
            "remove it")
    return given


def _by_folder(root: Path, found: Listing, names: list[str], depth: int) -> list[str]:
    """The class of each image: its sub-folder at that depth; "" for all, if none has one."""
    parts = [name.split("/") for name in names]
    within = next((name for name, part in zip(names, parts, strict=True) if len(part) > depth + 1), None)
    loose = next((name for name, part in zip(names, parts, strict=True) if len(part) == depth + 1), None)
    if within is None:
        return [""] * len(names)
    if loose is not None:
        raise ConfigError(f"dataset.path: {shown(root / within)} lies in a sub-folder (its label) and "
                          f"{shown(root / loose)} in none; put all images into sub-folders named after their labels, "
                          "or none")
    full = {tuple(part[:depth + 1]) for part in parts}
    empty = [folder for folder in found.folders
             if len(place := folder.relative_to(root).parts) == depth + 1 and place not in full]
    if empty:
        raise ConfigError("dataset.path: these sub-folders are classes without images: "
                          + several([_with_rest(folder, found) for folder in empty])
                          + "; fill them, convert what is in them, or remove them")
    return [part[depth] for part in parts]


def _with_rest(folder: Path, found: Listing) -> str:
    others = [path for path in found.others if path.is_relative_to(folder)]
    return shown(folder) + (f" ({types(others)})" if others else "")


def _all_in_train(told: list[str], parts: dict[str, np.ndarray], given: dict[str, str]) -> None:
    known = {told[position] for position in parts["train"]}
    for split, positions in parts.items():
        if new := {told[position] for position in positions} - known:
            names = several([shown(name) for name in sorted(new, key=natural)])
            raise ConfigError(f"dataset.path: classes of {given[split]} that {given['train']} has no images of: "
                              f"{names}; add some there, or remove them")

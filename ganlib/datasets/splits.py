"""Which images are in which split: by their names and the seed alone, and each class in the same shares."""

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from ganlib.config import require

# What folders are called that are splits.
SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
          "dev": "validation", "test": "test", "testing": "test"}
LEAST_VALIDATION = 100  # images: with fewer of them, generators would be told apart by chance


def require_shares(test: float, validation: float) -> None:
    """ConfigError unless these are parts beside which there is something to train on."""
    require(0 < test < 1, f"test_share: above 0 and below 1 is needed, got {test}")
    require(0 <= validation < 1 - test, "validation_share: at least 0, and so that images to train on are left beside "
            f"test_share, is needed, got {validation}")


def alone(given: dict[str, str]) -> dict[str, str]:
    """Split → folder, of which there is train: where only one is beside it, that is the one to report by, whatever its
    name."""
    return {"test" if "test" not in given and split == "validation" else split: name for split, name in given.items()}


def divided(names: Sequence[str], labels: Sequence[str], given: dict[str, np.ndarray], shares: tuple[float, float],
            seed: int) -> dict[str, np.ndarray]:
    """Positions of the images of each split. given: those of the splits that are known, train at least; the others, the
    test and the validation split in these shares, are cut from train."""
    own = given["train"]
    classes = len(set(labels))
    room = len(own) - classes
    wanted = {}
    if "test" not in given:
        require(room > 0, f"dataset: there are {len(own)} images{f' of {classes} classes' if classes > 1 else ''}, and "
                "none is left for a test split; add images")
        wanted["test"] = min(max(round(len(own) * shares[0]), 1), room)
    if "validation" not in given:
        validation = min(round(len(own) * shares[1]), room - wanted.get("test", 0))
        wanted["validation"] = validation if validation >= LEAST_VALIDATION else 0
    cuts = cut([names[position] for position in own], [labels[position] for position in own], wanted, seed)
    splits = given | {split: own[those] for split, those in cuts.items()}
    return {split: splits[split] for split in ("train", "validation", "test") if len(splits[split])}


def cut_families(families: Sequence[str], wanted: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """As `cut`, of images of which no family may lie in two splits: the families in the order of their hash with the
    seed, each in the first split that has room for all of it, else in train."""
    members: dict[str, list[int]] = {}
    for position, family in enumerate(families):
        members.setdefault(family, []).append(position)
    splits: dict[str, list[int]] = {split: [] for split in (*wanted, "train")}
    for family in sorted(members, key=lambda name: hashlib.sha256(os.fsencode(f"{seed}/{name}")).digest()):
        those = members[family]
        free = [split for split, total in wanted.items() if len(splits[split]) + len(those) <= total]
        splits[(free or ["train"])[0]] += those
    return {split: np.array(sorted(those), np.int64) for split, those in splits.items()}


def cut(names: Sequence[str], labels: Sequence[str], wanted: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """So many images for each of the splits `wanted`, the rest for train: positions in their order.

    Of each class, the names whose hash with the seed is smallest are in the first split, the next ones in the second.
    How many these are is the class's share of what is wanted, rounded up or down; and one less than the class has, at
    most, so that at least one is trained on. So the splits do not depend on the order of the files, and a new file
    moves few others. There must be that many images: the sum of `wanted` is at most names less classes.
    """
    hashes = [hashlib.sha256(os.fsencode(f"{seed}/{name}")).digest() for name in names]
    members: dict[str, list[int]] = {}
    for position in sorted(range(len(names)), key=hashes.__getitem__):
        members.setdefault(labels[position], []).append(position)
    sizes = {label: len(those) for label, those in members.items()}
    splits, taken = {}, dict.fromkeys(members, 0)
    for split, total in wanted.items():
        room = {label: size - 1 - taken[label] for label, size in sizes.items()}
        parts = _apportioned(total, sizes, room, f"{seed}/{split}")
        splits[split] = [position for label, those in members.items()
                         for position in those[taken[label]:taken[label] + parts[label]]]
        taken = {label: taken[label] + parts[label] for label in members}
    splits["train"] = [position for label, those in members.items() for position in those[taken[label]:]]
    return {split: np.array(sorted(those), np.int64) for split, those in splits.items()}


def _apportioned(total: int, sizes: dict[str, int], room: dict[str, int], seed: str) -> dict[str, int]:
    """How many of the total come from each class: its share of them, rounded down, and one more for those that luck and
    a large fraction favour. The luck of a class depends on its name, and stays when others come and go: sequential
    Poisson sampling, Ohlsson 1998, which takes each class with a probability close to its fraction."""
    whole = sum(sizes.values())
    parts = {label: min(total * size // whole, room[label]) for label, size in sizes.items()}
    fractions = {label: total * size % whole for label, size in sizes.items()}
    order = sorted(sizes, key=lambda label: _luck(seed, label) / max(fractions[label], 1e-9))
    while missing := total - sum(parts.values()):  # more than once, where classes have no room for their share
        for label in [label for label in order if parts[label] < room[label]][:missing]:
            parts[label] += 1
    return parts


def _luck(seed: str, label: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(f"{seed}/{label}")).digest()[:8])

"""What a user's folder of images in pairs looks like: which images are A, which are B, and which answers which.

    folder/1.png …                       each A and B side by side, A on the left
    folder/A/1.png, folder/B/1.jpg …     A and B of one name
    folder/train/…, folder/test/…        either of these in splits of its own: files side by side, or A/train/1.png …
    folder/trainA/…, folder/trainB/…, folder/testA/…, folder/testB/…    the same
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import require
from ganlib.datasets.images import Look
from ganlib.datasets.listing import Listing, natural, several, shown
from ganlib.datasets.splits import SPLITS, alone


@dataclass(frozen=True)
class Sides:
    """The files of A and of B by their names, which have neither suffix nor side; one mapping twice, where both lie in
    one file. `split_of`: the split of each name; empty, where the folder has none of its own."""

    a: dict[str, Path]
    b: dict[str, Path]
    split_of: dict[str, str]

    @property
    def one_file(self) -> bool:
        """Do A and B lie side by side?"""
        return self.a is self.b

    def without(self, paths: Mapping[Path, object], paired: bool) -> "Sides":
        """Without these files; of pairs, without what they are the pairs of."""
        a, b = ({name: path for name, path in side.items() if path not in paths} for side in (self.a, self.b))
        if self.one_file:
            return Sides(a, a, self.split_of)
        if paired:
            a, b = ({name: path for name, path in side.items() if name in a and name in b} for side in (a, b))
        return Sides(a, b, self.split_of)


def sides_of(root: Path, found: Listing) -> Sides:
    """What the folder holds. ConfigError if that is none of the layouts above, or an image is there twice."""
    folders: dict[str, list[Path]] = {path.name: [] for path in found.folders if path.parent == root}
    for path in found.images:
        parts = path.relative_to(root).parts
        folders.setdefault(parts[0] if len(parts) > 1 else "", []).append(path)
    apart = {folder: meant for folder in folders if (meant := _meant(folder)) is not None}
    if not apart:
        every = _named(root, found.images)
        return Sides(every, every, _by_folder(every))
    known = several([f"{shown(folder)}/" for folder in sorted(apart)])
    given = {split for split, _ in apart.values()}
    both = {(split, side) for split in given for side in "ab"}
    require(both == set(apart.values()) and len(apart) == len(both) and (given == {""} or "train" in given),
            f"dataset.path: {shown(root)} has {known}; A and B are needed, or trainA and trainB and with these testA "
            "and testB; add or rename what is missing")
    loose = [f"{shown(folder)}/" if folder else "images outside of folders"
             for folder, images in sorted(folders.items()) if folder not in apart and images]
    require(not loose, f"dataset.path: {shown(root)} has {known}, and beside them {several(loose)}; move these away")
    empty = [f"{shown(folder)}/" for folder in apart if not folders[folder]]
    require(not empty, f"dataset.path: no images in {several(empty)} of {shown(root)}; fill it, or remove it")
    a: dict[str, Path] = {}
    b: dict[str, Path] = {}
    for folder, (split, side) in apart.items():
        (a if side == "a" else b).update({f"{split}/{name}" if split else name: path
                                          for name, path in _named(root / folder, folders[folder]).items()})
    return Sides(a, b, _by_folder([*a, *b]))


def require_names(sides: Sides) -> None:
    """ConfigError that names all images which have no pair."""
    lonely = {words: sorted(here.keys() - there.keys(), key=natural)
              for here, there, words in ((sides.a, sides.b, "A have no B"), (sides.b, sides.a, "B have no A"))}
    told = [f"{len(names)} images of {words}: {several(map(shown, names))}" for words, names in lonely.items() if names]
    require(not told, f"dataset.path: {', and '.join(told)}; give both the same name, or write dataset.paired=false if "
            "they are no pairs")


def require_sizes(root: Path, sides: Sides, looks: Mapping[Path, Look], size: tuple[int, int]) -> None:
    """ConfigError that names all images which do not fit their pair; of those in one file, all that are no two images
    side by side of the shape of `size`, height and width."""
    if sides.one_file:
        odd = [f"{shown(path.relative_to(root).as_posix())} ({width}×{height})" for path in sides.a.values()
               for width, height in [looks[path].size]
               if width % 2 or not 0.9 < (width / 2 / height) / (size[1] / size[0]) < 1.1]
        require(not odd, f"dataset.path: {len(odd)} images are no A and B side by side, each of the shape "
                f"{size[1]}×{size[0]}: {several(odd)}; make them twice as wide as that, set dataset.resolution=[height,"
                "width] to the shape of A and B, or put these into two folders A and B (with train and test within "
                "them)")
        return
    unequal = [f"{shown(name)} (A {_times(looks[path])}, B {_times(looks[sides.b[name]])})"
               for name, path in sides.a.items() if looks[path].size != looks[sides.b[name]].size]
    require(not unequal, f"dataset.path: {len(unequal)} pairs are of unequal sizes: {several(unequal)}; bring both "
            "images to one size")


def _meant(folder: str) -> tuple[str, str] | None:
    """The split, "" for all, and the side that a folder's name says; None if it says no side."""
    match = re.fullmatch("(.*?)[ _-]?([ab])", folder.lower())
    return (SPLITS.get(match[1], ""), match[2]) if match and match[1] in ("", *SPLITS) else None


def _named(root: Path, paths: list[Path]) -> dict[str, Path]:
    """By their names within the folder, without suffix. ConfigError if two have the same."""
    named: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        named[path.relative_to(root).with_suffix("").as_posix()].append(path)
    twice = [" and ".join(shown(path.relative_to(root).as_posix()) for path in those)
             for those in named.values() if len(those) > 1]
    require(not twice, f"dataset.path: {shown(root)} holds {len(twice)} images twice: {several(twice)}; leave one of "
            "each")
    return {name: path for name, (path,) in named.items()}


def _by_folder(names: Iterable[str]) -> dict[str, str]:
    """The split of each name, where all their first folders are named like splits: train, and one more at least."""
    heads = {name: name.split("/")[0].lower() if "/" in name else "" for name in names}
    kinds = {SPLITS.get(head, "") for head in heads.values()}
    if "" in kinds or "train" not in kinds or len(kinds) < 2:
        return {}
    meant = {folder: split for split, folder in alone({kind: kind for kind in kinds}).items()}
    return {name: meant[SPLITS[head]] for name, head in heads.items()}


def _times(look: Look) -> str:
    return f"{look.size[0]}×{look.size[1]}"

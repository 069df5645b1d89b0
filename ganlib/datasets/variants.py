"""Which emoji are variants of one: the same sign of a man, a woman and a child, of any skin and facing either way. What
is trained on one of them has nearly seen the others."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganlib.config import require
from ganlib.datasets.splits import LEAST_VALIDATION, cut_families, require_shares

WORDS = {
    "man", "men", "woman", "women", "person", "people", "adult", "adults", "child", "children", "boy", "boys",
    "girl", "girls", "baby", "male", "female", "old", "older", "young", "mother", "father", "mrs", "mr", "mx",
    "lady", "gentleman", "merman", "mermaid", "merperson", "prince", "princess", "santa", "and", "facing", "right",
    "left"
}  # fmt: skip
JOINERS = {"200D", "FE0E", "FE0F", "27A1"}  # zero width, as text, as picture, to the right
SIGNS = {"2640", "2642"}  # of a female and a male
SKINS = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
PEOPLE = {"1F466", "1F467", "1F468", "1F469", "1F474", "1F475", "1F476", "1F9D1", "1F9D2", "1F9D3",
          "1F46A"}  # boy, girl, man, woman, old man and woman, baby, person, child, older person; family
# What is a code point of its own and a variant of another: prince, Mrs Claus, pregnant man and person, dancing man, men
# and women holding hands.
SAME = {"1F934": "1F478", "1F936": "1F385", "1FAC3": "1F930", "1FAC4": "1F930", "1F57A": "1F483", "1F46C": "1F46B",
        "1F46D": "1F46B"}
# What is a variant of another where there are people beside it: holding hands, kiss, couple with heart, Claus, feeding.
WITH_PEOPLE = {"1F91D": "1F46B", "1F48B-2764": "1F48F", "2764": "1F491", "1F384": "1F385", "1F37C": "1F931"}

SMALL = 32  # px: the side of drawings that are compared
ALIKE = 2e-4  # mean squared difference of values in [0, 1]


@dataclass(frozen=True)
class Emoji:
    """The options of a set of emoji.

    path: the folder with its unpacked npm package; None: fetched by npm. resolution: side of the images. test_share,
    validation_share: parts of the emoji that are these splits; which ones depends on their codes and names and the
    seed. Variants, and what is drawn alike, are in the same one.
    """

    path: str | None = None
    resolution: int = 64
    test_share: float = 0.185
    validation_share: float = 0.09
    seed: int = 0

    def __post_init__(self) -> None:
        require(8 <= self.resolution <= 1024, f"resolution: 8 … 1024 is needed, got {self.resolution}")
        require_shares(self.test_share, self.validation_share)

    def split(self, families: Sequence[str], halves: bool = False) -> dict[str, np.ndarray]:
        """Positions of the emoji of each split; with `halves`, one half of those to train on is the split "source"."""
        count = len(families)
        validation = round(count * self.validation_share)
        wanted = {"test": max(round(count * self.test_share), 1),
                  "validation": validation if validation >= LEAST_VALIDATION else 0}
        if halves:
            wanted["source"] = (count - sum(wanted.values())) // 2
        cuts = cut_families(families, wanted, self.seed)
        splits = {split: cuts[split] for split in ("train", "source", "validation", "test") if len(cuts.get(split, ()))}
        missing = {"train", *(split for split, total in wanted.items() if total)} - splits.keys()
        require(not missing, f"dataset: {count} emoji that are no variants of {len(set(families))} are too few for a "
                f"split {' and '.join(sorted(missing))}")
        return splits


def families(codes: Sequence[str], names: Sequence[str], groups: Sequence[str], drawings: Sequence[np.ndarray] = ()
             ) -> list[str]:
    """The family of each emoji, by its code points (1F468-200D-1F33E), or by its name within a group of emoji, from
    which the words for gender, age and direction are taken; and by how it is drawn, in sets of drawings, uint8
    (N, C, H, W) each: hearts of two colours have one line drawing, as people have whose hair differs. Those that share
    any of these are one family."""
    first: dict[str, int] = {}
    parent = list(range(len(codes)))

    def root(place: int) -> int:
        while parent[place] != place:
            place = parent[place]
        return place

    def join(a: int, b: int) -> None:
        mine, theirs = root(a), root(b)
        parent[max(mine, theirs)] = min(mine, theirs)

    for place, (code, name, group) in enumerate(zip(codes, names, groups, strict=True)):
        for key in (_of_code(code), f"{group}/{_of_name(name)}"):
            join(place, first.setdefault(key, place))
    for of_one_kind in drawings:
        for a, b in alike(of_one_kind):
            join(a, b)
    return [codes[root(place)] for place in range(len(codes))]


def alike(drawings: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (a, b), a < b, among drawings uint8 (N, C, H, W) that are the same to the eye."""
    values = drawings.reshape(len(drawings), -1).astype(np.float32) / 255
    squares = np.square(values).sum(1)
    found = []
    for start in range(0, len(values), 256):
        block = values[start : start + 256]
        error = (squares[start : start + 256, None] + squares - 2 * block @ values.T) / values.shape[1]
        found += [(start + int(a), int(b)) for a, b in np.argwhere(error < ALIKE) if start + a < b]
    return found


def _of_name(name: str) -> str:
    return " ".join(word for word in re.findall(r"\w+", name.lower()) if word not in WORDS)


def _of_code(code: str) -> str:
    points = code.upper().split("-")
    left = sorted({SAME.get(point, point) for point in points if point not in JOINERS | SIGNS | SKINS | PEOPLE})
    if PEOPLE.isdisjoint(points):
        return "-".join(left) or code
    key = "-".join(left)
    return WITH_PEOPLE.get(key, f"person {key}")

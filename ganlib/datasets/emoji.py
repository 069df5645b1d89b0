"""Noto Emoji → Twemoji: the same 1,911 emoji by two hands, as two sets that have none in common.

What is told is one of Noto's (Google; Apache 2.0), the image is one of Twemoji's (Twitter; CC BY 4.0). Those to train
on are divided into halves: Noto's drawings are those of one, Twemoji's those of the other, so that nothing but the two
styles can be learned from them. Of the other splits the pairs are known, by which to evaluate. No variant of an emoji
lies in two of these parts (see `variants`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganlib.condition import Condition
from ganlib.datasets import images, table
from ganlib.datasets.fetching import Package, refusal, require_files, rows_of, unpacked
from ganlib.datasets.images import White
from ganlib.datasets.variants import SMALL, Emoji, families

TABLE, NOTO, TWEMOJI = "emoji.json", "img/google/64", "img/twitter/64"
PACKAGES = (
    Package("emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
            (TABLE, NOTO)),
    Package("emoji-datasource-twitter", "16.0.0", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
            (TWEMOJI,)),
)  # fmt: skip
CHUNK = 256  # images read at a time


@dataclass(frozen=True)
class Config(Emoji):
    """See `Emoji`; `path` has both packages in it, as node_modules has."""

    test_share: float = 0.1
    validation_share: float = 0.06

    @property
    def expected(self) -> tuple[tuple[int, int, int], Condition]:
        """Shape (C, H, W) of the table's images, and what is told of them."""
        sides = (self.resolution, self.resolution)
        return (3, *sides), Condition("image", 3, sides, paired=False)


def prepare(config: Config, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None,
            check: Callable[[dict[str, int]], None] = lambda images: None) -> None:
    """Write the table. progress(done, total) is called as images are read, and before that check(images of each split),
    which may raise. ConfigError if a package is not found, or not what it should be."""
    shape, condition = config.expected
    with ExitStack() as stack:
        (noto, source), (twemoji, other) = (stack.enter_context(unpacked(package, config.path)) for package in PACKAGES)
        rows = rows_of(noto / TABLE, "image", "unified", "name", "subcategory", "has_img_google", "has_img_twitter")
        rows = [row for row in rows if row["has_img_google"] == row["has_img_twitter"] == "True"]
        for root, folder in ((noto, NOTO), (twemoji, TWEMOJI)):
            require_files(root, [root / folder / row["image"] for row in rows])

        def read(root: Path, folder: str, positions: Sequence[int] | np.ndarray,
                 shape: tuple[int, int, int] = shape) -> np.ndarray:
            return images.together([root / folder / rows[position]["image"] for position in positions],
                                   lambda path: images.fitted(path, shape, "pad", 255, White()),
                                   lambda failed: refusal(root, failed))

        codes, names, groups = ([row[key] for row in rows] for key in ("unified", "name", "subcategory"))
        kinds = families(codes, names, groups,
                         [read(root, folder, range(len(rows)), (3, SMALL, SMALL))
                          for root, folder in ((noto, NOTO), (twemoji, TWEMOJI))])
        splits = config.split(kinds, halves=True)
        halves = splits.pop("source")
        check({split: len(those) for split, those in splits.items()})
        done, total = 0, len(rows)

        def pieces(positions: np.ndarray) -> Iterator[np.ndarray]:
            nonlocal done
            for start in range(0, len(positions), CHUNK):
                yield positions[start:start + CHUNK]
                progress(done := done + len(positions[start:start + CHUNK]), total)

        def pairs(split: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
            for piece in pieces(splits[split]):
                yield read(twemoji, TWEMOJI, piece), None if split == "train" else read(noto, NOTO, piece)

        table.write(directory, {split: (len(those), pairs(split)) for split, those in splits.items()}, shape=shape,
                    name="emoji", source=source if other == source else f"{source} and {other}", condition=condition,
                    description="one of Noto's",
                    sources={"train": (len(halves), (read(noto, NOTO, piece) for piece in pieces(halves)))},
                    captions={split: [rows[position]["name"].lower() for position in those]
                              for split, those in splits.items()},
                    details={"licences": {"Noto Emoji": "Apache 2.0", "Twemoji": "CC BY 4.0", "table": "MIT"},
                             "codes": {split: [rows[position]["unified"] for position in those]
                                       for split, those in (splits | {"source": halves}).items()}})


def sources(config: Config) -> list[Path]:
    """The files and folders of the user's that `prepare` reads: none, where it fetches the data itself."""
    return [] if config.path is None else [Path(config.path).expanduser()]

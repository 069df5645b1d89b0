"""OpenMoji: emoji in colour, and of each its line drawing, which is told (openmoji.org; CC BY-SA 4.0).

2,087 pairs: without variants of the skin, without brands, without flags, whose lines say nothing of their colours, and
without what has no line drawing. No variant of a training image, and nothing of the same lines, lies in another split
(see `variants`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganlib.condition import Condition
from ganlib.datasets import images, table
from ganlib.datasets.fetching import Package, refusal, require_files, rows_of, unpacked
from ganlib.datasets.variants import SMALL, Emoji, families
from ganlib.datasets.vector import rendered, require_renderer

TABLE, COLOUR, LINES = "data/openmoji.json", "color/svg", "black/svg"
PACKAGE = Package("openmoji", "17.0.0", "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
                  (TABLE, COLOUR, LINES))
SHAPES = re.compile("<(path|circle|ellipse|rect|line|polyline|polygon)[ />]")  # a drawing without any is blank
CHUNK = 128  # pairs drawn at a time


@dataclass(frozen=True)
class Config(Emoji):
    """See `Emoji`; `path` may be a clone of its repository, too."""

    @property
    def expected(self) -> tuple[tuple[int, int, int], Condition]:
        """Shape (C, H, W) of the table's images, and what is told of them."""
        return (3, self.resolution, self.resolution), Condition("image", 3, (self.resolution, self.resolution))


def prepare(config: Config, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None,
            check: Callable[[dict[str, int]], None] = lambda images: None) -> None:
    """Write the table. progress(done, total) is called as pairs are drawn, and before that check(images of each split),
    which may raise. ConfigError if the package is not found, or not what it should be."""
    require_renderer()
    with unpacked(PACKAGE, config.path) as (root, source):
        rows = _chosen(root)

        def drawn(folder: str, positions: Sequence[int] | np.ndarray, side: int = config.resolution) -> np.ndarray:
            paths = [root / folder / f"{rows[position]['hexcode']}.svg" for position in positions]
            return images.together(paths, lambda path: rendered(path, side), lambda failed: refusal(root, failed))

        codes, names, groups = ([row[key] for row in rows] for key in ("hexcode", "annotation", "subgroups"))
        kinds = families(codes, names, groups, [drawn(LINES, range(len(rows)), SMALL)])
        splits = config.split(kinds)
        check({split: len(those) for split, those in splits.items()})
        done = 0

        def chunks(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            nonlocal done
            for start in range(0, len(positions), CHUNK):
                piece = positions[start:start + CHUNK]
                yield drawn(COLOUR, piece), drawn(LINES, piece)
                progress(done := done + len(piece), len(rows))

        shape, condition = config.expected
        table.write(directory, {split: (len(those), chunks(those)) for split, those in splits.items()}, shape=shape,
                    name="openmoji", source=source, condition=condition, description="the line drawing",
                    captions={split: [_caption(rows[position]) for position in those]
                              for split, those in splits.items()},
                    details={"licence": "CC BY-SA 4.0",
                             "codes": {split: [rows[position]["hexcode"] for position in those]
                                       for split, those in splits.items()}})


def sources(config: Config) -> list[Path]:
    """The files and folders of the user's that `prepare` reads: none, where it fetches the data itself."""
    return [] if config.path is None else [Path(config.path).expanduser()]


def _chosen(root: Path) -> list[dict[str, str]]:
    """The rows of the table that have a pair."""
    rows = rows_of(root / TABLE, "hexcode", "annotation", "subgroups", "skintone", "tags", "openmoji_tags")
    rows = [row for row in rows
            if not row["skintone"] and row["subgroups"] != "brand" and "flag" not in row["subgroups"]]
    require_files(root, [root / folder / f"{row['hexcode']}.svg" for row in rows for folder in (COLOUR, LINES)])
    return [row for row in rows
            if SHAPES.search((root / LINES / f"{row['hexcode']}.svg").read_text("utf-8", "replace"))]


def _caption(row: dict[str, str]) -> str:
    """What it shows, then its tags."""
    return ", ".join(filter(None, [row["annotation"], row["tags"] or row["openmoji_tags"]]))

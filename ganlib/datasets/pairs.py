"""A user's own pairs of images, A and B: one is told, the other is what answers it. See `sides` for what their folder
looks like; or two sets of images of which no pairs are known."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ganlib.condition import Condition
from ganlib.config import require
from ganlib.datasets import images, table
from ganlib.datasets.images import Look
from ganlib.datasets.listing import images_below, natural, shown
from ganlib.datasets.reading import Files, channels_of, left_out, look, refusal, white_of
from ganlib.datasets.sides import Sides, require_names, require_sizes, sides_of
from ganlib.datasets.splits import divided

CHUNK = 256  # images decoded at a time


@dataclass(frozen=True)
class Config(Files):
    """Files, and
    direction: "a_to_b": A is told, and B answers; or "b_to_a".
    paired: False: A and B are two sets, of any numbers of images; which is which is not known, not even for a test.
    """

    direction: Literal["a_to_b", "b_to_a"] = "a_to_b"
    paired: bool = True

    @property
    def expected(self) -> tuple[tuple[int, int, int], Condition]:
        """Shape (C, H, W) of the table's images and what is told of them; in colour, where only the files know."""
        channels = self.channels or 3
        return (channels, *self.size), Condition("image", channels, self.size, self.paired)


@dataclass(frozen=True)
class _Side:
    """The images that are told, or those that answer: by name, in the order of the table."""

    names: list[str]
    paths: list[Path]
    read: Callable[[Path], np.ndarray]
    channels: int
    splits: dict[str, np.ndarray]


def prepare(config: Config, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None,
            check: Callable[[dict[str, int]], None] = lambda images: None) -> None:
    """Write the table. progress(done, total) is called as images are read, and before that check(images of each split),
    which may raise. ConfigError that names all files which cannot be read, or have no pair, or says why the folder is
    no data set."""
    found = images_below(config.root)
    whole = sides_of(config.root, found)
    require(config.paired or not whole.one_file, f"dataset.paired: {shown(config.root)} has no folders A and B; where "
            "both lie side by side in each file they are pairs: write dataset.paired=true")
    if config.paired:
        require_names(whole)
    looks, broken = _looked(config, found.images)
    sides = whole.without(broken, config.paired)
    require(bool(sides.a and sides.b), f"dataset.path: {shown(config.root)} holds {len(sides.a)} images of A and "
            f"{len(sides.b)} of B that can be read; both are needed")
    if config.paired:
        require_sizes(config.root, sides, looks, config.size)
    shares = config.test_share, config.validation_share
    told, answers = _both(config, sides, looks, shares)
    if ("validation" in told.splits) != ("validation" in answers.splits):  # one set is too small for it
        told, answers = _both(config, sides, looks, (shares[0], 0))
    require(told.splits.keys() == answers.splits.keys(), f"dataset.path: {shown(config.root)} has a validation split "
            "of one of the two alone; add one of the other, or remove it")
    check({split: len(those) for split, those in answers.splits.items()})
    done, total = 0, len(answers.paths) + (0 if config.paired else len(told.paths))

    def pieces(positions: np.ndarray, *read: _Side) -> Iterator[tuple[np.ndarray, ...]]:
        nonlocal done
        for start in range(0, len(positions), CHUNK):
            piece = positions[start:start + CHUNK]
            yield tuple(images.together([side.paths[position] for position in piece], side.read,
                                        lambda failed: refusal(config, found.images, failed)) for side in read)
            progress(done := done + len(piece), total)

    def answered(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for piece in pieces(positions, answers, *([told] if config.paired else [])):
            yield piece[0], piece[1] if config.paired else None

    counts, said = left_out(config, found, broken)
    if lost := len({*whole.a.values(), *whole.b.values()} - {*sides.a.values(), *sides.b.values()} - broken.keys()):
        said.append(["left out", f"{lost} whose pairs cannot be read"])
    a, b = ("the left half", "the right half") if sides.one_file else ("A", "B")
    table.write(
        directory, {split: (len(those), answered(those)) for split, those in answers.splits.items()},
        shape=(answers.channels, *config.size), name=config.title, source=f"folder {shown(config.path)}",
        condition=Condition("image", told.channels, config.size, config.paired),
        description=a if config.direction == "a_to_b" else b,
        sources={} if config.paired else {split: (len(those), (piece for piece, in pieces(those, told)))
                                          for split, those in told.splits.items()},
        captions={split: [shown(answers.names[position]) for position in those]
                  for split, those in answers.splits.items()},
        details={"config": asdict(config) | {"path": shown(config.path)}, "left_out": counts, "said": said})


def sources(config: Config) -> list[Path]:
    """The files and folders of the user's that `prepare` reads."""
    return [config.root]


def _looked(config: Config, paths: list[Path]) -> tuple[dict[Path, Look], dict[Path, str]]:
    """What is known of each image that can be read, and why the others cannot be, where these may be left out."""
    looks, broken = look(config, paths, decode=config.broken == "leave_out")
    if broken and config.broken == "refuse":
        raise refusal(config, paths)
    return dict(zip([path for path in paths if path not in broken], looks, strict=True)), broken


def _both(config: Config, sides: Sides, looks: Mapping[Path, Look], shares: tuple[float, float]) -> list[_Side]:
    """What is told, and what answers."""
    return [_side(config, sides, which, looks, shares) for which in ("ab" if config.direction == "a_to_b" else "ba")]


def _side(config: Config, sides: Sides, which: str, looks: Mapping[Path, Look], shares: tuple[float, float]) -> _Side:
    files = sides.a if which == "a" else sides.b
    names = sorted(files, key=natural)
    paths = [files[name] for name in names]
    mine = {path: looks[path] for path in paths}
    white, shape = white_of(config.white, mine.values()), (channels_of(config, mine), *config.size)
    half: Literal["left", "right"] | None = None if not sides.one_file else "left" if which == "a" else "right"

    def read(path: Path) -> np.ndarray:
        return images.fitted(path, shape, config.fit, config.background, white, config.max_pixels, half)

    given = {split: np.flatnonzero([sides.split_of[name] == split for name in names])
             for split in {sides.split_of[name] for name in names if sides.split_of}}
    given = given or {"train": np.arange(len(names))}
    splits = divided(names, [""] * len(names), given, shares, config.seed)
    return _Side(names, paths, read, shape[0], splits)

"""A user's own folder of images: grey, RGB, RGBA or any other mode, of any size.

    folder/a.png, folder/b.jpg …              images without labels
    folder/<label>/…/a.png                    images with labels: the name of the first sub-folder
    folder/train/…, folder/test/…             either of these, in splits of its own (validation may be there too)
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganlib.condition import Condition, of_classes
from ganlib.config import ConfigError, require
from ganlib.datasets import images, table
from ganlib.datasets.images import White
from ganlib.datasets.layout import Layout, layout
from ganlib.datasets.listing import Listing, endings, images_below, several, shown, types

CHUNK = 256  # images decoded at a time
SLIVER = 15  # of 255: a whole data set may not use less of the range


@dataclass(frozen=True)
class Config:
    """path: the folder. resolution: side of the square images, in pixels, or their height and width.

    fit: "crop" the centre, or "pad" with the background; then resized (bicubic, antialiased). channels: 1 grey, 3
    colour; None: as the images are, refused where some are grey and some are not. background: 0 black … 255 white,
    behind transparent pixels and in the padding. test_share, validation_share: parts of the images, and of each class,
    that are the test split, by which generators are reported, and the validation split, by which they are chosen; which
    ones depends on their names and the seed alone. There is no validation split where it would have fewer than
    LEAST_VALIDATION images.
    splits: "auto": sub-folders that are named like splits are the splits; "none": they are classes.
    labels: a file with them, see ganlib.datasets.labels; relative to the folder.
    white: the value in the files that is white; None: 255, and of deeper grey images that of the number of bits which
    holds them all. broken: "refuse" files that cannot be read, or "leave_out". max_pixels: of an image.
    """

    path: str
    resolution: int | tuple[int, int]
    fit: Literal["crop", "pad"] = "crop"
    channels: Literal[1, 3] | None = None
    background: int = 255
    test_share: float = 0.1
    validation_share: float = 0.1
    seed: int = 0
    splits: Literal["auto", "none"] = "auto"
    labels: str | None = None
    white: float | None = None
    broken: Literal["refuse", "leave_out"] = "refuse"
    max_pixels: int = images.MAX_PIXELS

    def __post_init__(self) -> None:
        require(all(4 <= side <= 4096 for side in self.size),
                f"resolution: 4 … 4096 is needed, or [height,width] of such, got {self.resolution}")
        require(0 <= self.background <= 255,
                f"background: 0 (black) … 255 (white) is needed, got {self.background}")
        require(0 < self.test_share < 1, f"test_share: above 0 and below 1 is needed, got {self.test_share}")
        require(0 <= self.validation_share < 1 - self.test_share, "validation_share: at least 0, and so that images to "
                f"train on are left beside test_share, is needed, got {self.validation_share}")
        require(self.white is None or 0 < self.white < float("inf"), f"white: above 0 is needed, got {self.white}")
        require(self.max_pixels >= 1, f"max_pixels: at least 1 is needed, got {self.max_pixels}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.resolution if isinstance(self.resolution, tuple) else (self.resolution, self.resolution)

    @property
    def expected(self) -> tuple[tuple[int, int, int], Condition]:
        """Shape (C, H, W) of the table's images and what is told of them; colour and 2 classes, where only the files
        know."""
        return (self.channels or 3, *self.size), of_classes(2)

    @property
    def title(self) -> str:
        """The name of the table."""
        return re.sub(r"[/\\]", "-", shown(self.root.resolve().name))[:100].strip() or "images"

    @property
    def root(self) -> Path:
        """The folder."""
        return Path(self.path).expanduser()

    @property
    def labels_file(self) -> Path | None:
        """The file with the labels, if they come from one."""
        return None if self.labels is None else self.root / Path(self.labels).expanduser()


def prepare(config: Config, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None,
            check: Callable[[dict[str, int]], None] = lambda images: None) -> None:
    """Write the table. progress(done, total) is called as images are written, and before that check(images of each
    split), which may raise; again, if images are then left out.

    Raises ConfigError that names all files that cannot be read, or says why the folder is no data set.
    """
    found = images_below(config.root)
    paths, broken = found.images, {}
    plan = _planned(config, found, paths, check)
    looks, failed = _look(config, paths, decode=config.broken == "leave_out")
    if failed and config.broken == "refuse":
        raise _refusal(config, paths)
    if failed:
        broken, paths = failed, [path for path in paths if path not in failed]
        require(bool(paths), f"dataset.path: none of the {len(failed)} images in {shown(config.root)} can be read")
        plan = _planned(config, found, paths, check)
    channels = config.channels or _common_channels(dict(zip(paths, looks, strict=True)))
    deep = images.white_of(looks)
    white = White(deep or 65535) if config.white is None else White(config.white, config.white, config.white)
    shape = (channels, *config.size)
    done, darkest, brightest = 0, 255, 0

    def chunks(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        nonlocal done, darkest, brightest
        for start in range(0, len(positions), CHUNK):
            piece = positions[start:start + CHUNK]
            read = list(images.each([paths[position] for position in piece], lambda path: images.fitted(
                path, shape, config.fit, config.background, white, config.max_pixels)))
            if failed := {image.path: image.reason for image in read if isinstance(image, images.Unreadable)}:
                raise _refusal(config, paths, failed)
            together = np.stack(read)
            darkest, brightest = min(darkest, int(together.min())), max(brightest, int(together.max()))
            # Of deep images the range is a guess. Here, and not later: an older table stays.
            used = brightest - darkest if deep and config.white is None else brightest
            if (done := done + len(piece)) == len(paths) and used <= SLIVER:
                raise _sliver(config, darkest, brightest, white.deep if deep else white.eight)
            yield together, None if plan.labels is None else plan.labels[piece]
            progress(done, len(paths))

    table.write(directory, {split: (len(those), chunks(those)) for split, those in plan.splits.items()}, shape=shape,
                name=config.title, source=f"folder {shown(config.path)}",
                classes=plan.classes, details=_details(config, found, plan, broken, deep))


def sources(config: Config) -> list[Path]:
    """The files and folders of the user's that `prepare` reads."""
    return [config.root, *([config.labels_file] if config.labels_file else [])]


def _planned(config: Config, found: Listing, paths: list[Path], check: Callable[[dict[str, int]], None]) -> Layout:
    plan = layout(config.root, found, paths, (config.test_share, config.validation_share), config.seed,
                  config.labels_file, config.splits == "auto")
    check({split: len(those) for split, those in plan.splits.items()})
    return plan


def _look(config: Config, paths: list[Path], decode: bool) -> tuple[list[images.Look], dict[Path, str]]:
    """What is known of the images that can be read, in their order, and why the others cannot be."""
    floats = config.white is not None
    found = list(images.each(paths, lambda path: images.look(path, config.max_pixels, floats, decode)))
    return ([seen for seen in found if isinstance(seen, images.Look)],
            {error.path: error.reason for error in found if isinstance(error, images.Unreadable)})


def _refusal(config: Config, paths: list[Path], known: dict[Path, str] | None = None) -> ConfigError:
    """What to say once a first one cannot be read: all that cannot be are named at once."""
    broken = {**(known or {}), **_look(config, paths, decode=True)[1]}
    return images.refusal(broken, len(paths), config.root, "repair or remove what is broken, or write "
                          "dataset.broken=leave_out")


def _common_channels(looks: dict[Path, images.Look]) -> int:
    first: dict[bool, Path] = {}
    for path, seen in looks.items():
        first.setdefault(seen.grey, path)
    if len(first) > 1:
        raise ConfigError(f"dataset.channels: {shown(first[True])} is grey and {shown(first[False])} is in colour; "
                          "set dataset.channels to 1 (all become grey) or 3 (all become colour)")
    return 1 if True in first else 3


def _sliver(config: Config, darkest: int, brightest: int, white: float) -> ConfigError:
    if brightest == 0:
        return ConfigError(f"dataset.path: all images in {shown(config.root)} are black")
    if brightest > SLIVER:
        return ConfigError(f"dataset.path: all pixels of all images would lie in {darkest} … {brightest} of 255, and "
                           "hardly differ; save them with the range that they use")
    value = brightest / 255 * white
    return ConfigError(f"dataset.white: the brightest pixel of all images would be {brightest} of 255, almost black; "
                       f"write the value that is white in them, e.g. dataset.white={value:.3g}")


def _details(config: Config, found: Listing, plan: Layout, broken: dict[Path, str], deep: int | None) -> dict[str, Any]:
    """For the manifest: the configuration, what was left out and taken for granted, and `said`, that in words."""
    labels = config.labels_file
    others = [path for path in found.others if labels is None or path.resolve() != labels.resolve()]
    said = []
    if plan.given:
        said.append(["splits", ", ".join(f"{split} as in {name}/" for split, name in plan.given.items())
                     + "; dataset.splits=none would take these folders for classes"])
    if deep and config.white is None:
        said.append(["white", f"{deep.bit_length()}-bit: {deep} is white"])
    if others:
        said.append(["left out", types(others)])
    if found.hidden:
        names = several([shown(path.relative_to(config.root)) + "/" for path in found.hidden])
        said.append(["left out", f"images in hidden folders: {names}"])
    for what, paths in (("links to nothing", found.dangling), ("neither files nor folders", found.special)):
        if paths:
            said.append(["left out", f"{len(paths)} {what}"])
    unread = images.reasons(broken, config.root)
    if unread:
        said.append(["left out", f"{len(unread)} files that cannot be read: {several(unread)}"])
    left_out = {"other_types": endings(others), "dangling": len(found.dangling), "special": len(found.special),
                "hidden": [shown(path.relative_to(config.root)) for path in found.hidden],
                "broken": unread}
    return {"config": asdict(config) | {"path": shown(config.path)}, "splits": plan.given,
            "white": config.white or deep or 255, "left_out": left_out, "said": said}

"""A user's own folder of images: grey, RGB, RGBA or any other mode, of any size.

    folder/a.png, folder/b.jpg …              images without labels
    folder/<label>/…/a.png                    images with labels: the name of the first sub-folder
    folder/train/…, folder/test/…             either of these, in splits of its own (validation may be there too)
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganlib.condition import Condition, of_classes
from ganlib.config import ConfigError, require
from ganlib.datasets import images, table
from ganlib.datasets.layout import Layout, layout
from ganlib.datasets.listing import Listing, images_below, shown
from ganlib.datasets.reading import Files, channels_of, left_out, look, refusal, white_of

CHUNK = 256  # images decoded at a time
SLIVER = 15  # of 255: a whole data set may not use less of the range


@dataclass(frozen=True)
class Config(Files):
    """Files, and
    splits: "auto": sub-folders that are named like splits are the splits; "none": they are classes.
    labels: a file with them, see ganlib.datasets.labels; relative to the folder.
    """

    splits: Literal["auto", "none"] = "auto"
    labels: str | None = None

    @property
    def expected(self) -> tuple[tuple[int, int, int], Condition]:
        """Shape (C, H, W) of the table's images and what is told of them; colour and 2 classes, where only the files
        know."""
        return (self.channels or 3, *self.size), of_classes(2)

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
    looks, failed = look(config, paths, decode=config.broken == "leave_out")
    if failed and config.broken == "refuse":
        raise refusal(config, paths)
    if failed:
        broken, paths = failed, [path for path in paths if path not in failed]
        require(bool(paths), f"dataset.path: none of the {len(failed)} images in {shown(config.root)} can be read")
        plan = _planned(config, found, paths, check)
    shape = (channels_of(config, dict(zip(paths, looks, strict=True))), *config.size)
    deep, white = images.white_of(looks), white_of(config.white, looks)
    done, darkest, brightest = 0, 255, 0

    def chunks(positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        nonlocal done, darkest, brightest
        for start in range(0, len(positions), CHUNK):
            piece = positions[start:start + CHUNK]
            together = images.together(
                [paths[position] for position in piece],
                lambda path: images.fitted(path, shape, config.fit, config.background, white, config.max_pixels),
                lambda failed: refusal(config, paths, failed))
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
    said = []
    if plan.given:
        said.append(["splits", ", ".join(f"{split} as in {name}/" for split, name in plan.given.items())
                     + "; dataset.splits=none would take these folders for classes"])
    if deep and config.white is None:
        said.append(["white", f"{deep.bit_length()}-bit: {deep} is white"])
    counts, lines = left_out(config, found, broken, config.labels_file)
    return {"config": asdict(config) | {"path": shown(config.path)}, "splits": plan.given,
            "white": config.white or deep or 255, "left_out": counts, "said": said + lines}

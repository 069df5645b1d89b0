"""Images that a translator draws from your own: of one file, or of a folder with its sub-folders.

    python -m pipelines.translate --model models:/ganlib-openmoji@champion drawings/ coloured/
    python -m pipelines.translate --model model/ --fit pad drawing.jpg coloured.png
    python -m pipelines.translate --model model/ --back coloured/ drawings/

Every translation is a PNG file of its image's name, in place of what was there; it depends on the image and the seed,
and not on what else is translated. Images are read as those were that the translator was trained on: upright, over
its background where they are transparent, cut to the centre, or padded, and resized. For one that is told colour, grey
images are shown as colour; for one that is told grey images, those in colour are refused unless --grey makes them grey.
Files that cannot be read are named at the end, and the others translated.
"""

import argparse
import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import get_args

import mlflow
import numpy as np
import pandas as pd
from PIL import Image

from ganlib.config import ConfigError, require
from ganlib.datasets import images, sources
from ganlib.datasets.images import Unreadable
from ganlib.datasets.listing import SUFFIXES, images_below, several, shown, types
from ganlib.files import replace, require_writable
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid
from pipelines.command import command
from pipelines.evaluation.loading import loaded
from pipelines.evaluation.page import encoded
from pipelines.runs import tracker as tracking
from pipelines.runs.bar import images_bar

BATCH, PIXELS = 64, 2**22  # images at a time, and their pixels, at most


def planned(source: Path, out: Path) -> dict[Path, Path]:
    """The file of each image → that of its translation. ConfigError where a file would be lost, or nothing is there."""
    require(source.exists(), f"{shown(source)}: not found; name an image, or a folder of images")
    if not source.is_dir():
        folder = out.is_dir() or not out.suffix
        require(folder or out.suffix.lower() == ".png", f"{shown(out)}: translations are PNG files; write for example "
                f"{shown(out.with_suffix('.png'))}, or name a folder")
        plan = {source: out / f"{source.stem}.png" if folder else out}
    else:
        require(out.is_dir() or not out.exists(), f"{shown(out)} is a file, and {shown(source)} a folder; name a "
                "folder for the translations")
        require(not out.resolve().is_relative_to(source.resolve()), f"{shown(out)} lies in {shown(source)}, whose "
                "images are translated; name another folder")
        found = images_below(source, "IN", least=1)
        if found.others:
            print(f"left out: {types(found.others)}")
        nowhere = [path for path in found.dangling if path.suffix.lower() in SUFFIXES]  # to be named among the broken
        plan = {path: (out / path.relative_to(source)).with_suffix(".png") for path in [*found.images, *nowhere]}
    by_target = defaultdict(list)
    for path, target in plan.items():
        by_target[target].append(shown(path))
    if same := [" and ".join(paths) for paths in by_target.values() if len(paths) > 1]:
        raise ConfigError(f"of one name, and so would be their translations: {several(same)}; rename one, or translate "
                          "them into different folders")
    given = {path.resolve() for path in plan}
    if lost := [shown(target) for target in plan.values() if target.resolve() in given]:
        raise ConfigError(f"{several(lost)}: would be written over, and is to be translated; name another place")
    return plan


def translate(model: str, plan: dict[Path, Path], seed: int, fit: sources.Fit | None = None, back: bool = False,
              grey: bool = False) -> tuple[dict[Path, str], str]:
    """Write the translations of a plan; `fit` is that of the training, unless given. Gives the files that cannot be
    read, with the reason, and what the translator is told, in words. ValueError for what it cannot translate, and what
    MLflow's client raises."""
    require(0 <= seed < 2**63, f"seed: a number from 0 to 2**63 - 1 is needed, got {seed}")
    with loaded(model) as chosen:
        told = generators.translator_of(chosen.generator, back).told
        reading = dataclasses.replace(chosen.reading, fit=fit) if fit else chosen.reading
        looked = sources.look(list(plan), reading)
        require(told.size != 1 or grey or not looked.coloured, "in colour, and this translator is told grey images: "
                f"{several(map(shown, looked.coloured))}; --grey makes them grey")
        broken = dict(looked.broken)
        paths = [path for path in plan if path not in broken]
        scaled = {} if reading.white is None else {"white": 255.0}  # what is handed on has been brought to this
        size = max(1, min(BATCH, PIXELS // (told.sides[0] * told.sides[1])))
        with images_bar(len(paths), "translated") as bar:
            for start in range(0, len(paths), size):
                some = paths[start:start + size]
                read = dict(zip(some, images.each(some, lambda path: sources.read(path, told, looked.white, reading)),
                                strict=True))
                broken |= {path: image.reason for path, image in read.items() if isinstance(image, Unreadable)}
                if arrays := {path: image for path, image in read.items() if isinstance(image, np.ndarray)}:
                    # As files: by these a registered translator is told images, too.
                    table = pd.DataFrame({"image": [encoded(_picture(array), "png") for array in arrays.values()],
                                          "seed": seed})
                    drawn = chosen.predict(table, {"back": back} | scaled)
                    for path, image in zip(arrays, drawn, strict=True):
                        _write(plan[path], _picture(image))
                bar.update(len(some))
        return broken, f"{told} ({reading.fit})"


def _picture(image: np.ndarray) -> Image.Image:
    return grid(image[None], 1)


def _write(path: Path, picture: Image.Image) -> None:
    replace(path, lambda temporary: picture.save(temporary, "PNG"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="IN", type=Path, help="an image, or a folder of images")
    parser.add_argument("out", metavar="OUT", type=Path, help="a .png for an image; or a folder")
    parser.add_argument("--model", required=True,
                        help="models:/<name>@champion, models:/<name>/<version>, a directory")
    parser.add_argument("--seed", type=int, default=0, help="of the translator's noise, if it has any")
    parser.add_argument("--fit", choices=get_args(sources.Fit),
                        help="cut to the centre, or pad, to the shape that is told (default: as in its training)")
    parser.add_argument("--back", action="store_true", help="the way back, of a translator of two directions")
    parser.add_argument("--grey", action="store_true", help="make images in colour grey, where grey ones are told")
    arguments = parser.parse_args()
    source, out = arguments.source, arguments.out
    with command("translate", "what is written is whole; the same command begins again"):
        plan = planned(source, out)
        require_writable(*{target.parent: target for target in plan.values()}.values())  # one of each folder
        try:
            broken, told = translate(arguments.model, plan, arguments.seed, arguments.fit, arguments.back,
                                     arguments.grey)
        except (ValueError, mlflow.MlflowException) as error:
            raise SystemExit(f"translate: {arguments.model}: "
                             f"{error if isinstance(error, ConfigError) else tracking.short(error)}") from None
        if done := len(plan) - len(broken):
            print(f"{done} images in {shown(out)}, each drawn from {told}")
        if broken:
            raise images.refusal(broken, len(plan), source if source.is_dir() else source.parent,
                                 "the others are translated; repair or remove it" if done else "repair it")


if __name__ == "__main__":
    main()

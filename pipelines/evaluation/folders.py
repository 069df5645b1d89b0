"""Two folders of images → numbers, whatever made them: `python -m pipelines.evaluate --real DIR --fake DIR`."""

import argparse
import dataclasses
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganlib.config import ConfigError, parse, require
from ganlib.datasets.images import Unreadable, White, each, look, read, refusal
from ganlib.datasets.listing import images_below, types
from ganlib.datasets.reading import white_of
from ganlib.files import require_writable, write_text
from ganlib.metrics.features import Extractor, extract
from ganlib.metrics.protocol import Evaluation, Protocol
from pipelines.evaluation.measure import groups_of, make_extractor, numbers, splits_of
from pipelines.evaluation.reference import CLASSIFIER
from pipelines.evaluation.results import show
from pipelines.runs.bar import images_bar
from pipelines.runs.project import REFERENCE


def add_options(parser: argparse.ArgumentParser) -> None:
    """All that can be said of two folders."""
    defaults = Evaluation()
    parser.add_argument("--real", type=Path, help="a folder of images; with --fake: measure folders, not model/")
    parser.add_argument("--fake", type=Path, help="a folder of generated images")
    parser.add_argument("--images", type=int, help="take so many of each folder, spread over the names; else all")
    parser.add_argument("--extractor", default=defaults.extractor)
    parser.add_argument("--inception-path", help="the canonical weights; fetched once, if not given")
    parser.add_argument("--classifier", type=Path, default=REFERENCE / CLASSIFIER, help="for --extractor domain")
    parser.add_argument("--resize", type=int, default=defaults.resize, help="px that the extractor sees")
    parser.add_argument("--neighbours", type=int, default=defaults.neighbours, help="k of precision and recall")
    parser.add_argument("--splits", type=int, default=defaults.splits, help="of the inception score")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the interval's groups and of projections")
    parser.add_argument("--out", type=Path, help="write the JSON there instead of printing it")


def run(real: Path, fake: Path, images: int | None, classifier: Path, out: Path | None, **evaluation: Any) -> None:
    """The program, by the options above: a table for people on stderr; JSON on stdout, or in `out`."""
    require_writable(out or Path())
    try:
        result = evaluate_folders(real, fake, parse(Evaluation, evaluation), images, classifier)
    except ValueError as error:  # of a metric, whose images these are not
        raise ConfigError(str(error)) from None
    print(show(result), file=sys.stderr)
    text = json.dumps(result, indent=2)
    if out is None:
        print(text)
    else:
        write_text(out, text + "\n")


def evaluate_folders(real: Path, fake: Path, evaluation: Evaluation, images: int | None = None,
                     classifier: Path | None = None) -> dict[str, Any]:
    """All numbers of the images below `fake` against those below `real`, with their protocol.

    PNG, JPEG and other files, grey or in colour, of any size: the extractor resizes each. Those of more than 8 bits are
    brought to 8 by one scale for each folder. `images`: of each folder,
    spread evenly over the names in their order; without it all. `classifier`: the file for `extractor: domain`. The
    protocol's `data_sha256` is of the real pixels.
    Raises ConfigError for a folder with fewer images than are needed, and for a file that cannot be read.
    """
    require(images is None or images >= 1, f"--images: at least 1, got {images}; without it all are taken")
    needed, found = evaluation.least, {}
    for where, root in (("--real", real), ("--fake", fake)):
        files = (listing := images_below(root, where)).images
        if listing.others:
            print(f"{where}: {types(listing.others)} are left out", file=sys.stderr)
        found[where] = files if images is None else [files[place * len(files) // images] for place in range(images)]
        require(images is None or len(files) >= images, f"{where}: {root} holds {len(files)} images, fewer than the "
                f"{images} asked for; lower --images")
        require(len(found[where]) >= needed, f"{where}: these are {len(found[where])} images of {root}, and at least "
                f"{needed} are needed")
    network = make_extractor(evaluation, classifier)
    whites = [_white(root, found[where]) for where, root in (("--real", real), ("--fake", fake))]
    real_features, _, data_sha256 = _features(network, found["--real"], whites[0], evaluation.batch_size, "real images")
    fake_features, logits, fake_sha256 = _features(network, found["--fake"], whites[1], evaluation.batch_size,
                                                   "generated images")
    protocol = Protocol(
        distance=network.distance, extractor=network.name, weights_sha256=network.weights_sha256,
        resize=network.resize, resize_method=network.resize_method, real_split="folder",
        real_images=len(real_features), generated_images=len(fake_features), quantisation="uint8", ema=None,
        truncation=None, seed=evaluation.seed, data_sha256=data_sha256, neighbours=evaluation.neighbours,
        splits=splits_of(evaluation, len(logits)), groups=groups_of(len(fake_features)),
    )  # fmt: skip
    return {
        "distance": network.distance, **numbers(network, evaluation, real_features, fake_features, logits),
        "protocol": dataclasses.asdict(protocol), "real": str(real), "fake": str(fake), "fake_sha256": fake_sha256,
    }  # fmt: skip


def _white(root: Path, files: list[Path]) -> White:
    """The scale of the files; ConfigError that names those that are no images."""
    looks = list(each(files, look))
    if broken := {error.path: error.reason for error in looks if isinstance(error, Unreadable)}:
        raise refusal(broken, len(files), root, "repair it or remove it")
    return white_of(None, looks)


def _features(network: Extractor, files: list[Path], white: White, batch_size: int, what: str
              ) -> tuple[Tensor, Tensor, str]:
    """Features (N, d) and logits (N, K) in the order of the files, and a hash of the pixels."""
    digest = hashlib.sha256()
    features: list[Tensor] = []
    logits: list[Tensor] = []
    with ThreadPoolExecutor() as pool, images_bar(len(files), what, stays=False) as bar:
        for start in range(0, len(files), batch_size):  # few, for they may be large
            images = list(pool.map(lambda path: read(path, white=white), files[start:start + batch_size]))
            for image in images:
                digest.update(repr(image.shape).encode() + np.ascontiguousarray(image).data)
            feature, logit = _of_any_size(network, images, batch_size, bar.update)
            features.append(feature)
            logits.append(logit)
    return torch.cat(features), torch.cat(logits), digest.hexdigest()


def _of_any_size(network: Extractor, images: list[np.ndarray], batch_size: int,
                 progress: Callable[[int], object]) -> tuple[Tensor, Tensor]:
    """`extract` for images (C, H, W) of different shapes: those of one shape at a time, given back in order."""
    by_shape = defaultdict(list)
    for index, image in enumerate(images):
        by_shape[image.shape].append(index)
    order = torch.tensor([index for indices in by_shape.values() for index in indices]).argsort()
    found = [extract(network, np.stack([images[index] for index in indices]), batch_size, progress)
             for indices in by_shape.values()]
    return torch.cat([features for features, _ in found])[order], torch.cat([logits for _, logits in found])[order]

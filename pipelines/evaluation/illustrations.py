"""The pictures of an evaluation: what a generator does, for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganlib.metrics import slerp
from ganlib.metrics.neighbours import nearest
from ganlib.sampling import generator as generators
from ganlib.sampling import latents
from ganlib.sampling.pictures import animation, captioned, grid, thumbnails
from pipelines.evaluation.curves import precision_over_recall

ROWS = 10  # of samples, moments, paths and neighbours in the pictures
NEIGHBOURS = 4  # shown of each kind
MOST_CLASSES = 20  # that get a row
SIDE = 1024  # px of the samples' picture, at most
FRAME, FRAMES = 256, 12  # px of what is shown of a snapshot in the animation, and how many of those, at most
TRUNCATIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
PAIRS, ACROSS = 16, 8  # images that are shown with what they were drawn from, and how many beside each other
EQUATIONS, EXEMPLARS, SHOWN = 3, 50, 3  # of the vector arithmetic; exemplars of each class, and how many are drawn


def draw(generator: Any, images: Tensor, *, seed: int, snapshots: Path, features: Tensor,
         known: np.ndarray, known_features: Tensor, real_images: np.ndarray, classes: Sequence[str],
         seen: Tensor | None = None, truncation: float = 1.0, conditions: Tensor | None = None,
         truth: np.ndarray | Tensor | None = None,
         curves: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None) -> dict[str, Image.Image]:
    """The name of each picture → the picture; `save` writes them.

    images: uint8 (N, C, H, W) of the generator from `seed` and with `truncation`, with their `features` (N, d);
    snapshots: the directory of the grids made while training; real_images: those of the training split, uint8; known:
    real images with `known_features` (n, d); seen: the class (N,) that a classifier sees in each of the images,
    where there is one; conditions: the texts or images (N, ...) that the images were drawn of; truth: what they should
    be, uint8 (N, C, H, W), where it is known; curves: what is compared with the real images → precision and recall
    along its curve.

    Of a generator whose latents are no space to walk through, a translator, there are no paths, truncations and sums.
    """
    same = "the same latents" if generators.walks(generator) else "the same inputs"
    height, width = images.shape[2:]
    columns = min(max(SIDE // (width * _scale(images)), 1), ROWS)
    drawn = {
        "samples": grid(images[:columns**2], columns, _scale(images)),
        "progress": progress(snapshots, height, width, same),
        "neighbours": neighbours(images, features, known, known_features, real_images),
    }
    if generators.walks(generator):
        drawn["interpolation"] = interpolation(generator, seed, conditions)
    elif conditions is not None:
        drawn["pairs"] = pairs(generator, conditions, images, truth, seed)
    if generators.truncates(generator):
        drawn["truncation"] = truncations(generator, seed, conditions)
    if (moving := animated(snapshots, height, width)) is not None:
        drawn["animation"] = moving
    if curves:
        drawn["precision_recall"] = precision_over_recall({name: (recall, precision)
                                                           for name, (precision, recall) in curves.items()})
    if generator.classes:
        names = [f"code {code}" for code in range(generator.classes)] if generator.labels_are_codes else classes
        drawn["labels"] = labels(generator, names, seed)
    if generator.labels_are_codes and generator.continuous:
        drawn["codes"] = codes(generator, seed)
    if seen is not None and (generator.labels_are_codes or not generator.classes):
        drawn["classes"] = by_class(images, seen, classes)
    if seen is not None and not generator.classes:  # a generator that is told the class keeps it out of its latents
        z = truncation * generators.latents(generator, len(images), seed)
        if (equations := arithmetic(generator, z, seen, classes, seed)) is not None:
            drawn["arithmetic"] = equations
    return drawn


def save(pictures: Mapping[str, Image.Image], directory: Path) -> None:
    """Each as <name>.png into a directory; animations move."""
    for name, picture in pictures.items():
        picture.save(directory / f"{name}.png", save_all=True, optimize=True)


def progress(snapshots: Path, height: int, width: int, same: str = "the same latents") -> Image.Image:
    """The first images of each snapshot, a grid of the same latents, or inputs, every time; ten moments, about evenly
    spread."""
    if not (files := _moments(snapshots, ROWS)):
        return captioned([("no snapshots were kept", Image.new("L", (1, 1)))])
    rows = [(f"{_images_seen(file):,}", _corner(file, height, width, 1, ROWS)) for file in files]
    return captioned(rows, f"{same}, after so many images seen")


def animated(snapshots: Path, height: int, width: int) -> Image.Image | None:
    """The snapshots one after the other, in one picture that moves; None where there are fewer than two."""
    files = _moments(snapshots, FRAMES)
    if len(files) < 2:
        return None
    across = max(FRAME // min(max(height, width), 64), 1)
    frames = [captioned([("", _corner(file, height, width, across, across))],
                        f"{_images_seen(file):,} images seen") for file in files]
    return animation(frames, seconds=0.8)


def pairs(generator: Any, sources: Tensor, images: Tensor, truth: np.ndarray | Tensor | None, seed: int) -> Image.Image:
    """Images of a translator, evenly spread: below each source (N, C′, H′, W′) what was drawn of it, what it should be
    where that is known, and where there is a way back, what that draws of it again."""
    chosen = np.arange(min(PAIRS, len(images))) * len(images) // min(PAIRS, len(images))
    lines: dict[str, np.ndarray | Tensor] = {"input": sources[chosen], "output": images[chosen]}
    if truth is not None:
        lines["truth"] = truth[chosen]
    if hasattr(generator, "back"):
        lines["way back"] = generators.sample(generator.back, images[chosen], seed)
    rows = [(name, _row(line[start:start + ACROSS], side=SIDE // ACROSS)) for start in range(0, len(chosen), ACROSS)
            for name, line in lines.items()]
    return captioned(rows, "test images, evenly spread, one below the other: " + ", ".join(lines)
                     + (" (the input again, drawn from the output alone)" if "way back" in lines else ""))


def interpolation(generator: Any, seed: int, texts: Tensor | None = None) -> Image.Image:
    """Paths between latents, each straight and spherical, with the norm in the middle of the way; each with one label,
    or one of the `texts` that the generator is told."""
    ends = generators.latents(generator, ROWS, seed)
    t = torch.linspace(0, 1, ROWS)[:, None]
    told = torch.arange(ROWS // 2) % generator.classes if generator.classes else texts
    rows = []
    for pair in range(ROWS // 2):
        label = None if told is None else told[pair % len(told)][None].expand(ROWS, *told.shape[1:])
        a, b = ends[pair].expand(ROWS, -1), ends[ROWS // 2 + pair].expand(ROWS, -1)
        for name, path in (("straight", torch.lerp), ("spherical", slerp)):
            images = generators.decode(generator, path(a, b, t), label)
            halfway = path(a, b, torch.full_like(t, 0.5))[0].norm()
            rows.append((f"{name}, |z| {halfway:.1f}", _row(images)))
    usual = ends.norm(dim=1).mean()
    return captioned(rows, f"from one latent to another, with |z| halfway; at the ends it is {usual:.1f} on average.\n"
                           "The straight path leaves the shell of normal latents, the spherical stays (White 2016)")


def truncations(generator: Any, seed: int, texts: Tensor | None = None) -> Image.Image:
    """The same latents, scaled towards their mean: fewer bad images, less variety. With the first of the `texts`, where
    the generator is told any."""
    asked = ROWS if texts is None else texts[:ROWS]
    rows = [(f"{scale:.1f}", _row(generators.sample(generator, asked, seed, scale))) for scale in TRUNCATIONS]
    return captioned(rows, "the same latents, scaled towards their mean")


def labels(generator: Any, names: Sequence[str], seed: int) -> Image.Image:
    """A row for each label that the generator is told, the same latents in each column."""
    z = generators.latents(generator, ROWS, seed)
    rows = [(name, _row(generators.decode(generator, z, torch.full((ROWS,), label))))
            for label, name in enumerate(names[:MOST_CLASSES])]
    return captioned(rows, "a label in each row, the same latents in each column" + _first_of(names))


def by_class(images: Tensor, seen: Tensor, names: Sequence[str]) -> Image.Image:
    """A row for each class: the first images in which the classifier sees it, and their share of all."""
    rows = []
    for label, name in enumerate(names[:MOST_CLASSES]):
        of_class = images[seen == label]
        picture = _row(of_class[:ROWS]) if len(of_class) else Image.new("L", (1, 1), "white")
        rows.append((f"{name}\n{len(of_class) / len(images):.1%}", picture))
    return captioned(rows, "by the class that the classifier sees in them, and how often" + _first_of(names))


def arithmetic(generator: Any, z: Tensor, seen: Tensor, names: Sequence[str], seed: int) -> Image.Image | None:
    """Sums A − B + C of mean latents, as in figure 7 of Radford et al. 2016. z (N, latent), with the class `seen` (N,)
    in the image of each; None where fewer than three classes have enough images."""
    exemplars = {label: z[seen == label][:EXEMPLARS] for label in range(len(names))}
    exemplars = {label: found for label, found in exemplars.items() if len(found) >= SHOWN}
    means = {label: found.mean(0) for label, found in exemplars.items()}
    rows = []
    for triple in analogies(means)[:EQUATIONS]:
        columns = [generators.decode(generator, torch.stack([*exemplars[label][:SHOWN], means[label]]))
                   for label in triple]
        a, b, c = (exemplars[label] for label in triple)
        result = generators.decode(generator, latents.arithmetic(a, b, c, seed))
        blank = torch.full_like(result[0], 255)
        cells = [cell for row in range(SHOWN) for cell in
                 (*(column[row] for column in columns), blank, *result[3 * row:3 * row + 3])]
        cells += [*(column[SHOWN] for column in columns), *[blank] * 4]
        caption = "\n".join(f"{sign}{names[label]}" for sign, label in zip(("", "- ", "+ "), triple, strict=True))
        rows.append((caption, _row(torch.stack(cells), columns=7)))
    return captioned(rows, "left: three samples of each class, below them the image of its mean latent (of up to "
                           f"{EXEMPLARS});\nright: the sum of the means in the centre, and around it the same with\n"
                           "uniform noise of ±0.25 (Radford et al. 2016)") if rows else None


def analogies(means: Mapping[int, Tensor]) -> list[tuple[int, int, int]]:
    """Mean latents by class → classes (A, B, C) for sums A − B + C, the most promising first: A and C are the two
    classes nearest to B, so that what makes a B an A is likely to mean something for C."""
    found = []
    for b in means if len(means) >= 3 else ():
        (first, a), (second, c) = sorted((float((means[other] - means[b]).norm()), other)
                                         for other in means if other != b)[:2]
        found.append((first + second, (a, b, c)))
    distinct: dict[frozenset[int], tuple[int, int, int]] = {}
    for _, triple in sorted(found):
        distinct.setdefault(frozenset(triple), triple)
    return list(distinct.values())


def codes(generator: Any, seed: int) -> Image.Image:
    """Each continuous code over the range of its prior, for the first labels."""
    z = generators.latents(generator, 1, seed).repeat(ROWS, 1)
    # The codes lie last in z, as normal numbers: evenly spread in what the generator makes of them.
    varied = torch.special.ndtri(torch.linspace(0.02, 0.98, ROWS))
    rows = []
    for code in range(generator.continuous):
        for label in range(min(generator.classes, 3)):
            path = z.clone()
            path[:, generator.latent - generator.continuous:] = 0
            path[:, generator.latent - generator.continuous + code] = varied
            images = generators.decode(generator, path, torch.full((ROWS,), label))
            rows.append((f"continuous {code + 1}, code {label}", _row(images)))
    return captioned(rows, "one continuous code from -1 to 1, all else fixed")


def neighbours(images: Tensor, features: Tensor, known: np.ndarray, known_features: Tensor,
               real_images: np.ndarray) -> Image.Image:
    """Samples, and beside each its nearest real images: by features among the `known`, by pixels among all those that
    were trained on."""
    assert len(known) == len(known_features)
    by_features, _ = nearest(features[:ROWS], known_features, NEIGHBOURS)
    pixels = real_images.reshape(len(real_images), -1)
    by_pixels, _ = nearest(images[:ROWS].flatten(1), pixels, NEIGHBOURS)
    gap = np.full_like(real_images[:1], 255)
    rows = []
    for index, (near, like) in enumerate(zip(by_features.numpy(), by_pixels.numpy(), strict=True)):
        row = np.concatenate([images[index:index + 1].numpy(), gap, known[near], gap, real_images[like]])
        rows.append((f"sample {index + 1}", _row(row)))
    return captioned(rows, f"sample | nearest of {len(known):,} other real images by features | "
                           f"of all {len(real_images):,} training images by pixels")


def _scale(images: Tensor) -> int:
    """By how much small images are enlarged."""
    return 2 if max(images.shape[2:]) <= 32 else 1


def _row(images: Tensor | np.ndarray, columns: int | None = None, side: int | None = None) -> Image.Image:
    """Small images enlarged, large ones as thumbnails, all to about a `side` if one is given; in one row unless
    `columns` are."""
    small = thumbnails(images, side) if side else thumbnails(images)
    return grid(small, columns or len(small), max(1, side // max(small.shape[2:])) if side else _scale(small))


def _moments(snapshots: Path, most: int) -> list[Path]:
    """The files of the snapshots, about evenly spread where there are more than `most`."""
    files = sorted(snapshots.glob("images-*.png"))
    return [files[i] for i in np.unique(np.linspace(0, len(files) - 1, most).round().astype(int))] if files else []


def _images_seen(snapshot: Path) -> int:
    return int(snapshot.stem.removeprefix("images-"))


def _corner(snapshot: Path, height: int, width: int, rows: int, columns: int) -> Image.Image:
    """The first rows and columns of a snapshot's grid of images of this height and width, or as many as it has."""
    with Image.open(snapshot) as picture:
        rows, columns = min(rows, picture.height // height), min(columns, picture.width // width)
        pixels = np.asarray(picture.crop((0, 0, columns * width, rows * height)))
    cells = pixels.reshape(rows, height, columns, width, -1).transpose(0, 2, 4, 1, 3)
    return _row(cells.reshape(rows * columns, -1, height, width), columns)


def _first_of(names: Sequence[str]) -> str:
    return f"; the first {MOST_CLASSES} of {len(names)}" if len(names) > MOST_CLASSES else ""

"""The pictures of an evaluation: what a generator does, for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganlib.metrics.neighbours import nearest
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import captioned, grid, interpolate

ROWS = 10  # of samples, moments, paths and neighbours in the pictures
NEIGHBOURS = 4  # shown of each kind
ENLARGED = 2


def draw(generator: Any, images: Tensor, *, seed: int, snapshots: Path, features: Tensor,
         real_features: Mapping[str, Tensor], real_images: np.ndarray,
         classes: Sequence[str]) -> dict[str, Image.Image]:
    """The name of each picture → the picture.

    images: uint8 (N, C, H, W) of the generator, with their `features` (N, d); snapshots: the directory of the grids
    made while training; real_features: "test" and "train"; real_images: those of the training split, uint8.
    """
    drawn = {
        "samples": grid(images[:100], 10, ENLARGED),
        "progress": progress(snapshots, *images.shape[2:]),
        "interpolation": interpolation(generator, seed),
        "neighbours": neighbours(images, features, real_features["train"], real_images),
    }
    if generator.classes:
        names = [f"code {code}" for code in range(generator.classes)] if generator.labels_are_codes else classes
        drawn["labels"] = labels(generator, names, seed)
    if generator.continuous:
        drawn["codes"] = codes(generator, seed)
    return drawn


def progress(snapshots: Path, height: int, width: int) -> Image.Image:
    """The first images of each snapshot, a grid of the same latents every time; ten moments, about evenly spread."""
    files = sorted(snapshots.glob("images-*.png"))
    if not files:
        return captioned([("no snapshots were kept", Image.new("L", (1, 1)))])
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, ROWS).round().astype(int))]
    rows = []
    for file in chosen:
        with Image.open(file) as picture:
            strip = picture.crop((0, 0, min(picture.width, 10 * width), height))
        seen = int(file.stem.removeprefix("images-"))
        larger = strip.resize((strip.width * ENLARGED, strip.height * ENLARGED), Image.Resampling.NEAREST)
        rows.append((f"{seen:,}", larger))
    return captioned(rows, "the same latents, after so many images seen")


def interpolation(generator: Any, seed: int) -> Image.Image:
    """Spherical paths between latents, one a row."""
    a, b = generators.latents(generator, 2 * ROWS, seed).split(ROWS)
    path = interpolate(a, b, ROWS)
    labels = generators.in_turn(generator, ROWS)
    along = None if labels is None else labels.repeat_interleave(ROWS)
    return grid(generators.decode(generator, path.flatten(0, 1), along), ROWS, ENLARGED)


def labels(generator: Any, names: Sequence[str], seed: int) -> Image.Image:
    """A row for each label that the generator is told, the same latents in each column."""
    z = generators.latents(generator, ROWS, seed)
    rows = []
    for label, name in enumerate(names):
        images = generators.decode(generator, z, torch.full((ROWS,), label))
        rows.append((name, grid(images, ROWS, ENLARGED)))
    return captioned(rows, "a label in each row, the same latents in each column")


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
            rows.append((f"continuous {code + 1}, code {label}", grid(images, ROWS, ENLARGED)))
    return captioned(rows, "one continuous code from -1 to 1, all else fixed")


def neighbours(images: Tensor, features: Tensor, real_features: Tensor, real_images: np.ndarray) -> Image.Image:
    """Samples, and beside each its nearest real training images, by features and by pixels."""
    by_features, _ = nearest(features[:ROWS], real_features, NEIGHBOURS)
    pixels = real_images.reshape(len(real_images), -1)
    by_pixels, _ = nearest(images[:ROWS].flatten(1), pixels, NEIGHBOURS)
    gap = np.full_like(real_images[:1], 255)
    rows = []
    for index, (near, like) in enumerate(zip(by_features.numpy(), by_pixels.numpy(), strict=True)):
        row = np.concatenate([images[index:index + 1].numpy(), gap, real_images[near], gap, real_images[like]])
        rows.append((f"sample {index + 1}", grid(row, len(row), ENLARGED)))
    return captioned(rows, f"sample | nearest of {len(real_features):,} real training images by features | "
                           f"of all {len(real_images):,} by pixels")

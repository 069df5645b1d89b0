"""Images to pictures: grids, captioned strips, and the path between two latents."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor


def grid(images: Tensor | np.ndarray, columns: int, scale: int = 1) -> Image.Image:
    """uint8 images (N, 1 or 3, H, W) → one picture, row by row, without gaps: cell (r, c) begins at
    (c·W·scale, r·H·scale). Empty cells are black. `scale` enlarges by whole pixels."""
    array = np.asarray(images)
    if array.ndim != 4 or array.dtype != np.uint8 or array.shape[1] not in (1, 3) or len(array) == 0:
        raise ValueError(f"grid: uint8 images (N, 1 or 3, H, W) are needed, got {array.dtype} {array.shape}")
    count, channels, height, width = array.shape
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, channels, height, width), np.uint8)
    cells[:count] = array
    whole = cells.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    whole = whole.reshape(rows * height, columns * width, channels).repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(whole[:, :, 0] if channels == 1 else whole)


def captioned(rows: Sequence[tuple[str, Image.Image]], title: str = "") -> Image.Image:
    """Pictures one below the other with a caption left of each, on white, under a title."""
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = 12 + max(int(draw.textlength(caption)) for caption, _ in rows)
    top = 20 if title else 4
    width = max(left + max(picture.width for _, picture in rows) + 4, int(draw.textlength(title)) + 8)
    page = Image.new("RGB", (width, top + sum(picture.height + 4 for _, picture in rows)), "white")
    draw = ImageDraw.Draw(page)
    draw.text((4, 4), title, fill="black")
    for caption, picture in rows:
        draw.text((6, top + picture.height / 2), caption, fill="black", anchor="lm")
        page.paste(picture, (left, top))
        top += picture.height + 4
    return page


def interpolate(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Spherical path between latents a and b (…, latent) → (…, steps, latent), from a to b, both included.

    slerp(t) = (sin((1 − t)Ω) a + sin(tΩ) b) / sin Ω with the angle Ω between them (White 2016, section 2.1): on the way
    the norm stays that of a normal latent, where a straight line would pass near 0. Straight where they are parallel.
    """
    t = torch.linspace(0, 1, steps, dtype=a.dtype)[:, None]
    a, b = a[..., None, :], b[..., None, :]
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1)[..., None].clamp(-1, 1)
    angle = cosine.arccos()
    sine = angle.sin()
    straight = sine < 1e-4
    sine = sine.where(~straight, torch.ones_like(sine))
    from_a = torch.where(straight, 1 - t, ((1 - t) * angle).sin() / sine)
    from_b = torch.where(straight, t, (t * angle).sin() / sine)
    return from_a * a + from_b * b

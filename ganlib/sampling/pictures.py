"""Images to pictures: thumbnails, grids, captioned strips, and animations of those."""

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

SPACING = 2  # px between the lines of a caption


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


def thumbnails(images: Tensor | np.ndarray, side: int = 64) -> Tensor:
    """uint8 images (N, C, H, W), averaged down to at most `side` pixels a side; smaller ones as they are."""
    images = torch.from_numpy(np.array(images))  # a copy: tables are read-only
    height, width = images.shape[2:]
    if max(height, width) <= side:
        return images
    size = [max(1, round(length * side / max(height, width))) for length in (height, width)]
    return torch.nn.functional.interpolate(images.float(), size, mode="area").round().to(torch.uint8)


def captioned(rows: Sequence[tuple[str, Image.Image]], title: str = "") -> Image.Image:
    """Pictures one below the other with a caption left of each, on white, under a title; both may have several lines.
    Grey if all pictures are."""
    grey = all(picture.mode == "L" for _, picture in rows)
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    left = max(4, *(12 + _size(draw, caption)[0] for caption, _ in rows if caption), 0)
    top = 8 + _size(draw, title)[1] if title else 4
    heights = [max(picture.height, _size(draw, caption)[1]) for caption, picture in rows]
    width = max(left + max(picture.width for _, picture in rows) + 4, _size(draw, title)[0] + 8)
    page = Image.new("L" if grey else "RGB", (width, top + sum(height + 4 for height in heights)), "white")
    draw = ImageDraw.Draw(page)
    draw.multiline_text((4, 4), title, fill="black", spacing=SPACING)
    for (caption, picture), height in zip(rows, heights, strict=True):
        draw.multiline_text((6, top + height / 2), caption, fill="black", anchor="lm", spacing=SPACING)
        page.paste(picture, (left, top))
        top += height + 4
    return page


def animation(frames: Sequence[Image.Image], seconds: float) -> Image.Image:
    """Pictures of one size → one that shows each for so long, over and over, the last three times as long. It is saved
    whole by `save(path, save_all=True)`, as PNG."""
    file, milliseconds = io.BytesIO(), round(1000 * seconds)
    durations = [milliseconds] * (len(frames) - 1) + [3 * milliseconds]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return Image.open(file)


def _size(draw: ImageDraw.ImageDraw, text: str) -> tuple[int, int]:
    """Width and height of text of several lines, in pixels."""
    _, _, right, bottom = draw.multiline_textbbox((0, 0), text, spacing=SPACING)
    return math.ceil(right), math.ceil(bottom)

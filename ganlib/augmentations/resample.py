"""Images read at other places, by plain indexing: torch's own `grid_sample` has no second derivative."""

import torch
from torch import Tensor


def at(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The pixels at whole coordinates: images (N, C, H, W), row and column (N, h, w) int64, in range → (N, C, h, w)."""
    index = (row * images.shape[3] + column).flatten(1).unsqueeze(1).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).unflatten(2, row.shape[1:])


def bilinear(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The same at any coordinates, between the four nearest pixels. Outside, the image is mirrored about the centres of
    its border pixels."""
    (top, bottom, down), (left, right, along) = _neighbours(row, images.shape[2]), _neighbours(column, images.shape[3])
    upper = torch.lerp(at(images, top, left), at(images, top, right), along)
    lower = torch.lerp(at(images, bottom, left), at(images, bottom, right), along)
    return torch.lerp(upper, lower, down)


def _neighbours(place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels around each place (N, h, w), and the weight of the second, (N, 1, h, w)."""
    period = max(2 * (size - 1), 1)
    place = place.remainder(period)
    place = torch.minimum(place, period - place)
    first = place.floor()
    second = (first + 1).clamp(max=size - 1)
    return first.long(), second.long(), (place - first).unsqueeze(1)

"""Features and images as they come, torch or numpy, to the tensors that the metrics compute with."""

from collections.abc import Iterator
from math import isfinite

import numpy as np
import torch
from torch import Tensor

LARGEST = 1e15  # sums of squares beyond it do not fit into float32


def untyped(values: Tensor | np.ndarray) -> Tensor:
    """On the CPU, without gradients, of the type that they have. Shares memory where it can. ValueError for what is no
    array of real numbers."""
    if isinstance(values, Tensor):
        found = values.detach().cpu()
    else:
        array = np.asarray(values)
        if not array.flags.writeable or not array.dtype.isnative or any(stride < 0 for stride in array.strides):
            # memory-mapped tables are read-only; other byte orders and steps backwards are not for torch
            array = array.astype(array.dtype.newbyteorder("="))
        try:
            found = torch.from_numpy(array)
        except TypeError:
            raise ValueError(f"an array of numbers is needed, got one of {array.dtype}") from None
    if found.is_complex():
        raise ValueError(f"an array of real numbers is needed, got one of {found.dtype}")
    return found


def tensor(values: Tensor | np.ndarray) -> Tensor:
    """As `untyped`; float64 stays, all else becomes float32."""
    found = untyped(values)
    return found if found.dtype == torch.float64 else found.float()


def matrix(values: Tensor | np.ndarray, where: str, least: int = 1) -> Tensor:
    """Features (N, d), N ≥ `least`, d ≥ 1. ValueError, naming `where`, for another shape, or values that are not
    finite or beyond `LARGEST`."""
    found = tensor(values)
    if found.ndim != 2 or len(found) < least or found.shape[1] < 1:
        raise ValueError(f"{where}: features of shape (N, d) with N ≥ {least} and d ≥ 1 are needed, "
                         f"got {tuple(found.shape)}")
    largest = float(torch.linalg.vector_norm(found, torch.inf))
    if not isfinite(largest):
        raise ValueError(f"{where}: the features hold NaN or infinity; look at the images they come from")
    if largest > LARGEST:
        raise ValueError(f"{where}: the values reach {largest:.1e}, and beyond {LARGEST:.0e} the squares of features "
                         "overflow in float32; scale them")
    return found


def pair(real: Tensor | np.ndarray, fake: Tensor | np.ndarray, where: str, least: int = 1) -> tuple[Tensor, Tensor]:
    """Features (N, d) and (M, d) of one extractor, N, M ≥ `least`, in the wider of their types."""
    a, b = matrix(real, where, least), matrix(fake, where, least)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{where}: {a.shape[1]} features against {b.shape[1]}; both must come from the same extractor")
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def require_images(images: Tensor | np.ndarray, where: str) -> None:
    """ValueError, naming `where`, for anything but uint8 images (N, 1 or 3, H, W), N ≥ 1."""
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or shape[0] == 0 or images.dtype not in (np.uint8, torch.uint8):
        raise ValueError(f"{where}: uint8 images (N, 1 or 3, H, W) are needed, got {images.dtype} {shape}")


def batches(images: Tensor | np.ndarray, size: int) -> Iterator[Tensor]:
    """So many images at a time, on the CPU; of a memory-mapped table no more is read."""
    for start in range(0, len(images), size):
        yield torch.from_numpy(np.array(images[start:start + size]))


def image_pairs(a: Tensor | np.ndarray, b: Tensor | np.ndarray, where: str,
                batch_size: int = 64) -> Iterator[tuple[Tensor, Tensor]]:
    """Uint8 images (N, 1 or 3, H, W) and as many of the same shape, some at a time. ValueError for others."""
    for images in (a, b):
        require_images(images, where)
    if a.shape != b.shape:
        raise ValueError(f"{where}: each image needs one of its own shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    yield from zip(batches(a, batch_size), batches(b, batch_size), strict=True)

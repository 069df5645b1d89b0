"""The resize of those extractors that were trained on no particular one."""

from torch import Tensor
from torch.nn import functional as F

METHOD = "bilinear, half-pixel centres, antialiased"


def bilinear(images: Tensor, height: int, width: int) -> Tensor:
    """Pixels (N, C, H, W) of any type → float32 (N, C, height, width): align_corners=False, antialiased where images
    shrink."""
    shrinks = images.shape[2] > height or images.shape[3] > width
    return F.interpolate(images.float(), size=(height, width), mode="bilinear", align_corners=False, antialias=shrinks)

"""Moving average of the generator's weights, by half-life in images. Karras et al. 2018, arXiv:1710.10196, sec. 6."""

import copy

import torch
from torch import nn


class MovingAverage:
    """`.module` is the averaged copy of `source`, in eval mode. Floating-point buffers are averaged too, so that the
    running statistics of batch norm belong to the averaged weights; other buffers are copied."""

    def __init__(self, source: nn.Module, half_life: float, rampup: float):
        self.module = copy.deepcopy(source).eval().requires_grad_(False)
        self.half_life, self.rampup = half_life, rampup
        pairs = list(zip(self.module.state_dict().values(), source.state_dict().values(), strict=True))
        self._smooth = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, images: int, images_seen: int) -> None:
        """`images` have been seen since the last update, `images_seen` in all: decay = ½^(images / half-life)."""
        half_life = min(self.half_life, self.rampup * images_seen)
        decay = 0.5 ** (images / half_life) if half_life > 0 else 0.0
        torch._foreach_lerp_([mine for mine, _ in self._smooth], [theirs for _, theirs in self._smooth], 1 - decay)
        for mine, theirs in self._copied:
            mine.copy_(theirs)

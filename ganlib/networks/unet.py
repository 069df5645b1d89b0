"""Images from images, by a U-Net: pix2pix, Isola et al. 2017, arXiv:1611.07004, sec. 3.2.1 and 6.1.1."""

import functools
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from ganlib.condition import NOTHING, Condition
from ganlib.config import ConfigError, require, within
from ganlib.layers.initialization import normal_002
from ganlib.layers.translators import Options, Translator, biased, normalized, players


@dataclass(frozen=True)
class Config(Options):
    depth: int | None = None  # halvings; null: as many as the size allows, 8 at most: 256 px → 1×1
    dropout: float = 0.0  # in the three levels of full width after the innermost, in evaluation as well: the only noise
    upsampling: Literal["transposed", "subpixel"] = "transposed"  # subpixel: 3×3 convolutions and a pixel shuffle

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.depth is None or 2 <= self.depth <= 10, f"depth: 2 … 10 or null is needed, got {self.depth}")
        within(self, 0, 0.99, "dropout")


class UNet(Translator):
    """Dropout is a function of z, which is positive where a unit is kept (of ½): so images are a pure function of
    (z, condition), whichever worker draws them."""

    def __init__(self, config: Config, told: Condition, channels: int):
        super().__init__(told)
        sides = told.sides or (0, 0)
        depth = config.depth or _halvings(sides)
        if depth < 2 or any(side % 2**depth for side in sides):
            raise ConfigError(f"networks.depth: images of {sides[0]}×{sides[1]} cannot be halved {max(depth, 2)} "
                              f"times; write a dataset.resolution that is a multiple of {2 ** max(depth, 2)}, or fewer")
        norm, widths = config.generator_norm, [config.width * min(2**level, 8) for level in range(depth)]
        self.downs, self.ups, self.dropped = nn.ModuleList(), nn.ModuleList(), {}
        for level, width in enumerate(widths):
            before = told.size if level == 0 else widths[level - 1]
            plain = level in (0, depth - 1)  # no norm at the innermost: of 1×1 in a batch of one nothing would be left
            self.downs.append(nn.Sequential(
                nn.Conv2d(before, width, 4, stride=2, padding=1, bias=biased(norm)),
                nn.Identity() if plain else normalized(norm, width)))
        for level in reversed(range(depth)):
            before = widths[level] * (1 if level == depth - 1 else 2)
            after, bias = (widths[level - 1], biased(norm)) if level else (channels, True)
            if config.upsampling == "transposed":
                up = [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=bias)]
            else:
                up = [nn.Conv2d(before, 4 * after, 3, padding=1, bias=bias), nn.PixelShuffle(2)]  # type: ignore[list-item]
            self.ups.append(nn.Sequential(*up, *([normalized(norm, after)] if level else [])))
            if config.dropout and 0 < level < depth - 1 and after == 8 * config.width:
                self.dropped[level] = (after, *(side >> level for side in sides))
        if config.dropout and not self.dropped:
            raise ConfigError(f"networks.dropout: at a depth of {depth} there is no level for it, of 8 times the "
                              "width and not the innermost; write 0, or a depth of 6 at least")
        self.latent = sum(torch.Size(shape).numel() for shape in self.dropped.values())
        self.kept = 1 - config.dropout
        self.threshold = NormalDist().inv_cdf(config.dropout) if config.dropout else 0.0
        self.apply(normal_002)

    def draw(self, z: Tensor, images: Tensor) -> Tensor:
        skips = [self.downs[0](images)]
        for down in self.downs[1:]:
            skips[-1] = leaky_relu(skips[-1], 0.2)  # as in the authors' code, it is this that the decoder gets
            skips.append(down(skips[-1]))
        noise = iter(z.split([torch.Size(shape).numel() for shape in self.dropped.values()], 1) if self.dropped else ())
        maps = skips.pop()
        for level, up in zip(reversed(range(len(self.ups))), self.ups, strict=True):
            maps = up(relu(maps))
            if level in self.dropped:
                kept = next(noise) > self.threshold
                maps = maps * (kept.view(-1, *self.dropped[level]).to(maps.dtype) / self.kept)
            if level:
                maps = torch.cat([skips.pop(), maps], 1)
        return maps


def _halvings(sides: tuple[int, int]) -> int:
    return next((times for times in range(8, 0, -1) if all(side % 2**times == 0 for side in sides)), 0)


def build(config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W) that come with images of the same height and width."""
    return players(config, shape, condition, functools.partial(UNet, config))

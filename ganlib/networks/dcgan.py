"""The deep convolutional GAN: Radford et al. 2016, arXiv:1511.06434, at any size base·2ᵏ, the smaller side of
which is 4 to 7 pixels at its base. Its fig. 1 has a width of 128 at 64 pixels, and a uniform prior."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from ganlib.condition import NOTHING, Condition
from ganlib.config import ConfigError, require, within
from ganlib.layers import players
from ganlib.layers.conditions import Sequence
from ganlib.layers.initialization import normal_002
from ganlib.layers.norms import Norm, constrained, norm2d
from ganlib.layers.options import Options


@dataclass(frozen=True)
class Config(Options):
    width: int = 64  # channels of the largest feature maps; they double with every halving of the size
    generator_norm: Norm = "batch"
    discriminator_norm: Norm = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 1, 16_384, "width")
        require(self.generator_norm != "spectral", "generator_norm: spectral is for the discriminator; write batch")


def stages(shape: tuple[int, int, int], least: int = 1) -> tuple[tuple[int, int], int]:
    """Image shape (C, H, W) → (height and width of the base, number of doublings from there, at `least` so many), with
    a smaller side of 4 to 7 pixels at the base: 28×28 → ((7, 7), 2), 32×32 → ((4, 4), 3), 48×64 → ((6, 8), 3)."""
    _, height, width = shape
    doublings = _doublings(min(height, width))
    if doublings < least or height % 2**doublings or width % 2**doublings:
        known = [side for side in range(8, 4097) if _doublings(side) >= least]
        smaller = min(known, key=lambda side: abs(side - min(height, width)))
        step = 2**_doublings(smaller)
        near = [max(round(side / step) * step, smaller) for side in (height, width)]
        raise ConfigError(f"networks: images of {height}×{width} do not come from doubling ones whose smaller side is "
                          f"4 to 7 pixels{', twice at least' if least > 1 else ''}; write dataset.resolution="
                          + (f"{near[0]}" if height == width else f"[{near[0]},{near[1]}]") + ", or networks=mlp")
    return (height >> doublings, width >> doublings), doublings


def _doublings(side: int) -> int:
    """How often 4 to 7 pixels have to be doubled to make that side; 0 if it cannot be."""
    return next((times for times in range(1, 11) if side % 2**times == 0 and 4 <= side >> times <= 7), 0)


class Generator(players.Generator):
    """z (N, latent), standard normal → images (N, C, H, W) in [−1, 1]."""

    def __init__(self, config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING):
        super().__init__(config, condition, config.generator_norm)
        self.base, doublings = stages(shape)
        channels = config.width * 2 ** (doublings - 1)
        self.bottom = channels
        # A transposed convolution of a 1×1 map is a linear map, and faster as one.
        self.project = nn.Linear(self.inputs, channels * math.prod(self.base), bias=False)
        layers: list[nn.Module] = [self.norm(channels), nn.ReLU(inplace=True)]
        for _ in range(doublings - 1):
            layers += [nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False)]
            channels //= 2
            layers += [self.norm(channels), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(channels, shape[0], 4, stride=2, padding=1), nn.Tanh()]
        self.layers = Sequence(*layers)
        self.apply(normal_002)

    def paint(self, z: Tensor, condition: Tensor | None) -> Tensor:
        bottom = self.project(self.tell(z, condition)).view(-1, self.bottom, *self.base)
        return self.layers(bottom, condition)


class Discriminator(players.Discriminator):
    """Images (N, C, H, W) in [−1, 1] → scores (N,), and the last feature maps, flattened."""

    def __init__(self, config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING):
        norm = config.discriminator_norm
        super().__init__(config, shape, condition, norm)
        base, doublings = stages(shape)
        channels = config.width
        first = nn.Conv2d(shape[0] + self.planes, channels, 4, stride=2, padding=1)  # without batch norm: sec. 3
        layers: list[nn.Module] = [constrained(norm, first), nn.LeakyReLU(0.2)]
        for _ in range(doublings - 1):
            layers += [constrained(norm, nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1)),
                       norm2d(norm, 2 * channels), nn.LeakyReLU(0.2)]
            channels *= 2
        self.layers = nn.Sequential(*layers)
        self.make_heads(channels * math.prod(base))
        self.apply(normal_002)

    def describe(self, images: Tensor, condition: Tensor | None) -> Tensor:
        return self.layers(self.tell(images, condition)).flatten(1)


def build(config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W) that come with this condition."""
    return {"generator": Generator(config, shape, condition), "discriminator": Discriminator(config, shape, condition)}

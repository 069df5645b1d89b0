"""Images from images, by residual blocks at a quarter of their size: CycleGAN, Zhu et al. 2017, arXiv:1703.10593,
sec. 4 and 7.2, after Johnson et al. 2016, arXiv:1603.08155."""

import functools
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ganlib.condition import NOTHING, Condition
from ganlib.config import ConfigError, within
from ganlib.layers.initialization import normal_002
from ganlib.layers.norms import Norm
from ganlib.layers.translators import Options, Translator, biased, normalized, players


@dataclass(frozen=True)
class Config(Options):
    generator_norm: Norm = "instance"
    discriminator_norm: Norm = "instance"
    conditioning: Literal["none", "concat"] = "none"
    blocks: int = 9  # for images of 256 pixels; 6 for those of 128

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 0, 100, "blocks")


class Block(nn.Module):
    """x + what two 3×3 convolutions make of it."""

    def __init__(self, width: int, norm: Norm):
        super().__init__()
        self.layers = nn.Sequential(*_convolution(width, width, 3, norm), nn.ReLU(inplace=True),
                                    *_convolution(width, width, 3, norm))

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)


class ResNet(Translator):
    """c7s1-64, d128, d256, R256 × blocks, u128, u64, c7s1-3 in the paper's words, at a width of 64."""

    def __init__(self, config: Config, told: Condition, channels: int):
        super().__init__(told)
        if any(side % 4 for side in told.sides or ()):
            raise ConfigError(f"networks: resnet halves its images twice, and {told.sides} are no multiples of 4; "
                              "write such a dataset.resolution")
        norm, width = config.generator_norm, config.width
        layers: list[nn.Module] = [*_convolution(told.size, width, 7, norm), nn.ReLU(inplace=True)]
        for _ in range(2):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=biased(norm)),
                       normalized(norm, 2 * width), nn.ReLU(inplace=True)]
            width *= 2
        layers += [Block(width, norm) for _ in range(config.blocks)]
        for _ in range(2):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1,
                                          bias=biased(norm)), normalized(norm, width // 2), nn.ReLU(inplace=True)]
            width //= 2
        layers += [nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect")]
        self.layers = nn.Sequential(*layers)
        self.apply(normal_002)

    def draw(self, z: Tensor, images: Tensor) -> Tensor:
        return self.layers(images)


def _convolution(inputs: int, outputs: int, kernel: int, norm: Norm) -> tuple[nn.Module, nn.Module]:
    """Of a size that keeps that of the maps, mirrored at their edges, and its normalisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect", bias=biased(norm))
    return convolution, normalized(norm, outputs)


def build(config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W) that come with images of the same height and width."""
    return players(config, shape, condition, functools.partial(ResNet, config))

"""A small DCGAN whose outermost layers work at half the image's size, by sub-pixel convolution.

The layers next to the image are the dearest of a DCGAN and see the fewest channels. Here the generator ends in a 3×3
convolution of four channels per image channel, whose pixels are then interleaved (Shi et al. 2016, arXiv:1609.05158),
and the discriminator begins with the reverse: the same receptive fields for a fraction of the time.
"""

import math

from torch import Tensor, nn

from ganlib.condition import NOTHING, Condition
from ganlib.layers import players
from ganlib.layers.conditions import Sequence
from ganlib.layers.norms import constrained, norm2d
from ganlib.networks import dcgan
from ganlib.networks.dcgan import Config


def stages(shape: tuple[int, int, int]) -> tuple[tuple[int, int], int]:
    """Image shape (C, H, W) → (height and width of the base, doublings up to half the image): 28×28 → ((7, 7), 1),
    48×64 → ((6, 8), 2)."""
    base, doublings = dcgan.stages(shape, least=2)
    return base, doublings - 1


def encoder(config: Config, inputs: int, shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    """Layers from (N, inputs, H, W), for images of `shape` (C, H, W), to the last feature maps; and their size."""
    norm = config.discriminator_norm
    base, doublings = stages(shape)
    channels = config.width
    first = nn.Conv2d(4 * inputs, channels, 3, padding=1)
    layers: list[nn.Module] = [nn.PixelUnshuffle(2), constrained(norm, first), nn.LeakyReLU(0.2)]
    for kernel in [4] * doublings + [3]:  # 4×4 halves an even size exactly, 3×3 an odd one upward: 7 → 4
        convolution = nn.Conv2d(channels, 2 * channels, kernel, stride=2, padding=1)
        layers += [constrained(norm, convolution), norm2d(norm, 2 * channels), nn.LeakyReLU(0.2)]
        channels *= 2
    return nn.Sequential(*layers), channels * math.prod(-(-side // 2) for side in base)


class Generator(players.Generator):
    """z (N, latent), standard normal → images (N, C, H, W) in [−1, 1]."""

    def __init__(self, config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING):
        super().__init__(config, condition, config.generator_norm)
        self.base, doublings = stages(shape)
        channels = self.bottom = config.width * 2**doublings
        self.project = nn.Linear(self.inputs, channels * math.prod(self.base))
        layers: list[nn.Module] = [self.norm(channels), nn.ReLU(inplace=True)]
        for _ in range(doublings):
            layers += [nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1),
                       self.norm(channels // 2), nn.ReLU(inplace=True)]  # fmt: skip
            channels //= 2
        layers += [nn.Conv2d(channels, 4 * shape[0], 3, padding=1), nn.PixelShuffle(2), nn.Tanh()]
        self.layers = Sequence(*layers)

    def paint(self, z: Tensor, condition: Tensor | None) -> Tensor:
        bottom = self.project(self.tell(z, condition)).view(-1, self.bottom, *self.base)
        return self.layers(bottom, condition)


class Discriminator(players.Discriminator):
    """Images (N, C, H, W) in [−1, 1] → scores (N,), and the last feature maps, flattened."""

    def __init__(self, config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING):
        super().__init__(config, shape, condition, config.discriminator_norm)
        self.layers, features = encoder(config, shape[0] + self.planes, shape)
        self.make_heads(features)

    def describe(self, images: Tensor, condition: Tensor | None) -> Tensor:
        return self.layers(self.tell(images, condition)).flatten(1)


def build(config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W) that come with this condition."""
    return {"generator": Generator(config, shape, condition), "discriminator": Discriminator(config, shape, condition)}

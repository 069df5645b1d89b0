"""Fully connected players: Goodfellow et al. 2014, arXiv:1406.2661; and the toy problems of the literature."""

import itertools
import math
from dataclasses import dataclass

from torch import Tensor, nn

from ganlib.condition import NOTHING, Condition
from ganlib.config import within
from ganlib.layers import players
from ganlib.layers.options import Options


@dataclass(frozen=True)
class Config(Options):
    latent: int = 128
    width: int = 512  # units of each hidden layer
    depth: int = 3  # hidden layers of each player

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, 1, 65_536, "width")
        within(self, 1, 1_000, "depth")


def hidden(inputs: int, config: Config) -> nn.Sequential:
    """(N, inputs) → the last hidden activations (N, width)."""
    sizes = [inputs] + [config.width] * config.depth
    layers = ((nn.Linear(fan_in, fan_out), nn.LeakyReLU(0.2)) for fan_in, fan_out in itertools.pairwise(sizes))
    return nn.Sequential(*itertools.chain.from_iterable(layers))


class Generator(players.Generator):
    """z (N, latent), standard normal → images (N, C, H, W) in [−1, 1]. Every label enters beside z."""

    def __init__(self, config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING):
        super().__init__(config, condition, conditional_norms=False)
        self.shape = shape
        self.hidden = hidden(self.inputs, config)
        self.out = nn.Linear(config.width, math.prod(shape))

    def paint(self, z: Tensor, condition: Tensor | None) -> Tensor:
        return self.out(self.hidden(self.tell(z, condition))).tanh().view(-1, *self.shape)


class Discriminator(players.Discriminator):
    """Images (N, C, H, W) in [−1, 1] → scores (N,), and the last hidden activations (N, width)."""

    def __init__(self, config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING):
        super().__init__(config, shape, condition)
        self.hidden = hidden(math.prod(shape) + self.planes, config)
        self.make_heads(config.width)

    def describe(self, images: Tensor, condition: Tensor | None) -> Tensor:
        return self.hidden(self.tell(images.flatten(1), condition))


def build(config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W) that come with this condition."""
    return {"generator": Generator(config, shape, condition), "discriminator": Discriminator(config, shape, condition)}

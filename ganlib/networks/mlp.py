"""Fully connected players: Goodfellow et al. 2014, arXiv:1406.2661; and the toy problems of the literature."""

import itertools
import math
from dataclasses import dataclass

from torch import Tensor, nn

from ganlib.config import require
from ganlib.verdict import Verdict


@dataclass(frozen=True)
class Config:
    width: int = 512  # units of each hidden layer
    depth: int = 3  # hidden layers of each player
    latent: int = 128

    def __post_init__(self) -> None:
        for name in ("width", "depth", "latent"):
            require(getattr(self, name) >= 1, f"{name}: must be at least 1, got {getattr(self, name)}")


def _hidden(inputs: int, config: Config) -> nn.Sequential:
    sizes = [inputs] + [config.width] * config.depth
    layers = ((nn.Linear(fan_in, fan_out), nn.LeakyReLU(0.2)) for fan_in, fan_out in itertools.pairwise(sizes))
    return nn.Sequential(*itertools.chain.from_iterable(layers))


class Generator(nn.Module):
    """z (N, latent), standard normal → images (N, C, H, W) in [−1, 1]."""

    classes = 0

    def __init__(self, config: Config, shape: tuple[int, int, int]):
        super().__init__()
        self.latent, self.shape = config.latent, shape
        self.hidden = _hidden(config.latent, config)
        self.out = nn.Linear(config.width, math.prod(shape))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.out(self.hidden(z)).tanh().view(-1, *self.shape)


class Discriminator(nn.Module):
    """Images (N, C, H, W) in [−1, 1] → scores (N,), and the last hidden activations (N, width)."""

    mixes_batch = False

    def __init__(self, config: Config, shape: tuple[int, int, int]):
        super().__init__()
        self.hidden = _hidden(math.prod(shape), config)
        self.score = nn.Linear(config.width, 1)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Verdict:
        features = self.hidden(images.flatten(1))
        return Verdict(score=self.score(features).squeeze(1), features=features)


def build(config: Config, shape: tuple[int, int, int], classes: int = 0) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W). Labels are not used."""
    return {"generator": Generator(config, shape), "discriminator": Discriminator(config, shape)}

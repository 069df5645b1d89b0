"""The deep convolutional GAN: Radford et al. 2016, arXiv:1511.06434, fig. 1, at any size base·2ᵏ with base 4 to 7."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganlib.config import ConfigError, require
from ganlib.layers.norms import Norm, constrained, norm2d
from ganlib.verdict import Verdict


@dataclass(frozen=True)
class Config:
    width: int = 64  # channels of the largest feature maps; they double with every halving of the size
    latent: int = 100
    generator_norm: Norm = "batch"
    discriminator_norm: Norm = "batch"

    def __post_init__(self) -> None:
        require(self.width >= 1, f"width: must be at least 1, got {self.width}")
        require(self.latent >= 1, f"latent: must be at least 1, got {self.latent}")
        require(self.generator_norm != "spectral", "generator_norm: spectral is for the discriminator; write batch")


def stages(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Image shape (C, H, W) → (base size, number of doublings from there): 28 → (7, 2), 32 → (4, 3), 64 → (4, 4)."""
    _, height, width = shape
    base, doublings = height, 0
    while base % 2 == 0 and base >= 8:
        base, doublings = base // 2, doublings + 1
    if height != width or base > 7 or base < 4 or doublings == 0:
        raise ConfigError(f"networks: images of {height}×{width} do not come from doubling 4 to 7 pixels; "
                          "prepare square ones, e.g. dataset.resolution=32 or 64")
    return base, doublings


class Generator(nn.Module):
    """z (N, latent), standard normal → images (N, C, H, W) in [−1, 1]."""

    classes = 0

    def __init__(self, config: Config, shape: tuple[int, int, int]):
        super().__init__()
        self.latent = config.latent
        self.base, doublings = stages(shape)
        channels = config.width * 2 ** (doublings - 1)
        self.bottom = channels
        # A transposed convolution of a 1×1 map is a linear map, and faster as one.
        self.project = nn.Linear(config.latent, channels * self.base**2, bias=False)
        layers: list[nn.Module] = [norm2d(config.generator_norm, channels), nn.ReLU(inplace=True)]
        for _ in range(doublings - 1):
            layers += [nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False)]
            channels //= 2
            layers += [norm2d(config.generator_norm, channels), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(channels, shape[0], 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialize)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.layers(self.project(z).view(-1, self.bottom, self.base, self.base))


class Discriminator(nn.Module):
    """Images (N, C, H, W) in [−1, 1] → scores (N,), and the last feature maps, flattened."""

    def __init__(self, config: Config, shape: tuple[int, int, int]):
        super().__init__()
        norm = config.discriminator_norm
        self.mixes_batch = norm in ("batch", "sync_batch")
        base, doublings = stages(shape)
        channels = config.width
        first = nn.Conv2d(shape[0], channels, 4, stride=2, padding=1)  # without batch norm: sec. 3
        layers: list[nn.Module] = [constrained(norm, first), nn.LeakyReLU(0.2)]
        for _ in range(doublings - 1):
            layers += [constrained(norm, nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1)),
                       norm2d(norm, 2 * channels), nn.LeakyReLU(0.2)]
            channels *= 2
        self.layers = nn.Sequential(*layers)
        self.score = constrained(norm, nn.Linear(channels * base**2, 1))
        self.apply(_initialize)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Verdict:
        features = self.layers(images).flatten(1)
        return Verdict(score=self.score(features).squeeze(1), features=features)


@torch.no_grad()
def _initialize(module: nn.Module) -> None:
    """All weights N(0, 0.02), those of batch norm N(1, 0.02): the paper's sec. 3 and its authors' code."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        # Under spectral norm, `weight` is computed; what is stored is the original.
        parameters = dict(module.named_parameters())
        name = "weight" if "weight" in parameters else "parametrizations.weight.original"
        nn.init.normal_(parameters[name], 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)


def build(config: Config, shape: tuple[int, int, int], classes: int = 0) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W). Labels are not used."""
    return {"generator": Generator(config, shape), "discriminator": Discriminator(config, shape)}

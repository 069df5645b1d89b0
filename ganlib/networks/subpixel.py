"""A small DCGAN whose outermost layers work at half the image's size, by sub-pixel convolution.

The layers next to the image are the dearest of a DCGAN and see the fewest channels. Here the generator ends in a 3×3
convolution of four channels per image channel, whose pixels are then interleaved (Shi et al. 2016, arXiv:1609.05158),
and the discriminator begins with the reverse: the same receptive fields for a fraction of the time.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from ganlib.config import ConfigError, require
from ganlib.layers.norms import Norm, constrained, norm2d
from ganlib.verdict import Verdict


@dataclass(frozen=True)
class Config:
    width: int = 32  # channels at half the image's size; they double with every halving
    latent: int = 64
    generator_norm: Norm = "batch"
    discriminator_norm: Norm = "none"

    def __post_init__(self) -> None:
        require(self.width >= 1, f"width: must be at least 1, got {self.width}")
        require(self.latent >= 1, f"latent: must be at least 1, got {self.latent}")
        require(self.generator_norm != "spectral", "generator_norm: spectral is for the discriminator; write batch")


def stages(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Image shape (C, H, W) → (base size, doublings up to half the image): 28 → (7, 1), 32 → (4, 2), 64 → (4, 3)."""
    _, height, width = shape
    base, doublings = height // 2, 0
    while base % 2 == 0 and base >= 8:
        base, doublings = base // 2, doublings + 1
    if height != width or height % 2 or not 4 <= base <= 7 or doublings == 0:
        raise ConfigError(f"networks: {height}×{width} images do not come from doubling 4 to 7 pixels twice or more; "
                          "prepare square ones, e.g. dataset.resolution=32 or 64")  # fmt: skip
    return base, doublings


class Generator(nn.Module):
    """z (N, latent), standard normal → images (N, C, H, W) in [−1, 1]."""

    classes = 0

    def __init__(self, config: Config, shape: tuple[int, int, int]):
        super().__init__()
        self.latent = config.latent
        self.base, doublings = stages(shape)
        channels = self.bottom = config.width * 2**doublings
        self.project = nn.Linear(config.latent, channels * self.base**2)
        layers: list[nn.Module] = [norm2d(config.generator_norm, channels), nn.ReLU(inplace=True)]
        for _ in range(doublings):
            layers += [nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1),
                       norm2d(config.generator_norm, channels // 2), nn.ReLU(inplace=True)]  # fmt: skip
            channels //= 2
        layers += [nn.Conv2d(channels, 4 * shape[0], 3, padding=1), nn.PixelShuffle(2), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

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
        first = nn.Conv2d(4 * shape[0], channels, 3, padding=1)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), constrained(norm, first), nn.LeakyReLU(0.2)]
        for kernel in [4] * doublings + [3]:  # 4×4 halves an even size exactly, 3×3 an odd one upward: 7 → 4
            convolution = nn.Conv2d(channels, 2 * channels, kernel, stride=2, padding=1)
            layers += [constrained(norm, convolution), norm2d(norm, 2 * channels), nn.LeakyReLU(0.2)]
            channels *= 2
        self.layers = nn.Sequential(*layers)
        self.score = constrained(norm, nn.Linear(channels * (-(-base // 2)) ** 2, 1))

    def forward(self, images: Tensor, label: Tensor | None = None) -> Verdict:
        features = self.layers(images).flatten(1)
        return Verdict(score=self.score(features).squeeze(1), features=features)


def build(config: Config, shape: tuple[int, int, int], classes: int = 0) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W). Labels are not used."""
    return {"generator": Generator(config, shape), "discriminator": Discriminator(config, shape)}

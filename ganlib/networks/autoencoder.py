"""The discriminator is an autoencoder, and its score an energy: what it fails to reconstruct.

EBGAN, Zhao et al. 2017, arXiv:1609.03126, and BEGAN, Berthelot et al. 2017, arXiv:1703.10717. Low energy means real.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from ganlib.condition import NOTHING, Condition
from ganlib.config import require, within
from ganlib.layers import players
from ganlib.layers.norms import MIXING, Norm
from ganlib.layers.priors import Prior
from ganlib.networks import mlp, subpixel
from ganlib.verdict import Verdict


@dataclass(frozen=True)
class Config:
    body: Literal["subpixel", "mlp"] = "subpixel"  # the family whose layers these players are made of
    width: int = 32  # subpixel: channels at half the image's size; mlp: units of each hidden layer
    depth: int = 3  # mlp alone: hidden layers of the generator, the encoder and the decoder
    latent: int = 64
    hidden: int = 64  # length of the code between encoder and decoder
    error: Literal["l1", "l2"] = "l1"  # mean absolute error of a pixel (BEGAN); Euclidean length of the error (EBGAN)
    prior: Prior = "normal"
    generator_norm: Norm = "none"
    discriminator_norm: Norm = "none"  # of encoder and decoder

    def __post_init__(self) -> None:
        within(self, 1, 65_536, "width", "latent", "hidden")
        within(self, 1, 1_000, "depth")
        for name in ("generator_norm", "discriminator_norm"):
            norm = getattr(self, name)
            require(norm == "none" or self.body != "mlp", f"{name}: the layers of mlp have no norms; write none")
            require(norm != "spectral", f"{name}: an autoencoder has no spectral norm; write none, or group")
        require(self.discriminator_norm != "virtual", "discriminator_norm: virtual is for dcgan and subpixel; write "
                "group, under which each image is judged by itself too")


class Discriminator(nn.Module):
    """Images (N, C, H, W) in [−1, 1] → reconstruction errors (N,), and the codes (N, hidden)."""

    energy, told, classes = True, NOTHING, 0

    def __init__(self, config: Config, encoder: nn.Module, features: int, decoder: players.Generator):
        super().__init__()
        self.error = config.error
        self.mixes_batch = config.discriminator_norm in MIXING
        self.own_gradients = not self.mixes_batch
        self.encoder = nn.Sequential(encoder, nn.Flatten(), nn.Linear(features, config.hidden))
        self.decoder = decoder

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Verdict:
        code = self.encoder(images)
        error = (images - self.decoder(code)).flatten(1).float()
        # Without the small number, the length of a perfect reconstruction's error would have no finite derivative.
        energy = error.abs().mean(1) if self.error == "l1" else (error.square().sum(1) + 1e-12).sqrt()
        return Verdict(energy, features=code, embedding=code)


def build(config: Config, shape: tuple[int, int, int], condition: Condition = NOTHING) -> dict[str, nn.Module]:
    """One network per role, for images of `shape` (C, H, W). The decoder has the architecture of the generator. Labels
    are not used."""
    encoder: nn.Module
    if config.body == "mlp":
        flat = mlp.Config(latent=config.latent, prior=config.prior, width=config.width, depth=config.depth)
        generator: players.Generator = mlp.Generator(flat, shape)
        encoder = nn.Sequential(nn.Flatten(), mlp.hidden(math.prod(shape), flat))
        features = config.width
        decoder: players.Generator = mlp.Generator(replace(flat, latent=config.hidden, prior="normal"), shape)
    else:
        body = subpixel.Config(latent=config.latent, prior=config.prior, width=config.width,
                               generator_norm=config.generator_norm, discriminator_norm=config.discriminator_norm)
        generator = subpixel.Generator(body, shape)
        encoder, features = subpixel.encoder(body, shape[0], shape)
        decoding = replace(body, latent=config.hidden, prior="normal", generator_norm=config.discriminator_norm)
        decoder = subpixel.Generator(decoding, shape)
    return {"generator": generator, "discriminator": Discriminator(config, encoder, features, decoder)}

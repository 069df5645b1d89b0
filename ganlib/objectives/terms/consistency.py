"""Consistency regularisation: small changes of an image, or of a latent, shall not change the score.

CR: Zhang et al. 2020, arXiv:1910.12027. bCR, zCR and both together, ICR: Zhao et al. 2021, arXiv:2002.04724.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ganlib.augmentations.resample import at
from ganlib.config import require
from ganlib.objectives.augmented import Side, looking_at
from ganlib.objectives.base import Fakes, Noise
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    real: float = 10.0  # λ of CR
    fake: float = 0.0  # λ of the fakes as well: bCR, 10
    latent: float = 0.0  # λ_dis of zCR, 20
    latent_generator: float = 0.0  # λ_gen of zCR, 0.5
    radius: float = 0.05  # σ of the noise on the latents of zCR
    shift: int = 4  # largest translation, in pixels
    flip: bool = True  # left to right, too

    def __post_init__(self) -> None:
        for name in ("real", "fake", "latent", "latent_generator"):
            require(getattr(self, name) >= 0, f"{name}: must not be negative, got {getattr(self, name):g}")
        require(self.real + self.fake + self.latent > 0, "real, fake, latent: one at least must be above 0")
        require(self.radius > 0, f"radius: must be above 0, got {self.radius:g}")
        require(self.shift >= 0, f"shift: must not be negative, got {self.shift}")


def jitter(images: Tensor, noise: Noise, shift: int, flips: bool = True) -> Tensor:
    """Each image (N, C, H, W) flipped left to right or not, moved by up to `shift` pixels, mirrored at the edges."""
    height, width = images.shape[2:]
    shift = min(shift, height - 1, width - 1)
    flip = (noise.uniform(1, 1, 1) < 0.5) & flips
    padded = pad(torch.where(flip, images.flip(3), images), (shift,) * 4, mode="reflect")
    top, left = (noise.integers(2 * shift + 1)[:, None] for _ in range(2))
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    return at(padded, *torch.broadcast_tensors(rows[:, :, None], columns[:, None, :]))


class Consistency(Term):
    """λ_real E|D(x) − D(T(x))|² + λ_fake E|D(G(z)) − D(T(G(z)))|² + λ_dis E|D(G(z)) − D(G(z + Δ))|² for the
    discriminator, −λ_gen E|G(z) − G(z + Δ)|² for the generator; T is `jitter`, Δ normal noise. Behind an augmentation
    A, D(A(x)) is compared with D(A(T(x))) under one draw of A."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def discriminator(self, move: Move) -> Tensor:
        config, batch, fakes = self.config, move.batch, move.fakes
        loss = torch.zeros((), device=batch.real.device)
        if config.real:
            changed = jitter(batch.real, batch.noise, config.shift, config.flip)
            loss = loss + config.real * _squared_difference(move, "real", changed, batch.condition)
        if config.fake:
            changed = jitter(fakes.images, batch.noise, config.shift, config.flip)
            loss = loss + config.fake * _squared_difference(move, "fake", changed, fakes.condition)
        if config.latent:
            with torch.no_grad():
                near = self._neighbours(move)
            loss = loss + config.latent * _squared_difference(move, "fake", near, fakes.condition)
        return loss

    def generator(self, move: Move) -> Tensor | None:
        if not self.config.latent_generator:
            return None
        difference = (move.fakes.images - self._neighbours(move)).float()
        return -self.config.latent_generator * difference.square().mean()

    def _neighbours(self, move: Move) -> Tensor:
        fakes: Fakes = move.fakes
        noise = move.batch.noise.normal(fakes.z.shape[1])
        return move.networks["generator"](fakes.z + self.config.radius * noise, fakes.condition)


def _squared_difference(move: Move, side: Side, changed: Tensor, condition: Tensor | None) -> Tensor:
    before = move.real if side == "real" else move.fake
    assert before is not None
    after = looking_at(move.networks["discriminator"], side)(changed, condition)
    return (after.score.float() - before.score.float()).square().mean()


def build(config: Config) -> Consistency:
    return Consistency(config)

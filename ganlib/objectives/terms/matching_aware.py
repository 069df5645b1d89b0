"""A real image with a wrong condition is a fake. GAN-CLS: Reed et al. 2016, arXiv:1605.05396, sec. 4.2."""

from dataclasses import dataclass

from torch import Tensor

from ganlib import collectives
from ganlib.config import ConfigError, require
from ganlib.objectives.base import Networks
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    weight: float = 0.5  # the share of the negatives that are real images with a wrong condition

    def __post_init__(self) -> None:
        require(0 < self.weight < 1, f"weight: must lie between 0 and 1, got {self.weight:g}; the paper takes 0.5")


class MatchingAware(Term):
    """(1 − w) ℓ(D(x, y), D(G(z), y)) + w ℓ(D(x, y), D(x, ŷ)) in place of ℓ(D(x, y), D(G(z), y)): with w = ½ and a loss
    of separate terms that is algorithm 1: real + ½(wrong + fake). A wrong class ŷ is uniform over the others; a wrong
    text, or image, is that of the next sample of the global batch."""

    def __init__(self, config: Config):
        super().__init__()
        self.weight = config.weight

    def discriminator(self, move: Move) -> Tensor:
        discriminator, batch = move.networks["discriminator"], move.batch
        assert move.real is not None and batch.condition is not None
        mismatched = discriminator(batch.real, self._wrong(move, batch.condition)).score.float()
        real, fake = move.real.score.float(), move.fake.score.float()
        return self.weight * (move.adversarial(real, mismatched) - move.adversarial(real, fake)).mean()

    def _wrong(self, move: Move, right: Tensor) -> Tensor:
        if classes := move.networks["generator"].classes:
            return (right + 1 + move.batch.noise.integers(classes - 1)) % classes
        first, count = collectives.rank() * len(right), len(right)
        return collectives.gather(right).roll(-1, 0)[first : first + count]

    def check(self, networks: Networks) -> None:
        generator, discriminator = networks["generator"], networks["discriminator"]
        if not (discriminator.told and generator.told) or generator.classes == 1:
            raise ConfigError("objective.terms.matching_aware: both players must be told the class, one of two or "
                              "more, or the text; set networks.conditioning=concat or projection")


def build(config: Config) -> MatchingAware:
    return MatchingAware(config)

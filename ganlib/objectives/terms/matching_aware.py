"""A real image with a wrong label is a fake. GAN-CLS: Reed et al. 2016, arXiv:1605.05396, sec. 4.2."""

from dataclasses import dataclass

from torch import Tensor

from ganlib.config import ConfigError, require
from ganlib.objectives.base import Networks
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    weight: float = 0.5  # the share of the negatives that are real images with a wrong label

    def __post_init__(self) -> None:
        require(0 < self.weight < 1, f"weight: must lie between 0 and 1, got {self.weight:g}; the paper takes 0.5")


class MatchingAware(Term):
    """(1 − w) ℓ(D(x, y), D(G(z), y)) + w ℓ(D(x, y), D(x, ŷ)) in place of ℓ(D(x, y), D(G(z), y)): with w = ½ and a loss
    of separate terms that is algorithm 1: real + ½(wrong + fake). The wrong label ŷ is uniform over the others."""

    def __init__(self, config: Config):
        super().__init__()
        self.weight = config.weight

    def discriminator(self, move: Move) -> Tensor:
        discriminator, batch = move.networks["discriminator"], move.batch
        assert move.real is not None and batch.label is not None
        classes = move.networks["generator"].classes
        wrong = (batch.label + 1 + batch.noise.integers(classes - 1)) % classes
        mismatched = discriminator(batch.real, wrong).score.float()
        real, fake = move.real.score.float(), move.fake.score.float()
        return self.weight * (move.adversarial(real, mismatched) - move.adversarial(real, fake)).mean()

    def check(self, networks: Networks) -> None:
        if not networks["discriminator"].told_labels or networks["generator"].classes < 2:
            raise ConfigError("objective.terms.matching_aware: both players must be told the label, one of two or "
                              "more; set networks.conditioning=concat or projection")


def build(config: Config) -> MatchingAware:
    return MatchingAware(config)

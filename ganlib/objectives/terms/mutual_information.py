"""Codes that can be read off the images. InfoGAN: Chen et al. 2016, arXiv:1606.03657, sec. 5."""

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from ganlib.config import ConfigError, require
from ganlib.objectives.base import Networks
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    categorical: float = 1.0  # λ of the categorical code
    continuous: float = 0.1  # λ of the continuous codes

    def __post_init__(self) -> None:
        for name in ("categorical", "continuous"):
            require(getattr(self, name) >= 0, f"{name}: must not be negative, got {getattr(self, name):g}")
        require(self.categorical + self.continuous > 0, "categorical, continuous: one at least must be above 0")


class MutualInformation(Term):
    """−λ L_I, with the lower bound L_I = E log Q(c | G(z, c)) + H(c) ≤ I(c; G(z, c)) (eq. 5), less its constant: the
    cross entropy of the categorical code, and ½(c − μ)² for continuous ones, whose Q is a normal of variance 1. Both
    players lower it, since Q is a head on the discriminator's trunk. What is logged is L_I of the categorical code, in
    nats: log K when it can be read off without fail."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def discriminator(self, move: Move) -> Tensor:
        return self._negative_bound(move)

    def generator(self, move: Move) -> Tensor:
        return self._negative_bound(move)

    def _negative_bound(self, move: Move) -> Tensor:
        generator = move.networks["generator"]
        assert move.fake.label is not None and move.fakes.condition is not None
        categorical = cross_entropy(move.fake.label.float(), move.fakes.condition)
        move.stats["mutual_information"] = math.log(generator.classes) - categorical.detach()
        loss = self.config.categorical * categorical
        if move.fake.posterior is not None and move.fake.posterior.shape[1]:
            error = generator.code(move.fakes.z) - move.fake.posterior.float()
            loss = loss + self.config.continuous * 0.5 * error.square().sum(1).mean()
        return loss

    def check(self, networks: Networks) -> None:
        if not networks["generator"].labels_are_codes:
            raise ConfigError("objective.terms.mutual_information: there are no codes to tell; "
                              "set networks.conditioning=code")


def build(config: Config) -> MutualInformation:
    return MutualInformation(config)

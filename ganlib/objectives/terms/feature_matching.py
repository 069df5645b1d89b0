"""Feature matching: fakes shall have the mean features of reals. Salimans et al. 2016, arXiv:1606.03498, sec. 3.1."""

from dataclasses import dataclass

from torch import Tensor

from ganlib import collectives
from ganlib.config import ConfigError, require
from ganlib.objectives.base import Networks
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(self.weight > 0, f"weight: must be above 0, got {self.weight:g}")


class FeatureMatching(Term):
    """mean |E f(x) − E f(G(z))| over the features f before the discriminator's last layer: the distance of the authors'
    code; the paper writes the squared one, whose scale grows with the number of features."""

    needs_real = True

    def __init__(self, config: Config):
        super().__init__()
        self.weight = config.weight

    def generator(self, move: Move) -> Tensor:
        assert move.real is not None and move.real.features is not None and move.fake.features is not None
        real = collectives.gather(move.real.features.float()).mean(0)
        fake = collectives.gather(move.fake.features.float()).mean(0)
        return self.weight * (real - fake).abs().mean()

    def check(self, networks: Networks) -> None:
        if networks["discriminator"].energy:
            raise ConfigError("objective.terms.feature_matching: an autoencoder has no features to match; "
                              "take networks=dcgan, subpixel or mlp")


def build(config: Config) -> FeatureMatching:
    return FeatureMatching(config)

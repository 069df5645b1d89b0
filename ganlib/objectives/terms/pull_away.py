"""The pull-away term of EBGAN: fakes shall not look alike to the encoder. Zhao et al. 2017, arXiv:1609.03126, eq. 4."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import normalize

from ganlib import collectives
from ganlib.config import ConfigError, require
from ganlib.objectives.base import Networks
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    weight: float = 0.1

    def __post_init__(self) -> None:
        require(self.weight > 0, f"weight: must be above 0, got {self.weight:g}; the paper takes 0.1")


def pull_away(codes: Tensor) -> Tensor:
    """1/(N(N − 1)) Σ_{i≠j} cos²(s_i, s_j) of the codes s (N, F): 0 if orthogonal, 1 if equal. ()."""
    directions = normalize(codes)
    squared = (directions @ directions.T).square()
    count = len(codes)
    return (squared.sum() - squared.diagonal().sum()) / (count * (count - 1))


class PullAway(Term):
    """Weight × `pull_away` of the codes of the generated batch, in the generator's loss."""

    def __init__(self, config: Config):
        super().__init__()
        self.weight = config.weight

    def generator(self, move: Move) -> Tensor:
        assert move.fake.embedding is not None
        return self.weight * pull_away(collectives.gather(move.fake.embedding.float()))

    def check(self, networks: Networks) -> None:
        if not networks["discriminator"].energy:
            raise ConfigError("objective.terms.pull_away: this discriminator has no encoder; set networks=autoencoder")


def build(config: Config) -> PullAway:
    return PullAway(config)

"""The class of each image, told by the discriminator. AC-GAN: Odena et al. 2017, arXiv:1610.09585, eq. 2 and 3."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from ganlib.config import ConfigError, require
from ganlib.objectives.base import Networks
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    weight: float = 1.0  # of L_C in the discriminator's loss; the authors of WGAN-GP take 1 for a critic
    generator_weight: float = 1.0  # of L_C in the generator's loss; theirs is 0.1

    def __post_init__(self) -> None:
        for name in ("weight", "generator_weight"):
            require(getattr(self, name) > 0, f"{name}: must be above 0, got {getattr(self, name):g}")


class AuxiliaryClassifier(Term):
    """L_C = −E log P(c | x) − E log P(c | G(z, c)): both players lower it, the generator its own half."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def discriminator(self, move: Move) -> Tensor:
        assert move.real is not None and move.real.label is not None and move.batch.condition is not None
        on_real = cross_entropy(move.real.label.float(), move.batch.condition)
        right = (move.real.label.detach().argmax(1) == move.batch.condition).float().mean()
        move.stats["D/real_accuracy"] = right
        return self.config.weight * (on_real + _on_fakes(move))

    def generator(self, move: Move) -> Tensor:
        return self.config.generator_weight * _on_fakes(move)

    def check(self, networks: Networks) -> None:
        generator, discriminator = networks["generator"], networks["discriminator"]
        if generator.labels_are_codes or not 0 < generator.classes == discriminator.classes:
            raise ConfigError("objective.terms.auxiliary_classifier: the generator must be told the class and the "
                              "discriminator tell it; set networks.conditioning=classifier")


def _on_fakes(move: Move) -> Tensor:
    assert move.fake.label is not None and move.fakes.condition is not None
    return cross_entropy(move.fake.label.float(), move.fakes.condition)


def build(config: Config) -> AuxiliaryClassifier:
    return AuxiliaryClassifier(config)

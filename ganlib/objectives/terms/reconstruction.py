"""What is drawn shall be the real image of the pair. pix2pix: Isola et al. 2017, arXiv:1611.07004, eq. 3."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ganlib.config import ConfigError, require
from ganlib.objectives.base import Networks
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    weight: float = 100.0  # λ, of the mean over pixels and channels of images in [−1, 1]
    distance: Literal["l1", "l2"] = "l1"  # l2: the mean square, which blurs more

    def __post_init__(self) -> None:
        require(self.weight > 0, f"weight: must be above 0, got {self.weight:g}; the paper takes 100")


class Reconstruction(Term):
    """λ E‖x − G(y, z)‖₁, of the generator alone."""

    needs_verdict = False

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def generator(self, move: Move) -> Tensor:
        difference = move.fakes.images.float() - move.batch.real.float()
        error = difference.abs() if self.config.distance == "l1" else difference.square()
        return self.config.weight * error.mean()

    def check(self, networks: Networks) -> None:
        told = networks["generator"].told
        if told.kind != "image":
            raise ConfigError("objective.terms.reconstruction: only of an image that it is told can a generator know "
                              "what to draw; take networks=unet and data of pairs: dataset=openmoji or pairs")
        if not told.paired:
            raise ConfigError("objective.terms.reconstruction: this data is not paired, and the answer to an image is "
                              "not known; take objective=cyclegan, or data of pairs")


def build(config: Config) -> Reconstruction:
    return Reconstruction(config)

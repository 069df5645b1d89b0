"""What every network family lets one choose."""

from dataclasses import dataclass
from typing import Literal

from ganlib.condition import NOTHING, Condition, of_classes
from ganlib.config import require, within
from ganlib.layers.minibatch import Minibatch
from ganlib.layers.priors import Prior

# Who is told what of a class, or of a text, from the paper that each name stands for:
#   concat      both players, at their inputs: CGAN, Mirza & Osindero 2014, arXiv:1411.1784
#   projection  both, the generator by conditional normalisation, the discriminator by an inner product: Miyato & Koyama
#               2018, arXiv:1802.05637
#   classifier  the generator; the discriminator says the label: AC-GAN, Odena et al. 2017, arXiv:1610.09585
#   code        the generator, of labels of its own making; the discriminator says them: InfoGAN, Chen et al. 2016,
#               arXiv:1606.03657
#   classes     nobody; the discriminator says the label, or "generated": Salimans et al. 2016, arXiv:1606.03498, sec. 5
Conditioning = Literal["none", "concat", "projection", "classifier", "code", "classes"]


@dataclass(frozen=True)
class Options:
    """The base of a family's configuration."""

    latent: int = 100  # length of z, the continuous codes included
    prior: Prior = "normal"
    conditioning: Conditioning = "none"
    code_classes: int = 10  # conditioning=code: values of the categorical code
    code_continuous: int = 2  # conditioning=code: continuous codes, the last components of z
    minibatch: Minibatch = "none"  # what the discriminator sees of the rest of its batch
    kernels: int = 100  # minibatch=discrimination: its B, most of its cost

    def __post_init__(self) -> None:
        within(self, 1, 65_536, "latent", "kernels")
        within(self, 2, 65_536, "code_classes")
        within(self, 0, 65_536, "code_continuous")
        if self.conditioning == "code":
            require(self.latent > self.code_continuous, f"code_continuous: {self.code_continuous} codes leave no noise "
                    f"in a latent of {self.latent}; write latent={self.code_continuous + 62}")

    def told(self, condition: Condition) -> Condition:
        """What is told, or guessed, on data that comes with this condition."""
        match self.conditioning:
            case "none":
                return NOTHING
            case "code":
                return of_classes(self.code_classes)
            case name:
                require(bool(condition), f"networks.conditioning: {name} needs labels, and this data has none; write "
                        "none, or code, which makes labels of its own")
                require(condition.kind != "image", f"networks.conditioning: {name} is for classes and texts, and this "
                        "data tells images; take networks=unet or resnet, or write none")
                require(condition.kind == "class" or name in ("concat", "projection"), f"networks.conditioning: {name} "
                        "is for classes, and this data tells texts; write concat or projection")
                return condition

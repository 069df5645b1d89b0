"""The distribution of the latents. What a generator is given is always standard normal; its first layer maps it."""

import math
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize
from torch.special import ndtr

Prior = Literal["normal", "uniform", "sphere"]


def uniform(z: Tensor) -> Tensor:
    """Standard normal → uniform on [−1, 1]: 2Φ(z) − 1."""
    return 2 * ndtr(z) - 1


def sphere(z: Tensor) -> Tensor:
    """Standard normal (N, d) → uniform on the sphere of radius √d, where the normal distribution has its mass (White
    2016, arXiv:1609.04468; Karras et al. 2018, arXiv:1710.10196)."""
    return math.sqrt(z.shape[1]) * normalize(z)


PRIORS = {"normal": lambda z: z, "uniform": uniform, "sphere": sphere}

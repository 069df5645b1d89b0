"""What a discriminator says of a batch."""

from typing import NamedTuple

from torch import Tensor


class Verdict(NamedTuple):
    """The outputs of a discriminator for N images; the objective says which of them it reads."""

    score: Tensor  # (N,) or (N, 1, h, w): logit, critic value or energy
    label: Tensor | None = None  # (N, classes) logits
    code: Tensor | None = None  # posterior parameters (InfoGAN), embedding (EBGAN)
    features: Tensor | None = None  # penultimate activations (feature matching)

"""What a discriminator says of a batch."""

from typing import NamedTuple

from torch import Tensor


class Verdict(NamedTuple):
    """The outputs of a discriminator for N images; the objective says which of them it reads."""

    score: Tensor  # (N,) or (N, 1, h, w): logit, critic value or energy
    label: Tensor | None = None  # (N, classes) logits
    posterior: Tensor | None = None  # (N, continuous): means of the continuous codes (InfoGAN)
    features: Tensor | None = None  # (N, F): penultimate activations (feature matching)
    embedding: Tensor | None = None  # (N, hidden): what an autoencoder's code is (EBGAN)

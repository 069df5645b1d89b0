"""Adversarial losses: pairs of pure functions of scores, one value per sample; the caller reduces.

`<loss>.discriminator(real_score, fake_score)` and `<loss>.generator(fake_score)` are to be minimised. Scores are raw
outputs of the discriminator (logits or critic values), of shape (N,), or (N, 1, h, w) from a discriminator that judges
patches: the loss of a sample is then the mean over its patches. Scores of unequal shapes are refused, since
broadcasting (N, 1) against (N,) would silently compare every sample with every other.

sp(t) = log(1 + eᵗ) below, so that sp(−D) = −log σ(D) and sp(D) = −log(1 − σ(D)).
"""

from typing import Any

from torch import Tensor
from torch.nn.functional import relu, softplus


def per_sample(value: Tensor) -> Tensor:
    """(N,) or (N, ...) → (N,): mean over all but the first dimension."""
    return value.flatten(1).mean(1) if value.ndim > 1 else value


def _same_shape(real_score: Tensor, fake_score: Tensor) -> None:
    if real_score.shape != fake_score.shape:
        raise ValueError(
            f"real scores {tuple(real_score.shape)} and fake scores {tuple(fake_score.shape)} must have one shape; "
            "drop the last dimension of (N, 1) scores with .squeeze(1)"
        )


class minimax:
    """min_G max_D E log σ(D(x)) + E log(1 − σ(D(G(z)))). Goodfellow et al. 2014, arXiv:1406.2661, eq. 1."""

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor, real_target: float = 1.0) -> Tensor:
        """t·sp(−D(x)) + (1 − t)·sp(D(x)) + sp(D(G)); t = `real_target`, below 1 for one-sided label smoothing
        (Salimans et al. 2016, arXiv:1606.03498, sec. 3.4)."""
        _same_shape(real_score, fake_score)
        real = real_target * softplus(-real_score) + (1 - real_target) * softplus(real_score)
        return per_sample(real + softplus(fake_score))

    @staticmethod
    def generator(fake_score: Tensor) -> Tensor:
        """log(1 − σ(D(G))) = −sp(D(G)): saturates where the discriminator is sure."""
        return per_sample(-softplus(fake_score))


class non_saturating:
    """The discriminator of `minimax`; the generator maximises log σ(D(G(z))). Goodfellow et al. 2014, sec. 3."""

    discriminator = minimax.discriminator

    @staticmethod
    def generator(fake_score: Tensor) -> Tensor:
        """−log σ(D(G)) = sp(−D(G))."""
        return per_sample(softplus(-fake_score))


class least_squares:
    """Mao et al. 2017, arXiv:1611.04076, eq. 9: targets a = 0 for fakes, b = c = 1 for reals."""

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor, real_target: float = 1.0) -> Tensor:
        """½(D(x) − t)² + ½D(G)²."""
        _same_shape(real_score, fake_score)
        return per_sample(0.5 * (real_score - real_target).square() + 0.5 * fake_score.square())

    @staticmethod
    def generator(fake_score: Tensor) -> Tensor:
        """½(D(G) − 1)²."""
        return per_sample(0.5 * (fake_score - 1).square())


class wasserstein:
    """The dual of the earth mover's distance, for a critic kept 1-Lipschitz by clipping or a gradient penalty.
    Arjovsky et al. 2017, arXiv:1701.07875, eq. 2."""

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor) -> Tensor:
        """D(G) − D(x)."""
        _same_shape(real_score, fake_score)
        return per_sample(fake_score - real_score)

    @staticmethod
    def generator(fake_score: Tensor) -> Tensor:
        """−D(G)."""
        return per_sample(-fake_score)


class hinge:
    """Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eq. 16 and 17."""

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor) -> Tensor:
        """max(0, 1 − D(x)) + max(0, 1 + D(G))."""
        _same_shape(real_score, fake_score)
        return per_sample(relu(1 - real_score) + relu(1 + fake_score))

    generator = wasserstein.generator


LOSSES: dict[str, Any] = {loss.__name__: loss for loss in (minimax, non_saturating, least_squares, wasserstein, hinge)}

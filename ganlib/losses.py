"""Adversarial losses: pairs of pure functions of scores, one value per sample; the caller reduces.

`<loss>.discriminator(real_score, fake_score)` and `<loss>.generator(fake_score, real_score)` are to be minimised;
further arguments are the loss's own hyper-parameters. Only the relativistic losses need the generator's `real_score`.
Scores are raw outputs of the discriminator (logits, critic values, or energies, which are low for reals), of shape
(N,), or (N, 1, h, w) from a discriminator that judges patches: the loss of a sample is then the mean over its patches.
Scores of unequal shapes are refused, since broadcasting (N, 1) against (N,) would silently compare every sample with
every other.

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

    sign_tells = True  # reals from fakes: a score above 0 means real

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor, real_target: float = 1.0) -> Tensor:
        """t·sp(−D(x)) + (1 − t)·sp(D(x)) + sp(D(G)); t = `real_target`, below 1 for one-sided label smoothing
        (Salimans et al. 2016, arXiv:1606.03498, sec. 3.4)."""
        _same_shape(real_score, fake_score)
        real = real_target * softplus(-real_score) + (1 - real_target) * softplus(real_score)
        return per_sample(real + softplus(fake_score))

    @staticmethod
    def generator(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
        """log(1 − σ(D(G))) = −sp(D(G)): saturates where the discriminator is sure."""
        return per_sample(-softplus(fake_score))


class non_saturating:
    """The discriminator of `minimax`; the generator maximises log σ(D(G(z))). Goodfellow et al. 2014, sec. 3."""

    sign_tells = True
    discriminator = minimax.discriminator

    @staticmethod
    def generator(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
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
    def generator(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
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
    def generator(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
        """−D(G)."""
        return per_sample(-fake_score)


class hinge:
    """Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eq. 16 and 17."""

    sign_tells = True

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor) -> Tensor:
        """max(0, 1 − D(x)) + max(0, 1 + D(G))."""
        _same_shape(real_score, fake_score)
        return per_sample(relu(1 - real_score) + relu(1 + fake_score))

    generator = wasserstein.generator


class relativistic_paired:
    """Reals and fakes judged in pairs, as drawn: RGAN of Jolicoeur-Martineau 2018, arXiv:1807.00734; with R1 and R2 the
    game of R3GAN, Huang et al. 2025, arXiv:2501.05441."""

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor) -> Tensor:
        """sp(−(D(x) − D(G)))."""
        _same_shape(real_score, fake_score)
        return per_sample(softplus(fake_score - real_score))

    @staticmethod
    def generator(fake_score: Tensor, real_score: Tensor) -> Tensor:
        """sp(−(D(G) − D(x)))."""
        return relativistic_paired.discriminator(fake_score, real_score)


class relativistic_average:
    """Each side judged against the mean score of the other: RaGAN of Jolicoeur-Martineau 2018, arXiv:1807.00734. The
    means are taken over the scores that are given: for a batch that is spread over workers, give all of it."""

    mixes_batch = True

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor) -> Tensor:
        """sp(−(D(x) − mean D(G))) + sp(D(G) − mean D(x))."""
        _same_shape(real_score, fake_score)
        return per_sample(softplus(fake_score.mean() - real_score) + softplus(fake_score - real_score.mean()))

    @staticmethod
    def generator(fake_score: Tensor, real_score: Tensor) -> Tensor:
        """sp(−(D(G) − mean D(x))) + sp(D(x) − mean D(G))."""
        return relativistic_average.discriminator(fake_score, real_score)


class energy_margin:
    """The discriminator is an energy, low where the data are. EBGAN, Zhao et al. 2017, arXiv:1609.03126, eq. 1, 2."""

    energy = True

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor, margin: float = 10.0) -> Tensor:
        """D(x) + max(0, m − D(G)): fakes need no more energy than the `margin` m > 0."""
        _same_shape(real_score, fake_score)
        return per_sample(real_score + relu(margin - fake_score))

    @staticmethod
    def generator(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
        """D(G)."""
        return per_sample(fake_score)


class boundary_equilibrium:
    """The scores are reconstruction errors L. BEGAN, Berthelot et al. 2017, arXiv:1703.10717, sec. 3.4."""

    energy = True

    @staticmethod
    def discriminator(real_score: Tensor, fake_score: Tensor, k: Tensor | float = 0.0) -> Tensor:
        """L(x) − k·L(G): how much the discriminator cares to tell fakes apart, `k` in [0, 1], is the game's state."""
        _same_shape(real_score, fake_score)
        return per_sample(real_score - k * fake_score)

    generator = energy_margin.generator


LOSSES: dict[str, Any] = {
    loss.__name__: loss
    for loss in (minimax, non_saturating, least_squares, wasserstein, hinge, relativistic_paired, relativistic_average,
                 energy_margin, boundary_equilibrium)
}  # fmt: skip

"""Adversarial losses: pairs of pure functions of scores, one value per sample; the caller reduces.

`LOSSES[name].discriminator(real_score, fake_score)` and `.generator(fake_score, real_score)` are to be minimised;
further arguments are the loss's own hyper-parameters, its `options`. Scores are raw outputs of the discriminator
(logits, critic values, or energies, which are low for reals), of shape (N,), or (N, 1, h, w) from a discriminator that
judges patches: the loss of a sample is then the mean over its patches. Scores of unequal shapes are refused, since
broadcasting (N, 1) against (N,) would silently compare every sample with every other.

sp(t) = log(1 + eᵗ) below, so that sp(−D) = −log σ(D) and sp(D) = −log(1 − σ(D)).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class Loss:
    """An adversarial loss: what each player minimises, and what a game must know of it."""

    discriminator: Callable[..., Tensor]  # (real_score, fake_score, **options) → (N,)
    generator: Callable[..., Tensor]  # (fake_score, real_score) → (N,); the latter is None unless it `needs_real`
    options: tuple[str, ...] = ()  # the discriminator's further arguments
    needs_real: bool = False  # the generator's loss is one of both scores
    sign_tells: bool = False  # reals from fakes: a score above 0 means real
    energy: bool = False  # scores are low where the data are
    couples_samples: bool = False  # a sample's loss depends on the others: for a batch spread over workers, give all


def per_sample(value: Tensor) -> Tensor:
    """(N,) or (N, ...) → (N,): mean over all but the first dimension."""
    return value.flatten(1).mean(1) if value.ndim > 1 else value


def _same_shape(real_score: Tensor, fake_score: Tensor) -> None:
    if real_score.shape != fake_score.shape:
        raise ValueError(
            f"real scores {tuple(real_score.shape)} and fake scores {tuple(fake_score.shape)} must have one shape; "
            "drop the last dimension of (N, 1) scores with .squeeze(1)"
        )


def cross_entropy(real_score: Tensor, fake_score: Tensor, real_target: float = 1.0) -> Tensor:
    """t·sp(−D(x)) + (1 − t)·sp(D(x)) + sp(D(G)); t = `real_target`, below 1 for one-sided label smoothing
    (Salimans et al. 2016, arXiv:1606.03498, sec. 3.4)."""
    _same_shape(real_score, fake_score)
    real = real_target * softplus(-real_score) + (1 - real_target) * softplus(real_score)
    return per_sample(real + softplus(fake_score))


def saturating(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
    """log(1 − σ(D(G))) = −sp(D(G)): saturates where the discriminator is sure."""
    return per_sample(-softplus(fake_score))


def log_trick(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
    """−log σ(D(G)) = sp(−D(G))."""
    return per_sample(softplus(-fake_score))


def squares(real_score: Tensor, fake_score: Tensor, real_target: float = 1.0) -> Tensor:
    """½(D(x) − t)² + ½D(G)²."""
    _same_shape(real_score, fake_score)
    return per_sample(0.5 * (real_score - real_target).square() + 0.5 * fake_score.square())


def square_to_one(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
    """½(D(G) − 1)²."""
    return per_sample(0.5 * (fake_score - 1).square())


def difference(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """D(G) − D(x)."""
    _same_shape(real_score, fake_score)
    return per_sample(fake_score - real_score)


def lower(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
    """−D(G)."""
    return per_sample(-fake_score)


def hinges(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """max(0, 1 − D(x)) + max(0, 1 + D(G))."""
    _same_shape(real_score, fake_score)
    return per_sample(relu(1 - real_score) + relu(1 + fake_score))


def paired(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """sp(−(D(x) − D(G)))."""
    _same_shape(real_score, fake_score)
    return per_sample(softplus(fake_score - real_score))


def averaged(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """sp(−(D(x) − mean D(G))) + sp(D(G) − mean D(x)), the means being those of the scores that are given."""
    _same_shape(real_score, fake_score)
    return per_sample(softplus(fake_score.mean() - real_score) + softplus(fake_score - real_score.mean()))


def above_margin(real_score: Tensor, fake_score: Tensor, margin: float = 10.0) -> Tensor:
    """D(x) + max(0, m − D(G)): fakes need no more energy than the `margin` m > 0."""
    _same_shape(real_score, fake_score)
    return per_sample(real_score + relu(margin - fake_score))


def equilibrium(real_score: Tensor, fake_score: Tensor, k: Tensor | float = 0.0) -> Tensor:
    """L(x) − k·L(G): how much the discriminator cares to tell fakes apart, `k` in [0, 1], is the game's state."""
    _same_shape(real_score, fake_score)
    return per_sample(real_score - k * fake_score)


def energy_of_fakes(fake_score: Tensor, real_score: Tensor | None = None) -> Tensor:
    """D(G)."""
    return per_sample(fake_score)


def swapped(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The generator's loss where it is the discriminator's with reals and fakes in each other's place."""
    return lambda fake_score, real_score: loss(fake_score, real_score)


LOSSES: dict[str, Loss] = {
    # min_G max_D E log σ(D(x)) + E log(1 − σ(D(G(z)))). Goodfellow et al. 2014, arXiv:1406.2661, eq. 1
    "minimax": Loss(cross_entropy, saturating, options=("real_target",), sign_tells=True),
    # The generator maximises log σ(D(G(z))). Goodfellow et al. 2014, sec. 3
    "non_saturating": Loss(cross_entropy, log_trick, options=("real_target",), sign_tells=True),
    # Mao et al. 2017, arXiv:1611.04076, eq. 9: targets a = 0 for fakes, b = c = 1 for reals
    "least_squares": Loss(squares, square_to_one, options=("real_target",)),
    # The dual of the earth mover's distance, for a critic kept 1-Lipschitz by clipping or a gradient penalty:
    # Arjovsky et al. 2017, arXiv:1701.07875, eq. 2
    "wasserstein": Loss(difference, lower),
    # Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eq. 16 and 17
    "hinge": Loss(hinges, lower, sign_tells=True),
    # Reals and fakes judged in pairs, as drawn: RGAN of Jolicoeur-Martineau 2018, arXiv:1807.00734; with R1 and R2 the
    # game of R3GAN, Huang et al. 2025, arXiv:2501.05441
    "relativistic_paired": Loss(paired, swapped(paired), needs_real=True),
    # Each side judged against the mean score of the other: RaGAN of Jolicoeur-Martineau 2018
    "relativistic_average": Loss(averaged, swapped(averaged), needs_real=True, couples_samples=True),
    # The discriminator is an energy, low where the data are. EBGAN, Zhao et al. 2017, arXiv:1609.03126, eq. 1, 2
    "energy_margin": Loss(above_margin, energy_of_fakes, options=("margin",), energy=True),
    # The scores are reconstruction errors L. BEGAN, Berthelot et al. 2017, arXiv:1703.10717, sec. 3.4
    "boundary_equilibrium": Loss(equilibrium, energy_of_fakes, options=("k",), energy=True),
}

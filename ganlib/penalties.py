"""Penalties on the discriminator's gradient with respect to its input: pure, one value per sample, unweighted.

`score` maps images (N, C, H, W) to scores (N,) or (N, 1, h, w); patch scores are summed. It must judge every image by
itself: under batch norm the gradient of one image's score reaches the other images, and none of these is defined (the
little that passes through a minibatch standard deviation is neglected, as usual).
All are differentiable once more, with respect to the discriminator's parameters.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]


def squared_gradient_norm(score: Score, images: Tensor) -> Tensor:
    """‖∇ₓ D(x)‖² for each sample, over all dimensions of x: (N, ...) → (N,)."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(score(images).sum(), images, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def _distance_to_one(squared_norm: Tensor) -> Tensor:
    # The eps keeps the derivative of the root finite where the gradient is zero.
    return ((squared_norm + 1e-12).sqrt() - 1).square()


def gradient_penalty(score: Score, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """(‖∇ D(x̂)‖₂ − 1)² at x̂ = αx + (1 − α)G(z). Gulrajani et al. 2017, arXiv:1704.00028, eq. 3.

    `alpha` is uniform on [0, 1), one number per sample: (N,).
    """
    alpha = alpha.view(-1, *[1] * (real.ndim - 1))
    return _distance_to_one(squared_gradient_norm(score, alpha * real + (1 - alpha) * fake))


def dragan(score: Score, real: Tensor, noise: Tensor, std: Tensor) -> Tensor:
    """(‖∇ D(x + ½·std·u)‖₂ − 1)² around the data. Kodali et al. 2017, arXiv:1705.07215, algorithm 1.

    `noise` u is uniform on [0, 1), shaped like `real`; `std` is the standard deviation of the whole global batch, ().
    The authors' notebook goes only a random part α ~ U(0, 1) of the way, x + α·½·std·u; the paper's algorithm does not.
    """
    return _distance_to_one(squared_gradient_norm(score, real + 0.5 * std * noise))


def r1(score: Score, real: Tensor) -> Tensor:
    """½‖∇ D(x)‖² on real images. Mescheder et al. 2018, arXiv:1801.04406, eq. 9."""
    return 0.5 * squared_gradient_norm(score, real)


def r2(score: Score, fake: Tensor) -> Tensor:
    """½‖∇ D(G(z))‖² on generated images. Mescheder et al. 2018, arXiv:1801.04406, eq. 10."""
    return 0.5 * squared_gradient_norm(score, fake)

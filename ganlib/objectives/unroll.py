"""A discriminator some steps ahead of itself: unrolled GANs, Metz et al. 2017, arXiv:1611.02163."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ganlib.collectives import mean
from ganlib.objectives.base import Optimizer
from ganlib.verdict import Verdict

EPS = 1e-8  # of torch's optimizers


class Elsewhere:
    """A discriminator at other parameters than its own. What else is asked of it, it answers itself. Calling it changes
    none of its statistics."""

    def __init__(self, discriminator: nn.Module, flat: Tensor):
        """`flat` holds all parameters, in the discriminator's order: (P,)."""
        self._discriminator, self._dtype = discriminator, flat.dtype
        named = dict(discriminator.named_parameters())
        parts = flat.split([parameter.numel() for parameter in named.values()])
        self._parameters = {name: part.view(named[name].shape) for name, part in zip(named, parts, strict=True)}

    def __call__(self, images: Tensor, *others: Any, **options: Any) -> Verdict:
        buffers = {name: buffer.clone() for name, buffer in self._discriminator.named_buffers()}
        inputs = (images.to(self._dtype), *others)
        return functional_call(self._discriminator, self._parameters | buffers, inputs, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._discriminator, name)


def unrolled(
    discriminator: nn.Module, loss: Callable[[Callable[..., Verdict]], Tensor], optimizer: Optimizer, steps: int,
    running: torch.optim.Optimizer | None = None,
) -> Callable[..., Verdict]:
    """The discriminator after `steps` of its optimizer (eq. 7 to 9), to be called like the one it was made from.

    `loss` maps a discriminator to the mean, over this worker's share of the batch, of what it minimises; it is called
    once a step. Gradients flow through all steps into whatever `loss` was made of, and none to the discriminator. The
    steps go on from the moments and with the lr of the `running` optimizer; without one, from moments at zero.
    """
    theta = torch.cat([parameter.detach().reshape(-1) for parameter in discriminator.parameters()]).requires_grad_()
    momentum = _moments(running, discriminator, ("exp_avg",))
    square = _moments(running, discriminator, ("exp_avg_sq", "square_avg"))
    states = running.state.values() if running else ()
    taken = max((int(state["step"]) for state in states if "step" in state), default=0)
    lr = running.param_groups[0]["lr"] if running else optimizer.lr
    beta1, beta2 = optimizer.betas
    for step in range(taken + 1, taken + steps + 1):
        with torch.autocast(theta.device.type, enabled=False):  # second derivatives need float32
            (local,) = torch.autograd.grad(loss(Elsewhere(discriminator, theta)), theta, create_graph=True)
        gradient = mean(local)
        match optimizer.name:
            case "sgd":
                theta = theta - lr * gradient
            case "rmsprop":
                square = 0.99 * square + 0.01 * gradient.square()
                theta = theta - lr * gradient / (_root(square) + EPS)
            case "adam":
                momentum = beta1 * momentum + (1 - beta1) * gradient
                square = beta2 * square + (1 - beta2) * gradient.square()
                unbiased = momentum / (1 - beta1**step), square / (1 - beta2**step)
                theta = theta - lr * unbiased[0] / (_root(unbiased[1]) + EPS)
    return Elsewhere(discriminator, theta)


def _moments(running: torch.optim.Optimizer | None, discriminator: nn.Module, names: tuple[str, ...]) -> Tensor:
    """Those of all parameters (P,), under whichever of the names the optimizer keeps them; zeros where it has none."""
    parts = []
    for parameter in discriminator.parameters():
        state = running.state.get(parameter, {}) if running else {}
        found = next((state[name] for name in names if name in state), torch.zeros_like(parameter))
        parts.append(found.detach().reshape(-1))
    return torch.cat(parts)


def _root(square: Tensor) -> Tensor:
    # The root's derivative at zero is infinite, and a unit that does not fire has no gradient.
    return (square + EPS**2).sqrt()

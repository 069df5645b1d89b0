"""Virtual batch norm: Salimans et al. 2016, arXiv:1606.03498, sec. 3.5.

Each image is normalised by the statistics of a fixed reference batch and itself, whatever else is in its batch. The
reference batch passes through the network in front of the images (`Reference`), and so does each layer find it.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ganlib.condition import Condition

SIZE = 16  # of the reference batch


class VirtualBatchNorm2d(nn.Module):
    """(SIZE + N, C, H, W) → the same shape: the reference batch normalised by its own mean and variance, each of the N
    others by those of the reference batch and itself."""

    def __init__(self, channels: int, eps: float = 1e-5, affine: bool = True):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels, 1, 1)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1)) if affine else None

    def forward(self, images: Tensor) -> Tensor:
        reference, others = images[:SIZE].float(), images[SIZE:].float()
        variance, mean = torch.var_mean(reference, (0, 2, 3), correction=0, keepdim=True)
        own_variance, own_mean = torch.var_mean(others, (2, 3), correction=0, keepdim=True)
        share = 1 / (SIZE + 1)  # of an image, in a batch of the references and itself
        distance = own_mean - mean
        # Total variance: within the two parts, and between their means.
        both = torch.lerp(variance, own_variance, share) + share * (1 - share) * distance.square()
        normalized = torch.cat([
            (reference - mean) * (variance + self.eps).rsqrt(),
            (others - (mean + share * distance)) * (both + self.eps).rsqrt(),
        ])
        if self.weight is not None and self.bias is not None:
            normalized = normalized * self.weight + self.bias
        return normalized.to(images.dtype)


class Reference(nn.Module):
    """The fixed batch: inputs (SIZE, ...) and their conditions; of `real` images, once `refer` has given them."""

    samples: Tensor
    label: Tensor  # named when conditions were labels alone: generators on disk have it by this name

    def __init__(self, samples: Tensor, told: Condition, real: bool = False):
        super().__init__()
        self.real = real
        self.register_buffer("samples", samples)
        texts = told.kind == "text"
        self.register_buffer("label", torch.randn(SIZE, told.size) if texts else torch.arange(SIZE) % max(told.size, 1))

    def forward(self, network: Callable[..., Tensor], inputs: Tensor, condition: Tensor | None) -> Tensor:
        """What `network` makes of the inputs when the reference batch passes through in front of them."""
        if condition is not None:
            condition = torch.cat([self.label, condition])
        return network(torch.cat([self.samples.to(inputs.dtype), inputs]), condition)[SIZE:]

    @torch.no_grad()
    def set(self, samples: Tensor, condition: Tensor | None) -> None:
        """Take the first SIZE samples; all of them over again, if they are fewer."""
        first = torch.arange(SIZE, device=samples.device) % len(samples)
        self.samples.copy_(samples[first])
        if condition is not None and condition.shape[1:] == self.label.shape[1:]:  # else it is told none
            self.label.copy_(condition[first])


def refer(networks: Iterable[nn.Module], images: Tensor, condition: Tensor | None) -> None:
    """Give the networks that have a reference batch of real images this one (N, C, H, W), the same on every worker,
    before the first move."""
    for module in (module for network in networks for module in network.modules()):
        if isinstance(module, Reference) and module.real:
            module.set(images, condition)

"""How a condition enters a network: classes (N,), vectors of texts (N, D), images (N, C, H, W)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, one_hot

from ganlib.condition import Condition
from ganlib.layers.norms import Norm, norm2d


def with_condition(inputs: Tensor, condition: Tensor, size: int) -> Tensor:
    """(N, C, ...) → (N, C + size, ...): the condition beside the inputs, classes as one-hot vectors, and both these and
    texts' vectors as planes where the inputs are images; images of another size are brought to theirs."""
    if condition.ndim == 4:
        told = resized(condition, inputs).to(inputs.dtype)
    else:
        told = (condition if condition.is_floating_point() else one_hot(condition, size)).to(inputs.dtype)
        told = told.view(*told.shape, *[1] * (inputs.ndim - 2)).expand(-1, -1, *inputs.shape[2:])
    return torch.cat([inputs, told], 1)


def resized(images: Tensor, like: Tensor) -> Tensor:
    """Images at the height and width of others."""
    if images.shape[2:] == like.shape[2:]:
        return images
    return interpolate(images, like.shape[2:], mode="bilinear", antialias=True)


def row(weight: Tensor, condition: Tensor) -> Tensor:
    """An embedding: the row (of a weight (D, F)) of each class (N,), or the sum of rows that each vector (N, D) weighs
    → (N, F)."""
    return condition.to(weight.dtype) @ weight if condition.is_floating_point() else weight[condition]


class ConditionalNorm2d(nn.Module):
    """A normalisation whose scale and shift belong to the condition: Dumoulin et al. 2017, arXiv:1610.07629, eq. 5; for
    generators Miyato & Koyama 2018, arXiv:1802.05637. (N, C, H, W) and classes or vectors → (N, C, H, W). To begin with
    it is the same for all of them."""

    def __init__(self, norm: Norm, channels: int, told: Condition):
        super().__init__()
        self.norm = norm2d(norm, channels, affine=False)
        # A class has a scale of its own; of a vector it is 1 and what the vector adds.
        self.base = 0.0 if told.kind == "class" else 1.0
        self.scale = nn.Parameter(torch.full((told.size, channels), 1 - self.base))
        self.shift = nn.Parameter(torch.zeros(told.size, channels))

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        scale, shift = (row(weight, condition)[:, :, None, None] for weight in (self.scale, self.shift))
        if self.base:
            scale = scale + self.base
        return self.norm(images) * scale.to(images.dtype) + shift.to(images.dtype)


class Sequence(nn.Sequential):
    """Layers in a row, of which the conditional ones are told the condition."""

    def forward(self, inputs: Tensor, condition: Tensor | None = None) -> Tensor:
        for layer in self:
            inputs = layer(inputs, condition) if isinstance(layer, ConditionalNorm2d) else layer(inputs)
        return inputs


class Projection(nn.Module):
    """⟨e(y), φ⟩, what a discriminator's score has to say of condition and features together: Miyato & Koyama 2018,
    arXiv:1802.05637, eq. 5. φ (N, features) and classes or vectors → (N,)."""

    def __init__(self, told: Condition, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(told.size, features) / features**0.5)
        if told.kind != "class":  # a sum of D rows shall have the length of one
            self.weight.data /= told.size**0.5

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        return (row(self.weight, condition) * features).sum(1)

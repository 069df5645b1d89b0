"""How a label enters a network."""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganlib.layers.norms import Norm, norm2d


def with_label(inputs: Tensor, label: Tensor, classes: int) -> Tensor:
    """(N, C, ...) → (N, C + classes, ...): the one-hot label beside the inputs, as planes where they are images."""
    told = one_hot(label, classes).to(inputs.dtype)
    return torch.cat([inputs, told.view(*told.shape, *[1] * (inputs.ndim - 2)).expand(-1, -1, *inputs.shape[2:])], 1)


class ConditionalNorm2d(nn.Module):
    """A normalisation whose scale and shift belong to the label: Dumoulin et al. 2017, arXiv:1610.07629, eq. 5; for
    generators Miyato & Koyama 2018, arXiv:1802.05637. (N, C, H, W) and labels (N,) → (N, C, H, W)."""

    def __init__(self, norm: Norm, channels: int, classes: int):
        super().__init__()
        self.norm = norm2d(norm, channels, affine=False)
        self.scale = nn.Parameter(torch.ones(classes, channels))
        self.shift = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        scale, shift = self.scale[label, :, None, None], self.shift[label, :, None, None]
        return self.norm(images) * scale.to(images.dtype) + shift.to(images.dtype)


class Sequence(nn.Sequential):
    """Layers in a row, of which the conditional ones are told the label."""

    def forward(self, inputs: Tensor, label: Tensor | None = None) -> Tensor:
        for layer in self:
            inputs = layer(inputs, label) if isinstance(layer, ConditionalNorm2d) else layer(inputs)
        return inputs


class Projection(nn.Module):
    """⟨e(y), φ⟩, what a discriminator's score has to say of label and features together: Miyato & Koyama 2018,
    arXiv:1802.05637, eq. 5. φ (N, features) and labels (N,) → (N,)."""

    def __init__(self, classes: int, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features) / features**0.5)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return (self.weight[label] * features).sum(1)

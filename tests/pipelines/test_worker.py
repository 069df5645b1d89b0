"""What a worker watches for while it trains."""

import pytest
import torch
from torch import nn

from pipelines.worker import Collapsed, require_diverse


class Painter(nn.Module):
    """Images of one grey: that of z, of the label, or of neither."""

    latent = 1

    def __init__(self, classes: int, of_latent: float, of_label: float):
        super().__init__()
        self.classes, self.of_label = classes, of_label
        self.of_latent = nn.Parameter(torch.tensor(of_latent))

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        grey = self.of_latent * z[:, 0] + (0 if label is None else self.of_label * label)
        return grey.view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("of_label", [0.0, 0.2])
def test_a_generator_that_ignores_its_latents_has_collapsed_whatever_the_labels_do(classes: int, of_label: float):
    with pytest.raises(Collapsed, match=r"at 640 images seen what it makes of 16 latents differs by 0 of 256"):
        require_diverse(Painter(classes, 0.0, of_label), 3, 640)
    require_diverse(Painter(classes, 0.1, of_label), 3, 640)

"""How weights begin."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from ganlib.layers.norms import constrained


@torch.no_grad()
def normal_002(module: nn.Module) -> None:
    """For `apply`: all weights N(0, 0.02), those of batch norm N(1, 0.02), biases 0. DCGAN, Radford et al. 2016,
    arXiv:1511.06434, sec. 3 and its authors' code; pix2pix and CycleGAN took it over."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        # Spectral norm comes last: it begins with the singular vectors of the weight that it finds.
        if spectral := parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if spectral:
            constrained("spectral", module)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)

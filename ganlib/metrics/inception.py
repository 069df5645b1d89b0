"""The Inception network of the FID: TensorFlow's graph of 2015-12-05, in the file that pytorch-fid uses.

`pt_inception-2015-12-05-6726825d.pth`, 95,628,359 bytes, is given by the user, or fetched once into a cache directory.
The network differs from torchvision's Inception-v3 in three places: average pooling does not count the padding, the
last mixed block pools by maximum, and there are 1008 classes. On random weights it gives what torch-fidelity's does
(tested); parity with the TensorFlow graph was not run, for want of the file.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganlib.config import ConfigError
from ganlib.metrics.download import download

DISTANCE, SCORE = "fid", "inception_score"  # only canonical Inception gives these
FEATURES = 2048
RESIZE = 299
RESIZE_METHOD = "bilinear, TensorFlow 1"
FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SIZE = 95_628_359  # bytes
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class Convolution(nn.Module):
    """Convolution, BatchNorm (eps 1e-3), ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1,
                 padding: int | tuple[int, int] = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class MixedA(nn.Module):
    """35×35 blocks: 1×1, 5×5, two 3×3, pooled."""

    def __init__(self, inputs: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64, 1)
        self.branch5x5_1 = Convolution(inputs, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(inputs, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double,
                          self.branch_pool(_average(x))], 1)


class MixedB(nn.Module):
    """35×35 → 17×17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class MixedC(nn.Module):
    """17×17 blocks: 1×1, one and two pairs of 7×1 and 1×7, pooled."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        across: dict[str, Any] = {"kernel": (1, 7), "padding": (0, 3)}
        down: dict[str, Any] = {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = Convolution(inputs, 192, 1)
        self.branch7x7_1 = Convolution(inputs, width, 1)
        self.branch7x7_2 = Convolution(width, width, **across)
        self.branch7x7_3 = Convolution(width, 192, **down)
        self.branch7x7dbl_1 = Convolution(inputs, width, 1)
        self.branch7x7dbl_2 = Convolution(width, width, **down)
        self.branch7x7dbl_3 = Convolution(width, width, **across)
        self.branch7x7dbl_4 = Convolution(width, width, **down)
        self.branch7x7dbl_5 = Convolution(width, 192, **across)
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], 1)


class MixedD(nn.Module):
    """17×17 → 8×8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(inputs, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(inputs, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, stride=2)], 1)


class MixedE(nn.Module):
    """8×8 blocks: 1×1, split 3×1 and 1×3, pooled."""

    def __init__(self, inputs: int, pools_by_maximum: bool) -> None:
        super().__init__()
        self.pools_by_maximum = pools_by_maximum
        self.branch1x1 = Convolution(inputs, 320, 1)
        self.branch3x3_1 = Convolution(inputs, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.pools_by_maximum else _average(x)
        return torch.cat([self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single),
                          self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)], 1)


class Inception(nn.Module):
    """Images (N, 3, 299, 299), scaled as `prepare` does it, → pool3 features (N, 2048), logits (N, 1008).

    The logits leave out the bias of the last layer, as the original code of the inception score does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = MixedA(192, 32)
        self.Mixed_5c = MixedA(256, 64)
        self.Mixed_5d = MixedA(288, 64)
        self.Mixed_6a = MixedB(288)
        self.Mixed_6b = MixedC(768, 128)
        self.Mixed_6c = MixedC(768, 160)
        self.Mixed_6d = MixedC(768, 160)
        self.Mixed_6e = MixedC(768, 192)
        self.Mixed_7a = MixedD(768)
        self.Mixed_7b = MixedE(1280, pools_by_maximum=False)
        self.Mixed_7c = MixedE(2048, pools_by_maximum=True)
        self.fc = nn.Linear(FEATURES, 1008)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        features = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        return features, F.linear(features, self.fc.weight)

    def fold(self) -> "Inception":
        """Put each BatchNorm into the convolution before it, in place: the same function with half the passes."""
        for module in self.modules():
            if isinstance(module, Convolution):
                assert isinstance(module.bn, nn.BatchNorm2d)
                module.conv, module.bn = fuse_conv_bn_eval(module.conv, module.bn), nn.Identity()
        return self


def weights_file(cache: Path | None = None, progress: Callable[[int], object] | None = None, url: str = URL) -> Path:
    """The weights in the directory `cache` (~/.cache/ganlib), fetched from `url` if they are not there yet, as
    `download.download` does it; `progress` is told the bytes of each piece, SIZE in all.

    ConfigError, where they cannot be fetched, says what to fetch and where to put it.
    """
    path = (cache or Path.home() / ".cache/ganlib") / FILE
    if not path.exists():
        try:
            download(url, path, SHA256, SIZE, progress)
        except (OSError, ValueError) as error:
            raise ConfigError(f"inception_path: {error}. Or fetch {url} elsewhere, and put it at {path} or give its "
                              "place as inception_path") from error
    return path


def load(path: Path) -> Inception:
    """The network in eval mode, channels_last, BatchNorm folded. ConfigError for any file but the canonical one."""
    if not path.is_file():
        raise ConfigError(f"inception_path: there is no file {path}; give the path of {FILE}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ConfigError(f"inception_path: {path} ({path.stat().st_size:,} bytes, sha256 {found}) is not {FILE} "
                          f"({SIZE:,} bytes, sha256 {SHA256}); it may be cut, or another Inception: "
                          "delete it and fetch it again")
    network = Inception().eval()
    missing, unexpected = network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):  # a counter only training uses
        raise ConfigError(f"inception_path: {path} does not fit the network: {[*missing, *unexpected][:5]}")
    return network.requires_grad_(False).fold().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def prepare(images: Tensor, resize: int = RESIZE) -> Tensor:
    """0 … 255 (N, 1 or 3, H, W) → float32 (N, 3, resize, resize), TensorFlow 1's bilinear resize, (x − 128) / 128."""
    down, across = (_resize_matrix(size, resize).to(images.device) for size in images.shape[2:])
    x = (down @ images.float() @ across.T).sub_(128).div_(128)
    return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _resize_matrix(size: int, resize: int) -> Tensor:
    """(resize, size): output i is read at i·size/resize without the half-pixel shift, as TensorFlow 1 does."""
    position = torch.arange(resize) * (size / resize)
    low = position.floor().long()
    part = (position - low).float()
    rows = torch.arange(resize)
    matrix = torch.zeros(resize, size)
    matrix[rows, low] = 1 - part
    matrix[rows, (low + 1).clamp(max=size - 1)] += part
    return matrix

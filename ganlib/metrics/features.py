"""Images → features: the choice of the extractor, and the one way images pass through it."""

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from ganlib.config import require, suggest
from ganlib.metrics.arrays import batches, require_images
from ganlib.metrics.protocol import ExtractorName

NAMES = get_args(ExtractorName)


@dataclass(frozen=True)
class Extractor:
    """Images (N, 1 or 3, H, W) → features (N, d) and logits (N, K), float32, on the extractor's device.

    Pixels are 0 … 255: uint8 as in files, or floats between them where quantisation would hide small differences, as
    those of path lengths.
    """

    name: str
    network: nn.Module
    weights_sha256: str
    resize: int
    resize_method: str
    device: str

    @property
    def distance(self) -> str:
        """What the Fréchet distance of these features is called."""
        return getattr(_module(self.name), "DISTANCE", f"fd_{self.name}")

    @property
    def score(self) -> str:
        """What the inception score of these logits is called."""
        return getattr(_module(self.name), "SCORE", f"is_{self.name}")

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(_module(self.name).prepare(images.to(self.device), self.resize))


def _module(name: str) -> ModuleType:
    """ganlib/metrics/<name>.py: `weights_file() → path`, `load(path) → network`, `prepare(images, resize) → its input`,
    and RESIZE_METHOD; RESIZE where it takes one size only."""
    return importlib.import_module(f"ganlib.metrics.{name}")


def extractor(name: ExtractorName = "efficientnet_lite0", resize: int = 112, path: str | Path | None = None,
              device: str = "cpu") -> Extractor:
    """The extractor of this name, which is its file in ganlib/metrics.

    resize: the side in pixels that images are brought to; inception takes 299 always, domain at most 32.
    path: the weights. domain needs it; without it inception is fetched once, and the others are installed packages.
    ConfigError or ValueError if there are no weights, or not the right ones.
    """
    require(name in NAMES, f"extractor: there is no {name!r}{suggest(name, NAMES)}")
    module = _module(name)
    file = Path(path) if path else module.weights_file()
    network = module.load(file)
    return Extractor(name, network.to(device), hashlib.sha256(file.read_bytes()).hexdigest(),
                     getattr(module, "RESIZE", resize), module.RESIZE_METHOD, device)


def extract(extractor: Extractor, images: np.ndarray | Tensor, batch_size: int = 16,
            progress: Callable[[int], object] | None = None) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 1 or 3, H, W), a memory-mapped table too → features (N, d), logits (N, K), float32 on the CPU.

    On a CPU small batches are the fastest, because they stay in its cache. `progress` is told the size of each batch.
    """
    require_images(images, "extract")
    features, logits = [], []
    for batch in batches(images, batch_size):
        feature, logit = extractor(batch)
        features.append(feature.float().cpu())
        logits.append(logit.float().cpu())
        if progress:
            progress(len(batch))
    return torch.cat(features), torch.cat(logits)

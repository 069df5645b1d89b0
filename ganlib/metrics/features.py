"""Images → features: the choice of the extractor, and the one way images pass through it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ganlib.config import require, suggest
from ganlib.metrics import efficientnet_lite0, inception

NAMES = ("efficientnet_lite0", "inception")
DISTANCES = {"efficientnet_lite0": "fd_efficientnet_lite0", "inception": "fid"}  # only canonical Inception gives a FID
SCORES = {"efficientnet_lite0": "is_efficientnet_lite0", "inception": "inception_score"}


@dataclass(frozen=True)
class Extractor:
    """uint8 images (N, 1 or 3, H, W) → features (N, d) and logits (N, K), float32, on the extractor's device."""

    name: str
    network: nn.Module
    weights_sha256: str
    resize: int
    resize_method: str
    device: str

    @property
    def distance(self) -> str:
        """What the Fréchet distance of these features is called."""
        return DISTANCES[self.name]

    @property
    def score(self) -> str:
        """What the inception score of these logits is called."""
        return SCORES[self.name]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        images = images.to(self.device)
        if self.name == "inception":
            return self.network(inception.prepare(images))
        return self.network(efficientnet_lite0.prepare(images, self.resize))


def extractor(name: Literal["efficientnet_lite0", "inception"] = "efficientnet_lite0", resize: int = 112,
              path: str | Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor of this name. `resize`: the side in pixels that images are brought to (inception: always 299).
    `path`: the weights; needed for inception, else those of the installed package. ConfigError if they are not it."""
    require(name in NAMES, f"extractor: there is no {name!r}{suggest(name, NAMES)}")
    if name == "inception":
        require(path is not None, f"inception_path: give the path of {inception.FILE} to use `extractor: inception`")
        network: nn.Module = inception.load(Path(str(path)))
        return Extractor(name, network.to(device), inception.SHA256, inception.RESIZE, "bilinear, TensorFlow 1", device)
    file = Path(path) if path else efficientnet_lite0.weights_file()
    network = efficientnet_lite0.load(file)
    return Extractor(name, network.to(device), hashlib.sha256(file.read_bytes()).hexdigest(), resize,
                     "bilinear, half-pixel centres", device)


def extract(extractor: Extractor, images: np.ndarray | Tensor, batch_size: int = 16,
            progress: Callable[[int], object] | None = None) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 1 or 3, H, W), a memory-mapped table too → features (N, d), logits (N, K), float32 on the CPU.

    On a CPU small batches are the fastest, because they stay in its cache. `progress` is told the size of each batch.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or shape[0] == 0 or images.dtype not in (np.uint8, torch.uint8):
        raise ValueError(f"extract: uint8 images (N, 1 or 3, H, W) are needed, got {images.dtype} {shape}")
    features, logits = [], []
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.array(images[start:start + batch_size]))
        feature, logit = extractor(batch)
        features.append(feature.float().cpu())
        logits.append(logit.float().cpu())
        if progress:
            progress(len(batch))
    return torch.cat(features), torch.cat(logits)

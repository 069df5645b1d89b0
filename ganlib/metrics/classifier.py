"""A small classifier of the labelled real images: it tells which share of the generated ones falls into each class."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib import files, seeds

LARGEST = 32  # px; larger images are averaged down, which bounds the time of any data set
BATCH = 128


class Classifier(nn.Module):
    """Images as `scale` gives them (N, C, h, w) → logits (N, classes): three convolutions, each halving the size."""

    def __init__(self, channels: int, classes: Sequence[str]) -> None:
        super().__init__()
        self.channels, self.classes = channels, tuple(classes)
        layers: list[nn.Module] = []
        for width in (24, 48, 96):
            layers += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(16 * channels, len(self.classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def train(images: np.ndarray, labels: np.ndarray, classes: Sequence[str], images_shown: int = 60_000, seed: int = 0,
          progress: Callable[[int], object] | None = None) -> Classifier:
    """uint8 images (N, C, H, W), labels (N,) in 0 … len(classes) − 1 → the trained classifier, in eval mode.

    Adam, one cycle of the learning rate over `images_shown` images. The same seed gives the same weights on one machine
    with the same number of threads. `progress` is told the size of each batch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive("classifier", seed))
        classifier = Classifier(images.shape[1], classes)
        classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        steps = -(-images_shown // BATCH)
        optimiser = torch.optim.Adam(classifier.parameters(), fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
        order = np.random.default_rng(seeds.derive("lessons", seed))
        for _ in range(steps):
            chosen = order.integers(len(images), size=min(BATCH, len(images)))
            logits = classifier(scale(torch.from_numpy(images[chosen])))
            loss = F.cross_entropy(logits, torch.as_tensor(labels[chosen], dtype=torch.long))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if progress:
                progress(len(chosen))
    return classifier.eval().requires_grad_(False)


def predict(classifier: Classifier, images: np.ndarray | Tensor) -> Tensor:
    """uint8 images (N, C, H, W) → the class of each, int64 (N,)."""
    with torch.inference_mode():
        return torch.cat([classifier(scale(torch.from_numpy(np.array(images[start:start + BATCH])))).argmax(1)
                          for start in range(0, len(images), BATCH)])


def class_shares(classifier: Classifier, images: np.ndarray | Tensor) -> dict[str, float]:
    """uint8 images (N, C, H, W) → the share of each class among them; they sum to 1."""
    return shares_of(predict(classifier, images), classifier.classes)


def shares_of(predicted: Tensor, classes: Sequence[str]) -> dict[str, float]:
    """Predicted classes (N,) → the share of each."""
    counts = torch.bincount(predicted, minlength=len(classes))
    return dict(zip(classes, (counts.double() / len(predicted)).tolist(), strict=True))


def save(path: Path, classifier: Classifier) -> None:
    """Write `path` (safetensors, the class names in its metadata); all or nothing. Equal weights make equal files."""
    tensors = {name: tensor.contiguous() for name, tensor in classifier.state_dict().items()}
    # One entry, since several would be written in any order, and the hash of the file stands in protocols.
    about = json.dumps({"channels": classifier.channels, "classes": classifier.classes})
    files.replace(path, lambda temporary: save_file(tensors, temporary, {"classifier": about}))


def load(path: Path) -> Classifier:
    """Read what `save` wrote, in eval mode. ValueError names a file that is not one."""
    try:
        with safe_open(path, "pt") as file:
            classifier = Classifier(**json.loads((file.metadata() or {})["classifier"]))
            classifier.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no classifier here; stage reference trains one on labelled data") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold a classifier ({error}); delete it and train it again") from None
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return classifier.eval().requires_grad_(False)


def scale(images: Tensor, largest: int = LARGEST) -> Tensor:
    """0 … 255 (N, C, H, W) → float32 in [-1, 1], channels_last, averaged down to at most `largest` px a side."""
    x = images.float().div(127.5).sub_(1)
    if max(x.shape[2:]) > largest:
        x = F.interpolate(x, size=[min(size, largest) for size in x.shape[2:]], mode="area")
    return x.contiguous(memory_format=torch.channels_last)

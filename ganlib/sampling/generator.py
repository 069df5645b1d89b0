"""A generator on disk: `generator.safetensors` (weights) beside `generator.json` (what builds it). No pickle. And the
images that it makes: of standard normal latents, and of labels as its training images have them."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganlib import build, files, seeds
from ganlib.config import ConfigError, require, suggest, take

WEIGHTS, ABOUT = "generator.safetensors", "generator.json"
AGAIN = "train it again"
LARGEST = 8192  # px, of a side
GOLDEN = (math.sqrt(5) - 1) / 2  # whose multiples, modulo 1, fill [0, 1) evenly, wherever one begins


@dataclass(frozen=True, kw_only=True)
class Description:
    """What builds a generator and tells it labels. Its file may hold more, which is kept."""

    networks: dict[str, Any]  # the section of the configuration
    shape: tuple[int, int, int]  # C, H, W
    classes: tuple[str, ...]  # their names
    seed: int
    label_counts: tuple[int, ...] = ()  # training images of each class; older files have none

    def __post_init__(self) -> None:
        require("name" in self.networks, "networks.name: missing")
        require(all(1 <= size <= LARGEST for size in self.shape), f"shape: numbers from 1 to {LARGEST} are needed, got "
                f"{list(self.shape)}")
        counts = self.label_counts
        require(not counts or len(counts) == len(self.classes), f"label_counts: {len(counts)} of them, and "
                f"{len(self.classes)} classes")
        require(all(0 <= count < 2**53 for count in counts) and (not counts or sum(counts) > 0),
                f"label_counts: numbers of images are needed, got {list(counts)}")


def save(directory: Path, generator: nn.Module, description: dict[str, Any]) -> None:
    """`description` must hold what Description has; whatever else it holds is kept."""
    weights = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    files.replace(directory / WEIGHTS, lambda path: save_file(weights, path))
    files.write_json(directory / ABOUT, description)


def load(directory: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The generator in eval mode, on the CPU, and all that its description holds. ConfigError for files that are not
    there, are damaged, or do not belong together."""
    generator, description = untrained(directory)
    path = Path(directory) / WEIGHTS
    try:
        weights = load_file(path)
        generator.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{path} does not hold the weights of this generator ({error}); {AGAIN}") from None
    if wrong := [name for name, values in weights.items() if not values.isfinite().all()]:
        raise ConfigError(f"{path} does not hold the weights of this generator ({wrong[0]} is not finite); {AGAIN}")
    return generator, description


def untrained(directory: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The same generator as it was before training: freshly initialised from the run's seed. ConfigError as of `load`.
    """
    path = Path(directory) / ABOUT
    require(path.exists(), f"{path}: no generator here; train one with `dvc repro train`, or name its directory")
    kept = files.read_json(path, AGAIN)
    description = take(Description, kept, str(path), AGAIN)
    try:
        networks = build.networks(description.networks, description.shape, len(description.classes), description.seed)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}; {AGAIN}") from None
    generator: Any = networks["generator"]
    generator.label_counts = description.label_counts
    return generator.eval(), kept


def digest(directory: Path) -> str:
    """The SHA-256 of the weights' file, by which a generator is known."""
    return hashlib.sha256((Path(directory) / WEIGHTS).read_bytes()).hexdigest()


def label_of(generator: Any, names: Sequence[str], wanted: int | str) -> int:
    """The label that `wanted` is: the name of a class, which counts first, or a number. `names`: of the classes; codes
    have none. ConfigError, with the nearest name, if there is no such label."""
    require(generator.classes > 0, "label: this generator is unconditional; leave it out")
    names = () if generator.labels_are_codes else names
    text, last = str(wanted), generator.classes - 1
    if text in names:
        return list(names).index(text)
    if re.fullmatch(r"-?\d+", text):
        require(len(text) < 20 and 0 <= int(text) <= last, f"label: 0 … {last} is needed, got {text}")
        return int(text)
    raise ConfigError(f"label: there is no class {text!r}{suggest(text, names)}; or write a number, 0 … {last}")


def latents(generator: Any, count: int, seed: int) -> Tensor:
    """Standard normal (count, latent): a pure function of the seed, and a prefix of what a larger count gives."""
    whole = -(-count // 16) * 16  # torch draws 16 normal numbers at a time, and those of a part in another way
    return torch.randn(whole, generator.latent, generator=seeds.stream("latents", seed))[:count]


def labels_of(generator: Any, count: int, start: int = 0) -> Tensor | None:
    """The labels (count,) of images start … start + count: each as often as among the training images, so that what is
    generated can be compared with real images; of codes, all equally often. None for a generator that is told none.

    No chance is in it: the labels of any piece of the sequence have the shares that they should have, within one or two
    images. Where `generator.label_counts` is missing, all labels count alike.
    """
    if not generator.classes:
        return None
    known = () if generator.labels_are_codes else getattr(generator, "label_counts", ())
    counts = torch.tensor(known or [1] * generator.classes, dtype=torch.float64)
    places = (torch.arange(start, start + count, dtype=torch.float64) * GOLDEN).frac()
    return torch.searchsorted(counts.cumsum(0) / counts.sum(), places, right=True)


def truncates(generator: Any) -> bool:
    """Whether latents nearer to their mean make other images. On a sphere they do not: there all have one length."""
    return getattr(generator, "prior", "normal") != "sphere"


@torch.inference_mode()
def decode(generator: nn.Module, z: Tensor, labels: Tensor | None = None, batch_size: int = 256) -> Tensor:
    """Latents (N, latent) → uint8 images (N, C, H, W) on the CPU."""
    device = next(generator.parameters()).device
    parts = []
    for start in range(0, len(z), batch_size):
        label = None if labels is None else labels[start : start + batch_size].to(device)
        parts.append(to_uint8(generator(z[start : start + batch_size].to(device), label)).cpu())
    return torch.cat(parts)


def sample(
    generator: nn.Module,
    count: int,
    seed: int,
    labels: Tensor | None = None,
    truncation: float = 1.0,
    batch_size: int = 256,
) -> Tensor:
    """uint8 images (count, C, H, W), with labels as the training images have them unless `labels` (count,), each of 0 …
    classes − 1, are given. `truncation` scales the latents towards their mean: below 1, less variety. ConfigError for
    what this generator cannot give."""
    if count < 1:
        raise ConfigError(f"count: at least 1 image must be asked for, got {count}")
    if not 0 <= truncation <= 1:
        raise ConfigError(f"truncation: must lie in [0, 1], got {truncation:g}; 1 switches it off")
    if truncation < 1 and not truncates(generator):
        raise ConfigError(f"truncation: {truncation:g} would change nothing on the sphere of networks.prior=sphere; "
                          "write 1, or train with networks.prior=normal")
    if labels is not None:
        require_labels(generator, labels, count)
    told = labels_of(generator, count) if labels is None else labels
    return decode(generator, truncation * latents(generator, count, seed), told, batch_size)


def require_labels(generator: Any, labels: Tensor, count: int) -> None:
    """ConfigError unless these are labels (count,) that the generator can be told."""
    require(generator.classes > 0, "labels: this generator is unconditional; leave them out")
    require(labels.shape == (count,) and labels.dtype == torch.int64, f"labels: int64 of shape ({count},) are needed, "
            f"one an image, got {labels.dtype} of shape {tuple(labels.shape)}")
    wrong = labels[(labels < 0) | (labels >= generator.classes)]
    require(not len(wrong), f"labels: 0 … {generator.classes - 1} is needed, got {wrong.tolist()[:3]}")


def excerpt(generator: nn.Module, start: int, count: int, seed: int) -> Tensor:
    """The images start … start + count of the endless sequence that `sample` begins, uint8 (count, C, H, W)."""
    z = latents(generator, start + count, seed)[start:]
    return decode(generator, z, labels_of(generator, count, start))


def to_uint8(images: Tensor) -> Tensor:
    """[−1, 1] → 0…255, rounded."""
    return to_pixels(images).round().clamp(0, 255).to(torch.uint8)


def to_pixels(images: Tensor) -> Tensor:
    """[−1, 1] → float 0…255."""
    return images.float().add(1).mul(127.5)

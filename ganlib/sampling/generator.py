"""A generator on disk: `generator.safetensors` (weights) beside `generator.json` (what builds it). No pickle. And the
images that it makes: of standard normal latents, and of labels as its training images have them."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganlib import build, files, seeds
from ganlib.config import ConfigError

Description = dict[str, Any]
GOLDEN = (math.sqrt(5) - 1) / 2  # whose multiples, modulo 1, fill [0, 1) evenly, wherever one begins


def save(directory: Path, generator: nn.Module, description: Description) -> None:
    """`description` must hold `networks` (the section of the configuration), `shape` (C, H, W), `classes` (names),
    `label_counts` (training images of each) and `seed`; whatever else it holds is kept."""
    weights = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    files.replace(directory / "generator.safetensors", lambda path: save_file(weights, path))
    files.write_json(directory / "generator.json", description)


def load(directory: Path) -> tuple[nn.Module, Description]:
    """The generator in eval mode, on the CPU, and its description."""
    generator, description = untrained(directory)
    path = Path(directory) / "generator.safetensors"
    try:
        generator.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{path} does not hold the weights of this generator ({error}); train it again") from None
    return generator, description


def untrained(directory: Path) -> tuple[nn.Module, Description]:
    """The same generator as it was before training: freshly initialised from the run's seed."""
    path = Path(directory) / "generator.json"
    if not path.exists():
        raise ConfigError(f"{path}: no generator here; train one with `dvc repro train`, or name its directory")
    description = json.loads(path.read_text())
    generator: Any = build.networks(description["networks"], tuple(description["shape"]), len(description["classes"]),
                                    description["seed"])["generator"]
    generator.label_counts = tuple(description.get("label_counts", ()))  # older files have none
    return generator.eval(), description


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
    """uint8 images (count, C, H, W), with labels as the training images have them unless `labels` (count,) are given.
    `truncation` scales the latents towards their mean: below 1, less variety. ConfigError for what this generator
    cannot give."""
    if count < 1:
        raise ConfigError(f"count: at least 1 image must be asked for, got {count}")
    if not 0 <= truncation <= 1:
        raise ConfigError(f"truncation: must lie in [0, 1], got {truncation:g}; 1 switches it off")
    if truncation < 1 and not truncates(generator):
        raise ConfigError(f"truncation: {truncation:g} would change nothing on the sphere of networks.prior=sphere; "
                          "write 1, or train with networks.prior=normal")
    if labels is not None and generator.classes == 0:
        raise ConfigError("labels: this generator is unconditional; leave them out")
    told = labels_of(generator, count) if labels is None else labels
    return decode(generator, truncation * latents(generator, count, seed), told, batch_size)


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

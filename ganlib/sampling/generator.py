"""A generator on disk: `generator.safetensors` (weights) beside `generator.json` (what builds it). No pickle. And the
images that it makes: of standard normal latents, and of labels as its training images have them."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganlib import build, files, seeds
from ganlib.condition import NOTHING, Condition, of_classes
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
    condition: Condition | None = None  # what training images come with; in older files the classes say it

    def __post_init__(self) -> None:
        require("name" in self.networks, "networks.name: missing")
        require(all(1 <= size <= LARGEST for size in self.shape), f"shape: numbers from 1 to {LARGEST} are needed, got "
                f"{list(self.shape)}")
        require(self.told.classes == len(self.classes), f"condition: {self.told}, and {len(self.classes)} classes")
        counts = self.label_counts
        require(not counts or len(counts) == len(self.classes), f"label_counts: {len(counts)} of them, and "
                f"{len(self.classes)} classes")
        require(all(0 <= count < 2**53 for count in counts) and (not counts or sum(counts) > 0),
                f"label_counts: numbers of images are needed, got {list(counts)}")

    @property
    def told(self) -> Condition:
        """What the training images come with."""
        return self.condition or of_classes(len(self.classes))


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
        networks = build.networks(description.networks, description.shape, description.told, description.seed)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}; {AGAIN}") from None
    generator: Any = networks[build.MODEL]
    generator.label_counts = description.label_counts
    return generator.eval(), kept


def digest(directory: Path) -> str:
    """The SHA-256 of the weights' file, by which a generator is known."""
    return hashlib.sha256((Path(directory) / WEIGHTS).read_bytes()).hexdigest()


def label_of(generator: Any, names: Sequence[str], wanted: int | str) -> int:
    """The class that `wanted` is: the name of a class, which counts first, or a number. `names`: of the classes; codes
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
    """The classes (count,) of images start … start + count: each as often as among the training images, so that what is
    generated can be compared with real images; of codes, all equally often. None for a generator that is told nothing;
    ConfigError for one that goes by texts or images.

    No chance is in it: the labels of any piece of the sequence have the shares that they should have, within one or two
    images. Where `generator.label_counts` is missing, all labels count alike.
    """
    if generator.told.given:
        raise ConfigError(f"count: this generator goes by {generator.told}, and cannot make images of a number alone; "
                          + ("give it images, as `python -m pipelines.translate` does" if generator.told.kind == "image"
                             else "give it texts"))
    if not generator.classes:
        return None
    known = () if generator.labels_are_codes else getattr(generator, "label_counts", ())
    counts = torch.tensor(known or [1] * generator.classes, dtype=torch.float64)
    places = (torch.arange(start, start + count, dtype=torch.float64) * GOLDEN).frac()
    return torch.searchsorted(counts.cumsum(0) / counts.sum(), places, right=True)


def truncates(generator: Any) -> bool:
    """Whether latents nearer to their mean make other images. On a sphere they do not: there all have one length; nor
    where there are no latents, or images to go by beside them."""
    return walks(generator) and getattr(generator, "prior", "normal") != "sphere"


def walks(generator: Any) -> bool:
    """Whether its images are those of latents in a space that one can walk through: not so those of a translator."""
    return generator.told.kind != "image"


def translator_of(generator: Any, back: bool = False) -> Any:
    """The network that translates images; with `back`, that of the way back. ConfigError where there is none."""
    told = getattr(generator, "told", NOTHING)  # those of older revisions, and of classes outside, have none
    require(told.kind == "image", f"this generator makes its images of noise{f' and {told}' if told else ''}, and "
            "translates none; draw from it with `python -m pipelines.sample`")
    if not back:
        return generator
    require(hasattr(generator, "back"), "back: this translator knows one direction alone; leave it out, or train one "
            "with networks.directions=2")
    return generator.back


@torch.inference_mode()
def decode(generator: Any, z: Tensor, conditions: Tensor | None = None) -> Tensor:
    """Latents (N, latent), and conditions (N, ...) if it is told any, images in uint8 or in [−1, 1] → uint8 images
    (N, C, H, W) on the CPU."""
    device = next(generator.parameters()).device
    parts, pixels = [], math.prod(generator.told.sides or (1,))
    size = max(1, min(256, 2**22 // pixels))  # of 256 px, 64 at a time
    for start in range(0, len(z), size):
        told = None if conditions is None else conditions[start : start + size].to(device)
        if told is not None and told.dtype == torch.uint8:
            told = told.to(torch.float32).mul_(1 / 127.5).sub_(1)
        parts.append(to_uint8(generator(z[start : start + size].to(device), told)).cpu())
    return torch.cat(parts)


def sample(generator: Any, asked: int | Tensor, seed: int, truncation: float = 1.0, start: int = 0) -> Tensor:
    """uint8 images (N, C, H, W), a pure function of generator, seed and what is `asked`: so many images, of classes as
    the training images have them; or one for each of these conditions (N, ...), as `Condition` says, but that images
    are uint8.

    `truncation` scales the latents towards their mean: below 1, less variety. With `start`, the images from there on of
    the endless sequence that begins without it. ConfigError for what this generator cannot give."""
    count = asked if isinstance(asked, int) else len(asked)
    if count < 1:
        raise ConfigError(f"count: at least 1 image must be asked for, got {count}")
    if not 0 <= truncation <= 1:
        raise ConfigError(f"truncation: must lie in [0, 1], got {truncation:g}; 1 switches it off")
    if truncation < 1 and not truncates(generator):
        raise ConfigError(f"truncation: {truncation:g} would change nothing on the sphere of networks.prior=sphere; "
                          "write 1, or train with networks.prior=normal" if walks(generator) else
                          "truncation: this generator translates images, and has no latents to scale; leave it out")
    if isinstance(asked, int):
        conditions = labels_of(generator, count, start)
    else:
        generator.told.require_fit(asked)
        conditions = asked
    return decode(generator, truncation * latents(generator, start + count, seed)[start:], conditions)


def asked(generator: Any, table: Any, count: int) -> int | Tensor:
    """What to ask a generator for, to get images like those of a `Table`: so many, in the shares of its training
    images; or, of texts or images, the conditions of so many of the table's, evenly spread (all, if it has no more)."""
    if not generator.told.given:
        return count
    return torch.from_numpy(np.array(table.evenly(count).conditions))


def piece(asked: int | Tensor, start: int, count: int) -> int | Tensor:
    """What is asked for from there on."""
    return count if isinstance(asked, int) else asked[start : start + count]


def to_uint8(images: Tensor) -> Tensor:
    """[−1, 1] → 0…255, rounded."""
    return to_pixels(images).round().clamp(0, 255).to(torch.uint8)


def to_pixels(images: Tensor) -> Tensor:
    """[−1, 1] → float 0…255."""
    return images.float().add(1).mul(127.5)

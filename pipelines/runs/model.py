"""What the stages read in model/: a generator, and where it comes from."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ganlib.config import ConfigError, require, take
from ganlib.files import read_json
from ganlib.sampling import generator as generators

AGAIN = "run `dvc repro`, which writes it anew"


@dataclass(frozen=True, kw_only=True)
class Description(generators.Description):
    """All that a run says of its generator."""

    dataset: str
    images_seen: int
    ema: bool
    data_sha256: str
    run: str  # its directory
    git: str | None = None  # models of older revisions say neither this
    params: dict[str, Any] | None = None  # nor this

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.images_seen < 2**53, f"images_seen: a number from 0 on is needed, got {self.images_seen}")


def described(model: Path) -> Description:
    """What a directory says of its generator. ConfigError if that is not there, or not what it should be."""
    path = model / generators.ABOUT
    require(path.exists(), f"{path}: not found; train a generator with `dvc repro train`, or name its directory with "
                           "--model")
    return take(Description, read_json(path, AGAIN), str(path), AGAIN)


def require_evaluated(model: Path, evaluation: Path, measured: dict[str, Any]) -> None:
    """ConfigError unless it is the generator in `model` that was measured. An older evaluation does not say."""
    if measured.get("generator_sha256", (ours := generators.digest(model))) != ours:
        raise ConfigError(f"{evaluation} was measured with other weights than those of {model}; run "
                          "`python -m pipelines.evaluate`")


def read_model(model: Path) -> tuple[Description, int]:
    """What the directory of a generator says of itself, and how many numbers its weights are; ConfigError if one of its
    two files is not there or is something else."""
    description, weights = described(model), model / "generator.safetensors"
    try:
        with safe_open(weights, "pt") as file:
            return description, sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{weights}: not the weights of a generator ({error}); {AGAIN}") from None

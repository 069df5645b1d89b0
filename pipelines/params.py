"""params.yaml → typed parameters: the door through which every stage enters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ganlib import build
from ganlib.config import ConfigError, parse, require
from ganlib.metrics.protocol import Evaluation
from ganlib.training.run import Run

PARAMS = Path("params.yaml")
RUN = ("networks", "objective", "augmentation", "training", "seed")  # augmentation need not be there
SECTIONS = ("dataset", "networks", "objective", "training", "evaluation", "registry", "cluster", "seed")


@dataclass(frozen=True)
class Cluster:
    """Where training runs. Its results depend on it in the order of sums alone."""

    workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    max_failures: int = 3  # how often lost workers are replaced before the run is given up

    def __post_init__(self) -> None:
        for name in ("workers", "cpus_per_worker"):
            require(getattr(self, name) >= 1, f"{name}: must be at least 1, got {getattr(self, name)}")
        for name in ("gpus_per_worker", "max_failures"):
            require(getattr(self, name) >= 0, f"{name}: must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class Registry:
    """How a new version becomes champion."""

    standard_errors: float = 2.0  # of the difference of two distances, which a better one must exceed; 0: any will do

    def __post_init__(self) -> None:
        require(self.standard_errors >= 0, f"standard_errors: must not be negative, got {self.standard_errors}")


@dataclass(frozen=True)
class Params:
    """The sections of params.yaml, checked; `dataset` is checked against its source but stays a mapping."""

    dataset: dict[str, Any]
    run: Run  # networks, objective, training, seed
    evaluation: Evaluation
    registry: Registry
    cluster: Cluster
    seed: int
    raw: dict[str, Any]


def parse_params(raw: dict[str, Any]) -> Params:
    """All sections checked; ConfigError names the key that is wrong and what to write instead."""
    if missing := [section for section in SECTIONS if section not in raw]:
        raise ConfigError(f"{PARAMS}: section {missing[0]} is missing; write it with `python -m pipelines.compose`")
    build.component("datasets", raw["dataset"])
    return Params(
        dataset=raw["dataset"],
        run=Run.parse({key: raw[key] for key in RUN if key in raw}),
        evaluation=parse(Evaluation, raw["evaluation"], "evaluation"),
        registry=parse(Registry, raw["registry"], "registry"),
        cluster=parse(Cluster, raw["cluster"], "cluster"),
        seed=raw["seed"],
        raw=raw,
    )


def load(path: Path = PARAMS) -> Params:
    """The parameters of a file that `pipelines.compose` wrote."""
    try:
        return parse_params(yaml.safe_load(path.read_text()) or {})
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found; write it with `python -m pipelines.compose`") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({error}); write it with `python -m pipelines.compose`") from None

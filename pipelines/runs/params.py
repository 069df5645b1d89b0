"""params.yaml → typed parameters: the door through which every stage enters."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from ganlib import build
from ganlib.condition import Condition
from ganlib.config import LARGEST, ConfigError, parse, require, suggest, within
from ganlib.metrics.protocol import Evaluation
from ganlib.training.run import Run

PARAMS = Path("params.yaml")
COMPOSE = "write it with `python -m pipelines.compose`"
MOST_NODES = 100_000  # of YAML, that nested aliases may stand for
RUN = ("networks", "objective", "augmentation", "training", "seed")  # augmentation need not be there
SECTIONS = ("dataset", "networks", "objective", "training", "evaluation", "registry", "cluster", "seed")
KNOWN = (*SECTIONS, "augmentation", "sweep", "composed")


@dataclass(frozen=True)
class Cluster:
    """Where training runs. Its results depend on it in the order of sums; on the number of workers, where networks have
    batch norms over each worker's share of the batch (see `Run.share`); and, by `training.precision=auto`, on the kind
    of processor."""

    workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    max_failures: int = 3  # how often lost workers are replaced before the run is given up
    storage: str | None = None  # where runs are kept: a URI (see runs/storage.py), or runs/, which all nodes must see
    tracking_uri: str | None = None  # of MLflow; MLFLOW_TRACKING_URI where that is set, else mlflow.db of the project
    patience: float = 60  # seconds to wait for a cluster to have what is asked for

    def __post_init__(self) -> None:
        within(self, 1, 100_000, "workers", "cpus_per_worker")
        within(self, 0, 1_000, "gpus_per_worker")
        within(self, 0, 10**9, "max_failures", "patience")


@dataclass(frozen=True)
class Registry:
    """Which generator of a run is measured and registered, and how a new version becomes champion."""

    checkpoint: Literal["last", "best"] = "last"  # of those that are kept; best by the distance during training
    standard_errors: float = 2.0  # of the difference of two distances, which a better one must exceed; 0: any will do

    def __post_init__(self) -> None:
        within(self, 0, 10**6, "standard_errors")


@dataclass(frozen=True)
class Parameter:
    """One of the four kinds of range; ends included."""

    choice: tuple[Any, ...] | None = None
    integer: tuple[int, int] | None = None
    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None
    key: tuple[str, ...] = ()  # dotted; several that get the same value; none: the parameter is a group of conf/
    only: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # parameter → its values under which this exists

    def __post_init__(self) -> None:
        given = [kind for kind in ("choice", "integer", "uniform", "loguniform") if getattr(self, kind) is not None]
        require(len(given) == 1, "one of choice, integer, uniform and loguniform is needed, got "
                f"{' and '.join(given) or 'none'}")
        if self.choice is not None:
            require(len(self.choice) > 0, "choice: no values to choose from")
            odd = [value for value in self.choice if not isinstance(value, str | int | float | None)]
            require(not odd, f"choice: numbers, words and null can be chosen, got {odd[:1]}")
        else:
            require(bool(self.key), "key: missing; name the key of params.yaml that this sets")
            low, high = self.range
            require(not self.integer or high - low <= 10**6, f"integer: at most a million values, got {low} … {high}")
            require(low < high, f"{given[0]}: the first end must be below the second, got [{low:g}, {high:g}]")
            require(self.loguniform is None or low > 0, f"loguniform: both ends must be above 0, got {low:g}")

    @property
    def range(self) -> tuple[float, float]:
        """The ends of what is no choice."""
        ends = self.integer or self.uniform or self.loguniform
        assert ends is not None
        return ends

    @property
    def continuous(self) -> bool:
        return self.uniform is not None or self.loguniform is not None

    def all(self) -> tuple[Any, ...] | None:
        """Every value, if they can be counted."""
        if self.choice is not None:
            return self.choice
        return tuple(range(self.integer[0], self.integer[1] + 1)) if self.integer else None

    def draw(self, trial: Any, name: str) -> Any:
        """A value from Optuna's trial."""
        if self.choice is not None:
            return trial.suggest_categorical(name, self.choice)
        low, high = self.range
        if self.integer:
            return trial.suggest_int(name, low, high)
        return trial.suggest_float(name, low, high, log=self.loguniform is not None)


@dataclass(frozen=True)
class Sweep:
    """What `pipelines.sweep` searches, how, and for how long."""

    name: str
    images: int  # seen by a trial
    space: dict[str, Parameter] = field(default_factory=dict)
    trials: int | None = None  # configurations; None: all of a grid
    seeds: tuple[int, ...] = (0,)  # that each configuration is trained with
    seed: int = 0  # of the search
    search: Literal["random", "grid", "optuna"] = "random"
    scheduler: Literal["none", "asha", "pbt"] = "none"
    reports: int = 9  # checkpoints, evenly spread over a trial's images; see `pipelines.sweeps.search.looks`
    reduction: int = 3  # asha: one in so many goes on
    workers: int = 1  # of a trial
    gpus_per_worker: float | None = None  # of a trial's; None: those of `cluster`
    concurrent: int | None = None  # trials at once; None: as many as the cluster holds
    register: bool = True  # the winner, trained in full
    confirm: int = 3  # new seeds that the best configuration is trained with again, as long as a trial

    def __post_init__(self) -> None:
        within(self, 1, 10**12, "images")
        within(self, 1, 100_000, "reports", "workers")
        within(self, 0, 10_000, "confirm")  # 0 leaves the best configuration its distance in the search, biased low
        within(self, 0, LARGEST - 1, "seed")
        require(min(self.seeds, default=0) >= 0, f"seeds: none is negative, got {list(self.seeds)}")
        require(self.confirm == 0 or self.scheduler != "pbt", "confirm: what population-based training finds cannot be "
                "trained again, since its learning rates changed on the way; write 0")
        require(self.trials is None or 1 <= self.trials <= 10**6, f"trials: 1 … 1,000,000 is needed, got "
                f"{self.trials}; null: all of a grid")
        require(self.trials is not None or self.search == "grid", "trials: how many? (null, all, is for search=grid)")
        require(self.concurrent is None or self.concurrent >= 1, f"concurrent: must be at least 1, got "
                f"{self.concurrent}; null: as many as the cluster holds")
        require(len(set(self.seeds)) == len(self.seeds) > 0, f"seeds: at least one, and each once, got "
                f"{list(self.seeds)}")
        require(re.fullmatch(r"[\w-]+", self.name) is not None, f"name: letters, digits, _ and - make one, got "
                f"{self.name!r}")
        require(self.scheduler != "asha" or (len(self.seeds) == 1 and self.reports > 1), "scheduler: asha stops "
                "trials, not configurations of several seeds, and not at their ends; write scheduler=none, or one "
                "seed and reports of 2 or more")
        require(self.reduction >= 2, f"reduction: at least 2, got {self.reduction}; 3 is usual")
        require(self.scheduler != "pbt" or (len(self.seeds) == self.workers == 1 and self.search != "optuna"),
                "scheduler: pbt hands checkpoints on between trials of one worker and one seed, which are known from "
                "the start; write workers=1, seeds=[0] and search=random")


@dataclass(frozen=True)
class Params:
    """The sections of params.yaml, checked; `dataset` is checked against its source but stays a mapping."""

    dataset: dict[str, Any]
    run: Run  # networks, objective, training, seed
    evaluation: Evaluation
    registry: Registry
    cluster: Cluster
    sweep: Sweep | None
    seed: int
    raw: dict[str, Any]


def _translates(run: Run, shape: tuple[int, int, int], condition: Condition) -> bool:
    with torch.device("meta"):
        generator: Any = run.build_networks(shape, condition)[build.MODEL]
    return generator.told.kind == "image"


def parse_params(raw: dict[str, Any]) -> Params:
    """All sections checked, also together, on the data as far as it is known; ConfigError names the key that is wrong
    and what to write instead."""
    if missing := [section for section in SECTIONS if section not in raw]:
        raise ConfigError(f"{PARAMS}: section {missing[0]} is missing; {COMPOSE}")
    for section in raw:
        require(section in KNOWN, f"{section}: unknown section{suggest(str(section), KNOWN)}")
    composed = raw.get("composed")
    require(composed is None or (isinstance(composed, list) and all(isinstance(choice, str) for choice in composed)),
            f"composed: a list of choices is needed, got {composed!r}; {COMPOSE}")
    _, data = build.component("datasets", raw["dataset"])
    run = Run.parse({key: raw[key] for key in RUN if key in raw})
    params = Params(
        dataset=raw["dataset"],
        run=run,
        evaluation=parse(Evaluation, raw["evaluation"], "evaluation"),
        registry=parse(Registry, raw["registry"], "registry"),
        cluster=parse(Cluster, raw["cluster"], "cluster"),
        sweep=parse(Sweep, raw["sweep"], "sweep") if raw.get("sweep") else None,
        seed=run.seed,
        raw=raw,
    )
    shape, condition = data.expected
    # How many images there are, the table will tell.
    run.check(shape, condition, params.cluster.workers, images=run.training.batch_size)
    require(condition.kind != "image" or _translates(run, shape, condition), f"networks.name: {run.networks['name']} "
            "makes images of noise, and this data tells images to draw from, by which it is measured; take networks="
            "unet or resnet (objective=pix2pix, or cyclegan where there are no pairs)")
    require(params.registry.checkpoint == "last" or params.run.training.monitor_images > 0, "registry.checkpoint: "
            "which is best is not known where training.monitor_images is 0; write 1000, or registry.checkpoint=last")
    _, networks = build.component("networks", params.run.networks)
    require(params.evaluation.truncation == 1 or getattr(networks, "prior", "normal") != "sphere",
            "evaluation.truncation: it would change nothing on the sphere of networks.prior=sphere; write 1, or "
            "networks.prior=normal")
    return params


def public(raw: dict[str, Any]) -> dict[str, Any]:
    """Raw parameters without `cluster`, whose URIs may hold passwords, and without choices of it: for records."""
    composed = raw.get("composed")
    kept = {section: value for section, value in raw.items() if section not in ("cluster", "composed")}
    if composed:
        composed = [choice for choice in composed if not choice.lstrip("~+").startswith("cluster")]
    return kept | {"composed": composed}


def load(path: Path = PARAMS) -> Params:
    """The parameters of a file that `pipelines.compose` wrote."""
    return parse_params(read(path))


def read(path: Path = PARAMS) -> dict[str, Any]:
    """The mapping in a YAML file that people may have edited. ConfigError for whatever is none."""
    try:
        text = path.read_text("utf-8-sig")
        if (size := _expanded(yaml.compose(text, yaml.SafeLoader), {})) > MOST_NODES:
            raise ConfigError(f"{path}: its aliases (*name) stand for {size:.3g} values; {COMPOSE}")
        values = yaml.safe_load(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found; {COMPOSE}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {COMPOSE}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({error}); {COMPOSE}") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:  # PyYAML's, of odd content
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())[:300]}); {COMPOSE}") from None
    require(isinstance(values, dict), f"{path}: a mapping of sections is needed, got {str(values)[:60]!r}; {COMPOSE}")
    require(all(isinstance(key, str) for key in values), f"{path}: the sections' names are text; {COMPOSE}")
    return values


def _expanded(node: yaml.Node | None, known: dict[yaml.Node, float]) -> float:
    """How many values a node of YAML stands for, with all of what its aliases repeat; infinitely many within itself."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if node not in known:
        known[node] = math.inf
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[node] = 1 + sum(_expanded(part, known) for part in inner)
    return known[node]

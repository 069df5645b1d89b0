"""The trials of a sweep, best configuration first: by the mean over its seeds, where all of them ran to the end."""

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ganlib.files import write_text
from ganlib.metrics.comparison import learned
from ganlib.metrics.protocol import require_equal
from pipelines.sweeps.space import Values

COMPLETE, STOPPED, FAILED = "complete", "stopped early", "failed"
CONFIDENCE = 0.95
DIGITS = 4  # of a mean distance; configurations that agree in these are told apart by their intervals


@dataclass(frozen=True)
class Outcome:
    """How one trial ended. `values`: of its parameters and its seed; `reason`: of a failure."""

    name: str
    values: Values
    distance: float
    images_seen: int
    seconds: float
    state: str
    reason: str = ""
    protocol: str = "{}"  # JSON
    came_from: str = ""  # the trial whose checkpoint it went on from


@dataclass(frozen=True)
class Row:
    """A configuration, over its seeds."""

    values: Values  # without the seed
    outcomes: tuple[Outcome, ...]

    @property
    def state(self) -> str:
        """The worst of its trials'."""
        return max((outcome.state for outcome in self.outcomes), key=[COMPLETE, STOPPED, FAILED].index)

    @property
    def distance(self) -> float:
        return float(np.mean([outcome.distance for outcome in self.outcomes]))

    @property
    def half_width(self) -> float:
        """Of the interval of the mean, by Student's t over the seeds; NaN for one seed, which tells nothing of it."""
        distances = [outcome.distance for outcome in self.outcomes]
        if (count := len(distances)) < 2 or not np.isfinite(distances).all():
            return math.nan
        return float(stdtrit(count - 1, (1 + CONFIDENCE) / 2) * np.std(distances, ddof=1) / math.sqrt(count))

    @property
    def images_seen(self) -> int:
        return sum(outcome.images_seen for outcome in self.outcomes)


@dataclass(frozen=True)
class Scale:
    """What distances are to be read by: that of real images, and that of an untrained generator (NaN if not known)."""

    floor: float
    untrained: float = math.nan

    def remark(self, row: Row) -> str:
        """What is to be said of a configuration: why it failed, or that it has learned next to nothing."""
        nothing = math.isfinite(self.untrained) and not learned(row.distance, math.nan, self.untrained, self.floor)
        return "no better than untrained" if row.state == COMPLETE and nothing else reason(row)


def rank(outcomes: Iterable[Outcome]) -> list[Row]:
    """Complete configurations by their mean distance, equal ones by the narrower interval; then those that were stopped
    early, the longest lived first; then those with a failed trial. ProtocolMismatch if two distances were measured in
    different ways."""
    outcomes = list({outcome.name: outcome for outcome in outcomes}.values())  # a searcher may ask for one trial twice
    measured = [outcome for outcome in outcomes if math.isfinite(outcome.distance)]
    for outcome in measured[1:]:
        require_equal(json.loads(outcome.protocol), json.loads(measured[0].protocol), f"trial {outcome.name}",
                      f"trial {measured[0].name}")
    rows: dict[str, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: (outcome.values.get("seed", 0), outcome.name)):
        rows.setdefault(json.dumps(_without_seed(outcome.values), sort_keys=True), []).append(outcome)
    return sorted((Row(_without_seed(found[0].values), tuple(found)) for found in rows.values()), key=_order)


def _order(row: Row) -> tuple[Any, ...]:
    worst = [COMPLETE, STOPPED, FAILED].index(row.state)
    lived = -row.images_seen if worst else 0
    mean = float(f"{row.distance:.{DIGITS}g}") if math.isfinite(row.distance) else math.inf
    return worst, lived, mean, row.half_width if math.isfinite(row.half_width) else math.inf, str(row.values)


def _without_seed(values: Values) -> Values:
    return {name: value for name, value in values.items() if name != "seed"}


def write_csv(path: Path, rows: list[Row], names: list[str], scale: Scale) -> None:
    """The table, a row for each configuration, with a column for each of the parameters `names`."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["rank", *names, "distance", "floor", "half_width", "seeds", "images_seen", "end", "reason"])
    for number, row in enumerate(rows, 1):
        writer.writerow([number, *(row.values.get(name, "") for name in names),
                         *map(_number, (row.distance, scale.floor, row.half_width)),
                         len(row.outcomes), row.images_seen, row.state, scale.remark(row)])
    write_text(path, text.getvalue())


def reason(row: Row) -> str:
    """Of the first failure."""
    return next((outcome.reason for outcome in row.outcomes if outcome.reason), "")


def show(rows: list[Row], names: list[str], scale: Scale, most: int = 30) -> str:
    """The table for people, with what its distances are to be read by below."""
    cells = [["", *names, "distance", "±", "images seen", ""]]
    for number, row in enumerate(rows[:most], 1):
        end = f"{'' if row.state == COMPLETE else row.state} {scale.remark(row)}".strip()
        cells.append([str(number), *(_short(row.values.get(name, "–")) for name in names), _short(row.distance),
                      "" if math.isnan(row.half_width) else f"{row.half_width:.2g}", f"{row.images_seen:,}", end[:60]])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)) + "  " + row[-1]
             for row in cells]
    more = [f"… and {len(rows) - most} more, in table.csv"] if len(rows) > most else []
    below = f"floor {scale.floor:.4g}: the distance of real images, or of pairs of what is told itself"
    if math.isfinite(scale.untrained):
        below += f"; untrained {scale.untrained:.4g}: the best one before its training"
    return "\n".join(line.rstrip() for line in [*lines, *more, below])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)

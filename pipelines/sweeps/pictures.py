"""What is to be seen of a sweep: parallel coordinates, importances, the best so far, and images of the best five."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure  # not pyplot, which keeps every figure
from matplotlib.ticker import EngFormatter
from PIL import Image

from ganlib.sampling.pictures import captioned
from pipelines.runs.params import Parameter, Sweep
from pipelines.sweeps.ranking import COMPLETE, FAILED, Row
from pipelines.sweeps.space import Space, Values
from pipelines.sweeps.trial import title

ABSENT = -0.12  # of an axis from 0 to 1: where a parameter is that does not exist
BEST = 5
LEAST = 6  # trials for which an importance says anything


def draw(space: Space, sweep: Sweep, rows: list[Row], reports: list[dict[str, Any]], trials: Path, floor: float
         ) -> dict[str, Image.Image]:
    """Name → picture, on white. `reports`: of all trials, in order of time; `trials`: the directory of their files;
    `floor`: the distance of real images, or of pairs of what is told itself."""
    found = {"best_so_far": best_so_far(sweep, reports, floor),
             "parallel_coordinates": parallel_coordinates(space, rows, floor)}
    first, when = first_look(reports)
    if figure := importances(space, rows, first, when):
        found["importance"] = figure
    if picture := best_grids(rows, trials):
        found["best"] = picture
    return found


def best_so_far(sweep: Sweep, reports: list[dict[str, Any]], floor: float) -> Image.Image:
    """The smallest distance over the images seen by all trials together."""
    seen: dict[str, int] = {}
    total, best, partial = [], [], math.inf
    whole: list[float] = []
    least = math.inf
    for report in reports:
        seen[report["name"]] = max(report["images_seen"], seen.get(report["name"], 0))
        if report["distance"] is None or not math.isfinite(report["distance"]):
            continue
        partial = min(partial, report["distance"])
        if report["images_seen"] >= sweep.images:
            least = min(least, report["distance"])
        total.append(sum(seen.values()))
        best.append(partial)
        whole.append(least)
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.step(total, best, where="post", color="#9bbce0", label="any trial, at any time")
    axes.step(total, [math.nan if math.isinf(value) else value for value in whole], where="post", color="#2f7ed8",
              label=f"trials of {sweep.images:,} images")
    axes.set(xlabel="images seen by all trials", ylabel=f"best distance (real images: {floor:.3g})", yscale="log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter("{x:,.4g}")
    axes.yaxis.set_minor_formatter("{x:,.4g}")
    axes.legend(frameon=False)
    axes.grid(alpha=0.15)
    return _picture(figure)


def parallel_coordinates(space: Space, rows: list[Row], floor: float) -> Image.Image:
    """A line for each configuration; the darker, the smaller the distance; failed ones are dotted. A parameter that a
    configuration does not have is passed below its axis."""
    names = [name for name in space.parameters if len({str(row.values.get(name)) for row in rows}) > 1]
    finite = [row.distance for row in rows if math.isfinite(row.distance)]
    low, high = (math.log(min(finite)), math.log(max(finite))) if finite else (0.0, 1.0)
    shade = Normalize(low, max(high, low + 1e-9))
    figure = Figure(figsize=(1.5 * (len(names) + 1) + 1, 4.2), layout="constrained")
    axes = figure.subplots()
    for row in reversed(rows):  # the best on top
        heights = [_height(space.parameters[name], row.values[name]) if name in row.values else ABSENT
                   for name in names]
        failed = not math.isfinite(row.distance)
        heights.append(1.0 if failed else float(shade(math.log(row.distance))))
        colour = "#999999" if failed else colormaps["viridis"](0.95 * float(shade(math.log(row.distance))))
        axes.plot(range(len(heights)), heights, color=colour, alpha=0.9, linewidth=2.2 if row is rows[0] else 1.1,
                  linestyle=":" if row.state == FAILED else "-" if row.state == COMPLETE else "--")
    for position, name in enumerate(names):
        _axis(axes, position, space.parameters[name])
    axes.vlines(len(names), 0, 1, color="black", linewidth=0.8)
    for height in (0.0, 0.5, 1.0):
        axes.annotate(f"{math.exp(low + height * (high - low)):.4g}", (len(names), height), (4, 0),
                      textcoords="offset points", fontsize=8, va="center")
    axes.set_xticks(range(len(names) + 1), [*names, "distance"])
    axes.set_yticks([])
    axes.set(xlim=(-0.3, len(names) + 0.6), ylim=(ABSENT - 0.04, 1.04))
    axes.spines[:].set_visible(False)
    axes.set_title(f"whole line: ran to its end; dashed: stopped early; dotted: failed. Real images: {floor:.3g}",
                   fontsize=9, loc="left")
    return _picture(figure)


def first_look(reports: list[dict[str, Any]]) -> tuple[dict[str, float], int]:
    """Trial → its first distance, and after how many images that is: all trials come so far, stopped or not."""
    first: dict[str, float] = {}
    when = 0
    for report in reports:
        if report["distance"] is not None and math.isfinite(report["distance"]):
            when = max(when, report["images_seen"]) if report["name"] not in first else when
            first.setdefault(report["name"], report["distance"])
    return first, when


def importances(space: Space, rows: list[Row], first: dict[str, float], when: int) -> Image.Image | None:
    """`shares_of_variance` as bars: of the last distances if all trials ran to the end, else of their first, which all
    have. None for too few trials."""
    ended = all(row.state == COMPLETE for row in rows)
    trials = [(row.values, outcome.distance if ended else first.get(outcome.name, math.nan))
              for row in rows for outcome in row.outcomes]
    shares = shares_of_variance(space, [(values, distance) for values, distance in trials if math.isfinite(distance)])
    if not shares:
        return None
    figure = Figure(figsize=(5.4, 0.4 * len(shares) + 1.3), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(shares, key=lambda name: shares[name])
    axes.barh(ordered, [shares[name] for name in ordered], color="#2f7ed8")
    axes.set(xlim=(0, 1), xlabel="share of the variance of log distance")
    axes.set_title("at the end" if ended else f"after {when:,} images, where all trials were looked at", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return _picture(figure)


def shares_of_variance(space: Space, trials: list[tuple[Values, float]]) -> dict[str, float]:
    """The share of the variance of log distance that each parameter explains by itself (functional analysis of
    variance, Hutter et al. 2014), among the trials that have it, if those are enough and differ in it."""
    shares = {}
    for name in space.parameters:
        having = [(values, distance) for values, distance in trials if name in values]
        if len(having) >= LEAST and len({str(values[name]) for values, _ in having}) > 1:
            shares[name] = _importance(space, having, name)
    return shares


def _importance(space: Space, trials: list[tuple[Values, float]], name: str) -> float:
    study = optuna.create_study()
    common = [other for other in space.parameters if all(other in values for values, _ in trials)]
    for values, distance in trials:
        study.add_trial(optuna.trial.create_trial(
            params={other: values[other] for other in common}, value=math.log(max(distance, 1e-9)),
            distributions={other: _distribution(space.parameters[other]) for other in common}))
    return optuna.importance.FanovaImportanceEvaluator(seed=0).evaluate(study, params=common)[name]


def _distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    if parameter.choice is not None:
        return optuna.distributions.CategoricalDistribution(parameter.choice)
    low, high = parameter.range
    if parameter.integer:
        return optuna.distributions.IntDistribution(int(low), int(high))
    return optuna.distributions.FloatDistribution(low, high, log=parameter.loguniform is not None)


def best_grids(rows: list[Row], trials: Path) -> Image.Image | None:
    """The last grids of the best five that ran to their end."""
    strips = []
    for number, row in enumerate([row for row in rows if row.state == COMPLETE][:BEST], 1):
        grids = sorted((trials / row.outcomes[0].name / "snapshots").glob("*.png"))
        if grids:
            caption = f"{number}. {row.distance:.4g}\n" + title(row.values).replace(" ", "\n")
            with Image.open(grids[-1]) as picture:
                strips.append((caption, picture.copy()))
    return captioned(strips) if strips else None


def _height(parameter: Parameter, value: Any) -> float:
    """Where a value lies on its axis, from 0 to 1."""
    if parameter.choice is not None:
        return parameter.choice.index(value) / max(1, len(parameter.choice) - 1)
    low, high = parameter.range
    if parameter.loguniform:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _axis(axes: Axes, position: int, parameter: Parameter) -> None:
    axes.vlines(position, 0, 1, color="black", linewidth=0.8)
    if parameter.choice is not None:
        ticks = list(parameter.choice)
    elif parameter.loguniform:
        ticks = list(np.geomspace(*parameter.range, 3))
    else:
        ticks = list(np.linspace(*parameter.range, 3))
    for tick in ticks:
        text = f"{tick:.3g}" if isinstance(tick, float) else str(tick)
        axes.annotate(text, (position, _height(parameter, tick)), (4, 0), textcoords="offset points", fontsize=8,
                      va="center", bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5})


def _picture(figure: Figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=130)
    with Image.open(file) as picture:
        return picture.convert("P", palette=Image.Palette.ADAPTIVE)

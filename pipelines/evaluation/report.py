"""One page about a run: what was trained, the numbers, curves and pictures."""

import csv
import json
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from markupsafe import Markup
from PIL import Image

from ganlib.config import ConfigError, take
from ganlib.files import read_json, write_text
from pipelines.evaluation.curves import over_images_seen
from pipelines.evaluation.names import safe
from pipelines.evaluation.page import encoded, picture_source, render
from pipelines.runs.model import AGAIN, Description, read_model, require_evaluated
from pipelines.runs.params import PARAMS, read
from pipelines.runs.project import EVALUATION, MODEL
from pipelines.runs.revision import git_revision
from pipelines.runs.tracker import flatten

T = TypeVar("T")
REPORT = Path("report/report.html")
LARGE = 400_000  # bytes of a picture's file; above, it is encoded anew
COMPOSE = "write it with `python -m pipelines.compose`, or give the parameters of the run with --params"
FIELDS = ("value", "floor", "standard_error", "interval", "untrained")  # of a metric, with columns of their own
MEANINGS = {  # of the metrics whose names match; the first counts
    "intra_class_*": "mean of the Fréchet distances within the classes; lower is better",
    "*_validation": "the same number of the validation split: by this one generators are chosen",
    "*_train": "the same number of training images: by this one generators are chosen",
    "*_back": "the same number of the way back: from the right outputs to their inputs",
    "lpips": "how different from the truth an output looks (LPIPS); lower is better",
    "l1": "mean absolute difference from the truth, of 1; lower is better",
    "psnr": "signal to noise against the truth, in dB; higher is better",
    "ssim": "structural similarity with the truth, 1 for the same image; higher is better",
    "cosine_*": "cosine distance between the features of output and truth; lower is better",
    "colour_histogram": "share of all pixels, of all outputs together, that would need another colour to have the "
                        "colours of the truth; lower is better",
    "*_infinity": "the Fréchet distance continued to infinitely many generated images; lower is better",
    "fd_*": "Fréchet distance; lower is better",
    "fid": "Fréchet inception distance; lower is better",
    "kernel_distance": "unbiased squared MMD, about 0 for equal distributions; lower is better",
    "precision": "share of generated images that lie among real ones; higher is better",
    "recall": "share of real images that lie among generated ones; higher is better",
    "density": "how many real neighbourhoods hold a generated image; about 1 for real ones",
    "coverage": "share of real images with a generated one nearby; higher is better",
    "is_*": "single images clear, all together varied; higher is better",
    "inception_score": "single images clear, all together varied; higher is better",
    "sliced_wasserstein": "mean over directions of the distance along each; lower is better",
    "wasserstein_lower_bound": "the earth mover's distance is at least this; below 0 it says nothing",
    "near_duplicates": "pairs of generated images that are hardly different; fewer are better",
    "support_size": "how many equally likely images would repeat as often; more are better",
    "memorization": "how often a generated image is closer to the training images than a test image is: ½ like new "
                    "real images, 1 copies",
    "path_length_*": "how abruptly images change between latents; lower is smoother",
    "class_share_min": "share of the rarest class",
    "label_accuracy": "share of images in which a classifier sees the label that was asked for; higher is better",
    "code_accuracy": "share of images in which a classifier sees the class that best fits their code; higher is better",
    "classification_accuracy_score": "accuracy on real test images of a classifier that learned from generated ones "
                                     "alone; higher is better",
}  # fmt: skip
PICTURES = {  # name: title, what is to be seen
    "samples": ("Samples", "Images of the generator, not chosen."),
    "classes": ("By class", "The first samples of each class that a classifier sees, and how often it sees it."),
    "labels": ("By label", "What the generator makes of each label; the same latents in each column."),
    "codes": ("Continuous codes", "Each code varied alone, from left to right."),
    "pairs": ("Inputs and outputs", "Test images, not chosen: what the translator was given, what it made of it, what "
                                    "is right where that is known, and the way back where there is one."),
    "animation": ("While it learned", "The same latents, or inputs, after more and more images seen."),
    "progress": ("Step by step", "The same latents, or inputs, in each column, a row for each moment of the training."),
    "interpolation": ("Interpolation", "Paths from one latent to another, straight and spherical."),
    "arithmetic": ("Arithmetic", "Mean latents of classes, subtracted and added."),
    "truncation": ("Truncation", "The same latents, row by row nearer to their mean: better images, less variety."),
    "precision_recall": ("Precision and recall", "What precision is left at each recall; real images would reach the "
                                                 "upper right corner."),
    "neighbours": ("Nearest neighbours", "Samples beside the real images most like them, training images on the right: "
                                         "has it learned by heart?"),
}  # fmt: skip


@dataclass(frozen=True)
class Parameters:
    """What the page takes from the parameters, besides listing all of them."""

    networks: dict[str, Any]
    seed: int
    objective: dict[str, Any] | None = None
    augmentation: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    composed: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Measured:
    """What the page takes from metrics.json, besides the numbers."""

    distance: str
    protocol: dict[str, Any]
    class_shares: dict[str, float] | None = None
    failed: str | None = None
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compared:
    """What the page takes from the protocol, besides listing all of it."""

    data_sha256: str
    real_images: int
    generated_images: int
    pairs: str | None = None  # what those are compared by whose right answer is known; older ones have none


@dataclass(frozen=True)
class Share:
    """Of a number of its own, numbers/class_share.<name>.json."""

    floor: float


def report(model: Path = MODEL, evaluation: Path = EVALUATION, params: Path = PARAMS, out: Path = REPORT) -> Path:
    """Write the page of the generator in `model` and its `evaluation` to `out`; gives `out`.

    `params`: the parameters it was trained with, unless the model's own description holds them. ConfigError if there is
    no model, if the evaluation or the parameters are of another, or if one of their files cannot be read.
    """
    description, weights = read_model(model)
    metrics = evaluation / "metrics.json"
    numbers = read_json(metrics, AGAIN) if metrics.exists() else None
    measured = None if numbers is None else take(Measured, numbers, str(metrics), AGAIN)
    compared = take(Compared, measured.protocol, f"{metrics}, protocol", AGAIN) if measured else None
    if compared and compared.data_sha256 != description.data_sha256:
        raise ConfigError(f"{evaluation} was measured on other data than {model} was trained on; run `dvc repro`")
    require_evaluated(model, evaluation, numbers or {})
    parameters = _parameters(description, model, params)
    columns, rows = table(numbers or {})
    losses, others = loss_curves(model)
    shape = "×".join(map(str, description.shape))
    page = render(
        "report.html",
        title=f"{description.dataset}, {description.networks['name']}",
        subtitle=f"{description.images_seen:,} images seen, seed {description.seed}" +
                 (f"; {compared.generated_images:,} generated images against {compared.real_images:,} real ones"
                  if compared else "; not evaluated yet"),
        trained=[("data", f"{description.dataset}, {shape}" +
                  (f", {len(description.classes)} classes" if description.classes else "")),
                 *_trained(parameters),
                 ("generator", f"{weights:,} weights" + (", averaged over the training" if description.ema else "")),
                 ("run", Path(description.run).name)],
        columns=columns, numbers=rows, pairs=compared and compared.pairs,
        failed=measured and measured.failed, cautions=measured.cautions if measured else (),
        shares=shares((measured and measured.class_shares) or {}, evaluation / "numbers"),
        curves=losses, more_curves=others, pictures=pictures(evaluation),
        protocol=[(_spaced(name), str(value)) for name, value in measured.protocol.items()] if measured else [],
        trained_at=description.git, written_at=git_revision(), commands=_commands(parameters),
        parameters=flatten(parameters).items(),
    )  # fmt: skip
    write_text(out, page)
    return out


def table(measured: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """What metrics.json holds → the names of the columns, and rows of a name, its meaning and a cell for each column.

    Each number, or mapping with a `value`, is a row. Of such a mapping's fields, FIELDS are columns; the last column,
    "more", has the names and values of all others. The distance comes first.
    """
    entries = dict(_entries({key: measured[key] for key in measured if key not in ("protocol", "class_shares")}))
    if (distance := measured.get("distance")) in entries:
        entries = {distance: entries[distance]} | entries
    there = {field for entry in entries.values() for field in entry} - {"left_out"}
    columns = [field for field in FIELDS if field in there] or ["value"]
    rows = [{"name": name, "meaning": _meaning(name), "cells": [_shown(entry.get(field)) for field in columns] +
             ([_others(entry)] if there > set(columns) else [])} for name, entry in entries.items()]
    return [_spaced(field) for field in columns] + (["more"] if there > set(columns) else []), rows


def _meaning(name: str) -> str:
    return next((text for pattern, text in MEANINGS.items() if fnmatchcase(name, pattern)), "")


def _others(entry: Mapping[str, Any]) -> str:
    """The fields of a metric that have no column: each name, and its value."""
    pairs = (Markup("{} {}").format(_spaced(field), _shown(value)) for field, value in entry.items()
             if field not in (*FIELDS, "left_out"))
    return Markup(", ").join(pairs)


def _entries(measured: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, entry in measured.items():
        if isinstance(entry, dict) and "value" in entry:
            yield prefix + name, entry
        elif isinstance(entry, dict):
            yield from _entries(entry, f"{prefix}{name}.")
        elif isinstance(entry, int | float):
            yield prefix + name, {"value": entry}


def _shown(value: Any) -> str:
    """A number for people, marked up with all its digits; an interval as low – high."""
    if isinstance(value, list):
        return Markup(" – ").join(map(_shown, value))
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "" if value is None else str(value)
    whole = isinstance(value, int) or 1e3 <= abs(value) < 1e15
    text = f"{value:,.0f}" if whole else f"{value:.4g}"
    return Markup('<data value="{}">{}</data>').format(json.dumps(value), text)


def shares(found: Mapping[str, float], numbers: Path) -> list[dict[str, Any]]:
    """The class shares as bars, in percent of the widest; beside them, where the directory `numbers` of the evaluation
    tells them, the shares among real images."""
    files = {name: numbers / f"class_share.{safe(name)}.json" for name in found}
    real = {name: take(Share, read_json(file, AGAIN), str(file), AGAIN).floor for name, file in files.items()
            if file.exists()}
    widest = max([*found.values(), *real.values(), 1e-9])
    return [{"name": name, "share": f"{share:.1%}", "width": round(100 * share / widest, 2),
             "real": f"{real[name]:.1%}" if name in real else None,
             "mark": round(100 * real[name] / widest, 2) if name in real else None} for name, share in found.items()]


def loss_curves(model: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The losses and the distance over the training, and a curve for each other thing that was logged."""
    logged, distances = _columns(model / "history.csv"), _columns(model / "distance.csv")
    losses = {name: logged.pop(name) for name in list(logged) if name.endswith("loss")}
    charts = [("Losses", "loss", losses), ("Distance of some images, while training", "distance", distances)]
    return ([_chart(name, what, curves) for name, what, curves in charts if curves],
            [_chart(name, name, {name: curve}) for name, curve in logged.items()])


def _chart(name: str, what: str, curves: Mapping[str, tuple[list[float], list[float]]]) -> dict[str, str]:
    ends = "; ".join(f"{label} from {y[0]:.3g} to {y[-1]:.3g}" for label, (_, y) in curves.items())
    return {"name": name, "alt": f"{name} over the images seen: {ends}", "svg": Markup(over_images_seen(curves, what))}


def _columns(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """A table with the column images_seen → each other column's curve, without its empty cells."""
    if not path.exists():
        return {}
    curves: dict[str, tuple[list[float], list[float]]] = {}
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        try:
            for row in rows:
                seen = float(row.pop("images_seen"))
                for name, cell in row.items():
                    if cell and math.isfinite(number := float(cell)):
                        x, y = curves.setdefault(name, ([], []))
                        x.append(seen)
                        y.append(number)
        except (ValueError, KeyError, TypeError, csv.Error) as error:  # a cell too many is a list, under no name
            raise ConfigError(f"{path}, line {rows.line_num}: images_seen and other numbers are needed, each below its "
                              f"name in the first line ({error}); {AGAIN}") from None
    return curves


def pictures(evaluation: Path) -> list[dict[str, Any]]:
    """The pictures of an evaluation with their captions: those that are known in their order, then all others."""
    files = {path.stem: path for path in sorted(evaluation.glob("[!.]*.png"))}
    shown = []
    for name in sorted(files, key=lambda name: [*PICTURES, name].index(name)):
        title, caption = PICTURES.get(name, (_spaced(name), ""))
        shown.append({"name": title, "caption": caption, "alt": f"{title}. {caption}".strip(), **_picture(files[name])})
    return shown


def _picture(path: Path) -> dict[str, Any]:
    try:
        with Image.open(path) as picture:
            picture.load()
            moves = getattr(picture, "is_animated", False)
            if moves or path.stat().st_size <= LARGE:
                source = picture_source(path.read_bytes())
            else:
                source = picture_source(encoded(picture.convert("RGB"), "webp", quality=90), "webp")
            return {"moves": moves, "width": picture.width, "height": picture.height, "source": source}
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for broken files
        raise ConfigError(f"{path}: cannot be read as a picture ({error}); {AGAIN}, or remove it") from None


def _parameters(description: Description, model: Path, path: Path) -> dict[str, Any]:
    """All that the run was asked for: what the model says, or else `path`, if that is not of another run."""
    if description.params is not None:
        take(Parameters, description.params, f"{model / 'generator.json'}, params", AGAIN)
        return description.params
    own = {"networks": description.networks, "seed": description.seed}
    if not path.exists():
        return own
    parameters = read(path)
    if any(parameters.get(name) != value for name, value in own.items()):
        raise ConfigError(f"{path} does not describe this generator: its networks or its seed are others; give the "
                          "parameters of the run with --params")
    take(Parameters, parameters, str(path), COMPOSE)
    return parameters


def _trained(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections of the parameters that say what was trained, each in one line."""
    objective = dict(parameters.get("objective") or {})
    sections = {"networks": parameters["networks"], "objective": objective,
                "optimizers": objective.pop("optimizers", None), "augmentation": parameters.get("augmentation"),
                "training": parameters.get("training"), "seed": str(parameters["seed"])}
    return [(name, _line(section)) for name, section in sections.items() if section]


def _line(section: Any) -> str:
    """What is set in a section; the name of what it configures stands alone."""
    if not isinstance(section, dict):
        return str(section)
    told = (f"{key.replace('.', ' ')} {value}".removeprefix("name ")
            for key, value in flatten({"name": None} | section).items() if value not in ("None", "none", "False"))
    return ", ".join(told)


def _commands(parameters: Mapping[str, Any]) -> str:
    composed = parameters.get("composed")
    if composed is None:
        return "dvc repro  # with the parameters below in params.yaml"
    return shlex.join(["python", "-m", "pipelines.compose", *composed]) + "\ndvc repro"


def _spaced(name: str) -> str:
    return name.replace("_", " ")

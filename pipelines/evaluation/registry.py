"""A generator and its evaluation → a version in MLflow's registry, and perhaps its champion."""

import hashlib
import json
import math
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.models import ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

import ganlib
from ganlib.config import ConfigError, require
from ganlib.datasets.sources import Reading, reading_of
from ganlib.files import read_json
from ganlib.metrics.comparison import Measured, improvement
from ganlib.metrics.protocol import ProtocolMismatch, differences
from ganlib.sampling import generator as generators
from pipelines.evaluation.names import IN_METRICS, IN_MODELS, safe
from pipelines.evaluation.page import encoded
from pipelines.evaluation.results import numbers_of, of_tags
from pipelines.runs import tracker as tracking
from pipelines.runs.model import Description, described, require_evaluated
from pipelines.runs.params import Registry
from pipelines.runs.project import EVALUATION, MODEL, REPORT
from pipelines.runs.revision import git_revision

ALIAS = "champion"
AGAIN = "run `dvc repro`, which trains and evaluates first"
EVALUATE = "run `python -m pipelines.evaluate`"
WRAPPER = Path(__file__).with_name("pyfunc_model.py")
Again = Callable[[Path], dict[str, Any]]  # the directory of a generator → its distance, with `left_out`
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow", "safetensors", "torch")  # of sampling and of the wrapper


def register(model: Path = MODEL, evaluation: Path = EVALUATION, report: Path = REPORT,
             standard_errors: float = Registry.standard_errors, again: Again | None = None) -> dict[str, Any]:
    """`again` measures a champion of another protocol under the new one (see `measured_again`).

    Gives {"name", "version", "champion": whether this version is it now, "reason"}.

    Raises ConfigError if there is nothing to register, or if a version was made and could not be completed, and what
    MLflow's client raises if none was made. The next call goes on from there.
    """
    generator, _ = generators.load(model)  # or it would be registered, and nobody could draw from it
    description, measured = described(model), read_json(evaluation / "metrics.json", AGAIN)
    if not {"choice", "generator_sha256"} <= measured.keys():
        raise ConfigError(f"{evaluation}/metrics.json is of an older revision, which had no distance to choose by or "
                          f"did not say whose numbers they are; {EVALUATE}")
    require(isinstance(measured.get("protocol"), dict) and "distance" in measured,
            f"{evaluation}/metrics.json: not as it was written; {EVALUATE}")
    require_evaluated(model, evaluation, measured)
    protocol = measured["protocol"]
    if (data := str(protocol.get("data_sha256"))) != description.data_sha256:
        raise ConfigError(f"{model} was trained on the data {description.data_sha256[:12]} and {evaluation} was "
                          f"measured with {data[:12]}; run `dvc repro`, which brings them together")
    name = f"ganlib-{safe(description.dataset, IN_MODELS)}"
    weights = generators.digest(model)
    identity = hashlib.sha256((weights + json.dumps(protocol, sort_keys=True)).encode()).hexdigest()
    tags = _tags(description, measured, weights, identity, evaluation)
    client = tracking.use_store()
    version = _known(client, name, identity) or _create(client, name, model, generator, description, tags)
    try:
        _describe(client, name, version, tags, evaluation, report, measured, description.images_seen)
        champion, reason = _crown(client, name, version, tags, standard_errors, again)
    except (mlflow.MlflowException, SQLAlchemyError, OSError) as error:
        raise ConfigError(f"version {version} of {name} is there, but not yet all of its numbers and pictures, or "
                          f"whether it is {ALIAS} ({tracking.short(error)}); the same command completes it") from None
    return {"name": name, "version": version, "champion": champion, "reason": reason}


def _tags(description: Description, measured: dict[str, Any], weights: str, identity: str, evaluation: Path
          ) -> dict[str, str]:
    """What a version says of itself."""
    protocol, distance, choice = measured["protocol"], measured["distance"], measured["choice"]
    try:
        return {
            "identity": identity, "dataset": description.dataset, "generator_sha256": weights,
            "data_sha256": protocol["data_sha256"], "git": git_revision(), "distance": distance,
            "protocol": json.dumps(protocol, sort_keys=True), "choice": choice,
            "left_out": json.dumps(measured[choice]["left_out"]), "failed": measured["failed"] or "no",
            "standard_error": str(measured[distance].get("standard_error")),
            **{key: str(entry["value"]) for key, entry in numbers_of(measured).items()},
        }  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{evaluation}/metrics.json: not as it was written ({error!r}); {EVALUATE}") from None


def _known(client: MlflowClient, name: str, identity: str) -> str | None:
    """The version of these weights and this protocol; the first, if two calls at once have just made two."""
    found = client.search_model_versions(f"name = '{name}' and tags.identity = '{identity}'")
    return str(min(int(version.version) for version in found)) if found else None


def _create(client: MlflowClient, name: str, model: Path, generator: Any, description: Description,
            tags: dict[str, str]) -> str:
    run = _run(client, description, tags["generator_sha256"])
    folder = f"generator-{tags['identity'][:12]}-{uuid.uuid4().hex[:6]}"  # two calls at once do not write one file
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch) / "generator"
        files.mkdir()
        for file in ("generator.safetensors", "generator.json"):
            shutil.copy(model / file, files)
        mlflow.pyfunc.save_model(
            f"{scratch}/pyfunc", python_model=str(WRAPPER), artifacts={"generator": str(files)},
            signature=signature(generator, description.shape, reading_of({"params": description.params})),
            input_example=example(generator),
            code_paths=[str(Path(ganlib.__file__).parent)],
            pip_requirements=[f"{package}=={metadata.version(package).partition('+')[0]}" for package in REQUIREMENTS],
        )  # fmt: skip
        client.log_artifacts(run, f"{scratch}/pyfunc", folder)
    # With its tags in the one call that makes it: there is no moment at which a version is there and not yet described.
    made = str(mlflow.register_model(f"runs:/{run}/{folder}", name, tags=tags).version)
    kept = _known(client, name, tags["identity"]) or made
    if kept != made:  # by another process, since we looked
        client.delete_model_version(name, made)
        get_artifact_repository(client.get_run(run).info.artifact_uri).delete_artifacts(folder)
    return kept


def _describe(client: MlflowClient, name: str, version: str, tags: dict[str, str], evaluation: Path, report: Path,
              measured: dict[str, Any], images_seen: int) -> None:
    """The numbers, pictures and pages of a version, also where an earlier call registered it with others."""
    registered = client.get_model_version(name, version)
    for key, value in tags.items():
        if registered.tags.get(key) != value:
            client.set_model_version_tag(name, version, key, value)
    run = str(registered.run_id)
    _log_evaluation(client, run, evaluation, measured, images_seen)
    for page in sorted(report.glob("*.html")):
        client.log_artifact(run, str(page), "report")


def signature(generator: Any, shape: tuple[int, ...], reading: Reading) -> ModelSignature:
    """What goes into a registered generator, and comes out; see `pyfunc_model.py`."""
    inputs = Schema([ColSpec("long", "seed"), ColSpec("long", "label", required=False),
                     ColSpec("string", "class", required=False), ColSpec("double", "truncation", required=False)])
    params = []
    if not generators.walks(generator):
        # Bytes, which a server is sent as base64; in this process MLflow lets text pass, too: paths.
        inputs = Schema([ColSpec("binary", "image"), ColSpec("long", "seed", required=False)])
        params = [ParamSpec("back", "boolean", False), ParamSpec("fit", "string", reading.fit),
                  ParamSpec("grey", "boolean", False)]
        if reading.white is not None:
            params.append(ParamSpec("white", "double", float(reading.white)))
        if hasattr(generator, "back"):  # whose images may have other channels
            shape = (-1, *shape[1:])
    outputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape))])
    return ModelSignature(inputs, outputs, ParamSchema([ParamSpec("n", "long", 1), *params]))


def example(generator: Any) -> pd.DataFrame:
    """A row that a registered generator can be given."""
    if generators.walks(generator):
        return pd.DataFrame({"seed": [0]})
    return pd.DataFrame({"image": [encoded(Image.new("L", generator.told.sides[::-1], "white"), "png")], "seed": [0]})


def _run(client: MlflowClient, description: Description, weights: str) -> str:
    """The MLflow run of the training; where its directory is not in this project, a run for what is registered."""
    parts = Path(description.run).parts  # of the project it was trained in, of which this may be a copy
    directory = Path(*parts[-1 - parts[::-1].index("runs"):]) if "runs" in parts else Path(description.run)
    if (directory / tracking.JOURNAL).exists() and (run := tracking.send(directory, wait=True)):
        return run
    experiment = tracking.experiment(client, f"ganlib-{description.dataset}")
    if found := client.search_runs([experiment], f"tags.generator_sha256 = '{weights}'"):
        return found[0].info.run_id
    made = client.create_run(experiment, tags={"generator_sha256": weights}, run_name=directory.name)
    client.set_terminated(made.info.run_id)
    return made.info.run_id


def _log_evaluation(client: MlflowClient, run: str, evaluation: Path, measured: dict[str, Any],
                    images_seen: int) -> None:
    # The time of the evaluation: logged again after an interruption, the same number is no second one.
    time = int((evaluation / "metrics.json").stat().st_mtime * 1000)
    numbers = {f"evaluation/{key}" + ("" if field == "value" and key != "class_shares" else
                                      f".{safe(field, IN_METRICS)}"): number
               for key, entry in measured.items() if key != "protocol" and isinstance(entry, dict)
               for field, number in entry.items() if isinstance(number, int | float)}
    metrics = [Metric(name, float(number), time, images_seen) for name, number in numbers.items()]
    for start in range(0, len(metrics), tracking.BATCH):
        client.log_batch(run, metrics=metrics[start:start + tracking.BATCH])
    for file in [evaluation / "metrics.json", *sorted(evaluation.glob("*.png"))]:
        client.log_artifact(run, str(file), "evaluation")


def _crown(client: MlflowClient, name: str, version: str, tags: dict[str, str], standard_errors: float,
           again: Again | None) -> tuple[bool, str]:
    """Move the alias if the version deserves it: (whether it has it now, why)."""
    key = tags["choice"]
    champion = client.get_registered_model(name).aliases.get(ALIAS)
    if champion is not None and str(champion) == version:
        return True, "it is the champion already"
    new = of_tags(f"version {version}", tags)
    if not math.isfinite(new.value):
        return False, f"its {key} is {new.value}"
    if tags["failed"] != "no":
        return False, tags["failed"]
    if champion is None:
        client.set_registered_model_alias(name, ALIAS, version)
        return True, f"it is the first with a {key}: {new.value:.4g}"
    try:
        old, failed = _under(client, name, str(champion), new.protocol, again)
        gain, noise = improvement(new, old)
    except ProtocolMismatch as error:
        return False, str(error)
    their = old.name.removeprefix("the champion, ")
    if failed:
        client.set_registered_model_alias(name, ALIAS, version)
        return True, f"{their}, the champion so far, failed: {failed}"
    numbers = f"{key} {new.value:.4g} ± {new.standard_error:.2g} against {old.value:.4g} ± {old.standard_error:.2g}"
    needed = standard_errors * noise if standard_errors else 0.0  # at 0 the noise need not be known
    if not math.isfinite(needed):
        return False, (f"the noise of one is not known: {numbers}; evaluate it again, or set "
                       "`registry.standard_errors` to 0 if any gain will do")
    if gain > needed:
        client.set_registered_model_alias(name, ALIAS, version)
        return True, f"it is better than {their}: {numbers}"
    if gain > 0:
        return False, (f"it is better than {their}, but not by {standard_errors:g} standard errors "
                       f"({noise:.2g}): {numbers}; `registry.standard_errors` says how many it takes")
    return False, f"it is not better than {their}: {numbers}"


def _under(client: MlflowClient, name: str, version: str, protocol: Mapping[str, Any], again: Again | None
           ) -> tuple[Measured, str | None]:
    """The champion's distance under a protocol: as it was registered, or measured again, which is then noted with it;
    and why it failed, if it did. ProtocolMismatch, with the reason, where it cannot be measured."""
    tags = client.get_model_version(name, version).tags
    old = of_tags(f"the champion, version {version}", tags)
    if not (differing := differences(old.protocol, protocol)):
        return old, None if tags["failed"] == "no" else tags["failed"]
    noted = "again." + hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()[:12]
    if noted not in tags:
        fields = ", ".join(field for field, _, _ in differing)
        if again is None:
            raise ProtocolMismatch(f"{old.name} was measured in another way ({fields} differ), and cannot be measured "
                                   "again here; run `python -m pipelines.register`")
        print(f"register: {old.name} was measured in another way ({fields} differ): measuring it again", flush=True)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                files = mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=scratch)
                entry = again(Path(files) / "artifacts/generator")
        except (ConfigError, OSError, mlflow.MlflowException) as error:
            raise ProtocolMismatch(f"{old.name} was measured in another way ({fields} differ), and cannot be measured "
                                   f"again: {error}. Remove its alias to let the next good version be champion: "
                                   f"MlflowClient().delete_registered_model_alias({name!r}, {ALIAS!r})") from None
        tags[noted] = json.dumps([entry["value"], entry["left_out"], entry["failed"]])
        client.set_model_version_tag(name, version, noted, tags[noted])
    value, left_out, failed = json.loads(tags[noted])
    of_other_data = any(field == "data_sha256" for field, _, _ in differing)
    seen = " (it may have been trained on images that it is measured by)" if of_other_data else ""
    return Measured(f"{old.name}, measured again{seen}", value, tuple(left_out), protocol), failed

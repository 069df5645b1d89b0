"""A generator to use, by what a command was told: one in a directory, or a registered one with its own library."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import mlflow
import numpy as np

from ganlib.datasets.sources import Reading, reading_of
from ganlib.files import read_json
from ganlib.sampling import generator as generators
from pipelines.evaluation.pyfunc_model import GeneratorModel
from pipelines.runs import tracker as tracking


class Loaded(NamedTuple):
    """A generator, the names of its classes, how the files of its training were read, the `ganlib.sampling.generator`
    that it was made with, and its `predict`: a table and `params` → images, as `pyfunc_model.py` says."""

    generator: Any
    names: Sequence[str]
    reading: Reading
    library: Any
    predict: Callable[..., np.ndarray]


@contextmanager
def loaded(model: str) -> Iterator[Loaded]:
    """The generator of a `models:/…` or `runs:/…` URI, or of a directory. ConfigError, or what MLflow's client raises,
    where there is none."""
    if ":/" not in model:
        wrapper = GeneratorModel()
        wrapper.load_context(SimpleNamespace(artifacts={"generator": model}))
        yield Loaded(wrapper.generator, wrapper.names, wrapper.reading, generators,
                     lambda table, params: wrapper.predict(None, table, params))
        return
    tracking.use_store(writes=False)
    # Downloaded even from this disk: MLflow reads a % in the path of a local model as that of a URI.
    with tempfile.TemporaryDirectory() as scratch, _library_found_anew():
        place = mlflow.artifacts.download_artifacts(model, dst_path=scratch)
        registered = mlflow.pyfunc.load_model(place)
        wrapper = registered.unwrap_python_model()
        about = read_json(Path(place) / "artifacts/generator" / generators.ABOUT, "register it again")
        yield Loaded(wrapper.generator, about["classes"], reading_of(about), wrapper.library,
                     lambda table, params: registered.predict(table, params=params))


@contextmanager
def _library_found_anew() -> Iterator[None]:
    """In here, `ganlib` is the first one on the path. A registered model brings the copy that it was made with, and so
    an old champion still loads when the networks have changed since; but what is imported already would be taken."""
    def imported() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] == "ganlib"]

    ours, path = {name: sys.modules.pop(name) for name in imported()}, sys.path[:]
    try:
        yield
    finally:
        for name in imported():
            del sys.modules[name]
        sys.modules.update(ours)
        sys.path = path

"""Weights of other packages: read without trust, from packages that are found and not imported."""

import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlib.metrics import weights
from ganlib.metrics.weights import unpickle


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_something_is_refused_before_it_does(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "target"
    pickled = pickle.dumps({"conv1": [np.zeros(3), Malicious(target)]}, protocol)
    with pytest.raises(pickle.UnpicklingError, match="not allowed; only numpy arrays"):
        unpickle(pickled)
    assert not target.exists()
    pickle.loads(pickled)
    assert target.exists()  # it would have


@pytest.mark.parametrize("called", ["builtins eval", "os system", "numpy load", "numpy.core.multiarray fromstring"])
def test_no_other_name_is_looked_up(called: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        unpickle(f"c{called.replace(' ', chr(10))}\n.".encode())


def test_a_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unwilling").mkdir()
    (tmp_path / "unwilling/__init__.py").write_text("raise ImportError('it needs what is not there')")
    monkeypatch.syspath_prepend(tmp_path)
    assert weights.folder("unwilling") == tmp_path / "unwilling" and "unwilling" not in sys.modules
    with pytest.raises(ImportError):
        importlib.import_module("unwilling")
    assert weights.folder("of_this_name_there_is_none") is None

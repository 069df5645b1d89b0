"""Weights that come with other packages: where these are installed, and pickles of arrays, read without trust.

A pickle could hold anything: the hash is checked first, and then nothing but numpy arrays is unpickled.
"""

import hashlib
import importlib.util
import io
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ganlib.config import ConfigError


def folder(package: str) -> Path | None:
    """Where an installed package lies, which is not imported; None if there is none."""
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


class _Arrays(pickle.Unpickler):
    """An unpickler of numpy arrays, and of nothing else."""

    ALLOWED: ClassVar = {  # as numpy 1 named them
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed; only numpy arrays are read")
        return self.ALLOWED[module, name]


def unpickle(pickled: bytes) -> Any:
    """What a pickle of numpy arrays, in dicts and lists, holds. UnpicklingError if it holds more; none of it runs."""
    return _Arrays(io.BytesIO(pickled), encoding="latin1").load()


def arrays(path: Path, sha256: str, of: str, package: str) -> Any:
    """What the file with that hash holds. ConfigError, naming what the weights are of and whose they are, for any
    other file."""
    pickled = path.read_bytes()
    if (found := hashlib.sha256(pickled).hexdigest()) != sha256:
        raise ConfigError(f"{path} (sha256 {found}) does not hold the weights of {of} (sha256 {sha256}); "
                          f"give the file of the package {package}, or no path")
    return unpickle(pickled)


def kernel(array: np.ndarray) -> Tensor:
    """A convolution's kernel (height, width, in, out), as TensorFlow and JAX have it, in torch's order."""
    return torch.from_numpy(array.copy()).permute(3, 2, 0, 1)

"""Mean and covariance of features, from which a Fréchet distance is computed: merged, and stored with a protocol."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """Of `count` feature vectors: `mean` (d,) and unbiased `covariance` (d, d), both float64."""

    count: int
    mean: Tensor
    covariance: Tensor

    @classmethod
    def from_features(cls, features: Tensor | np.ndarray) -> "Statistics":
        """From features (N, d), N ≥ 1 (a single one has covariance 0). ValueError if any of them is not finite."""
        values = torch.as_tensor(features).double()
        if values.ndim != 2 or len(values) == 0:
            raise ValueError(f"statistics: features of shape (N, d) with N ≥ 1 are needed, got {tuple(values.shape)}")
        if not values.isfinite().all():
            raise ValueError("statistics: the features hold NaN or infinity; look at the images they come from")
        mean = values.mean(0)
        centred = values - mean
        return cls(len(values), mean, centred.T @ centred / max(len(values) - 1, 1))

    def merge(self, other: "Statistics") -> "Statistics":
        """The statistics of both sets together (Chan, Golub and LeVeque 1979, equation 2.1)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        scatter = ((self.count - 1) * self.covariance + (other.count - 1) * other.covariance
                   + torch.outer(delta, delta) * (self.count * other.count / count))
        return Statistics(count, self.mean + delta * (other.count / count), scatter / (count - 1))


def accumulate(chunks: Iterable[Tensor | np.ndarray]) -> Statistics:
    """The statistics of a stream of feature chunks (n, d), never held at once."""
    return reduce(Statistics.merge, map(Statistics.from_features, chunks))


def save(path: Path, statistics: Statistics, protocol: dict[str, Any]) -> None:
    """Write `path` (safetensors) with the protocol as its metadata; all or nothing."""
    tensors = {"mean": statistics.mean.contiguous(), "covariance": statistics.covariance.contiguous()}
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, {"count": str(statistics.count), "protocol": json.dumps(protocol)})
    os.replace(temporary, path)


def load(path: Path) -> tuple[Statistics, dict[str, Any]]:
    """Read what `save` wrote: the statistics and their protocol. ValueError names a file that is not one."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            return (Statistics(int(metadata["count"]), file.get_tensor("mean"), file.get_tensor("covariance")),
                    json.loads(metadata["protocol"]))
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} does not hold feature statistics ({error}); delete it and compute it again") from None

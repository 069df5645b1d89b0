"""Mean and covariance of features, from which a Fréchet distance is computed: merged, and stored with a protocol."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganlib import files
from ganlib.metrics.arrays import matrix

Features = Tensor | np.ndarray


BLOCK = 1024  # rows that are held in float64 at a time


@dataclass(frozen=True)
class Statistics:
    """Of `count` feature vectors: `mean` (d,) and unbiased `covariance` (d, d), both float64, on the CPU."""

    count: int
    mean: Tensor
    covariance: Tensor

    @classmethod
    def from_features(cls, features: Features | Iterable[Features]) -> "Statistics":
        """From features (N, d), or a stream of chunks (n, d) of which each is seen once; N ≥ 1 in all (a single one has
        covariance 0). Beside what is passed in, it holds one block of rows and one matrix (d, d).

        ValueError if there are none, if the chunks have not one d, or if any value is not finite.
        """
        chunks = [features] if isinstance(features, Tensor | np.ndarray) else features
        count, mean, scatter = 0, torch.empty(0), torch.empty(0)
        for chunk in chunks:
            if len(chunk.shape) != 2 or (count and chunk.shape[1] != len(mean)):
                raise ValueError(f"statistics: features of shape (N, {len(mean) if count else 'd'}) are needed, "
                                 f"got {tuple(chunk.shape)}")
            for start in range(0, len(chunk), BLOCK):
                block = matrix(chunk[start:start + BLOCK], "statistics").double()
                if count == 0:
                    mean = torch.zeros(block.shape[1], dtype=torch.float64)
                    scatter = torch.zeros(block.shape[1], block.shape[1], dtype=torch.float64)
                block_mean = block.mean(0)
                block = block - block_mean
                delta = block_mean - mean
                # Chan, Golub and LeVeque 1979, equation 2.1, in place
                scatter.addmm_(block.T, block).addr_(delta, delta, alpha=count * len(block) / (count + len(block)))
                count += len(block)
                mean += delta * (len(block) / count)
        if count == 0:
            raise ValueError("statistics: features of shape (N, d) with N ≥ 1 are needed, got none")
        return cls(count, mean, scatter.div_(max(count - 1, 1)))

    def merge(self, other: "Statistics") -> "Statistics":
        """The statistics of both sets together (Chan, Golub and LeVeque 1979, equation 2.1)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        scatter = ((self.count - 1) * self.covariance + (other.count - 1) * other.covariance
                   + torch.outer(delta, delta) * (self.count * other.count / count))
        return Statistics(count, self.mean + delta * (other.count / count), scatter / (count - 1))

    @cached_property
    def root(self) -> Tensor:
        """R (d, r) with R Rᵀ = covariance, computed when first asked for and kept: Cholesky's lower triangle if r = d.
        Where the covariance is singular up to rounding, its eigenvectors by the roots of their eigenvalues, r < d."""
        rounding = len(self.mean) * torch.finfo(torch.float64).eps
        factor, failed = torch.linalg.cholesky_ex(self.covariance)
        if not failed and factor.diagonal().square().min() > rounding * self.covariance.diagonal().max():
            return factor
        # numpy's eigh: torch's does not converge on some covariances with many dead features
        eigenvalues, vectors = np.linalg.eigh(self.covariance.numpy())
        alive = eigenvalues > max(rounding * eigenvalues[-1], eigenvalues[0])
        return torch.from_numpy(vectors[:, alive] * np.sqrt(eigenvalues[alive]))


def save(path: Path, statistics: Statistics, protocol: dict[str, Any]) -> None:
    """Write `path` (safetensors) with the protocol as its metadata; all or nothing."""
    tensors = {"mean": statistics.mean.contiguous(), "covariance": statistics.covariance.contiguous()}
    about = {"count": str(statistics.count), "protocol": json.dumps(protocol)}
    files.replace(path, lambda temporary: save_file(tensors, temporary, about))


def load(path: Path) -> tuple[Statistics, dict[str, Any]]:
    """Read what `save` wrote: the statistics and their protocol. ValueError names a file that is not one."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            return (Statistics(int(metadata["count"]), file.get_tensor("mean"), file.get_tensor("covariance")),
                    json.loads(metadata["protocol"]))
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} does not hold feature statistics ({error}); delete it and compute it again") from None

"""Sums over the data-parallel workers that gradients flow through, on any backend. One worker: the tensors themselves.

Each worker backpropagates its own loss, and gradients are averaged over the workers afterwards. A loss that couples the
samples of a batch (a batch mean, pairwise distances) is then that of the whole global batch if each worker computes it
from what these functions return.
"""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce


def workers() -> int:
    """The workers of torch's default process group; 1 if there is none."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This worker's place among them, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def mean(tensor: Tensor) -> Tensor:
    """The average over the workers of tensors of one shape."""
    return tensor if workers() == 1 else all_reduce(tensor) / workers()


def gather(tensor: Tensor) -> Tensor:
    """(N, ...) of each worker → (N·workers, ...), in the order of their ranks: the global batch."""
    if workers() == 1:
        return tensor
    # Padded with zeros and summed: every backend can do that, and it can be differentiated twice.
    before, after = rank(), workers() - rank() - 1
    shape = tensor.shape[1:]
    parts = [tensor.new_zeros(before * len(tensor), *shape), tensor, tensor.new_zeros(after * len(tensor), *shape)]
    return all_reduce(torch.cat(parts))

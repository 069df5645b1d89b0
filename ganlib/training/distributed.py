"""Averaging over data-parallel workers by hand: one flat all-reduce after each backward pass.

Not DistributedDataParallel: with several networks, alternating moves, double backward and heads that a move does not
use, it stops ("Expected to have finished reduction in the prior iteration") or is silently wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganlib import collectives


@dataclass(frozen=True)
class Workers:
    """This worker's place among all of them. The process group, if there is one, has been initialised by the caller."""

    rank: int = 0
    count: int = 1

    @staticmethod
    def current() -> "Workers":
        """Of torch's default process group; one worker if there is none."""
        return Workers(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else Workers()

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The means over the workers, in one collective. With one worker, the tensors themselves."""
        if self.count == 1:
            return list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def average_gradients(self, parameters: Iterable[nn.Parameter], stats: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Average the gradients in place, and return the averages of the scalars among `stats` from the same
        collective; samples (N, ...) among them are those of all workers, by rank.

        Parameters without a gradient have taken no part in this move, on any worker: they are left alone.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        scalars = [name for name, value in stats.items() if value.ndim == 0]
        averaged = self.average([*gradients, *(stats[name] for name in scalars)])
        if self.count > 1:
            torch._foreach_copy_(gradients, averaged[: len(gradients)])
        means = dict(zip(scalars, averaged[len(gradients) :], strict=True))
        return {name: means[name] if name in means else collectives.gather(value) for name, value in stats.items()}

    @torch.no_grad()
    def broadcast(self, modules: Iterable[nn.Module]) -> None:
        """Rank 0's parameters and buffers to every worker."""
        if self.count > 1:
            for module in modules:
                for tensor in module.state_dict().values():
                    dist.broadcast(tensor, 0)

    def average_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Batch norm's running statistics were made by each worker from its own share."""
        buffers = [b for module in modules for b in module.buffers() if b.is_floating_point()]
        if self.count > 1 and buffers:
            torch._foreach_copy_(buffers, self.average(buffers))

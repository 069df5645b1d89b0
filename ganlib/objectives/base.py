"""The contract of an objective: players (roles), their moves (phases), and the state that the game itself has."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ganlib.config import require

Networks = Mapping[str, Any]  # role → nn.Module; a generator has `latent`, a discriminator `mixes_batch`
Stats = dict[str, Tensor]  # metric → detached scalar


class Noise:
    """The random numbers of one phase: a pure function of its seed, drawn for the whole global batch and cut to this
    worker's share. So any number of workers draws the same numbers for the same samples."""

    def __init__(self, seed: int, count: int, rank: int = 0, device: torch.device | str = "cpu", workers: int = 1):
        """`count` is this worker's number of samples; the global batch has count·workers."""
        self._generator = torch.Generator(device).manual_seed(seed)
        self._count, self._rank, self._workers = count, rank, workers

    def normal(self, *shape: int) -> Tensor:
        """Standard normal (count, *shape)."""
        return self._share(torch.randn, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1): (count, *shape)."""
        return self._share(torch.rand, shape)

    def _share(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        numbers = draw(
            self._count * self._workers, *shape, generator=self._generator, device=self._generator.device
        )
        return numbers[self._rank * self._count : (self._rank + 1) * self._count]


@dataclass
class Batch:
    """What a phase sees: this worker's share of a batch of N real images, and randomness of its own."""

    real: Tensor  # (N, C, H, W), in [-1, 1]
    label: Tensor | None  # (N,) int64
    noise: Noise
    average: Callable[[Tensor], Tensor] = field(default=lambda tensor: tensor)  # over the workers
    fake: Tensor | None = None  # (N, C, H, W) with the generator's graph, if the loop shares it between the phases


class Phase(NamedTuple):
    """One player's move."""

    name: str  # "D", "G", "D_r1": names the move in metrics and errors
    trains: tuple[str, ...]  # roles whose parameters move; the loop freezes every other role
    loss: Callable[[Networks, Batch], tuple[Tensor, Stats]]  # mean over the batch; pure
    every: int = 1  # in batches: the generator moves every n_critic, lazy regularisation every 16


@dataclass(frozen=True)
class Optimizer:
    """How the parameters of one role move."""

    name: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)  # adam only
    decay: Literal["constant", "linear", "cosine"] = "constant"  # of lr, down to 0 at the last image

    def __post_init__(self) -> None:
        require(self.lr > 0, f"lr: must be above 0, got {self.lr:g}; 2e-4 is usual")
        require(all(0 <= beta < 1 for beta in self.betas), f"betas: each must lie in [0, 1), got {self.betas}")


class Objective(nn.Module, abc.ABC):
    """A game. A Module, so that whatever state the game has (buffers) enters the checkpoint."""

    roles: tuple[str, ...] = ("generator", "discriminator")
    optimizers: Mapping[str, Optimizer]  # role → optimizer

    @abc.abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The moves, in the order in which they are made on one batch."""

    def check(self, networks: Networks) -> None:
        """Raise ConfigError if this game cannot be played by these networks."""

    def fakes(self, networks: Networks, batch: Batch) -> Tensor:
        """The generated batch that the phases may share, with the generator's graph: (N, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} cannot share fakes; set training.share_fakes=false")

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        """Called after each phase's step, with statistics already averaged over the workers: the only place where the
        objective's state changes, or a parameter is moved by anything but an optimizer (weight clipping)."""

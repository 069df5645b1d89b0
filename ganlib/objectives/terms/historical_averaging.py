"""Historical averaging: parameters stay near their own past. Salimans et al. 2016, arXiv:1606.03498, sec. 3.3."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.config import require
from ganlib.objectives.base import Images, Networks, Phase, Stats
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    weight: float = 1e-4

    def __post_init__(self) -> None:
        require(self.weight > 0, f"weight: must be above 0, got {self.weight:g}")


class HistoricalAveraging(Term):
    """‖θ − (1/t) Σᵢ θ[i]‖² of the player that moves, where θ[i] are its parameters after its i-th move; nothing before
    its first."""

    def __init__(self, config: Config):
        super().__init__()
        self.weight = config.weight

    def bind(self, networks: Networks, images: Images) -> None:
        for role in ("generator", "discriminator"):
            self.register_buffer(f"{role}_moves", next(networks[role].parameters()).new_zeros(()))
            for number, parameter in enumerate(networks[role].parameters()):
                self.register_buffer(f"{role}_{number}", torch.zeros_like(parameter))

    def discriminator(self, move: Move) -> Tensor:
        return self._distance("discriminator", move.networks)

    def generator(self, move: Move) -> Tensor:
        return self._distance("generator", move.networks)

    def _distance(self, role: str, networks: Networks) -> Tensor:
        parameters = list(networks[role].parameters())
        pairs = zip(parameters, self._means(role, parameters), strict=True)
        squares = [(parameter - mean).square().sum() for parameter, mean in pairs]
        started = self.get_buffer(f"{role}_moves").clamp_max(1)
        return self.weight * started * torch.stack(squares).sum()

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        for role in phase.trains:
            parameters = list(networks[role].parameters())
            moves = self.get_buffer(f"{role}_moves").add_(1)
            for parameter, mean in zip(parameters, self._means(role, parameters), strict=True):
                mean.add_((parameter - mean) / moves)

    def _means(self, role: str, parameters: list[Tensor]) -> list[Tensor]:
        return [self.get_buffer(f"{role}_{number}") for number in range(len(parameters))]


def build(config: Config) -> HistoricalAveraging:
    return HistoricalAveraging(config)

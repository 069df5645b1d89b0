"""The contract of a term."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganlib.objectives.base import Batch, Fakes, Images, Networks, Phase, Stats
from ganlib.verdict import Verdict


class Move(NamedTuple):
    """What a player has at hand in its move on one batch."""

    networks: Networks
    batch: Batch
    fakes: Fakes  # detached in the discriminator's move
    real: Verdict | None  # of the reals; in the generator's move only if a term or the loss `needs_real`
    fake: Verdict  # of the fakes; with no scores where the discriminator has no part in the move
    adversarial: Callable[[Tensor, Tensor], Tensor]  # the discriminator's loss per sample of (real, fake) scores
    stats: Stats  # a term may add to what is logged


class Term(nn.Module, abc.ABC):
    """Added to the loss of the discriminator, the generator, or both, and logged as it is added: weighted.

    Pure, as losses are: whatever state a term has is a buffer that changes in `advance` alone. Means over a batch are
    means over the global batch only if they are taken of what `ganlib.collectives.gather` gives.
    """

    needs_real = False  # the generator's move must judge the reals as well
    needs_verdict = True  # its part in the generator's loss is one of what the discriminator says

    def discriminator(self, move: Move) -> Tensor | None:
        """What is added to the discriminator's loss, weighted: a scalar. None: nothing."""
        return None

    def generator(self, move: Move) -> Tensor | None:
        """What is added to the generator's loss, weighted: a scalar. None: nothing."""
        return None

    def weigh(self, realism: Tensor) -> Tensor | None:
        """How real fakes look (N,) → weights (N,), 1 on average, in the generator's adversarial loss. None: alike."""
        return None

    def loss_options(self) -> dict[str, Any]:
        """Arguments of the adversarial loss that this term rules over."""
        return {}

    def check(self, networks: Networks) -> None:
        """Raise ConfigError if these networks do not give what the term needs."""

    def bind(self, networks: Networks, images: Images) -> None:
        """As Objective.bind."""

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        """As Objective.advance: `images_seen` counts those of this batch, too."""

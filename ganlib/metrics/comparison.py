"""Whether one measured distance is smaller than another, beyond what their noise explains; and whether it shows that
anything was learned."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganlib.metrics.protocol import require_equal
from ganlib.metrics.uncertainty import jackknife_error

LEARNED = 0.2  # of the way from an untrained generator's distance to the floor: less is next to nothing


@dataclass(frozen=True)
class Measured:
    """A distance with what it takes to compare it: what it is without each of G groups of the generated images (() if
    not known; see `uncertainty.Interval`), and the dict of its protocol, which fixes the groups."""

    name: str  # of what was measured, for messages
    value: float
    left_out: tuple[float, ...]
    protocol: Mapping[str, Any]

    @property
    def standard_error(self) -> float:
        """NaN if it is not known."""
        return jackknife_error(self.left_out)


def improvement(new: Measured, old: Measured) -> tuple[float, float]:
    """By how much `new` is smaller than `old`, and the standard error of that difference (NaN if not known).

    The error is the jackknife's of the difference itself, group by group: the protocol gives both generators the same
    latents, so two checkpoints of one run rise and fall together, and the noise of their difference is a fraction of
    theirs; for generators that have nothing to do with each other it comes out as (s² + t²)^½. Raises ProtocolMismatch
    where the two cannot be compared.
    """
    require_equal(new.protocol, old.protocol, new.name, old.name)
    paired = len(new.left_out) == len(old.left_out)
    differences = [theirs - mine for mine, theirs in zip(new.left_out, old.left_out, strict=True)] if paired else []
    return old.value - new.value, jackknife_error(differences)


def learned(value: float, standard_error: float, untrained: float, floor: float, standard_errors: float = 2.0) -> bool:
    """Whether a distance is clearly better than that of the same generator before training: by more than LEARNED of
    the way to the floor, what real images reach, and beyond the noise. False for a distance that is NaN."""
    noise = standard_errors * standard_error if math.isfinite(standard_error) else 0.0
    return untrained - value - noise > LEARNED * max(untrained - floor, 0.0)

"""Whether one measured distance is smaller than another, beyond what their noise explains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ganlib.metrics.protocol import require_equal


@dataclass(frozen=True)
class Measured:
    """A distance with what it takes to compare it: standard error (NaN if not known), and the dict of its protocol."""

    name: str  # of what was measured, for messages
    value: float
    standard_error: float
    protocol: Mapping[str, Any]


def improvement(new: Measured, old: Measured) -> tuple[float, float]:
    """By how much `new` is smaller than `old`, and the standard error of that difference, their errors being
    independent: (s² + t²)^½. Raises ProtocolMismatch where the two cannot be compared."""
    require_equal(new.protocol, old.protocol, new.name, old.name)
    return old.value - new.value, math.hypot(new.standard_error, old.standard_error)

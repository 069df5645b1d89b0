"""A comparison of distances: the gain, the noise of both, and no comparison across protocols."""

import pytest

from ganlib.metrics.comparison import Measured, improvement
from ganlib.metrics.protocol import ProtocolMismatch


def test_the_errors_add_in_quadrature() -> None:
    gain, noise = improvement(Measured("new", 90.0, 3.0, {"resize": 112}), Measured("old", 100.0, 4.0, {"resize": 112}))
    assert (gain, noise) == (10.0, 5.0)


def test_other_protocols_are_not_compared() -> None:
    with pytest.raises(ProtocolMismatch, match=r"new and old .* resize 64 \(new\) against 112 \(old\)"):
        improvement(Measured("new", 1.0, 0.0, {"resize": 64}), Measured("old", 2.0, 0.0, {"resize": 112}))

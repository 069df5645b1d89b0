"""What the metrics are measured against gives the same numbers; and the memory of a stream does not grow with it."""

from functools import partial

import pytest

from benchmarks.metrics import drawn, in_a_process, plain_frechet, plain_precision_recall, stream
from ganlib.metrics import Statistics, frechet_distance, precision_recall


def test_the_plain_forms_say_what_ours_say() -> None:
    a, b = drawn(300, 0, 32), drawn(300, 1, 32)
    real, fake = Statistics.from_features(a), Statistics.from_features(b)
    plain = plain_frechet(real.mean.numpy(), real.covariance.numpy(), fake.mean.numpy(), fake.covariance.numpy())
    assert frechet_distance(real, fake) == pytest.approx(plain, rel=1e-8)
    assert precision_recall(a, b) == plain_precision_recall(a, b)


def test_a_stream_of_100_MB_takes_less_than_a_third_of_it() -> None:
    grown, (_, count) = in_a_process(partial(stream, 100_000, 256))
    assert count == 100_000 and grown < 32

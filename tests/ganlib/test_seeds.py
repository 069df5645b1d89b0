"""Streams of random numbers: alike everywhere, and none is another's."""

import numpy as np
import torch

from ganlib import seeds
from ganlib.datasets import order


def test_a_stream_is_a_function_of_its_purpose_and_its_parts() -> None:
    assert seeds.derive("weights", 0) == 6740523326957450893  # on any machine
    found = {seeds.derive(purpose, *parts) for purpose in ("weights", "latents") for parts in ((0,), (1,), (0, 1), ())}
    assert len(found) == 8 and all(0 <= seed < 2**63 for seed in found)
    assert torch.equal(torch.rand(3, generator=seeds.stream("x", 1)), torch.rand(3, generator=seeds.stream("x", 1)))


def test_the_first_epoch_of_a_seed_is_not_the_plain_permutation_of_that_seed() -> None:
    """[0, 0] and 0 are one seed to numpy."""
    assert not np.array_equal(order.indices(0, 100, 0, 100), np.random.default_rng(0).permutation(100))

import numpy as np
import pytest

from ganlib.datasets.order import indices


def test_every_epoch_is_a_permutation_and_epochs_differ():
    epochs = indices(3, 50, 0, 200).reshape(4, 50)
    for epoch in epochs:
        assert sorted(epoch) == list(range(50))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_any_slice_can_be_asked_for_directly():
    whole = indices(1, 7, 0, 100)
    for start, count in ((0, 100), (3, 20), (6, 2), (13, 0), (41, 59)):
        assert np.array_equal(indices(1, 7, start, count), whole[start:start + count])


def test_workers_together_see_the_global_batch():
    batch = indices(0, 100, 960, 64)
    assert np.array_equal(np.concatenate([indices(0, 100, 960 + rank * 16, 16) for rank in range(4)]), batch)


def test_the_seed_decides_and_the_result_is_the_callers_own():
    first = indices(5, 1000, 0, 1000)
    assert not np.array_equal(first, indices(6, 1000, 0, 1000))
    expected = first.copy()
    first[:] = 0  # would spoil a cached permutation
    assert np.array_equal(indices(5, 1000, 0, 1000), expected)
    assert expected.dtype == np.int64


@pytest.mark.parametrize("numbers", [(-1, 5, 0, 1), (0, 0, 0, 1), (0, 5, -1, 1), (0, 5, 0, -1)])
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(ValueError, match="must not be negative"):
        indices(*numbers)

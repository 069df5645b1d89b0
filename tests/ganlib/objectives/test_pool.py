"""The history of generated images: what is shown, what is kept, and for how long."""

import torch

from ganlib.objectives.base import Noise
from ganlib.objectives.pool import Pool


def made(size: int) -> Pool:
    pool = Pool(size)
    pool.bind((1, 1, 1), torch.device("cpu"))
    return pool


def numbered(start: int, count: int) -> torch.Tensor:
    return torch.arange(start, start + count, dtype=torch.float32).view(-1, 1, 1, 1)


def test_while_it_fills_the_new_ones_are_shown_and_kept():
    pool = made(5)
    for number in range(3):
        new = numbered(2 * number, 2)
        shown, places = pool(new, Noise(number, 2))
        assert torch.equal(shown, new) and places.tolist() == [-1, -1]
        pool.insert(new, places)
    assert pool.filled == 5 and pool.images.flatten().tolist() == [0, 1, 2, 3, 4]  # the sixth found no room


def test_once_full_half_are_exchanged_and_only_those_enter():
    """At a batch of one, as the authors' code: an old image is shown for a new one that takes its place, or the new
    one, which is not kept."""
    pool = made(50)
    pool.insert(numbered(0, 50), torch.full((50,), -1))
    exchanged, ages = 0, []
    for step in range(50, 8050):
        before = pool.images.flatten().clone()
        new = numbered(step, 1)
        shown, places = pool(new, Noise(step, 1))
        pool.insert(new, places)
        if places >= 0:
            exchanged += 1
            assert shown == before[places] and pool.images[places] == step
            ages.append(step - shown.item())
        else:
            assert shown == step and torch.equal(pool.images.flatten(), before)
    assert abs(exchanged / 8000 - 0.5) < 0.02
    assert abs(sum(ages) / len(ages) - 100) < 6  # queries: 50 places, each taken over with a chance of 1/100


def test_calling_it_changes_nothing_and_no_size_is_no_history():
    pool = made(4)
    pool.insert(numbered(0, 4), torch.full((4,), -1))
    before = pool.images.clone()
    first, second = (pool(numbered(9, 3), Noise(1, 3))[0] for _ in range(2))
    assert torch.equal(first, second) and torch.equal(pool.images, before)
    shown, places = made(0)(numbered(9, 3), Noise(1, 3))
    assert torch.equal(shown, numbered(9, 3)) and places.tolist() == [-1] * 3


def test_of_two_that_come_for_one_place_the_last_stays():
    pool = made(2)
    pool.insert(numbered(0, 2), torch.full((2,), -1))
    pool.insert(numbered(7, 3), torch.tensor([1, -1, 1]))
    assert pool.images.flatten().tolist() == [0, 9]

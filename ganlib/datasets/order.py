"""The order in which images are shown: a pure function of the seed and of the images seen so far."""

import functools

import numpy as np

from ganlib import seeds


def indices(seed: int, size: int, start: int, count: int) -> np.ndarray:
    """Positions start … start + count of the endless sequence of one permutation of range(size) per epoch.

    seed ≥ 0, size ≥ 1, start ≥ 0, count ≥ 0; gives int64 (count,). Any slice of the sequence can be asked for
    directly, so every number of workers sees the same global batches and a resumed run goes on exactly where it
    stopped. Raises ValueError for numbers out of range.
    """
    if seed < 0 or size < 1 or start < 0 or count < 0:
        raise ValueError(f"seed, start and count must not be negative and size must be at least 1, "
                         f"got seed={seed}, size={size}, start={start}, count={count}")
    result = np.empty(count, np.int64)
    filled = 0
    while filled < count:
        epoch, offset = divmod(start + filled, size)
        part = _permutation(seed, size, epoch)[offset:offset + count - filled]
        result[filled:filled + len(part)] = part
        filled += len(part)
    return result


@functools.lru_cache(maxsize=4)  # a batch lies in one epoch or two, of two sequences; drawing one takes a millisecond
def _permutation(seed: int, size: int, epoch: int) -> np.ndarray:
    permutation = np.random.default_rng(seeds.derive("order", seed, epoch)).permutation(size)
    permutation.setflags(write=False)
    return permutation

"""Images of which other implementations have said how far apart they are."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def known_pairs() -> tuple[np.ndarray, np.ndarray]:
    """uint8 (3, 3, 64, 64) twice: mosaics; with more noise, shifted by three pixels, and another one altogether."""
    rng = np.random.default_rng(2018)
    mosaics = np.kron(rng.integers(0, 256, (3, 3, 8, 8)), np.ones((8, 8), int))
    truth = mosaics + rng.integers(-20, 21, (3, 3, 64, 64))
    output = truth + rng.integers(-60, 61, (3, 3, 64, 64))
    output[1] = np.roll(truth[1], 3, -1)
    output[2] = truth[0]
    truth, output = (images.clip(0, 255).astype(np.uint8) for images in (truth, output))
    # or numpy draws other numbers than it did, and nothing that was said of them holds
    assert (truth.sum(), output.sum()) == (4819728, 4818395)
    return truth, output

"""The benchmark compares like with like."""

import numpy as np
import pytest
import torch

from benchmarks.features import RESIZE, plain
from ganlib.metrics import efficientnet_lite0
from ganlib.metrics.features import extract, extractor


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_plain_loop_gives_the_features_of_extract(fold: bool, channels_last: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 7, 7), np.uint8)
    network = efficientnet_lite0.load(efficientnet_lite0.weights_file(), fold)
    found = plain(network, images, batch_size=3, channels_last=channels_last)
    torch.testing.assert_close(found, extract(extractor(resize=RESIZE), images)[0], rtol=1e-4, atol=1e-4)

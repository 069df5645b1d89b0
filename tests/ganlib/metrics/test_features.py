"""Extraction: any batch size, arrays and tensors, grey and colour give the same features; wrong input is refused."""

import hashlib

import numpy as np
import pytest
import torch

from ganlib.config import ConfigError
from ganlib.metrics import efficientnet_lite0
from ganlib.metrics.features import Extractor, extract, extractor

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8), np.uint8)


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    return extractor("efficientnet_lite0", resize=32)


def test_batches_do_not_change_the_features(lite0: Extractor) -> None:
    seen: list[int] = []
    features, logits = extract(lite0, IMAGES, batch_size=3, progress=seen.append)
    whole_features, whole_logits = extract(lite0, torch.from_numpy(IMAGES), batch_size=100)
    assert seen == [3, 3, 1]
    assert features.shape == (7, 1280) and logits.shape == (7, 1000)
    assert features.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(features, whole_features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, whole_logits, rtol=1e-4, atol=1e-4)


def test_a_read_only_table_and_a_view_of_it_are_taken(lite0: Extractor) -> None:
    frozen = IMAGES.copy()
    frozen.flags.writeable = False
    reversed_features, _ = extract(lite0, frozen[::-1])
    torch.testing.assert_close(reversed_features.flip(0), extract(lite0, IMAGES)[0], rtol=1e-4, atol=1e-4)


def test_it_carries_what_a_protocol_needs(lite0: Extractor) -> None:
    assert (lite0.distance, lite0.score) == ("fd_efficientnet_lite0", "is_efficientnet_lite0")
    assert lite0.weights_sha256 == hashlib.sha256(efficientnet_lite0.weights_file().read_bytes()).hexdigest()


@pytest.mark.parametrize("wrong", [IMAGES.astype(np.float32), IMAGES[0], IMAGES.repeat(2, 1), IMAGES[:0]])
def test_wrong_images_are_refused(lite0: Extractor, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 images"):
        extract(lite0, wrong)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'inception'"):
        extractor("inceptoin")  # type: ignore[arg-type]


def test_inception_without_a_path_says_which_file() -> None:
    with pytest.raises(ConfigError, match="inception_path: give the path of pt_inception-2015-12-05"):
        extractor("inception")

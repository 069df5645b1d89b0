"""Extraction: any batch size, arrays and tensors, grey and colour give the same features; wrong input is refused."""

import hashlib
import importlib

import numpy as np
import pytest
import torch

from ganlib.config import ConfigError
from ganlib.metrics import efficientnet_lite0
from ganlib.metrics.features import NAMES, Extractor, extract, extractor
from ganlib.metrics.protocol import ExtractorName

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


@pytest.mark.parametrize("name", NAMES)
def test_every_extractor_is_a_module_of_its_name(name: ExtractorName) -> None:
    module = importlib.import_module(f"ganlib.metrics.{name}")
    assert all(callable(getattr(module, part)) for part in ("weights_file", "load", "prepare"))
    found = Extractor(name, torch.nn.Identity(), "", 32, module.RESIZE_METHOD, "cpu")
    named = (found.distance, found.score)
    assert named == (("fid", "inception_score") if name == "inception" else (f"fd_{name}", f"is_{name}"))


def test_unquantised_images_are_taken_and_left_as_they_are(lite0: Extractor) -> None:
    images = torch.from_numpy(IMAGES).float()
    torch.testing.assert_close(lite0(images)[0], extract(lite0, IMAGES)[0], rtol=1e-4, atol=1e-4)
    between = (images + 0.25).clamp(max=255)
    assert not torch.equal(lite0(between)[0], lite0(images)[0])
    assert torch.equal(images, torch.from_numpy(IMAGES).float())


@pytest.mark.parametrize("name", NAMES)
def test_preparing_does_not_change_the_images(name: ExtractorName) -> None:
    images = torch.rand(2, 1, 32, 32) * 255
    before = images.clone()
    importlib.import_module(f"ganlib.metrics.{name}").prepare(images, 32)  # nothing to resize
    assert torch.equal(images, before)

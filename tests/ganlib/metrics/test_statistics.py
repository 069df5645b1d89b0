"""Statistics: the textbook estimates, the same from parts as from the whole, back from the disk bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib.metrics import statistics
from ganlib.metrics.statistics import Statistics


@pytest.fixture
def features() -> np.ndarray:
    # a mean far from 0: where sums of squares would lose their digits
    return np.random.default_rng(0).normal(1000, 1, (500, 12))


def test_mean_and_unbiased_covariance(features: np.ndarray) -> None:
    found = Statistics.from_features(features)
    assert found.count == 500
    np.testing.assert_allclose(found.mean, features.mean(0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cuts", [[1], [250], [1, 2, 3, 499], [100, 200, 300, 400]])
def test_merged_parts_are_the_whole(features: np.ndarray, cuts: list[int]) -> None:
    whole, merged = Statistics.from_features(features), statistics.accumulate(np.split(features, cuts))
    assert merged.count == whole.count
    torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-14, atol=0)
    torch.testing.assert_close(merged.covariance, whole.covariance, rtol=1e-9, atol=1e-12)


def test_float32_features_are_summed_in_float64(features: np.ndarray) -> None:
    assert Statistics.from_features(features.astype(np.float32)).covariance.dtype == torch.float64


def test_back_from_the_disk(features: np.ndarray, tmp_path: Path) -> None:
    saved, protocol = Statistics.from_features(features), {"resize": 112, "distance": "fd_efficientnet_lite0"}
    statistics.save(tmp_path / "s.safetensors", saved, protocol)
    found, found_protocol = statistics.load(tmp_path / "s.safetensors")
    assert (found.count, found_protocol) == (saved.count, protocol)
    assert torch.equal(found.mean, saved.mean) and torch.equal(found.covariance, saved.covariance)
    assert [path.name for path in tmp_path.iterdir()] == ["s.safetensors"]


@pytest.mark.parametrize("keep", [0, 100, 500])
def test_a_cut_file_is_named(features: np.ndarray, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "s.safetensors"
    statistics.save(path, Statistics.from_features(features), {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"s\.safetensors does not hold"):
        statistics.load(path)


@pytest.mark.parametrize("wrong", [np.full((5, 3), np.nan), np.full((5, 3), np.inf), np.zeros((0, 3)), np.zeros(3)])
def test_what_has_no_statistics_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="statistics"):
        Statistics.from_features(wrong)

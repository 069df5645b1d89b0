"""Statistics: the textbook estimates, the same from parts as from the whole, back from the disk bit for bit."""

import warnings
from functools import reduce
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


@pytest.mark.parametrize("cuts", [[1], [250], [1, 2, 3, 499], [100, 200, 300, 400], [0, 200]])
def test_parts_are_the_whole_streamed_or_merged(features: np.ndarray, cuts: list[int]) -> None:
    mean, covariance = torch.from_numpy(features.mean(0)), torch.from_numpy(np.cov(features, rowvar=False))
    parts = np.split(features, cuts)
    streamed = Statistics.from_features(iter(parts))  # seen once
    merged = reduce(Statistics.merge, [Statistics.from_features(part) for part in parts if len(part)])
    for found in (streamed, merged):
        assert found.count == 500
        torch.testing.assert_close(found.mean, mean, rtol=1e-14, atol=0)
        torch.testing.assert_close(found.covariance, covariance, rtol=1e-9, atol=1e-12)


def test_a_large_array_goes_through_in_blocks(monkeypatch: pytest.MonkeyPatch, features: np.ndarray) -> None:
    whole = Statistics.from_features(features)
    monkeypatch.setattr(statistics, "BLOCK", 7)
    found = Statistics.from_features(features)
    torch.testing.assert_close(found.covariance, whole.covariance, rtol=1e-9, atol=1e-12)


def test_a_read_only_table_is_read(features: np.ndarray) -> None:
    features.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Statistics.from_features(features).count == 500


def test_the_root_is_one_of_the_covariance_singular_or_not(features: np.ndarray) -> None:
    dead = features.copy()
    dead[:, 3] = 1
    for values, rank in [(features, 12), (features[:5], 4), (dead, 11)]:
        found = Statistics.from_features(values)
        assert found.root.shape == (12, rank)
        torch.testing.assert_close(found.root @ found.root.T, found.covariance, rtol=0, atol=1e-9)
        assert found.root is found.root  # kept


def test_chunks_of_different_extractors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, 3\) are needed, got \(5, 4\)"):
        Statistics.from_features([np.ones((5, 3)), np.ones((5, 4))])


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

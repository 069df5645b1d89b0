"""Precision and recall against their definition, and in cases where the answer is known; the neighbour search."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from ganlib.metrics import neighbours
from ganlib.metrics.neighbours import density_coverage, memorization, nearest, precision_recall


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 16)


def covered(points: np.ndarray, centres: np.ndarray, k: int) -> float:
    """Kynkäänniemi et al. 2019, equation 1, image by image."""
    radii = np.array([np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(cdist(centres, centres))])
    return float(np.mean([any(row <= radii) for row in cdist(points, centres)]))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_it_is_the_definition(k: int) -> None:
    rng = np.random.default_rng(k)
    real, fake = 100 + rng.normal(size=(50, 6)), 100 + rng.normal(0.5, 0.8, size=(41, 6))  # far from 0
    expected = (covered(fake, real, k), covered(real, fake, k))
    assert min(expected) > 0.1 and max(expected) < 0.99  # the case says something
    assert precision_recall(real, fake, k) == pytest.approx(expected)


def test_a_generator_that_repeats_a_part_of_the_data_is_precise_and_recalls_little() -> None:
    real = np.random.default_rng(0).normal(size=(200, 4))
    precision, recall = precision_recall(real, real[:20].repeat(10, 0))
    assert precision == 1 and recall < 0.2


def test_far_apart_is_zero_and_equal_is_one() -> None:
    real = np.random.default_rng(0).normal(size=(60, 4))
    assert precision_recall(real, real + 100) == (0, 0)
    assert precision_recall(real, real) == (1, 1)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="more than k = 3"):
        precision_recall(np.zeros((3, 2)), np.zeros((10, 2)))


@pytest.mark.parametrize("k", [1, 5])
def test_density_and_coverage_are_their_definition(k: int) -> None:
    """Naeem et al. 2020, equations 3 and 4, pair by pair."""
    rng = np.random.default_rng(k)
    real, fake = rng.normal(size=(50, 6)), rng.normal(0.5, 0.8, size=(41, 6))
    radii = [np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(cdist(real, real))]
    inside = cdist(fake, real) <= radii
    expected = (inside.sum() / (k * 41), inside.any(0).mean())
    assert 0.1 < expected[1] < 0.99
    assert density_coverage(real, fake, k) == pytest.approx(expected)


def test_what_lies_on_the_rim_of_a_ball_is_inside() -> None:
    real = np.array([[0.0], [2], [4], [100]])  # balls of radius 2, 2, 2, 96
    fake = np.array([[-2.0], [196], [-3], [197]])  # two on the rim of one each, two outside
    assert density_coverage(real, fake, k=1) == (2 / 4, 2 / 4)
    assert precision_recall(real, fake, k=1)[0] == precision_recall(fake, real, k=1)[1] == 2 / 4


def test_equal_distributions_have_density_one_and_the_known_coverage() -> None:
    rng = np.random.default_rng(0)
    found = np.array([density_coverage(*rng.normal(size=(2, 100, 3)), k=3) for _ in range(100)])
    coverage = 1 - np.prod((100 - np.arange(1, 4)) / (200 - np.arange(1, 4)))
    errors = found.std(0) / 10
    assert abs(found[:, 0].mean() - 1) < 4 * errors[0]
    assert abs(found[:, 1].mean() - coverage) < 4 * errors[1]


def test_an_outlier_among_the_reals_raises_precision_but_not_density() -> None:
    real = np.random.default_rng(0).normal(size=(200, 4))
    fake = np.random.default_rng(1).normal(5, 0.1, size=(200, 4))  # far from all
    real[0] = 12
    assert precision_recall(real, fake)[0] == 1
    assert density_coverage(real, fake)[0] <= 1 / 5


def test_copies_are_told_and_found() -> None:
    train, test, fake = np.random.default_rng(0).normal(size=(3, 300, 4)) + 1000  # far from 0: float32 loses digits
    honest = memorization(train, test, fake)
    assert 0.4 < honest.share < 0.6 and abs(honest.z) < 3
    fake[:60] = train[100:160]
    copied = memorization(train, test, fake, closest=60)
    assert copied.share > honest.share and copied.z < honest.z - 3
    assert sorted(copied.suspects.tolist()) == list(range(60)) and copied.distances.max() == 0
    assert ((copied.originals - copied.suspects) == 100).all()
    everything = memorization(train, test, train)
    assert everything.share == 1 and everything.median_fake == 0 < everything.median_test


def test_the_share_is_the_statistic_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(1)
    train, test, fake = rng.normal(size=(50, 3)), rng.normal(size=(31, 3)), rng.normal(0.3, 1, size=(40, 3))
    fake[:9], test[:4] = train[:9], train[:4]  # ties at 0
    to_train = [cdist(x, train).min(1) for x in (test, fake)]
    expected = mannwhitneyu(*to_train).statistic / (31 * 40)  # U counts the tests that are farther
    assert memorization(train, test, fake).share == pytest.approx(expected)


def test_nearest_are_those_of_the_full_distance_matrix() -> None:
    rng = np.random.default_rng(0)
    queries, among = rng.normal(size=(5, 3)), rng.normal(size=(70, 3))
    indices, distances = nearest(queries, among, 4)
    full = cdist(queries, among)
    np.testing.assert_array_equal(indices, full.argsort(1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(full, 1)[:, :4], rtol=1e-4)


def test_float64_is_searched_in_float64() -> None:
    among = 1e4 + np.random.default_rng(0).normal(size=(70, 3))
    distances = nearest(among[:5], among, 2)[1][:, 1]
    np.testing.assert_allclose(distances, np.sort(cdist(among[:5], among), 1)[:, 1], rtol=1e-5)
    assert nearest(among[:5].astype(np.float32), among, 2)[1].dtype != distances.dtype


@pytest.mark.parametrize("k", [-1, 0, 71])
def test_more_neighbours_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"nearest: k = {k} .* between 1 and 70"):
        nearest(np.zeros((5, 3)), np.zeros((70, 3)), k)


def test_neighbours_of_other_features_or_of_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"nearest: .* one number of columns"):
        nearest(np.zeros((5, 3)), np.zeros((70, 4)), 1)
    for place in (0, 1):
        arrays = [np.zeros((5, 3)), np.zeros((70, 3))]
        arrays[place][-1, 2] = np.nan
        with pytest.raises(ValueError, match="nearest: the features hold NaN"):
            nearest(*arrays, 1)


@pytest.mark.parametrize("function", [precision_recall, density_coverage, lambda x, y: memorization(x, x, y)])
def test_features_that_overflow_are_refused(function: Callable) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 50, 5)).astype(np.float32) * np.float32(1e20)
    with pytest.raises(ValueError, match="scale them"):
        function(x, y)


def test_a_memorised_image_is_found_among_bytes() -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 64), np.uint8)
    indices, distances = nearest(images[[31, 77]], images, 1)
    assert indices.flatten().tolist() == [31, 77]
    assert distances.max() == 0  # sums of squared bytes are exact in float32

"""Images to numbers, with a progress bar: what the stages reference and evaluate share."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ganlib import seeds
from ganlib.datasets.table import Table, choosing
from ganlib.metrics import (
    Statistics,
    collision_test,
    density_coverage,
    extrapolate,
    frechet_distance,
    frechet_interval,
    inception,
    inception_score,
    kernel_distance,
    kernel_interval,
    lpips,
    precision_recall,
    precision_recall_curve,
    sliced_wasserstein,
    sliced_wasserstein_lower_bound,
)
from ganlib.metrics.features import Extractor, extract, extractor
from ganlib.metrics.pairs import pair_intervals
from ganlib.metrics.protocol import DENSITY_NEIGHBOURS, Evaluation, Protocol, require_enough
from pipelines.evaluation.headline import Headline, Seen, groups_of, with_error
from pipelines.runs.bar import images_bar

POINTS = 6  # of the line in 1/N
PROJECTIONS = 500  # random directions of the sliced distance
CLUSTERS, CLUSTERINGS = 20, 2  # of the curve of precision and recall; how many are averaged
POOR_CLASSIFIER = 0.75  # accuracy below which class shares are said to be rough
MOST_THREADS = 8  # of more, batches that fit the cache gain nothing


def use_cores() -> None:
    """Let torch use this machine's cores, unless OMP_NUM_THREADS says how many; no TF32 where there is a GPU."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(len(os.sched_getaffinity(0)), MOST_THREADS))
    torch.backends.cudnn.allow_tf32 = False


def make_extractor(evaluation: Evaluation, classifier: Path | None = None) -> Extractor:
    """The extractor that the configuration names, on the GPU where there is one. `classifier`: the file of the one that
    was trained on the data, for `extractor: domain`."""
    weights: str | Path | None = None
    if evaluation.extractor == "domain":
        weights = classifier
    elif evaluation.extractor == "inception" and not (weights := evaluation.inception_path):
        with tqdm(total=inception.SIZE, desc=inception.FILE, unit="B", unit_scale=True, disable=None,
                  leave=False) as bar:
            weights = inception.weights_file(progress=bar.update)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return extractor(evaluation.extractor, evaluation.resize, weights, device)


def make_protocol(evaluation: Evaluation, network: Extractor, table: Path) -> Protocol:
    """The protocol of the numbers of EMA weights. Where a split of the table has not so many images as are asked for,
    all of them are taken."""
    test, (split, chosen_by) = Table.open(table, "test"), choosing(table)
    require_enough(evaluation, {name: about["images"] for name, about in test.manifest["splits"].items()})
    asks, headline = test.condition.given, Headline(network, test, chosen_by)
    generated = len(told(test, evaluation.images)) if asks else evaluation.images
    return Protocol(
        distance=headline.name, extractor=network.name, weights_sha256=network.weights_sha256,
        resize=network.resize, resize_method=network.resize_method, real_split="test, evenly spread",
        real_images=min(evaluation.images, len(test)), generated_images=generated, quantisation="uint8",
        ema=True, truncation=evaluation.truncation, seed=evaluation.seed, data_sha256=test.manifest["sha256"],
        neighbours=evaluation.neighbours, splits=splits_of(evaluation, generated),
        groups=groups_of(generated), chosen_by=split, choosing_images=min(evaluation.images, len(chosen_by)),
        labels=f"those of the {split} and the test split, evenly spread" if asks
        else "in the shares of the training split", pairs=headline.pairs.about if headline.pairs else None,
    )  # fmt: skip


def told(table: Table, count: int) -> np.ndarray:
    """What a generator is told to draw images like those of a table: so many of its conditions, evenly spread."""
    conditions = table.evenly(count).conditions
    assert conditions is not None
    return conditions


def choice_of(protocol: Protocol) -> str:
    """The name of the distance by which generators are chosen."""
    return f"{protocol.distance}_{protocol.chosen_by}"


def cautions(protocol: Protocol, dimensions: int, classifier_accuracy: float | None) -> list[str]:
    """What these numbers cannot tell, for people: of features of so many dimensions, and with a classifier that is
    right so often, where there is one."""
    found = []
    if min(protocol.real_images, protocol.generated_images) < dimensions:
        found.append(f"{protocol.real_images:,} real and {protocol.generated_images:,} generated images in "
                     f"{dimensions:,} dimensions: much of a distance is then bias, as the floor shows, and the errors "
                     "are those of chance alone. Compare with the floor, and not with numbers of more images; "
                     "kernel_distance has no such bias")
    if protocol.chosen_by == "train":
        found.append("there is no validation split: generators are chosen by their distance to training images, which "
                     "copies of these would win. Too few images, or a table of an older revision, which `python -m "
                     "pipelines.prepare` writes anew")
    if classifier_accuracy is not None and classifier_accuracy < POOR_CLASSIFIER:
        found.append(f"classes are counted by a classifier that is right on {classifier_accuracy:.0%} of the test "
                     "images: class shares and label accuracy are rough")
    return found


def curve_of(real: Tensor, other: Tensor, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The curve of precision and recall of features (m, d) against those (n, d) of the real images."""
    clusters = min(CLUSTERS, (len(real) + len(other)) // 2)
    return precision_recall_curve(real, other, clusters, runs=CLUSTERINGS, seed=seed)


def splits_of(evaluation: Evaluation, images: int) -> int:
    """The splits of the inception score: as many as asked for, or as there are images."""
    return min(evaluation.splits, images)


def run(network: Extractor, images: np.ndarray | Tensor, evaluation: Evaluation, what: str) -> tuple[Tensor, Tensor]:
    """`extract` with a progress bar."""
    with images_bar(len(images), what, stays=False) as bar:
        return extract(network, images, evaluation.batch_size, bar.update)


def numbers(network: Extractor, evaluation: Evaluation, real: Tensor, fake: Tensor, logits: Tensor,
            noise: bool = True) -> dict[str, dict[str, Any]]:
    """All numbers of some images, by their features (m, d) and logits, against the features (n, d) of the real ones:
    name → {"value"}; with `noise` the distances' "standard_error" and "interval" (95 %) too, which takes longer."""
    random = seeds.stream("mixed", evaluation.seed)
    real = real[torch.randperm(len(real), generator=random)]  # images may come sorted by label, and splits, halves and
    order = torch.randperm(len(fake), generator=random)  # subsets are taken in their order
    fake, logits = fake[order], logits[order]
    statistics = Statistics.from_features(real)
    precision, recall = precision_recall(real, fake, evaluation.neighbours)
    density, coverage = density_coverage(real, fake, DENSITY_NEIGHBOURS)
    score, deviation = inception_score(logits, splits_of(evaluation, len(logits)))
    bound = sliced_wasserstein_lower_bound(real, fake, PROJECTIONS, evaluation.seed)
    repeated = collision_test(fake, real=real)
    if noise:
        distance = distance_of(statistics, fake, evaluation)
        by_kernel = with_error(kernel_interval(real, fake, groups_of(len(fake)), seed=evaluation.seed))
    else:
        distance = {"value": frechet_distance(statistics, fake)}
        by_kernel = {"value": kernel_distance(real, fake)}
    found: dict[str, dict[str, Any]] = {
        network.distance: distance,
        "kernel_distance": by_kernel,
        "precision": {"value": precision},
        "recall": {"value": recall},
        "density": {"value": density},
        "coverage": {"value": coverage},
        network.score: {"value": score, "standard_deviation": deviation},
        "sliced_wasserstein": {"value": sliced_wasserstein(real, fake, PROJECTIONS, evaluation.seed)},
        "wasserstein_lower_bound": {"value": bound},
        "near_duplicates": {"value": repeated.collisions, "samples": repeated.samples},
    }  # fmt: skip
    if repeated.collisions:
        found["support_size"] = {"value": repeated.support_size, "interval": list(repeated.interval)}
    if len(fake) >= 3 * fake.shape[1]:  # with fewer images than that the line in 1/N bends
        counts = [round(len(fake) / inverse) for inverse in np.linspace(2, 1, POINTS)]
        limit = extrapolate(statistics, fake, counts, evaluation.seed)
        found[f"{network.distance}_infinity"] = {"value": limit.value}
        if noise:
            error = math.hypot(limit.standard_error, distance["standard_error"])
            found[f"{network.distance}_infinity"]["standard_error"] = error
    return found


def distance_of(real: Statistics, fake: Tensor, evaluation: Evaluation) -> dict[str, Any]:
    """The Fréchet distance of features (m, d) with its noise, as `numbers` gives it."""
    return with_error(frechet_interval(real, fake, groups_of(len(fake)), seed=evaluation.seed))


def enough_of_each(*labels: np.ndarray | Tensor) -> bool:
    """Whether every set of labels has each class of the others at least twice, as a distance within a class needs."""
    counts = [dict(zip(*np.unique(np.asarray(part), return_counts=True), strict=True)) for part in labels]
    return all(count.keys() == counts[0].keys() and min(count.values()) >= 2 for count in counts)


def pair_numbers(network: Extractor, evaluation: Evaluation, truth: Seen, output: Seen) -> dict[str, dict[str, Any]]:
    """All numbers of images whose right answer is known, with their noise."""
    found = pair_intervals(truth.images, output.images, (truth.features, output.features), network.name,
                           lpips.installed(), groups_of(len(output.features)), seed=evaluation.seed)
    return {name: with_error(interval) for name, interval in found.items()}

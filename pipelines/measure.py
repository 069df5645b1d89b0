"""Images to numbers, with a progress bar: what the stages reference and evaluate share."""

import os

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ganlib.config import require
from ganlib.datasets.table import Table
from ganlib.metrics.features import Extractor, extract, extractor
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.kernel import kernel_distance
from ganlib.metrics.neighbours import precision_recall
from ganlib.metrics.protocol import Evaluation, Protocol
from ganlib.metrics.statistics import Statistics

MOST_THREADS = 8  # of more, batches that fit the cache gain nothing


def use_cores() -> None:
    """Let torch use this machine's cores, unless OMP_NUM_THREADS says how many; no TF32 where there is a GPU."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(len(os.sched_getaffinity(0)), MOST_THREADS))
    torch.backends.cudnn.allow_tf32 = False


def make_extractor(evaluation: Evaluation) -> Extractor:
    """The extractor that the configuration names, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return extractor(evaluation.extractor, evaluation.resize, evaluation.inception_path, device)


def make_protocol(evaluation: Evaluation, network: Extractor, test: Table) -> Protocol:
    """The protocol of the numbers of EMA weights; `test` gives the number of real images, if it has not enough."""
    count = min(evaluation.images, len(test))
    require(count > evaluation.neighbours, f"evaluation.neighbours: the test split has {len(test)} images, and "
            f"{evaluation.neighbours} neighbours need at least {evaluation.neighbours + 1}; prepare more test images")
    return Protocol(
        distance=network.distance, extractor=network.name, weights_sha256=network.weights_sha256,
        resize=network.resize, resize_method=network.resize_method, real_split="test", real_images=count,
        generated_images=evaluation.images, quantisation="uint8", ema=True, truncation=evaluation.truncation,
        neighbours=evaluation.neighbours, splits=evaluation.splits, seed=evaluation.seed,
        data_sha256=test.manifest["sha256"],
    )  # fmt: skip


def run(network: Extractor, images: np.ndarray | Tensor, evaluation: Evaluation, what: str) -> tuple[Tensor, Tensor]:
    """`extract` with a progress bar."""
    with tqdm(total=len(images), desc=what, unit=" images", disable=None) as bar:
        return extract(network, images, evaluation.batch_size, bar.update)


def numbers(network: Extractor, evaluation: Evaluation, real: tuple[Statistics, Tensor],
            fake: tuple[Statistics, Tensor], logits: Tensor) -> dict[str, float]:
    """All numbers of some images (`fake`, with their logits) against the real ones."""
    precision, recall = precision_recall(real[1], fake[1], evaluation.neighbours)
    return {
        network.distance: frechet_distance(real[0], fake[0]),
        "kernel_distance": kernel_distance(real[1], fake[1]),
        "precision": precision,
        "recall": recall,
        network.score: inception_score(logits, min(evaluation.splits, len(logits)))[0],
    }  # fmt: skip

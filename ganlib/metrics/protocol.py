"""What is measured, and how: the `evaluation` section of the configuration, and the protocol behind each number."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ganlib.config import LARGEST, ConfigError, require, within

DENSITY_NEIGHBOURS = 5  # k of density and coverage, as in their paper
ExtractorName = Literal["domain", "efficientnet_lite0", "inception", "squeezenet"]  # files of ganlib/metrics


@dataclass(frozen=True)
class Evaluation:
    """The `evaluation` section.

    extractor: efficientnet_lite0, squeezenet (light), domain (the classifier that counts the classes), or inception,
    whose weights are at `inception_path`, or are fetched once.
    resize: side in pixels that images are brought to; inception takes 299 always, domain at most 32.
    images: real images of the test split, and as many generated ones; and as many, or as there are, of the split by
    which generators are chosen.
    neighbours: k of precision and recall. splits: parts of the inception score.
    seed: of the generated images and of the classifier. truncation: of the latents, 1 = none.
    classifier_images: labelled training images shown to the classifier that counts the classes.
    """

    extractor: ExtractorName = "efficientnet_lite0"
    inception_path: str | None = None
    resize: int = 112
    images: int = 5000
    neighbours: int = 3
    splits: int = 10
    seed: int = 0
    truncation: float = 1.0
    batch_size: int = 16
    classifier_images: int = 60_000

    @property
    def least(self) -> int:
        """How many images of either kind the numbers need: more than the neighbours they look for."""
        return max(self.neighbours, DENSITY_NEIGHBOURS) + 1

    def __post_init__(self) -> None:
        within(self, 32, 2048, "resize")
        within(self, 1, 10**6, "images", "batch_size")
        within(self, 1, 10**9, "classifier_images")
        within(self, 0, LARGEST - 1, "seed")
        require(1 <= self.neighbours < self.images, f"neighbours: between 1 and images - 1 = {self.images - 1}, "
                f"got {self.neighbours}; 3 is usual")
        require(1 <= self.splits <= self.images, f"splits: between 1 and images = {self.images}, got {self.splits}")
        require(0 < self.truncation <= 1, f"truncation: above 0 and at most 1 (1 = none), got {self.truncation}")


def require_enough(evaluation: Evaluation, images: Mapping[str, int]) -> None:
    """ConfigError unless each split that is measured against has as many images as the last stage needs: for the first
    to know. `images`: of each split, by its name. Training images are measured against where there is no validation
    split."""
    for split in ("test", "validation" if "validation" in images else "train"):
        require(images[split] >= evaluation.least, f"dataset: of {sum(images.values())} images {images[split]} are the "
                f"{split} split, and at least {evaluation.least} are needed to measure by; add images, or change "
                f"dataset.{'test' if split == 'train' else split}_share")


@dataclass(frozen=True)
class Protocol:
    """What a number depends on beside the generator. Two numbers may be compared only where all of this is equal.

    `chosen_by` is the split that generators are chosen by, "validation" or, where a data set is too small for that,
    "train", and `choosing_images` its number of images. `neighbours` of precision and recall and `splits` of the
    inception score are None where only a distance is measured; `truncation`, `ema`, `seed` and `labels` are None for
    images whose origin is not known.
    """

    distance: str
    extractor: str
    weights_sha256: str
    resize: int
    resize_method: str
    real_split: str
    real_images: int
    generated_images: int
    quantisation: str  # of the generated images before features: uint8, as in files
    ema: bool | None
    truncation: float | None
    seed: int | None
    data_sha256: str
    neighbours: int | None = None
    splits: int | None = None
    groups: int | None = None  # of the jackknife: two distances are compared group by group
    chosen_by: str | None = None
    choosing_images: int | None = None
    labels: str | None = None  # of conditional generators
    pairs: str | None = None  # of what has a known answer: what is compared with it, and by which network


class ProtocolMismatch(ConfigError):
    """Two numbers were to be compared that were measured in different ways."""


def differences(a: Protocol | Mapping[str, Any], b: Protocol | Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The fields in which two protocols (or their dicts) differ: (name, in a, in b); None for no such field."""
    left, right = (dataclasses.asdict(x) if isinstance(x, Protocol) else x for x in (a, b))
    return [(name, left.get(name), right.get(name)) for name in dict.fromkeys([*left, *right])
            if left.get(name) != right.get(name)]


def require_equal(a: Protocol | Mapping[str, Any], b: Protocol | Mapping[str, Any], of_a: str, of_b: str) -> None:
    """ProtocolMismatch, naming each differing field with both values, unless the protocols are equal."""
    if differing := differences(a, b):
        fields = ", ".join(f"{name} {left!r} ({of_a}) against {right!r} ({of_b})" for name, left, right in differing)
        raise ProtocolMismatch(f"{of_a} and {of_b} cannot be compared, because these differ: {fields}")

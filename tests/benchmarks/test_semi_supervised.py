"""What the baseline beside the semi-supervised game is shown."""

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import semi_supervised
from benchmarks.semi_supervised import accuracy, alone, configured, gan
from ganlib.datasets.table import Table

CHOICES = ["objective.terms.few_labels.labels_per_class=4", "networks.width=4", "training.batch_size=8"]
CLASSES = ("dark", "light")


def halves(count: int, unlabelled: int = 0) -> Table:
    """Dark images and light ones in turn; from the 8th on, all of them `unlabelled` levels lighter."""
    images = np.random.default_rng(0).integers(0, 50, (count, 1, 28, 28), dtype=np.uint8)
    label = np.arange(count) % 2
    images += (150 * label)[:, None, None, None].astype(np.uint8)
    images[8:] += np.uint8(unlabelled)
    return Table.from_arrays(images, label, CLASSES)


def test_accuracy_counts_every_image_once():
    found = accuracy(lambda x: torch.tensor([0.0, 1.0]).expand(len(x), 2), halves(2001))
    assert found == pytest.approx(100 * 1000 / 2001)


@pytest.mark.parametrize("augmentation", [[], ["augmentation=instance_noise"]])
def test_the_baseline_sees_no_unlabelled_image_and_the_game_does(augmentation: list[str], monkeypatch: Any):
    told: list[torch.Tensor] = []

    def logits(tell: Any, judged: Table) -> float:
        told.append(tell(judged.batch(np.arange(8))[0]))
        return 0.0

    monkeypatch.setattr(semi_supervised, "accuracy", logits)
    run, judged = configured([*CHOICES, *augmentation], seed=1, images=32), halves(8)
    for way in (alone, gan):
        for lighter in (0, 50):
            way(run, halves(32, unlabelled=lighter), judged)
    baseline, same, game, other = told
    assert torch.equal(baseline, same) and not torch.equal(game, other) and not torch.equal(baseline, game)


def test_both_ways_learn_what_is_easy():
    run = configured(CHOICES, seed=1, images=320)
    assert min(way(run, halves(64), halves(20)) for way in (alone, gan)) > 90

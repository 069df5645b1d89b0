"""What the splits promise, on many random data sets."""

import hashlib

import numpy as np
import pytest

from ganlib.datasets.splits import cut


def named(sizes):
    labels = [label for label, size in sizes.items() for _ in range(size)]
    return [f"{label}/{k}.png" for k, label in enumerate(labels)], labels


def counts(splits, labels, split):
    found = [labels[position] for position in splits[split]]
    return {label: found.count(label) for label in dict.fromkeys(labels)}


@pytest.mark.parametrize("seed", range(20))
def test_classes_are_split_in_the_shares_asked_for_and_keep_one_to_train_on(seed):
    draw = np.random.default_rng(seed)
    sizes = {f"class {k}": int(size) for k, size in enumerate(draw.geometric(1 / draw.integers(2, 40), 30) + 1)}
    names, labels = named(sizes)
    wanted = {"test": round(len(names) * 0.1), "validation": round(len(names) * 0.15)}
    splits = cut(names, labels, wanted, seed)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(names)))
    assert {split: len(splits[split]) for split in wanted} == wanted
    assert min(counts(splits, labels, "train").values()) >= 1
    for split, total in wanted.items():
        for label, count in counts(splits, labels, split).items():
            share = total * sizes[label] / len(names)
            room = sizes[label] - 1 - (counts(splits, labels, "test")[label] if split == "validation" else 0)
            assert min(share, room) - 1 < count < share + 1 or count == room < share


def test_where_classes_have_no_room_the_totals_still_hold():
    names, labels = named({f"single {k}": 1 for k in range(50)} | {"large": 50})
    splits = cut(names, labels, {"test": 10, "validation": 20}, 0)
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [70, 20, 10]
    assert len(set(counts(splits, labels, "train"))) == 51 and min(counts(splits, labels, "train").values()) == 1


def test_small_classes_are_in_the_test_split_as_often_as_their_shares_say():
    names, labels = named({f"small {k}": 2 for k in range(100)} | {"large": 800})
    tested = [sum(counts(cut(names, labels, {"test": 100}, seed), labels, "test")[f"small {k}"] for k in range(100))
              for seed in range(20)]
    assert 18 <= np.mean(tested) <= 22  # of 200 images a tenth; each is 0 or 1 of its two


@pytest.mark.parametrize("newcomer", ["class 3/new.png", "class 29/new.png", "new class/new.png"])
def test_a_new_file_moves_few_others(newcomer):
    sizes = {f"class {k}": 3 * k + 2 for k in range(30)}
    names, labels = named(sizes)
    def of(names, labels):
        splits = cut(names, labels, {"test": round(len(names) * 0.1), "validation": round(len(names) * 0.1)}, 0)
        return {names[position]: split for split, those in splits.items() for position in those}
    before, after = of(names, labels), of([*names, newcomer], [*labels, newcomer.split("/")[0]])
    assert sum(before[name] != after[name] for name in names) <= 8  # of 1,365


def test_the_order_of_the_files_does_not_matter():
    names, labels = named({"a": 30, "b": 7, "c": 1})
    order = np.random.default_rng(0).permutation(len(names))
    first = cut(names, labels, {"test": 8}, 3)
    second = cut([names[k] for k in order], [labels[k] for k in order], {"test": 8}, 3)
    assert {names[k] for k in first["test"]} == {names[order[k]] for k in second["test"]}
    assert {names[k] for k in first["test"]} != {names[k] for k in cut(names, labels, {"test": 8}, 4)["test"]}


def test_without_labels_the_smallest_hashes_are_the_test_split():
    names = [f"{k}.png" for k in range(100)]
    ordered = sorted(names, key=lambda name: hashlib.sha256(f"7/{name}".encode()).digest())
    splits = cut(names, [""] * 100, {"test": 10, "validation": 20}, 7)
    assert {names[k] for k in splits["test"]} == set(ordered[:10])
    assert {names[k] for k in splits["validation"]} == set(ordered[10:30])

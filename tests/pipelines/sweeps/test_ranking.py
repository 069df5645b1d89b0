"""Who is before whom, and why."""

import csv
import math
from pathlib import Path

import pytest

from ganlib.metrics.protocol import ProtocolMismatch
from pipelines.sweeps.ranking import COMPLETE, FAILED, STOPPED, Outcome, Scale, rank, show, write_csv


def outcome(lr: float, distance: float, seed: int = 0, state: str = COMPLETE, images: int = 900, reason: str = "",
            protocol: str = '{"resize": 64}') -> Outcome:
    return Outcome(f"{lr}-{seed}", {"lr": lr, "seed": seed}, distance, images, 1.0, state, reason, protocol)


def order(*outcomes: Outcome) -> list[float]:
    return [row.values["lr"] for row in rank(outcomes)]


def test_configurations_are_ranked_by_the_mean_over_their_seeds():
    lucky, steady = [outcome(1, 10, 0), outcome(1, 50, 1)], [outcome(2, 20, 0), outcome(2, 22, 1)]
    first, second = rank([*lucky, *steady])
    assert first.values == {"lr": 2} and first.distance == 21 and second.distance == 30
    assert first.half_width == pytest.approx(12.7062, abs=1e-3)  # standard error 1, times t of one degree of freedom


def test_equal_means_are_told_apart_by_their_intervals():
    assert order(outcome(1, 10, 0), outcome(1, 30, 1), outcome(2, 19, 0), outcome(2, 21, 1)) == [2, 1]
    assert order(outcome(2, 10, 0), outcome(2, 30, 1), outcome(1, 19, 0), outcome(1, 21, 1)) == [1, 2]


def test_one_seed_says_nothing_of_its_noise():
    (row,) = rank([outcome(1, 10)])
    assert math.isnan(row.half_width)


def test_what_ran_to_its_end_is_before_what_was_stopped_and_that_before_what_failed():
    assert order(outcome(1, math.inf, state=FAILED), outcome(2, 5, state=STOPPED, images=100),
                 outcome(3, 50), outcome(4, 7, state=STOPPED, images=300), outcome(5, 40)) == [5, 3, 4, 2, 1]


def test_one_failed_seed_fails_the_configuration_and_says_why():
    bad = outcome(1, math.inf, 1, FAILED, reason="the loss of D is not finite")
    rows = rank([outcome(1, 5, 0), bad, outcome(2, 9)])
    assert [row.values["lr"] for row in rows] == [2, 1] and rows[1].state == FAILED
    assert "the loss of D is not finite" in show(rows, ["lr"], Scale(0.0)) and math.isnan(rows[1].half_width)


def test_a_trial_that_a_searcher_asked_for_twice_is_one():
    (row,) = rank([outcome(1, 10), outcome(1, 10)])
    assert len(row.outcomes) == 1 and math.isnan(row.half_width)


def test_distances_of_unequal_protocols_are_not_ranked():
    with pytest.raises(ProtocolMismatch, match=r"trial 2-0 and trial 1-0 cannot be compared.*resize 32.*64"):
        rank([outcome(1, 5), outcome(2, 6, protocol='{"resize": 32}')])


def test_what_is_no_better_than_untrained_is_marked():
    rows = rank([outcome(0.1, 500), outcome(0.2, 900), outcome(0.3, 2000), outcome(0.4, 900, state=STOPPED)])
    scale = Scale(floor=200, untrained=1000)
    assert [scale.remark(row) for row in rows] == ["", "no better than untrained", "no better than untrained", ""]
    lines = show(rows, ["lr"], scale).splitlines()
    assert lines[2].endswith("  no better than untrained") and lines[1].endswith("900")  # images seen
    assert lines[-1].endswith("untrained 1000: the best one before its training")


def test_the_table_has_a_column_for_each_parameter(tmp_path: Path):
    rows = rank([outcome(0.1, 5), outcome(0.2, 4, state=STOPPED)])
    write_csv(tmp_path / "table.csv", rows, ["lr", "clip"], Scale(0.5))
    with (tmp_path / "table.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["rank"], first["lr"], first["clip"], float(first["distance"])) == ("1", "0.1", "", 5.0)
    assert second["end"] == STOPPED and second["floor"] == "0.5"
    lines = show(rows, ["lr", "clip"], Scale(0.5)).splitlines()
    assert lines[1].split()[:4] == ["1", "0.1", "–", "5"] and lines[-1].startswith("floor 0.5: ")

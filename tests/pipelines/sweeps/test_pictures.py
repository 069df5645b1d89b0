"""The pictures of a sweep, and the numbers in them."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlib.config import parse
from pipelines.runs.params import Sweep
from pipelines.sweeps import pictures
from pipelines.sweeps.ranking import COMPLETE, FAILED, STOPPED, Outcome, rank
from pipelines.sweeps.space import Space

SPACE = {
    "objective": {"choice": ["hinge", "wgan"]},
    "lr": {"loguniform": [1e-4, 1e-2], "key": ["objective.optimizers.generator.lr"]},
    "n_critic": {"integer": [1, 5], "key": ["objective.n_critic"]},
    "clip": {"loguniform": [1e-3, 1], "key": ["objective.clip"]},
}
SWEEP = parse(Sweep, {"name": "s", "images": 900, "trials": 40, "space": SPACE}, "sweep")


def compose(choices: list[str]) -> dict:
    clip = 0.01 if "objective=wgan" in choices else None
    return {"objective": {"n_critic": 1, "optimizers": {"generator": {"lr": 1e-3}}, "clip": clip}}


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(SWEEP.space, compose, {"objective": ["hinge", "wgan"]})


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Their distance is a matter of lr, and of clip where there is one; n_critic has no say."""
    random, found = np.random.default_rng(0), []
    for number in range(40):
        values = {"objective": ["hinge", "wgan"][number % 2], "lr": float(10 ** random.uniform(-4, -2)),
                  "n_critic": int(random.integers(1, 6))}
        distance = 100 * abs(math.log10(values["lr"]) + 2.5) + 50
        if values["objective"] == "wgan":
            values["clip"] = float(10 ** random.uniform(-3, 0))
            distance += 400 * abs(math.log10(values["clip"]) + 1.5)
        found.append(Outcome(str(number), {**values, "seed": 0}, distance, 900, 1.0, COMPLETE))
    return found


def reports(outcomes: list[Outcome]) -> list[dict]:
    return [{"name": outcome.name, "images_seen": seen, "distance": outcome.distance * (2 if seen < 900 else 1)}
            for outcome in outcomes for seen in (300, 900)]


def test_what_decides_the_distance_is_what_is_important(space: Space, outcomes: list[Outcome]):
    shares = pictures.shares_of_variance(space, [(outcome.values, outcome.distance) for outcome in outcomes])
    assert set(shares) == set(SPACE)
    assert shares["n_critic"] < 0.15 and shares["clip"] > 0.5
    assert shares["clip"] > shares["lr"] > shares["n_critic"]


def test_of_few_trials_nothing_is_said(space: Space, outcomes: list[Outcome]):
    few = [(outcome.values, outcome.distance) for outcome in outcomes[:5]]
    assert pictures.shares_of_variance(space, few) == {}


def test_where_trials_were_stopped_the_first_look_at_all_of_them_counts(outcomes: list[Outcome]):
    first, when = pictures.first_look(reports(outcomes))
    assert when == 300 and first == {outcome.name: 2 * outcome.distance for outcome in outcomes}


def test_all_pictures_are_drawn_of_every_kind_of_end(space: Space, outcomes: list[Outcome], tmp_path: Path):
    ended = [Outcome("s", outcomes[0].values | {"lr": 2e-3}, 500.0, 300, 1.0, STOPPED),
             Outcome("f", outcomes[1].values | {"lr": 3e-3}, math.inf, 0, 1.0, FAILED, "it collapsed")]
    rows = rank([*outcomes, *ended])
    for outcome in outcomes:
        grids = tmp_path / outcome.name / "snapshots"
        grids.mkdir(parents=True)
        for seen, grey in ((300, 0), (900, 200)):
            Image.new("L", (64, 64), grey).save(grids / f"images-{seen:09d}.png")
    drawn = pictures.draw(space, SWEEP, rows, reports(outcomes), tmp_path, 0.5)
    assert set(drawn) == {"best_so_far", "parallel_coordinates", "importance", "best"}
    best = np.asarray(drawn["best"])[:, -68:-4]  # without the captions
    assert (best == 200).sum() == 5 * 64 * 64  # the last grid of each of five


def test_a_sweep_of_which_nothing_is_left_is_drawn(space: Space, tmp_path: Path):
    rows = rank([Outcome("f", {"objective": "hinge", "lr": 1e-3, "seed": 0}, math.inf, 0, 1.0, FAILED, "no")])
    assert set(pictures.draw(space, SWEEP, rows, [], tmp_path, 0.5)) == {"best_so_far", "parallel_coordinates"}

"""Which parameters exist where, what they set, and what is refused before anything runs."""

import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest

from ganlib.config import ConfigError, parse
from pipelines.runs.composition import composer, composition
from pipelines.runs.params import RUN, Parameter, Sweep, public
from pipelines.sweeps import search
from pipelines.sweeps.ranking import COMPLETE, Outcome, rank
from pipelines.sweeps.search import _scheduler, listed, looks
from pipelines.sweeps.space import Space
from pipelines.sweeps.trial import name_of, title

ROOT = Path(__file__).parents[3]
CONF = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in (ROOT / "conf").iterdir()
        if path.is_dir()}  # fmt: skip
LAMBDA = {"loguniform": [0.1, 100], "key": ["objective.penalties.gradient_penalty.weight",
                                            "objective.penalties.dragan.weight"]}  # fmt: skip
CLIP = {"loguniform": [1e-3, 1], "key": ["objective.clip"]}
RATE = {"loguniform": [1e-4, 1e-2], "key": ["objective.optimizers.generator.lr",
                                            "objective.optimizers.discriminator.lr"]}  # fmt: skip
OBJECTIVE = {"choice": ["hinge", "wgan", "wgan_gp", "dragan"]}
EVERYTHING = {
    "clip": CLIP, "objective": OBJECTIVE, "lambda": LAMBDA, "lr": RATE,
    "n_critic": {"integer": [1, 5], "key": ["objective.n_critic"]},
    "beta1": {"choice": [0.0, 0.5], "key": ["objective.optimizers.generator.betas.0",
                                           "objective.optimizers.discriminator.betas.0"]},
    "norm": {"choice": ["none", "batch"], "key": ["networks.discriminator_norm"], "only": {"objective": ["hinge"]}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def parameters(values: dict[str, Any]) -> dict[str, Parameter]:
    return parse(Sweep, {"name": "s", "images": 900, "trials": 1, "space": values}, "sweep").space


def space(values: dict[str, Any]) -> Space:
    return Space(parameters(values), composition, CONF)


def sweep(**settings: Any) -> Sweep:
    return parse(Sweep, {"name": "s", "images": 900, "trials": 8, "confirm": 0, "space": {}} | settings, "sweep")


def draws(of: Space, count: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [of.draw(study.ask()) for _ in range(count)]


def test_a_parameter_exists_where_the_objective_has_it():
    everything = space(EVERYTHING)
    expected = {"hinge": {"beta1", "norm"}, "wgan": {"clip"}, "wgan_gp": {"lambda", "beta1"},
                "dragan": {"lambda", "beta1"}}  # fmt: skip
    seen = set()
    for values in draws(everything, 60):
        assert set(values) == {"objective", "lr", "n_critic"} | expected[values["objective"]]
        assert 1e-4 <= values["lr"] <= 1e-2 and values["n_critic"] in range(1, 6)
        seen.add(values["objective"])
    assert seen == set(expected)


def test_values_are_set_at_every_key_that_there_is():
    values = {"objective": "wgan_gp", "lambda": 3.0, "lr": 5e-4, "beta1": 0.0, "clip": 0.5}
    raw = space(EVERYTHING).raw(values)
    assert raw["objective"]["penalties"] == {"gradient_penalty": {"weight": 3.0, "every": 1}}
    for player in raw["objective"]["optimizers"].values():
        assert player["lr"] == 5e-4 and player["betas"] == [0.0, 0.9]
    assert "clip" not in raw["objective"] and raw["networks"] == composition(["objective=wgan_gp"])["networks"]


def test_a_space_does_not_change_what_it_was_composed_of():
    of = space(EVERYTHING)
    before = of.raw({"objective": "hinge"})
    of.raw({"objective": "hinge", "lr": 0.9, "beta1": 0.1})
    assert of.raw({"objective": "hinge"}) == before


def test_the_choices_that_are_printed_compose_to_what_was_trained():
    of = space(EVERYTHING)
    for values in draws(of, 12):
        composed, trained = composition(of.choices(values)), of.raw(values)
        assert {section: composed.get(section) for section in RUN} == {section: trained.get(section) for section in RUN}


def test_a_grid_has_every_combination_once_and_no_parameter_where_it_is_not():
    grid = space({"objective": OBJECTIVE, "norm": EVERYTHING["norm"], "n_critic": EVERYTHING["n_critic"]}).grid()
    assert len(grid) == len({str(values) for values in grid}) == 5 * (3 + 2)
    assert all(("norm" in values) == (values["objective"] == "hinge") for values in grid)


def test_a_random_search_is_a_function_of_its_seed_and_has_no_configuration_twice():
    of = space({"objective": OBJECTIVE, "n_critic": {"choice": [1, 5], "key": ["objective.n_critic"]}})
    found = listed(of, sweep(trials=8))
    assert len(found) == len({str(values) for values in found}) == 8
    assert found == listed(of, sweep(trials=8)) != listed(of, sweep(trials=8, seed=1))
    assert len(listed(of, sweep(trials=50))) == 8  # there are no more


def test_every_end_of_every_range_is_looked_at():
    edges = list(space(EVERYTHING).edges())
    for values in ({"objective": "wgan", "clip": 1.0}, {"objective": "wgan", "clip": 1e-3},
                   {"objective": "dragan", "lambda": 100.0}, {"objective": "hinge", "norm": "batch"}):
        assert values in edges
    assert {"objective": "hinge", "clip": 1.0} not in edges


def test_a_space_can_be_pickled_for_the_workers():
    of = space(EVERYTHING)
    assert pickle.loads(pickle.dumps(of)).raw({"objective": "wgan", "clip": 0.2}) == of.raw(
        {"objective": "wgan", "clip": 0.2})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "sweep.space: it is empty"),
        ({"objective": {"choice": ["hinge"]}, "lambda": LAMBDA}, "lambda: hinge has no objective.*leave it out"),
        ({"objective": {"choice": ["wgan_pg"]}}, "there is no 'wgan_pg' in conf/objective/; did you mean 'wgan_gp'"),
        ({"objectiv": {"choice": ["wgan"]}}, "names no group of conf/; did you mean 'objective'"),
        ({"lr": RATE | {"key": ["objective.optimizers.generator.lrr"]}}, "nothing in conf/ has a value at .*lrr"),
        ({"lr": RATE | {"loguniform": [0, 1]}}, "loguniform: both ends must be above 0"),
        ({"lr": RATE | {"loguniform": [1, 1]}}, "the first end must be below the second"),
        ({"lr": RATE | {"uniform": [0, 1]}}, "one of choice, integer.* got uniform and loguniform"),
        ({"lr": {"key": ["objective.n_critic"]}}, "got none"),
        ({"n": {"choice": [], "key": ["objective.n_critic"]}}, "no values to choose from"),
        ({"n": {"choice": [[1]], "key": ["objective.n_critic"]}}, "numbers, words and null"),
        ({"n": {"integer": [1, 5]}}, "key: missing"),
        ({"n": {"choice": [1], "key": ["training.images"]}}, "training.images cannot be searched"),
        ({"n": {"choice": [1], "key": ["cluster.workers"]}}, "cluster.workers cannot be searched"),
        ({"seed": EVERYTHING["n_critic"]}, "sweep.space.seed: is no name for a parameter"),
        ({"n": CLIP | {"only": {"objectve": ["wgan"]}}, "objective": OBJECTIVE}, "is no parameter before"),
        ({"n": CLIP | {"only": {"objective": ["ebgan"]}}, "objective": OBJECTIVE}, "none of its values"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        space(values)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 0}, "trials: 1 … 1,000,000 is needed, got 0"),
        ({"trials": None}, "trials: how many"),
        ({"seeds": []}, "seeds: at least one"),
        ({"seeds": [1, 1]}, "seeds: at least one, and each once"),
        ({"scheduler": "pbt", "seeds": [0, 1]}, "pbt hands checkpoints on"),
        ({"scheduler": "pbt", "confirm": 1}, "confirm: .* cannot be trained again"),
        ({"confirm": -1}, "confirm: 0 … 10,000 is needed, got -1"),
        ({"scheduler": "asha", "seeds": [0, 1]}, "asha stops trials, not configurations of several seeds"),
        ({"scheduler": "asha", "reports": 1}, "reports of 2 or more"),
        ({"name": "a/../b"}, "name: letters, digits"),
        ({"scheduler": "hyperband"}, "'hyperband' is not a choice"),
        ({"serch": "grid"}, "unknown key; did you mean 'search'"),
        ({"concurrent": 0}, "concurrent: must be at least 1"),
    ],
)
def test_settings_that_make_no_sweep_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        sweep(**settings)


def test_a_grid_of_what_cannot_be_counted_or_that_is_too_large_is_refused():
    with pytest.raises(ConfigError, match=r"sweep.space.lr: a grid needs values that can be counted"):
        listed(space({"lr": RATE}), sweep(search="grid"))
    with pytest.raises(ConfigError, match=r"the grid has 5 configurations, and 4 are allowed; write sweep.trials=null"):
        listed(space({"n_critic": EVERYTHING["n_critic"]}), sweep(search="grid", trials=4))


def test_trials_that_a_restored_state_does_not_know_are_run_after_all(monkeypatch: pytest.MonkeyPatch):
    of, settings = space({"n_critic": EVERYTHING["n_critic"]}), sweep(search="grid", trials=None, seeds=[0, 1])
    asked: list[tuple[str, list[Any]]] = []

    def restored(space: Space, sweep: Sweep, cluster: Any, job: Any, log: Any, state: str, configurations: list[Any]):
        asked.append((state, configurations))
        run = [values | {"seed": seed} for values in configurations for seed in sweep.seeds]
        if state == search.STATE:
            run = run[:5]  # of ten: the third configuration has one seed of two
        return [Outcome(name_of(values), values, 1.0, 900, 1.0, COMPLETE) for values in run]

    monkeypatch.setattr(search, "_tuned", restored)
    found = search.search(of, settings, None, {}, None)
    assert [values["n_critic"] for values in asked[1][1]] == [3, 4, 5] and len(asked) == 2
    (*_, last) = rank(found)
    assert len(rank(found)) == 5 and all(len(row.outcomes) == 2 for row in rank(found)) and last.state == COMPLETE


def test_distances_are_measured_at_the_rungs_of_early_stopping():
    assert list(looks(sweep(reports=9, reduction=3, scheduler="asha"))) == [1, 3]
    assert list(looks(sweep(reports=16, reduction=4, scheduler="asha"))) == [1, 4]
    assert list(looks(sweep(reports=4, scheduler="pbt"))) == [1, 2, 3]


@pytest.mark.parametrize("images", [432, 800, 20_000])
def test_no_rung_of_early_stopping_is_at_the_end_where_a_trial_has_still_to_write_its_generator(images: int):
    of = space({"n_critic": EVERYTHING["n_critic"]})
    (bracket,) = _scheduler(of, sweep(images=images, reports=9, scheduler="asha"))._brackets
    rungs = sorted(rung for rung, _ in bracket._rungs)
    assert rungs == [images // 9, 3 * (images // 9)]


def test_what_dvc_composed_of_unknown_choices_keeps_its_other_sections():
    raw = composition(["objective=wgan_gp", "networks.width=8"]) | {"composed": None}
    compose = composer(raw)
    assert compose(["objective=non_saturating_r1"])["objective"] == composition([])["objective"]
    assert compose(["objective=hinge"])["networks"]["width"] == 8
    assert compose([])["objective"] == raw["objective"]


def test_records_hold_nothing_of_where_a_run_is_kept():
    raw = composition(["cluster.storage=s3://key:secret@bucket/x", "networks.width=8"])
    kept = public(raw)
    assert "secret" not in str(kept) and kept["composed"] == ["networks.width=8"]
    assert kept["networks"]["width"] == 8 and "secret" in str(raw)


def test_a_trial_is_called_by_what_it_tries():
    assert title({"objective": "wgan", "clip": 0.012345, "seed": 3}) == "wgan clip=0.0123 seed=3"

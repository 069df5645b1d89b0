"""The property suite: what every objective promises, for every file of conf/objective."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ganlib.config import ConfigError
from ganlib.objectives.base import Batch, Noise
from ganlib.training.distributed import Workers
from ganlib.training.run import Run

CONF = Path(__file__).parents[2] / "conf" / "objective"
OBJECTIVES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONF.glob("*.yaml"))}
MLP = {"name": "mlp", "width": 16, "depth": 2, "latent": 4}
DCGAN = {"name": "dcgan", "width": 4, "latent": 4, "discriminator_norm": "none"}
SHAPE = (1, 16, 16)


def players(objective: dict[str, Any], networks: dict[str, Any] = MLP):
    run = Run(networks=networks, objective=objective)
    return run.build_objective(), run.build_networks(SHAPE, 0)


def batch(count: int = 8, rank: int = 0, workers: int = 1, shared: bool = False) -> Batch:
    """A share of one global batch of `count` images."""
    share = count // workers
    real = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    average = (lambda t: Workers.current().average([t])[0]) if shared else (lambda t: t)
    return Batch(real[rank * share : (rank + 1) * share], None, Noise(2, share, rank, "cpu", workers), average)


@pytest.fixture(params=OBJECTIVES)
def objective(request: pytest.FixtureRequest) -> dict[str, Any]:
    return OBJECTIVES[request.param]


def test_losses_are_pure(objective):
    """Twice under one seed: the same bits, and every state as it was."""
    game, networks = players(objective)
    modules = [game, *networks.values()]
    before = [{k: v.clone() for k, v in module.state_dict().items()} for module in modules]
    for phase in game.phases():
        first, stats = phase.loss(networks, batch())
        second, _ = phase.loss(networks, batch())
        assert first.isfinite() and torch.equal(first, second)
        assert first.ndim == 0 and all(value.ndim == 0 and not value.requires_grad for value in stats.values())
    for module, state in zip(modules, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_exactly_the_trained_roles_get_gradients(objective):
    game, networks = players(objective)
    for phase in game.phases():
        for role, network in networks.items():
            network.requires_grad_(role in phase.trains)
            network.zero_grad()
        phase.loss(networks, batch())[0].backward()
        for role, network in networks.items():
            moved = any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
            assert moved == (role in phase.trains), (phase.name, role)


def test_no_work_for_who_does_not_move(objective):
    """The discriminator's moves run no graph of the generator."""
    game, networks = players(objective)
    called = []
    networks["generator"].register_forward_hook(lambda module, args, out: called.append(out.requires_grad))
    for phase in game.phases():
        called.clear()
        phase.loss(networks, batch())
        assert all(needs_graph == ("generator" in phase.trains) for needs_graph in called)


def test_every_phase_is_due_sometimes_and_the_generator_every_n_critic(objective):
    game, _ = players(objective)
    due = {phase.name: phase.every for phase in game.phases()}
    assert due["D"] == 1 and due["G"] == objective["n_critic"]


@pytest.mark.parametrize("norm", ["none", "sync_batch"])
def test_two_workers_average_to_the_gradients_of_one(norm, objective, on_workers):
    """Each on half of the batch, after one averaging: the gradients of one worker on all of it, to 1e-6."""
    networks_config = DCGAN | {"generator_norm": norm}

    def gradients(rank: int, workers: int):
        game, networks = players(objective, networks_config)
        results = {}
        for phase in game.phases():
            for role, network in networks.items():
                network.requires_grad_(role in phase.trains)
            phase.loss(networks, batch(8, rank, workers, shared=workers > 1))[0].backward()
            parameters = [p for role in phase.trains for p in networks[role].parameters()]
            Workers(rank, workers).average_gradients(parameters, [])
            results[phase.name] = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
            for parameter in parameters:
                parameter.grad = None
        return results

    alone = gradients(0, 1)
    for shared in on_workers(lambda rank: gradients(rank, 2), 2):
        assert shared.keys() == alone.keys()
        for name in alone:
            torch.testing.assert_close(shared[name], alone[name], rtol=1e-5, atol=1e-6)
            assert alone[name].abs().max() > 1e-5  # else the comparison says nothing


def test_finite_under_bfloat16_autocast(objective):
    game, networks = players(objective, DCGAN)
    for phase in game.phases():
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = phase.loss(networks, batch())
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() for n in networks.values() for p in n.parameters() if p.grad is not None)


def test_sharing_the_fakes_changes_nothing_but_who_makes_them():
    """With shared fakes both players see exactly those images."""
    game, networks = players(OBJECTIVES["hinge"])
    given = batch()
    given.fake = game.fakes(networks, batch())
    alone = batch()
    discriminator, generator = game.phases()
    torch.testing.assert_close(discriminator.loss(networks, given)[0], discriminator.loss(networks, alone)[0])
    torch.testing.assert_close(generator.loss(networks, given)[0], generator.loss(networks, batch())[0])


def test_clipping_happens_in_advance_and_only_after_the_critic():
    game, networks = players(OBJECTIVES["wgan"])
    critic, generator = game.phases()
    game.advance(generator, networks, {}, 0)
    largest = max(p.detach().abs().max().item() for p in networks["discriminator"].parameters())
    assert largest > 0.01
    game.advance(critic, networks, {}, 0)
    largest = max(p.detach().abs().max().item() for p in networks["discriminator"].parameters())
    assert largest == pytest.approx(0.01)


def test_lazy_regularisation_weighs_for_the_batches_it_skips():
    base = {"name": "two_player", "loss": "hinge"}
    lazy, networks = players(base | {"penalties": {"r1": {"weight": 3, "every": 4}}})
    prompt, _ = players(base | {"penalties": {"r1": {"weight": 12, "every": 1}}})
    plain, _ = players(base)
    _, regularize, _ = lazy.phases()
    assert (regularize.name, regularize.every) == ("D_r1", 4)
    difference = prompt.phases()[0].loss(networks, batch())[0] - plain.phases()[0].loss(networks, batch())[0]
    torch.testing.assert_close(regularize.loss(networks, batch())[0], difference)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinges"}, "objective.loss.*did you mean 'hinge'"),
        ({"n_critic": 0}, "objective.n_critic: must be at least 1, got 0"),
        ({"penalties": {"gradient_penalty": {"weight": -1}}}, r"gradient_penalty.weight: must not be negative"),
        ({"penalties": {"gradient_penality": {"weight": 1}}}, "did you mean 'gradient_penalty'"),
        ({"penalties": {"r1": {"weight": 1, "every": 0}}}, "r1.every: must be at least 1"),
        ({"clip": 0}, "clip: must be above 0"),
        ({"loss": "hinge", "real_target": 0.9}, "real_target: hinge has no targets to smooth"),
        ({"optimizers": {"generator": {}}}, "optimizers.discriminator: missing"),
        ({"optimizers": {"generator": {"lr": 0}, "discriminator": {}}}, "generator.lr: must be above 0"),
        ({"optimizers": {"generator": {"betas": [0.5, 1.0]}, "discriminator": {}}}, "betas"),
        ({"lambda": 10}, "objective.lambda: unknown key"),
        ({"name": "two_plaier"}, "did you mean 'two_player'"),
    ],
)
def test_what_cannot_be_played_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Run(objective={"name": "two_player"} | options)


def test_a_gradient_penalty_with_batch_norm_in_the_critic_is_refused():
    game, networks = players(OBJECTIVES["wgan_gp"], DCGAN | {"discriminator_norm": "batch"})
    with pytest.raises(ConfigError, match=r"batch norm mixes the batch; set networks\.discriminator_norm to"):
        game.check(networks)

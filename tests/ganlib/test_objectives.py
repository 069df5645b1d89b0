"""The property suite: what every objective promises, for every file of conf/objective, term and augmentation."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ganlib.condition import NOTHING
from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from ganlib.objectives.base import Batch, Noise
from ganlib.objectives.schedules import wgan_warm_up
from ganlib.training.distributed import Workers
from ganlib.training.guard import NotFinite
from ganlib.training.loop import train
from ganlib.training.run import Run, Training
from ganlib.verdict import Verdict

CONF = Path(__file__).parents[2] / "conf"
GAMES = {
    **{path.stem: [f"objective={path.stem}"] for path in sorted(CONF.glob("objective/*.yaml"))},
    **{f"hinge+{path.stem}": ["objective=hinge", f"objective/terms=[{path.stem}]"]
       for path in sorted(CONF.glob("objective/terms/*.yaml"))},
    **{f"hinge+{path.stem}": ["objective=hinge", f"augmentation={path.stem}"]
       for path in sorted(CONF.glob("augmentation/*.yaml"))},
    "hinge+minibatch_std": ["objective=hinge", "networks.minibatch=std"],
    "wgan+warm_up": ["objective=wgan", "objective.warm_up=true"],
    "cgan+text": ["objective=cgan"],
    "projection+text": ["objective=projection"],
    "pix2pix+adversarial_from": ["objective=pix2pix", "objective.adversarial_from=0.3"],
}  # fmt: skip
# What would not show within a few batches, or with so few images.
AT_ONCE = {
    # Adam's first step is the sign of the gradient, in which nothing is left of how near zero it was.
    "unrolled": ["objective.optimizers.discriminator.name=sgd", "objective.optimizers.discriminator.lr=0.1"],
    "began": ["objective.terms.equilibrium.rate=1"],
    "hinge+ada": ["augmentation.p=0.5"],
    "semi_supervised": ["objective.terms.few_labels.labels_per_class=4"],
    "cyclegan": ["objective.pool=10"],
    "hinge+lecam": ["objective.terms.lecam.start=0"],
    "hinge+top_k": ["objective.terms.top_k.images=8", "objective.terms.top_k.decay=0.8"],
    "hinge+consistency": ["objective.terms.consistency.fake=10", "objective.terms.consistency.latent=20",
                          "objective.terms.consistency.latent_generator=0.5"],
}  # fmt: skip
SHAPE, CLASSES = (1, 16, 16), ("a", "b", "c")
PIXELS = torch.randint(0, 256, (48, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TABLE = Table.from_arrays(PIXELS, torch.arange(48) % 3, CLASSES)
TEXTS = torch.randn(48, 5, generator=torch.Generator().manual_seed(4))
SOURCES = PIXELS.flip(0).expand(-1, 2, -1, -1)
TABLES = {  # of whatever can be told
    "class": TABLE,
    "text": Table.from_arrays(PIXELS, texts=TEXTS, captions=["a caption"] * 48),
    "pairs": Table.from_arrays(PIXELS, sources=SOURCES),
    "unpaired": Table.from_arrays(PIXELS, sources=PIXELS.flip(3)[:40], paired=False),
}  # fmt: skip
SUBPIXEL = {"name": "subpixel", "width": 4, "latent": 4, "discriminator_norm": "none"}


@functools.cache
def composed(name: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base=None):
        choices = GAMES[name] + AT_ONCE.get(name, [])
        values: Any = OmegaConf.to_container(compose("config", overrides=choices), resolve=True)
    return values


def small(networks: dict[str, Any], convolutional: bool = False) -> dict[str, Any]:
    """The networks of a configuration made small: of fully connected layers, or of convolutions without norms."""
    what = {key: networks[key] for key in ("prior", "conditioning", "code_classes", "code_continuous", "minibatch")
            if key in networks}  # fmt: skip
    match networks["name"], convolutional:
        case "autoencoder", _:
            sizes = {"body": "subpixel" if convolutional else "mlp", "width": 4 if convolutional else 16, "hidden": 6}
            return networks | sizes | {"latent": 4, "generator_norm": "none", "discriminator_norm": "none"}
        case "subpixel" | "dcgan" | "mlp", True:
            return SUBPIXEL | what | {"generator_norm": "none"}
        case "unet" | "resnet", _:
            sizes = {"width": 4, "discriminator_width": 4, "generator_norm": "none", "discriminator_norm": "none"}
            more = {"blocks": 1} if networks["name"] == "resnet" else {"dropout": 0}
            return networks | sizes | {"patch": 16} | more
        case "subpixel" | "dcgan" | "mlp", False:
            return {"name": "mlp", "width": 16, "depth": 2, "latent": 4} | what
    return networks | {key: "none" for key in networks if key.endswith("_norm")}


def settings(name: str, convolutional: bool = False, networks: dict[str, Any] | None = None, **training: Any) -> Run:
    values = composed(name)
    return Run(
        networks=small(values["networks"], convolutional) | (networks or {}),
        objective=values["objective"], augmentation=values["augmentation"], training=Training(**training),
    )  # fmt: skip


@functools.cache
def table(game: str) -> Table:
    """The first of TABLES that the game can be played on."""
    for kind, found in TABLES.items():
        if game.endswith("+text") and kind != "text":
            continue
        run = settings(game)
        try:
            run.build_objective().check(run.build_networks(SHAPE, found.condition))
        except ConfigError as error:
            refused = error
        else:
            return found
    raise refused


def players(run: Run, table: Table = TABLE):
    """In the midst of a game: whatever state the objective has, it has moved from where it began."""
    networks = run.build_networks(SHAPE, table.condition)
    objective = run.build_objective()
    objective.check(networks)
    objective.bind(networks, table, {})
    stats = {"D/real_score": torch.tensor(0.9), "D/fake_score": torch.tensor(0.2), "D/real_sign": torch.tensor(0.8),
             "D/loss": torch.tensor(1.0)}  # fmt: skip
    noise = torch.Generator().manual_seed(3)
    for phase in objective.phases():
        _, made = phase.loss(networks, batch(table=table))
        objective.advance(phase, networks, {name: value.detach() for name, value in made.items()} | stats, 800)
    for network in networks.values():
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=noise)
    return objective, networks


def two_player(options: dict[str, Any], networks: dict[str, Any] | None = None):
    networks = networks or {"name": "mlp", "width": 16, "depth": 2, "latent": 4}
    return players(Run(networks=networks, objective={"name": "two_player"} | options))


def midst(game: str, convolutional: bool = False, networks: dict[str, Any] | None = None):
    """`players` of a game, on its table."""
    return players(settings(game, convolutional, networks), table(game))


def batch(count: int = 8, rank: int = 0, workers: int = 1, table: Table = TABLE) -> Batch:
    """A share of one global batch of `count` images."""
    share = slice(rank * count // workers, (rank + 1) * count // workers)
    real = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    _, conditions = table.batch(np.arange(count), told=np.arange(count))
    return Batch(real[share], conditions[share], Noise(2, count // workers, rank, "cpu", workers))


def flat(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in module.state_dict().values()] or [torch.zeros(0)])


@pytest.fixture(params=GAMES)
def game(request: pytest.FixtureRequest) -> str:
    return request.param


def test_losses_are_pure(game):
    """Twice under one seed: the same bits, and every state as it was."""
    objective, networks = midst(game)
    modules = [objective, *networks.values()]
    before = [{k: v.clone() for k, v in module.state_dict().items()} for module in modules]
    for phase in objective.phases():
        first, stats = phase.loss(networks, batch(table=table(game)))
        second, _ = phase.loss(networks, batch(table=table(game)))
        assert first.isfinite() and torch.equal(first, second)
        assert first.ndim == 0 and not any(value.requires_grad for value in stats.values())
        assert all(value.ndim == 0 or len(value) == 8 for value in stats.values())  # means, and samples
    for module, state in zip(modules, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_exactly_the_trained_roles_get_gradients(game):
    """And all of their parameters: none is there that no move trains."""
    objective, networks = midst(game)
    trained = set()
    for phase in objective.phases():
        for role, network in networks.items():
            network.requires_grad_(role in phase.trains)
            network.zero_grad()
        phase.loss(networks, batch(table=table(game)))[0].backward()
        for role, network in networks.items():
            moved = any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
            assert moved == (role in phase.trains), (phase.name, role)
            trained |= {(role, name) for name, p in network.named_parameters() if p.grad is not None}
    for role in objective.optimizers:
        missing = {(role, name) for name, _ in networks[role].named_parameters()} - trained
        assert not missing


def test_no_work_for_who_does_not_move(game):
    """The discriminator's moves run no graph of the generator."""
    objective, networks = midst(game)
    called = []
    networks["generator"].register_forward_hook(lambda module, args, out: called.append(out.requires_grad))
    for phase in objective.phases():
        called.clear()
        phase.loss(networks, batch(table=table(game)))
        assert all(needs_graph == ("generator" in phase.trains) for needs_graph in called)


def test_every_phase_is_due_sometimes_and_accounts_for_every_batch(game):
    objective, _ = midst(game)
    for phase in objective.phases():
        accounted = 0
        for number in range(1, 8001):  # within its window
            accounted += phase.due(number)
            assert accounted == number or phase.due(number) == 0
        assert 8000 - accounted < max(phase.every, 100)
    due = {phase.name: phase for phase in objective.phases()}
    assert due["D"].due(1) == 1 and due["G"].every == composed(game)["objective"].get("n_critic", 1)


def test_two_workers_average_to_the_gradients_of_one(game, on_workers):
    """Each on half of the batch, after one averaging: the gradients of one worker on all of it, to 1e-5."""

    def gradients(rank: int, workers: int):
        results = {}
        networks = small(composed(game)["networks"], True)
        synchronised = networks["name"] != "autoencoder" and "generator_norm" in networks
        norms = [{}, {"generator_norm": "sync_batch"}] if synchronised else [{}]
        for norm in norms:
            objective, networks = midst(game, True, norm)
            for phase in objective.phases():
                for role, network in networks.items():
                    network.requires_grad_(role in phase.trains)
                phase.loss(networks, batch(8, rank, workers, table(game)))[0].backward()
                parameters = [p for role in phase.trains for p in networks[role].parameters()]
                Workers(rank, workers).average_gradients(parameters, {})
                gradient = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
                results[f"{phase.name} {norm}"] = gradient
                for parameter in parameters:
                    parameter.grad = None
        return results

    alone = gradients(0, 1)
    for shared in on_workers(lambda rank: gradients(rank, 2), 2):
        assert shared.keys() == alone.keys()
        for name in alone:
            largest = alone[name].abs().max().item()
            torch.testing.assert_close(shared[name], alone[name], rtol=1e-5, atol=max(1e-6, 1e-5 * largest))
            assert largest > 1e-5  # else the comparison says nothing


def test_its_state_is_equal_on_every_worker_and_that_of_one(game, on_workers):
    """After six batches through the loop: the objective's state alike on both ranks, and near that of one worker."""

    class Watched(Run):
        def build_objective(self):
            objectives.append(super().build_objective())
            return objectives[-1]

    objectives = []
    run = settings(game, images=48, batch_size=8, checkpoint_every=48)

    def state(rank: int = 0) -> torch.Tensor:
        train(Watched(run.networks, run.objective, run.augmentation, run.training), table(game))
        return flat(objectives[-1])

    alone, (first, second) = state(), on_workers(state, 2)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-4)


class Stopped(Exception):
    pass


def test_stopped_and_resumed_is_bit_for_bit_undisturbed(game, tmp_path: Path):
    """Networks, average, and whatever state the objective has: from a checkpoint in mid-run."""
    run = settings(game, images=80, batch_size=8, checkpoint_every=24, log_every=8)

    def stop(images_seen: int, metrics: dict[str, float]) -> None:
        if images_seen == 56:
            raise Stopped

    train(run, table(game), tmp_path / "a")
    with pytest.raises(Stopped):
        train(run, table(game), tmp_path / "b", log=stop)
    train(run, table(game), tmp_path / "b")
    for name in ("discriminator", "average", "objective"):
        paths = [tmp_path / place / "images-000000000080.pt" for place in "ab"]
        first, second = (torch.load(path, weights_only=True)[name] for path in paths)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name


def test_nan_stops_it_before_anything_moves(game, tmp_path: Path):
    """A NaN in the second batch: the weights of the checkpoint after the first are the last."""

    class Poisoned(Table):
        def draw(self, seed, start, count, device="cpu"):
            images, conditions = super().draw(seed, start, count, device)
            return (images * float("nan") if start >= 8 else images), conditions

    run = settings(game, images=16, batch_size=8, checkpoint_every=8)
    clean = table(game)
    poisoned = Poisoned(clean.images, clean.conditions, clean.condition, clean.classes, paired=clean.paired)
    with pytest.raises(NotFinite, match=r"the loss of \w+ is not finite between 8 and .*images-0+8\.pt"):
        train(run, poisoned, tmp_path)
    assert [path.stem for path in tmp_path.glob("*.pt")] == ["images-000000000008"]


def test_finite_under_bfloat16_autocast(game):
    objective, networks = midst(game, True)
    for phase in objective.phases():
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = phase.loss(networks, batch(table=table(game)))
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad.isfinite().all() for n in networks.values() for p in n.parameters() if p.grad is not None)


def test_sharing_the_fakes_changes_nothing_but_who_makes_them(game):
    """With shared fakes both players see exactly those images."""
    objective, networks = midst(game)
    for phase in objective.phases():
        given, alone = batch(table=table(game)), batch(table=table(game))
        given.fakes = objective.fakes(networks, batch(table=table(game)))
        shared, fresh = phase.loss(networks, given)[0], phase.loss(networks, alone)[0]
        if objective_draws_no_more_noise(phase.name, game):
            torch.testing.assert_close(shared, fresh)
        assert shared.isfinite()


def objective_draws_no_more_noise(phase: str, game: str) -> bool:
    """Whether fakes are all that the phase draws numbers for, so that sharing them leaves no other number changed."""
    augmented = [f"hinge+{path.stem}" for path in CONF.glob("augmentation/*")]
    return game not in ("dragan", "wgan_gp", "cgan", "hinge+consistency", *augmented)


def test_clipping_happens_in_advance_and_only_after_the_critic():
    objective, networks = players(settings("wgan"))
    critic, generator = objective.phases()
    before = [p.clone() for p in networks["discriminator"].parameters()]
    objective.advance(generator, networks, {}, 0)
    assert all(torch.equal(p, was) for p, was in zip(networks["discriminator"].parameters(), before, strict=True))
    largest = max(p.detach().abs().max().item() for p in networks["discriminator"].parameters())
    assert largest > 0.01
    objective.advance(critic, networks, {}, 0)
    largest = max(p.detach().abs().max().item() for p in networks["discriminator"].parameters())
    assert largest == pytest.approx(0.01)


def test_the_critic_warms_up_as_in_the_code_of_wgan():
    """`Diters = 100 if gen_iterations < 25 or gen_iterations % 500 == 0 else 5`, over 1,600 generator steps."""
    expected, number = {}, 0
    for step in range(1600):
        steps = 100 if step < 25 or step % 500 == 0 else 5
        number += steps
        expected[number] = steps
    due = wgan_warm_up(5)
    assert {n: due(n) for n in range(1, number + 1) if due(n)} == expected


def test_lazy_regularisation_weighs_for_the_batches_it_skips():
    base = {"loss": "hinge"}
    lazy, networks = two_player(base | {"penalties": {"r1": {"weight": 3, "every": 4}}})
    prompt, _ = two_player(base | {"penalties": {"r1": {"weight": 12, "every": 1}}})
    plain, _ = two_player(base)
    _, regularize, _ = lazy.phases()
    assert (regularize.name, regularize.every) == ("D_r1", 4)
    difference = prompt.phases()[0].loss(networks, batch())[0] - plain.phases()[0].loss(networks, batch())[0]
    torch.testing.assert_close(regularize.loss(networks, batch())[0], difference)


def test_lazy_regularisation_slows_its_player_as_stylegan2_does():
    """k = 16: lr and β to the power of it are those of 17 steps in place of 16."""
    objective, _ = two_player({"penalties": {"r1": {"weight": 1, "every": 16}},
                               "optimizers": {role: {"lr": 0.002, "betas": [0.0, 0.99]} for role in
                                              ("generator", "discriminator")}})  # fmt: skip
    slowed = objective.optimizers["discriminator"]
    assert slowed.lr == pytest.approx(0.002 * 16 / 17)
    assert slowed.betas == pytest.approx((0.0, 0.99 ** (16 / 17)))
    assert objective.optimizers["generator"].lr == 0.002


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("name", ["r1", "r2", "gradient_penalty"])
def test_penalties_are_taken_where_their_papers_take_them(name, every):
    """D(x) = ½‖x‖² has the gradient x: on reals, on fakes, between them."""

    class Quadratic(torch.nn.Module):
        mixes_batch, told, energy, classes, own_gradients = False, NOTHING, False, 0, True

        def forward(self, images, label=None):
            return Verdict(images.flatten(1).square().sum(1) / 2)

    options = {"loss": "hinge", "penalties": {name: {"weight": 2, "every": every}}}
    objective, networks = two_player(options)
    networks["discriminator"] = Quadratic()
    real, (fake, _, _) = batch().real, objective.fakes(networks, batch())
    alpha = batch().noise
    alpha.normal(networks["generator"].latent)  # the latents are drawn first
    between = torch.lerp(fake, real, alpha.uniform()[:, None, None, None])
    lengths = {key: x.flatten(1).norm(dim=1) for key, x in (("r1", real), ("r2", fake), ("gradient_penalty", between))}
    expected = (lengths[name] - 1).square() if name == "gradient_penalty" else lengths[name].square() / 2
    phase = objective.phases()[0 if every == 1 else 1]
    torch.testing.assert_close(phase.loss(networks, batch())[1][f"D/{name}"], expected.mean().detach())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "boundary_equilibrium"}, "equilibrium: it rules over the k of boundary_equilibrium; take both"),
        ({"loss": "hinge", "terms": {"equilibrium": {}}}, "take both, or neither"),
        ({"loss": "relativistic_average", "terms": {"top_k": {}}}, "top_k: under relativistic_average a sample has no"),
        ({"unroll": 2, "clip": 0.1}, "unroll: the steps ahead know neither clip nor penalties"),
        ({"penalties": {"r1": {"weight": 1, "every": 2}}, "optimizers": {"generator": {}, "discriminator":
            {"name": "rmsprop"}}}, "lazy ones .* write every: 1"),
        ({"terms": {"consistency": {"real": 0}}}, "consistency.real, fake, latent: one at least must be above 0"),
        ({"loss": "hinges"}, "objective.loss.*did you mean 'hinge'"),
        ({"n_critic": 0}, "objective.n_critic: 1 … 1,000,000 is needed, got 0"),
        ({"penalties": {"gradient_penalty": {"weight": -1}}}, r"gradient_penalty.weight: must not be negative"),
        ({"penalties": {"gradient_penality": {"weight": 1}}}, "did you mean 'gradient_penalty'"),
        ({"penalties": {"r1": {"weight": 1, "every": 0}}}, "r1.every: must be at least 1"),
        ({"terms": {"lecams": {}}}, r"objective.terms.lecams: there is no such term; did you mean 'lecam'"),
        ({"terms": {"lecam": {"weight": -1}}}, r"objective.terms.lecam.weight: must be above 0"),
        ({"terms": {"lecam": {"wieght": 1}}}, r"objective.terms.lecam.wieght: unknown key; did you mean 'weight'"),
        ({"clip": 0}, "clip: must be above 0"),
        ({"unroll": -1}, "unroll: 0 … 1,000 is needed, got -1"),
        ({"loss": "hinge", "real_target": 0.9}, "real_target: hinge has no targets to smooth"),
        ({"loss": "hinge", "margin": 1}, "margin: hinge has none"),
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


@pytest.mark.parametrize(
    ("game", "networks", "message"),
    [
        ("wgan_gp", SUBPIXEL | {"discriminator_norm": "batch"}, r"batch norm mixes.*networks\.discriminator_norm to"),
        ("wgan_gp", SUBPIXEL | {"minibatch": "discrimination"}, r"discrimination does.*networks\.minibatch to"),
        ("hinge", SUBPIXEL | {"conditioning": "classifier"}, "no term that trains it; take objective=acgan"),
        ("hinge", SUBPIXEL | {"conditioning": "code"}, "no term that trains it; take objective=infogan"),
        ("hinge", SUBPIXEL | {"conditioning": "classes"}, "no term that trains it; take objective=semi_supervised"),
        ("ebgan", SUBPIXEL, "needs a discriminator whose score is an energy; set networks=autoencoder"),
        ("hinge", {"name": "autoencoder", "body": "mlp"}, "an autoencoder's score is an energy; set networks=subpixel"),
        ("acgan", SUBPIXEL, "set networks.conditioning=classifier"),
        ("cgan", SUBPIXEL | {"conditioning": "classifier"}, "set networks.conditioning=concat or projection"),
        ("infogan", SUBPIXEL | {"conditioning": "concat"}, "set networks.conditioning=code"),
        ("semi_supervised", SUBPIXEL, "set networks.conditioning=classes"),
    ],
)
def test_players_that_do_not_fit_the_game_are_refused(game, networks, message):
    with pytest.raises(ConfigError, match=message):
        players(Run(networks=networks, objective=composed(game)["objective"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"adversarial_weight": 0}, "at 0 the generator learns from terms alone"),
     ({"unroll": 2, "terms": {"lecam": {}}}, "the steps ahead know nothing of lecam")],
)  # fmt: skip
def test_combinations_that_would_do_nothing_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        two_player(options)


def test_adaptive_augmentation_of_a_game_without_a_sign_is_refused_before_it_begins():
    run = Run(networks=small(composed("wgan")["networks"]), objective=composed("wgan")["objective"],
              augmentation={"name": "ada"})  # fmt: skip
    with pytest.raises(ConfigError, match=r"augmentation\.target: ada follows the sign.*target=null"):
        players(run)


def test_labels_are_asked_for_where_there_are_none():
    with pytest.raises(ConfigError, match=r"networks.conditioning: .*needs labels"):
        settings("acgan").build_networks(SHAPE, NOTHING)

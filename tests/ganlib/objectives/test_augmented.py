"""A game behind an augmentation: the same game for a discriminator that is shown other images."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import build
from ganlib.augmentations.base import Augmentation, normal
from ganlib.condition import NOTHING, Condition
from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from ganlib.objectives.augmented import Augmented, Seen, looking_at
from ganlib.objectives.base import Batch, Noise, Objective
from ganlib.objectives.two_player import judge
from ganlib.training.loop import train
from ganlib.training.run import Run
from ganlib.verdict import Verdict

SHAPE = (1, 8, 8)
GAMES: dict[str, dict[str, Any]] = {
    "lazy_r1": {"penalties": {"r1": {"weight": 1.0, "every": 4}}},
    "wgan_gp": {"loss": "wasserstein", "penalties": {"gradient_penalty": {"weight": 10.0}}, "n_critic": 2},
    "r3gan": {"loss": "relativistic_paired", "penalties": {"r1": {"weight": 1.0}, "r2": {"weight": 1.0}}},
    "unrolled": {"unroll": 2},
}


class Doubled(Augmentation):
    """x ↦ 2x, and a count of its advances."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(0, 2))

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        return 2 * images

    def stats(self) -> dict[str, Tensor]:
        return {"augmentation/calls": torch.tensor(float(len(self.calls)))}

    def advance(self, stats: dict[str, Tensor], images_seen: int, images: int | Tensor) -> None:
        self.calls = torch.cat([self.calls, torch.tensor([[float(images_seen), float(images)]])])


class Noisy(Augmentation):
    """x ↦ x + ε."""

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        return images + normal(noise, images, *images.shape[1:])


def players() -> dict[str, nn.Module]:
    module, config = build.component("networks", {"name": "mlp", "width": 8, "depth": 2, "latent": 4})
    torch.manual_seed(0)
    return module.build(config, SHAPE)


def game(name: str) -> Objective:
    module, config = build.component("objectives", {"name": "two_player", **GAMES[name]})
    return module.build(config)


def batch(count: int = 8, rank: int = 0, workers: int = 1) -> Batch:
    share = count // workers
    real = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(real[rank * share : (rank + 1) * share], None, Noise(2, share, rank, "cpu", workers))


@pytest.mark.parametrize("name", sorted(GAMES.keys() - {"unrolled"}))  # doubled weights learn at another speed
def test_every_move_shows_the_discriminator_the_augmented_images(name):
    """Doubled images are the game of a discriminator whose first weights are doubled, also for penalties: their
    derivative is with respect to the images before."""
    networks, stronger = players(), players()
    first = next(module for module in stronger["discriminator"].modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        first.weight *= 2
    bare = {phase.name: phase for phase in game(name).phases()}
    for phase in Augmented(game(name), Doubled()).phases():
        loss, stats = phase.loss(networks, batch())
        expected, expected_stats = bare[phase.name].loss(stronger, batch())
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert set(stats) - set(expected_stats) == ({"augmentation/calls"} if phase.name == "D" else set())
        unlike, _ = bare[phase.name].loss(networks, batch())
        assert abs(loss.item() - unlike.item()) > 1e-4


def test_unrolled_steps_are_taken_on_augmented_images():
    networks = players()
    shown: list[Tensor] = []
    networks["discriminator"].register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0]))
    (generate,) = [phase for phase in Augmented(game("unrolled"), Doubled()).phases() if phase.name == "G"]
    generate.loss(networks, batch())[0].backward()
    assert len(shown) == 3 and all(torch.equal(images[:8], 2 * batch().real) for images in shown[:2])
    assert all(parameter.grad.abs().sum() > 0 for parameter in networks["generator"].parameters())


@pytest.mark.parametrize("name", GAMES)
def test_an_augmentation_that_does_nothing_changes_no_bit(name):
    module, config = build.component("augmentations", {"name": "diffaugment", "policy": []})
    inner, networks = game(name), players()
    outer = Augmented(inner, module.build(config))
    assert (outer.roles, outer.optimizers) == (inner.roles, inner.optimizers)
    for phase, bare in zip(outer.phases(), inner.phases(), strict=True):
        assert phase._replace(loss=bare.loss) == bare
        assert torch.equal(phase.loss(networks, batch())[0], bare.loss(networks, batch())[0])
    assert torch.equal(outer.fakes(networks, batch()).images, inner.fakes(networks, batch()).images)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("augmentation", build.names("augmentations"))
def test_moves_are_pure_and_train_whom_they_should(name, augmentation):
    module, config = build.component("augmentations", {"name": augmentation})
    objective, networks = Augmented(game(name), module.build(config)), players()
    for _ in range(100):
        objective.augmentation.advance({"D/real_sign": torch.tensor(1.0)}, 1000, 1000)
    before = copy.deepcopy({role: module.state_dict() for role, module in {"game": objective, **networks}.items()})
    for phase in objective.phases():
        for role, network in networks.items():
            network.requires_grad_(role in phase.trains).zero_grad()
        first, again = phase.loss(networks, batch())[0], phase.loss(networks, batch())[0]
        assert first.isfinite() and torch.equal(first, again)
        first.backward()
        for role, network in networks.items():
            assert all(parameter.requires_grad == (role in phase.trains) for parameter in network.parameters())
            moved = any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
            assert moved == (role in phase.trains), (phase.name, role)
    for role, module in {"game": objective, **networks}.items():
        assert all(torch.equal(value, before[role][key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", sorted(GAMES.keys() - {"unrolled"}))
def test_two_workers_see_what_one_sees(name):
    networks = players()
    for phase in Augmented(game(name), Noisy()).phases():
        whole, _ = phase.loss(networks, batch())
        shares = [phase.loss(networks, batch(8, rank, 2))[0].item() for rank in range(2)]
        assert sum(shares) / 2 == pytest.approx(whole.item(), rel=1e-5)


def test_each_look_has_numbers_of_its_own():
    seen, images = Seen(nn.Identity(), Noisy(), Noise(0, 2)), torch.zeros(2, *SHAPE)
    assert not torch.equal(seen(images), seen(images))


class Sum(nn.Module):
    """D(x) = Σ x, added in one order whatever the batch."""

    energy, told, classes, own_gradients = False, NOTHING, 0, True

    def __init__(self, mixes_batch: bool = False) -> None:
        super().__init__()
        self.mixes_batch = mixes_batch

    def forward(self, images: Tensor, label: Tensor | None = None) -> Verdict:
        return Verdict(torch.stack(images.flatten(1).unbind(1)).cumsum(0)[-1])


@pytest.mark.parametrize("mixes_batch", [False, True])  # reals and fakes in one pass, or in two
@pytest.mark.parametrize("which", ["real", "fake", "latent"])
@pytest.mark.parametrize("options", [{"name": "diffaugment"}, {"name": "ada", "p": 0.7}, {"name": "instance_noise"}],
                         ids=lambda options: options["name"])  # fmt: skip
def test_consistency_sees_its_own_changes_alone(options, which, mixes_batch):
    """Exactly 0 where an image and its changed version are one: both are looked at through one draw."""

    def term(**changes: Any) -> Tensor:
        consistency = {"real": 0.0, which: 10.0} | changes
        module, config = build.component("objectives", {"name": "two_player", "terms": {"consistency": consistency}})
        augmentation, settings = build.component("augmentations", options)
        move, _ = Augmented(module.build(config), augmentation.build(settings)).phases()
        return move.loss(players() | {"discriminator": Sum(mixes_batch)}, batch())[1]["D/consistency"]

    assert term(shift=0, flip=False, radius=1e-30) == 0
    assert term(radius=1.0) > 0.01


@pytest.mark.parametrize("mixes_batch", [False, True])
def test_reals_and_fakes_have_each_their_own_draw_for_one_move(mixes_batch):
    """The same one at every look of `looking_at`, together or alone, before and after other looks."""
    seen, x = Seen(Sum(mixes_batch), Noisy(), Noise(0, 4)), torch.zeros(4, *SHAPE)
    real, fake = judge(seen, x, x, (None, None))
    assert len(torch.cat([real.score, fake.score]).unique()) == 8
    seen(x)
    for side, first in (("real", real), ("fake", fake)):
        assert torch.equal(looking_at(seen, side)(x).score, first.score)
    other = Seen(Sum(mixes_batch), Noisy(), Noise(1, 4))
    assert not torch.equal(looking_at(other, "real")(x).score, real.score)


def test_a_stream_depends_on_seed_and_name_alone_and_is_cut_to_the_shares():
    noise = Noise(3, 4)
    numbers = noise.stream("a").normal(2)
    assert torch.equal(noise.stream("a").normal(2), numbers)
    assert not torch.equal(noise.stream("b").normal(2), numbers) and not torch.equal(noise.normal(2), numbers)
    shares = [Noise(3, 2, rank, "cpu", 2).stream("a").normal(2) for rank in range(2)]
    assert torch.equal(torch.cat(shares), numbers)


def test_the_discriminator_answers_for_itself():
    discriminator = players()["discriminator"]
    seen = Seen(discriminator, Doubled(), Noise(0, 2))
    assert seen.mixes_batch is discriminator.mixes_batch and seen.energy is discriminator.energy
    assert list(seen.parameters()) == list(discriminator.parameters())
    assert len(list(seen.buffers())) == len(list(discriminator.buffers()))
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = seen.no_such_thing


def test_other_parameters_can_take_the_discriminators_place():
    discriminator, images = players()["discriminator"], torch.randn(2, *SHAPE)
    seen = Seen(discriminator, Doubled(), Noise(0, 2))
    other = {name: parameter + 1 for name, parameter in seen.named_parameters()}
    score = torch.func.functional_call(seen, other, (images,)).score
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter += 1
    assert torch.equal(score, discriminator(2 * images).score)


def test_it_advances_after_d_moves_alone_by_the_images_since():
    objective, networks = Augmented(game("lazy_r1"), Doubled()), players()
    for images_seen in (64, 128, 192):
        for phase in objective.phases():
            objective.advance(phase, networks, {}, images_seen)
    assert objective.augmentation.calls.tolist() == [[64, 64], [128, 64], [192, 64]]
    assert objective.images_seen == 192


def test_what_the_game_asks_of_the_loop_is_passed_on():
    module, config = build.component("objectives", {"name": "two_player", "terms": {"historical_averaging": {}}})
    objective, networks = Augmented(module.build(config), Doubled()), players()
    running = {"discriminator": torch.optim.SGD(networks["discriminator"].parameters())}
    objective.bind(networks, Table.from_arrays(torch.zeros(2, *SHAPE, dtype=torch.uint8)), running)
    assert any(name.startswith("objective.terms.historical_averaging.") for name in objective.state_dict())
    assert objective.objective.running is running["discriminator"]


class Alone(Objective):
    """A game without a discriminator."""

    roles = ("generator",)
    optimizers = {}  # noqa: RUF012

    def phases(self):
        return ()


def test_checks():
    objective = Augmented(Alone(), Doubled())
    with pytest.raises(ConfigError, match=r"augmentation: .* no discriminator .* write augmentation: null"):
        objective.check({"generator": nn.Identity()})
    networks = players()
    networks["discriminator"].own_gradients = False
    with pytest.raises(ConfigError, match=r"objective\.penalties\.r1"):
        Augmented(game("lazy_r1"), Doubled()).check(networks)


def ada(images: int, **augmentation: Any) -> Run:
    return Run.parse({
        "networks": {"name": "mlp", "width": 8, "depth": 2, "latent": 4},
        "objective": {"name": "two_player", **GAMES["lazy_r1"]},
        "augmentation": {"name": "ada", "interval": 32, "kimg": 1, **augmentation},
        "training": {"images": images, "batch_size": 16, "log_every": 16, "checkpoint_every": 80},
        "seed": 1,  # whose discriminator takes noise for real
    })


def test_p_follows_the_discriminator_in_the_loop_and_resumes(tmp_path):
    """With a target that the discriminator exceeds, p grows by 1/1000 an image, the first batch's too."""
    table = Table.from_arrays(torch.randint(0, 256, (64, *SHAPE), dtype=torch.uint8))
    logged: dict[str, list[float]] = {"straight": [], "resumed": []}

    def log(name: str) -> Any:
        return lambda images_seen, metrics: logged[name].append(metrics["augmentation/p"])

    straight = train(ada(160, target=-0.999), table, log=log("straight"))
    train(ada(80, target=-0.999), table, tmp_path, log("resumed"))
    resumed = train(ada(160, target=-0.999), table, tmp_path, log("resumed"))
    assert logged["straight"] == pytest.approx([0, 0, 0.032, 0.032, 0.064, 0.064, 0.096, 0.096, 0.128, 0.128])
    assert logged["resumed"] == logged["straight"]
    for mine, theirs in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(mine, theirs)


SIDES = (16, 16)


@pytest.mark.parametrize("name", ["diffaugment", "ada"])
@pytest.mark.parametrize("channels", [(3, 3), (3, 1), (1, 3)])
def test_of_a_pair_both_images_are_moved_alike(name, channels):
    """Where an image is its own condition, the discriminator goes on seeing the same twice, by each kind of look."""

    class Pairs(nn.Module):
        told = Condition("image", channels[1], SIDES)

        def forward(self, images, condition):
            seen.append((images, condition))
            return Verdict(images.mean((1, 2, 3)))

    seen: list[tuple[Tensor, Tensor]] = []
    module, config = build.component("augmentations", {"name": name} | ({"p": 0.8} if name == "ada" else {}))
    grey = torch.rand(8, 1, *SIDES, generator=torch.Generator().manual_seed(0)) * 2 - 1
    image, condition = (grey.expand(-1, count, -1, -1) for count in channels)
    seer = Seen(Pairs(), module.build(config), Noise(3, 4))
    seer(image, condition)
    seer(image, condition)
    looking_at(seer, "real", "fake")(image, condition)
    looking_at(seer, "fake")(image[4:], condition[4:])
    for first, second in seen:
        assert first.shape[1:] == (channels[0], *SIDES) and second.shape[1:] == (channels[1], *SIDES)
        torch.testing.assert_close(first[:, :1], second[:, :1])
        assert not torch.allclose(first, image[:len(first)], atol=1e-3)
    assert not torch.equal(seen[0][0], seen[1][0])  # another draw at each look
    torch.testing.assert_close(seen[3][0], seen[2][0][4:])  # one draw for the fakes of a move


def test_the_way_back_lies_behind_the_same_augmentation():
    both = nn.Identity()
    both.back = nn.Identity()
    seer, images = Seen(both, Noisy(), Noise(0, 4)), torch.zeros(4, *SHAPE)
    assert isinstance(seer.back, Seen) and seer.back.discriminator is both.back
    torch.testing.assert_close(looking_at(seer.back, "real")(images), looking_at(seer, "real")(images))
    assert seer.back(images).abs().max() > 0

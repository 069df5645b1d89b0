"""CycleGAN's terms in closed form, what moves, and its pools in a run: gathered, and resumed half full."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ganlib import build
from ganlib.condition import Condition
from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from ganlib.objectives.base import Batch, Noise, Optimizer
from ganlib.objectives.cyclegan import Config, CycleGAN
from ganlib.training.loop import train
from ganlib.training.run import Run, Training
from ganlib.verdict import Verdict

SIDES = (16, 16)
RANDOM = torch.Generator().manual_seed(0)
B, A = (torch.randint(0, 256, (count, 3, *SIDES), dtype=torch.uint8, generator=RANDOM) for count in (24, 17))
TABLE = Table.from_arrays(B, sources=A, paired=False)
NETWORKS = {"name": "resnet", "width": 2, "blocks": 1, "discriminator_width": 2, "patch": 16, "directions": 2}


class Shift(nn.Module):
    """x + its number."""

    latent = 0

    def __init__(self, by: float):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, z, images):
        return images + self.by


class Mean(nn.Module):
    """The mean of an image, as four patches."""

    mixes_batch, told = False, Condition()

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images, condition=None):
        return Verdict((self.weight * images.mean((1, 2, 3))).view(-1, 1, 1, 1).expand(-1, 1, 2, 2))


def players() -> dict[str, Any]:
    generator, discriminator = Shift(0.25), Mean()
    generator.back, discriminator.back = Shift(-0.5), Mean()
    return {"generator": generator, "discriminator": discriminator}


def batch() -> Batch:
    """b = 1, a = 0."""
    return Batch(torch.ones(4, 3, *SIDES), torch.zeros(4, 3, *SIDES), Noise(0, 4))


def game(**options: Any) -> CycleGAN:
    objective = CycleGAN(Config(**options))
    objective.bind(players(), TABLE, {})
    return objective


def test_the_generators_loss_is_that_of_the_paper():
    """G(a) = ¼, F(b) = ½; there and back −¼ off for a and for b; G(b) is ¼ off, F(a) ½."""
    loss, stats = game(cycle=8.0, identity=0.25).generate_step(players(), batch())
    assert stats["G/loss"].item() == pytest.approx((0.25 - 1) ** 2 + (0.5 - 1) ** 2)
    assert stats["G/cycle"].item() == pytest.approx(8 * (0.25 + 0.25))
    assert stats["G/identity"].item() == pytest.approx(8 * 0.25 * (0.25 + 0.5))
    assert loss.item() == pytest.approx(sum(value.item() for value in stats.values()))
    assert "G/identity" not in game(identity=0.0).generate_step(players(), batch())[1]


def test_the_discriminators_loss_is_half_of_the_squares():
    loss, stats = game().judge_step(players(), batch())
    expected = 0.5 * ((1 - 1) ** 2 + 0.25**2) + 0.5 * ((0 - 1) ** 2 + 0.5**2)
    assert loss.item() == pytest.approx(expected) and stats["D/loss"].item() == pytest.approx(expected)
    assert stats["D/real_score"].item() == pytest.approx(0.5)
    assert stats["D/fake_score"].item() == pytest.approx((0.25 + 0.5) / 2)
    assert stats["made/there"].shape == stats["made/back"].shape == (4, 3, *SIDES)


def test_the_generators_move_first_and_each_role_as_one():
    first, second = game().phases()
    assert (first.name, first.trains, second.name, second.trains) == ("G", ("generator",), "D", ("discriminator",))
    networks = build.networks(NETWORKS, (3, *SIDES), TABLE.condition, 0)
    objective = CycleGAN(Config(pool=4))
    objective.bind(networks, TABLE, {})
    for phase in (first, second):
        for role, network in networks.items():
            network.requires_grad_(role in phase.trains)
        loss = objective.generate_step if phase is first else objective.judge_step
        loss(networks, batch())[0].backward()
        for part in (networks[phase.trains[0]], networks[phase.trains[0]].back):
            assert all(parameter.grad is not None for parameter in part.parameters())


def run(**training: Any) -> Run:
    return Run(networks=NETWORKS, objective={"name": "cyclegan", "pool": 20, "optimizers": {
        role: {"name": "sgd", "lr": 1e-6} for role in ("generator", "discriminator")}},
        training=Training(batch_size=4, share_fakes=True, precision="float32", **training))  # fmt: skip


def test_the_pools_are_those_of_the_global_batch_on_every_worker(on_workers):
    """In the order of one worker; and by then some were exchanged."""

    def pools(rank: int = 0) -> dict[str, torch.Tensor]:
        class Watched(Run):
            def build_objective(self):
                made.append(super().build_objective())
                return made[-1]

        made: list[Any] = []
        settings = run(images=80)
        train(Watched(settings.networks, settings.objective, None, settings.training), TABLE)
        return made[-1].state_dict()

    alone, (first, second) = pools(), on_workers(pools, 2)
    assert alone["pools.there.filled"] == 20
    for name, value in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-3)


def test_a_run_that_was_stopped_with_pools_half_full_goes_on_bit_for_bit(tmp_path: Path):
    class Stopped(Exception):
        pass

    def stop(images_seen: int, metrics: dict[str, float]) -> None:
        if images_seen == 16:
            raise Stopped

    settings = run(images=48, checkpoint_every=12, log_every=4)
    train(settings, TABLE, tmp_path / "a")
    with pytest.raises(Stopped):
        train(settings, TABLE, tmp_path / "b", log=stop)
    half = torch.load(tmp_path / "b" / "images-000000000012.pt", weights_only=True)["objective"]
    assert half["pools.there.filled"] == 12
    train(settings, TABLE, tmp_path / "b")
    first, second = (torch.load(tmp_path / place / "images-000000000048.pt", weights_only=True) for place in "ab")
    for part in ("objective", "generator", "discriminator", "average"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])


@pytest.mark.parametrize(
    ("networks", "table", "options", "message"),
    [
        (NETWORKS | {"directions": 1}, TABLE, {}, r"objective\.name: cyclegan needs a way back; .*directions=2"),
        (NETWORKS, Table.from_arrays(B, sources=B), {}, r"would not see that this data is paired; take .*pix2pix"),
        (NETWORKS, Table.from_arrays(B, sources=A[:, :1].contiguous(), paired=False), {},
         r"objective\.identity: grey images cannot stay .* write 0"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_played_with_is_refused(networks, table, options, message):
    settings = Run(networks=networks, objective={"name": "cyclegan"} | options)
    with pytest.raises(ConfigError, match=message):
        settings.check(table.shape, table.condition, 1, 1000)


def test_what_cannot_be_played_is_refused():
    for options, message in (({"cycle": 0}, "cycle: must be above 0"), ({"identity": -1}, "must not be negative"),
                             ({"pool": -1}, "pool: 0"), ({"optimizers": {"generator": {}}}, "optimizers: generator")):
        with pytest.raises(ConfigError, match=message):
            Run(networks=NETWORKS, objective={"name": "cyclegan"} | options)
    assert Config().optimizers["generator"] == Optimizer(decay="linear", decay_from=0.5)

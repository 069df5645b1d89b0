"""The loop: resuming, workers, and what stops it."""

import dataclasses
import hashlib
import json
import math
import os
import pickle
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib.condition import NOTHING
from ganlib.config import ConfigError
from ganlib.datasets import table
from ganlib.datasets.table import Table
from ganlib.objectives.base import Optimizer
from ganlib.training import optimizers
from ganlib.training import state as checkpoints
from ganlib.training.guard import Guard, NotFinite
from ganlib.training.loop import train
from ganlib.training.run import Run, Training
from ganlib.training.start import begin

PIXELS = torch.randint(0, 256, (50, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TABLE = Table.from_arrays(PIXELS)
OBJECTIVES = {
    "lazy": {"penalties": {"r1": {"weight": 1, "every": 4}}},
    "wgan_gp": {"loss": "wasserstein", "n_critic": 3, "penalties": {"gradient_penalty": {"weight": 10}}},
}


def run(networks: str = "mlp", objective: dict[str, Any] | None = None, **training: Any) -> Run:
    options = {"mlp": {"width": 64, "depth": 2}, "dcgan": {"width": 4, "discriminator_norm": "none"}}[networks]
    settings = {"images": 160, "batch_size": 8, "log_every": 8, "checkpoint_every": 40, "ema_half_life": 50} | training
    return Run(
        networks={"name": networks, "latent": 8} | options,
        objective={"name": "two_player"} | (objective or {}),
        training=Training(**settings),
    )


@pytest.mark.parametrize(("norm", "minibatch", "share"), [
    ("batch", "none", 4), ("sync_batch", "none", None), ("group", "none", None), ("none", "std", None)])
def test_the_share_of_a_worker_matters_where_its_batch_norm_is_its_own(norm: str, minibatch: str, share: int | None):
    settings = dataclasses.replace(run(), networks={"name": "dcgan", "width": 4, "generator_norm": norm,
                                                    "discriminator_norm": "none", "minibatch": minibatch})
    assert settings.share((1, 16, 16), NOTHING, 2) == share


@pytest.mark.parametrize(("norm", "alike"), [("batch", False), ("sync_batch", True)])
def test_two_workers_are_one_where_it_does_not(norm: str, alike: bool, on_workers):
    settings = dataclasses.replace(run(images=32, precision="float32"), networks={
        "name": "dcgan", "width": 8, "latent": 8, "generator_norm": norm, "discriminator_norm": "none"})
    alone, (together, _) = flat(train(settings, TABLE)), on_workers(lambda rank: flat(train(settings, TABLE)), 2)
    assert torch.allclose(alone, together, rtol=1e-3, atol=1e-4) == alike


def flat(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in module.state_dict().values()])


@pytest.mark.parametrize("share_fakes", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_killed_and_resumed_is_bit_for_bit_undisturbed(objective, workers, share_fakes, tmp_path: Path, on_workers):
    settings = run("dcgan", OBJECTIVES[objective], share_fakes=share_fakes)
    expect_undisturbed(settings, 96, [40, 80], workers, tmp_path, on_workers)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_resumed_after_a_thousand_of_two_thousand_steps(workers, tmp_path: Path, on_workers):
    settings = run("mlp", OBJECTIVES["lazy"], images=16_000, checkpoint_every=4_000)
    expect_undisturbed(settings, 8_800, [4_000, 8_000], workers, tmp_path, on_workers)


def expect_undisturbed(settings: Run, killed_at: int, kept: list[int], workers: int, tmp_path: Path, on_workers):
    """Kill −9 at `killed_at` images seen, when the checkpoints are `kept`; resumed, the weights are those of a run that
    was not disturbed."""

    def undisturbed(rank: int):
        return flat(train(settings, TABLE, tmp_path / "a"))

    def killed(rank: int):
        def stop(images_seen: int, metrics: dict[str, float]) -> None:
            if images_seen == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

        train(settings, TABLE, tmp_path / "b", log=stop)

    def resumed(rank: int):
        return flat(train(settings, TABLE, tmp_path / "b"))

    expected = on_workers(undisturbed, workers)
    on_workers(killed, workers, dies=True)
    assert sorted(int(path.stem[7:]) for path in (tmp_path / "b").glob("*.pt")) == kept
    for mine, theirs in zip(on_workers(resumed, workers), expected, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("networks", "norm"), [("mlp", None), ("dcgan", "none"), ("dcgan", "sync_batch")])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_workers_have_the_losses_of_one(networks, norm, objective, on_workers):
    """20 steps on the same global batches: every logged metric to 1e-4, and one state on both ranks."""
    settings = run(networks, OBJECTIVES[objective])
    if norm:
        settings = dataclasses.replace(settings, networks=settings.networks | {"generator_norm": norm})

    def losses(rank: int):
        logged: dict[str, float] = {}

        def log(images_seen: int, metrics: dict[str, float]) -> None:
            logged.update({f"{name}@{images_seen}": value for name, value in metrics.items()})

        return {"weights": flat(train(settings, TABLE, log=log)), "logged": logged}

    alone, (first, second) = losses(0), on_workers(losses, 2)
    assert len({key.split("@")[1] for key in alone["logged"]}) == 20
    assert first["logged"].keys() == alone["logged"].keys()
    for key, value in alone["logged"].items():
        assert first["logged"][key] == pytest.approx(value, abs=1e-4), key
    assert torch.equal(first["weights"], second["weights"])


def test_the_state_of_a_game_advances_by_the_clock_of_after_the_batch():
    """Over 4 batches of 8: signs of 32 images, no noise after the last, the averages of LeCam in force from `start`."""
    games = []

    class Watched(Run):
        def build_objective(self):
            games.append(super().build_objective())
            return games[-1]

    noisy = {"name": "instance_noise", "images": 32}
    for start, augmentation in ((32, {"name": "ada", "interval": 1000}), (33, noisy)):
        game = run("mlp", {"terms": {"lecam": {"start": start}, "top_k": {"images": 32, "decay": 0.9}}}, images=32)
        train(Watched(game.networks, game.objective, augmentation, game.training), TABLE)
    (ada, noise) = (game.augmentation for game in games[1::2])  # the first of each was built for the checks
    assert ada.counted == 32 and noise.std == 0
    assert [game.objective.terms["lecam"].active for game in games[1::2]] == [1, 0]
    assert all(game.objective.terms["top_k"].share == pytest.approx(0.9) for game in games[1::2])


def test_a_checkpoint_cut_in_half_is_passed_over(tmp_path: Path):
    expected = flat(train(run(), TABLE, tmp_path / "a"))
    train(run(images=80), TABLE, tmp_path / "b")
    newest = sorted((tmp_path / "b").glob("*.pt"))[-1]
    os.truncate(newest, newest.stat().st_size // 2)
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged"):
        result = flat(train(run(), TABLE, tmp_path / "b"))
    assert torch.equal(result, expected)


@pytest.mark.parametrize("damage", ["{", "", "[]", "{}", '{"images_seen": "many", "sha256": "0"}', b"\xff\xfe"])
def test_a_checkpoint_whose_json_tells_nothing_is_passed_over(damage, tmp_path: Path):
    expected = flat(train(run(), TABLE, tmp_path / "a"))
    train(run(images=80), TABLE, tmp_path / "b")
    newest = sorted((tmp_path / "b").glob("*.json"))[-1]
    newest.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    with pytest.warns(UserWarning, match=f"{newest.stem}.pt is damaged"):
        assert torch.equal(flat(train(run(), TABLE, tmp_path / "b")), expected)


def test_a_directory_in_a_checkpoints_place_is_passed_over(tmp_path: Path):
    expected = flat(train(run(), TABLE, tmp_path / "a"))
    train(run(images=80), TABLE, tmp_path / "b")
    newest = sorted((tmp_path / "b").glob("*.pt"))[-1]
    newest.unlink()
    newest.mkdir()
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged"):
        assert torch.equal(flat(train(run(), TABLE, tmp_path / "b")), expected)


def test_a_state_that_would_run_code_is_not_read(tmp_path: Path):
    """Though its hash is right."""
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    train(run(images=40), TABLE, tmp_path / "a")
    (path,) = (tmp_path / "a").glob("*.pt")
    path.write_bytes(pickle.dumps(Hostile()))
    about = path.with_suffix(".json")
    told = json.loads(about.read_text()) | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    about.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=r"images-0+40\.pt holds no state of a run .*; remove it"):
        train(run(), TABLE, tmp_path / "a")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("other", "images", "message"), [
    (dataclasses.replace(run(images=80), seed=5), TABLE, "seed is 0 in its run and 5 in this one"),
    (run("mlp", {"loss": "hinge"}, images=80), TABLE, "objective.loss is 'non_saturating' in its run and 'hinge'"),
    (run(images=80, batch_size=16), TABLE, "training.batch_size is 8 in its run and 16 in this one"),
    (run(images=80), Table.from_arrays(PIXELS.flip(0)), "data is '"),
    (run(images=40), TABLE, "holds a run that has seen 80 images, more than 40; ask for more"),
])
def test_checkpoints_of_another_run_are_refused_by_name(other, images, message, tmp_path: Path):
    train(run(images=80), TABLE, tmp_path)
    with pytest.raises(ConfigError, match=re.escape(message)):
        train(other, images, tmp_path)


def test_a_run_on_disk_does_not_go_on_with_other_images_of_the_same_table(tmp_path: Path):
    splits: dict[str, Any] = {"train": (40, [(PIXELS[:40].numpy(), None)]), "test": (10, [(PIXELS[40:].numpy(), None)])}
    table.write(tmp_path / "table", splits, shape=(1, 16, 16), name="noise", source="drawn")
    images = Table.open(tmp_path / "table", "train")
    train(run(images=80), images, tmp_path / "run")
    for others in (Table.open(tmp_path / "table", "test"), images.evenly(20)):
        with pytest.raises(ConfigError, match="data is '"):
            train(run(images=160), others, tmp_path / "run")
    same = Table.from_arrays(PIXELS[:40])
    assert same.sha256 == images.sha256
    train(run(images=160), same, tmp_path / "run")


def test_images_that_cannot_be_told_from_others_are_refused_with_a_directory(tmp_path: Path):
    class Mine:
        shape, condition, label_counts = TABLE.shape, TABLE.condition, TABLE.label_counts
        draw, __len__ = staticmethod(TABLE.draw), lambda self: len(TABLE)

    images: Any = Mine()
    train(run(images=8), images)
    with pytest.raises(ConfigError, match="a `sha256`"):
        train(run(images=8), images, tmp_path)


def test_the_best_checkpoint_is_a_whole_one(tmp_path: Path):
    distances = {40: 2.0, 80: 1.0, 120: 4.0, 160: 3.0}
    train(run(keep=4), TABLE, tmp_path, snapshot=lambda seen, generator, networks: distances[seen])
    assert checkpoints.images_seen(checkpoints.best(tmp_path)) == 80
    (tmp_path / "images-000000000080.pt").write_bytes(b"junk")
    with pytest.warns(UserWarning, match=r"images-0+80\.pt is damaged"):
        assert checkpoints.images_seen(checkpoints.best(tmp_path)) == 40


def test_a_run_that_is_at_its_end_says_so(tmp_path: Path):
    first = flat(train(run(images=80), TABLE, tmp_path))
    with pytest.warns(UserWarning, match=r"holds this run to its end \(80 images\); nothing is trained"):
        assert torch.equal(flat(train(run(images=80), TABLE, tmp_path)), first)


def test_more_images_after_the_end_are_one_longer_run(tmp_path: Path):
    """Also with another interval of records; but not where the learning rate decays over the run."""
    train(run(images=80), TABLE, tmp_path / "constant")
    longer = flat(train(run(images=160, log_every=40), TABLE, tmp_path / "constant"))
    assert torch.equal(longer, flat(train(run(images=160), TABLE)))
    rates = {name: {"decay": "linear"} for name in ("generator", "discriminator")}
    train(run("mlp", {"optimizers": rates}, images=80), TABLE, tmp_path / "decaying")
    with pytest.raises(ConfigError, match=r"training\.images is 80 in its run and 160 in this one"):
        train(run("mlp", {"optimizers": rates}, images=160), TABLE, tmp_path / "decaying")


def test_the_last_k_and_the_best_are_kept(tmp_path: Path):
    distances = {40: 5.0, 80: 1.0, 120: 4.0, 160: 3.0}
    train(run(keep=1), TABLE, tmp_path, snapshot=lambda seen, generator, networks: distances[seen])
    assert sorted(int(path.stem[7:]) for path in tmp_path.glob("*.pt")) == [80, 160]


def test_nan_stops_before_anything_moves(tmp_path: Path):
    """A critic without bounds and an absurd learning rate overflow; the checkpoint before it is named and whole."""
    optimizer = {"name": "sgd", "lr": 1e4}
    wild = {"loss": "least_squares", "optimizers": {"generator": optimizer, "discriminator": optimizer}}
    with pytest.raises(NotFinite, match=r"the loss of [DG] is not finite between .* Last checkpoint: .*images-"):
        train(run("mlp", wild, checkpoint_every=8), TABLE, tmp_path)
    for path in tmp_path.glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert all(v.isfinite().all() for v in state["discriminator"].values())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_gradient_that_is_not_finite_under_a_finite_loss_moves_nothing(device: str):
    """The derivative of a norm at zero, for instance. On any device that is not a CPU it is skipped there."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], fused=True)
    guard = Guard(torch.device(device), None)
    parameter.grad = torch.tensor([1.0, math.nan, 1.0])
    with pytest.raises(NotFinite, match="the gradient of G is not finite between 0 and 8 images seen"):
        guard.watch("G", torch.tensor(1.0), [parameter.grad], [optimizer], 8)
        optimizer.step()
        guard.check(8)
    assert torch.equal(parameter.detach(), torch.ones(3))


def test_a_large_gradient_is_a_finite_one():
    """Whose sum of squares overflows."""
    guard = Guard(torch.device("cpu"), None)
    guard.watch("D", torch.tensor(1.0), [torch.full((9,), 1e30)], [], 8)
    guard.check(8)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of the generator, whose losses would be seen not to be finite in the next batch."""
    moves = []

    def poison(optimizer: torch.optim.Optimizer, *arguments: Any) -> None:
        moves.append(optimizer)
        if len(moves) == 2:
            with torch.no_grad():
                optimizer.param_groups[0]["params"][0][0] = math.inf

    monkeypatch.setattr("ganlib.training.optimizers.set_learning_rate", poison)
    with pytest.raises(NotFinite, match=r"the state of \w+ is not finite after 8 images.* checkpoint: none"):
        train(run(images=8, checkpoint_every=8), TABLE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_bad_loss_on_an_accelerator_is_skipped_on_the_device_and_raised_at_the_next_check():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], fused=True)
    guard = Guard(torch.device("meta"), None)  # any device that is not a CPU
    for loss in (math.nan, 1.0):
        parameter.grad = torch.full((3,), loss)
        guard.watch("D", torch.tensor(loss), [parameter.grad], [optimizer], 8)
        optimizer.step()
    assert torch.equal(parameter.detach(), torch.ones(3))
    with pytest.raises(NotFinite, match="the loss of D is not finite between 0 and 16 images seen"):
        guard.check(16)


def test_one_bad_worker_stops_all(on_workers):
    """A NaN in one worker's share reaches the others with the averaged gradients; none of them hangs."""
    def poisoned(rank: int):
        class Half(Table):
            def draw(self, *arguments):
                images, labels = super().draw(*arguments)
                return (images * math.nan if rank == 1 else images), labels

        with pytest.raises(NotFinite):
            train(run(), Half(TABLE.images))
        return True

    assert on_workers(poisoned, 2) == [True, True]


@pytest.mark.parametrize(
    ("settings", "workers", "message"),
    [
        (run(batch_size=9), 2, "batch_size: 9 cannot be split evenly between 2 workers; write"),
        (run(batch_size=64), 1, "batch_size: 64 is more than the 50 images"),
        (run("dcgan", OBJECTIVES["wgan_gp"]), 1, None),
        (dataclasses.replace(run("dcgan", OBJECTIVES["wgan_gp"]), networks={"name": "dcgan"}), 1, "batch norm mixes"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_the_door(settings, workers, message):
    if message is None:
        settings.check(TABLE.shape, NOTHING, workers, len(TABLE))
    else:
        with pytest.raises(ConfigError, match=message):
            settings.check(TABLE.shape, NOTHING, workers, len(TABLE))


@pytest.mark.parametrize("option", [{"images": 0}, {"batch_size": 0}, {"log_every": 0}, {"ema_half_life": -1}])
def test_lengths_out_of_range_are_refused(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        Training(**option)


def test_lr_is_held_and_then_falls_to_zero():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)

    def lr(done: float, **options: Any) -> float:
        optimizers.set_learning_rate(optimizer, Optimizer(lr=0.2, **options), done)
        return optimizer.param_groups[0]["lr"]

    held = {"decay": "linear", "decay_from": 0.5}
    assert [lr(done, **held) for done in (0.0, 0.5, 0.75, 1.0)] == pytest.approx([0.2, 0.2, 0.1, 0.0])
    assert lr(0.6, decay="cosine", decay_from=0.2) == pytest.approx(0.1)
    assert [lr(done, decay="linear") for done in (0.0, 0.25)] == pytest.approx([0.2, 0.15])
    with pytest.raises(ConfigError, match="decay_from: a constant lr does not decay"):
        Optimizer(decay_from=0.5)


def test_a_phase_moves_in_its_part_of_the_run_alone():
    """pix2pix whose adversarial part begins at 30 %: until then L1 alone trains the generator, and nothing else."""
    pairs = Table.from_arrays(TABLE.images, sources=TABLE.images)
    game = {"terms": {"reconstruction": {}}, "adversarial_from": 0.3, "penalties": {"r1": {"weight": 1, "every": 2}}}
    networks = {"name": "unet", "width": 2, "depth": 2, "discriminator_width": 2, "patch": 16,
                "discriminator_norm": "none"}  # fmt: skip
    settings = Run(networks=networks, objective={"name": "two_player"} | game,
                   training=Training(images=80, batch_size=8, log_every=8))
    logged: dict[int, dict[str, float]] = {}
    train(settings, pairs, log=lambda seen, metrics: logged.update({seen: metrics}))
    for seen, metrics in logged.items():
        alone = seen - 8 < 24  # the share that lay behind this batch is below 0.3
        assert ("D/loss" in metrics) == ("G/loss" in metrics) == (not alone)
        assert ("D/r1" in metrics) == (not alone and seen // 8 % 2 == 0)
        assert "G/reconstruction" in metrics
    identity = settings.identity(pairs.shape, pairs.condition, 1)
    assert identity["training"]["images"] == 80  # or a longer run would go on from another game
    with pytest.raises(ConfigError, match=r"adversarial_from: until then .* add reconstruction, or write 0"):
        Run(objective={"name": "two_player", "adversarial_from": 0.3}).check((1, 16, 16), NOTHING, 1, 100)


def test_images_and_their_pairs_are_mirrored_where_that_is_asked_for():
    pairs = Table.from_arrays(TABLE.images, sources=TABLE.images)
    settings = Run(networks={"name": "unet", "width": 2, "depth": 2, "discriminator_width": 2, "patch": 16},
                   objective={"name": "two_player"}, training=Training(images=8, batch_size=8, flip=True))
    drawn = begin(settings, pairs, torch.device("cpu")).images
    plain, _ = pairs.draw(0, 0, 32)
    images, conditions = drawn.draw(0, 0, 32, torch.device("cpu"))
    assert torch.equal(images, conditions)
    mirrored = [torch.equal(image, before.flip(2)) for image, before in zip(images, plain, strict=True)]
    same = [torch.equal(image, before) for image, before in zip(images, plain, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True)) and 5 < sum(mirrored) < 27

"""The training loop: the only one."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ganlib import seeds
from ganlib.build import MODEL
from ganlib.config import require
from ganlib.objectives.base import Batch, Images, Networks, Noise, Stats
from ganlib.training import optimizers, precision
from ganlib.training import state as checkpoints
from ganlib.training.distributed import Workers
from ganlib.training.ema import MovingAverage
from ganlib.training.guard import Guard
from ganlib.training.run import Run
from ganlib.training.start import begin

Log = Callable[[int, dict[str, float]], None]  # images seen, metrics averaged since the last call
# images seen, averaged generator, all networks → the distance of the averaged generator, if measured. On every worker.
Snapshot = Callable[[int, nn.Module, Networks], float | None]
Saved = Callable[[int, float | None], None]  # images seen, the distance that `snapshot` gave. On every worker.


def train(
    run: Run,
    images: Images,
    directory: Path | None = None,
    log: Log = lambda images_seen, metrics: None,
    snapshot: Snapshot = lambda images_seen, generator, networks: None,
    device: torch.device | str = "cpu",
    saved: Saved = lambda images_seen, distance: None,
    tick: Callable[[int], None] = lambda images_seen: None,
) -> nn.Module:
    """Train until `run.training.images` real images are seen, and return the averaged generator.

    With a `directory`, checkpoints are kept there. To resume, call again with the same arguments: on a CPU the result
    is, bit for bit, that of a run that was not interrupted. So it is with more `training.images`, where no learning
    rate decays over them. Every worker of torch's default process group makes this call. `log` (every `log_every`
    images) is called on rank 0 alone, `snapshot` (every `checkpoint_every`) on every worker, so that they may share its
    work; what it gives on rank 0 counts. `saved` is called after the checkpoint, `tick` after each batch.

    Raises ConfigError for what cannot be run, and for a directory that holds another run, naming what differs;
    NotFinite before any parameter moves on a loss or a gradient that is not.
    """
    workers, device, settings = Workers.current(), torch.device(device), run.training
    run.check(images.shape, images.condition, workers.count, len(images))
    batch_size, share = settings.batch_size, settings.batch_size // workers.count
    dtype = precision.resolve(settings.precision, device)

    networks, movers, objective, images = begin(run, images, device)
    average = MovingAverage(networks[MODEL], settings.ema_half_life, settings.ema_rampup)
    players = {role: list(networks[role].parameters()) for role in movers}
    state = checkpoints.RunState({
        "objective": objective, "average": average.module, **networks,
        **{f"{role}_optimizer": mover for role, mover in movers.items()},
    })
    identity = stored = None
    if directory:
        require(hasattr(images, "sha256"), "images: with a directory they need a `sha256`, a text that tells them from "
                "others, so that a run does not go on with other images")
        identity = run.identity(images.shape, images.condition, workers.count) | {"data": images.sha256}
        stored = checkpoints.load(directory, identity)
    images_seen = state.restore(stored) if stored else 0
    if images_seen >= settings.images:
        require(images_seen < settings.images + batch_size, f"training.images: {directory} holds a run that has seen "
                f"{images_seen:,} images, more than {settings.images:,}; ask for more, or name another directory")
        warnings.warn(f"{directory} holds this run to its end ({images_seen:,} images); nothing is trained",
                      stacklevel=2)
    workers.broadcast([objective, average.module, *networks.values()])
    guard, means, phases = Guard(device, directory, images_seen), _Means(), objective.phases()

    def noise(name: str) -> Noise:
        """The numbers of one move. Layers with randomness of their own (dropout) are seeded by worker as well."""
        seed_layers(seeds.derive("layers", run.seed, images_seen, name, workers.rank), device)
        return Noise(seeds.derive("moves", run.seed, images_seen, name), share, workers.rank, device, workers.count)

    def let_move(roles: tuple[str, ...]) -> None:
        for role, parameters in players.items():
            for parameter in parameters:
                parameter.requires_grad_(role in roles)

    while images_seen < settings.images:
        number = images_seen // batch_size + 1  # of this batch, from 1: what is due every 16 falls on the 16th
        done = images_seen / settings.images
        due = [phase for phase in phases if phase.due(number, done)]
        real, condition = images.draw(run.seed, images_seen + workers.rank * share, share, device)
        batch = Batch(real.contiguous(memory_format=torch.channels_last), condition, noise("fakes"))
        if settings.share_fakes and any(MODEL in phase.trains for phase in due):
            let_move((MODEL,))
            with precision.autocast(dtype, device):
                batch.fakes = objective.fakes(networks, batch)

        for phase in due:
            let_move(phase.trains)
            batch.noise = noise(phase.name)
            with precision.autocast(dtype, device):
                loss, stats = phase.loss(networks, batch)
            loss.backward()
            trained = [parameter for role in phase.trains for parameter in players[role]]
            stats = workers.average_gradients(trained, {"loss": loss.detach(), **stats})
            moving = [movers[role] for role in phase.trains]
            gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
            guard.watch(phase.name, stats.pop("loss"), gradients, moving, images_seen)
            for role in phase.trains:
                optimizers.set_learning_rate(movers[role], objective.optimizers[role], done)
                movers[role].step()
                movers[role].zero_grad(set_to_none=True)
            objective.advance(phase, networks, stats, images_seen + batch_size)
            if MODEL in phase.trains:
                average.update(batch_size * phase.due(number), images_seen + batch_size)
            means.add(stats)

        before, images_seen = images_seen, images_seen + batch_size
        tick(images_seen)
        finished = images_seen >= settings.images
        if finished or _passed(before, images_seen, settings.log_every):
            guard.check(images_seen)
            averaged = means.take()
            if workers.rank == 0:
                log(images_seen, averaged)
        if finished or _passed(before, images_seen, settings.checkpoint_every):
            guard.check(images_seen)
            workers.average_buffers([average.module, *networks.values()])
            captured = state.capture(images_seen)
            guard.check_state(captured, images_seen)
            distance = snapshot(images_seen, average.module, networks)
            if workers.rank == 0 and directory:
                checkpoints.save(directory, captured, distance, settings.keep, identity)
            saved(images_seen, distance)
    return average.module


def seed_layers(seed: int, device: torch.device) -> None:
    """Seed torch's own generator of a device. (torch.manual_seed also formats a stack trace for devices that are not
    there, at each call, and keeps it.)"""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class _Means:
    """Metrics summed where they are made; read once an interval."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, stats: Stats) -> None:
        for name, value in stats.items():
            if value.ndim:  # samples
                continue
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        means = {name: total.item() / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means


def _passed(before: int, after: int, interval: int) -> bool:
    return before // interval != after // interval

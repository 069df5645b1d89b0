"""The training step against the loop of the usual tutorials: same networks, same batch, ratio of process times.

    python benchmarks/step_time.py [case ...] [--rounds 11]

The plain loop is written the way the tutorials write it: two backward passes in the discriminator's step, the
generator's graph kept in it, the discriminator's gradients computed in the generator's step and thrown away, `.item()`
of every loss, contiguous float32. Ours is `ganlib.training.loop.train` itself, moving average included; its rounds are
marked by its `log` hook. One thread; rounds of {ours, plain, plain again, sgemm} are interleaved, and what counts is
the median of the ratios of each round. Plain against plain must come out near 1, or the machine was too busy.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganlib.datasets.table import Table
from ganlib.training.loop import train
from ganlib.training.run import Run, Training

BATCH = 64
PAIRS = 8  # the batch of images from images
DCGAN = {"name": "dcgan", "width": 64, "latent": 100}
GP = {"name": "two_player", "loss": "wasserstein", "n_critic": 5, "penalties": {"gradient_penalty": {"weight": 10}}}
TINY = {"width": 16, "discriminator_width": 16, "patch": 34}
UNET = {"name": "unet", "depth": 5, "dropout": 0.0, **TINY}
RESNET = {"name": "resnet", "blocks": 3, "directions": 2, **TINY}
L1 = {"reconstruction": {"weight": 100}}
#          image side, networks, objective, batches a round, aimed-at ratio in float32 and in bfloat16
CASES: dict[str, tuple[int, dict[str, Any], dict[str, Any], int, float, float | None]] = {
    "dcgan-64": (64, DCGAN, {"name": "two_player"}, 1, 1.18, 2.6),
    "dcgan-32": (32, DCGAN, {"name": "two_player"}, 2, 1.15, 2.2),
    "wgan-gp-32": (32, DCGAN | {"discriminator_norm": "none"}, GP, 5, 1.25, None),
    "pix2pix-64": (64, UNET, {"name": "two_player", "terms": L1}, 2, 1.15, None),
    "cyclegan-64": (64, RESNET, {"name": "cyclegan"}, 1, 1.15, None),
}


def plain_dcgan(networks: dict[str, nn.Module], images: torch.Tensor, share: bool) -> Iterator[None]:
    """The DCGAN tutorial. Its generator step reuses the discriminator step's fakes; `share=False` draws them anew."""
    generator, discriminator = networks["generator"], networks["discriminator"]
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
    while True:
        discriminator.zero_grad()
        real_score = discriminator(images).score
        loss_real = binary_cross_entropy_with_logits(real_score, ones)
        loss_real.backward()
        fake = generator(torch.randn(BATCH, generator.latent))
        fake_score = discriminator(fake.detach()).score
        loss_fake = binary_cross_entropy_with_logits(fake_score, zeros)
        loss_fake.backward()
        optimizer_d.step()
        generator.zero_grad()
        if not share:
            fake = generator(torch.randn(BATCH, generator.latent))
        score = discriminator(fake).score
        loss = binary_cross_entropy_with_logits(score, ones)
        loss.backward()
        optimizer_g.step()
        _ = [(loss_real + loss_fake).item(), loss.item()]
        _ = [scores.mean().item() for scores in (real_score, fake_score, score)]
        yield


def plain_wgan_gp(networks: dict[str, nn.Module], images: torch.Tensor, share: bool) -> Iterator[None]:
    """The usual WGAN-GP script: the critic's loss reaches back into the generator's graph. One batch a turn."""
    generator, critic = networks["generator"], networks["discriminator"]
    optimizer_d = torch.optim.Adam(critic.parameters(), lr=1e-4, betas=(0.5, 0.9))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=1e-4, betas=(0.5, 0.9))
    step = 0
    while True:
        optimizer_d.zero_grad()
        fake = generator(torch.randn(BATCH, generator.latent))
        real_score, fake_score = critic(images).score, critic(fake).score
        alpha = torch.rand(BATCH, 1, 1, 1)
        between = (alpha * images + (1 - alpha) * fake).requires_grad_(True)
        score = critic(between).score
        (gradient,) = torch.autograd.grad(score, between, torch.ones_like(score), create_graph=True, retain_graph=True)
        penalty = ((gradient.view(BATCH, -1).norm(2, dim=1) - 1) ** 2).mean()
        loss_d = -real_score.mean() + fake_score.mean() + 10 * penalty
        loss_d.backward(retain_graph=share)
        optimizer_d.step()
        step += 1
        if step % 5 == 0:
            optimizer_g.zero_grad()
            if not share:
                fake = generator(torch.randn(BATCH, generator.latent))
            loss_g = -critic(fake).score.mean()
            loss_g.backward()
            optimizer_g.step()
            _ = loss_g.item()
        _ = loss_d.item()
        yield


def plain_pix2pix(networks: dict[str, nn.Module], images: torch.Tensor, share: bool) -> Iterator[None]:
    """The usual pix2pix script: the generator first, through a discriminator whose gradients are thrown away."""
    generator, discriminator = networks["generator"], networks["discriminator"]
    optimizer_g, optimizer_d = _adams(generator, discriminator)
    told, real, z = images.flip(0).clone(), images, torch.zeros(len(images), 0)
    while True:
        optimizer_g.zero_grad()
        fake = generator(z, told)
        score = discriminator(fake, told).score
        loss_l1 = (fake - real).abs().mean()
        loss_g = binary_cross_entropy_with_logits(score, torch.ones_like(score)) + 100 * loss_l1
        loss_g.backward()
        optimizer_g.step()
        optimizer_d.zero_grad()
        if not share:
            fake = generator(z, told)
        on_real, on_fake = discriminator(real, told).score, discriminator(fake.detach(), told).score
        loss_d = (binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
                  + binary_cross_entropy_with_logits(on_fake, torch.zeros_like(on_fake))) / 2
        loss_d.backward()
        optimizer_d.step()
        _ = [loss_g.item(), loss_l1.item(), loss_d.item()]
        yield


def plain_cyclegan(networks: dict[str, nn.Module], images: torch.Tensor, share: bool) -> Iterator[None]:
    """The usual CycleGAN script, its history aside: identity, adversarial and cycle terms, then each discriminator."""
    there, on_b = networks["generator"], networks["discriminator"]
    back, on_a = there.back, on_b.back
    optimizer_g, optimizer_d = _adams(there, on_b)
    a, b, z = images.flip(0).clone(), images, torch.zeros(len(images), 0)

    def squares(score: torch.Tensor, target: float) -> torch.Tensor:
        return (score - target).square().mean()

    while True:
        optimizer_g.zero_grad()
        identity = (there(z, b) - b).abs().mean() + (back(z, a) - a).abs().mean()
        fake_b, fake_a = there(z, a), back(z, b)
        adversarial = squares(on_b(fake_b).score, 1) + squares(on_a(fake_a).score, 1)
        cycle = (back(z, fake_b) - a).abs().mean() + (there(z, fake_a) - b).abs().mean()
        loss_g = adversarial + 10 * cycle + 5 * identity
        loss_g.backward()
        optimizer_g.step()
        optimizer_d.zero_grad()
        if not share:
            fake_b, fake_a = there(z, a), back(z, b)
        losses = []
        for discriminator, real, fake in ((on_b, b, fake_b), (on_a, a, fake_a)):
            loss_d = (squares(discriminator(real).score, 1) + squares(discriminator(fake.detach()).score, 0)) / 2
            loss_d.backward()
            losses.append(loss_d)
        optimizer_d.step()
        _ = [loss.item() for loss in (loss_g, adversarial, cycle, identity, *losses)]
        yield


def _adams(*players: nn.Module) -> list[torch.optim.Optimizer]:
    return [torch.optim.Adam(player.parameters(), lr=2e-4, betas=(0.5, 0.999)) for player in players]


PLAIN = {"dcgan-64": plain_dcgan, "dcgan-32": plain_dcgan, "wgan-gp-32": plain_wgan_gp, "pix2pix-64": plain_pix2pix,
         "cyclegan-64": plain_cyclegan}  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(case: str, share: bool, precision: str, rounds: int) -> dict[str, float]:
    """Medians over the rounds: the ratio plain / ours, plain / plain, and our images per second."""
    _, networks, objective, batches, _, _ = CASES[case]
    table, batch = _data(case)
    run = Run(networks, objective, training=Training(
        images=(rounds + 2) * batches * batch, batch_size=batch, precision=precision, share_fakes=share,
        log_every=batches * batch, checkpoint_every=10**12,
    ))  # fmt: skip
    images = torch.from_numpy(table.images[:batch]).float() / 127.5 - 1
    plains = [PLAIN[case](run.build_networks(table.shape, table.condition), images, share) for _ in range(2)]
    times: list[tuple[float, ...]] = []
    start = time.process_time()

    def turn(images_seen: int, metrics: dict[str, float]) -> None:
        nonlocal start
        ours = time.process_time() - start
        if images_seen <= 2 * batches * batch:  # two rounds to warm up
            [next(plain) for plain in plains for _ in range(batches)]
        else:
            plain, again = (seconds(lambda p=p: [next(p) for _ in range(batches)]) for p in plains)
            times.append((ours, plain, again))
        start = time.process_time()

    train(run, table, log=turn)
    return {
        "ratio": statistics.median((plain + again) / 2 / ours for ours, plain, again in times),
        "control": statistics.median(again / plain for _, plain, again in times),
        "plain": statistics.median(batches * batch / plain for _, plain, _ in times),
        "ours": statistics.median(batches * batch / ours for ours, _, _ in times),
    }


def _data(case: str) -> tuple[Table, int]:
    """Images of noise, as the case needs them, and its batch."""
    side, networks, _, _, _, _ = CASES[case]
    if networks["name"] == "dcgan":
        return Table.from_arrays(torch.randint(0, 256, (4 * BATCH, 1, side, side), dtype=torch.uint8)), BATCH
    images, sources = torch.randint(0, 256, (2, 4 * PAIRS, 3, side, side), dtype=torch.uint8)
    return Table.from_arrays(images, sources=sources, paired=networks.get("directions", 1) == 1), PAIRS


class Flops(TorchDispatchMode):
    """Counts floating-point operations of products and convolutions. (torch's FlopCounterMode also follows modules,
    which fails under a gradient penalty's inner backward pass.)"""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def step_flops(case: str, share: bool) -> float:
    """Multiply-adds ×2 of our loop per real image, counted by torch over whole batches."""
    _, networks, objective, batches, _, _ = CASES[case]
    table, batch = _data(case)
    run = Run(networks, objective, training=Training(images=batches * batch, batch_size=batch, share_fakes=share))
    with Flops() as counter:
        train(run, table)
    return counter.total / (batches * batch)


def sgemm_flops() -> float:
    """Floating-point operations per second of one large float32 product: the limit of what can be had."""
    a = torch.randn(1024, 1024)
    a @ a
    return statistics.median(2 * 1024**3 / seconds(lambda: a @ a) for _ in range(9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="case", help=f"of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"no case {unknown.pop()!r}; there are {', '.join(CASES)}")
    torch.set_num_threads(1)
    has_amx = torch.cpu._is_amx_tile_supported()
    cpu = f"{torch.backends.cpu.get_cpu_capability()}, AMX {'yes' if has_amx else 'no'}"
    print(f"torch {torch.__version__}, 1 thread, {cpu}, batch {BATCH}, of pairs {PAIRS}; "
          f"ratio = plain time / our time, median of {arguments.rounds} rounds")  # fmt: skip
    print(f"{'case':12}{'precision':>10}{'fakes':>8}{'plain img/s':>13}{'ours img/s':>12}{'ratio':>7}{'aim':>6}"
          f"{'plain/plain':>13}{'of sgemm':>10}")  # fmt: skip
    for case in arguments.cases:
        for precision in ("float32", "bfloat16"):
            aim = CASES[case][4 if precision == "float32" else 5]
            if aim is None or (precision == "bfloat16" and not has_amx):
                continue
            for share in (False, True):
                limit = sgemm_flops()
                result = measure(case, share, precision, arguments.rounds)
                used = result["ours"] * step_flops(case, share) / limit
                fakes = "shared" if share else "fresh"
                print(f"{case:12}{precision:>10}{fakes:>8}{result['plain']:13.1f}{result['ours']:12.1f}"
                      f"{result['ratio']:7.2f}{aim:6.2f}{result['control']:13.3f}{used:10.2f}", flush=True)
    if not has_amx:
        print("bfloat16: not measured; without matrix units for it (AMX) it is slower than float32")


if __name__ == "__main__":
    main()

r"""Mixtures of Gaussians: which games keep all modes? The 8 on a ring and the 25 on a grid, as in Metz et al. 2017,
arXiv:1611.02163, sec. 3.1, and Srivastava et al. 2017, arXiv:1705.07761, sec. 5.

    python -m benchmarks.mixtures               # everything; writes docs/toys/mixtures.png and docs/toys/mixtures.md
    python -m benchmarks.mixtures --discriminator-lr 1e-4 --seeds 3 --out docs/toys/lagging minimax non_saturating \
        hinge non_saturating_r1_r2 wgan_gp minibatch_discrimination unrolled    # where the discriminator lags behind

Every objective of conf/objective/ that `networks=mlp` can play without labels is trained by `ganlib.training.loop`:
networks of one size, one batch size, one learning rate and one number of images seen. Two processes of one thread.
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.figures import save
from ganlib.condition import NOTHING
from ganlib.config import ConfigError
from ganlib.training.loop import train
from ganlib.training.run import Run

CONF, OUT = Path("conf/objective"), Path("docs/toys")
SIGMA = 0.05
_ANGLES, _LINE = np.arange(8) * np.pi / 4, np.linspace(-0.8, 0.8, 5)
MIXTURES = {  # centres (K, 2)
    "ring": 0.8 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1),
    "grid": np.stack(np.meshgrid(_LINE, _LINE), axis=-1).reshape(25, 2),
}
SAMPLES = 2500  # drawn to judge a generator
# A mode is covered if it gets so much of its fair share of them, SAMPLES / K, as good samples. A generator that is
# uniform on the square reaches 0.28 in every mode of the grid, having found none.
FAIR = 0.5

# What all objectives share. Each keeps the kind of its optimizer: RMSprop for wgan, Adam for the others.
NETWORKS, KERNELS = {"width": 64, "depth": 3, "latent": 16}, 16  # kernels of minibatch discrimination
TRAINING = {
    "images": 160_000, "batch_size": 64, "precision": "float32", "ema_half_life": 0,  # the last weights, not an average
    "log_every": 10**9, "checkpoint_every": 10**9,
}  # fmt: skip
OPTIMIZER = {"lr": 1e-3, "betas": (0.5, 0.99), "decay": "constant"}
# What conf/objective/ has for images, and two coordinates need otherwise: modes are 0.4 apart and energies below 2.
PENALTIES = {"gradient_penalty": 1.0, "dragan": 1.0, "r1": 0.1, "r2": 0.1}
CLIP, MARGIN = 0.1, 1.0
# Choices of conf/ beside the objectives by themselves.
TRICKS = {
    "non_saturating, instance noise": ["objective=non_saturating", "augmentation=instance_noise"],
    "non_saturating, minibatch std": ["objective=non_saturating", "networks.minibatch=std"],
}


class Mixture:
    """Equal Gaussians around `centres` (K, 2), as images of shape (2, 1, 1), without end: what stands at a position
    depends on the seed and the position alone."""

    shape, condition, label_counts = (2, 1, 1), NOTHING, ()

    def __init__(self, centres: np.ndarray, sigma: float = SIGMA):
        self.centres, self.sigma = centres, sigma

    def __len__(self) -> int:
        return 2**62

    def draw(self, seed: int, start: int, count: int, device: torch.device) -> tuple[Tensor, None]:
        """Positions [start, start + count): (count, 2, 1, 1)."""
        places = np.arange(start, start + count, dtype=np.uint64)
        mode, radius, angle = (_uniform(seed, channel, places) for channel in range(3))
        offset = np.sqrt(-2 * np.log(1 - radius)) * np.stack([np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)])
        points = self.centres[(mode * len(self.centres)).astype(int)] + self.sigma * offset.T
        return torch.from_numpy(points.astype(np.float32)).view(-1, 2, 1, 1).to(device), None


def _uniform(seed: int, channel: int, places: np.ndarray) -> np.ndarray:
    """Uniform on [0, 1) with 53 bits: SplitMix64 (Steele et al. 2014) at the places, (N,) uint64."""
    with np.errstate(over="ignore"):
        x = (np.uint64(seed * 3 + channel + 1) << np.uint64(40)) + places
        x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2**53


class Quality(NamedTuple):
    covered: int  # modes with FAIR of their share of good samples
    good: float  # share of samples within 3σ of a mode; of the mixture itself 1 − e^(−9/2) = 98.9 %


def quality(points: np.ndarray, centres: np.ndarray, sigma: float = SIGMA) -> Quality:
    """Of generated `points` (N, 2) against the mixture at `centres` (K, 2)."""
    distance = np.linalg.norm(points[:, None] - centres, axis=2)
    good = distance.min(axis=1) < 3 * sigma
    counts = np.bincount(distance.argmin(axis=1)[good], minlength=len(centres))
    return Quality(int((counts >= FAIR * len(points) / len(centres)).sum()), float(good.mean()))


def sections(choices: list[str], discriminator_lr: float = OPTIMIZER["lr"]) -> dict[str, Any]:
    """What conf/ composes to, with the toys' networks, optimizers and scales in place. ConfigError if an mlp cannot
    play it on data without labels."""
    from pipelines.runs.composition import composition

    shared = [f"networks.{key}={value}" for key, value in NETWORKS.items()] + [f"training.images={TRAINING['images']}"]
    try:
        raw = composition([*choices, "networks=mlp", f"networks.kernels={KERNELS}", *shared])
    except ConfigError as error:
        try:  # an energy is that of an autoencoder
            autoencoder = ["networks.body=mlp", "networks.hidden=2", "networks.generator_norm=none"]
            raw = composition([*choices, *autoencoder, *shared])
        except ConfigError:
            raise error from None
    objective = raw["objective"]
    objective["optimizers"] = {
        role: {"name": optimizer["name"]} | OPTIMIZER for role, optimizer in objective["optimizers"].items()
    }
    objective["optimizers"]["discriminator"]["lr"] = discriminator_lr
    for name, penalty in objective.get("penalties", {}).items():
        penalty["weight"] = PENALTIES[name]
    if objective.get("clip"):
        objective["clip"] = CLIP
    if objective.get("margin"):
        objective["margin"] = MARGIN
    if "n_critic" in objective:
        objective["n_critic"] = 1  # all generators make as many steps
    found = {key: raw[key] for key in ("networks", "objective", "augmentation")} | {"training": TRAINING}
    Run.parse(found).check(Mixture.shape, NOTHING, 1, len(Mixture(MIXTURES["ring"])))
    return found


def games(discriminator_lr: float = OPTIMIZER["lr"]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Name → sections of every game that can be played here; and of every other, why not."""
    found, left_out = {}, {}
    objectives = {path.stem: [f"objective={path.stem}"] for path in sorted(CONF.glob("*.yaml"))}
    for name, choices in (objectives | TRICKS).items():
        try:
            found[name] = sections(choices, discriminator_lr)
        except ConfigError as error:
            left_out[name] = str(error)
    return found, left_out


class Result(NamedTuple):
    name: str
    mixture: str
    seed: int
    points: np.ndarray  # (SAMPLES, 2)
    seconds: float  # of one core


def play(job: tuple[str, dict[str, Any], str, int]) -> Result:
    """Train one game (name, sections, mixture, seed) and sample its generator."""
    name, run_sections, mixture, seed = job
    began = time.process_time()
    generator: Any = train(Run.parse(run_sections | {"seed": seed}), Mixture(MIXTURES[mixture]))
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(SAMPLES, generator.latent, generator=random)
    label = torch.randint(generator.classes, (SAMPLES,), generator=random) if generator.classes else None
    with torch.no_grad():
        points = generator(z, label).flatten(1).numpy()
    return Result(name, mixture, seed, points, time.process_time() - began)


def tournament(runs: dict[str, dict[str, Any]], seeds: int) -> list[Result]:
    """Every game on every mixture from every seed, in two processes, the dear ones first."""
    jobs = [(name, run, mixture, seed) for name, run in runs.items() for mixture in MIXTURES for seed in range(seeds)]
    dear = {name for name, run in runs.items()
            if run["objective"].get("unroll") or run["networks"].get("minibatch") == "discrimination"}
    jobs.sort(key=lambda job: job[0] not in dear)
    results = []
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for result in pool.imap_unordered(play, jobs):
            results.append(result)
            q = quality(result.points, MIXTURES[result.mixture])
            print(f"{len(results)}/{len(jobs)} {result.name} {result.mixture} {result.seed}: "
                  f"{q.covered} modes, {q.good:.0%} good, {result.seconds:.1f} s", flush=True)
    return sorted(results, key=lambda result: (list(runs).index(result.name), result.mixture, result.seed))


def _of(results: list[Result], name: str, mixture: str) -> list[Quality]:
    return [quality(r.points, MIXTURES[mixture]) for r in results if (r.name, r.mixture) == (name, mixture)]


def table(results: list[Result]) -> str:
    """Markdown: modes covered and share of good samples, mean ± standard deviation over the seeds."""
    lines = ["| objective | ring: modes of 8 | good | grid: modes of 25 | good | core seconds a run |",
             "|---|---:|---:|---:|---:|---:|"]
    for name in dict.fromkeys(result.name for result in results):
        cells = []
        for mixture in MIXTURES:
            covered, good = np.array(_of(results, name, mixture), dtype=float).T
            cells += [f"{covered.mean():.1f} ± {covered.std():.1f}", f"{good.mean():.0%} ± {100 * good.std():.0f}"]
        seconds = np.mean([result.seconds for result in results if result.name == name])
        lines.append(f"| {name} | {' | '.join(cells)} | {seconds:.1f} |")
    return "\n".join(lines) + "\n"


def draw(results: list[Result], file: Path) -> None:
    """Seed 0 of every game: the ring above, the grid below; the means of all seeds beneath."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(result.name for result in results))
    columns = min(6, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        3 * rows - 1, columns, figsize=(1.95 * columns, 4.5 * rows + 0.4), dpi=130, squeeze=False,
        height_ratios=[1, 1, 0.16] * (rows - 1) + [1, 1],
    )  # fmt: skip
    top = 1 - 0.75 / figure.get_figheight()
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.03, top=top, wspace=0.06, hspace=0.2)
    figure.suptitle(f"{TRAINING['images']:,} images seen. Samples of seed 0 over the modes (circles: 3σ); "
                    "modes covered and good samples: means over the seeds", fontsize=10, x=0.01, ha="left")
    for panel in axes.flat:
        panel.axis("off")
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        for line, (mixture, centres) in enumerate(MIXTURES.items()):
            panel = axes[3 * row + line, column]
            panel.axis("on")
            points = next(r.points for r in results if (r.name, r.mixture, r.seed) == (name, mixture, 0))
            for centre in centres:
                panel.add_patch(plt.Circle(tuple(centre), 3 * SIGMA, facecolor="#f3d9a4", edgecolor="none"))
            panel.scatter(*points[:1000].T, s=1.6, color="#1f3f77", alpha=0.5, linewidths=0)
            panel.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=[], yticks=[], aspect="equal")
            for spine in panel.spines.values():
                spine.set_color("0.8")
            covered, good = np.array(_of(results, name, mixture), dtype=float).mean(axis=0)
            share = covered / len(centres)
            color = "#1a7f5a" if share > 0.95 else "#a07000" if share > 0.6 else "#b3402f"
            panel.text(0.5, -0.03, f"{covered:.1f} of {len(centres)} · {good:.0%}", transform=panel.transAxes,
                       ha="center", va="top", fontsize=8, color=color, weight="bold")
            if not line:
                panel.set_title(name.replace(", ", ",\n"), fontsize=8.5, pad=3, linespacing=1.05)
    save(figure, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="games; all if none is named")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--discriminator-lr", type=float, default=OPTIMIZER["lr"])
    arguments = parser.parse_args()
    runs, left_out = games(arguments.discriminator_lr)
    if unknown := [name for name in arguments.names if name not in runs]:
        raise SystemExit(f"{unknown[0]}: {left_out.get(unknown[0], 'no such game; known: ' + ', '.join(runs))}")
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    began = time.perf_counter()
    results = tournament({name: runs[name] for name in arguments.names or runs}, arguments.seeds)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "mixtures.md").write_text(table(results))
    draw(results, arguments.out / "mixtures.png")
    print(table(results) + f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

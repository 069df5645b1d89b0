"""The Dirac-GAN: which games find their equilibrium? Mescheder et al. 2018, arXiv:1801.04406, sec. 2 and 3.

    python -m benchmarks.dirac          # a minute or two; writes docs/toys/dirac.png and docs/toys/dirac.md

The data are one point, 0; the generator is one point, θ; the discriminator is linear, D(x) = ψx. The one equilibrium is
θ = ψ = 0. Both players start from 1 and descend by plain SGD along the phases of `ganlib.objectives.two_player`, so
that what is drawn are the library's own losses and penalties.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.figures import save
from ganlib import build
from ganlib.condition import NOTHING
from ganlib.losses import LOSSES
from ganlib.objectives.base import Batch, Noise
from ganlib.verdict import Verdict

STEPS, LR = 2000, 0.05
OUT = Path("docs/toys")


@dataclass(frozen=True)
class Game:
    """`objective`: the options of `two_player`."""

    objective: dict[str, Any]
    simultaneous: bool = False  # both gradients are taken before either player moves
    noise: float = 0.0  # σ of Gaussian noise on reals and fakes (Sønderby et al. 2017, arXiv:1610.04490)


def penalised(loss: str, n_critic: int = 1, **weights: float) -> Game:
    penalties = {name: {"weight": weight} for name, weight in weights.items()}
    return Game({"loss": loss, "n_critic": n_critic, "penalties": penalties})


# Every loss of scores, alone (an energy needs an autoencoder), and then what is done about the circling.
GAMES = {name: Game({"loss": name}) for name, loss in LOSSES.items() if not loss.energy} | {
    "non_saturating, simultaneous": Game({"loss": "non_saturating"}, simultaneous=True),
    "wasserstein, simultaneous": Game({"loss": "wasserstein"}, simultaneous=True),
    "wasserstein, clip 1": Game({"loss": "wasserstein", "clip": 1}),
    "wasserstein + GP": penalised("wasserstein", gradient_penalty=0.25),
    "wasserstein + GP, n_critic 5": penalised("wasserstein", 5, gradient_penalty=0.25),
    "non_saturating + DRAGAN": penalised("non_saturating", dragan=0.25),
    "non_saturating + noise": Game({"loss": "non_saturating"}, noise=1),
    "non_saturating + R1": penalised("non_saturating", r1=1),
    "non_saturating + R1 + R2": penalised("non_saturating", r1=1, r2=1),
    "relativistic_paired + R1 + R2": penalised("relativistic_paired", r1=1, r2=1),
    "wasserstein + R1": penalised("wasserstein", r1=1),
}


class Point(nn.Module):
    """The generator: θ for every z, and the instance noise (N,) around it."""

    latent, told, classes, labels_are_codes = 1, NOTHING, 0, False

    def __init__(self, noise: Tensor):
        super().__init__()
        self.theta, self.noise = nn.Parameter(torch.ones(())), noise

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return (self.theta + self.noise).view(-1, 1, 1, 1)


class Slope(nn.Module):
    """The discriminator: x (N, 1, 1, 1) → ψx."""

    mixes_batch, own_gradients, told, classes, energy = False, True, NOTHING, 0, False

    def __init__(self) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, label: Tensor | None = None) -> Verdict:
        return Verdict(self.psi * x.flatten())


def trajectory(game: Game, steps: int = STEPS, lr: float = LR) -> np.ndarray:
    """(θ, ψ) before the first step and after each: (steps + 1, 2). A step ends with the generator's move; n_critic
    moves of the discriminator belong to it."""
    module, config = build.component("objectives", {"name": "two_player"} | game.objective)
    objective = module.build(config)
    # Quantiles of the noise in place of draws: the game is then deterministic, as in the paper.
    noise = game.noise * torch.special.ndtri((torch.arange(16) + 0.5) / 16) if game.noise else torch.zeros(1)
    networks = {"generator": Point(noise), "discriminator": Slope()}
    parameters = {role: list(network.parameters()) for role, network in networks.items()}
    batch = Batch(noise.view(-1, 1, 1, 1), None, Noise(0, len(noise)))

    def gradients(phase: Any) -> list[Tensor]:
        loss, _ = phase.loss(networks, batch)
        return list(torch.autograd.grad(loss, [p for role in phase.trains for p in parameters[role]]))

    def move(phase: Any, direction: list[Tensor]) -> None:
        for parameter, gradient in zip((p for role in phase.trains for p in parameters[role]), direction, strict=True):
            parameter.data -= lr * gradient
        objective.advance(phase, networks, {}, 0)

    path = [(1.0, 1.0)]
    for number in range(1, steps * config.n_critic + 1):
        due = [phase for phase in objective.phases() if phase.due(number)]
        if game.simultaneous:
            directions = [gradients(phase) for phase in due]
            for phase, direction in zip(due, directions, strict=True):
                move(phase, direction)
        else:
            for phase in due:
                move(phase, gradients(phase))
        if "generator" in due[-1].trains:
            path.append((parameters["generator"][0].item(), parameters["discriminator"][0].item()))
    return np.array(path)


def radius(path: np.ndarray) -> np.ndarray:
    """Distance to the equilibrium, (steps + 1,)."""
    return np.hypot(*path.T)


def table(paths: dict[str, np.ndarray]) -> str:
    """Markdown: the radius after so many steps of each game."""
    times = (0, 100, 500, 1000, STEPS)
    lines = [f"| game | {' | '.join(f'{time:,}' for time in times)} | lowest and highest of the last 500 |"]
    lines.append("|---|" + "---:|" * (len(times) + 1))
    for name, path in paths.items():
        r = radius(path)
        cells = [f"{r[time]:.4f}" for time in times] + [f"{r[-500:].min():.4f} – {r[-500:].max():.4f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(paths: dict[str, np.ndarray], file: Path) -> None:
    """Every game's path in the (θ, ψ) plane, and the radius over the steps beneath it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    columns = 6
    rows = -(-len(paths) // columns)
    figure = plt.figure(figsize=(2.15 * columns, 3.15 * rows + 0.75), dpi=130)
    top, bottom = 1 - 0.85 / figure.get_figheight(), 0.5 / figure.get_figheight()
    grid = figure.add_gridspec(rows, columns, hspace=0.24, wspace=0.3, left=0.045, right=0.985, top=top, bottom=bottom)
    figure.text(0.045, 1 - 0.22 / figure.get_figheight(), "Dirac-GAN: who finds the equilibrium?", fontsize=13,
                weight="bold", va="center")
    figure.text(0.045, 1 - 0.47 / figure.get_figheight(), va="center", fontsize=9, color="0.35",
                s=f"Above: (θ, ψ) over {STEPS:,} SGD steps of {LR} from (1, 1), alternating unless said.  "
                  "Below: distance to the equilibrium +, and its last value: green if found, ochre if on the way.")
    for place, (name, path) in enumerate(paths.items()):
        plane, strip = grid[place].subgridspec(2, 1, height_ratios=[3, 1], hspace=0.17).subplots()
        r = radius(path)
        late = r[-STEPS // 4 :].max()
        accent = "#1a7f5a" if late < 0.01 else "#a07000" if late < 0.5 * r[0] else "#b3402f"

        segments = np.stack([path[:-1], path[1:]], axis=1)
        lines = LineCollection(list(segments), cmap="plasma", linewidths=0.9, array=np.arange(len(segments)))
        lines.set_clim(0, 1.1 * len(segments))
        plane.add_collection(lines)
        plane.plot(0, 0, "+", color="black", markersize=9, markeredgewidth=1.2, zorder=3)
        plane.plot(*path[0], "o", color=plt.get_cmap("plasma")(0), markersize=4, zorder=3)
        plane.plot(*path[-1], "o", color=accent, markersize=5, markeredgecolor="white", markeredgewidth=0.8, zorder=4)
        limit = 2.3 if np.abs(path).max() < 2.3 else np.ceil(1.05 * np.abs(path).max())
        plane.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        ticks = [-np.floor(limit), 0, np.floor(limit)]
        plane.set_xticks(ticks)
        plane.set_yticks(ticks)
        first, mark, rest = name.partition(" + " if " + " in name else ", ")
        plane.set_title(f"{first}\n{mark.lstrip(', ')}{rest}".strip(), fontsize=9, pad=4, linespacing=1.05)

        strip.plot(np.maximum(r, 1e-9), color=accent, linewidth=1.2)
        strip.set(yscale="log", xlim=(0, len(r) - 1), ylim=(1e-3, 40))
        strip.set_xticks([0, STEPS // 2, STEPS])
        strip.set_yticks([1e-2, 1, 10])
        strip.minorticks_off()
        strip.text(0.97, 0.08 if r[-1] > 0.05 else 0.9, f"{r[-1]:.4f}", transform=strip.transAxes, ha="right",
                   va="bottom" if r[-1] > 0.05 else "top", fontsize=8, color=accent, weight="bold")
        for axes in (plane, strip):
            axes.tick_params(labelsize=6.5, length=2, pad=2, colors="0.35")
            axes.grid(color="0.93", linewidth=0.6)
            axes.set_axisbelow(True)
            for spine in axes.spines.values():
                spine.set_color("0.75")
        plane.text(0.97, 0.03, "θ", transform=plane.transAxes, ha="right", fontsize=8, color="0.35")
        plane.text(0.03, 0.97, "ψ", transform=plane.transAxes, va="top", fontsize=8, color="0.35")
        if place % columns == 0:
            strip.set_ylabel("radius", fontsize=7.5, labelpad=1)
        if place + columns >= len(paths):
            strip.set_xlabel("steps", fontsize=7.5, labelpad=1)
    save(figure, file)


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    paths = {name: trajectory(game) for name, game in GAMES.items()}
    (OUT / "dirac.md").write_text(table(paths))
    draw(paths, OUT / "dirac.png")
    print(table(paths))


if __name__ == "__main__":
    main()

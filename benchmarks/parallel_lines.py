"""Learning parallel lines: which distances have a gradient? Arjovsky et al. 2017, arXiv:1701.07875, example 1.

    python -m benchmarks.parallel_lines          # half a minute; writes docs/toys/parallel_lines.png and .md

P₀ is uniform on the segment {0} × [0, 1], P_θ on {θ} × [0, 1]. For θ ≠ 0 the two never meet: whatever θ is, the
Jensen–Shannon divergence is log 2, the Kullback–Leibler divergence infinite; the earth mover's distance is |θ|.
Here two of them are estimated as a GAN does it: a discriminator (`ganlib.networks.mlp`) is trained to the end on one of
the library's objectives, at a fixed θ. Its value is the distance; the generator's gradient is what θ would learn from.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.figures import save
from ganlib import build
from ganlib.condition import NOTHING
from ganlib.networks import mlp
from ganlib.objectives.base import Batch, Noise

THETAS = (-1.0, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0)
STEPS, BATCH, LR = 1000, 128, 2e-3
NETWORK = mlp.Config(width=64, depth=2, latent=1)
JENSEN_SHANNON = {"name": "two_player", "loss": "minimax"}
# λ is large because the penalty is no constraint: the best slope is 1 + |θ|/2λ, and the estimate that much too high.
EARTH_MOVER = {"name": "two_player", "loss": "wasserstein", "penalties": {"gradient_penalty": {"weight": 50}}}
OUT = Path("docs/toys")


class Line(nn.Module):
    """The generator: z (N, 1), standard normal → (θ, Φ(z)), (N, 2, 1, 1)."""

    latent, told, classes, labels_are_codes = 1, NOTHING, 0, False

    def __init__(self, theta: float):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.stack([self.theta.expand(len(z)), torch.special.ndtr(z[:, 0])], dim=1).view(-1, 2, 1, 1)


class Estimate(NamedTuple):
    """Against a discriminator trained to the end."""

    value: float  # of the distance
    gradient: float  # of the generator's loss with respect to θ


def estimate(objective: dict[str, Any], theta: float, steps: int = STEPS, seed: int = 0) -> Estimate:
    """Train the objective's discriminator at this θ, and read its value and its gradient on one large fresh batch.

    The adversarial loss L of the discriminator is turned into the distance that it bounds: −L for a critic, and for a
    logistic one log 2 − L/2 (Goodfellow et al. 2014, arXiv:1406.2661, theorem 1)."""
    module, config = build.component("objectives", objective)
    game = module.build(config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        discriminator = mlp.Discriminator(NETWORK, (2, 1, 1))
    networks = {"generator": Line(theta), "discriminator": discriminator}
    judge, generate = (next(phase for phase in game.phases() if phase.name == name) for name in ("D", "G"))
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=LR, betas=(0.5, 0.99))

    def batch(number: int, count: int) -> Batch:
        real = Line(0.0)(Noise(2 * number, count).normal(1)).detach()
        return Batch(real, None, Noise(2 * number + 1, count))

    for step in range(steps):
        optimizer.param_groups[0]["lr"] = LR * (1 - step / steps)
        loss, _ = judge.loss(networks, batch(step, BATCH))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    _, stats = judge.loss(networks, batch(steps, 4096))
    value = -stats["D/loss"].item()
    if config.loss != "wasserstein":
        value = math.log(2) + value / 2
    loss, _ = generate.loss(networks, batch(steps + 1, 4096))
    (gradient,) = torch.autograd.grad(loss, networks["generator"].theta)
    return Estimate(value, gradient.item())


def table(rows: dict[float, tuple[Estimate, Estimate]]) -> str:
    """Markdown: θ → the estimates of both distances."""
    lines = ["| θ | JS (log 2 = 0.6931) | gradient | W | W / \\|θ\\| | gradient |", "|---:|" + "---:|" * 5]
    for theta, (js, w) in rows.items():
        cells = [f"{theta:g}", f"{js.value:.4f}", f"{js.gradient:+.4f}"]
        cells += [f"{w.value:.4f}", f"{w.value / abs(theta):.3f}", f"{w.gradient:+.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: dict[float, tuple[Estimate, Estimate]], file: Path) -> None:
    """The problem; the distances over θ; the size of the gradient over θ."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    blue, red, grey = "#2b5c9e", "#b3402f", "0.55"
    thetas = list(rows)
    figure, (problem, values, gradients) = plt.subplots(
        1, 3, figsize=(11.5, 3.6), dpi=130, width_ratios=[0.7, 1, 1], layout="constrained"
    )
    problem.plot([0, 0], [0, 1], color="black", linewidth=3, solid_capstyle="butt")
    problem.plot([0.5, 0.5], [0, 1], color=grey, linewidth=3, solid_capstyle="butt")
    problem.annotate("", (0.04, 0.5), (0.46, 0.5), arrowprops={"arrowstyle": "->", "color": grey})
    problem.text(0, 1.06, "data", ha="center")
    problem.text(0.5, 1.06, "generator", ha="center", color="0.4")
    problem.text(0.25, 0.54, "θ", ha="center", color="0.4")
    problem.set(xlim=(-0.6, 1.1), ylim=(-0.15, 1.25), title="two lines that never meet")

    axis = torch.linspace(-1.1, 1.1, 221)
    values.plot(axis, axis.abs(), color=blue, linewidth=1, alpha=0.6)
    values.axhline(math.log(2), color=red, linewidth=1, alpha=0.6)
    values.plot(0, 0, "o", color=red, markersize=4, zorder=3)
    values.plot(thetas, [js.value for js, _ in rows.values()], "o", color=red, markersize=6)
    values.plot(thetas, [w.value for _, w in rows.values()], "o", color=blue, markersize=6)
    values.text(0, 0.75, "Jensen–Shannon: log 2", color=red, ha="center", fontsize=9)
    values.annotate("but 0 at θ = 0", (-0.02, 0), (-0.55, 0.02), color=red, fontsize=8, va="center", ha="center",
                    arrowprops={"arrowstyle": "->", "color": red, "linewidth": 0.8})
    values.text(0.45, 0.28, "earth mover: |θ|", color=blue, ha="left", va="center", fontsize=9)
    values.set(title="distance (dots: estimated; lines: exact)", xlabel="θ", xlim=(-1.1, 1.1), ylim=(-0.08, 1.15))

    gradients.plot(thetas, [abs(js.gradient) for js, _ in rows.values()], "o", color=red, markersize=6)
    gradients.plot(thetas, [abs(w.gradient) for _, w in rows.values()], "o", color=blue, markersize=6)
    gradients.axhline(1, color=blue, linewidth=1, alpha=0.6)
    gradients.set(yscale="log", ylim=(3e-5, 6), xlim=(-1.1, 1.1), xlabel="θ", title="size of the generator's gradient")
    gradients.text(0, 1.6, "critic with gradient penalty", color=blue, ha="center", fontsize=9)
    gradients.text(0, 1e-4, "trained logistic discriminator", color=red, ha="center", fontsize=9)
    for axes in (problem, values, gradients):
        axes.title.set_fontsize(10)
        axes.tick_params(labelsize=8, colors="0.35", length=2)
        axes.grid(color="0.93", linewidth=0.6)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_color("0.75")
    save(figure, file)


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    rows = {theta: (estimate(JENSEN_SHANNON, theta), estimate(EARTH_MOVER, theta)) for theta in THETAS}
    (OUT / "parallel_lines.md").write_text(table(rows))
    draw(rows, OUT / "parallel_lines.png")
    print(table(rows))


if __name__ == "__main__":
    main()

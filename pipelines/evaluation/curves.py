"""Curves: what was logged over the training, for pages; precision against recall, as a picture."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot, which keeps every figure
from matplotlib.ticker import EngFormatter
from PIL import Image

COLOURS = ("#2f7ed8", "#e0662f", "#2a9d63", "#9a63d8")  # to be seen on black and on white
INK = "#123456"  # stands for the colour of the page's text, which is not known here
Curve = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]  # x, y


def over_images_seen(curves: Mapping[str, Curve], what: str) -> str:
    """Curves by their names, over the images seen → an <svg> element in the font and the colour of the text around it.
    `what`: the label of the upright axis."""
    file = io.StringIO()
    # Text as text, and none of it as a formula; the same ids every time, and others in each figure of a page.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": what, "text.parse_math": False}):
        figure, axes = _plot(curves, INK)
        axes.set_xlabel("images seen", color=INK)
        axes.set_ylabel(what, color=INK)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg"):].replace(INK, "currentColor")


def precision_over_recall(curves: Mapping[str, Curve]) -> Image.Image:
    """Curves (recall, precision), both in [0, 1], by their names; on white."""
    figure, axes = _plot(curves, "black", size=(3.8, 3.6))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01), aspect="equal")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    with Image.open(file) as picture:
        return picture.convert("P", palette=Image.Palette.ADAPTIVE)


def _plot(curves: Mapping[str, Curve], ink: str, size: tuple[float, float] = (4.6, 3)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for index, (name, (x, y)) in enumerate(curves.items()):
        axes.plot(x, y, label=name, color=COLOURS[index % len(COLOURS)], linewidth=1.6,
                  marker="o" if len(x) < 12 else "", markersize=4)
    axes.grid(color=ink, alpha=0.15, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(ink)
    axes.tick_params(colors=ink)
    if len(curves) > 1:
        axes.legend(frameon=False, labelcolor=ink)
    return figure, axes

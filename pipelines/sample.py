"""Images of a registered generator, or of one in a directory, as a grid.

    python -m pipelines.sample --model models:/ganlib-fashion_mnist@champion -n 64 --seed 0 --out grid.png
    python -m pipelines.sample --model model/ -n 64 --truncation 0.7 --label Sneaker --out grid.png
"""

import argparse
import math
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import torch
from PIL import Image

from ganlib.config import require
from ganlib.files import replace, require_writable
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid
from pipelines.command import command
from pipelines.evaluation.loading import Loaded, loaded
from pipelines.runs import tracker as tracking


def images(model: str, count: int, seed: int, truncation: float = 1.0, label: int | str | None = None
           ) -> tuple[np.ndarray, str]:
    """uint8 images (count, C, H, W) of a `models:/…` or `runs:/…` URI, or of a directory with a generator; and of which
    classes they are, in words. `label`: a class's name or number; without one, as the training images have them.

    ValueError for what this generator cannot draw, and what MLflow's client raises.
    """
    require(0 <= seed < 2**63, f"seed: a number from 0 to 2**63 - 1 is needed, got {seed}")
    with loaded(model) as chosen:
        told = None if label is None else generators.label_of(chosen.generator, chosen.names, label)
        row = {"seed": [seed], "truncation": [truncation], **({} if told is None else {"label": [told]})}
        classes = _classes(chosen, count, told)
        return chosen.predict(pd.DataFrame(row), {"n": count}), classes


def _classes(chosen: Loaded, count: int, told: int | None) -> str:
    labels = chosen.library.labels_of(chosen.generator, count) if told is None else torch.tensor([told])
    if labels is None:
        return ""
    kind = "code" if chosen.generator.labels_are_codes else "class"
    shown = [str(label) if kind == "code" else f"{label} ({chosen.names[label]})" for label in labels.unique().tolist()]
    return f", {kind} " + ", ".join(shown[:20] + ["…"] * (len(shown) > 20))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True,
                        help="models:/<name>@champion, models:/<name>/<version>, a directory")
    parser.add_argument("-n", type=int, default=64, help="how many images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--truncation", type=float, default=1.0, help="0 … 1; below 1 less variety, 1 switches it off")
    parser.add_argument("--label", help="a class's name or number; without, as in training")
    parser.add_argument("--out", type=Path, required=True, help="the picture to write, .png")
    arguments = parser.parse_args()
    kinds = Image.registered_extensions()
    if arguments.out.suffix.lower() not in kinds:
        raise SystemExit(f"sample: --out {arguments.out}: the ending names no known kind of picture; write for example "
                         f"{arguments.out.with_suffix('.png')}")
    with command("sample", "nothing was written"):
        require_writable(arguments.out)
        try:
            drawn, classes = images(arguments.model, arguments.n, arguments.seed, arguments.truncation, arguments.label)
        except (ValueError, mlflow.MlflowException) as error:
            raise SystemExit(f"sample: {arguments.model}: {tracking.short(error)}") from None
        picture = grid(drawn, columns=math.ceil(math.sqrt(arguments.n)))
        replace(arguments.out, lambda temporary: picture.save(temporary, kinds[arguments.out.suffix.lower()]))
    print(f"{arguments.n} images in {arguments.out}{classes}")


if __name__ == "__main__":
    main()

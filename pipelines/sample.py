"""Images of a registered generator, or of one in a directory, as a grid.

    python -m pipelines.sample --model models:/ganlib-fashion_mnist@champion -n 64 --seed 0 --out grid.png
    python -m pipelines.sample --model model/ -n 64 --truncation 0.7 --label 3 --out grid.png
"""

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from PIL import Image

from pipelines import tracking
from pipelines.command import command

if TYPE_CHECKING:
    import numpy as np

# ganlib is imported in the functions only: a registered model brings the copy that it was made with, and that one must
# be found first. So an old champion still loads when the networks have changed since.


def images(model: str, count: int, seed: int, truncation: float = 1.0, label: int | None = None) -> "np.ndarray":
    """uint8 images (count, C, H, W) of a `models:/…` or `runs:/…` URI, or of a directory with generator.safetensors."""
    if ":/" in model:
        tracking.use_store(writes=False)
        row = {"seed": [seed], "truncation": [truncation], **({} if label is None else {"label": [label]})}
        return mlflow.pyfunc.load_model(model).predict(pd.DataFrame(row), params={"n": count})
    import torch

    from ganlib.sampling import generator as generators

    generator, _ = generators.load(Path(model))
    labels = None if label is None else torch.full((count,), label)
    return generators.sample(generator, count, seed, labels, truncation).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True,
                        help="models:/<name>@champion, models:/<name>/<version>, a directory")
    parser.add_argument("-n", type=int, default=64, help="how many images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--truncation", type=float, default=1.0, help="0 … 1; below 1 less variety, 1 switches it off")
    parser.add_argument("--label", type=int, help="class of the images, where the generator is conditional")
    parser.add_argument("--out", type=Path, required=True, help="the picture to write, .png")
    arguments = parser.parse_args()
    if arguments.out.suffix.lower() not in Image.registered_extensions():
        raise SystemExit(f"sample: --out {arguments.out}: the ending names no known kind of picture; write for example "
                         f"{arguments.out.with_suffix('.png')}")
    with command("sample", "nothing was written"):
        try:
            drawn = images(arguments.model, arguments.n, arguments.seed, arguments.truncation, arguments.label)
        except (ValueError, mlflow.MlflowException) as error:
            raise SystemExit(f"sample: {arguments.model}: {error}") from None
    from ganlib.sampling.pictures import grid

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_name(f".{arguments.out.name}")  # keeps the ending, which names the format
    grid(drawn, columns=math.ceil(math.sqrt(arguments.n))).save(temporary)
    os.replace(temporary, arguments.out)
    print(f"{arguments.n} images in {arguments.out}")


if __name__ == "__main__":
    main()

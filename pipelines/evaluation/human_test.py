"""A page that asks people: which of these images are real?"""

import math
from pathlib import Path

import numpy as np

from ganlib import seeds
from ganlib.config import ConfigError, require
from ganlib.datasets.table import Table
from ganlib.files import write_text
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid
from pipelines.evaluation.page import encoded, picture_source, render
from pipelines.runs.model import read_model
from pipelines.runs.project import MODEL, TABLE

PAGE = Path("report/human_test.html")
PIXELS = 4_000_000  # of all rounds together, at most, unless one round has more


def human_test(model: Path = MODEL, table: Path = TABLE, out: Path = PAGE, images: int = 40, rounds: int = 3,
               seed: int = 0) -> Path:
    """Write the page to `out`; gives `out`.

    images: of a round, an even number; each of the `rounds` has images of its own. Both are less where the test split
    has not so many, or not so many conditions to draw from, and of large images there are fewer rounds, or the page
    would be slow to load. The seed chooses the real images, draws the generated ones, and mixes them. ConfigError if
    the model cannot be read, or is of other data than the table.
    """
    require(images >= 2 and images % 2 == 0, f"images: an even number, half real and half generated; got {images}")
    require(rounds >= 1, f"rounds: at least 1, got {rounds}")
    require(0 <= seed < 2**64, f"seed: a number from 0 to 2**64 - 1, got {seed}")
    description, _ = read_model(model)
    generator, _ = generators.load(model)
    test = Table.open(table, "test")
    if description.data_sha256 != test.manifest["sha256"]:
        raise ConfigError(f"{model} was trained on other data than {table} holds; run `dvc repro`")
    require(len(test) > 0, f"{table}: the test split has no images; prepare some")
    most = len(test) if test.conditions is None else min(len(test), len(test.conditions))  # unpaired: any number
    images = min(images, 2 * most)
    height, width = test.shape[1:]
    rounds = min(rounds, 2 * most // images, max(PIXELS // (images * height * width), 1))
    half = images * rounds // 2
    rng = np.random.default_rng(seeds.derive("human test", seed))
    real = test.images[np.sort(rng.choice(len(test), half, replace=False))]
    asked = generators.asked(generator, test, half)
    fake = generators.sample(generator, asked, seeds.derive("human test", seed)).numpy()
    # Each round: half of it real; then mixed. All in one picture, so that nothing tells the two kinds apart.
    kinds = np.concatenate([rng.permutation(images) % 2 for _ in range(rounds)])
    mixed = np.empty((2 * half, *real.shape[1:]), np.uint8)
    mixed[kinds == 0], mixed[kinds == 1] = rng.permutation(real), fake
    columns = math.ceil(math.sqrt(len(mixed)))
    facts = {"images": images, "rounds": rounds, "columns": columns, "width": width, "height": height,
             "kinds": np.packbits(kinds.astype(bool)).tobytes().hex()}
    sheet = picture_source(encoded(grid(mixed, columns), "png"))
    write_text(out, render("human_test.html", dataset=description.dataset, facts=facts, sheet=sheet,
                           small=max(height, width) < 100))
    return out

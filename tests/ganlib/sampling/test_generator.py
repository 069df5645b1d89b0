"""A generator on disk: what is damaged is named; any stretch of its sequence of images is that of the whole."""

from pathlib import Path

import pytest
import torch

from ganlib import build
from ganlib.config import ConfigError
from ganlib.sampling import generator as generators

NETWORKS = {"name": "mlp", "width": 16, "depth": 1, "latent": 4}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    module, config = build.component("networks", NETWORKS | {"conditioning": "concat"})
    generator = module.build(config, (1, 8, 8), 3)["generator"]
    generators.save(tmp_path, generator, {"networks": NETWORKS | {"conditioning": "concat"}, "shape": [1, 8, 8],
                                          "classes": ["a", "b", "c"], "seed": 0})
    return tmp_path


def test_a_stretch_of_the_sequence_is_that_of_the_whole(directory: Path) -> None:
    """Labels go on in turn as well: what two workers make is what one makes."""
    generator, _ = generators.load(directory)
    whole = generators.sample(generator, 10, seed=3)
    parts = [generators.excerpt(generator, start, count, seed=3) for start, count in ((0, 4), (4, 5), (9, 1))]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("damage", ["cut", "gone", "of another network"])
def test_weights_that_are_not_its_own_are_named(damage: str, directory: Path) -> None:
    weights, description = directory / "generator.safetensors", directory / "generator.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "gone":
        weights.unlink()
    else:
        description.write_text(description.read_text().replace('"width": 16', '"width": 17'))
    with pytest.raises(ConfigError, match=r"generator\.safetensors does not hold the weights of this generator"):
        generators.load(directory)

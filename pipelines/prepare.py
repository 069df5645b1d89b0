"""Stage prepare: the data set of params.yaml → the image table in data/table/.

    python -m pipelines.prepare [--params params.yaml]
"""

import argparse
from pathlib import Path
from typing import Any

import yaml

from ganlib import build
from ganlib.config import parse, require
from ganlib.datasets.table import read_manifest
from ganlib.metrics.protocol import Evaluation, require_enough
from pipelines.bar import images_bar
from pipelines.command import command

TABLE = Path("data/table")


def run(section: Any, directory: Path = TABLE, evaluation: Evaluation | None = None, batch_size: int = 1
        ) -> dict[str, Any]:
    """Prepare the data set of a `dataset` section; gives the manifest of the table. ConfigError, before any image is
    read, if the splits are too small for the `evaluation`, or for batches of that size."""
    source, config = build.component("datasets", section)

    def check(images: dict[str, int]) -> None:
        require_enough(evaluation or Evaluation(), images)
        require(batch_size <= images["train"], f"training.batch_size: {batch_size} is more than the {images['train']} "
                "images that would be trained on; lower it, or add images")

    with images_bar(None, "prepare", stays=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        source.prepare(config, directory, progress, check)
    return read_manifest(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    with command("prepare"):
        # Only these sections: preparing data must not wait for an objective that is still being written.
        raw = yaml.safe_load(arguments.params.read_text()) or {}
        manifest = run(raw.get("dataset"), evaluation=parse(Evaluation, raw.get("evaluation", {}), "evaluation"),
                       batch_size=raw.get("training", {}).get("batch_size", 1))
    counts = ", ".join(f"{split['images']} {name}" for name, split in manifest["splits"].items())
    labels = f"{len(manifest['classes'])} classes" if manifest["classes"] else "no labels"
    print(f"images  {counts} from {manifest['source']}")
    if "validation" not in manifest["splits"]:
        print("choice  by training images: these are too few for a validation split")
    print(f"shape   {'×'.join(map(str, manifest['shape']))} uint8, {labels}")
    print(f"hash    {manifest['sha256']}")


if __name__ == "__main__":
    main()

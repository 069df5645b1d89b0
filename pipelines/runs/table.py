"""The image table: made of the data set of params.yaml, and what there is to say of it."""

from pathlib import Path
from typing import Any

from ganlib import build
from ganlib.config import require
from ganlib.datasets.listing import MOST, several
from ganlib.datasets.manifest import condition_of
from ganlib.datasets.table import Table, read_manifest
from ganlib.metrics.protocol import Evaluation, require_enough
from pipelines.runs.bar import images_bar
from pipelines.runs.project import TABLE


def prepare(section: Any, directory: Path = TABLE, evaluation: Evaluation | None = None, batch_size: int = 1
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


def said(manifest: dict[str, Any], directory: Path = TABLE) -> list[tuple[str, str]]:
    """What there is to say of a table: (word, text), one a line."""
    counts = ", ".join(f"{split['images']} {name}" for name, split in manifest["splits"].items())
    lines = [("images", f"{counts} from {manifest['source']}")]
    if "validation" not in manifest["splits"]:
        lines.append(("choice", "by training images: these are too few for a validation split"))
    labels = f"{len(manifest['classes'])} classes" if manifest["classes"] else "no labels"
    lines.append(("shape", f"{'×'.join(map(str, manifest['shape']))} uint8, {labels}"))
    if (condition := condition_of(manifest)).given:
        apart = [f"{split['sources']} {name}" for name, split in manifest["splits"].items() if split["sources"]]
        pairs = f"unpaired: {', '.join(apart)}" if apart else "paired"
        about = [str(condition), manifest["condition"]["description"], pairs]
        lines.append(("condition", ", ".join(filter(None, about))))
    lines += [(word, text) for word, text in manifest["details"].get("said", [])]
    splits = {split: Table.open(directory, split).label_counts for split in manifest["splits"]}
    for label, name in enumerate(manifest["classes"][:MOST]):
        each = ", ".join(f"{counts[label]} {split}" for split, counts in splits.items())
        lines.append((f"class {label}", f"{name}: {each}"))
    if (more := len(manifest["classes"]) - MOST) > 0:
        lines.append(("", f"and {more} more"))
    for split, counted in splits.items():
        if absent := [name for name, count in zip(manifest["classes"], counted, strict=True) if not count]:
            lines.append(("caution", f"no {split} images of {several(absent)}"))
    return [*lines, ("hash", manifest["sha256"])]

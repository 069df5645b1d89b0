"""Stage evaluate: the generator of model/ against the real images → evaluation/. Or two folders of images → JSON.

    python -m pipelines.evaluate
    python -m pipelines.evaluate --real DIR --fake DIR

    metrics.json        every number: {"value", "standard_error" and "interval" where its noise is known, "floor": of
                        real images in place of generated ones}, class shares, the protocol; `distance` names the number
                        to report, of test images, `choice` the one to choose by, of other images (`…_validation`);
                        `failed` says so where the generator is not clearly better than before its training, and
                        `cautions` what these numbers cannot tell
    numbers/*.json      the same, one number a file: `dvc metrics show` makes a row of each file
    samples.png         100 images; classes.png: by the class that the classifier sees in them
    progress.png        the same latents, over the images seen in training; animation.png: one after the other
    interpolation.png   straight and spherical paths between latents
    arithmetic.png      the mean latents of classes, A − B + C (Radford et al. 2016)
    truncation.png      the same latents, scaled towards their mean; not of networks.prior=sphere
    precision_recall.png  the curve of Sajjadi et al. 2018
    neighbours.png      samples beside the nearest other real images by features, and training images by pixels
    labels.png          a row for each label (or code of InfoGAN's) that the generator is told, the same latents in each
    codes.png           the continuous codes of InfoGAN, each varied alone from left to right

Where the generator is told a label, metrics.json also has the share of images in which the classifier sees that label
(`label_accuracy`); for codes that nobody named, under the best one-to-one naming (`code_accuracy`).
"""

import argparse
import json
import sys
import time
from pathlib import Path

from ganlib.config import ConfigError, parse
from ganlib.files import require_writable, write_text
from ganlib.metrics.protocol import Evaluation
from pipelines.command import command
from pipelines.evaluation.folders import evaluate_folders
from pipelines.evaluation.generator import evaluate
from pipelines.evaluation.measure import use_cores
from pipelines.evaluation.reference import CLASSIFIER
from pipelines.evaluation.results import show
from pipelines.runs.params import load
from pipelines.runs.project import EVALUATION, REFERENCE


def main() -> None:
    defaults = Evaluation()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="a folder of images; with --fake: measure folders, not model/")
    parser.add_argument("--fake", type=Path, help="a folder of generated images")
    parser.add_argument("--images", type=int, help="take so many of each folder, spread over the names; else all")
    parser.add_argument("--extractor", default=defaults.extractor)
    parser.add_argument("--inception-path", help="the canonical weights; fetched once, if not given")
    parser.add_argument("--classifier", type=Path, default=REFERENCE / CLASSIFIER, help="for --extractor domain")
    parser.add_argument("--resize", type=int, default=defaults.resize, help="px that the extractor sees")
    parser.add_argument("--neighbours", type=int, default=defaults.neighbours, help="k of precision and recall")
    parser.add_argument("--splits", type=int, default=defaults.splits, help="of the inception score")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the interval's groups and of projections")
    parser.add_argument("--out", type=Path, help="write the JSON there instead of printing it")
    arguments = vars(parser.parse_args())
    real, fake, images, out, counter = (arguments.pop(name) for name in ("real", "fake", "images", "out", "classifier"))
    if (real is None) != (fake is None):
        parser.error("give both --real and --fake, or neither to measure model/")
    if real is None and len(sys.argv) > 1:
        parser.error("these options go with --real and --fake; for model/, params.yaml has them in `evaluation`")
    if out is not None and out.is_dir():
        parser.error(f"--out {out} is a directory; name a file")
    start = time.monotonic()
    use_cores()
    with command("evaluate"):
        require_writable(EVALUATION if real is None else out or Path())
        if real is None:
            stage(start)
        else:
            try:
                result = evaluate_folders(real, fake, parse(Evaluation, arguments), images, counter)
            except ValueError as error:  # of a metric, whose images these are not
                raise ConfigError(str(error)) from None
            print(show(result), file=sys.stderr)
            text = json.dumps(result, indent=2)
            if out is None:
                print(text)
            else:
                write_text(out, text + "\n")


def stage(start: float) -> None:
    """Evaluate the model of params.yaml, and say what came out."""
    result = evaluate(load().evaluation)
    print(show(result))
    protocol = result["protocol"]
    print(f"{protocol['generated_images']:,} generated against {protocol['real_images']:,} real test images, "
          f"{protocol['extractor']} at {protocol['resize']} px; floor: other real images instead; ±: standard error; "
          f"to choose by: {result['choice']}")
    print(f"→ {EVALUATION}/metrics.json and pictures in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

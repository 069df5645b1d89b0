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
    progress.png        the same latents, or inputs, as it learned; animation.png: one after the other
    pairs.png           of a translator: 16 test images: input, output, truth where it is known, and where there is a
                        way back, what that draws of the output
    interpolation.png   straight and spherical paths between latents; not of a translator, nor the next two
    arithmetic.png      the mean latents of classes, A − B + C (Radford et al. 2016)
    truncation.png      the same latents, scaled towards their mean; nor of networks.prior=sphere
    precision_recall.png  the curve of Sajjadi et al. 2018
    neighbours.png      samples beside the nearest other real images by features, and training images by pixels
    labels.png          a row for each label (or code of InfoGAN's) that the generator is told, the same latents in each
    codes.png           the continuous codes of InfoGAN, each varied alone from left to right

Where the generator is told a label, metrics.json also has the share of images in which the classifier sees that label
(`label_accuracy`); for codes that nobody named, under the best one-to-one naming (`code_accuracy`). Of a translation
whose answer is known it has the numbers of pairs (ganlib.metrics.pairs), whose floor is what the input itself reaches.
"""

import argparse
import sys
import time

from ganlib.files import require_writable
from pipelines.command import command
from pipelines.evaluation import folders
from pipelines.evaluation.generator import evaluate
from pipelines.evaluation.measure import use_cores
from pipelines.evaluation.results import show
from pipelines.runs.params import load
from pipelines.runs.project import EVALUATION


def stage() -> None:
    """Evaluate the model of params.yaml, and say what came out."""
    start = time.monotonic()
    require_writable(EVALUATION)
    result = evaluate(load().evaluation)
    print(show(result))
    protocol = result["protocol"]
    print(f"{protocol['generated_images']:,} generated against {protocol['real_images']:,} real test images, "
          f"{protocol['extractor']} at {protocol['resize']} px; floor: other real images instead"
          f"{', of pairs the inputs themselves' if protocol['pairs'] else ''}; ±: standard error; "
          f"to choose by: {result['choice']}")
    print(f"→ {EVALUATION}/metrics.json and pictures in {time.monotonic() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folders.add_options(parser)
    arguments = parser.parse_args()
    if (arguments.real is None) != (arguments.fake is None):
        parser.error("give both --real and --fake, or neither to measure model/")
    if arguments.real is None and len(sys.argv) > 1:
        parser.error("these options go with --real and --fake; for model/, params.yaml has them in `evaluation`")
    if arguments.out is not None and arguments.out.is_dir():
        parser.error(f"--out {arguments.out} is a directory; name a file")
    use_cores()
    with command("evaluate"):
        stage() if arguments.real is None else folders.run(**vars(arguments))


if __name__ == "__main__":
    main()

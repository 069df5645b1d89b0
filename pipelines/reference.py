"""Stage reference: the real images through the extractor, once → data/reference/.

    python -m pipelines.reference

    features.safetensors     `test`: of `evaluation.images` test images, by which generators are reported; `others`: of
                             as many that are no test images. The first `choosing_images` of these (see the protocol)
                             are of the split by which generators are chosen, the rest are training images
    curve.safetensors        precision and recall of the others against the test images
    classifier.safetensors   counts the classes of generated images; only where the data has labels
    reference.json           the protocol, and `floor`: what the others reach in place of generated images
"""

import time

from ganlib.files import require_writable
from pipelines.command import command
from pipelines.evaluation.measure import use_cores
from pipelines.evaluation.reference import reference
from pipelines.runs.params import load
from pipelines.runs.project import REFERENCE


def main() -> None:
    start = time.monotonic()
    use_cores()
    with command("reference"):
        require_writable(REFERENCE)
        result = reference(load().evaluation)
    protocol = result["protocol"]
    print(f"features  {protocol['extractor']} at {protocol['resize']} px of {protocol['real_images']:,} test images")
    for name, value in result["floor"].items():
        print(f"floor     {name} {value:.5g}")
    if "classifier_accuracy" in result:
        print(f"classes   counted by a classifier that is right on {result['classifier_accuracy']:.1%} of the test set")
    for caution in result["cautions"]:
        print(f"caution   {caution}")
    print(f"→ {REFERENCE}/ in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

"""A page that asks people: which of these images are real? In one file that needs no network.

    python -m pipelines.human_test                            # model/ and data/table/ → report/human_test.html
    python -m pipelines.human_test --model … --table … --images 40 --rounds 3 --seed 0 --out …

Half of the images of a round are real ones of the test split, which the generator has never seen, half are generated.
The visitor marks the generated ones, and is told the score with its interval.
"""

import argparse
from pathlib import Path

from ganlib.files import require_writable
from pipelines.command import command
from pipelines.evaluation.human_test import PAGE, human_test
from pipelines.runs.project import MODEL, TABLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--images", type=int, default=40, help="of a round, at most")
    parser.add_argument("--rounds", type=int, default=3, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args()
    with command("human_test"):
        require_writable(arguments.out)
        out = human_test(**vars(arguments))
    print(f"→ {out}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

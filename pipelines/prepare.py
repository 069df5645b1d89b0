"""Stage prepare: the data set of params.yaml → the image table in data/table/.

    python -m pipelines.prepare [--params params.yaml]
"""

import argparse
from pathlib import Path

from ganlib.config import parse
from ganlib.files import require_writable
from ganlib.metrics.protocol import Evaluation
from ganlib.training.run import Training
from pipelines.command import command
from pipelines.runs.params import read
from pipelines.runs.project import TABLE
from pipelines.runs.table import prepare, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    with command("prepare"):
        require_writable(TABLE)
        # Only these sections: preparing data must not wait for an objective that is still being written.
        raw = read(arguments.params)
        manifest = prepare(raw.get("dataset"), evaluation=parse(Evaluation, raw.get("evaluation", {}), "evaluation"),
                           batch_size=parse(Training, raw.get("training", {}), "training").batch_size)
    for word, text in said(manifest):
        print(f"{word:<10}{text}")


if __name__ == "__main__":
    main()

"""One page about a run, in one file that needs no network: what was trained, the numbers, curves and pictures.

    python -m pipelines.report                                # model/ and evaluation/ → report/report.html
    python -m pipelines.report --model … --evaluation … --params … --out …

Where there is no evaluation yet, its numbers and pictures are left out.
"""

import argparse
from pathlib import Path

from ganlib.files import require_writable
from pipelines.command import command
from pipelines.evaluation.report import REPORT, report
from pipelines.runs.params import PARAMS
from pipelines.runs.project import EVALUATION, MODEL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--evaluation", type=Path, default=EVALUATION)
    parser.add_argument("--params", type=Path, default=PARAMS)
    parser.add_argument("--out", type=Path, default=REPORT)
    arguments = parser.parse_args()
    with command("report"):
        require_writable(arguments.out)
        out = report(arguments.model, arguments.evaluation, arguments.params, arguments.out)
    print(f"→ {out}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

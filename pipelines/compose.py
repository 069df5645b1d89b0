"""conf/ + choices → params.yaml, which `dvc repro` then reproduces.

    python -m pipelines.compose                                      # what conf/config.yaml chooses
    python -m pipelines.compose objective=wgan_gp training.images=2e6
    python -m pipelines.compose --check                              # is params.yaml what conf/ composes to?

`dvc exp run -S objective=wgan_gp` composes in the same way, and runs. The choices are kept in params.yaml under
`composed`, so that an edit of conf/ which params.yaml does not have yet is noticed and not silently left out.
"""

import argparse
import shlex
from pathlib import Path

import yaml

from ganlib.config import ConfigError, differences
from ganlib.files import require_writable, write_text
from pipelines.command import command
from pipelines.runs.composition import composition
from pipelines.runs.params import PARAMS, parse_params, read

HEADER = "# Written by `python -m pipelines.compose`; change conf/ or the choices and run it again.\n"


def write(choices: list[str], path: Path = PARAMS) -> None:
    """Compose, check, and replace `path`."""
    write_text(path, HEADER + yaml.safe_dump(composition(choices), sort_keys=False, allow_unicode=True))


def check(path: Path = PARAMS) -> None:
    """ConfigError if conf/ was edited since `path` was composed, or `path` by hand."""
    raw = read(path)
    parse_params(raw)
    if (choices := raw.get("composed")) is None:
        return  # composed by `dvc exp run` at the moment it ran
    if differing := differences(raw, composition(choices), str(path), "conf/"):
        command = shlex.join(["python", "-m", "pipelines.compose", *choices])
        raise ConfigError(f"{path} is not what conf/ composes to: {'; '.join(differing)}. To take over conf/: "
                          f"{command} (your own values go behind it, as in training.images=2e6)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 if params.yaml is out of date")
    parser.add_argument("choices", nargs="*", metavar="group=choice or key=value")
    arguments = parser.parse_args()
    with command("compose"):
        require_writable(PARAMS)
        check() if arguments.check else write(arguments.choices)
    print(f"{PARAMS} is what conf/ composes to" if arguments.check else f"wrote {PARAMS}")


if __name__ == "__main__":
    main()

"""conf/ + choices → params.yaml, which `dvc repro` then reproduces.

    python -m pipelines.compose                                      # what conf/config.yaml chooses
    python -m pipelines.compose objective=wgan_gp training.images=2e6
    python -m pipelines.compose --check                              # is params.yaml what conf/ composes to?

`dvc exp run -S objective=wgan_gp` composes in the same way, and runs. The choices are kept in params.yaml under
`composed`, so that an edit of conf/ which params.yaml does not have yet is noticed and not silently left out.
"""

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlib.config import ConfigError, differences
from ganlib.files import require_writable, write_text
from pipelines import project
from pipelines.command import command
from pipelines.params import PARAMS, parse_params, read

TEXTS = ("dataset.path", "dataset.labels", "evaluation.inception_path", "cluster.storage", "cluster.tracking_uri")
HEADER = "# Written by `python -m pipelines.compose`; change conf/ or the choices and run it again.\n"


def composition(choices: list[str]) -> dict[str, Any]:
    """What conf/ and the choices (Hydra overrides) compose to, checked."""
    try:
        with initialize_config_dir(str(conf().resolve()), version_base=None):
            composed = compose("config", overrides=[quoted(choice) for choice in choices])
        raw: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"conf/: {error}") from None
    parse_params(raw)
    return raw | {"composed": choices}


def quoted(choice: str) -> str:
    """A choice as Hydra takes it. Its grammar has no place for much of what folders are called, in any language, with
    brackets or commas: such a value is put into quotes."""
    key, equals, value = choice.partition("=")
    text = key.lstrip("+") in TEXTS and value != "null" and not re.fullmatch(r"([\"']).*\1", value)
    try:
        if not equals or (not text and not OverridesParser.create().parse_override(choice).is_sweep_override()):
            return choice
    except HydraException:
        pass
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), value)
    escaped = escaped.replace("${", "\\${")
    return f'{key}="{escaped}"'


def conf() -> Path:
    """The project's conf/; that of the code, where it has none."""
    return here if (here := Path("conf")).is_dir() else project.CODE / "conf"


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

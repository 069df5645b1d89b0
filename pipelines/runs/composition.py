"""What conf/ and choices compose to."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlib.config import ConfigError
from pipelines.runs import project
from pipelines.runs.params import parse_params

TEXTS = ("dataset.path", "dataset.labels", "evaluation.inception_path", "cluster.storage", "cluster.tracking_uri")


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


def composer(raw: dict[str, Any]) -> Callable[[list[str]], dict[str, Any]]:
    """Choices → raw parameters, on top of those that `raw` was composed of. Where they are not known (`dvc exp run
    -S`), the sections of `raw` stay that the choices do not touch."""
    known = raw.get("composed")
    if known is not None:
        return lambda choices: composition([*known, *choices])
    plain = composition([])

    def compose(choices: list[str]) -> dict[str, Any]:
        groups = [choice.partition("=")[0] for choice in choices]
        return raw | {section: value for section, value in composition(choices).items()
                      if section in groups or value != plain.get(section)} | {"composed": None}

    return compose


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

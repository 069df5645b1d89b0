"""Name → component: the name of a component is the name of its file in a room (a sub-package of ganlib)."""

import dataclasses
import importlib
import pkgutil
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ganlib import seeds
from ganlib.condition import Condition
from ganlib.config import ConfigError, parse, suggest

MODEL = "generator"  # the role that is averaged, exported and sampled
# room → its section of the configuration, where unlike
SECTIONS = {"datasets": "dataset", "objectives": "objective", "augmentations": "augmentation"}


def names(room: str) -> list[str]:
    """The components of a room: its modules that hold a `Config` and can be asked for by name."""
    package = importlib.import_module(f"ganlib.{room}")
    modules = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [name for name in sorted(modules) if hasattr(importlib.import_module(f"ganlib.{room}.{name}"), "Config")]


def module(room: str, name: Any) -> ModuleType:
    """The module `ganlib.<room>.<name>`; ConfigError with the nearest name if there is none."""
    if name not in (known := names(room)):
        raise ConfigError(f"{_section(room)}.name: there is no {name!r} in ganlib/{room}/{suggest(str(name), known)}")
    return importlib.import_module(f"ganlib.{room}.{name}")


def component(room: str, section: dict[str, Any]) -> tuple[ModuleType, Any]:
    """{"name": ..., **options} → (module, its parsed Config). The options are checked against that Config."""
    if not isinstance(section, dict) or "name" not in section:
        known = ", ".join(names(room))
        raise ConfigError(f"{_section(room)}: a mapping with a `name` is needed (one of {known}), got {section!r}")
    found = module(room, section["name"])
    options = {key: value for key, value in section.items() if key != "name"}
    return found, parse(found.Config, options, _section(room))


def spelled_out(room: str, section: dict[str, Any]) -> dict[str, Any]:
    """The section with all options that it leaves at their defaults."""
    return {"name": section["name"], **dataclasses.asdict(component(room, section)[1])}


def networks(section: dict[str, Any], shape: tuple[int, int, int], condition: Condition, seed: int
             ) -> dict[str, nn.Module]:
    """Role → network for images of `shape` (C, H, W) that come with this condition, freshly initialised from the
    seed."""
    found, config = component("networks", section)
    with torch.random.fork_rng():
        torch.manual_seed(seeds.derive("weights", seed))
        return found.build(config, shape, condition)


def _section(room: str) -> str:
    return SECTIONS.get(room, room)

"""What a sweep searches: named parameters, the keys of params.yaml that each sets, and where each exists.

    objective: {choice: [wgan, wgan_gp]}                              # no key: a group of conf/
    lambda: {loguniform: [0.1, 100], key: [objective.penalties.gradient_penalty.weight]}
    n_critic: {integer: [1, 5], key: [objective.n_critic]}
    norm: {choice: [none, batch], key: [networks.discriminator_norm], only: {objective: [wgan]}}

A parameter sets those of its keys that the composition at hand has, and does not exist where there is none: no λ for
clipping, no c for WGAN-GP. `only` restricts it further, to values of parameters before it.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ganlib.config import ConfigError, require, suggest
from pipelines.runs.params import Parameter

SEARCHED = ("networks", "objective", "augmentation", "training")
FIXED = ("training.images", "training.checkpoint_every", "training.log_every", "training.keep",
         "training.monitor_images")  # alike for all trials, or they could not be compared
RESERVED = ("seed", "start", "trial")
Values = dict[str, Any]  # parameter → value, for those that exist


class Space:
    """The parameters of a sweep, and the composition of conf/ for each choice of its groups.

    `compose(choices)` gives the raw parameters for Hydra's choices; `conf`: the groups of conf/ and the choices in
    each. ConfigError for a space that is empty, or has a parameter that exists nowhere.
    """

    def __init__(self, parameters: Mapping[str, Parameter], compose: Callable[[list[str]], dict[str, Any]],
                 conf: Mapping[str, list[str]]) -> None:
        require(bool(parameters), "sweep.space: it is empty, so there is nothing to search; see conf/sweep/ for some")
        self.groups = [name for name, parameter in parameters.items() if not parameter.key]
        self.parameters = {name: parameters[name] for name in sorted(parameters, key=lambda name: name not in
                                                                     self.groups)}  # stable: groups first
        for name, parameter in parameters.items():
            require(name not in RESERVED, f"sweep.space.{name}: is no name for a parameter; take another")
            for key in parameter.key:
                require(key.split(".")[0] in SEARCHED and key not in FIXED, f"sweep.space.{name}.key: {key} cannot be "
                        f"searched; what lies in {', '.join(SEARCHED)} can, but for {', '.join(FIXED)}")
        for name in self.groups:
            require(name in conf, f"sweep.space.{name}: names no group of conf/{suggest(name, conf)}; "
                    "or write the key of params.yaml that it sets: key: [objective.n_critic]")
            for value in parameters[name].choice or ():
                require(value in conf[name], f"sweep.space.{name}: there is no {value!r} in conf/{name}/"
                        f"{suggest(str(value), conf[name])}")
        every: list[list[Any]] = [list(self.parameters[group].choice or ()) for group in self.groups]
        self.compositions = {chosen: compose([f"{group}={value}" for group, value in
                                              zip(self.groups, chosen, strict=True)])
                             for chosen in itertools.product(*every)}
        self._check(compose, conf)

    def exists(self, name: str, values: Values) -> bool:
        """Whether a parameter exists, given the values of those before it."""
        parameter = self.parameters[name]
        if any(values.get(other) not in allowed for other, allowed in parameter.only.items()):
            return False
        return not parameter.key or bool(self._keys(name, values))

    def draw(self, trial: Any) -> Values:
        """Values from Optuna's trial, parameter by parameter."""
        values: Values = {}
        for name, parameter in self.parameters.items():
            if self.exists(name, values):
                values[name] = parameter.draw(trial, name)
        return values

    def grid(self) -> list[Values]:
        """Every combination. ConfigError where one of the parameters has no end of values."""
        endless = [name for name, parameter in self.parameters.items() if parameter.all() is None]
        require(not endless, f"sweep.space.{endless[0] if endless else ''}: a grid needs values that can be counted; "
                "write choice: [...], or take sweep.search=random")
        return list(self._combine({}, list(self.parameters)))

    def edges(self) -> Iterator[Values]:
        """Each composition as it is, and with each parameter at each of its ends or choices, the others as they are."""
        for chosen in self.compositions:
            groups = dict(zip(self.groups, chosen, strict=True))
            yield groups
            for name, parameter in self.parameters.items():
                for value in (parameter.choice or parameter.range) if parameter.key else ():
                    before = groups | {other: next(iter(allowed)) for other, allowed in parameter.only.items()
                                       if other not in groups}
                    if self.exists(name, before):
                        yield before | {name: value}

    def raw(self, values: Values) -> dict[str, Any]:
        """The raw parameters of a run with these values. Values of parameters that do not exist there are left out."""
        raw = copy.deepcopy(self._composition(values))
        for name, value in values.items():
            if name in self.parameters:
                for key in self._keys(name, values):
                    inner, last = _parent(raw, key)
                    inner[last] = value
        return raw

    def choices(self, values: Values) -> list[str]:
        """What to give to pipelines.compose for the same."""
        raw, chosen = self.raw(values), [f"{group}={values[group]}" for group in self.groups]
        for name in values:
            for key in self._keys(name, values) if name in self.parameters else ():
                parts = key.split(".")
                while parts[-1].isdigit():  # an item of a list: Hydra replaces lists as a whole
                    parts.pop()
                inner, last = _parent(raw, ".".join(parts))
                value = str(inner[last]).replace(" ", "").replace("None", "null")
                if (choice := f"{'.'.join(parts)}={value}") not in chosen:
                    chosen.append(choice)
        return chosen

    def _combine(self, values: Values, names: list[str]) -> Iterator[Values]:
        if not names:
            yield values
        elif self.exists(names[0], values):
            for value in self.parameters[names[0]].all() or ():
                yield from self._combine(values | {names[0]: value}, names[1:])
        else:
            yield from self._combine(values, names[1:])

    def _composition(self, values: Values) -> dict[str, Any]:
        return self.compositions[tuple(values[group] for group in self.groups)]

    def _keys(self, name: str, values: Values) -> list[str]:
        """The keys of a parameter that the composition has; what is null there is switched off."""
        composition = self._composition(values)
        return [key for key in self.parameters[name].key if _get(composition, key) is not None]

    def _check(self, compose: Callable[[list[str]], dict[str, Any]], conf: Mapping[str, list[str]]) -> None:
        seen: list[str] = []
        for name, parameter in self.parameters.items():
            for other, allowed in parameter.only.items():
                require(other in seen, f"sweep.space.{name}.only: {other!r} is no parameter before it"
                        f"{suggest(other, seen)}")
                values = self.parameters[other].all()
                odd = [value for value in allowed if values is not None and value not in values]
                require(not odd, f"sweep.space.{name}.only.{other}: {odd and odd[0]!r} is none of its values")
            seen.append(name)
            lacking = [key for key in parameter.key
                       if all(_get(raw, key) is None for raw in self.compositions.values())]
            for key in lacking:  # of another objective, or misspelt?
                require(_known(key, compose, conf), f"sweep.space.{name}.key: nothing in conf/ has a value at {key}")
            if lacking and len(lacking) == len(parameter.key):
                chosen = ", ".join("/".join(map(str, choice)) for choice in self.compositions if choice)
                raise ConfigError(f"sweep.space.{name}: {chosen or 'this composition'} has no {lacking[0]}, so there "
                                  f"is nothing to set; leave it out: '~sweep.space.{name}'")


def _known(key: str, compose: Callable[[list[str]], dict[str, Any]], conf: Mapping[str, list[str]]) -> bool:
    """Whether any choice of the group that a key lies in has a value there."""
    group = key.split(".")[0]
    for choice in conf.get(group, ()):
        try:
            if _get(compose([f"{group}={choice}"]), key) is not None:
                return True
        except ConfigError:  # this one needs more choices than its own
            continue
    return False


def _get(raw: Any, key: str) -> Any:
    """The value at a dotted key; None if there is none."""
    for part in key.split("."):
        if isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
        elif isinstance(raw, dict):
            raw = raw.get(part)
        else:
            return None
    return raw


def _parent(raw: Any, key: str) -> tuple[Any, Any]:
    """What holds the value at a dotted key, and under which name or index."""
    *before, last = key.split(".")
    for part in before:
        raw = raw[int(part) if isinstance(raw, list) else part]
    return raw, int(last) if isinstance(raw, list) else last

"""Typed configuration: plain mappings → frozen dataclasses; what cannot be run is refused at the door."""

import dataclasses
import difflib
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
LARGEST = 2**63


class ConfigError(ValueError):
    """A configuration that cannot be run. The message names the key, what is wrong, and what to write instead."""


def suggest(wrong: str, known: Iterable[str]) -> str:
    """The tail of a message: the nearest known name, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"


def require(condition: bool, message: str) -> None:
    """For the range checks in `__post_init__` of the configuration classes."""
    if not condition:
        raise ConfigError(message)


def within(config: Any, low: float, high: float, *names: str) -> None:
    """ConfigError unless these fields of a configuration lie in [low, high], whose upper end is what nothing real
    exceeds: a slip of the keyboard is not to fill the memory."""
    for name in names:
        value = getattr(config, name)
        require(low <= value <= high, f"{name}: {low:,} … {high:,} is needed, got {value:,}")


def parse(cls: type[T], values: Any, where: str = "") -> T:
    """Build the dataclass `cls` from a mapping, recursively.

    Unknown keys, missing keys and values of the wrong type raise ConfigError with the dotted path of the key.
    Numbers written as text in YAML (`2e6` is text there) are taken as numbers where the field is one.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where or 'configuration'}: a mapping is needed, got {values!r}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(f"{_path(where, key)}: unknown key{suggest(str(key), fields)}")
    missing = [name for name, field in fields.items() if name not in values
               and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"{_path(where, missing[0])}: missing; give a value of type {_name(hints[missing[0]])}")
    parsed = {key: _convert(hints[key], value, _path(where, key)) for key, value in values.items()}
    try:
        return cls(**parsed)
    except ConfigError as error:
        raise ConfigError(_path(where, str(error))) from None


def take(cls: type[T], values: Mapping[str, Any], where: str, remedy: str) -> T:
    """`parse` of the fields of `cls` in a mapping that may hold more; ConfigErrors begin with `where`, say a file, and
    end with the `remedy`."""
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    try:
        return parse(cls, {key: value for key, value in values.items() if key in known})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}; {remedy}") from None


def differences(ours: Any, theirs: Any, us: str, them: str, where: str = "") -> list[str]:
    """Where two nested mappings differ, a line for each dotted path: "seed is 0 in <us> and 5 in <them>"."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [line for key in ours | theirs
                for line in differences(ours.get(key), theirs.get(key), us, them, _path(where, key))]
    return [] if ours == theirs else [f"{where} is {ours!r} in {us} and {theirs!r} in {them}"]


def _path(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint).replace("typing.", "")  # type: ignore[return-value]


def _of_one(hints: list[Any], value: Any, where: str) -> Any:
    """The value as the first of these types that it is. If one of them alone has its outward form, a list or none, what
    is wrong with it is said of that one."""
    alike = [hint for hint in hints if (typing.get_origin(hint) is tuple) == isinstance(value, list | tuple)]
    if len(alike or hints) == 1:
        return _convert((alike or hints)[0], value, where)
    for hint in alike:
        try:
            return _convert(hint, value, where)
        except ConfigError:
            continue
    raise ConfigError(f"{where}: a value of type {' or '.join(map(_name, hints))} is needed, got {value!r}")


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _of_one([argument for argument in arguments if argument is not type(None)], value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: {value!r} is not a choice{suggest(str(value), map(str, arguments))}")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        inners = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(inners) != len(value):
            raise ConfigError(f"{where}: {len(inners)} values are needed, got {value!r}")
        pairs = zip(inners, value, strict=True)
        return tuple(_convert(inner, item, f"{where}[{i}]") for i, (inner, item) in enumerate(pairs))
    if origin is dict and isinstance(value, dict):
        odd = [key for key in value if not isinstance(key, str)]
        require(not odd, f"{where}: names are text, got {odd[:1]}")
        return {key: _convert(arguments[1], item, _path(where, key)) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else parse(hint, value, where)  # type: ignore[arg-type]
    if hint in (int, float):
        if type(value) is int and abs(value) >= LARGEST:
            raise ConfigError(f"{where}: numbers below 2^63 are needed, got one of {value.bit_length()} bits")
        if hint is type(value) is int:
            return value
        try:
            number = float(str(value))  # by way of text, since float() would take True for a number
        except ValueError:
            raise ConfigError(f"{where}: a number is needed, got {reprlib.repr(value)}") from None
        require(abs(number) < LARGEST, f"{where}: a finite number below 2^63 is needed, got {value}")
        if hint is float:
            return number
        if number.is_integer():
            return int(number)
        raise ConfigError(f"{where}: a whole number is needed, got {value!r}")
    if isinstance(hint, type) and isinstance(value, hint):
        return value
    raise ConfigError(f"{where}: a value of type {_name(hint)} is needed, got {reprlib.repr(value)}")

"""Configuration: what is read, and what is refused with which words."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from ganlib.config import ConfigError, parse, require


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    pair: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        require(self.rate > 0, f"rate: must be above 0, got {self.rate:g}")


@dataclass(frozen=True)
class Outer:
    count: int
    kind: Literal["one", "two"] = "one"
    path: str | None = None
    flag: bool = False
    inner: Inner = field(default_factory=Inner)
    several: dict[str, Inner] = field(default_factory=dict)
    size: int | tuple[int, int] = 1
    either: int | str | None = None


def test_nested_values_are_taken():
    given = {"count": 2e6, "path": None, "inner": {"rate": "2e-4", "pair": [0, 0.9]}, "several": {"a": {"rate": 3}}}
    expected = Outer(2_000_000, "one", None, False, Inner(2e-4, (0.0, 0.9)), {"a": Inner(3.0)})
    assert parse(Outer, given) == expected


@pytest.mark.parametrize(("given", "expected"), [
    ({"size": 64}, (64, None)), ({"size": [48, "64"]}, ((48, 64), None)), ({"either": 3}, (1, 3)),
    ({"either": "x"}, (1, "x")), ({"either": None}, (1, None)),
])  # fmt: skip
def test_a_value_may_be_of_several_types(given: dict[str, Any], expected: tuple[Any, Any]):
    parsed = parse(Outer, {"count": 1, **given})
    assert (parsed.size, parsed.either) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "run.count: missing; give a value of type int"),
        ({"count": 1, "cuont": 2}, "run.cuont: unknown key; did you mean 'count'"),
        ({"count": 1, "zzz": 2}, "run.zzz: unknown key; known: count, either, flag, inner, kind, path, several, size"),
        ({"count": 1.5}, "run.count: a whole number is needed, got 1.5"),
        ({"count": True}, "run.count: .* got True"),
        ({"count": "many"}, "run.count: a number is needed, got 'many'"),
        ({"count": 1, "kind": "tow"}, "run.kind: 'tow' is not a choice; did you mean 'two'"),
        ({"count": 1, "path": 3}, "run.path: a value of type str is needed, got 3"),
        ({"count": 1, "flag": "yes"}, "run.flag: a value of type bool is needed"),
        ({"count": 1, "inner": {"rate": -1}}, "run.inner.rate: must be above 0, got -1"),
        ({"count": 1, "inner": {"pair": [1]}}, "run.inner.pair: 2 values are needed"),
        ({"count": 1, "several": {"a": {"rat": 1}}}, "run.several.a.rat: unknown key; did you mean 'rate'"),
        ({"count": 1, "inner": 3}, "run.inner: a mapping is needed, got 3"),
        ({"count": 1, "size": [1, 2, 3]}, r"run.size: 2 values are needed, got \[1, 2, 3\]"),
        ({"count": 1, "size": [1, "x"]}, r"run.size\[1\]: a number is needed, got 'x'"),
        ({"count": 1, "size": 1.5}, "run.size: a whole number is needed, got 1.5"),
        ({"count": 1, "size": None}, "run.size: a number is needed, got None"),
        ({"count": 1, "either": 1.5}, "run.either: a value of type int or str is needed, got 1.5"),
        ({"count": 1, "either": [1]}, r"run.either: a value of type int or str is needed, got \[1\]"),
    ],
)
def test_refusals_name_the_key_and_the_remedy(given: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        parse(Outer, given, "run")

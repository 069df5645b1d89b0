"""What an evaluation says: in its metrics.json, and in the tags of a registered version."""

import json
import math
from typing import Any

from ganlib.metrics.comparison import Measured


def numbers_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What metrics.json holds of numbers with a floor and a noise; a class may be called `value`, too."""
    return {name: entry for name, entry in result.items()
            if name not in ("protocol", "class_shares") and isinstance(entry, dict) and "value" in entry}


def show(result: dict[str, Any]) -> str:
    """The table for people."""
    lines = [f"{'':32} {'value':>10} {'±':>10} {'floor':>10} {'untrained':>10}"]
    for name, entry in numbers_of(result).items():
        cells = (f"{entry[key]:>10.4g}" if key in entry else f"{'':>10}"
                 for key in ("value", "standard_error", "floor", "untrained"))
        lines.append(f"{name:32} {' '.join(cells)}".rstrip())
    if "class_shares" in result:
        lines.append("shares  " + ", ".join(f"{name} {share:.1%}" for name, share in result["class_shares"].items()))
    lines += [f"caution {caution}" for caution in result.get("cautions", [])]
    if result.get("failed"):
        lines.append(f"FAILED  {result['failed']}")
    return "\n".join(lines)


def of_tags(name: str, tags: dict[str, Any]) -> Measured:
    """What `pipelines.register` noted of a version; NaN, which is never better, where it noted no distance."""
    key = tags.get("choice", tags.get("distance", ""))  # older versions have one distance alone
    return Measured(name, number(tags.get(key)), tuple(json.loads(tags.get("left_out", "[]"))),
                    json.loads(tags.get("protocol", "{}")))


def number(value: Any) -> float:
    """What a tag says of a number; NaN where it says nothing."""
    return math.nan if value in (None, "None") else float(value)

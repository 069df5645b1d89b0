"""A table of evaluated generators, best first. Numbers of unequal protocols are refused.

    python -m pipelines.compare evaluation/metrics.json ../other/evaluation/metrics.json
    python -m pipelines.compare models:/ganlib-fashion_mnist/1 models:/ganlib-fashion_mnist/2
"""

import argparse
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ganlib.config import ConfigError
from ganlib.metrics.comparison import Measured, improvement
from pipelines import tracking

VERSION = re.compile(r"models:/([^/@]+)(?:/(\d+)|@(.+))")


def compare(places: list[str]) -> list[tuple[Measured, float, float]]:
    """The distances of some metrics.json or registered versions, smallest first; beside each how much smaller it is
    than the next, and the standard error of that (NaN for the last). ProtocolMismatch where they cannot be compared."""
    ranked = sorted(map(read, places), key=lambda measured: measured.value)
    gaps = [improvement(better, worse) for better, worse in itertools.pairwise(ranked)]
    return [(measured, *gap) for measured, gap in zip(ranked, [*gaps, (math.nan, math.nan)], strict=True)]


def read(place: str) -> Measured:
    """The distance that a metrics.json holds, or the tags of a registered version. ConfigError if there is none."""
    if match := VERSION.fullmatch(place):
        name, version, alias = match.groups()
        client = MlflowClient(tracking.store())
        try:
            tags = (client.get_model_version(name, version) if version
                    else client.get_model_version_by_alias(name, alias)).tags
        except MlflowException as error:
            raise ConfigError(f"{place}: {tracking.short(error)}") from None
        return of_tags(place, tags)
    path = Path(place)
    try:
        measured = json.loads(path.read_text())
        entry = measured[measured["distance"]]
        return Measured(place, entry["value"], _number(entry.get("standard_error")), measured["protocol"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place}: no evaluation here ({error!r}); name a metrics.json that `pipelines.evaluate` "
                          "wrote, or models:/<name>/<version>") from None


def of_tags(name: str, tags: dict[str, Any]) -> Measured:
    """What `pipelines.register` noted of a version; NaN, which is never better, where it noted no distance."""
    return Measured(name, _number(tags.get(tags.get("distance", ""))), _number(tags.get("standard_error")),
                    json.loads(tags.get("protocol", "{}")))


def _number(value: Any) -> float:
    return math.nan if value in (None, "None") else float(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="metrics.json or models:/name/version")
    try:
        ranked = compare(parser.parse_args().places)
    except ConfigError as error:
        raise SystemExit(f"compare: {error}") from None
    width = max(len(measured.name) for measured, _, _ in ranked)
    print(f"{'':{width}}  {ranked[0][0].protocol['distance']:>22}  better than the next by")
    for measured, gain, noise in ranked:
        value = f"{measured.value:.4g} ± {measured.standard_error:.2g}"
        gap = "" if math.isnan(gain) else f"{gain:.3g} ± {noise:.2g}"
        print(f"{measured.name:{width}}  {value:>22}  {gap}".rstrip())


if __name__ == "__main__":
    main()

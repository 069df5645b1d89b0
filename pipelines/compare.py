"""A table of evaluated generators, best first by the distance that they are chosen by; the one to report stands beside
it. Those of one protocol are compared with the noise of their difference; numbers of unequal protocols are refused.

    python -m pipelines.compare evaluation/metrics.json ../other/evaluation/metrics.json
    python -m pipelines.compare models:/ganlib-fashion_mnist/1 models:/ganlib-fashion_mnist/2
"""

import argparse
import itertools
import json
import math
import re
from pathlib import Path
from typing import NamedTuple

from mlflow.exceptions import MlflowException

from ganlib.config import ConfigError
from ganlib.metrics.comparison import Measured, improvement
from pipelines.command import command
from pipelines.evaluation.results import number, of_tags
from pipelines.runs import tracker as tracking

VERSION = re.compile(r"models:/([^/@]+)(?:/(\d+)|@(.+))")


class Ranked(NamedTuple):
    """A generator in the table."""

    measured: Measured  # the distance by which it was chosen
    reported: float  # the one of test images
    failed: bool  # not clearly better than before its training
    gain: float  # by how much it is better than the next; NaN for the last
    noise: float  # the standard error of that


def compare(places: list[str]) -> list[Ranked]:
    """Some metrics.json or registered versions, that of the smallest distance first, those without one last.
    ProtocolMismatch where they cannot be compared."""
    found = sorted(map(read, places), key=lambda one: (math.isnan(one.measured.value), one.measured.value))
    gaps = [improvement(better.measured, worse.measured) for better, worse in itertools.pairwise(found)]
    return [one._replace(gain=gain, noise=noise)
            for one, (gain, noise) in zip(found, [*gaps, (math.nan, math.nan)], strict=True)]


def read(place: str) -> Ranked:
    """What a metrics.json holds, or the tags of a registered version. ConfigError if there is none."""
    if match := VERSION.fullmatch(place):
        name, version, alias = match.groups()
        client = tracking.client(writes=False)
        try:
            tags = (client.get_model_version(name, version) if version
                    else client.get_model_version_by_alias(name, alias)).tags
        except MlflowException as error:
            raise ConfigError(f"{place}: {tracking.short(error)}") from None
        return Ranked(of_tags(place, tags), number(tags.get(tags.get("distance", ""))),
                      tags.get("failed", "no") != "no", math.nan, math.nan)
    path = Path(place)
    try:
        measured = json.loads(path.read_text())
        reported = measured[measured["distance"]]
        entry = measured[measured["choice"]] if "choice" in measured else reported  # folders have one distance alone
        return Ranked(Measured(place, entry["value"], tuple(entry.get("left_out", ())), measured["protocol"]),
                      reported["value"], measured.get("failed") is not None, math.nan, math.nan)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place}: no evaluation here ({error!r}); name a metrics.json that `pipelines.evaluate` "
                          "wrote, or models:/<name>/<version>") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", metavar="metrics.json or models:/name/version")
    with command("compare", "nothing was changed"):
        ranked = compare(parser.parse_args().places)
    width = max(len(one.measured.name) for one in ranked)
    protocol = ranked[0].measured.protocol
    print(f"{'':{width}}  {'to report':>10}  {'to choose by':>18}  better than the next by")
    for one in ranked:
        value = f"{one.measured.value:.4g} ± {one.measured.standard_error:.2g}"
        gap = "" if math.isnan(one.gain) else f"{one.gain:.3g} ± {one.noise:.2g}"
        failed = "  FAILED: not clearly better than untrained" if one.failed else ""
        print(f"{one.measured.name:{width}}  {one.reported:>10.4g}  {value:>18}  {gap:<23}{failed}".rstrip())
    print(f"{protocol['distance']}: to report, by real images of {protocol['real_split']}; to choose by, of "
          f"{protocol.get('chosen_by') or protocol['real_split']}; ±: standard error")


if __name__ == "__main__":
    main()

"""Stage register: model/ and its evaluation → a version of the model `ganlib-<dataset>` in MLflow's registry.

    python -m pipelines.register

The alias `champion` moves to it only if its distance to the validation split (`choice` in metrics.json; the one of
test images is for reports alone) is better under the same protocol, by more than `registry.standard_errors` times the
noise of their difference, and never to a generator that is not clearly better than an untrained one. A champion of
another protocol is measured again under the new one. Running it again registers nothing twice: a version is known by
the weights' SHA-256 together with the protocol.
"""

import functools
from pathlib import Path

import mlflow
from sqlalchemy.exc import SQLAlchemyError

from ganlib.config import ConfigError
from ganlib.files import write_json
from pipelines.command import command
from pipelines.evaluation.generator import measured_again
from pipelines.evaluation.registry import ALIAS, register
from pipelines.runs import tracker as tracking
from pipelines.runs.params import load

REGISTRATION = Path("registration.json")


def main() -> None:
    with command("register", "the same command completes what it began"):
        params = load()
        tracking.use(params.cluster.tracking_uri)
        try:
            result = register(standard_errors=params.registry.standard_errors,
                              again=functools.partial(measured_again, params.evaluation))
        except (mlflow.MlflowException, SQLAlchemyError) as error:
            raise ConfigError(f"the registry at {tracking.shown(tracking.store())} failed ({tracking.short(error)}); "
                              "when it can be reached, the same command completes what it began") from None
        write_json(REGISTRATION, result)
    verdict = ALIAS if result["champion"] else f"not {ALIAS}"
    print(f"{result['name']} version {result['version']}: {verdict}, {result['reason']}")


if __name__ == "__main__":
    main()

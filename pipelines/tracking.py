"""The journal of a run, and MLflow, which follows it.

    python -m pipelines.tracking runs/<name>    # send what could not be sent while the run went on

All that is logged is first a line of runs/<name>/journal.jsonl; what MLflow lacks is then sent to it. So a store that
cannot be reached costs nothing but one warning, a run that is resumed goes on in its MLflow run, and nothing is logged
twice. runs/<name>/mlflow.json holds how far the journal was sent to which store, and the run's id there. Where it is
lost, the run is known by the tag `journal`, and all is sent again, of which the store keeps one. Lines of the journal
that cannot be read are left out.

The store is the one that MLFLOW_TRACKING_URI names, or mlflow.db of the project.
"""

import argparse
from pathlib import Path

from ganlib.config import ConfigError, require
from pipelines.command import command
from pipelines.runs.tracker import JOURNAL, client, ended, send, short, shown, store


def _end(directory: Path, run: str) -> str:
    """What there is to say of the end of a run that was sent. Someone may have opened or closed it in MLflow."""
    if (status := ended(directory)) is None:
        return "; it has not ended: the command that began it goes on with it"
    if (there := client().get_run(run).info.status) == status:
        return ""
    client().set_terminated(run, status)
    return f", as {status}; before, it was {there} there"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="runs/<name>", help="without any, the store is made")
    runs = parser.parse_args().runs
    with command("tracking", "the same command sends the rest"):
        for directory in runs:
            require((directory / JOURNAL).exists(), f"{directory / JOURNAL} does not exist; name a run's directory")
        try:
            client()
            for directory in runs:
                if run := send(directory):
                    print(f"{directory}: all of it is in MLflow, run {run}{_end(directory, run)}")
                else:
                    print(f"{directory}: another process is sending it")
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{shown(store())} cannot be reached ({short(error)}); run this later") from None


if __name__ == "__main__":
    main()

"""Stage train: the run of params.yaml on Ray's workers → model/.

    python -m pipelines.train

The run's durable files lie in runs/<name>/, where the name holds a hash of all that its result depends on: parameters,
data and code. To resume after an interruption, run the same command again: it goes on from the last checkpoint.
"""

from ganlib.files import require_writable
from pipelines.command import command
from pipelines.runs import project
from pipelines.runs import tracker as tracking
from pipelines.runs.params import load
from pipelines.runs.project import MODEL, RUNS
from pipelines.runs.training import export, train


def main() -> None:
    with command("train", "the same command goes on from the last checkpoint"):
        project.enter()
        params = load()
        require_writable(MODEL, RUNS)
        tracking.use(params.cluster.tracking_uri)
        export(train(params), params.registry.checkpoint)


if __name__ == "__main__":
    main()

"""Ray Train's workers on one run: started, and started again when some of them are lost."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

from ganlib.config import ConfigError, require
from ganlib.files import write_text
from pipelines.command import first_line, shortage
from pipelines.runs.params import Cluster
from pipelines.runs.storage import filesystem
from pipelines.runs.worker import work

ERROR = "error.txt"  # in the run's directory: what Ray says of the workers that were lost last, tracebacks included


def fit(job: dict[str, Any], cluster: Cluster, name: str, callbacks: Sequence[Any] = ()) -> None:
    """Have `cluster.workers` of Ray's do `work(job)`, from the last checkpoint again where some are lost, at most
    `cluster.max_failures` times. `name`: of Ray's own notes in the run's directory.

    ConfigError, in one line, where that was not enough, or for what would be so again: a full disk, too little memory,
    a configuration that cannot be run. Ray's own counts are not used: to it a worker that dies as it begins is a fault
    that is never tried again, or else one that is tried for ever.
    """
    directory, lost = Path(job["directory"]), 0
    files, path = filesystem(job.get("storage") or str(directory))
    while True:
        require(directory.is_dir(), f"{directory}: the run's directory is not there any more")
        trainer = TorchTrainer(
            work,
            train_loop_config=job,
            scaling_config=ScalingConfig(
                num_workers=cluster.workers, use_gpu=cluster.gpus_per_worker > 0,
                resources_per_worker={"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker},
            ),
            # Ray keeps its own notes of an attempt there; the checkpoints are ours (ganlib.training.state).
            run_config=RunConfig(name=f"{name}-{lost}", storage_path=f"{path}/ray", storage_filesystem=files,
                                 failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),  # type: ignore[call-arg]
                                 callbacks=list(callbacks)),
        )
        try:
            interruptible(trainer.fit)
            return
        except (TrainingFailedError, RayError) as error:
            reasons = [getattr(reason, "_base_exc", reason) for reason in _reasons(error)]
            if any(isinstance(reason, WorkerGroupStartupTimeoutError) for reason in reasons):
                continue  # no room yet for all of them: waiting counts against nothing
            for reason in reasons:
                if isinstance(reason, ConfigError) or shortage(reason):
                    raise ConfigError(shortage(reason) or str(reason)) from None
            lost += 1
            said = first_line(reasons[0] if reasons else error).rstrip(".")
            if "OOM" in str(error):
                said += "; perhaps it was killed for want of memory"
            if directory.is_dir():
                with suppress(OSError):
                    write_text(directory / ERROR, f"{error}\n")
            if lost > cluster.max_failures:
                raise ConfigError(f"the workers were lost {lost} times, and cluster.max_failures is "
                                  f"{cluster.max_failures}; the last time: {said} (all of it: {directory / ERROR}). "
                                  "The same command goes on from the last checkpoint") from None
            print(f"train: a worker was lost ({said}); going on from the last checkpoint", flush=True)


def interruptible(work: Callable[[], Any]) -> None:
    """Ray Train takes Ctrl-C for itself in the main thread, and says nothing then: so it is given another one."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _reasons(error: Exception) -> list[BaseException]:
    """What the workers, or what was to start them, said; the first of a rank to fail comes first."""
    failure = getattr(error, "controller_failure", None)
    return [failure] if failure else list(getattr(error, "worker_failures", {}).values())

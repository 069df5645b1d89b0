"""The workflow around ganlib: its commands, one a file. The only code that knows Ray, MLflow, DVC and Hydra."""

import os
import signal
import sys
from types import FrameType

# Before Ray and MLflow are imported, which read these then. What the user has set wins.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A store that does not answer may hold up training for seconds, not for MLflow's 120 s times 8 tries.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def _end(number: int, frame: FrameType | None) -> None:
    name = sys.orig_argv[sys.orig_argv.index("-m") + 1].rpartition(".")[2]
    os.write(2, f"{name}: stopped by {signal.Signals(number).name} before it began\n".encode())
    os._exit(128 + number)


# A command's imports take seconds; until it begins (`pipelines.command`), it ends without a page of traceback.
if sys.argv[0] == "-m":
    for each, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(each) is usual:
            signal.signal(each, _end)

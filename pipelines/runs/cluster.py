"""Ray's cluster: the one that RAY_ADDRESS names, or one of this machine's cores for as long as it is needed."""

import logging
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from ganlib.config import ConfigError
from pipelines.command import first_line, shortage
from pipelines.runs.params import Cluster


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Connect to Ray, unless that is done, and see that `cluster` fits. ConfigError if it cannot be reached, or is too
    small and does not grow within `cluster.patience` seconds."""
    inner = ray.is_initialized()
    try:
        session = None if inner else _connect()
        require_room(cluster)
        yield
    finally:
        if not inner:
            ray.shutdown()
    if session is not None:
        shutil.rmtree(session, ignore_errors=True)


def _connect() -> Path | None:
    """Gives the directory of the logs, where the cluster is one for this program alone: of no use once that has ended
    well."""
    before = signal.getsignal(signal.SIGTERM)
    own = "RAY_ADDRESS" not in os.environ
    try:
        if match := re.fullmatch(r"(?:ray://)?([^/]+):(\d+)", os.environ.get("RAY_ADDRESS", "")):
            socket.create_connection((match[1], int(match[2])), timeout=10).close()  # Ray itself waits for minutes
        # With a dashboard Ray Train starts its workers seconds sooner; it stays on loopback.
        hook = None if own else {"worker_process_setup_hook": "pipelines.runs.network.use_interface"}
        context = ray.init(include_dashboard=own or None, logging_level=logging.ERROR, log_to_driver=False,
                           runtime_env=hook)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has taken it, to end without a word
        about: Any = context
        return Path(about.address_info["session_dir"]) if own else None
    except Exception as error:  # Ray raises what it likes
        if own:
            raise ConfigError(f"cluster: Ray did not start on this machine ({shortage(error) or first_line(error)}); "
                              "it needs some memory, and some space in the temporary directory") from None
        if "InvalidAuthToken" in f"{error} {error.__cause__}":
            raise ConfigError(f"cluster: RAY_ADDRESS={os.environ['RAY_ADDRESS']} asks for its token; set "
                              "RAY_AUTH_MODE=token, and have the token of its head in ~/.ray/auth_token") from None
        raise ConfigError(f"cluster: no Ray at RAY_ADDRESS={os.environ['RAY_ADDRESS']} ({str(error).splitlines()[0]}); "
                          "start one with `ray start --head`, or unset RAY_ADDRESS to use this machine alone") from None


def fitting(cluster: Cluster) -> int:
    """How many workers the nodes would hold, were they idle; each whole on one node."""
    each = _each(cluster)
    return sum(min(int(node["Resources"].get(kind, 0) / amount + 1e-9) for kind, amount in each.items())
               for node in ray.nodes() if node["Alive"])


def require_room(cluster: Cluster) -> None:
    """ConfigError if Ray's nodes do not hold all the workers, nor in `cluster.patience` seconds."""
    end = time.monotonic() + (cluster.patience if "RAY_ADDRESS" in os.environ else 0)
    while (held := fitting(cluster)) < cluster.workers:
        if time.monotonic() > end:
            there, each = ray.cluster_resources(), _each(cluster)
            needed = " and ".join(f"{amount * cluster.workers:g} {kind}s" for kind, amount in each.items())
            has = " and ".join(f"{there.get(kind, 0):g}" for kind in each)
            raise ConfigError(f"cluster: {cluster.workers} workers need {needed}, and Ray has {has}, in nodes that "
                              f"hold {held} of them; lower cluster.workers, cluster.cpus_per_worker or "
                              "cluster.gpus_per_worker, or add nodes")
        time.sleep(1)


def _each(cluster: Cluster) -> dict[str, float]:
    amounts = {"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker}
    return {kind: amount for kind, amount in amounts.items() if amount}

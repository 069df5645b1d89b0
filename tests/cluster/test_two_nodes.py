"""Training on two nodes of a network: Ray's head in one network namespace, a second node in another, a cable between
them. They share the disk, as nodes do that see the project's directory."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.pipelines.test_train import finish, set_up, train, until_checkpoint, weights

ROOT = Path(__file__).parents[2]
HEAD, SECOND = "10.77.0.1", "10.77.0.2"
# Ray notices a node that does not answer after threshold × (period + timeout): 10 s here, 65 s if nothing is set.
NOTICE = {"RAY_health_check_initial_delay_ms": "2000", "RAY_health_check_period_ms": "1000",
          "RAY_health_check_timeout_ms": "1000", "RAY_health_check_failure_threshold": "5"}  # fmt: skip

pytestmark = [
    pytest.mark.slow, pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]  # fmt: skip


class Network:
    """Two network namespaces and a cable; nothing else is reached from them."""

    def __init__(self, directory: Path) -> None:
        self.names = {address: f"ganlib-{os.getpid()}-{address[-1]}" for address in (HEAD, SECOND)}
        self.directory = directory
        (directory / "token").write_text("0" * 64)
        self.environment = os.environ | NOTICE | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(directory / "token"), "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        }  # fmt: skip

    def connect(self) -> None:
        first, second = self.names.values()
        for name in (first, second):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "cable", "netns", first, "type", "veth", "peer", "name", "cable", "netns", second)
        for address, name in self.names.items():
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")

    def remove(self) -> None:
        for address, name in self.names.items():
            for pid in self.processes(address):
                os.kill(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name])

    def cable(self, state: str) -> None:
        ip("-n", self.names[SECOND], "link", "set", "cable", state)

    def start(self, address: str, *command: str, **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(["ip", "netns", "exec", self.names[address], *command], text=True,
                                **({"env": self.environment} | options))  # type: ignore[call-overload]

    def node(self, address: str, *options: str) -> subprocess.Popen[str]:
        """A Ray node of one CPU, once it runs."""
        log = self.directory / f"node-{time.monotonic()}.log"
        with log.open("w") as file:
            node = self.start(address, "ray", "start", "--block", "--num-cpus=1", "--object-store-memory=100000000",
                              f"--node-ip-address={address}", *options, stdout=file, stderr=file)  # fmt: skip
        while "Ray runtime started" not in log.read_text():
            assert node.poll() is None, log.read_text()
            time.sleep(0.1)
        return node

    def processes(self, address: str) -> list[int]:
        listed = ip("netns", "pids", self.names[address])
        return [int(pid) for pid in listed.split()]

    def training_workers(self, address: str) -> int:
        titles = [Path(f"/proc/{pid}/cmdline") for pid in self.processes(address)]
        return sum("RayTrainWorker" in title.read_text() for title in titles if title.exists())


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    network = Network(tmp_path)
    try:
        network.connect()
        yield network
    finally:
        network.remove()


@contextmanager
def short_directory() -> Iterator[str]:
    """Where Ray's sockets lie: their names have to be short."""
    directory = tempfile.mkdtemp(prefix="r", dir="/tmp")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_a_node_that_is_cut_off_comes_back_and_the_result_is_that_of_one_machine(network: Network, tmp_path: Path):
    undisturbed = set_up(make(tmp_path / "undisturbed"))
    finish(train(undisturbed))

    project = set_up(make(tmp_path / "project"))
    environment = network.environment | {"RAY_ADDRESS": f"{HEAD}:6379",
                                         "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}  # fmt: skip
    with short_directory() as sockets:
        network.node(HEAD, "--head", "--port=6379", f"--temp-dir={sockets}")
        second = network.node(SECOND, f"--address={HEAD}:6379")
        driver = network.start(HEAD, sys.executable, "-m", "pipelines.train", cwd=project, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        until_checkpoint(project, driver)
        assert [network.training_workers(address) for address in (HEAD, SECOND)] == [1, 1]
        network.cable("down")
        while network.training_workers(HEAD):  # until Ray has noticed, and stopped the worker that waits for the other
            assert driver.poll() is None, driver.communicate()[0]
            time.sleep(0.1)
        before = len(list(project.glob("runs/*/checkpoints/*.json")))
        network.cable("up")
        second.wait()  # it is told that it counts as dead, and ends
        network.node(SECOND, f"--address={HEAD}:6379")
        output = finish(driver)

    assert before < 10, "the run was over before it was disturbed"
    assert torch.equal(weights(project), weights(undisturbed)), output
    journal = next(project.glob("runs/*/journal.jsonl")).read_text().splitlines()
    logged = [record["images_seen"] for record in map(json.loads, journal) if "G/loss" in record.get("metrics", ())]
    assert logged == list(range(320, 6401, 320))  # nothing lost, nothing twice


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory

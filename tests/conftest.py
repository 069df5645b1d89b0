"""One thread: many small tests, few cores. And helpers that several tests share."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # optimizers import it on first use, which takes each forked worker seconds

torch.set_num_threads(1)


@pytest.fixture
def on_workers(tmp_path: Path) -> Callable[..., list[Any]]:
    """`on_workers(function, count)` runs `function(rank)` on `count` gloo processes and gives their results; with
    `dies=True` they are expected to be killed."""
    calls = 0

    def run(function: Callable[[int], Any], count: int, dies: bool = False) -> list[Any]:
        nonlocal calls
        calls += 1
        meeting = tmp_path / f"meeting-{calls}"
        context = torch.multiprocessing.get_context("fork")
        processes = [context.Process(target=_worker, args=(function, rank, count, meeting)) for rank in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            if process.is_alive():  # it waits for a worker that is gone
                process.kill()
                process.join()
        if dies:
            assert any(process.exitcode == -signal.SIGKILL for process in processes)
            return []
        assert [process.exitcode for process in processes] == [0] * count
        return [torch.load(f"{meeting}-{rank}.pt", weights_only=True) for rank in range(count)]

    return run


def _worker(function: Callable[[int], Any], rank: int, count: int, meeting: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=count)
    try:
        torch.save(function(rank), f"{meeting}-{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()

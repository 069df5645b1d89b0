"""The closed forms of the model of workers, what it counts, and that sweep and store are measured on what they say."""

import dataclasses
import math
import sqlite3
from collections.abc import Callable

import pytest

from benchmarks import scale
from benchmarks.scale import (
    FABRICS,
    SETTINGS,
    Fabric,
    Move,
    after,
    all_reduce,
    counted,
    efficiency,
    enough,
    fill,
    moves_of,
    overlapped,
    ring,
    search,
    serving,
    stylegan2,
    sweep,
    write_rows,
    write_runs,
    writers,
)
from ganlib.condition import NOTHING
from ganlib.training.run import Run

COUNTS = (1, 8, 16, 64, 512)
ADDED = (after, overlapped)
NETWORKS = {"name": "dcgan", "width": 4, "latent": 10}
FLAT = Fabric("one GPU a machine", 1, math.inf, 1e9, outside_latency=1e-5)


def test_a_ring_sends_nearly_twice_the_bytes_in_twice_n_hops():
    assert ring(1e9, 1, 1e9, 1.0) == 0
    assert ring(1e9, 2, 1e9, 0.0) == pytest.approx(1.0)
    assert ring(1e9, 10**6, 1e9, 0.0) == pytest.approx(2.0, rel=1e-5)
    assert ring(0, 5, 1e9, 1e-3) == pytest.approx(8e-3)


def test_between_nodes_each_gpu_carries_its_part_alone():
    nodes = Fabric("nodes of 4", 4, math.inf, 1e9, inside_latency=0.0, outside_latency=0.0)
    assert all_reduce(1e9, 4, nodes) == 0
    assert all_reduce(1e9, 8, nodes) == pytest.approx(ring(0.25e9, 2, 1e9, 0.0))
    assert all_reduce(1e9, 6, FLAT) == ring(1e9, 6, FLAT.outside, FLAT.outside_latency)
    with pytest.raises(ValueError, match="6 GPUs do not fill nodes of 4"):
        all_reduce(1e9, 6, nodes)


@pytest.mark.parametrize("fabric", FABRICS, ids=lambda fabric: fabric.name)
@pytest.mark.parametrize("added", ADDED)
def test_efficiency_is_one_for_one_worker_and_falls_with_their_number(fabric: Fabric, added: Callable[..., float]):
    found = [efficiency(stylegan2(8), n, fabric, added) for n in COUNTS]
    assert found[0] == 1
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 1


@pytest.mark.parametrize("fabric", FABRICS, ids=lambda fabric: fabric.name)
def test_overlapping_never_costs_and_larger_batches_always_help(fabric: Fabric):
    for n in COUNTS[1:]:
        found = [[efficiency(stylegan2(batch), n, fabric, added) for batch in (1, 8, 64)] for added in ADDED]
        assert found[0] == sorted(found[0]) and found[1] == sorted(found[1])
        assert all(late < overlap for late, overlap in zip(*found, strict=True))


def test_what_takes_as_long_as_the_compute_halves_the_efficiency():
    at_once = dataclasses.replace(FLAT, outside_latency=0.0)
    compute = after(Move(1e8, 0.0, 0.0), 8, at_once)
    assert efficiency([Move(1e8, compute / 3, compute * 2 / 3)], 8, at_once, after) == pytest.approx(0.5)
    rare = [Move(0.0, compute, 0.0), Move(1e8, 0.0, 0.0, often=1 / 4)]
    assert efficiency(rare, 8, at_once, after) == pytest.approx(0.8)


def test_the_last_bucket_cannot_be_hidden_and_without_a_backward_pass_nothing_can():
    assert overlapped(Move(1e8, 1.0, 0.0), 8, FLAT) == all_reduce(1e8, 8, FLAT)
    assert overlapped(Move(1e8, 0.0, 1e3), 8, FLAT) == all_reduce(1e8 / 32, 8, FLAT)


def test_what_the_backward_pass_is_too_short_for_comes_after_it():
    at_once = dataclasses.replace(FLAT, outside_latency=0.0)
    whole = all_reduce(1e8, 8, at_once)  # the first of 32 buckets is ready after a 32nd of the pass
    assert overlapped(Move(1e8, 0.0, whole / 2), 8, at_once) == pytest.approx(whole * (1 - 31 / 64))


def test_enough_is_the_smallest_power_of_two():
    for n in (8, 64):
        batch = enough(stylegan2, n, FABRICS[0], after)
        assert batch is not None and math.log2(batch).is_integer()
        assert efficiency(stylegan2(batch), n, FABRICS[0], after) >= 0.9
        assert efficiency(stylegan2(batch // 2), n, FABRICS[0], after) < 0.9
    assert enough(lambda batch: [Move(1e15, 0.0, 0.0)], 64, FABRICS[0], after) is None


def test_bytes_are_those_of_the_gradients_and_a_few_scalars():
    networks = Run(NETWORKS).build_networks((3, 16, 16), NOTHING)
    phases = counted(NETWORKS, {"name": "two_player"}, 16)
    for phase, role in zip(phases, ("discriminator", "generator"), strict=True):
        scalars, rest = divmod(phase.size - 4 * sum(p.numel() for p in networks[role].parameters()), 4)
        assert rest == 0 and 1 <= scalars < 10


def test_operations_are_counted_per_image_and_by_pass():
    small, large = (counted(NETWORKS, {"name": "two_player"}, 16, batch) for batch in (4, 16))
    for few, many in zip(small, large, strict=True):
        assert (few.forward, few.backward) == pytest.approx((many.forward, many.backward))
    discriminator, generator = large
    # D sees twice as many images as G makes. Its weights need no gradients in G's move, the images there do.
    assert discriminator.forward > generator.forward > 0
    assert generator.backward > generator.forward
    move = moves_of([generator], 10**6)[0]
    assert move.backward / move.forward == pytest.approx(generator.backward / generator.forward)


def test_failed_calls_are_counted_by_their_message(monkeypatch: pytest.MonkeyPatch):
    from mlflow import MlflowClient

    def fails(*arguments: object, **options: object) -> None:
        raise RuntimeError("database is locked")

    with serving("sqlite", 1) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setattr(scale, "_start_together", lambda: None, raising=False)
        monkeypatch.setattr(MlflowClient, "log_batch", fails)
        for written in (write_rows(0.2, 20), write_runs(0.2)):
            assert written.count == 0
            assert list(written.errors) == ["database is locked"] and written.errors.total() >= 1


@pytest.mark.slow
def test_what_several_processes_write_is_in_the_store():
    with serving("sqlite", 1) as uri:
        with writers(uri, 2) as at_once:
            rows, runs = at_once(write_rows, 1.0, 100), at_once(write_runs, 1.0)
        with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
            counts = [database.execute(f"select count(*) from {table}").fetchone()[0] for table in ("metrics", "runs")]
    assert not any(part.errors for part in (*rows, *runs))
    finished = sum(part.count for part in runs)
    assert finished > 0
    assert counts == [sum(part.count for part in rows) + 100 * finished, 2 + finished]


@pytest.mark.slow
def test_a_table_of_runs_is_found_as_it_was_filled():
    with serving("sqlite", 1) as uri:
        fill(uri, 0, 70)
        fill(uri, 70, 150)
        found = {what: count for what, (_, count) in search(uri).items()}
    assert found["100 newest"] == found["100 best of the sweep"] == 100
    assert found["all of the sweep"] == 150


@pytest.mark.slow
@pytest.mark.parametrize("setting, files", [("reuse", True), ("all", False)])
def test_a_sweep_of_empty_trials_runs(setting: str, files: bool):
    found = sweep(SETTINGS[setting], 4)
    assert (found.trials, found.failed) == (4, 0)
    assert (found.files > 0) == files
    assert found.saves and found.state > 0 and found.stored >= found.state

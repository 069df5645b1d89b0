import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

from pipelines.runs import tracker as tracking
from pipelines.runs.tracker import Tracker
from pipelines.tracking import main


@pytest.fixture
def store(empty_store, tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(tracking, "SEND_EVERY", 0.0)
    return uri


@pytest.fixture
def closed():
    """An address at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}"


def tracker(directory, **changes):
    options = {"experiment": "toys", "run_name": "one", "params": {"training": {"images": 5, "lr": []}}}
    return Tracker(directory, **options | {"tags": {"dataset": "toy"}} | changes)


def runs(client):
    return client.search_runs([client.get_experiment_by_name("toys").experiment_id])


def curve(client, run, name):
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run, name))


def test_what_is_logged_arrives(store, tmp_path):
    run = tmp_path / "runs" / "a"
    logged = tracker(run)
    for seen in (64, 128):
        logged.log(seen, {"D/loss": seen / 2, "G/loss": -1.0})
    (run / "snapshots").mkdir()
    (run / "snapshots" / "x.png").write_bytes(b"picture")
    logged.artifact("snapshots/x.png", "grids")
    logged.finish()
    client = MlflowClient(store)
    (there,) = runs(client)
    assert there.info.run_id == tracking.run_id(run) and there.info.run_name == "one"
    assert there.info.status == "FINISHED" and there.data.tags["dataset"] == "toy"
    assert there.data.params == {"training.images": "5", "training.lr": "[]"}
    assert curve(client, there.info.run_id, "D/loss") == [(64, 32), (128, 64)]
    assert [file.path for file in client.list_artifacts(there.info.run_id, "grids")] == ["grids/x.png"]
    assert there.info.artifact_uri.startswith(f"file://{tmp_path}/mlartifacts/")


def names(run):
    """Of the metrics, in the order in which they are logged."""
    return [(name, record["images_seen"]) for record in tracking._records(run) for name in record.get("metrics", ())]


def test_the_metric_by_which_runs_are_compared_comes_first(store, tmp_path):
    run = tmp_path / "run"
    logged = tracker(run, first="distance")
    logged.log(64, {"loss": 3.0})
    logged.log(128, {"loss": 2.0, "accuracy": 0.5})
    assert names(run) == []
    logged.log(128, {"distance": 9.0})
    logged.log(192, {"loss": 1.0})
    assert names(run) == [("distance", 128), ("loss", 64), ("loss", 128), ("accuracy", 128), ("loss", 192)]
    logged.finish()
    (there,) = runs(MlflowClient(store))
    assert next(iter(there.data.metrics)) == "distance" and curve(MlflowClient(store), there.info.run_id, "loss") == [
        (64, 3.0), (128, 2.0), (192, 1.0)]  # fmt: skip
    resumed = tracker(run, first="distance")
    resumed.log(256, {"loss": 0.5})  # it has come: nothing waits
    assert names(run)[-1] == ("loss", 256)


@pytest.mark.parametrize("end", [Tracker.release, Tracker.finish])
def test_what_waits_for_a_metric_that_does_not_come_is_logged_in_the_end(end, store, tmp_path):
    logged = tracker(tmp_path / "run", first="distance")
    logged.log(64, {"loss": 3.0})
    end(logged)
    logged.log(128, {"loss": 2.0})
    assert names(tmp_path / "run") == [("loss", 64), ("loss", 128)]


def test_a_resumed_run_goes_on_in_the_same_mlflow_run_and_repeats_nothing(store, tmp_path):
    logged = tracker(tmp_path / "run")
    for seen in (1, 2, 3):
        logged.log(seen, {"loss": 10.0 * seen})
    resumed = tracker(tmp_path / "run", params={"training": {"images": 6}})  # goes on from the checkpoint at 1
    for seen in (2, 3, 4):
        resumed.log(seen, {"loss": 10.0 * seen, "late": 1.0})
    resumed.finish()
    client = MlflowClient(store)
    (there,) = runs(client)
    assert curve(client, there.info.run_id, "loss") == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert curve(client, there.info.run_id, "late") == [(2, 1), (3, 1), (4, 1)]
    assert there.data.params["training.images"] == "5"
    assert tracking.history(tmp_path / "run")[1] == {"images_seen": 2, "loss": 20.0, "late": 1.0}
    tracker(tmp_path / "run")
    assert client.get_run(there.info.run_id).info.status == "RUNNING"


def test_a_store_that_is_away_costs_one_warning_and_gets_all_later(store, closed, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed)
    assert tracking.open_store("toys") is None
    caplog.clear()
    logged = tracker(tmp_path / "run")
    for seen in range(100):
        logged.log(seen, {"loss": float(seen)})
    logged.finish()
    (warning,) = [record.message for record in caplog.records if record.name == "pipelines.runs.tracker"]
    assert "Training goes on" in warning and f"python -m pipelines.tracking {tmp_path / 'run'}" in warning
    assert len(tracking.history(tmp_path / "run")) == 100
    monkeypatch.setattr(sys, "argv", ["tracking", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match=r"127\.0\.0\.1.*cannot be reached"):
        main()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    main()
    main()  # a second time sends nothing
    client = MlflowClient(store)
    (there,) = runs(client)
    assert there.info.status == "FINISHED"
    assert curve(client, there.info.run_id, "loss") == [(seen, float(seen)) for seen in range(100)]


def test_a_store_that_comes_back_is_noticed(store, closed, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "RETRY_AFTER", (0.01, 0.01))
    logged = tracker(tmp_path / "run")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed)
    logged.log(1, {"loss": 1.0})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    time.sleep(0.02)
    logged.log(2, {"loss": 2.0})
    client = MlflowClient(store)
    assert curve(client, runs(client)[0].info.run_id, "loss") == [(1, 1), (2, 2)]
    messages = [record.message for record in caplog.records if record.name == "pipelines.runs.tracker"]
    assert len(messages) == 2 and "cannot be reached" in messages[0] and "is reached again" in messages[1]


def test_between_tries_of_a_store_that_is_away_nothing_is_tried(store, closed, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed)
    logged = tracker(tmp_path / "run")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)  # within reach, but the first pause is not over
    logged.log(1, {"loss": 1.0})
    assert MlflowClient(store).get_experiment_by_name("toys") is None
    logged.finish()
    assert len(runs(MlflowClient(store))) == 1


@pytest.mark.parametrize("how", ["run", "store"])
def test_a_run_that_was_deleted_in_mlflow_is_made_anew(store, empty_store, tmp_path, how):
    logged = tracker(tmp_path / "run")
    logged.log(1, {"loss": 1.0})
    client = MlflowClient(store)
    if how == "run":
        client.delete_run(tracking.run_id(tmp_path / "run"))
    else:
        (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    logged.log(2, {"loss": 2.0})
    (there,) = runs(client)
    assert curve(client, there.info.run_id, "loss") == [(1, 1), (2, 2)]


def write_on(directory, ready):
    logged = tracker(directory)
    for seen in range(1_000_000):
        logged.log(seen, {"loss": float(seen)})
        if seen == 200:
            ready.set()


def test_a_kill_in_mid_write_loses_no_line_and_doubles_none(store, closed, tmp_path, monkeypatch):
    run = tmp_path / "run"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=write_on, args=(run, ready))
    process.start()
    assert ready.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    before = len(tracking.history(run))
    with (run / tracking.JOURNAL).open("a") as file:
        file.write('{"time": 1, "images_se')  # a kill between two pieces of a line
    assert tracking.last(run)[0] == before - 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    resumed = tracker(run)
    for seen in range(before - 100, before + 10):
        resumed.log(seen, {"loss": float(seen)})
    resumed.finish()
    client = MlflowClient(store)
    assert [json.loads(line)["time"] for line in (run / tracking.JOURNAL).read_text().splitlines()]
    steps = [metric.step for metric in client.get_metric_history(runs(client)[0].info.run_id, "loss")]
    assert sorted(steps) == list(range(before + 10))


def test_a_lost_note_of_what_was_sent_doubles_no_metric(store, tmp_path):
    """As after a kill between sending and noting it: the store recognises the same metric of the same time."""
    logged = tracker(tmp_path / "run")
    logged.log(1, {"loss": 1.0})
    note = tmp_path / "run" / tracking.STATE
    before = note.read_text()
    logged.log(2, {"loss": 2.0})
    note.write_text(before)
    logged.log(3, {"loss": 3.0})
    client = MlflowClient(store)
    assert curve(client, runs(client)[0].info.run_id, "loss") == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("content", [None, "", "\0\0\0", "[]", '{"sqlite": {}}', "here"])
def test_a_lost_or_damaged_note_makes_no_second_run(store, tmp_path, content):
    logged = tracker(tmp_path / "run")
    for seen in (1, 2):
        logged.log(seen, {"loss": 1.0 * seen, "nan": float("nan")})
    (tmp_path / "run/x.png").write_bytes(b"picture")
    logged.artifact("x.png")
    logged.finish()
    note = tmp_path / "run" / tracking.STATE
    if content is None:
        note.unlink()
    else:
        note.write_text(json.dumps({store: 5}) if content == "here" else content)
    resumed = tracker(tmp_path / "run")
    resumed.log(3, {"loss": 3.0})
    resumed.finish()
    client = MlflowClient(store)
    (there,) = runs(client)
    assert curve(client, there.info.run_id, "loss") == [(1, 1), (2, 2), (3, 3)] and there.info.status == "FINISHED"
    assert len(client.get_metric_history(there.info.run_id, "nan")) == 2
    assert there.info.run_id == tracking.run_id(tmp_path / "run")


def test_two_runs_of_one_name_are_two(store, tmp_path):
    tracker(tmp_path / "a"), tracker(tmp_path / "b")
    assert len(runs(MlflowClient(store))) == 2


@pytest.mark.parametrize("damage", [
    b"\0" * 40, b'{"time": 1, "images_seen": 2, "met', b"[1]", b"5", b"\xff\xfe", b"", b"[" * 10_000,
    b'{"time": 1, "metrics": {"loss": 2}}', b'{"images_seen": 2, "metrics": {"loss": 2}}',
    b'{"time": 1, "images_seen": 2, "metrics": {"loss": "x"}}', b'{"time": 1, "start": {}}',
    b'{"time": 1, "status": "BROKEN"}', b'{"time": 1, "tags": 3}'])
def test_lines_that_cannot_be_read_are_left_out_and_said_once(store, tmp_path, damage, caplog):
    logged = tracker(tmp_path / "run")
    for seen in (1, 2, 3):
        logged.log(seen, {"loss": float(seen)})
    journal = tmp_path / "run" / tracking.JOURNAL
    lines = journal.read_bytes().split(b"\n")
    lines[2] = damage
    journal.write_bytes(b"\n".join([*lines[:-1], damage, b""]))
    assert tracking.last(tmp_path / "run") == (3, {"loss": 3.0})
    (tmp_path / "run" / tracking.STATE).unlink()
    MlflowClient(store).delete_run(runs(MlflowClient(store))[0].info.run_id)
    resumed = tracker(tmp_path / "run")
    resumed.log(4, {"loss": 4.0})
    assert resumed.flush()
    (said,) = caplog.messages
    assert "journal.jsonl: 2 of 5 lines cannot be read" in said
    client = MlflowClient(store)
    (there,) = runs(client)
    assert curve(client, there.info.run_id, "loss") == [(1, 1), (3, 3), (4, 4)]
    assert [row["images_seen"] for row in tracking.history(tmp_path / "run")] == [1, 3, 4]


def test_a_journal_that_lost_its_beginning_gets_another(store, tmp_path, monkeypatch):
    logged = tracker(tmp_path / "run")
    logged.log(1, {"loss": 1.0})
    journal = tmp_path / "run" / tracking.JOURNAL
    journal.write_bytes(b"\0" + journal.read_bytes()[1:])
    (tmp_path / "run" / tracking.STATE).unlink()
    monkeypatch.setattr(sys, "argv", ["tracking", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match=r"journal\.jsonl: how the run began cannot be read"):
        main()
    tracker(tmp_path / "run").finish()
    assert sorted(run.data.metrics.get("loss") for run in runs(MlflowClient(store))) == [1, 1]  # the old one, and this


def test_a_journal_that_is_lost_whole_goes_on_in_the_same_run(store, tmp_path):
    tracker(tmp_path / "run").log(1, {"loss": 1.0})
    (tmp_path / "run" / tracking.JOURNAL).unlink()
    logged = tracker(tmp_path / "run")
    logged.log(2, {"loss": 2.0})
    logged.finish()
    client = MlflowClient(store)
    (there,) = runs(client)
    assert curve(client, there.info.run_id, "loss") == [(1, 1), (2, 2)] and there.info.status == "FINISHED"


def test_how_a_run_ended_is_known_and_mended_in_mlflow(store, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    assert tracking.ended(run) is None
    logged = tracker(run)
    monkeypatch.setattr(sys, "argv", ["tracking", str(run)])
    main()
    assert tracking.ended(run) is None and "it has not ended" in capsys.readouterr().out
    logged.finish("FAILED")
    assert tracking.ended(run) == "FAILED"
    tracker(run)
    assert tracking.ended(run) is None
    logged.finish()
    assert tracking.ended(run) == "FINISHED"
    client = MlflowClient(store)
    client.update_run(tracking.run_id(run), status="RUNNING")
    main()
    assert "as FINISHED; before, it was RUNNING there" in capsys.readouterr().out
    assert client.get_run(tracking.run_id(run)).info.status == "FINISHED"


def test_without_a_run_the_store_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    monkeypatch.setattr(sys, "argv", ["tracking"])
    main()
    assert [found.name for found in MlflowClient(f"sqlite:///{tmp_path}/new.db").search_experiments()] == ["Default"]


def test_only_one_process_sends_a_journal_at_a_time(store, tmp_path):
    tracker(tmp_path / "run")
    with tracking._alone(tmp_path / "run") as alone:
        assert alone and tracking.send(tmp_path / "run") is None
    assert tracking.send(tmp_path / "run") == tracking.run_id(tmp_path / "run")


def test_a_file_that_is_gone_holds_up_nothing(store, tmp_path):
    logged = tracker(tmp_path / "run")
    logged.artifact("lost.png")
    logged.log(1, {"loss": 1.0})
    (there,) = runs(MlflowClient(store))
    assert there.data.tags["missing_artifact"] == "lost.png" and there.data.metrics == {"loss": 1.0}


def test_a_name_that_mlflow_would_refuse_is_refused_at_once(store, tmp_path):
    with pytest.raises(ValueError, match="'D/loss%' is no name for a metric"):
        tracker(tmp_path / "run").log(1, {"D/loss%": 1.0})


def test_last_and_history_of_no_journal(tmp_path):
    assert tracking.last(tmp_path) is None and tracking.history(tmp_path) == []


def test_the_password_of_a_store_is_not_shown(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    tracker(tmp_path / "run").finish()
    assert "127.0.0.1:9" in caplog.text and "secret" not in caplog.text
    assert not any("secret" in path.read_text() for path in (tmp_path / "run").iterdir())


@pytest.mark.slow
def test_open_store_makes_a_new_store_that_processes_can_use_at_once(tmp_path):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/new.db"}
    subprocess.run([sys.executable, "-c", "from pipelines.runs.tracker import open_store; assert open_store('toys')"],
                   env=environment, check=True)
    script = """
import sys
from pathlib import Path
from pipelines.runs.tracker import Tracker
logged = Tracker(Path(sys.argv[1]), "toys", "one", {}, {})
logged.log(1, {"loss": 1.0})
logged.finish()
"""
    started = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path / name)], env=environment) for name in "ab"]
    assert [process.wait() for process in started] == [0, 0]
    client = MlflowClient(environment["MLFLOW_TRACKING_URI"])
    assert [run.info.status for run in runs(client)] == ["FINISHED"] * 2


def test_reporting_of_usage_is_off():
    names = ("RAY_USAGE_STATS_ENABLED", "MLFLOW_DISABLE_TELEMETRY")
    script = f"import os, pipelines; print(*map(os.environ.get, {names}))"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    printed = subprocess.check_output([sys.executable, "-c", script], env=clean, text=True)
    assert printed.split() == ["0", "true"]

import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from ganlib.config import ConfigError
from pipelines.runs import database
from pipelines.runs import tracker as tracking
from pipelines.tracking import main

HOLD = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('begin exclusive'); print(flush=True); input()"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Of a database that is not there yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path / "mlflow.db"


@pytest.fixture
def made(path, empty_store):
    path.write_bytes(empty_store.read_bytes())
    return path


def forked(function, *arguments):
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def opens(ready=None):
    if ready:
        ready.wait()
    assert tracking.open_store("toys")


def works(path):
    experiment = tracking.open_store("toys")
    run = tracking.client().create_run(experiment)
    assert [run.info.run_id] == [found.info.run_id for found in tracking.client().search_runs([experiment])]
    assert sorted(file.name for file in path.parent.glob("*mlflow.db*")) == ["mlflow.db", "mlflow.db.lock"]
    return True


@pytest.mark.slow
def test_killed_while_it_is_made_it_is_made_the_next_time(path):
    """At moments spread over the second or two that it takes; some kills come before, and some after."""
    chance, began = random.Random(0), time.monotonic()
    opens()
    takes, left_something = time.monotonic() - began, 0
    for attempt in range(8):
        for file in path.parent.glob("*mlflow.db*"):
            file.unlink()
        process = forked(opens)
        time.sleep(takes * (attempt + chance.random()) / 8)
        process.kill()
        process.join()
        left_something += any(path.parent.glob(".mlflow.db.*"))
        assert works(path), attempt
    assert left_something, "no kill came while it was made"


def test_two_first_uses_at_once_both_succeed(path):
    ready = multiprocessing.get_context("fork").Event()
    processes = [forked(opens, ready) for _ in range(3)]
    ready.set()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0] and works(path)


@pytest.mark.parametrize("how", ["empty", "half", "half and a journal"])
def test_what_an_older_revision_left_half_made_is_made_anew(path, empty_store, how):
    """MLflow makes its database in place."""
    if how == "empty":
        path.touch()
    else:
        path.write_bytes(empty_store.read_bytes())
        with sqlite3.connect(path) as half:
            half.execute("DELETE FROM experiments")
            half.execute("CREATE TABLE _alembic_tmp_experiments (id INTEGER)")
            half.execute("DROP TABLE latest_metrics")
    if how == "half and a journal":
        path.with_name("mlflow.db-journal").write_bytes(b"\0" * 512)
    assert works(path)


def test_removed_or_replaced_while_a_process_uses_it_it_is_made_anew(made):
    tracking.open_store("toys")
    made.unlink()
    assert works(made)


def test_a_full_disk_leaves_nothing(path):
    """In a process that may write no file of more than 400 kB."""
    limited = ("import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
               "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)); "
               "from pipelines.runs.tracker import open_store; assert open_store('toys') is None")
    finished = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True)
    assert finished.returncode == 0 and "disk" in finished.stderr
    assert [file.name for file in path.parent.glob("*mlflow.db*")] == ["mlflow.db.lock"] and works(path)


@pytest.mark.parametrize("how", ["garbage", "cut", "without its experiments", "of another program"])
def test_a_damaged_one_is_one_line_with_what_to_do_and_stays_as_it_is(made, how, caplog):
    tracking.client().create_run("0")
    if how == "garbage":
        made.write_bytes(b"garbage " * 1000)
    elif how == "cut":
        os.truncate(made, made.stat().st_size // 2)
    elif how == "without its experiments":
        with sqlite3.connect(made) as damaged:
            damaged.execute("DROP TABLE experiments")
    else:
        made.unlink()
        with sqlite3.connect(made) as other:
            other.execute("CREATE TABLE songs (name TEXT)")
            other.execute("INSERT INTO songs VALUES ('la')")
    before = made.read_bytes()
    with pytest.raises(ConfigError, match=r"mlflow\.db is .*remove it, and `python -m pipelines\.tracking runs/\*`"):
        tracking.client()
    assert tracking.open_store("toys") is None and made.read_bytes() == before
    (said,) = caplog.messages
    assert "remove it" in said and "\n" not in said


def test_one_that_another_process_holds_is_not_waited_for(made, monkeypatch):
    """MLflow would wait for 20 seconds, and then print pages."""
    monkeypatch.setattr(tracking, "SEND_EVERY", 0.0)
    logged = tracking.Tracker(made.parent / "run", "toys", "one", {}, {})
    client = tracking.client()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(made)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    for writes in (True, False):
        with pytest.raises(ConfigError, match=r"mlflow\.db: database is locked"):
            tracking.client(writes)
    asked = Asked(sqlite3.connect)
    monkeypatch.setattr(sqlite3, "connect", asked)
    logged.log(1, {"loss": 1.0})
    assert asked.timeouts == [database.PATIENCE]  # looked at once, and MLflow did not come to it
    holder.communicate(b"\n")
    assert logged.flush() and client.get_run(tracking.run_id(made.parent / "run")).data.metrics == {"loss": 1.0}


class Asked:
    """Calls a function, and keeps the `timeout` of each call."""

    def __init__(self, function):
        self.function, self.timeouts = function, []

    def __call__(self, *arguments, **options):
        self.timeouts.append(options["timeout"])
        return self.function(*arguments, **options)


def reads_but_does_not_write(path, to):
    if os.geteuid() == 0:
        os.setuid(65534)  # root may write to what is read-only
    found = len(tracking.client(writes=False).search_experiments())
    assert tracking.open_store("toys") is None
    try:
        tracking.client()
    except ConfigError as error:
        to.send((found, str(error)))


def test_one_that_is_read_only_is_named_so_and_can_be_read(empty_store, monkeypatch, capfd):
    with tempfile.TemporaryDirectory() as directory:  # that others may look into, unlike pytest's
        path = Path(directory, "mlflow.db")
        path.write_bytes(empty_store.read_bytes())
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        tracking.client().search_experiments()  # so that all is imported that another user might not be let to
        path.chmod(0o444)
        Path(directory).chmod(0o755)
        receives, sends = multiprocessing.Pipe()
        process = forked(reads_but_does_not_write, path, sends)
        process.join()
        assert process.exitcode == 0 and receives.poll()
        assert receives.recv() == (1, f"{path}: attempt to write a readonly database")
    assert "Traceback" not in capfd.readouterr().err


def test_the_reason_is_what_the_database_said_itself(made):
    client = tracking.client()
    with sqlite3.connect(made) as stopped:
        stopped.execute("CREATE TRIGGER no BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'no more runs'); END")
    with pytest.raises(MlflowException) as error:
        client.create_run("0")
    assert tracking.short(error.value) == "no more runs" and "INSERT" in str(error.value)


@pytest.mark.parametrize("name", ["gan?x", "gan%20y", "100%", "gän #1 (v2)", "a&b=c;d", "it's"])
def test_whatever_the_projects_directory_is_called_all_lies_in_it(tmp_path, empty_store, monkeypatch, name):
    project = tmp_path / name
    project.mkdir()
    (project / "params.yaml").touch()
    (project / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(project)
    monkeypatch.setattr(tracking, "SEND_EVERY", 0.0)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logged = tracking.Tracker(project / "runs/a", "toys", "one", {}, {})
    (project / "runs/a/x.txt").write_text("x")
    logged.artifact("x.txt")
    logged.finish()
    run = tracking.client().get_run(tracking.run_id(project / "runs/a"))
    assert run.info.status == "FINISHED"
    assert (project / "mlartifacts" / run.info.run_id / "artifacts/x.txt").read_text() == "x"
    assert os.listdir(tmp_path) == [name]
    assert sorted(os.listdir(project)) == ["mlartifacts", "mlflow.db", "params.yaml", "runs"]


def test_a_plain_path_has_the_uri_that_it_always_had():
    """By which runs know how far they were sent."""
    for path in ("/home/me/gan/mlflow.db", "/home/my gan (v2)/mlflow.db", "/été/mlflow.db"):
        assert database.uri_of(Path(path)) == f"sqlite:///{path}"


def test_a_copied_project_writes_nothing_into_the_original(tmp_path, empty_store, monkeypatch, caplog, capsys):
    def enter(name):
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/{name}/mlflow.db")

    def log(seen):
        logged = tracking.Tracker(Path("runs/a"), "toys", "one", {}, {})
        Path(f"runs/a/{seen}.txt").write_text("x")
        logged.artifact(f"{seen}.txt")
        logged.log(seen, {"loss": float(seen)})
        logged.finish()

    def files():
        return {path: path.read_bytes() for path in (tmp_path / "original").rglob("*") if path.is_file()}

    (tmp_path / "original").mkdir()
    (tmp_path / "original/mlflow.db").write_bytes(empty_store.read_bytes())
    enter("original")
    log(1)
    before = files()
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    enter("copy")
    log(2)
    (said,) = caplog.messages
    assert "was copied or moved: its files are in file://" in said and "remove it, and `python -m pipelines" in said
    assert len(tracking.history(Path("runs/a"))) == 2
    monkeypatch.setattr(sys, "argv", ["tracking", "runs/a"])
    with pytest.raises(SystemExit, match="was copied or moved"):
        main()
    Path("mlflow.db").unlink()
    main()
    run = tracking.client().get_run(tracking.run_id(Path("runs/a")))
    assert run.data.metrics == {"loss": 2.0} and run.info.status == "FINISHED"
    assert sorted(os.listdir(f"mlartifacts/{run.info.run_id}/artifacts")) == ["1.txt", "2.txt"]
    assert files() == before

"""Mirrors of a run's directory: on another directory, on fsspec's memory, and on a real server of S3's API."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import pytest
import torch
from pyarrow.fs import FileSelector, FileSystem, FileType

from ganlib.config import ConfigError
from ganlib.training import state
from pipelines.runs import storage
from pipelines.runs.storage import Mirror, filesystem

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["directory", "fsspec", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place on each kind of storage."""
    if request.param == "directory":
        return str(tmp_path / "there")
    return f"memory://{tmp_path}" if request.param == "fsspec" else f"{request.getfixturevalue('s3')}/run"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return tmp_path / "here"


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def there(uri: str) -> dict[str, str]:
    """All files at a URI, and what is in them."""
    store, path = filesystem(uri)
    found = store.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    return {info.path.removeprefix(path).lstrip("/"):
            store.open_input_stream(info.path).read().decode(errors="replace")
            for info in found if info.type == FileType.File}


def here(directory: Path) -> dict[str, str]:
    return {path.relative_to(directory).as_posix(): path.read_text()
            for path in directory.rglob("*") if path.is_file()}


def test_what_is_pushed_is_pulled_elsewhere(uri: str, local: Path, tmp_path: Path):
    Mirror(tmp_path / "nothing", uri).pull()  # nothing there: nothing happens
    write(local, a="1", folder__deep__b="2", empty="", unfinished_tmp="x")
    (local / "unfinished_tmp").rename(local / "unfinished.tmp")
    Mirror(local, uri).push()
    assert there(uri) == {"a": "1", "folder/deep/b": "2", "empty": ""}
    Mirror(tmp_path / "elsewhere", uri).pull()
    assert here(tmp_path / "elsewhere") == there(uri)


def test_only_what_changed_goes_over_and_only_what_was_known_is_deleted(uri: str, local: Path, tmp_path: Path):
    mirror = Mirror(local, uri)
    write(local, stays="1", changes="1", goes="1", folder__goes="1")
    mirror.push()
    write(tmp_path / "other", strangers="1", stays="theirs")
    Mirror(tmp_path / "other", uri).push()
    write(local, changes="12")
    (local / "goes").unlink()
    (local / "folder/goes").unlink()
    mirror.push()
    assert there(uri) == {"stays": "theirs", "changes": "12", "strangers": "1"}


@pytest.mark.parametrize("uri", ["directory", "s3"], indirect=True)  # memory tells no times
def test_what_an_interrupted_run_could_not_push_is_not_pulled_over(uri: str, local: Path, tmp_path: Path):
    """Its journal holds lines that are nowhere else; while what another machine wrote later replaces what is old."""
    write(local, journal="one\n", old="1")
    Mirror(local, uri).push()
    other = Mirror(tmp_path / "other", uri)
    other.pull()
    write(tmp_path / "other", old="12")
    other.push()
    os.utime(local / "old", (0, 0))
    write(local, journal="one\ntwo\n")
    os.utime(local / "journal", (2e9, 2e9))
    mirror = Mirror(local, uri)
    mirror.pull()
    assert (local / "journal").read_text() == "one\ntwo\n"
    assert (local / "old").read_text() == "12"
    mirror.push()
    assert there(uri)["journal"] == "one\ntwo\n"


def test_checkpoints_of_a_run_that_prunes_them_can_be_resumed_elsewhere(uri: str, local: Path, tmp_path: Path):
    mirror = Mirror(local, uri)
    for images_seen in (10, 20, 30, 40):
        values = torch.full((3,), float(images_seen))
        state.save(local / "checkpoints", {"images_seen": images_seen, "values": values}, distance=None, keep=2)
        mirror.push()
        elsewhere = tmp_path / f"elsewhere-{images_seen}"
        Mirror(elsewhere, uri).pull()
        assert torch.equal(state.load(elsewhere / "checkpoints")["values"], values)
    assert sorted(there(f"{uri}/checkpoints")) == [path.name for path in sorted((local / "checkpoints").iterdir())]


def test_a_push_that_is_cut_off_at_any_file_leaves_a_run_that_can_go_on(local: Path, tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch):
    """What makes a checkpoint count comes after it, and after the journal's lines from before it."""
    write(local, mlflow_json="", journal_jsonl="", checkpoints__images_pt="", checkpoints__images_json="",
          generator__generator_json="", generator__generator_safetensors="")  # fmt: skip
    for path in [path for path in local.rglob("*") if path.is_file()]:
        path.rename(path.with_name(path.name.replace("_", ".")))
    copied: list[str] = []
    copy = storage.copy_files

    def counting(source: str, target: str, *filesystems: FileSystem) -> None:
        copied.append(source)
        copy(source, target, *filesystems)

    monkeypatch.setattr(storage, "copy_files", counting)
    Mirror(local, str(tmp_path / "there")).push()
    order = {name: place for place, name in enumerate(copied)}
    assert order["mlflow.json"] < order["journal.jsonl"] < order["checkpoints/images.json"]
    assert order["checkpoints/images.pt"] < order["checkpoints/images.json"]
    assert order["generator/generator.safetensors"] < order["generator/generator.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small filesystem")
def test_a_full_disk_keeps_the_file_that_was_there_and_is_said_beforehand(local: Path, tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        storage.check(str(small))
        mirror = Mirror(local, str(small))
        write(local, file="first")
        mirror.push()
        write(local, file="x" * 100_000)
        with pytest.raises(OSError, match="No space left"):
            mirror.push()
        assert here(small) == {"file": "first"}
        write(local, file="second")
        mirror.push()  # goes on when there is room
        assert here(small) == {"file": "second"}
        (small / "filler").write_bytes(b"x" * 60_000)
        with pytest.raises(ConfigError, match=f"storage: {small} cannot be written: no space is left on it"):
            storage.check(str(small))
        assert not list(small.glob("*.tmp"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_storage_that_can_be_written_passes_and_nothing_stays_there(uri: str):
    storage.check(uri)
    assert there(uri) == {}


def test_an_s3_server_is_also_named_in_the_uri(s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    storage.check(f"{s3}/run?endpoint_override={s3_server.removeprefix('http://')}&scheme=http")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("nope://place", "Protocol not known: nope; give a directory, s3://bucket/prefix or another URI"),
        ("s3://", "names no place; write for instance s3://bucket/prefix"),
        ("s3:/bucket/prefix", "Missing bucket name"),
        ("sftp://host/path", "needs a package that is not installed"),
        ("file://relative", "cannot be relative"),
        ("/proc/run", "storage: /proc/run cannot be written"),
    ],
)
def test_what_is_no_storage_is_refused_with_what_to_write(wrong: str, message: str):
    with pytest.raises(ConfigError, match=message):
        storage.check(wrong)


def test_s3_says_what_is_wrong(s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="there is no such bucket; create it first"):
        storage.check("s3://no-such-bucket/run")
    iam = boto3.client("iam", endpoint_url=s3_server)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    ask_for_credentials(s3_server, True)
    try:
        with pytest.raises(ConfigError, match="the credentials are not accepted; set AWS_ACCESS_KEY_ID"):
            storage.check(f"{s3}/run")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        with pytest.raises(ConfigError, match="permission denied"):
            storage.check(f"{s3}/run")
    finally:
        ask_for_credentials(s3_server, False)


@pytest.mark.slow  # it is tried again for seconds
def test_an_s3_server_that_cannot_be_reached_is_said(s3: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # a port that nothing listens on
    with pytest.raises(ConfigError, match=r"cannot be reached.*AWS_ENDPOINT_URL"):
        storage.check(f"{s3}/run")


def ask_for_credentials(server: str, needed: bool) -> None:
    """Whether the server looks at credentials and permissions."""
    count = b"0" if needed else b"inf"  # of requests that are taken without
    request = urllib.request.Request(f"{server}/moto-api/reset-auth", count, {"Content-Type": "text/plain"})
    urllib.request.urlopen(request).close()


@pytest.mark.parametrize("rest", ["bucket/run?nonsense=1", "no-such-bucket/run?region=here"])
def test_no_secret_is_shown(rest: str, s3: str):
    with pytest.raises(ConfigError) as caught:
        storage.check(f"s3://someone:hush%2Fhush@{rest}")
    assert "hush" not in str(caught.value) and "someone" not in str(caught.value)


SWEEP = '''
import sys, time
from pathlib import Path
import ray
from ray import tune
from pipelines.runs.storage import filesystem

def trial(config):
    with open("{log}/starts", "a") as file:
        file.write(str(config["x"]))
    while config["x"] == 1 and not Path("{log}/go").exists():
        time.sleep(0.1)
    tune.report({{"y": config["x"] ** 2}})

store, path = filesystem("{uri}")
ray.init(num_cpus=1, include_dashboard=False)
if tune.Tuner.can_restore(path + "/sweep", storage_filesystem=store):
    tuner = tune.Tuner.restore(path + "/sweep", trial, storage_filesystem=store, resume_unfinished=True)
else:
    tuner = tune.Tuner(
        trial, param_space={{"x": tune.grid_search([0, 1, 2])}},
        tune_config=tune.TuneConfig(metric="y", mode="max", max_concurrent_trials=1),
        run_config=tune.RunConfig(name="sweep", storage_path=path, storage_filesystem=store))
print("measured", sorted(result.metrics["y"] for result in tuner.fit()))
'''


@pytest.mark.slow
def test_a_sweep_of_ray_tune_is_restored_from_s3(s3: str, tmp_path: Path):
    """Its driver is killed in the second trial: the first is not run again."""
    program = tmp_path / "sweep.py"
    program.write_text(SWEEP.format(uri=f"{s3}/sweeps", log=tmp_path))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TUNE_GLOBAL_CHECKPOINT_S": "1"}
    command = [sys.executable, str(program)]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             start_new_session=True)  # fmt: skip
    starts = tmp_path / "starts"
    while not (starts.exists() and starts.read_text() == "01"
               and any("experiment_state" in name and "TERMINATED" in text for name, text in there(s3).items())):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    (tmp_path / "go").touch()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert "measured [0, 1, 4]" in second.stdout, second.stdout + second.stderr
    assert starts.read_text() == "0112"

import functools
import gzip
import hashlib
import http.server
import shutil
import socket
import subprocess
import threading

import numpy as np
import pytest

from ganlib import build
from ganlib.config import ConfigError
from ganlib.datasets import fashion_mnist
from ganlib.datasets.table import Table

COUNTS = {"train": 30, "t10k": 10}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Four small idx files that stand for the real ones, and no other source within reach."""
    folder, digests, draw = tmp_path / "idx", {}, np.random.default_rng(0)
    folder.mkdir()
    for split, count in COUNTS.items():
        images = draw.integers(0, 256, (count, 28, 28), np.uint8)
        labels = draw.integers(0, 10, count).astype(np.uint8)
        for name, array in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()
            digests[name] = hashlib.sha256(content).hexdigest()
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(fashion_mnist, "FILES", digests)
    monkeypatch.setattr(fashion_mnist, "VALIDATION", 5)
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", tmp_path / "not installed")
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(fashion_mnist, "URL", f"http://127.0.0.1:{closed.getsockname()[1]}/")
    return folder


def prepare(directory, **options):
    source, config = build.component("datasets", {"name": "fashion_mnist", **options})
    source.prepare(config, directory)
    return Table.open(directory, "train"), Table.open(directory, "test")


def test_a_folder_of_the_users_is_read_gz_or_not(files, tmp_path):
    packed, _ = prepare(tmp_path / "a", path=str(files))
    for path in list(files.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    train, test = prepare(tmp_path / "b", path=str(files))
    validation = Table.open(tmp_path / "b", "validation")
    assert (len(train), len(validation), len(test), train.shape) == (25, 5, 10, (1, 28, 28))
    assert train.manifest["sha256"] == packed.manifest["sha256"]
    raw = (files / "train-images-idx3-ubyte").read_bytes()
    assert train.images.tobytes() + validation.images.tobytes() == raw[16:]
    labels = list((files / "train-labels-idx1-ubyte").read_bytes()[8:])
    assert train.labels.tolist() + validation.labels.tolist() == labels
    assert train.classes == fashion_mnist.CLASSES and len(train.classes) == 10


def test_32_pads_and_64_resizes_that(files, tmp_path):
    small, _ = prepare(tmp_path / "28", path=str(files))
    padded, _ = prepare(tmp_path / "32", path=str(files), resolution=32)
    assert np.array_equal(padded.images[:, :, 2:-2, 2:-2], small.images)
    assert padded.images.sum(dtype=np.int64) == small.images.sum(dtype=np.int64)
    large, _ = prepare(tmp_path / "64", path=str(files), resolution=64)
    assert large.shape == (1, 64, 64)
    blocks = large.images.reshape(25, 1, 32, 2, 32, 2).mean((3, 5))
    assert np.corrcoef(blocks.ravel(), padded.images.ravel())[0, 1] > 0.9
    half, _ = prepare(tmp_path / "16", path=str(files), resolution=16)
    assert half.shape == (1, 16, 16)


@pytest.mark.parametrize("resolution", [27, 29, 0, -32])
def test_other_resolutions_are_refused(files, tmp_path, resolution):
    with pytest.raises(ConfigError, match=r"dataset\.resolution: a multiple of 4"):
        prepare(tmp_path / "table", path=str(files), resolution=resolution)


@pytest.mark.parametrize("damage", ["cut", "cut unpacked", "other", "missing"])
def test_a_damaged_file_is_named_and_nothing_is_written(files, tmp_path, damage):
    path = files / "t10k-images-idx3-ubyte.gz"
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-1000])
    elif damage == "cut unpacked":
        path.unlink()
        path.with_suffix("").write_bytes(gzip.decompress(content)[:-1])
    elif damage == "other":
        path.write_bytes((files / "train-images-idx3-ubyte.gz").read_bytes())
    else:
        path.unlink()
    with pytest.raises(ConfigError, match=rf"{files}/t10k-images-idx3-ubyte.*"):
        prepare(tmp_path / "table", path=str(files))
    assert not (tmp_path / "table").exists()


def test_the_installed_package_comes_before_the_network(files, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", files)
    train, _ = prepare(tmp_path / "table")
    assert train.manifest["source"] == "installed package dataset-fashion-mnist"


@pytest.fixture
def server(files, monkeypatch):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(files))
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        monkeypatch.setattr(fashion_mnist, "URL", f"http://127.0.0.1:{serving.server_port}/")
        yield files
        serving.shutdown()


def test_the_download_is_the_last_resort_and_is_verified(server, tmp_path):
    train, _ = prepare(tmp_path / "table")
    assert train.manifest["source"].startswith("download from http://")
    cut = server / "train-labels-idx1-ubyte.gz"
    cut.write_bytes(cut.read_bytes()[:-5])
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1.*train-labels-idx1-ubyte\.gz: truncated or damaged"):
        prepare(tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_if_every_source_fails_each_is_listed_with_its_reason(files, tmp_path):
    with pytest.raises(ConfigError) as caught:
        prepare(tmp_path / "table")
    message = str(caught.value)
    assert "installed package dataset-fashion-mnist: " in message and "not installed/train-images-idx3-ubyte" in message
    assert "by apt-get download: there is no apt-get on this machine" in message
    assert "download from http://127.0.0.1" in message and "refused" in message
    assert "set dataset.path" in message


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="not a Debian machine")
def test_the_package_is_fetched_where_the_package_lists_were_removed(tmp_path, monkeypatch):
    (tmp_path / "empty" / "partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/empty";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    try:
        contents = fashion_mnist._read_package()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no package source within reach: {error}")
    assert contents.keys() == fashion_mnist.FILES.keys()


@pytest.mark.slow
def test_the_real_data_set_has_its_known_moments(tmp_path):
    try:
        train, test = prepare(tmp_path / "table")
    except ConfigError as error:
        pytest.skip(f"no source within reach: {error}")
    validation = Table.open(tmp_path / "table", "validation")
    assert (len(train), len(validation), len(test)) == (55000, 5000, 10000)
    images, labels = (np.concatenate(parts) for parts in ((train.images, validation.images),
                                                          (train.labels, validation.labels)))
    assert images.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert images.std() / 255 == pytest.approx(0.3530, abs=1e-4)
    assert np.bincount(labels).tolist() == [6000] * 10
    assert np.bincount(validation.labels).min() > 400  # its images came in random order

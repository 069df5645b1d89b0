import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib import build
from ganlib.condition import of_classes
from ganlib.datasets import table
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid

buckets = itertools.count()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow sqlite store with its schema: making that takes seconds, copying it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of S3's API on loopback, which keeps everything in its memory."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("s3") / "log"
    with log.open("w") as file:
        server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                                  stdout=file, stderr=subprocess.STDOUT)  # fmt: skip
    try:
        while True:
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"{address}/moto-api/").close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a new bucket; the environment names its server and credentials."""
    for name, value in {"AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "secret",
                        "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
                        "AWS_EC2_METADATA_DISABLED": "true"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{next(buckets)}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{bucket}", method="PUT")).close()
    return f"s3://{bucket}"


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """`make_run(directory, shape=…, classes=…, test=…, **networks)`: a table and an untrained generator in it, as the
    stages prepare and train leave them; gives the directory."""

    def write(directory: Path, shape: tuple[int, int, int] = (1, 8, 8), classes: tuple[str, ...] = ("a", "b", "c"),
              test: int = 60, **networks: Any) -> Path:
        rng = np.random.default_rng(0)
        splits: dict[str, tuple[int, table.Chunks]] = {}
        for split, count in (("train", 70), ("validation", 50), ("test", test)):
            labels = np.arange(count) % len(classes) if classes else None
            splits[split] = (count, [(rng.integers(0, 256, (count, *shape)).astype(np.uint8), labels)])
        table.write(directory / "table", splits, shape=shape, name="toy", source="test", classes=classes)
        section = {"name": "mlp", "width": 16, "depth": 1, "latent": 8} | networks
        module, config = build.component("networks", section)
        torch.manual_seed(5)
        generator = module.build(config, shape, of_classes(len(classes)))["generator"]
        generators.save(directory / "model", generator, {
            "networks": section, "shape": list(shape), "classes": list(classes), "seed": 0, "dataset": "toy",
            "label_counts": list(table.Table.open(directory / "table", "train").label_counts),
            "data_sha256": table.read_manifest(directory / "table")["sha256"], "run": "runs/toy-mlp", "ema": True,
            "images_seen": 1280})  # fmt: skip
        (directory / "model" / "snapshots").mkdir()
        for seen in (0, 640, 1280):
            images = generators.sample(generator, 64, seen)
            grid(images, 8).save(directory / "model" / "snapshots" / f"images-{seen:09d}.png")
        return directory

    return write


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """This machine's Chromium. Without one tests are skipped, unless GANLIB_BROWSER=required."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None and os.environ.get("GANLIB_BROWSER") == "required":
        pytest.fail(f"GANLIB_BROWSER=required, and none of {', '.join(BROWSERS)} is installed: `make browser`")
    if path is None:
        pytest.skip("no Chromium on this machine; `make browser` installs one and runs this")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without the sandbox, which root cannot have: it opens nothing but the pages written here.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """`visit(path, **context)` opens a page. In the end none may have asked for anything but files, nor complained."""
    contexts, asked, complaints = [], [], []

    def open_page(path: Path, **context: Any) -> Any:
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.resolve().as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)
    assert not complaints

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib import build
from ganlib.datasets import table
from ganlib.sampling import generator as generators
from ganlib.sampling.pictures import grid

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow sqlite store with its schema: making that takes seconds, copying it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """`make_run(directory, shape=…, classes=…, test=…, **networks)`: a table and an untrained generator in it, as the
    stages prepare and train leave them; gives the directory."""

    def write(directory: Path, shape: tuple[int, int, int] = (1, 8, 8), classes: tuple[str, ...] = ("a", "b", "c"),
              test: int = 60, **networks: Any) -> Path:
        rng = np.random.default_rng(0)
        splits: dict[str, tuple[int, table.Chunks]] = {}
        for split, count in (("train", 70), ("test", test)):
            labels = np.arange(count) % len(classes) if classes else None
            splits[split] = (count, [(rng.integers(0, 256, (count, *shape)).astype(np.uint8), labels)])
        table.write(directory / "table", splits, shape=shape, name="toy", source="test", classes=classes)
        section = {"name": "mlp", "width": 16, "depth": 1, "latent": 8} | networks
        module, config = build.component("networks", section)
        torch.manual_seed(5)
        generator = module.build(config, shape, len(classes))["generator"]
        generators.save(directory / "model", generator, {
            "networks": section, "shape": list(shape), "classes": list(classes), "seed": 0, "dataset": "toy",
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

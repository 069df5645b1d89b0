"""A file is fetched whole, or not at all: from servers that go on, that cannot, that stop early, and that lie."""

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from ganlib.config import ConfigError
from ganlib.metrics import inception
from ganlib.metrics.download import download

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


class Handler(BaseHTTPRequestHandler):
    """/ranges honours Range; /whole does not; /cut closes the line half way; /other, /longer, /shorter: other files."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.asked.append((self.path, wanted))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/ranges")
            self.end_headers()
            return
        content = {"/other": CONTENT[::-1], "/longer": CONTENT + b"more", "/shorter": b"page"}.get(self.path, CONTENT)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.path != "/whole" else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:start + HALF] if self.path == "/cut" else content[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.handle_error = lambda *request: None  # a client that hangs up is no news
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_whole_file(server: str, tmp_path: Path) -> None:
    path, pieces = tmp_path / "new" / "file", []
    download(f"{server}/whole", path, SHA256, len(CONTENT), pieces.append)
    assert path.read_bytes() == CONTENT
    assert sum(pieces) == len(CONTENT) and len(pieces) > 2
    assert [file.name for file in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("place", ["ranges", "moved", "whole"])
def test_what_is_there_is_not_fetched_again_where_the_server_can(server: str, tmp_path: Path, place: str) -> None:
    path, pieces = tmp_path / "file", []
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    download(f"{server}/{place}", path, SHA256, len(CONTENT), pieces.append)
    assert path.read_bytes() == CONTENT
    assert Handler.asked[-1][1] == "bytes=1000-"  # through the redirection too
    assert pieces[0] == (0 if place == "whole" else 1000) and sum(pieces) == len(CONTENT)


def test_a_cut_line_leaves_what_came_and_the_next_call_goes_on(server: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(OSError, match=r"stopped after 1,500,000 of 3,000,000 bytes; the next call goes on"):
        download(f"{server}/cut", path, SHA256, len(CONTENT))
    assert not path.exists() and (tmp_path / "file.part").stat().st_size == HALF
    download(f"{server}/cut", path, SHA256, len(CONTENT))
    assert path.read_bytes() == CONTENT and [wanted for _, wanted in Handler.asked] == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize(("place", "message"), [
    ("other", rf"another file: sha256 [0-9a-f]{{64}}, not {SHA256}"), ("longer", "not of 3,000,000 bytes"),
    ("shorter", "not of 3,000,000 bytes")])
def test_other_bytes_are_refused_and_not_kept(server: str, tmp_path: Path, place: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        download(f"{server}/{place}", tmp_path / "file", SHA256, len(CONTENT))
    assert not list(tmp_path.iterdir())


def test_a_file_that_ends_before_what_is_there_is_another(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    with pytest.raises(ValueError, match="it ends before 1,000 bytes"):
        download(f"{server}/shorter", tmp_path / "file", SHA256, len(CONTENT))
    assert not list(tmp_path.iterdir())


def test_a_beginning_that_is_not_of_this_file_is_refused(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"something else")
    with pytest.raises(ValueError, match="another file"):
        download(f"{server}/ranges", tmp_path / "file", SHA256, len(CONTENT))
    assert not list(tmp_path.iterdir())


def test_a_finished_part_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    download("http://127.0.0.1:9/nobody", tmp_path / "file", SHA256, len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_offline_inception_says_what_to_fetch_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        inception.weights_file(tmp_path / "cache", url="http://127.0.0.1:9/weights.pth")
    for part in ("http://127.0.0.1:9/weights.pth cannot be fetched", "refused", "inception_path",
                 str(tmp_path / "cache" / inception.FILE)):
        assert part in str(error.value)
    assert not (tmp_path / "cache" / inception.FILE).exists()


def test_inception_of_other_bytes_is_refused_and_one_that_is_there_is_taken(server: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another file: not of 95,628,359 bytes"):
        inception.weights_file(tmp_path, url=f"{server}/whole")
    assert not list(tmp_path.iterdir())
    (tmp_path / inception.FILE).touch()
    assert inception.weights_file(tmp_path, url="http://127.0.0.1:9/nobody") == tmp_path / inception.FILE

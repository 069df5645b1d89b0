"""Fetching a file whose hash is known."""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

CHUNK = 2**20  # bytes
TIMEOUT = 30  # seconds without a byte


def download(url: str, path: Path, sha256: str, size: int, progress: Callable[[int], object] | None = None) -> None:
    """Fetch `size` bytes from `url` to `path`. They grow in `path`.part, and get their name when the hash is right.

    What an earlier call has left in `.part` is not fetched again, if the server can go on from there. `progress` is
    told the bytes of each piece, those that are there already first. OSError where the server cannot be reached, or
    stops early (`.part` stays, for the next call); ValueError for another file than expected (`.part` is deleted).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("ab") as file:
            if file.tell() < size:
                _fetch(url, file, size, progress or (lambda count: None))
            there = file.tell()
        if there < size:
            raise OSError(f"{url} stopped after {there:,} of {size:,} bytes; the next call goes on from there")
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise ValueError(f"{url} gave another file: sha256 {found}, not {sha256}; nothing of it is kept")
    except ValueError:
        part.unlink()
        raise
    os.replace(part, path)


def _fetch(url: str, file: BinaryIO, size: int, progress: Callable[[int], object]) -> None:
    """Append what is missing to `file`."""
    request = urllib.request.Request(url)
    if there := file.tell():
        request.add_header("Range", f"bytes={there}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:  # the whole file, from its beginning
                file.truncate(0)
                there = 0
            if there + int(response.headers.get("Content-Length", size - there)) != size:
                raise ValueError(f"{url} is another file: not of {size:,} bytes; nothing of it is kept")
            progress(there)
            while there < size and (piece := response.read(min(CHUNK, size - there))):
                file.write(piece)
                there += len(piece)
                progress(len(piece))
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "code", None) == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise ValueError(f"{url} is another file: it ends before {there:,} bytes; nothing of it is kept") from None
        raise OSError(f"{url} cannot be fetched: {getattr(error, 'reason', None) or repr(error)}") from error

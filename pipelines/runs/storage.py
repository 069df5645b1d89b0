"""A run's directory, mirrored on any filesystem: another directory, S3, or whatever pyarrow and fsspec know.

    s3://bucket/prefix       credentials from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, ~/.aws or
                             the machine's role, as everywhere; a server of one's own by AWS_ENDPOINT_URL, or as
                             s3://bucket/prefix?endpoint_override=host:port&scheme=http
    gs://… abfs://… hdfs://… as pyarrow has them; other schemes by the fsspec package that has them
    /a/path, file:///a/path  a directory, for instance of a shared filesystem
"""

import contextlib
import errno
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystem,
    FileType,
    FSSpecHandler,
    LocalFileSystem,
    PyFileSystem,
    SubTreeFileSystem,
    copy_files,
)

from ganlib.config import ConfigError

UNFINISHED = ".tmp"
# There a file appears when it is closed: whole or not at all, and folders need not be made.
OBJECT_STORES = ("s3", "gcs", "abfs")
# What storages say, and what it means to the one who asked for it.
CAUSES = (
    (r"NO_SUCH_BUCKET|Bucket '.*' not found|\[code: NoSuchBucket", "there is no such bucket; create it first"),
    (r"INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN_ID|EXPIRED|InvalidToken|UNRECOGNIZED_CLIENT",
     "the credentials are not accepted; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN)"),
    (r"ACCESS_DENIED|Forbidden|HTTP status 403",
     "permission denied; set credentials (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) that may list, read, "
     "write and delete there"),
    (r"NETWORK_CONNECTION|Could not resolve|timed? ?out",
     "it cannot be reached; for an S3 server of your own set AWS_ENDPOINT_URL=http(s)://host:port"),
)  # fmt: skip


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """The filesystem that a URI or a plain path names, and the path in it. ConfigError where none is known."""
    if not re.match(r"[\w+.-]{2,}:", uri):
        return LocalFileSystem(), str(Path(uri).absolute())
    try:
        try:
            store, path = FileSystem.from_uri(uri)
        except pa.ArrowInvalid as error:
            if "Unrecognized filesystem type" not in str(error):
                raise
            other, path = fsspec.core.url_to_fs(uri)
            store = PyFileSystem(FSSpecHandler(other))
    except ImportError as error:
        raise ConfigError(f"storage: {shown(uri)} needs a package that is not installed: {error}") from None
    except Exception as error:  # each filesystem of fsspec has its own
        raise ConfigError(f"storage: {shown(uri)}: {_short(error, uri)}; give a directory, s3://bucket/prefix or "
                          "another URI that pyarrow or fsspec knows") from None
    if not path.strip("/"):
        raise ConfigError(f"storage: {shown(uri)} names no place; write for instance s3://bucket/prefix")
    return store, path


def check(uri: str) -> None:
    """Write, read and delete a small file at the URI; ConfigError says why that is not possible."""
    store, path = filesystem(uri)
    probe, content = f"{path.rstrip('/')}/{uuid.uuid4().hex}{UNFINISHED}", b"x" * 4096
    try:
        if store.type_name not in OBJECT_STORES:
            store.create_dir(path)
        with store.open_output_stream(probe) as file:
            file.write(content)
        with store.open_input_stream(probe) as file:
            if file.read() != content:
                raise OSError("what is read is not what was written")
        store.delete_file(probe)
    except Exception as error:  # fsspec's filesystems raise what they like
        with contextlib.suppress(Exception):
            store.delete_file(probe)
        raise ConfigError(f"storage: {shown(uri)} cannot be written: {cause(error, uri)}") from None


def cause(error: Exception, uri: str) -> str:
    """What an error of a storage means and what to do, without secrets."""
    if getattr(error, "errno", None) == errno.ENOSPC:
        return "no space is left on it"
    if isinstance(error, PermissionError):
        return "permission denied; choose a directory that you may write"
    return next((meaning for pattern, meaning in CAUSES if re.search(pattern, str(error), re.IGNORECASE)),
                _short(error, uri))


def shown(uri: str) -> str:
    """The URI without what it may hold of names, passwords and options."""
    return re.sub(r"//.*@", "//", uri.partition("?")[0])


class Mirror:
    """A local directory and its copy at a URI; without one, nothing happens. One process pushes, any may pull. Errors
    are those of the filesystem: an OSError for pyarrow's own. After one, the next call does what was not done.
    `wanted`: which files it is about, by their names within the directory."""

    def __init__(self, local: Path, uri: str | None, wanted: Callable[[str], bool] = lambda name: True):
        self._mirrored, self._wanted = uri is not None, wanted
        if uri is None:
            return
        store, path = filesystem(uri)
        self._by_rename = store.type_name not in OBJECT_STORES
        self._here, self._there = SubTreeFileSystem(str(local), LocalFileSystem()), SubTreeFileSystem(path, store)
        self._known: dict[str, tuple[int, int]] = {}  # what is alike on both sides: size and time of the local file
        local.mkdir(parents=True, exist_ok=True)

    def pull(self) -> None:
        """Bring what is there here. A file that was changed here after it was written there stays: an interrupted run
        had no time to push it, and the next push does. (Where a storage tells no times, what is there replaces it.)"""
        if not self._mirrored:
            return
        here, there = self._files(self._here), self._files(self._there)
        for name in sorted(there, key=_order):
            if name not in here or here[name].mtime_ns <= (there[name].mtime_ns or here[name].mtime_ns):
                _copy(self._there, self._here, name, by_rename=True)
                self._known[name] = _stamp(self._here.get_file_info(name))

    def push(self) -> None:
        """Bring what has changed here since the last push or pull there, and delete there what was deleted here of that
        which this Mirror has seen. Unfinished files (*.tmp) are left out, and none is ever seen there half written."""
        if not self._mirrored:
            return
        here = self._files(self._here)
        for name in sorted(here, key=_order):
            if self._known.get(name) != (stamp := _stamp(here[name])):
                try:
                    _copy(self._here, self._there, name, self._by_rename)
                except FileNotFoundError:
                    if self._here.get_file_info(name).type != FileType.NotFound:
                        raise
                    continue  # deleted meanwhile
                self._known[name] = stamp
        for name in sorted(self._known.keys() - here.keys(), key=_order, reverse=True):
            with contextlib.suppress(FileNotFoundError):
                self._there.delete_file(name)
            del self._known[name]

    def _files(self, store: FileSystem) -> dict[str, FileInfo]:
        infos = store.get_file_info(FileSelector("", recursive=True, allow_not_found=True))
        return {info.path: info for info in infos
                if info.type == FileType.File and not info.path.endswith(UNFINISHED) and self._wanted(info.path)}


def _order(name: str) -> tuple[bool, bool, str]:
    """The order in which files go over, such that being cut off at any time leaves a run that can go on: a .json in a
    folder last, since it makes the checkpoint or the generator beside it count; before those the journal, that no line
    from before a checkpoint is lost; and before it how much of it was sent to the tracking store."""
    return "/" in name and name.endswith(".json"), name.endswith(".jsonl"), name


def _copy(source: FileSystem, target: FileSystem, name: str, by_rename: bool) -> None:
    """Whole or not at all."""
    if not by_rename:
        copy_files(name, name, source, target)
        return
    temporary = f"{name}.{uuid.uuid4().hex}{UNFINISHED}"
    target.create_dir(str(Path(name).parent))
    try:
        copy_files(name, temporary, source, target)
        target.move(temporary, name)
    except BaseException:
        with contextlib.suppress(Exception):
            target.delete_file(temporary)
        raise


def _stamp(info: FileInfo) -> tuple[int, int]:
    return info.size, info.mtime_ns


def _short(error: Exception, uri: str) -> str:
    """The first line of an error, without what the URI in it may give away."""
    text = str(error).replace(uri, shown(uri))
    return re.sub(r"//[^/@\s]*@", "//", (text.splitlines() or [type(error).__name__])[0])[:300]

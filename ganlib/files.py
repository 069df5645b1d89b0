"""Small files, which are written whole or not at all, and read with care: people edit them, disks fill up, and machines
lose their power."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganlib.config import ConfigError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` make a file under a temporary name; flush it to the disk, and rename it to `path`. Whatever happens
    meanwhile, at `path` lies the old file or the new one. Makes the directory that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a write that fails does not know where
        raise


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """A new directory, which takes the place of `directory` if the block ends well, and else is removed: what is there
    stays whole till then."""
    new, old = (directory.with_name(f".{directory.name}.{name}") for name in ("partial", "old"))
    for left in (new, old):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        if directory.exists():
            directory.rename(old)
        new.rename(directory)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    replace(path, lambda temporary: temporary.write_text(text, "utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def require_writable(*paths: Path) -> None:
    """ConfigError unless there can be files or directories at these paths: before anything is computed for them."""
    for path in paths:
        place = path.absolute().parent
        while not place.exists():
            place = place.parent
        try:
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({place}: {error.strerror}); name another place") from None


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The mapping that a JSON file holds. ConfigError, which ends with the `remedy`, if there is none: no file, one
    that cannot be read, or one that holds something else."""
    try:
        value = json.loads(path.read_text("utf-8"))
        json.dumps(value, ensure_ascii=False).encode()  # halves of letters, which nothing can write again
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found; {remedy}") from None
    except OSError as error:
        if error.errno == errno.ENOMEM:  # that says nothing of the file
            raise
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ConfigError(f"{path}: not JSON ({str(error)[:200]}); {remedy}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a mapping is needed, got {str(value)[:60]!r}; {remedy}")
    return value

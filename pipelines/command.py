"""However a command ends, it says so in one line on stderr, and by the exit status that shells know."""

import errno
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ganlib.config import ConfigError
from ganlib.files import NO_SPACE

AGAIN = "what was there before is untouched, and the same command goes on or begins again"
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|cannot allocate memory", re.IGNORECASE)


class Stopped(KeyboardInterrupt):
    """SIGTERM, with which clusters and shells ask a process to stop. Treated as Ctrl-C is."""


@contextmanager
def command(name: str, hint: str = AGAIN) -> Iterator[None]:
    """The body of a command's `main`. A ConfigError, a full disk, a lack of memory, a file that may not be written and
    an interruption become one line and exit 1, 130 (Ctrl-C) or 143 (SIGTERM); other errors are faults of the code, and
    keep their traceback. `hint`: what to do after an interruption."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except ConfigError as error:
        raise SystemExit(f"{name}: {error}") from None
    except KeyboardInterrupt as error:
        number = signal.SIGTERM if isinstance(error, Stopped) else signal.SIGINT
        _end(f"{name}: stopped by {number.name}; {hint}", 128 + number)
    except (OSError, MemoryError, RuntimeError) as error:
        if (reason := shortage(error)) is None:
            if not isinstance(error, OSError) or error.filename is None:
                raise
            reason = f"{error.filename}: {error.strerror}"
        raise SystemExit(f"{name}: {reason}; {AGAIN}") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def shortage(error: BaseException) -> str | None:
    """What a machine ran out of, where that is what an error tells of: space on a disk, or memory."""
    number = getattr(error, "errno", None)
    if number in NO_SPACE:
        place = Path(getattr(error, "filename", None) or ".")
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free / 1e6
        return f"no space is left at {place.resolve()} ({os.strerror(number)}; {free:.1f} MB are free there); free some"
    if isinstance(error, MemoryError) or number == errno.ENOMEM or NO_MEMORY.search(str(error)):
        return (f"this machine, or what is allowed of it, has not the memory that is needed ({first_line(error)}); ask "
                "for less (training.batch_size, networks.width, evaluation.images), or give it more")
    return None


def first_line(error: BaseException) -> str:
    """What an error says, without what a URI in it may give away."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"//[^/@\s]*@", "//", text)[:300]


def _stop(number: int, frame: FrameType | None) -> Any:
    raise Stopped(number)


def _end(line: str, status: int) -> None:
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(status)

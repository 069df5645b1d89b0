"""However a command ends, it says so in one line on stderr, and by the exit status that shells know."""

import errno
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ganlib.config import ConfigError
from ganlib.files import NO_SPACE

AGAIN = "what was there before is untouched, and the same command begins again"
FULL = re.compile(r"no space left on device|disk is full|disk quota exceeded", re.IGNORECASE)  # errors without errno
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|cannot allocate memory", re.IGNORECASE)


class Stopped(KeyboardInterrupt):
    """SIGTERM, with which clusters and shells ask a process to stop. Treated as Ctrl-C is."""


@contextmanager
def command(name: str, hint: str = AGAIN) -> Iterator[None]:
    """The body of a command's `main`. A ConfigError, a full disk, a lack of memory, a file that may not be written and
    an interruption become one line and exit 1, 130 (Ctrl-C) or 143 (SIGTERM); other errors are faults of the code, and
    keep their traceback. `hint`: what to do after an interruption."""
    terminated = False  # Ray raises other interruptions in place of ours

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        raise Stopped(number)

    before = signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as it is in the background of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except ConfigError as error:
        raise SystemExit(f"{name}: {error}") from None
    except KeyboardInterrupt:
        number = signal.SIGTERM if terminated else signal.SIGINT
        print(f"{name}: stopped by {number.name}; {hint}", file=sys.stderr, flush=True)
        raise SystemExit(128 + number) from None
    except Exception as error:
        if (reason := shortage(error)) is None:
            if not isinstance(error, OSError) or error.filename is None:
                raise
            reason = f"{error.filename}: {error.strerror}"
        raise SystemExit(f"{name}: {reason}; what was there before is untouched") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def shortage(error: BaseException) -> str | None:
    """What a machine ran out of, where that is what an error tells of: space on a disk, or memory."""
    number = getattr(error, "errno", None)
    if number in NO_SPACE and str(getattr(error, "strerror", "")).startswith("no space"):  # it says more already
        return f"{error.filename}: {error.strerror}"  # type: ignore[attr-defined]
    if number in NO_SPACE or FULL.search(str(error)):
        place = Path(getattr(error, "filename", None) or ".")
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free / 1e6
        return (f"no space is left at {place.resolve()} ({first_line(error)}; {free:.1f} MB are free there); free "
                "some, and give the same command again")
    if isinstance(error, MemoryError) or number == errno.ENOMEM or NO_MEMORY.search(str(error)):
        return (f"there is not the memory that is needed ({first_line(error)}); ask for less (training.batch_size, "
                "networks.width, evaluation.images) or give more, and then the same command again")
    return None


def first_line(error: BaseException) -> str:
    """What an error says, without what a URI in it may give away."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"//[^/@\s]*@", "//", text)[:300]

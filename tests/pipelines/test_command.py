"""However a command ends: one line, and the exit status that shells know."""

import errno
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganlib.config import ConfigError
from pipelines.command import command

ROOT = Path(__file__).parents[2]


def file_error(number: int) -> OSError:
    return OSError(number, "what the system says", "/tmp/here/file")


@pytest.mark.parametrize(("error", "message"), [
    (ConfigError("a.b: write 1"), "stage: a.b: write 1"),
    (file_error(errno.ENOSPC), r"stage: no space is left at /tmp \(.*what the system says.*; [\d.]+ MB are free there\)"
                               "; free some, and give the same command again; what was there before is untouched"),
    (RuntimeError("while serializing: I/O error: No space left on device (os error 28)"), "stage: no space is left"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "stage: there is not the memory that is needed .*ask for less"),
    (MemoryError(), "stage: there is not the memory"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 "
                  "bytes"), "stage: there is not the memory"),
    (file_error(errno.EACCES), "stage: /tmp/here/file: what the system says; what was there before is untouched"),
])
def test_what_is_no_fault_of_the_code_is_one_line(error: Exception, message: str):
    with pytest.raises(SystemExit, match=message) as end, command("stage"):
        raise error
    assert len(str(end.value).splitlines()) == 1


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("shapes differ"), OSError("without a file")])
def test_a_fault_of_the_code_keeps_its_traceback(error: Exception):
    with pytest.raises(type(error)) as end, command("stage"):
        raise error
    assert end.value is error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_one_line(number: signal.Signals):
    code = """
import time
from pipelines.command import command
with command("stage", "try again"):
    print(flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + number, f"stage: stopped by {number.name}; try again\n")


def test_every_command_ends_so():
    mains = [path for path in sorted((ROOT / "pipelines").glob("*.py")) if "\ndef main()" in path.read_text()]
    assert len(mains) > 10
    for path in mains:
        assert re.search(rf'with command\("{path.stem}"', path.read_text()), path

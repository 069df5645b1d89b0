import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from ganlib.condition import Condition
from ganlib.datasets import table
from ganlib.datasets.table import Table
from pipelines import prepare


@pytest.fixture
def workplace(tmp_path):
    (tmp_path / "images").mkdir()
    for k in range(300):
        colour, mode = [(k % 256, "L"), ((k % 256, 0, 9), "RGB"), ((1, 2, 3, k % 256), "RGBA")][k % 3]
        Image.new(mode, (20 + k % 7, 30), colour).save(tmp_path / "images" / f"{k}.png")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(
        {"dataset": {"name": "folder", "path": "images", "resolution": 16, "channels": 3}, "objective": "not yet"}))
    return tmp_path


def test_a_mixed_folder_becomes_a_table_and_three_lines(workplace):
    finished = subprocess.run([sys.executable, "-m", "pipelines.prepare"], cwd=workplace, capture_output=True,
                              text=True, check=True)
    train = Table.open(workplace / "data" / "table", "train")
    assert len(train) == 270 and train.shape == (3, 16, 16)
    lines = finished.stdout.splitlines()
    assert lines == ["images    270 train, 30 test from folder images",
                     "choice    by training images: these are too few for a validation split",
                     "shape     3×16×16 uint8, no labels", f"hash      {train.manifest['sha256']}"]


def test_classes_and_what_is_left_out_are_said(workplace, monkeypatch, capsys):
    for k, path in enumerate(sorted((workplace / "images").iterdir())):
        (workplace / "images" / str(k % 25)).mkdir(exist_ok=True)
        path.rename(workplace / "images" / str(k % 25) / path.name)
    (workplace / "images" / "rare").mkdir()
    Image.new("L", (20, 20), 9).save(workplace / "images" / "rare" / "1.png")
    (workplace / "images" / "notes.txt").write_text("")
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(sys, "argv", ["prepare"])
    prepare.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:5] == ["shape     3×16×16 uint8, 26 classes", "left out  1 files of other types: .txt (1)",
                          "class 0   0: 11 train, 1 test"]
    assert [line.split()[2] for line in lines[4:24]] == [f"{label}:" for label in range(20)]
    assert lines[24:26] == ["          and 6 more", "caution   no test images of rare"]


@pytest.mark.parametrize(("apart", "line"), [
    (False, "an image 1×4×6, the line drawing, paired"), (True, "an image 1×4×6, the line drawing, unpaired: 3 train")])
def test_images_that_are_told_are_said(tmp_path, apart, line):
    images, lines = np.zeros((5, 3, 8, 8), np.uint8), np.zeros((5, 1, 4, 6), np.uint8)
    splits = {"train": (5, [(images, None if apart else lines)]), "test": (5, [(images, lines)])}
    table.write(tmp_path / "table", splits, shape=(3, 8, 8), name="toy", source="test",
                condition=Condition("image", 1, (4, 6), not apart), description="the line drawing",
                sources={"train": (3, [lines[:3]])} if apart else {})
    lines = prepare.said(table.read_manifest(tmp_path / "table"), tmp_path / "table")
    assert ("condition", line) in lines and ("shape", "3×8×8 uint8, no labels") in lines


def test_what_the_last_stage_needs_is_known_to_the_first(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(sys, "argv", ["prepare"])
    params = yaml.safe_load((workplace / "params.yaml").read_text())
    params["dataset"]["test_share"] = 0.05  # 15 images, of which the tenth neighbour is looked for, or the twentieth
    (workplace / "params.yaml").write_text(yaml.safe_dump(params | {"evaluation": {"neighbours": 10}}))
    prepare.main()
    assert "285 train, 15 test" in capsys.readouterr().out
    (workplace / "params.yaml").write_text(yaml.safe_dump(params | {"evaluation": {"neighbours": 20}}))
    with pytest.raises(SystemExit, match=r"of 300 images 15 are the test split, and at least 21 .*dataset\.test_share"):
        prepare.main()
    (workplace / "params.yaml").write_text(yaml.safe_dump(params | {"training": {"batch_size": 512}}))
    with pytest.raises(SystemExit, match=r"batch_size: 512 is more than the 285 images"):
        prepare.main()
    assert len(Table.open(workplace / "data" / "table", "train")) == 285  # as it was


@pytest.mark.parametrize(("change", "message"), [
    ({"name": "fashion_mnis"}, "did you mean 'fashion_mnist'?"),
    ({"resolutoin": 16}, "did you mean 'resolution'?"),
    ({"channels": None}, "set dataset.channels"),
    ({"path": "nowhere"}, "nowhere is not a folder"),
])
def test_bad_input_is_one_line_without_a_traceback(workplace, change, message, monkeypatch):
    params = yaml.safe_load((workplace / "params.yaml").read_text())
    params["dataset"].update(change)
    (workplace / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(sys, "argv", ["prepare"])
    with pytest.raises(SystemExit) as caught:  # with a message: Python prints it and exits with 1
        prepare.main()
    assert message in caught.value.code and "\n" not in caught.value.code
    assert not os.path.exists(workplace / "data" / "table")

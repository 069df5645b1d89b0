"""Two folders of images: the numbers of the arrays they hold, whatever their sizes and kinds; what is refused."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlib.config import ConfigError
from ganlib.datasets import images
from ganlib.metrics.features import extract, extractor
from ganlib.metrics.protocol import Evaluation, ProtocolMismatch, require_equal
from pipelines import evaluate
from pipelines.evaluation.folders import evaluate_folders
from pipelines.evaluation.measure import numbers

SMALL = Evaluation(resize=32, splits=2)


def write(directory: Path, count: int, low: int, high: int, seed: int, suffix: str = "png") -> np.ndarray:
    """Grey images (count, 1, 9, 12), in the order of their names."""
    directory.mkdir()
    images = np.random.default_rng(seed).integers(low, high, (count, 9, 12)).astype(np.uint8)
    for index, image in enumerate(images):
        Image.fromarray(image).save(directory / f"{index:03d}.{suffix}")
    return images[:, None]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    write(root / "real", 50, 0, 256, 0)
    write(root / "fake", 40, 0, 200, 1)
    return root


@pytest.fixture(scope="module")
def result(place: Path) -> dict[str, Any]:
    return evaluate_folders(place / "real", place / "fake", SMALL)


def test_they_are_the_numbers_of_the_arrays(tmp_path: Path) -> None:
    real, fake = write(tmp_path / "real", 50, 0, 256, 0), write(tmp_path / "fake", 40, 0, 200, 1)
    network = extractor("efficientnet_lite0", 32)
    made, logits = extract(network, fake)
    expected = numbers(network, SMALL, extract(network, real)[0], made, logits)
    found = evaluate_folders(tmp_path / "real", tmp_path / "fake", SMALL)
    for name, entry in expected.items():
        assert found[name]["value"] == pytest.approx(entry["value"], rel=1e-5), name


def test_each_distance_has_its_interval_and_all_their_protocol(result: dict[str, Any]) -> None:
    distance = result[result["distance"]]
    assert result["distance"] == "fd_efficientnet_lite0"
    low, high = distance["interval"]
    assert 0 < low < distance["value"] < high and distance["standard_error"] > 0
    protocol = result["protocol"]
    assert (protocol["real_images"], protocol["generated_images"], protocol["resize"]) == (50, 40, 32)
    assert protocol["ema"] is None and len(protocol["data_sha256"]) == len(protocol["weights_sha256"]) == 64


def test_a_number_against_other_real_images_is_not_comparable(place: Path, result: dict[str, Any]) -> None:
    other = evaluate_folders(place / "fake", place / "fake", SMALL)
    with pytest.raises(ProtocolMismatch, match=r"real_images 50 .* against 40 .*, data_sha256 "):
        require_equal(result["protocol"], other["protocol"], "one", "another")


def test_images_of_all_sizes_and_kinds_keep_their_places(tmp_path: Path) -> None:
    """The features of each are those it has alone."""
    rng = np.random.default_rng(0)
    (tmp_path / "real").mkdir()
    shapes = [(8, 8), (8, 8, 3), (20, 9), (8, 8), (9, 20, 3), (8, 8, 4), (20, 9)]
    pixels = [rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes]
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "real" / f"{index}.png")
    found = evaluate_folders(tmp_path / "real", tmp_path / "real", Evaluation(resize=32, splits=1))
    for name, expected in {"fd_efficientnet_lite0": 0, "precision": 1, "recall": 1}.items():
        assert found[name]["value"] == pytest.approx(expected, abs=1e-6), name
    # in another order
    (tmp_path / "fake").mkdir()
    for index, image in enumerate(reversed(pixels)):
        Image.fromarray(image).save(tmp_path / "fake" / f"{index}.png")
    mirrored = evaluate_folders(tmp_path / "real", tmp_path / "fake", Evaluation(resize=32, splits=1))
    assert mirrored["fd_efficientnet_lite0"]["value"] == pytest.approx(0, abs=1e-6)  # the order does not matter
    assert mirrored["fake_sha256"] != found["fake_sha256"]


def test_only_so_many_of_each(place: Path) -> None:
    found = evaluate_folders(place / "real", place / "fake", SMALL, images=20)  # of 50, evenly: not the first 20
    assert (found["protocol"]["real_images"], found["protocol"]["generated_images"]) == (20, 20)
    digest = hashlib.sha256()
    for index in range(20):
        image = images.read(place / "real" / f"{index * 50 // 20:03d}.png")
        digest.update(repr(image.shape).encode() + image.tobytes())
    assert found["protocol"]["data_sha256"] == digest.hexdigest()
    with pytest.raises(ConfigError, match=r"--fake: .*/fake holds 40 images, fewer than the 45 asked for"):
        evaluate_folders(place / "real", place / "fake", SMALL, images=45)


def test_deep_images_share_one_scale_and_what_is_left_out_is_said(tmp_path: Path, capsys) -> None:
    """Scans of 12 bits in files of 16 are what they are in files of 8."""
    pixels = [np.random.default_rng(k).integers(0, 256, (32, 32)).astype(np.uint8) for k in range(8)]
    pixels[0][0, 0] = 255
    scans = [image.astype(np.uint16) * 16 + image // 16 for image in pixels]
    for name, kind in (("eight", pixels), ("twelve", scans)):
        (tmp_path / name).mkdir()
        for k, image in enumerate(kind):
            Image.fromarray(image).save(tmp_path / name / f"{k}.png")
    os.rename(tmp_path / "twelve" / "3.png", os.fsencode(tmp_path / "twelve") + b"/caf\xe9.png")
    (tmp_path / "eight" / "notes.txt").touch()
    found = evaluate_folders(tmp_path / "eight", tmp_path / "twelve", Evaluation(resize=32, splits=1))
    assert found["fd_efficientnet_lite0"]["value"] == pytest.approx(0, abs=1e-3)
    assert "--real: 1 files of other types: .txt (1) are left out" in capsys.readouterr().err


@pytest.mark.parametrize(("real", "fake", "message"), [
    ("nowhere", "fake", r"--real: .*nowhere is not a folder"),
    ("real", "empty", r"--fake: .*empty holds 0 images of the types"),
    ("real", "five", r"--fake: these are 5 images of .*five, and at least 6 are needed"),
    ("real", "torn", r"torn/001\.png: cannot be read as an image .* repair it or remove it"),
])
def test_what_cannot_be_measured_is_named(place: Path, real: str, fake: str, message: str) -> None:
    (place / "empty").mkdir(exist_ok=True)
    for name, count in (("five", 5), ("torn", 6)):
        if not (place / name).exists():
            write(place / name, count, 0, 256, 2)
    torn = (place / "torn" / "001.png").read_bytes()
    (place / "torn" / "001.png").write_bytes(torn[:40])
    with pytest.raises(ConfigError, match=message):
        evaluate_folders(place / real, place / fake, SMALL)


def test_the_command_prints_json_and_nothing_else(place: Path, result, monkeypatch, capsys) -> None:
    arguments = ["evaluate", "--real", place / "real", "--fake", place / "fake", "--resize", "32", "--splits", "2"]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    evaluate.main()
    printed = capsys.readouterr()
    assert json.loads(printed.out) == result and "fd_efficientnet_lite0" in printed.err
    monkeypatch.setattr(sys, "argv", [*map(str, arguments), "--out", str(place / "made" / "numbers.json")])
    evaluate.main()
    assert json.loads((place / "made" / "numbers.json").read_text()) == result and capsys.readouterr().out == ""


@pytest.mark.parametrize(("arguments", "message"), [
    (["--real", "x"], "give both --real and --fake"),
    (["--extractor", "domain"], "these options go with --real and --fake"),
    (["--real", "x", "--fake", "y", "--out", "."], "--out . is a directory"),
    (["--real", "{}/real", "--fake", "{}/fake", "--images", "-5"], "--images: at least 1, got -5"),
    (["--real", "x", "--fake", "y", "--extractor", "inceptoin"], "did you mean 'inception'"),
    (["--real", "x", "--fake", "y", "--resize", "8"], "resize: 32 … 2,048 is needed"),
    (["--real", "{}/real", "--fake", "{}/fake", "--extractor", "domain", "--classifier", "no"], "no classifier here"),
])
def test_wrong_arguments_are_refused(arguments, message, place: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", *(argument.format(place) for argument in arguments)])
    with pytest.raises(SystemExit) as stopped:
        evaluate.main()
    assert message in str(stopped.value) + capsys.readouterr().err

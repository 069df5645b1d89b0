"""The report: the numbers on it, what is left out, what is refused; and that a browser needs nothing else."""

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ganlib.config import ConfigError
from ganlib.metrics.protocol import Evaluation
from pipelines.evaluation import measure
from pipelines.evaluation.generator import ACCURACIES
from pipelines.evaluation.names import safe
from pipelines.evaluation.report import report, table

HOSTILE = "<script>document.title='x'</script>"
ATTRIBUTE = "\"><img src=x onerror=\"document.title='x'\">"
METRICS = {
    "distance": "fd_toy",
    "kernel_distance": {"value": 0.10644580327165887, "floor": 0.00036905822579580416},
    "fd_toy": {"value": 122.26516282588342, "floor": 16.507409820988993, "untrained": 1029.610303285438,
               "interval": [119.5, 125.25], "left_out": [121.0, 123.0]},
    "something_new": {"value": 0.5, "standard_error": 0.01, "standard_deviation": 0.125, "z": -3},
    "a_bare_number": 7, "a_word": "word", "nothing": None, "deep": {"er": {"value": 3.25}},
    "class_shares": {"a": 0.5, HOSTILE: 0.3, "c/d": 0.2},
    "protocol": {"data_sha256": "", "generated_images": 5000, "real_images": 4000, "extractor": ATTRIBUTE},
}  # fmt: skip
PARAMS = {"seed": 0, "composed": ["objective=hinge", "dataset.path=/a b"], "augmentation": None,
          "objective": {"name": "two_player", "loss": "hinge", "penalties": {"r1": {"weight": 1}},
                        "optimizers": {"generator": {"name": "adam", "lr": 0.003}}},
          "training": {"images": 1280, "note": HOSTILE}}  # fmt: skip


def write_csv(path: Path, columns: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture(scope="module")
def place(make_run, tmp_path_factory) -> Path:
    """A repository after training and evaluation."""
    root = make_run(tmp_path_factory.mktemp("place"), classes=("a", HOSTILE, "c/d"))
    description = json.loads((root / "model" / "generator.json").read_text())
    write_csv(root / "model" / "history.csv", ["images_seen", "D/loss", "G/loss", "D/r1", "<b>$x_$"],
              [[320, 1.5, 2.5, 0.1, 3], [640, 1.25, 2.0, "", 4], [960, 1.0, 1.5, 0.3, 5]])
    write_csv(root / "model" / "distance.csv", ["images_seen", "distance"], [[640, 900.0], [1280, 600.0]])
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"networks": description["networks"]}))
    (root / "evaluation" / "numbers").mkdir(parents=True)
    protocol = METRICS["protocol"] | {"data_sha256": description["data_sha256"]}
    (root / "evaluation" / "metrics.json").write_text(json.dumps(METRICS | {"protocol": protocol}))
    (root / "evaluation" / "numbers" / f"class_share.{safe('c/d')}.json").write_text('{"value": 0.2, "floor": 0.6}')
    Image.new("L", (40, 30), 90).save(root / "evaluation" / "samples.png")
    frames = [Image.new("L", (40, 30), shade) for shade in (0, 90)]
    frames[0].save(root / "evaluation" / "animation.png", save_all=True, append_images=frames[1:], duration=100)
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)
    Image.fromarray(noise).save(root / "evaluation" / "a_large_one.png")
    return root


def make(place: Path, out: Path, **paths: Path) -> Path:
    places = {"model": place / "model", "evaluation": place / "evaluation", "params": place / "params.yaml"}
    return report(**(places | paths), out=out)


@pytest.fixture(scope="module")
def page_file(place: Path) -> Path:
    return make(place, place / "deep" / "report.html")


def test_a_row_for_each_number_and_a_column_for_each_frequent_field() -> None:
    columns, rows = table(METRICS)
    assert columns == ["value", "floor", "standard error", "interval", "untrained", "more"]
    assert [row["name"] for row in rows] == ["fd_toy", "kernel_distance", "something_new", "a_bare_number", "deep.er"]
    texts = [[re.sub("<.*?>", "", cell) for cell in row["cells"]] for row in rows]
    assert texts == [["122.3", "16.51", "", "119.5 – 125.2", "1,030", ""], ["0.1064", "0.0003691", "", "", "", ""],
                     ["0.5", "", "0.01", "", "", "standard deviation 0.125, z -3"], ["7", "", "", "", "", ""],
                     ["3.25", "", "", "", "", ""]]  # fmt: skip
    assert table({}) == (["value"], [])
    assert table({"few": {"value": 1, "floor": 2}})[0] == ["value", "floor"]


def test_every_number_of_an_evaluation_has_its_meaning() -> None:
    toy: Any = SimpleNamespace(distance="fd_toy", score="is_toy")
    real, fake, logits = torch.randn(20, 3), torch.randn(20, 3).repeat(2, 1), torch.randn(40, 4)
    named = [*measure.numbers(toy, Evaluation(images=40), real, fake, logits, noise=False), *ACCURACIES, "fid",
             "inception_score", "fid_infinity", "fd_toy_infinity", "intra_class_fid", "intra_class_fd_toy",
             "memorization", "path_length_toy", "class_share_min", "support_size"]
    _, rows = table(dict.fromkeys(named, 1.0))
    meanings = {row["name"]: row["meaning"] for row in rows}
    assert {"fd_toy", "density", "near_duplicates"} < meanings.keys() and all(meanings.values())
    assert len({meanings[name] for name in ("fd_toy", "fd_toy_infinity", "intra_class_fd_toy")}) == 3
    assert meanings["fd_toy_infinity"] == meanings["fid_infinity"]
    assert "closer" in meanings["memorization"] and meanings["memorization"].endswith("1 copies")


def test_numbers_that_are_none_are_shown_as_they_are() -> None:
    _, (row,) = table({"broken": {"value": float("nan"), "floor": None}})
    assert "nan" in row["cells"][0] and row["cells"][1] == ""


def test_what_failed_and_what_the_numbers_cannot_tell_stands_above_them(place: Path, page_file: Path, tmp_path: Path):
    said = {"failed": f"as grey as {HOSTILE}", "cautions": ["12 images in 1,280 dimensions", "a rough classifier"]}
    shutil.copytree(place / "evaluation", tmp_path / "evaluation")
    measured = json.loads((place / "evaluation" / "metrics.json").read_text())
    (tmp_path / "evaluation" / "metrics.json").write_text(json.dumps(measured | said))
    text = make(place, tmp_path / "report.html", evaluation=tmp_path / "evaluation").read_text()
    places = [text.index(words) for words in ("<strong>Failed:</strong> as grey as &lt;script&gt;", *said["cautions"],
                                              "<table>")]
    assert places == sorted(places)
    assert "Failed:" not in page_file.read_text() and 'class="caution"' not in page_file.read_text()


def test_the_page_is_one_file_without_references(page_file: Path) -> None:
    text = page_file.read_text()
    assert not re.findall(r"(?:src|href|srcset)=\"(?!data:|#)[^\"]*\"", text)
    assert not re.findall(r"url\((?!#)", text) and "@import" not in text
    assert [path.name for path in page_file.parent.iterdir()] == ["report.html"]


def test_how_to_make_it_again_is_told(page_file: Path) -> None:
    assert "python -m pipelines.compose objective=hinge &#39;dataset.path=/a b&#39;\ndvc repro" in page_file.read_text()


def test_large_pictures_are_encoded_anew_and_animations_are_not(place: Path, page_file: Path) -> None:
    text = page_file.read_text()
    kinds = dict(re.findall(r"<h3>(.*?)</h3>\s*<img src=\"data:image/(\w+);", text))
    assert kinds == {"Samples": "png", "While it learned": "png", "a large one": "webp"}
    assert len(text) < (place / "evaluation" / "a_large_one.png").stat().st_size


def test_without_an_evaluation_numbers_and_pictures_are_left_out(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "model", tmp_path / "model")
    (tmp_path / "model" / "history.csv").unlink()
    (tmp_path / "model" / "distance.csv").unlink()
    text = make(tmp_path, tmp_path / "report.html").read_text()
    assert "not evaluated yet" in text and "mlp, depth 1, latent 8, width 16" in text
    assert re.findall("<h2>(.*?)</h2>", text) == ["What was trained", "Again"]


def test_the_description_of_the_model_tells_its_parameters_where_it_has_them(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "model", tmp_path / "model")
    description = json.loads((tmp_path / "model" / "generator.json").read_text())
    description |= {"params": PARAMS | {"networks": {"name": "known"}, "composed": ["own=1"]}, "git": "abc-dirty"}
    (tmp_path / "model" / "generator.json").write_text(json.dumps(description))
    text = make(place, tmp_path / "report.html", model=tmp_path / "model").read_text()
    assert "pipelines.compose own=1" in text and "Trained at revision <code>abc-dirty</code>, edited since." in text


def test_without_the_revision_of_the_training_the_page_tells_its_own(page_file: Path) -> None:
    text = page_file.read_text()
    assert "does not say at which revision it was trained" in text and "this page was written at <code>" in text
    assert "Trained at" not in text


def test_what_does_not_belong_together_is_refused(place: Path, make_run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"generator\.json: not found; train"):
        make(tmp_path, tmp_path / "report.html")
    (tmp_path / "params.yaml").write_text("seed: 1")
    with pytest.raises(ConfigError, match="does not describe this generator"):
        make(place, tmp_path / "report.html", params=tmp_path / "params.yaml")
    other = make_run(tmp_path / "other", classes=("d",))
    with pytest.raises(ConfigError, match="measured on other data"):
        make(place, tmp_path / "report.html", model=other / "model")
    assert not (tmp_path / "report.html").exists()


def described(**changes: Any) -> Any:
    """A change of generator.json; None takes a key away."""
    def change(text: str) -> str:
        return json.dumps({key: value for key, value in (json.loads(text) | changes).items() if value is not None})
    return change


@pytest.mark.parametrize(("file", "content", "message"), [
    ("model/generator.safetensors", None, "not the weights of a generator"),
    ("model/generator.safetensors", "no weights", "not the weights of a generator"),
    ("model/generator.json", "{", "not JSON"),
    ("model/generator.json", "{}", "missing"),
    ("model/generator.json", "[]", "a mapping is needed"),
    ("model/generator.json", described(run=None), "run: missing"),
    ("model/generator.json", described(shape=7), "shape: a value of type"),
    ("model/generator.json", described(networks={}), "networks.name: missing"),
    ("model/generator.json", described(params={"seed": 0}), "params: networks: missing"),
    ("model/history.csv", "images_seen,D/loss\n1,2\n2,three\n", "line 3"),
    ("model/history.csv", "images_seen,D/loss\n1,2,3\n", "line 2"),
    ("model/history.csv", "D/loss\n1\n", "images_seen"),
    ("model/distance.csv", "images_seen,distance\n,2\n", "line 2"),
    ("evaluation/metrics.json", "[]", "a mapping is needed"),
    ("evaluation/metrics.json", "{}", "missing"),
    ("evaluation/metrics.json", '{"distance": "fd_toy"}', "protocol: missing"),
    ("evaluation/metrics.json", '{"distance": "fd_toy", "protocol": {}}', "protocol: data_sha256: missing"),
    ("evaluation/metrics.json", described(class_shares={"a": "half"}), "a number is needed"),
    (f"evaluation/numbers/class_share.{safe('c/d')}.json", '{"value": 0.2}', "floor: missing"),
    ("evaluation/samples.png", "no picture", "cannot be read as a picture"),
    ("evaluation/samples.png", 600, "cannot be read as a picture"),
    ("params.yaml", "", "a mapping of sections is needed"),
    ("params.yaml", "a: [", "not YAML"),
    ("params.yaml", lambda text: text + "\nobjective: hinge\n", "objective: a value of type"),
])  # fmt: skip
def test_a_broken_file_is_named(place: Path, tmp_path: Path, file: str, content: Any, message: str) -> None:
    shutil.copytree(place, tmp_path / "copy")
    path = tmp_path / "copy" / file
    if content is None:
        path.unlink()
    elif isinstance(content, int):  # cut
        Image.effect_noise((99, 99), 50).save(path)
        path.write_bytes(path.read_bytes()[:content])
    else:
        path.write_text(content(path.read_text()) if callable(content) else content)
    with pytest.raises(ConfigError, match=message) as caught:
        make(tmp_path / "copy", tmp_path / "report.html")
    text = str(caught.value)
    assert text.startswith(str(path)) and re.search(r"`dvc repro`|--params|pipelines\.compose", text)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_in_a_browser_without_a_network(visit, page_file: Path, width: int, scheme: str) -> None:
    page = visit(page_file, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for details in page.locator("details").all():
        details.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    images = page.eval_on_selector_all("img", "all => all.map(one => [one.naturalWidth, one.alt, one.complete])")
    assert len(images) == 3 and all(loaded and size > 0 and alt for size, alt, loaded in images)
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", shade)[0]) > 128) == (scheme == "light")


def test_the_numbers_in_the_browser_are_those_of_the_file(visit, page_file: Path) -> None:
    page = visit(page_file)
    rows = page.locator("section", has_text="Floor:").locator("tbody tr").all()
    shown = {row.locator("th").evaluate("one => one.firstChild.textContent.trim()"):
             row.locator("data").evaluate_all("all => all.map(one => Number(one.value))") for row in rows}
    assert shown == {
        "fd_toy": [122.26516282588342, 16.507409820988993, 119.5, 125.25, 1029.610303285438],
        "kernel_distance": [0.10644580327165887, 0.00036905822579580416],
        "something_new": [0.5, 0.01, 0.125, -3], "a_bare_number": [7], "deep.er": [3.25],
    }  # fmt: skip
    right = page.locator("td.number").evaluate_all("all => all.map(one => getComputedStyle(one).textAlign)")
    assert set(right) == {"right"}


def test_all_numbers_can_be_seen_on_a_phone(visit, page_file: Path) -> None:
    page = visit(page_file, viewport={"width": 390, "height": 800})
    places = page.locator(".wide data").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert len(places) == 13 and 0 < max(places) <= 390
    row = page.inner_text(".wide tr:nth-child(3)")
    assert "standard deviation 0.125, z -3" in row
    assert page.locator(".wide tr:nth-child(3) td:visible").count() == 3  # none for what is not known


def test_class_shares_are_bars_in_proportion(visit, page_file: Path) -> None:
    page = visit(page_file)
    widths = page.locator(".shares .bar span").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    whole = page.locator(".shares .bar").first.evaluate("one => one.getBoundingClientRect().width")
    assert np.allclose(np.array(widths) / whole, [0.5 / 0.6, 0.3 / 0.6, 0.2 / 0.6], atol=0.01)
    assert page.locator(".shares i").count() == 1 and "60.0%" in page.inner_text(".shares")


def test_names_that_are_markup_are_text(visit, page_file: Path) -> None:
    page = visit(page_file)
    page.locator("details").first.locator("summary").click()
    assert HOSTILE in page.inner_text(".shares") and ATTRIBUTE in page.inner_text("main")
    assert HOSTILE in page.inner_text("dl >> nth=0") and "<b>$x_$" in page.inner_text("details >> nth=0")
    assert page.locator("script").count() == 0 and page.locator("img[src=x]").count() == 0 and page.title() != "x"


def test_who_wants_no_motion_sees_none(visit, page_file: Path) -> None:
    still, moving = visit(page_file, reduced_motion="reduce"), visit(page_file)
    name = "text=While it learned"
    assert moving.locator(name).is_visible() and not still.locator(name).is_visible()

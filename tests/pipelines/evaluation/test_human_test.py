"""The human-test page: what is on it, and that a visitor with a mouse or a keyboard gets the right score."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from ganlib.config import ConfigError
from ganlib.datasets.table import Table
from pipelines.evaluation.human_test import human_test


@pytest.fixture(scope="module")
def place(make_run, tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def page_file(place: Path) -> Path:
    return human_test(place / "model", place / "table", place / "deep" / "test.html", images=12, rounds=2)


@pytest.fixture(scope="module")
def real(place: Path) -> set[bytes]:
    return {image.tobytes() for image in Table.open(place / "table", "test").images}


def sheet(path: Path, side: int) -> list[bytes]:
    """The pixels of each cell of a page's picture."""
    (found,) = re.findall(r"data:image/png;base64,([^\"]+)", path.read_text())
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found))))
    rows, columns = (length // side for length in pixels.shape[:2])
    return [np.ascontiguousarray(pixels[r * side:(r + 1) * side, c * side:(c + 1) * side]).tobytes()
            for r in range(rows) for c in range(columns)]


def is_real(page, real: set[bytes]) -> list[bool]:
    """Of each image on the page, by its pixels: whether it is one of the test split."""
    drawn = page.eval_on_selector_all("#images canvas", "all => all.map(one => one.toDataURL())")
    images = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in drawn]
    return [np.asarray(image.convert("L")).tobytes() in real for image in images]


def score(page) -> tuple[int, int]:
    right, of = re.match(r"(\d+) of (\d+) right", page.inner_text("#result")).groups()
    return int(right), int(of)


def test_half_of_each_round_are_real_images_of_the_test_split(page_file: Path, real: set[bytes]) -> None:
    cells = sheet(page_file, 8)[:24]
    assert len(set(cells)) == 24
    for round_ in (cells[:12], cells[12:]):
        assert sum(cell in real for cell in round_) == 6


def test_it_is_a_function_of_the_seed(place: Path, page_file: Path, tmp_path: Path) -> None:
    same, other = (human_test(place / "model", place / "table", tmp_path / f"{seed}.html", 12, 2, seed)
                   for seed in (0, 1))
    assert same.read_text() == page_file.read_text() != other.read_text()


def test_colour_images_of_a_generator_that_is_told_labels(make_run, tmp_path: Path) -> None:
    make_run(tmp_path, (3, 16, 16), conditioning="concat")
    out = human_test(tmp_path / "model", tmp_path / "table", tmp_path / "test.html", images=6, rounds=1)
    real = {image.transpose(1, 2, 0).tobytes() for image in Table.open(tmp_path / "table", "test").images}
    assert sum(cell in real for cell in sheet(out, 16)[:6]) == 3


@pytest.mark.parametrize(("options", "message"), [
    ({"images": 13}, "an even number"), ({"images": 0}, "an even number"), ({"rounds": 0}, "rounds: at least 1"),
    ({"seed": -1}, "seed: a number from 0"), ({"seed": 2**64}, "seed: a number from 0"),
])  # fmt: skip
def test_what_cannot_be_shown_is_refused(place: Path, tmp_path: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        human_test(place / "model", place / "table", tmp_path / "test.html", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("file", "content", "message"), [
    ("generator.safetensors", None, "not the weights of a generator"),
    ("generator.safetensors", "no weights", "not the weights of a generator"),
    ("generator.json", None, "not found; train a generator"),
    ("generator.json", "[]", "a mapping is needed"),
    ("generator.json", "{}", "missing"),
])  # fmt: skip
def test_a_broken_model_is_named(place: Path, tmp_path: Path, file: str, content: str | None, message: str) -> None:
    path = shutil.copytree(place / "model", tmp_path / "model") / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        human_test(tmp_path / "model", place / "table", tmp_path / "test.html")
    assert str(caught.value).startswith(str(path)) and "dvc repro" in str(caught.value)


@pytest.mark.parametrize(("asked", "shown"), [((50, 3), (50, 2)), ((200, 3), (120, 1)), ((40, 3), (40, 3))])
def test_fewer_images_are_shown_where_there_are_no_more(asked, shown, place: Path, tmp_path: Path) -> None:
    out = human_test(place / "model", place / "table", tmp_path / "test.html", *asked)
    facts = json.loads(re.search(r"id=\"facts\">(.*?)</script>", out.read_text()).group(1))
    assert (facts["images"], facts["rounds"]) == shown


def test_of_large_images_there_are_fewer_rounds(make_run, tmp_path: Path) -> None:
    make_run(tmp_path, (1, 256, 256))
    out = human_test(tmp_path / "model", tmp_path / "table", tmp_path / "test.html")
    assert '"images": 40' in out.read_text() and '"rounds": 1' in out.read_text()


def test_other_data_is_refused(place: Path, make_run, tmp_path: Path) -> None:
    make_run(tmp_path, classes=())
    with pytest.raises(ConfigError, match="trained on other data"):
        human_test(place / "model", tmp_path / "table", tmp_path / "test.html")


def test_who_marks_exactly_the_generated_is_right_in_all_again_too(visit, page_file: Path, real: set[bytes]) -> None:
    page = visit(page_file)
    seen: list[set[str]] = []
    for _ in range(3):
        truth = is_real(page, real)
        assert sum(truth) == 6
        seen.append(set(page.eval_on_selector_all("#images canvas", "all => all.map(one => one.toDataURL())")))
        for place, is_one in enumerate(truth):
            if not is_one:
                page.locator("#images button").nth(place).click()
        assert page.inner_text("#count") == "6 of 12 marked"
        page.click("#finish")
        assert score(page) == (12, 12) and "you can tell them apart" in page.inner_text("#result")
        for place, is_one in enumerate(truth):
            button = page.locator("#images button").nth(place)
            assert button.inner_text().strip() == f"✓ {'real' if is_one else 'generated'}"
            assert button.get_attribute("aria-label") == (
                f"Image {place + 1}: {'real' if is_one else 'generated'}; you were right")
        assert ("seen these images before" in page.inner_text("#result")) == (len(seen) == 3)
        page.click("#again")
    assert not seen[0] & seen[1] and seen[2] == seen[0]  # two rounds of other images, then the first again


def test_who_marks_nothing_is_right_in_half(visit, page_file: Path) -> None:
    page = visit(page_file)
    page.click("#finish")
    assert score(page) == (6, 12)
    expected = binomtest(6, 12).proportion_ci(method="wilson")
    told = page.inner_text("#result").replace("\u00a0", " ")
    assert f"between {100 * expected.low:.0f} % and {100 * expected.high:.0f} %; guessing may give as much" in told
    assert "6 of 6 generated images passed for real; 0 of 6 real ones were taken for generated" in told
    page.locator("#images button").first.click(force=True)  # too late
    assert score(page) == (6, 12) and page.locator("#images button").first.get_attribute("aria-pressed") == "false"


def test_who_marks_the_real_ones_is_told_so(visit, page_file: Path, real: set[bytes]) -> None:
    page = visit(page_file)
    for place, is_one in enumerate(is_real(page, real)):
        if is_one:
            page.locator("#images button").nth(place).click()
    page.click("#finish")
    assert score(page) == (0, 12) and "worse than guessing" in page.inner_text("#result")
    assert page.locator("#images .wrong").count() == 12 and "✗" in page.inner_text("#images")


def test_a_keyboard_is_enough(visit, page_file: Path) -> None:
    page = visit(page_file, viewport={"width": 390, "height": 800})
    pressed = "all => all.map(one => one.getAttribute('aria-pressed') == 'true')"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    below = page.evaluate("[...document.querySelectorAll('#images button')].indexOf(document.activeElement)")
    assert below == 1 + 3  # three columns on a phone
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")  # the first one again: taken back
    marked = page.eval_on_selector_all("#images button", pressed)
    assert [place for place, is_marked in enumerate(marked) if is_marked] == [1, below]
    page.focus("#finish")
    page.keyboard.press("Enter")
    assert score(page)[1] == 12
    assert page.evaluate("document.activeElement.id") == "result"  # read out next


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(visit, page_file: Path, width: int, scheme: str) -> None:
    page = visit(page_file, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", shade)[0]) > 128) == (scheme == "light")

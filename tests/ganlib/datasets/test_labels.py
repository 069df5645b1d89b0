import pytest

from ganlib.config import ConfigError
from ganlib.datasets.labels import labels_of

NAMES = ["a/1.png", "a/2.png", "b.png"]


def csv(path, *lines):
    (path / "labels.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return path / "labels.csv"


@pytest.mark.parametrize("lines", [
    ("a/1.png,cat", "a/2.png,dog", "b.png,cat"),
    ("file,label", "b.png,cat", "./a/1.png, cat", '"a/2.png","dog"'),
    ("\ufeffid,Class,Image", "1,cat,a/1.png", "2,dog,a/2.png", "3,cat,b.png"),
])
def test_columns_with_and_without_names(tmp_path, lines):
    assert labels_of(NAMES, csv(tmp_path, *lines)) == ["cat", "dog", "cat"]


@pytest.mark.parametrize(("lines", "message"), [
    (("a/1.png,cat", "a/2.png, ", "b.png,cat"), r"1 images have no label in it: a/2\.png;"),
    (("a/1.png,cat", "b.png,cat"), r"labels\.csv: 1 images have no label in it: a/2\.png;"),
    (("a/1.png,x", "a/2.png,x", "b.png,x", "c10.png,x", "c9.png,x"), r"2 names .* no images .*: c9\.png, c10\.png;"),
    (("a/1.png,x", "a/2.png,x", "b.png,x", "b.png,y"), r"two labels are given to b\.png"),
    (("a/1.png;x", "a/2.png;x"), r"two columns are needed, file and label, got 'a/1\.png;x'"),
    (("id,class,image", "1,x"), r"two columns are needed"),
    (("a/1.png,x,y",), r"two columns are needed"),
    ((), "3 images have no label"),
])
def test_what_does_not_fit_the_images_is_named(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message):
        labels_of(NAMES, csv(tmp_path, *lines))


@pytest.mark.parametrize(("content", "message"), [
    ('{"labels": [["a/1.png", 3], ["a/2.png", "x"], ["b.png", 10]]}', None),
    ('{"labels": null}', "no list of `labels`"), ("{}", "no list"), ("[]", "a mapping is needed"), ("{", "not JSON"),
    ('{"labels": [["a/1.png", [1, 0]]]}', "is no name with a label"), ('{"labels": [3]}', "is no name with a label"),
    ('{"labels": [["a/1.png", true]]}', "is no name with a label"),
])
def test_the_dataset_json_of_stylegan(tmp_path, content, message):
    (tmp_path / "dataset.json").write_text(content)
    if message is None:
        assert labels_of(NAMES, tmp_path / "dataset.json") == ["3", "x", "10"]
    else:
        with pytest.raises(ConfigError, match=message):
            labels_of(NAMES, tmp_path / "dataset.json")


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.labels: .*labels\.csv: cannot be read \(No such file"):
        labels_of(NAMES, tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_bytes(b"caf\xe9.png,x\n")
    with pytest.raises(ConfigError, match="no CSV in UTF-8"):
        labels_of(NAMES, tmp_path / "labels.csv")

import itertools

import pytest

from pipelines.evaluation.names import IN_METRICS, IN_MODELS, safe

ODD = ["C++", "C--", "C", "T-shirt (blue)", "100%", "a,b", "it's", "#1", "x=y", "cats & dogs", "", " ", " a", "a ", ".",
       "..", "a/b", "a_b", "a/../b", "b", "a//b", "/a", "a/", "a:b", "猫", "e\u0301té", "été", "a\nb", "a" * 101,
       "a" * 102, "猫" * 50, "caf\udce9", "x" * 300, safe("C++")]  # fmt: skip


@pytest.mark.parametrize("name", ["value", "dark", "T-shirt top", "fashion_mnist", "v1.2", "été", "photos-20241231"])
def test_a_plain_name_stays_as_it_is(name):
    assert safe(name) == safe(name, IN_METRICS) == safe(name, IN_MODELS) == name


@pytest.mark.parametrize("also", ["", IN_METRICS, IN_MODELS])
def test_no_two_names_are_one_and_each_is_a_part_of_a_files_name(also, tmp_path):
    made = [safe(name, also) for name in ODD]
    assert len(set(made)) == len(ODD)
    assert all("x" in name and safe(name, also) != name for name in made if name not in ODD)  # no text is called so
    if also != IN_METRICS:
        for name in made:
            (tmp_path / f"class_share.{name}.json").write_text(name)
        assert len(list(tmp_path.iterdir())) == len(ODD)


def test_mlflow_takes_them():
    from mlflow.utils.validation import _validate_metric_name, _validate_model_name

    for first, second in itertools.pairwise(ODD):
        _validate_metric_name(f"evaluation/class_shares.{safe(first, IN_METRICS)}")
        _validate_model_name(f"ganlib-{safe(second, IN_MODELS)}")


def test_what_is_readable_stays():
    assert safe("T-shirt (blue)").startswith("T-shirt -blue-x") and safe("T-shirt/top", IN_METRICS) == "T-shirt/top"

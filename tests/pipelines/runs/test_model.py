"""What the stages read in model/: as it was written, or refused."""

import json

import pytest

from ganlib.config import ConfigError
from ganlib.sampling import generator as generators
from pipelines.runs.model import described, read_model, require_evaluated

NEEDED = ("networks", "shape", "classes", "seed", "dataset", "images_seen", "ema", "data_sha256", "run")
WRONG = (None, 7.5, {"a": {}}, [None], [[1]], True, -1, "text", 10**400)  # of which some are right for some keys


@pytest.fixture(scope="module")
def model(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run")) / "model"


@pytest.mark.parametrize("key", [*NEEDED, "label_counts", "git", "params"])
def test_whatever_a_key_holds_it_is_read_as_its_type_or_refused(model, key):
    path = model / "generator.json"
    before = path.read_text()
    kept = json.loads(before)
    read, _ = read_model(model)
    right = type(getattr(read, key))
    try:
        for value in WRONG:
            path.write_text(json.dumps(kept | {key: value}))
            try:
                found = getattr(read_model(model)[0], key)
            except ConfigError as error:
                assert str(path) in str(error) and key in str(error) and "`dvc repro`" in str(error)
            else:
                assert type(found) is right or key in ("git", "params")
        path.write_text(json.dumps({name: value for name, value in kept.items() if name != key}))
        if key in NEEDED:
            with pytest.raises(ConfigError, match=f"{key}: missing"):
                described(model)
        else:
            described(model)
    finally:
        path.write_text(before)


def test_an_evaluation_of_other_weights_is_refused(model, tmp_path):
    require_evaluated(model, tmp_path, {"generator_sha256": generators.digest(model)})
    require_evaluated(model, tmp_path, {})  # of an older revision
    with pytest.raises(ConfigError, match="other weights than those of"):
        require_evaluated(model, tmp_path, {"generator_sha256": "another"})

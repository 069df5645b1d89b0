"""The evaluation section refuses what cannot be measured; protocols say in what they differ."""

import dataclasses
import json
from typing import Any

import pytest

from ganlib.config import ConfigError, parse
from ganlib.metrics.protocol import Evaluation, Protocol, ProtocolMismatch, differences, require_equal

PROTOCOL = Protocol(
    distance="fd_efficientnet_lite0", extractor="efficientnet_lite0", weights_sha256="ab", resize=112,
    resize_method="bilinear", real_split="test", real_images=5000, generated_images=5000, quantisation="uint8",
    ema=True, truncation=1.0, neighbours=3, splits=10, seed=0, data_sha256="cd",
)  # fmt: skip


@pytest.mark.parametrize(("values", "message"), [
    ({"extractor": "inception_v3"}, r"evaluation\.extractor: 'inception_v3' is not a choice; did you mean 'inception'"),
    ({"resize": 8}, r"evaluation\.resize: 32 … 2,048"),
    ({"images": 3}, r"evaluation\.neighbours: between 1 and images - 1 = 2"),
    ({"neighbours": 0}, r"evaluation\.neighbours"),
    ({"splits": 0}, r"evaluation\.splits"),
    ({"truncation": 0}, r"evaluation\.truncation"),
    ({"truncation": 1.5}, r"evaluation\.truncation"),
    ({"batch_size": 0}, r"evaluation\.batch_size"),
    ({"seed": -1}, r"evaluation\.seed"),
    ({"classifier_images": 0}, r"evaluation\.classifier_images"),
    ({"image": 5}, r"evaluation\.image: unknown key; did you mean 'images'"),
])
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Evaluation, values, "evaluation")


def test_equal_protocols_have_no_differences_in_any_form() -> None:
    stored = json.loads(json.dumps(dataclasses.asdict(PROTOCOL)))
    assert differences(PROTOCOL, PROTOCOL) == differences(PROTOCOL, stored) == []


def test_every_field_counts() -> None:
    for field in dataclasses.fields(Protocol):
        changed: dict[str, Any] = {field.name: "another"}
        other = dataclasses.replace(PROTOCOL, **changed)
        assert differences(PROTOCOL, other) == [(field.name, getattr(PROTOCOL, field.name), "another")]


def test_a_field_that_one_of_them_lacks_is_a_difference() -> None:
    older = {name: value for name, value in dataclasses.asdict(PROTOCOL).items() if name != "resize"}
    assert differences(PROTOCOL, older) == [("resize", 112, None)]
    assert differences(older, PROTOCOL) == [("resize", None, 112)]


def test_unequal_protocols_are_refused_and_each_field_is_named() -> None:
    require_equal(PROTOCOL, dataclasses.asdict(PROTOCOL), "this", "that")
    other = dataclasses.replace(PROTOCOL, resize=64, truncation=0.7)
    expected = r"this and that cannot be compared, .* resize 112 \(this\) against 64 \(that\), truncation 1.0 \(this\)"
    with pytest.raises(ProtocolMismatch, match=expected):
        require_equal(PROTOCOL, other, "this", "that")

"""What the metrics take as features: any layout of real numbers, and nothing that would come out as a wrong number."""

import warnings

import numpy as np
import pytest
import torch

from ganlib.metrics.arrays import LARGEST, matrix, pair, tensor, untyped

VALUES = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize("array", [
    VALUES[::-1][::-1], np.ascontiguousarray(VALUES[::-1])[::-1], np.ascontiguousarray(VALUES[:, ::-1])[:, ::-1],
    np.asfortranarray(VALUES), VALUES.astype(">f8"), VALUES.astype("<f8"), VALUES.astype(">f4"), VALUES.astype(">i2"),
    np.ascontiguousarray(VALUES.astype(">i4")[::-1])[::-1], np.broadcast_to(VALUES, (4, 3)), VALUES.tolist(),
])  # fmt: skip
def test_any_layout_and_byte_order_holds_the_same_numbers(array: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tensor(array).tolist() == VALUES.tolist()


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int64, np.float16, np.float32])
def test_all_but_float64_becomes_float32(dtype: type) -> None:
    assert untyped(np.ones(3, dtype)).tolist() == [1, 1, 1]
    assert tensor(np.ones(3, dtype)).dtype == torch.float32
    assert tensor(VALUES).dtype == torch.float64


def test_memory_is_shared_where_it_can_be() -> None:
    assert tensor(VALUES).data_ptr() == VALUES.ctypes.data


@pytest.mark.parametrize("wrong", [VALUES.astype(complex), torch.ones(2, 2, dtype=torch.complex64), VALUES.astype(str),
                                   VALUES.astype(object)])
def test_what_are_no_real_numbers_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="numbers is needed, got one of"):
        tensor(wrong)


@pytest.mark.parametrize("shape", [(5, 0), (0, 5), (5,), (1, 5), (2, 2, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"here: features of shape \(N, d\) with N ≥ 2 and d ≥ 1 are needed"):
        matrix(np.zeros(shape), "here", least=2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_value_that_is_not_finite_is_refused(bad: float, dtype: type) -> None:
    values = np.zeros((40, 30), dtype)
    values[3, 29] = bad
    with pytest.raises(ValueError, match="here: the features hold NaN or infinity"):
        matrix(values, "here")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_overflows_as_a_square_is_refused(dtype: type) -> None:
    values = VALUES.astype(dtype)
    values[2, 1] = -1e16
    with pytest.raises(ValueError, match=r"here: the values reach 1\.0e\+16.*scale them"):
        pair(VALUES, values, "here")
    values[2, 1] = -LARGEST * 0.999
    assert pair(VALUES, values, "here")[1][2, 1] == float(values[2, 1])
    # with as many columns as a large image has values
    assert tensor(np.full((1, 3 * 1024**2), LARGEST, np.float32)).square().sum().isfinite()

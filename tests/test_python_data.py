"""Tensors from Python's numbers and nested sequences."""

import numpy as np
import pytest

import tensorlib as tl


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (True, "bool", ()),
        (3, "int64", ()),
        (2.5, "float32", ()),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
        ([True, False], "bool", (2,)),
        ([True, 2], "int64", (2,)),
        ([1, 2.5, True], "float32", (3,)),
        ([[1, 2], (3, 4)], "int64", (2, 2)),
        (range(4), "int64", (4,)),
        ([range(2), range(2)], "int64", (2, 2)),
        ([np.float64(1), 2.0], "float64", (2,)),
        ([np.float32(1), 2], "float32", (2,)),
        ([np.arange(3), [1, 2, 3]], "int64", (2, 3)),
        ([np.arange(3, dtype=np.int32), [1, 2, 3]], "int32", (2, 3)),
        ([np.arange(3, dtype=np.int32), [1.0, 2, 3]], "float32", (2, 3)),
        ([np.ones((2, 2), np.float32), np.ones((2, 2))], "float64", (2, 2, 2)),
        ([[[1]]] * 3, "int64", (3, 1, 1)),
    ],
)
def test_asarray_python_data_infers_shape_and_dtype(data, dtype, shape):
    x = tl.asarray(data)
    assert x.dtype == tl.dtype(dtype)
    assert x.shape == shape
    np.testing.assert_array_equal(x.numpy(), np.asarray(data))


def test_asarray_list_of_tensors_stacks_values():
    x = tl.asarray([tl.tensor([1, 2]), [3, 4]])
    assert x.tolist() == [[1, 2], [3, 4]]
    assert tl.asarray([tl.tensor(1), 2.5]).tolist() == [1.0, 2.5]


def test_asarray_list_of_tensors_that_require_grad_raises():
    with pytest.raises(tl.GraphError, match="stack"):
        tl.asarray([tl.ones(2, requires_grad=True)])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ([[1, 2], [3]], r"expected length 2 at \[1\]"),
        ([[[1], [2]], [[3], [4, 5]]], r"expected length 1 at \[1\]\[1\]"),
        ([1, [2]], r"\[1\] is a list, but its neighbours are scalars"),
        ([[1], 2], r"\[1\] is a int"),
        ([[], [1]], "expected length 0"),
        ([[1], []], "expected length 1"),
        ([np.ones(2), np.ones(3)], "expected length 2"),
        ([np.ones(2), 1.0], r"\[1\] is a float"),
        ([1.0, np.ones(2)], "array of shape"),
    ],
)
def test_asarray_ragged_raises_and_says_where(data, match):
    with pytest.raises(tl.ShapeError, match=match):
        tl.asarray(data)


def test_asarray_too_deep_or_cyclic_raises():
    deep = 1
    for _ in range(40):
        deep = [deep]
    cycle = []
    cycle.append(cycle)
    for data in (deep, cycle):
        with pytest.raises(tl.ShapeError, match="deep"):
            tl.asarray(data)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ("abc", "got str"),
        (["a"], r"at \[0\].*got str"),
        ([[1.0, None]], r"at \[0\]\[1\].*NoneType"),
        (None, "NoneType"),
        ({1: 2}, "dict"),
        ({1, 2}, "set"),
        (object(), "object"),
        (int, "type"),
    ],
)
def test_asarray_other_objects_raise(data, match):
    with pytest.raises(TypeError, match=match):
        tl.asarray(data)


@pytest.mark.parametrize("data", [2**63, -(2**63) - 1, [1, 2**63], [[0], [10**30]]])
def test_asarray_integer_beyond_int64_raises(data):
    with pytest.raises(OverflowError, match="out of range for int64"):
        tl.asarray(data)


def test_asarray_int64_limits_are_exact():
    limits = [2**63 - 1, -(2**63)]
    assert tl.asarray(limits).tolist() == limits


def test_tensor_dtype_applies_before_rounding():
    assert tl.tensor([0.1], dtype=tl.float64).item() == 0.1
    assert tl.tensor(0.1, dtype=tl.float64).item() == 0.1


@pytest.mark.parametrize(
    ("dtype", "bad"), [("uint8", 256), ("int32", 2**31), ("uint8", -1)]
)
def test_tensor_integer_outside_the_dtype_raises(dtype, bad):
    with pytest.raises(OverflowError, match=f"out of range for {dtype}"):
        tl.tensor([0, bad], dtype=dtype)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_tensor_nan_as_integer_raises(bad):
    with pytest.raises(ValueError, match="cannot be stored in int64"):
        tl.tensor([1.0, bad], dtype=tl.int64)


def test_asarray_sequence_that_shrinks_while_read_raises():
    class Shrinks:
        def __len__(self):
            victim.clear()
            return 2

        def __getitem__(self, i):
            if i >= 2:
                raise IndexError
            return i

    victim = [[1, 2], Shrinks()]
    with pytest.raises((RuntimeError, tl.ShapeError)):
        tl.asarray(victim)

"""Tensor: attributes, conversion to Python values, comparison."""

import operator

import numpy as np
import pytest
from op_rows import ALL
from sample_arrays import numbered

import tensorlib as tl


# ---- attributes ----------------------------------------------------------------
@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4), (1,) * 32])
def test_attributes_equal_numpy(shape, dtype):
    a, x = numbered(shape, dtype)
    assert (x.shape, x.ndim, x.size) == (a.shape, a.ndim, a.size)
    assert (x.itemsize, x.nbytes, x.dtype.name) == (a.itemsize, a.nbytes, dtype)
    assert x.device == tl.device("cpu")
    assert x.is_contiguous
    assert not x.is_readonly
    if x.size:
        assert x.data_ptr() % 64 == 0


def test_more_dimensions_than_allowed_raise():
    with pytest.raises(tl.ShapeError, match="at most 32 dimensions, got 33"):
        tl.zeros((1,) * 33)
    with pytest.raises(tl.ShapeError, match="32"):
        tl.zeros((1,) * 32)[None]


def test_tensor_class_cannot_be_called():
    with pytest.raises(TypeError, match=r"tensor\(data"):
        tl.Tensor()
    with pytest.raises(TypeError):
        type("Sub", (tl.Tensor,), {})


def test_unbound_methods_check_their_object():
    for name in ("detach", "item", "tolist", "data_ptr", "requires_grad_"):
        with pytest.raises(TypeError):
            getattr(tl.Tensor, name)(5)


# ---- Python values -------------------------------------------------------------
@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0), (1, 2, 2)])
def test_tolist_equals_numpy(shape, dtype):
    a, x = numbered(shape, dtype)
    assert x.tolist() == a.tolist()
    assert tl.tensor(x.tolist(), dtype=dtype).shape == a.shape or 0 in shape


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("bool", bool), ("uint8", int), ("int64", int), ("float32", float)],
)
def test_item_is_a_python_scalar(dtype, kind):
    assert type(tl.ones(1, dtype=dtype).item()) is kind


def test_item_of_many_elements_raises():
    with pytest.raises(ValueError, match=r"one element, got shape \(2,\)"):
        tl.ones(2).item()
    with pytest.raises(ValueError, match=r"\(0,\)"):
        tl.ones(0).item()


def test_truth_of_one_element():
    assert bool(tl.ones(1))
    assert not bool(tl.zeros((1, 1)))
    assert bool(tl.tensor(float("nan")))
    for shape in (2, 0, (0, 3)):
        with pytest.raises(ValueError, match=r"ambiguous.*any"):
            bool(tl.zeros(shape))


def test_len_and_iteration():
    x = tl.arange(6).reshape(3, 2)
    assert len(x) == 3
    assert [row.tolist() for row in x] == [[0, 1], [2, 3], [4, 5]]
    assert list(tl.zeros((0, 2))) == []
    for use in (len, iter, list):
        with pytest.raises(TypeError, match="0-d"):
            use(tl.tensor(1.0))


def test_iteration_yields_views():
    x = tl.zeros((3, 2))
    for row in x:
        row += 1
    assert bool((x == 1).all())


def test_conversion_to_numbers():
    assert int(tl.tensor(3.7)) == 3
    assert float(tl.tensor([2])) == 2.0
    assert complex(tl.tensor(2.5)) == 2.5 + 0j
    assert operator.index(tl.tensor(4)) == 4
    assert [0, 1, 2][tl.tensor(1)] == 1
    assert round(float(tl.tensor(2.5))) == 2
    with pytest.raises(TypeError, match="index"):
        operator.index(tl.tensor(1.0))
    with pytest.raises(TypeError, match="index"):
        operator.index(tl.tensor([1]))
    with pytest.raises(ValueError, match="item"):
        float(tl.ones(2))


def test_format_of_a_scalar_and_of_an_array():
    assert f"{tl.tensor(3.14159):.2f}" == "3.14"
    assert f"{tl.tensor(7):04d}" == "0007"
    assert f"{tl.ones(2)}" == "tensor([1., 1.])"
    with pytest.raises(TypeError, match="format"):
        f"{tl.ones(2):.2f}"


def test_membership():
    assert 2 in tl.arange(3)
    assert 5 not in tl.arange(3)
    assert None not in tl.arange(3)
    assert "a" not in tl.arange(3)


def test_hash_is_of_the_object():
    x, y = tl.ones(2), tl.ones(2)
    assert len({x, y, x}) == 2
    assert {x: 1}[x] == 1


# ---- comparison ----------------------------------------------------------------
@pytest.mark.parametrize("other", [None, "a", [], {}, object(), ..., b"x"])
def test_equality_with_other_objects_is_false(other):
    x = tl.ones(2)
    assert (x == other) is False
    assert (x != other) is True
    assert (other == x) is False


@pytest.mark.parametrize(
    "operation", [operator.lt, operator.le, operator.gt, operator.ge]
)
@pytest.mark.parametrize("other", [None, "a", object()])
def test_ordering_with_other_objects_raises(operation, other):
    with pytest.raises(TypeError):
        operation(tl.ones(2), other)


def test_comparison_broadcasts():
    assert (tl.arange(3) == tl.arange(3).reshape(3, 1)).tolist() == np.eye(
        3, dtype=bool
    ).tolist()
    with pytest.raises(tl.ShapeError, match="equal"):
        tl.ones(2) == tl.ones(3)  # noqa: B015


def test_nan_is_unequal_to_itself():
    x = tl.tensor(float("nan"))
    assert not bool(x == x)
    assert bool(x != x)


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63), 2**63 - 1])
def test_comparison_of_large_integers_is_exact(value):
    x = tl.tensor([value])
    assert (x == value).tolist() == [True]
    assert (x == value - 1 if value > 0 else x == value + 1).tolist() == [False]


def test_operators_with_other_objects_raise_type_error():
    for operation in (operator.add, operator.mul, operator.matmul, operator.pow):
        for other in (None, "a", object(), {}):
            with pytest.raises(TypeError):
                operation(tl.ones(2), other)
            with pytest.raises(TypeError):
                operation(other, tl.ones(2))


def test_mixed_operators_with_numpy_give_tensors():
    a = np.array([1.0, 2.0])
    for made in (
        tl.tensor(a) + a,
        a + tl.tensor(a),
        a * tl.tensor(a),
        a @ tl.tensor(a),
    ):
        assert type(made) is tl.Tensor
    x = np.float64(2.0) * tl.ones(2)
    assert type(x) is tl.Tensor

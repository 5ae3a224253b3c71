"""Dtypes: promotion, Python scalars, integer arithmetic at its limits, astype."""

import itertools
import math
import operator

import numpy as np
import pytest
from op_rows import ALL
from sample_arrays import assert_same

import tensorlib as tl

DTYPES = (*ALL, "float16", "bfloat16")
KINDS = {d: {"b": 0, "u": 1, "i": 1, "f": 2}[tl.dtype(d).kind] for d in DTYPES}


def promoted(a, b):
    """The documented rule: the higher kind decides; within a kind, as in NumPy."""
    if KINDS[a] != KINDS[b]:
        return a if KINDS[a] > KINDS[b] else b
    if {a, b} == {"float16", "bfloat16"}:
        return "float32"
    if "bfloat16" in (a, b):  # which NumPy lacks
        return b if a == "bfloat16" else a
    return np.promote_types(a, b).name


@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, DTYPES)))
def test_promotion_follows_the_rule(a, b):
    expected = promoted(a, b)
    x, y = tl.ones(2, dtype=a), tl.ones(2, dtype=b)
    assert tl.result_type(x, y).name == expected
    assert tl.result_type(tl.dtype(a), tl.dtype(b)).name == expected
    assert (x * y).dtype.name == expected
    assert tl.concat([x, y]).dtype.name == expected
    assert tl.where(x > 0, x, y).dtype.name == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scalar", [True, 1, 0.5])
def test_python_scalar_never_widens(dtype, scalar):
    x = tl.ones(2, dtype=dtype)
    kind = {bool: 0, int: 1, float: 2}[type(scalar)]
    raised = "int64" if kind == 1 else "float32"
    expected = dtype if kind <= KINDS[dtype] else raised
    assert (x * scalar).dtype.name == expected
    assert (scalar * x).dtype.name == expected
    assert tl.result_type(x, scalar).name == expected


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("int8", 128),
        ("uint16", 2**16),
        ("uint32", -1),
        ("uint64", 2**64),
        ("uint64", -1),
        ("int32", 2**31),
        ("int64", 2**63),
        ("int64", -(2**70)),
    ],
)
def test_python_integer_out_of_range_raises(dtype, value):
    x = tl.ones(2, dtype=dtype)
    for use in (
        lambda: x + value,
        lambda: value * x,
        lambda: x.__setitem__(0, value),
        lambda: tl.full(2, value, dtype=dtype),
        lambda: tl.tensor([value], dtype=dtype),
        lambda: tl.maximum(x, value),
        lambda: x.fill_(value),
    ):
        with pytest.raises(OverflowError, match=f"{value}.*{dtype}|{dtype}.*{value}"):
            use()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integer_arithmetic_wraps(dtype):
    info = tl.iinfo(dtype)
    x = tl.tensor([info.max], dtype=dtype)
    assert (x + 1).item() == info.min
    assert (tl.tensor([info.min], dtype=dtype) - 1).item() == info.max
    with np.errstate(over="ignore"):
        expected = np.array([info.max], dtype) * np.array([3], dtype)
    assert (x * 3).item() == expected.item()


@pytest.mark.parametrize("operation", [operator.floordiv, operator.mod])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integer_division_by_zero_raises(operation, dtype):
    x = tl.tensor([1, 2], dtype=dtype)
    for zero in (0, tl.tensor([1, 0], dtype=dtype)):
        with pytest.raises(ZeroDivisionError, match="integer division by zero"):
            operation(x, zero)


@pytest.mark.parametrize("operation", [operator.floordiv, operator.mod])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_most_negative_over_minus_one_does_not_trap(operation, dtype):
    least = tl.iinfo(dtype).min
    found = operation(tl.tensor([least] * 9, dtype=dtype), tl.tensor(-1, dtype=dtype))
    with np.errstate(all="ignore"):
        expected = operation(np.array([least], dtype), np.array([-1], dtype))
    assert set(found.tolist()) == set(expected.tolist())


def test_float_division_by_zero_gives_infinity():
    assert (tl.tensor([1.0, -1.0]) / 0).tolist() == [math.inf, -math.inf]
    assert bool((tl.tensor([0.0]) / 0).isnan().all())
    assert (tl.tensor([1]) / 0).tolist() == [math.inf]


def test_integer_to_negative_integer_power_raises():
    with pytest.raises(ValueError, match="negative integer powers"):
        tl.tensor([2]) ** tl.tensor([-1])


@pytest.mark.parametrize("target", ALL)
@pytest.mark.parametrize("origin", ALL)
def test_astype_equals_numpy(origin, target):
    a = np.array([0, 1, 2, 100, 127]).astype(origin)
    assert_same(tl.tensor(a).astype(target), a.astype(target))


def test_astype_truncates_towards_zero():
    assert tl.tensor([1.9, -1.9]).astype("int32").tolist() == [1, -1]
    assert tl.tensor([0.0, -0.0, 0.1, math.nan]).astype("bool").tolist() == [
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", ["sum", "prod", "cumsum"])
def test_accumulation_in_a_given_dtype_has_that_dtype(name, dtype, to):
    a = np.array([1, 0, 1, 1, 1, 1, 1], dtype=dtype)
    found = getattr(tl, name)(tl.asarray(a), axis=0, dtype=to)
    assert found.dtype.name == to
    expected = getattr(np, name)(a.astype(to), axis=0).astype(to)
    np.testing.assert_array_equal(found.numpy(), expected)

"""What the Array API standard asks of arguments and special values."""

import inspect

import numpy as np
import pytest

import tensorlib as tl

inf, nan = np.inf, np.nan
FLOATS = ["float16", "bfloat16", "float32", "float64"]


# ---- special values --------------------------------------------------------------
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [1, 64])
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (inf, 2.0, inf), (inf, -2.0, -inf), (-inf, 2.0, -inf), (-inf, -2.0, inf),
        (3.0, inf, 0.0), (3.0, -inf, -0.0), (-3.0, inf, -0.0), (-3.0, -inf, 0.0),
        (0.0, -inf, -0.0), (-0.0, inf, -0.0), (inf, inf, nan), (inf, -inf, nan),
        (inf, 0.0, inf), (inf, -0.0, -inf), (nan, inf, nan), (inf, nan, nan),
        (-7.0, 2.0, -4.0), (7.0, -2.0, -4.0),
    ],
)  # fmt: skip
def test_floor_divide_of_special_values(a, b, expected, count, dtype):
    # The standard's list for floor_divide; the last two are ordinary beside them.
    x, y = tl.full(count, a, dtype=dtype), tl.full(count, b, dtype=dtype)
    z = tl.full(count, a, dtype=dtype)
    z //= y
    for found in (tl.floor_divide(x, y), x // y, x // b, z):
        values = found.astype("float64").numpy()
        np.testing.assert_array_equal(values, np.full(count, expected))
        np.testing.assert_array_equal(
            np.signbit(values[values == 0]), np.signbit(expected)
        )


COMPLEX = [
    ("expm1", complex(-0.0, 0.0), complex(0.0, 0.0)),
    ("expm1", complex(-0.0, -0.0), complex(0.0, -0.0)),
    ("tanh", complex(inf, 2.0), complex(1.0, 0.0)),
    ("tanh", complex(inf, -2.0), complex(1.0, -0.0)),
    ("tanh", complex(-inf, 2.0), complex(-1.0, 0.0)),
    ("tanh", complex(-inf, -2.0), complex(-1.0, -0.0)),
    ("tan", complex(2.0, inf), complex(0.0, 1.0)),
    ("tan", complex(-2.0, -inf), complex(-0.0, -1.0)),
]


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(("name", "z", "expected"), COMPLEX)
def test_complex_special_value(name, z, expected, dtype):
    found = getattr(tl, name)(tl.tensor([z], dtype=dtype)).item()
    assert found == expected
    assert np.signbit(found.real) == np.signbit(expected.real)
    assert np.signbit(found.imag) == np.signbit(expected.imag)


# ---- arguments -------------------------------------------------------------------
def test_reshape_takes_its_shape_by_name():
    x = tl.arange(6)
    assert tl.reshape(x, shape=(2, 3)).shape == (2, 3)
    assert x.reshape(2, 3).shape == x.reshape((2, -1)).shape == (2, 3)
    assert tl.ones(1).reshape().shape == tl.reshape(tl.ones(1), ()).shape == ()
    assert tl.reshape(x, -1).shape == (6,)


def test_reshape_copy_is_obeyed():
    x = tl.arange(6)
    tl.reshape(x, (2, 3), copy=True).fill_(0)
    assert x.tolist() == [0, 1, 2, 3, 4, 5]
    tl.reshape(x, (2, 3), copy=False)[0, 0] = 9
    assert x[0].item() == 9
    with pytest.raises(ValueError, match="reshape: copy=False"):
        tl.reshape(tl.reshape(x, (2, 3)).T, (6,), copy=False)
    assert tl.reshape(tl.reshape(x, (2, 3)).T, (6,)).tolist() == [9, 3, 1, 4, 2, 5]


def test_permute_dims_takes_its_axes_by_name():
    x = tl.zeros((2, 3, 4))
    assert tl.permute_dims(x, axes=(2, 0, 1)).shape == (4, 2, 3)
    assert x.permute_dims(2, 0, 1).shape == x.permute_dims([2, 0, 1]).shape == (4, 2, 3)
    assert tl.permute_dims(tl.ones(()), ()).shape == ()


@pytest.mark.parametrize("axis", [(), (0,), (0, 1), (-1, 0), (3, 1), (-1, -3)])
def test_expand_dims_of_several_axes_equals_numpy(axis):
    a = np.arange(6).reshape(2, 3)
    found = tl.expand_dims(tl.tensor(a), axis)
    assert found.shape == np.expand_dims(a, axis).shape
    np.testing.assert_array_equal(found.numpy().ravel(), a.ravel())


@pytest.mark.parametrize("axis", [3, -4, (0, 0), (0, -4), (4, 0), tuple(range(40))])
def test_expand_dims_beyond_the_result_raises(axis):
    with pytest.raises(tl.ShapeError, match="expand_dims"):
        tl.expand_dims(tl.zeros((2, 3)), axis)


def test_astype_takes_a_device():
    x = tl.ones(2)
    assert tl.astype(x, "int8", device="cpu").dtype is tl.int8
    with pytest.raises(tl.DeviceError, match="no CUDA device 99"):
        tl.astype(x, "int8", device="cuda:99")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("astype", "(x, dtype, /, *, copy=True, device=None)"),
        ("can_cast", "(from_, to, /)"),
        ("isdtype", "(dtype, kind)"),
        ("from_dlpack", "(x, /, *, device=None, copy=None)"),
        ("unstack", "(x, /, *, axis=0)"),
        ("take_along_axis", "(x, indices, /, *, axis=-1)"),
        ("count_nonzero", "(x, /, *, axis=None, keepdims=False)"),
    ],
)
def test_signature_is_the_standards(name, expected):
    assert str(inspect.signature(getattr(tl, name))) == expected


@pytest.mark.parametrize("k", [2**63, -(2**63), -(2**63) - 1, 10**30, 4, -4, 3, -1])
def test_eye_with_a_diagonal_outside_is_zeros(k):
    expected = np.eye(3, 4, k=max(-9, min(k, 9)))
    np.testing.assert_array_equal(tl.eye(3, 4, k=k).numpy(), expected)


def test_axis_out_of_range_is_an_index_error():
    for call in (tl.expand_dims, tl.sum, tl.squeeze, tl.sort, tl.concat):
        x = tl.ones((2, 3))
        with pytest.raises(IndexError, match="expected an axis") as caught:
            call((x, x) if call is tl.concat else x, axis=7)
        assert isinstance(caught.value, tl.ShapeError)


# ---- complex numbers -------------------------------------------------------------
@pytest.mark.parametrize("value", [16777217j, 16777217.0, 0.1 + 0.3j, 4e-70, 2, True])
def test_assigned_scalar_keeps_its_precision(value):
    dtype = "complex128" if isinstance(value, complex) else "float64"
    for wide in {dtype, "complex128"}:
        x = tl.zeros(3, dtype=wide)
        x[0] = value
        x[tl.tensor([1])] = value
        x[tl.tensor([False, False, True])] = value
        assert x.tolist() == [value] * 3


def test_masked_fill_keeps_the_precision_of_its_scalar():
    mask = tl.tensor([True, False])
    x = tl.ones(2, dtype="float64")
    assert tl.masked_fill(x, mask, 0.1).tolist() == [0.1, 1.0]
    z = tl.ones(2, dtype="complex128")
    assert tl.masked_fill(z, mask, 0.1j).tolist() == [0.1j, 1]
    with pytest.raises(tl.DTypeError, match="masked_fill: a complex64 value"):
        tl.masked_fill(x, mask, 1j)


def test_count_nonzero_counts_complex_numbers():
    x = tl.tensor([0j, 1j, complex(0, nan), complex(-0.0, -0.0), 2])
    assert tl.count_nonzero(x).item() == 3


def test_view_as_real_of_a_list_raises():
    with pytest.raises(tl.DTypeError, match="view_as_real: expected a complex"):
        tl.view_as_real([1, 2])


def test_unique_of_complex_numbers_equals_numpy():
    rng = np.random.default_rng(0)
    a = rng.integers(-2, 3, (7, 9)) + 1j * rng.integers(-2, 3, (7, 9))
    for dtype in ("complex64", "complex128"):
        values, indices, inverse, counts = np.unique(
            a.astype(dtype), return_index=True, return_inverse=True, return_counts=True
        )
        found = tl.unique_all(tl.tensor(a, dtype=dtype))
        np.testing.assert_array_equal(found.values.numpy(), values)
        np.testing.assert_array_equal(found.indices.numpy(), indices)
        np.testing.assert_array_equal(found.inverse_indices.numpy(), inverse)
        np.testing.assert_array_equal(found.counts.numpy(), counts)
        x = tl.tensor(a, dtype=dtype)
        np.testing.assert_array_equal(tl.unique_values(x).numpy(), values)
        np.testing.assert_array_equal(tl.unique_counts(x).counts.numpy(), counts)


def test_complex_numbers_with_a_nan_are_distinct():
    parts = [(nan, 0), (nan, 0), (1, nan), (0.0, -0.0), (-0.0, 0.0), (2, 0), (1, nan)]
    x = tl.tensor([complex(*p) for p in parts])
    found = tl.unique_all(x)
    assert found.counts.tolist() == [2, 1, 1, 1, 1, 1]
    back = tl.take(found.values, found.inverse_indices)
    assert np.array_equal(back.numpy(), x.numpy(), equal_nan=True)
    assert tl.unique(x).shape == (3,)
    assert tl.unique_values(x[:0]).shape == (0,)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0,), (0, 0)])
def test_mask_with_an_axis_of_length_zero_selects_nothing(shape):
    a = np.arange(12.0).reshape(3, 4)
    mask = np.zeros(shape, bool)
    expected = a[mask]
    found = tl.tensor(a)[tl.tensor(mask)]
    assert found.shape == expected.shape
    x = tl.tensor(a)
    x[tl.tensor(mask)] = 7.0
    assert x.tolist() == a.tolist()

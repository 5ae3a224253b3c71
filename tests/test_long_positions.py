"""Positions of extremes in rows long enough to be cut into units."""

import numpy as np
import pytest

import tensorlib as tl

DTYPES = ["float16", "float32", "float64", "uint8", "int16", "int32", "int64", "uint64"]


def _positions(op, x, axis):
    found = []
    for threads in (1, 2):
        with tl.num_threads(threads):
            found.append(getattr(tl, op)(tl.asarray(x), axis=axis).numpy())
    np.testing.assert_array_equal(found[0], found[1])
    return found[0]


@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8193,), (3, 20_000), (40, 9_000)])
def test_position_of_ties_over_units_is_the_first(shape, dtype, op):
    x = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    for axis in (None, -1):
        expected = getattr(np, op)(x, axis=axis)
        np.testing.assert_array_equal(_positions(op, x, axis), expected)


@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("places", [[19_999], [8192, 8191], [5, 16_400], [0]])
def test_position_is_that_of_the_first_nan(places, dtype, op):
    x = np.random.default_rng(2).normal(size=20_000).astype(dtype)
    x[100] = np.inf
    x[200] = -np.inf
    x[places] = np.nan
    assert _positions(op, x, None) == min(places)


@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize("dtype", ["float32", "uint64"])
def test_position_in_a_view_counts_in_its_order(dtype, op):
    x = (np.random.default_rng(3).random((300, 200)) * 1e9).astype(dtype)
    for view in (x[:, ::-2], x.T, x[::3, ::2]):
        assert _positions(op, view, None) == getattr(np, op)(view)


@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 63, 64, 65, 250])
def test_position_in_a_short_row_is_numpy_s(n, op):
    x = np.random.default_rng(n).permuted(
        np.tile(np.arange(n, dtype="f"), (50, 1)), axis=1
    )
    np.testing.assert_array_equal(_positions(op, x, -1), getattr(np, op)(x, axis=-1))


@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_position_of_bfloat16_is_that_of_its_floats(op):
    x = np.random.default_rng(4).integers(-100, 100, 20_000).astype("f4")
    found = getattr(tl, op)(tl.asarray(x).astype(tl.bfloat16)).item()
    assert found == getattr(np, op)(x)

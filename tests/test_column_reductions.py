"""Reductions down the rows of matrices wide and long enough to be cut into tiles."""

import numpy as np
import pytest

import tensorlib as tl

# Columns of less, of one and of more than a tile; rows of whole and of broken tiles.
SHAPES = [(1000, 1000), (257, 130), (700, 2100), (30_000, 129), (3, 600, 1025)]
EXACT = ["int32", "int64", "uint8", "uint64"]


def _matrix(shape, dtype):
    values = np.random.default_rng(len(shape)).uniform(-3, 3, shape)
    return (np.abs(values) * 9 if dtype.startswith("u") else values * 3).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sum_and_mean_of_tiles_are_near_float64(shape, dtype):
    x = _matrix(shape, dtype)
    exact = np.sum(x, axis=-2, dtype=np.longdouble)
    # Blocked sums: a tile adds 32 groups of eight, and tiles are added in float64.
    bound = 40 * np.finfo(dtype).eps * np.sum(np.abs(x), axis=-2, dtype=np.float64)
    for result, factor in [
        (tl.sum(tl.asarray(x), axis=-2), 1),
        (tl.mean(tl.asarray(x), axis=-2), shape[-2]),
    ]:
        error = np.abs(np.asarray(result, dtype=np.longdouble) * factor - exact)
        assert (error <= bound).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("op", ["sum", "prod", "max", "min"])
def test_integers_of_tiles_are_exact(op, shape, dtype):
    x = _matrix(shape, dtype)
    expected = getattr(np, op)(x, axis=-2)
    np.testing.assert_array_equal(
        np.asarray(getattr(tl, op)(tl.asarray(x), axis=-2)), expected
    )


@pytest.mark.parametrize("op", ["max", "min"])
def test_extreme_of_tiles_keeps_nan_of_any_tile(op):
    x = _matrix((1000, 600), "float32")
    x[900, 3] = x[10, 599] = np.nan
    expected = getattr(np, op)(x, axis=0)
    np.testing.assert_array_equal(
        np.asarray(getattr(tl, op)(tl.asarray(x), axis=0)), expected
    )


@pytest.mark.parametrize("op", ["sum", "prod", "max", "mean", "var", "argmax"])
def test_tiles_on_any_number_of_threads_are_the_same_bits(op):
    x = tl.asarray(1 + _matrix((1100, 1030), "float32") / 1000)
    with tl.num_threads(1):
        expected = np.asarray(getattr(tl, op)(x, axis=0)).tobytes()
    for n in (2, 3, 8):
        with tl.num_threads(n):
            assert np.asarray(getattr(tl, op)(x, axis=0)).tobytes() == expected


def test_sum_of_tiles_into_a_turned_output():
    x = _matrix((2, 600, 3, 200), "float32")
    result = tl.sum(tl.permute_dims(tl.asarray(x), (3, 1, 2, 0)), axis=1)
    expected = x.transpose(3, 1, 2, 0).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-5, atol=1e-3)

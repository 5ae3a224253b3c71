"""The CUDA kernels of reading, assigning and adding at positions, on the emulator."""

import numpy as np
import pytest
from cuda_emulation import (
    DECLINED,
    OK,
    FaultError,
    Host,
    IndexParams,
    find_compiler,
    load,
)

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

DTYPES = [
    "bool", "int16", "int32", "int64", "float16", "float32", "float64", "complex128",
]  # fmt: skip


@pytest.fixture(scope="module")
def kernels():
    return load("indexing", "scatter")


def numbers(rng, shape, dtype):
    return rng.integers(0, 100, shape).astype(dtype)


def indices(rng, shape, extent):
    return rng.integers(-extent, extent, shape)


# Shape of x, indexed axes, shape of the indices, and how x and v lie in memory.
CASES = [
    ((7,), 1, (5,), "plain"),
    ((7,), 1, (300,), "plain"),
    ((9, 4), 1, (6,), "plain"),
    ((9, 3), 1, (2, 5), "plain"),
    ((40, 64), 1, (100,), "plain"),
    ((4, 5, 6), 2, (3,), "plain"),
    ((4, 5, 6), 3, (8,), "plain"),
    ((3, 4, 5, 2, 3), 5, (20,), "plain"),
    ((9, 3, 4), 1, (4, 2), "transposed"),
    ((5, 6, 4), 2, (7,), "transposed"),
    ((9, 6), 1, (5,), "reversed"),
    ((9, 6), 1, (), "plain"),
    ((9, 6), 1, (0,), "plain"),
    ((9, 0), 1, (3,), "plain"),
]


def arranged(x, how):
    if how == "transposed":
        return x.T.copy().T
    if how == "reversed":
        return x[::-1, ::-1].copy()[::-1, ::-1]
    return x


@pytest.mark.parametrize(("shape", "indexed", "tuples", "how"), CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_index_get_reads_rows(kernels, dtype, shape, indexed, tuples, how):
    rng = np.random.default_rng(0)
    x = arranged(numbers(rng, shape, dtype), how)
    index = [indices(rng, tuples, shape[d]) for d in range(indexed)]
    expected = x[tuple(index)]
    out = np.zeros(expected.shape, dtype)
    params = IndexParams(indexed, 0)
    assert kernels.call("index_get", out, [x, *index], params, dtype=dtype) == OK
    assert np.array_equal(out, expected)


def test_index_get_with_broadcast_indices_and_strided_output(kernels):
    rng = np.random.default_rng(0)
    x = numbers(rng, (6, 7, 8), "float32")
    a = np.broadcast_to(indices(rng, (4, 1), 6), (4, 5))
    b = np.broadcast_to(indices(rng, (1, 5), 7), (4, 5))
    out = np.zeros((8, 5, 4), np.float32).transpose(2, 1, 0)
    kernels.call("index_get", out, [x, a, b], IndexParams(2, 0), dtype="float32")
    assert np.array_equal(out, x[a, b])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rows", "columns", "picked"), [(70, 40, 50), (8, 100, 9), (33, 5, 32)]
)
def test_index_get_and_put_of_columns(kernels, dtype, rows, columns, picked):
    rng = np.random.default_rng(0)
    x = numbers(rng, (rows, columns), dtype)
    index = rng.permutation(max(columns, picked))[:picked] % columns
    out = np.zeros((picked, rows), dtype)
    kernels.call("index_get", out, [x.T, index], IndexParams(1, 0), dtype=dtype)
    assert np.array_equal(out, x.T[index])
    v = numbers(rng, (rows, picked), dtype)
    expected = last_wins(x.T.copy(), [index], v.T)
    kernels.call("index_put", x.T, [v.T, index], IndexParams(1, 0), dtype=dtype)
    assert np.array_equal(x.T, expected)


def test_index_get_of_columns_out_of_range_faults(kernels):
    x, out = np.ones((20, 10)), np.zeros((9, 20))
    index = np.array([0, 1, 2, 3, 10, 5, 6, 7, 8])
    with pytest.raises(FaultError):
        kernels.call("index_get", out, [x.T, index], IndexParams(1, 0), "float64")
    assert np.array_equal(out.any(1), index < 10)


@pytest.mark.parametrize("indexed", [1, 2])
def test_index_get_out_of_range_faults(kernels, indexed):
    x, out = np.ones((3, 4)), np.zeros((2, 4) if indexed == 1 else (2,))
    index = [np.array([1, 3]), np.array([0, 1])][:indexed]
    with pytest.raises(FaultError):
        kernels.call("index_get", out, [x, *index], IndexParams(indexed, 0), "float64")


def last_wins(x, index, v):
    flat = np.stack([np.broadcast_to(i, index[0].shape).ravel() for i in index], -1)
    rows = np.broadcast_to(v, index[0].shape + x.shape[len(index) :])
    rows = rows.reshape(len(flat), *x.shape[len(index) :])
    for place, row in zip(flat, rows, strict=True):
        x[tuple(place)] = row
    return x


@pytest.mark.parametrize(("shape", "indexed", "tuples", "how"), CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_index_put_keeps_the_last(kernels, dtype, shape, indexed, tuples, how):
    rng = np.random.default_rng(0)
    x = arranged(numbers(rng, shape, dtype), how)
    index = [indices(rng, tuples, shape[d]) for d in range(indexed)]
    v = arranged(numbers(rng, x[tuple(index)].shape, dtype), how)
    expected = last_wins(x.copy(), index, v)
    params = IndexParams(indexed, 0)
    assert kernels.call("index_put", x, [v, *index], params, dtype=dtype) == OK
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("indexed", [1, 2])
def test_index_put_of_many_tuples_keeps_the_last(kernels, indexed):
    rng = np.random.default_rng(0)
    x = numbers(rng, (20, 30, 2), "float32")
    index = [indices(rng, 3000, x.shape[d]) for d in range(indexed)]
    v = numbers(rng, (3000, *x.shape[indexed:]), "float32")
    expected = last_wins(x.copy(), index, v)
    kernels.call("index_put", x, [v, *index], IndexParams(indexed, 0), "float32")
    assert np.array_equal(x, expected)


def test_index_put_of_one_value_for_all(kernels):
    rng = np.random.default_rng(0)
    x, index = numbers(rng, (20, 3), "float32"), indices(rng, 50, 20)
    v = np.broadcast_to(np.float32(7), (50, 3))
    expected = x.copy()
    expected[index] = 7
    kernels.call("index_put", x, [v, index], IndexParams(1, 0), "float32")
    assert np.array_equal(x, expected)


def test_index_put_out_of_range_skips_the_tuple(kernels):
    x, index = np.zeros(4), np.array([1, 9, 2])
    with pytest.raises(FaultError):
        kernels.call("index_put", x, [np.ones(3), index], IndexParams(1, 0), "float64")
    assert x.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", ["plain", "transposed", "reversed"])
def test_gather_along_the_last_axis(kernels, dtype, how):
    rng = np.random.default_rng(0)
    for shape, n in (((5, 6), 3), ((2, 3, 4), 7), ((9,), 4), ((3, 1), 1), ((4, 5), 0)):
        x = numbers(rng, shape, dtype)
        if len(shape) > 1:
            x = arranged(x, how)
        index = indices(rng, (*shape[:-1], n), shape[-1])
        out = np.zeros(index.shape, dtype)
        kernels.call("gather", out, [x, index], dtype=dtype)
        assert np.array_equal(out, np.take_along_axis(x, index, -1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_gather_of_groups_at_any_address(kernels, dtype, shift):
    rng = np.random.default_rng(0)
    x = numbers(rng, (300, 9), dtype)
    index = indices(rng, (300, 10), 9)[:, shift : shift + 8]
    expected = np.take_along_axis(x, index, -1)
    for begin in (0, shift):
        out = np.zeros((300, 12), dtype)[:, begin : begin + 8]
        kernels.call("gather", out, [x, index], dtype=dtype)
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_gather_out_of_range_faults_and_skips_the_element(kernels, n):
    x, index, out = np.ones(3, np.float32), np.zeros(n, np.int64), np.zeros(n, "f4")
    index[1] = 3
    with pytest.raises(FaultError):
        kernels.call("gather", out, [x, index], dtype="float32")
    assert np.array_equal(out, index != 3)


@pytest.mark.parametrize("n", [0, 1, 15, 4096, 4097, 20000])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_nonzero_lists_positions(kernels, n, share):
    x = np.random.default_rng(0).random(n + 1) < share
    for mask in (x[:n], x[1:]):
        out = np.zeros(mask.sum(), np.int64)
        kernels.call("nonzero", out, [mask], dtype="bool")
        assert np.array_equal(out, np.flatnonzero(mask))


# ---- adding ----------------------------------------------------------------------
SUMMED = [
    "bool", "int8", "uint16", "int32", "int64", "uint32", "uint64", "float16",
    "float32", "float64",
]  # fmt: skip


@pytest.mark.parametrize(("shape", "indexed", "tuples", "how"), CASES)
@pytest.mark.parametrize("dtype", SUMMED)
def test_index_add_sums_rows(kernels, dtype, shape, indexed, tuples, how):
    rng = np.random.default_rng(0)
    x = arranged(rng.integers(0, 2, shape).astype(dtype), how)
    index = [indices(rng, tuples, shape[d]) for d in range(indexed)]
    v = arranged(rng.integers(0, 2, x[tuple(index)].shape).astype(dtype), how)
    expected = x.copy()
    (np.logical_or if dtype == "bool" else np.add).at(expected, tuple(index), v)
    params = IndexParams(indexed, 1)
    assert kernels.call("index_add", x, [v, *index], params, dtype=dtype) == OK
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("positions", [1, 3, 256, 500, 70000])
@pytest.mark.parametrize("columns", [1, 5, 8, 40])
@pytest.mark.parametrize("n", [65, 2000, 4096, 6000])
def test_index_add_of_many_tuples(kernels, n, columns, positions):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(positions, columns)).astype(np.float32)
    index = indices(rng, n, positions)
    v = rng.normal(size=(n, columns)).astype(np.float32)
    exact = x.astype(np.float64)
    np.add.at(exact, index, v.astype(np.float64))
    kernels.call("index_add", x, [v, index], IndexParams(1, 1), "float32")
    assert np.abs(x - exact).max() < 1e-6 * n


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n", [700, 5000])
@pytest.mark.parametrize("how", ["plain", "reversed", "transposed", "apart", "odd"])
def test_index_add_of_rows_in_any_layout(kernels, dtype, n, how):
    rng = np.random.default_rng(0)
    wide = np.zeros((30, 33), dtype)
    x = {"apart": wide[::2, :16], "odd": wide[:15, 1:17]}.get(how)
    if x is None:
        x = arranged(np.zeros((15, 16), dtype), how)
    v = arranged(rng.integers(0, 2, (n, 16)).astype(dtype), how)
    index = np.repeat(indices(rng, n, 15), 2)[::2]
    expected = np.zeros((15, 16))
    np.add.at(expected, index, v.astype(np.float64))
    kernels.call("index_add", x, [v, index], IndexParams(1, 1), dtype)
    assert np.array_equal(x, expected)


def test_index_add_of_many_columns(kernels):
    rng = np.random.default_rng(0)
    x, index = np.zeros((9, 12000), np.float32), indices(rng, 70, 9)
    v = rng.integers(0, 9, (70, 12000)).astype(np.float32)
    expected = x.copy()
    np.add.at(expected, index, v)
    kernels.call("index_add", x, [v, index], IndexParams(1, 1), "float32")
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("n", [1500, 6000])
def test_index_add_keeps_the_order_of_short_runs(kernels, n):
    rng = np.random.default_rng(0)
    x, index = np.zeros((n, 4), np.float32), indices(rng, n, n)
    v = rng.normal(size=(n, 4)) * 10.0 ** rng.integers(-3, 4, (n, 1))
    v = v.astype(np.float32)
    expected = x.copy()
    np.add.at(expected, index, v)
    kernels.call("index_add", x, [v, index], IndexParams(1, 1), "float32")
    assert np.mean(x == expected) > 0.95  # all but runs that cross pieces


@pytest.mark.parametrize("tuples", [3, 500, 5000])
@pytest.mark.parametrize("bad", [4, -5, 1 << 40])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_index_add_out_of_range_skips_the_tuple(kernels, tuples, bad, dtype):
    x, index = np.zeros(4, dtype), np.arange(tuples) % 4
    expected = np.bincount(np.delete(index, 1), minlength=4)
    index[1] = bad
    v, params = np.ones(tuples, dtype), IndexParams(1, 1)
    with pytest.raises(FaultError):
        kernels.call("index_add", x, [v, index], params, dtype)
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("dtype", SUMMED)
@pytest.mark.parametrize(
    ("shape", "n"),
    [
        ((5, 6), 3),
        ((2, 3, 4), 7),
        ((9,), 700),
        ((30, 4), 20),
        ((4, 5), 0),
        ((3, 50), 200),
        ((3, 50), 2000),
        ((300, 4), 20),
    ],
)
def test_scatter_add_sums_along_the_last_axis(kernels, dtype, shape, n):
    rng = np.random.default_rng(0)
    index = indices(rng, (*shape[:-1], n), shape[-1])
    v = rng.integers(0, 2, index.shape).astype(dtype)
    x = np.zeros(shape, dtype)
    expected = x.copy()
    grid = list(np.indices(index.shape, sparse=True))[:-1]
    (np.logical_or if dtype == "bool" else np.add).at(expected, (*grid, index), v)
    kernels.call("scatter_add", x, [v, index], dtype=dtype)
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("n", [3, 90, 3000])
def test_scatter_add_with_strided_index_sums_along_the_last_axis(kernels, n):
    rng = np.random.default_rng(0)
    index = indices(rng, (n, 2), 7).T
    v = rng.integers(0, 9, (2, n)).astype(np.float32)
    x, expected = np.zeros((2, 7), np.float32), np.zeros((2, 7), np.float32)
    np.add.at(expected, (np.arange(2)[:, None], index), v)
    kernels.call("scatter_add", x, [v, index], dtype="float32")
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "bins"), [(0, 3), (1, 1), (50, 7), (3000, 1), (3000, 100)]
)
def test_weighted_bincount_sums_in_float64(kernels, dtype, n, bins):
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, bins, n), rng.normal(size=n).astype(dtype)
    out = np.full(bins, 3.0)
    kernels.call("weighted_bincount", out, [w, x], dtype=dtype)
    expected = np.bincount(x, w.astype(np.float64), bins)
    assert np.allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_operands_on_the_host_are_declined(kernels):
    x, index = np.ones(3), np.array([1])
    params = IndexParams(1, 0)
    given = [Host(np.ones(1)), index]
    assert kernels.call("index_put", x, given, params, dtype="float64") == DECLINED
    picked = [x, Host(index)]
    assert kernels.call("gather", np.zeros(1), picked, dtype="float64") == DECLINED

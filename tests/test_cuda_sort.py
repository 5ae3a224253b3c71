"""The CUDA kernels of sorting, searching and counting, on the emulator."""

import ctypes

import numpy as np
import pytest
from cuda_emulation import OK, FaultError, find_compiler, load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

DTYPES = ["bool", "uint8", "int16", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]
LENGTHS = [1, 31, 33, 300, 1025, 2049, 9000]


class SortParams(ctypes.Structure):
    """tl_sort_params."""

    _fields_ = [
        ("k", ctypes.c_int64),
        ("descending", ctypes.c_int32),
        ("sorted", ctypes.c_int32),
    ]


class SearchParams(ctypes.Structure):
    """tl_search_params, and tl_runs_params."""

    _fields_ = [("flag", ctypes.c_int32)]


@pytest.fixture(scope="module")
def kernels():
    return load("sort")


def sample(rng, shape, dtype):
    """Elements that repeat, with zeros of both signs and NaNs of several payloads."""
    if dtype in FLOATS:
        x = rng.integers(-50, 50, shape).astype(dtype) / np.dtype(dtype).type(4)
        x[rng.random(shape) < 0.1] = -0.0
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.05] = -np.nan
        x[rng.random(shape) < 0.02] = np.inf
        x[rng.random(shape) < 0.02] = -np.inf
        return x
    info = np.iinfo("uint8" if dtype == "bool" else dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    x = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return np.where(rng.random(shape) < 0.5, x, x % 7).astype(dtype)


def order_of(x, descending, nan_first=False):
    """The stable order of the last axis; NaN is last, or the largest."""
    found = np.empty(x.shape, np.int64)
    for place in np.ndindex(x.shape[:-1]):
        row = x[place]
        nan = np.isnan(row) if row.dtype.kind == "f" else np.zeros(row.shape, bool)
        _, rank = np.unique(np.where(nan, 0, row), return_inverse=True)
        rank = -rank if descending else rank
        rank = np.where(nan, -len(row) - 1 if nan_first else len(row) + 1, rank)
        found[place] = np.argsort(rank, kind="stable")
    return found


def same_bits(a, b):
    return np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@pytest.mark.parametrize("descending", [0, 1])
@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES + FLOATS)
def test_sort_and_argsort_are_stable_to_the_bit(kernels, dtype, n, descending):
    rng = np.random.default_rng(n)
    x = sample(rng, (2, n), dtype)
    expected = order_of(x, descending)
    params = SortParams(0, descending, 1)
    values, order = np.empty_like(x), np.empty(x.shape, np.int64)
    orders = 1 if n > 2000 else 2
    assert kernels.call("sort", values, [x], params, dtype=dtype, orders=orders) == OK
    assert kernels.call("argsort", order, [x], params, dtype=dtype, orders=orders) == OK
    assert np.array_equal(order, expected)
    assert same_bits(values, np.take_along_axis(x, expected, -1))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint64"])
@pytest.mark.parametrize(
    "values", [[5], [3, 4], [-3, 900], [1 << 20, 7], [0, 1 << 24, 9]]
)
def test_sort_passes_over_digits_that_do_not_vary(kernels, values, dtype):
    picked = np.random.default_rng(0).integers(0, len(values), 5000)
    x = np.array(values).astype(dtype)[picked]
    out, order = np.empty_like(x), np.empty(5000, np.int64)
    kernels.call("sort", out, [x], SortParams(0, 1, 1), dtype=dtype, orders=1)
    kernels.call("argsort", order, [x], SortParams(0, 0, 1), dtype=dtype, orders=1)
    assert np.array_equal(out, np.sort(x)[::-1])
    assert np.array_equal(order, np.argsort(x, kind="stable"))


@pytest.mark.parametrize("n", [20, 200, 5000])
def test_sort_along_strided_rows(kernels, n):
    rng = np.random.default_rng(0)
    x = sample(rng, (2, n, 3), "float32").transpose(0, 2, 1)[..., ::-1]
    out = np.empty((2, n, 3), np.float32).transpose(0, 2, 1)
    kernels.call("sort", out, [x], SortParams(0, 0, 1), orders=1)
    assert same_bits(out, np.take_along_axis(x, order_of(x, False), -1))


def test_sort_of_bfloat16_orders_by_value(kernels):
    values = np.array([1.5, -2, np.nan, 0.25, -0.0, np.inf, 3], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    order = np.empty(7, np.int64)
    kernels.call("argsort", order, [bits], SortParams(0, 0, 1), dtype="bfloat16")
    assert order.tolist() == [1, 4, 3, 0, 6, 5, 2]


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize(
    ("n", "k"),
    [(8, 2), (32, 32), (100, 7), (3000, 50), (9000, 9000), (8200, 20), (20000, 250)],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "float16"])
def test_topk_takes_the_first_of_equals(kernels, dtype, n, k, largest):
    x = sample(np.random.default_rng(n + k), (3, n), dtype)
    expected = order_of(x, largest, bool(largest))[:, :k]
    values, indices = np.empty((3, k), dtype), np.empty((3, k), np.int64)
    kernels.call("topk", [values, indices], [x], SortParams(k, largest, 1), orders=1)
    assert np.array_equal(indices, expected)
    assert same_bits(values, np.take_along_axis(x, expected, -1))


@pytest.mark.parametrize("n", [5, 32, 500, 5000])
def test_argselect_finds_elements_of_ranks(kernels, n):
    rng = np.random.default_rng(n)
    x = sample(rng, (3, n), "float32")
    ranks = np.broadcast_to(rng.integers(0, n, (1, 4)), (3, 4))
    out = np.empty((3, 4), np.int64)
    kernels.call("argselect", out, [x, ranks], dtype="float32", orders=1)
    assert np.array_equal(out, np.take_along_axis(order_of(x, False), ranks, -1))


@pytest.mark.parametrize("n", [10, 5000])
def test_argselect_of_a_rank_that_is_not_there_faults(kernels, n):
    x, out = np.ones(n, np.float32), np.empty(1, np.int64)
    with pytest.raises(FaultError):
        kernels.call("argselect", out, [x, np.array([n])], dtype="float32", orders=1)


@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_searchsorted_equals_numpy(kernels, dtype, right):
    rng = np.random.default_rng(1)
    for n in (0, 1, 2, 7, 100, 1000):
        a = np.sort(sample(rng, n, dtype))
        v = sample(rng, 333, dtype)
        out = np.empty(333, np.int64)
        kernels.call("searchsorted", out, [a, v], SearchParams(right), dtype=dtype)
        expected = np.searchsorted(a, v, side="right" if right else "left")
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("equal_nan", [0, 1])
@pytest.mark.parametrize("n", [0, 1, 15, 4096, 4097, 10000])
def test_runs_of_equal_elements(kernels, n, equal_nan):
    x = sample(np.random.default_rng(n), n, "float32")
    order = order_of(x, False) if n else np.empty(0, np.int64)
    s = x[order]
    new = np.ones(n, bool)
    if n:
        nan = np.isnan(s)
        new[1:] = (s[1:] != s[:-1]) & ~(nan[1:] & nan[:-1] & bool(equal_nan))
    starts, inverse = np.zeros(n + 1, np.int64), np.empty(n, np.int64)
    kernels.call(
        "runs", [starts, inverse], [x, order], SearchParams(equal_nan), dtype="float32"
    )
    count = starts[-1]
    assert count == new.sum()
    assert np.array_equal(starts[:count][: n or 0], np.flatnonzero(new))
    expected = np.empty(n, np.int64)
    expected[order] = np.cumsum(new) - 1
    assert np.array_equal(inverse, expected)
    alone = np.zeros(n + 1, np.int64)
    kernels.call("runs", alone, [s], SearchParams(equal_nan), dtype="float32")
    assert np.array_equal(alone[:count], starts[:count])


@pytest.mark.parametrize("bins", [1, 10, 5000])
@pytest.mark.parametrize("n", [0, 1, 3000])
def test_bincount_equals_numpy(kernels, n, bins):
    x = np.random.default_rng(0).integers(0, bins, n)
    out = np.full(bins, 7, np.int64)
    kernels.call("bincount", out, [x], dtype="int64")
    assert np.array_equal(out, np.bincount(x, minlength=bins))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_histogram_equals_numpy(kernels, dtype):
    x = np.random.default_rng(0).normal(size=5000).astype(dtype)
    edges = np.linspace(-1, 2, 12).astype(dtype)
    x[:12] = edges
    x[20] = np.nan
    out = np.full(11, 7, np.int64)
    kernels.call("histogram", out, [x, edges], dtype=dtype)
    assert np.array_equal(out, np.histogram(x[~np.isnan(x)], edges)[0])

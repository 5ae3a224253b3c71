"""CUDA's cumulative sums and products on the emulator, against NumPy."""

import numpy as np
import pytest
from cuda_emulation import OK, find_compiler, load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

REALS = ["float16", "bfloat16", "float32", "float64"]
WHOLES = ["bool", "uint8", "int32", "int64", "uint64"]
TOLERANCE = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 2e-7, "float64": 1e-12}


@pytest.fixture(scope="module")
def kernels():
    return load("scan")


def sample(shape, dtype):
    rng = np.random.default_rng(0)
    x = rng.random(shape) + 0.25
    if dtype == "bfloat16":
        return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if dtype in REALS:
        return x.astype(dtype)
    if dtype == "bool":
        return x > 0.7
    return rng.integers(0 if dtype.startswith("u") else -100, 100, shape).astype(dtype)


def numbers(x):
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def check(kernels, op, x, dtype, out=None):
    if out is None:
        wide = np.uint64 if dtype in ("uint8", "uint64") else np.int64
        out = np.empty(x.shape, x.dtype if dtype in REALS else wide)
    assert kernels.call(op, out, [x], dtype=dtype) == OK
    wide = None if dtype in REALS else out.dtype
    expected = getattr(np, op)(numbers(x), axis=-1, dtype=wide)
    if dtype in REALS:
        limit = {
            "float16": 6e-8,
            "bfloat16": 1e-40,
            "float32": 2e-45,
            "float64": 1e-323,
        }[dtype]
        error = np.abs(numbers(out) - expected)
        assert (error <= TOLERANCE[dtype] * np.abs(expected) + limit).all(), error.max()
    else:
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("dtype", REALS + WHOLES)
def test_sums_of_rows_of_any_length(kernels, dtype):
    for shape in [
        (1,), (7,), (33,), (128,), (1000,), (5000,), (3, 40), (3, 1001), (2, 4100),
        (1500, 5), (1100, 32), (2, 3, 64),
    ]:  # fmt: skip
        check(kernels, "cumsum", sample(shape, dtype), dtype)


@pytest.mark.parametrize("dtype", REALS + WHOLES)
def test_products_of_rows(kernels, dtype):
    for shape in [(1,), (20,), (3, 40), (1100, 9), (2, 2100)]:
        check(kernels, "cumprod", sample(shape, dtype), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_long_rows_are_cut_into_chunks(kernels, dtype):
    check(kernels, "cumsum", sample(60000, dtype), dtype)
    check(kernels, "cumsum", sample(50001, dtype)[1:], dtype)
    check(kernels, "cumsum", sample((2000, 40), dtype).T, dtype)


@pytest.mark.parametrize("op", ["cumsum", "cumprod"])
def test_other_axes_and_strides(kernels, op):
    x = sample((6, 20, 36), "float32")
    for axis in range(3):
        out = np.empty(x.shape, np.float32)
        check(
            kernels, op, np.moveaxis(x, axis, -1), "float32", np.moveaxis(out, axis, -1)
        )
    check(kernels, op, x[::2, ::-1, ::-3], "float32")
    check(kernels, op, np.broadcast_to(x[:, :, :1], x.shape), "float32")
    check(kernels, op, np.broadcast_to(x[:1], x.shape), "float32")
    check(kernels, op, np.empty((3, 0), np.float32), "float32")
    check(kernels, op, np.empty((0, 3), np.float32), "float32")


def test_integers_wrap_and_nan_stays(kernels):
    check(kernels, "cumsum", np.array([2**62, 2**62, 2**62, -1], np.int64), "int64")
    check(kernels, "cumprod", np.array([2**40, 2**30, 3], np.uint64), "uint64")
    x = np.ones(3000, np.float32)
    x[1234] = np.nan
    out = np.empty_like(x)
    kernels.call("cumsum", out, [x])
    assert np.array_equal(out[:1234], np.arange(1, 1235))
    assert np.isnan(out[1234:]).all()

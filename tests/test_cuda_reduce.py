"""CUDA's reductions on the emulator, against NumPy in float64."""

import numpy as np
import pytest
from cuda_emulation import DECLINED, OK, ReduceParams, find_compiler, load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

REALS = ["float16", "bfloat16", "float32", "float64"]
WHOLES = ["bool", "uint8", "int32", "int64", "uint64"]
# Two roundings to the dtype; sums take place in float32 at least.
TOLERANCE = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 3e-6, "float64": 1e-13}


@pytest.fixture(scope="module")
def kernels():
    return load("reduce")


def to_bits(x):
    """bfloat16 bits of float32 numbers, rounded to nearest even."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def from_bits(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def sample(shape, dtype, seed=0):
    """An array as the kernel sees it, and the same numbers in a wide dtype."""
    rng = np.random.default_rng(seed)
    if dtype == "bfloat16":
        bits = to_bits(rng.standard_normal(shape))
        return bits, from_bits(bits).astype(np.float64)
    if dtype in REALS:
        x = rng.standard_normal(shape).astype(dtype)
        return x, x.astype(np.float64)
    if dtype == "bool":
        x = rng.random(shape) < 0.5
    else:
        low = 0 if dtype.startswith("u") else -100
        x = rng.integers(low, 100, shape).astype(dtype)
    return x, x


def view(x, axes):
    """x with its kept axes first, as the op hands it over."""
    kept = [d for d in range(x.ndim) if d not in axes]
    return x.transpose(*kept, *axes)


def result_dtype(op, dtype):
    if op in ("argmax", "argmin"):
        return np.int64
    if op in ("any", "all"):
        return bool
    if op in ("sum", "prod") and dtype in WHOLES:
        return np.uint64 if dtype in ("uint8", "uint64") else np.int64
    return np.uint16 if dtype == "bfloat16" else np.dtype(dtype)


def run(kernels, op, x, dtype, axes, scale=1.0, correction=0.0):
    given = view(x, axes)
    shape = given.shape[: given.ndim - len(axes)]
    out = np.empty(shape, result_dtype(op, dtype))
    params = ReduceParams(n_reduced=len(axes), scale=scale, correction=correction)
    assert kernels.call(op, out, [given], params=params, dtype=dtype) == OK
    return from_bits(out) if out.dtype == np.uint16 and op not in ("any",) else out


def reference(op, wide, axes):
    with np.errstate(all="ignore"):
        if op == "logsumexp":
            top = wide.max(axes, keepdims=True)
            top = np.where(np.isfinite(top), top, 0)
            return (np.log(np.exp(wide - top).sum(axes, keepdims=True)) + top).sum(axes)
        if op in ("argmax", "argmin"):
            moved = view(wide, axes)
            flat = moved.reshape(*moved.shape[: wide.ndim - len(axes)], -1)
            return getattr(np, op)(flat, -1)
        return getattr(np, op)(wide, axes)


def check(kernels, op, x, wide, dtype, axes):
    got = run(kernels, op, x, dtype, axes)
    expected = reference(op, wide, axes)
    if dtype in REALS and op in ("sum", "prod", "var", "logsumexp"):
        size = np.abs(wide).sum(axes) if op == "sum" else np.abs(expected)
        error = np.abs(got.astype(np.float64) - expected)
        least = 6e-8 if dtype == "float16" else 0  # the unit of its subnormals
        size = size + (op == "logsumexp")
        assert (error <= TOLERANCE[dtype] * size + least).all(), error.max()
    else:
        assert np.array_equal(got, expected)


SHAPES = [
    ((), ()),
    ((7,), (0,)),
    ((5000,), (0,)),
    ((300, 5), (1,)),
    ((300, 5), (0,)),
    ((40, 67), (1,)),
    ((67, 40), (0,)),
    ((3, 1300), (1,)),
    ((1300, 64), (0,)),
    ((4, 6, 5, 8), (0, 2)),
    ((4, 6, 5, 8), (1, 3)),
    ((4, 6, 16), (0, 2)),
    ((4, 6, 16), (0, 1, 2)),
    ((1, 9, 1, 3), (1,)),
]


@pytest.mark.parametrize("dtype", REALS + WHOLES)
@pytest.mark.parametrize("op", ["sum", "max", "min", "any", "all"])
def test_reductions_of_any_axes_equal_numpy(kernels, op, dtype):
    for shape, axes in SHAPES:
        x, wide = sample(shape, dtype)
        check(kernels, op, x, wide, dtype, axes)


@pytest.mark.parametrize("dtype", REALS + WHOLES)
@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_positions_are_the_first(kernels, op, dtype):
    for shape, axes in SHAPES:
        x, wide = sample(shape, dtype)
        check(kernels, op, x, wide, dtype, axes)


@pytest.mark.parametrize("dtype", REALS + WHOLES)
def test_products_equal_numpy(kernels, dtype):
    for shape, axes in [((3, 20), (1,)), ((20, 33), (0,)), ((), ())]:
        x, wide = sample(shape, dtype)
        check(kernels, "prod", x, wide, dtype, axes)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("op", ["var", "logsumexp"])
def test_moments_and_exponentials_equal_numpy(kernels, op, dtype):
    for shape, axes in SHAPES:
        x, wide = sample(shape, dtype)
        check(kernels, op, x, wide, dtype, axes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "uint8"])
@pytest.mark.parametrize("op", ["sum", "max", "argmax", "any"])
@pytest.mark.parametrize("n", [16383, 100001])
def test_long_rows_are_cut_into_parts(kernels, op, dtype, n):
    x, wide = sample((n + 3,), dtype)
    check(kernels, op, x[1 : n + 1], wide[1 : n + 1], dtype, (0,))
    x, wide = sample((2, n), dtype)
    check(kernels, op, x, wide, dtype, (1,))
    x, wide = sample((n // 4, 4), dtype)
    check(kernels, op, x, wide, dtype, (0,))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("op", ["sum", "argmax", "var", "logsumexp"])
def test_parts_are_joined_by_the_last_block_or_by_another_kernel(kernels, op, dtype):
    for shape in [(3000, 8), (5000, 128), (9000,)]:
        x, wide = sample(shape, dtype)
        check(kernels, op, x, wide, dtype, (0,))
    x, wide = sample((3, 40000), dtype)
    check(kernels, op, x, wide, dtype, (1,))


@pytest.mark.parametrize("op", ["sum", "argmin", "var", "logsumexp", "max"])
def test_strided_operands_equal_numpy(kernels, op):
    x, wide = sample((12, 14, 16), "float32")
    for index in [
        np.s_[::2, ::-3, ::2], np.s_[:, 1:9, 3:11], np.s_[::-1, :, ::-1],
        np.s_[:, :, 4], np.s_[2:3, :, :],
    ]:  # fmt: skip
        part, wide_part = x[index], wide[index]
        for axes in [(0,), (1,), tuple(range(part.ndim))]:
            check(kernels, op, part, wide_part, "float32", axes)
    wider = np.broadcast_to(x[:, None, :3, 0], (12, 5, 3))
    wide = np.broadcast_to(wide[:, None, :3, 0], (12, 5, 3))
    for axes in [(0,), (1,), (2,), (0, 1), (0, 1, 2)]:
        check(kernels, op, wider, wide, "float32", axes)


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 0), (1,)), ((0, 3), (0,)), ((0,), (0,))]
)
def test_empty_reductions_give_the_identity(kernels, shape, axes):
    for op, expected in [
        ("sum", 0), ("prod", 1), ("any", False), ("all", True), ("var", np.nan),
        ("logsumexp", -np.inf),
    ]:  # fmt: skip
        got = run(kernels, op, np.empty(shape, np.float32), "float32", axes)
        assert np.array_equal(got, np.full(got.shape, expected), equal_nan=True)
    assert run(kernels, "sum", np.empty((0, 3), np.float32), "float32", (1,)).shape == (
        0,
    )
    assert np.isnan(
        run(kernels, "sum", np.empty((0,), np.float32), "float32", (0,), np.inf)
    )


def test_infinities_of_exponentials(kernels):
    x = np.zeros((4, 300), np.float32)
    x[0] = -np.inf
    x[1, 7] = np.inf
    x[2, :299] = -np.inf
    x[3, 5] = np.nan
    expected = [-np.inf, np.inf, 0, np.nan]
    for given, axes in [(x, (1,)), (np.ascontiguousarray(x.T), (0,))]:
        got = run(kernels, "logsumexp", given, "float32", axes)
        assert np.array_equal(got, np.float32(expected), equal_nan=True)


def test_nan_wins_and_the_first_is_found(kernels):
    x = np.random.default_rng(0).standard_normal((6, 5000)).astype(np.float32)
    x[0, 4321] = x[0, 4999] = np.nan
    x[1, 0] = x[1, 1] = np.nan
    x[2] = -np.inf
    x[3] = np.inf
    for given, axes in [(x, (1,)), (np.ascontiguousarray(x.T), (0,))]:
        for op in ("max", "min"):
            got = run(kernels, op, given, "float32", axes)
            assert np.array_equal(got, getattr(np, op)(given, axes), equal_nan=True)
        for op in ("argmax", "argmin"):
            got = run(kernels, op, given, "float32", axes)
            assert np.array_equal(got, getattr(np, op)(given, axes[0]))
        got = run(kernels, "logsumexp", given, "float32", axes)
        assert np.isnan(got[:2]).all()
        assert got[2] == -np.inf
        assert got[3] == np.inf
        got = run(kernels, "var", given, "float32", axes)
        assert np.isnan(got[:4]).all()
        assert np.isfinite(got[4:]).all()


def test_unsigned_and_signed_extremes(kernels):
    edges = {
        "uint64": [0, 1, 2**63 - 1, 2**63, 2**64 - 1],
        "uint32": [0, 1, 2**31 - 1, 2**31, 2**32 - 1],
        "int8": [-128, -1, 0, 127],
        "int64": [-(2**63), -1, 0, 2**63 - 1],
    }
    for dtype, numbers in edges.items():
        x = np.array(numbers, dtype)
        for op in ("max", "min", "argmax", "argmin"):
            out = np.empty((), np.int64 if op.startswith("arg") else dtype)
            params = ReduceParams(n_reduced=1)
            assert kernels.call(op, out, [x], params=params) == OK
            assert out == getattr(np, op)(x)


def test_variance_far_from_zero_and_corrected(kernels):
    x = (1e4 + np.random.default_rng(0).standard_normal((3, 20000))).astype(np.float32)
    for given, axes in [(x, (1,)), (np.ascontiguousarray(x.T), (0,))]:
        got = run(kernels, "var", given, "float32", axes, correction=1.0)
        expected = given.astype(np.float64).var(axes, ddof=1)
        assert np.allclose(got, expected, rtol=2e-6, atol=0)
    assert np.isnan(
        run(kernels, "var", x[:, :1], "float32", (1,), correction=1.0)
    ).all()


def test_mean_scales_in_float64(kernels):
    x, wide = sample((100, 33), "float16")
    got = run(kernels, "sum", x, "float16", (0,), scale=0.01)
    assert np.allclose(got, wide.mean(0), atol=2e-3)


def test_operand_on_the_host_is_declined(kernels):
    from cuda_emulation import Host

    out = np.empty((), np.float32)
    params = ReduceParams(n_reduced=0, scale=1.0)
    assert kernels.call("sum", out, [Host(np.float32(2))], params=params) == DECLINED

"""CUDA's softmax, cross-entropy and normalization on the emulator, against float64."""

import numpy as np
import pytest
from cuda_emulation import (
    OK,
    CrossEntropyParams,
    FaultError,
    NormParams,
    find_compiler,
    load,
)

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

DTYPES = ["float16", "bfloat16", "float32", "float64"]
# A rounding to the dtype, and what sums of a few thousand terms lose.
TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-5, "float64": 1e-12}


@pytest.fixture(scope="module")
def kernels():
    return load("softmax", "loss", "norm")


def stored(x, dtype):
    """float64 numbers as the kernel sees them."""
    if dtype != "bfloat16":
        return x.astype(dtype)
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16)


def numbers(x):
    if x.dtype != np.uint16:
        return x.astype(np.float64)
    return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def sample(shape, dtype, seed=0):
    return stored(np.random.default_rng(seed).standard_normal(shape) * 2, dtype)


def empty(shape, dtype):
    return np.empty(shape, np.uint16 if dtype == "bfloat16" else dtype)


def working(dtype):
    return "float64" if dtype == "float64" else "float32"


def close(got, expected, dtype, scale=1.0):
    error = np.abs(numbers(got) - expected)
    assert (error <= TOLERANCE[dtype] * (np.abs(expected) + 0.05 * scale)).all(), (
        error.max()
    )


def softmax(x, log):
    moved = x - x.max(-1, keepdims=True)
    total = np.exp(moved).sum(-1, keepdims=True)
    return moved - np.log(total) if log else np.exp(moved) / total


# ---- softmax -------------------------------------------------------------------------
WIDTHS = [1, 2, 7, 8, 40, 256, 257, 1000, 1024, 1032, 2048, 3001, 5000]


def check_softmax(kernels, op, dtype, given, out):
    kernels.call(op, out, [given], dtype=dtype)
    close(out, softmax(numbers(given), op == "log_softmax"), dtype)


def check_softmax_grad(kernels, op, dtype, g, y, out):
    kernels.call(f"{op}_grad", out, [g, y], dtype=dtype)
    wide_g, wide_y = numbers(g), numbers(y)
    if op == "softmax":
        expected = wide_y * (wide_g - (wide_g * wide_y).sum(-1, keepdims=True))
    else:
        expected = wide_g - np.exp(wide_y) * wide_g.sum(-1, keepdims=True)
    close(out, expected, dtype, np.abs(wide_g).sum(-1).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_softmax_of_any_width(kernels, op, dtype):
    for n in WIDTHS:
        rows = 3 if n > 300 else 70
        x = sample((rows, n), dtype)
        check_softmax(kernels, op, dtype, x, empty((rows, n), dtype))
        y = stored(softmax(numbers(x), op == "log_softmax"), dtype)
        g = sample((rows, n), dtype, 1)
        check_softmax_grad(kernels, op, dtype, g, y, empty((rows, n), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("n", [33000, 40960])
def test_softmax_of_long_rows(kernels, op, dtype, n):
    x = sample((2, n), dtype)
    check_softmax(kernels, op, dtype, x, empty((2, n), dtype))
    y = stored(softmax(numbers(x), op == "log_softmax"), dtype)
    g = sample((2, n), dtype, 1)
    check_softmax_grad(kernels, op, dtype, g, y, empty((2, n), dtype))


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_softmax_along_other_axes(kernels, op):
    for shape, axis in [
        ((3, 5, 40), 1), ((200, 6), 0), ((4, 3, 2, 9), 1), ((2, 300, 33), 1),
        ((6, 4), 0), ((1, 7, 1), 1),
    ]:  # fmt: skip
        x, g = sample(shape, "float32"), sample(shape, "float32", 1)
        out = empty(shape, "float32")
        moved = np.moveaxis(x, axis, -1)
        check_softmax(kernels, op, "float32", moved, np.moveaxis(out, axis, -1))
        y = stored(softmax(numbers(moved), op == "log_softmax"), "float32")
        y_memory = np.ascontiguousarray(np.moveaxis(y, -1, axis))
        for moved_y in (np.moveaxis(y_memory, axis, -1), y):
            check_softmax_grad(
                kernels, op, "float32", np.moveaxis(g, axis, -1), moved_y,
                np.moveaxis(out, axis, -1),
            )  # fmt: skip
    x = sample((20, 64), "float32")[::-2, 3:60:2]
    check_softmax(kernels, op, "float32", x, empty(x.shape, "float32"))
    g = np.broadcast_to(np.float32(1.5), x.shape)
    check_softmax_grad(kernels, op, "float32", g, x, empty(x.shape, "float32"))
    assert kernels.call(op, empty((3, 0), "float32"), [empty((3, 0), "float32")]) == OK


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("n", [6, 2000, 40000])
def test_softmax_of_infinities(kernels, op, n):
    x = np.zeros((5, n), np.float32)
    x[0, 1:] = -np.inf
    x[1] = -np.inf
    x[2, 3] = np.inf
    x[3, 2] = np.nan
    x[4, :2] = 1e30
    out = empty(x.shape, "float32")
    kernels.call(op, out, [x])
    assert out[0, 0] == (op == "softmax")
    assert not np.isnan(out[0]).any()
    assert np.isnan(out[1:4]).all()
    assert np.isclose(out[4, 0], 0.5 if op == "softmax" else np.log(0.5))


# ---- cross-entropy -------------------------------------------------------------------
def check_cross_entropy(kernels, x, target, dtype, smoothing):
    rows, n = x.shape
    params = CrossEntropyParams(ignore_index=-100, label_smoothing=smoothing, scale=1.0)
    loss, lse = np.empty(rows, working(dtype)), np.empty(rows, working(dtype))
    assert kernels.call("cross_entropy", [loss, lse], [x, target], params, dtype) == OK
    log = softmax(numbers(x), True)
    live = target != -100
    hot = np.zeros((rows, n))
    hot[live, target[live]] = 1 - smoothing
    hot[live] += smoothing / n
    close(loss, -(log * hot).sum(1), working(dtype), 10)
    assert np.allclose(lse, (numbers(x) - log)[:, 0], rtol=1e-5)
    g = sample(rows, working(dtype), 2)
    params.scale = 0.5
    out = empty((rows, n), dtype)
    inputs = [x, lse, target, g]
    assert kernels.call("cross_entropy_grad", out, inputs, params, dtype) == OK
    slope = np.where(live[:, None], np.exp(log) - hot, 0) * 0.5 * numbers(g)[:, None]
    close(out, slope, dtype)
    assert (out[~live] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_and_gradient(kernels, dtype, smoothing):
    for rows, n in [
        (70, 3),
        (33, 10),
        (5, 128),
        (5, 1001),
        (2, 9000),
        (2, 20011),
        (1, 1),
    ]:
        x = sample((rows, n), dtype)
        target = np.random.default_rng(1).integers(0, n, rows)
        target[: rows // 3] = -100
        check_cross_entropy(kernels, x, target, dtype, smoothing)


def test_cross_entropy_of_strided_operands(kernels):
    target = np.random.default_rng(1).integers(0, 20, 60)
    for x in (
        sample((20, 30), "float32").T, sample((60, 40), "float32")[::2, ::2],
        sample((30, 29), "float32")[:, 4:24],
    ):  # fmt: skip
        check_cross_entropy(kernels, x, target[::2], "float32", 0.0)
    x = sample((4, 512), "float32")[:, 8:264]
    check_cross_entropy(kernels, x, target[:4], "float32", 0.1)


def test_bad_target_is_a_fault(kernels):
    x = sample((4, 6), "float32")
    loss, lse = np.empty(4, np.float32), np.empty(4, np.float32)
    params = CrossEntropyParams(ignore_index=-100, label_smoothing=0.0, scale=1.0)
    for bad in (6, -1, 2**40):
        target = np.array([0, bad, -100, 5])
        with pytest.raises(FaultError, match="bad target"):
            kernels.call("cross_entropy", [loss, lse], [x, target], params)
        with pytest.raises(FaultError, match="bad target"):
            kernels.call(
                "cross_entropy_grad", np.empty_like(x), [x, lse, target, lse], params
            )


# ---- layer normalization -------------------------------------------------------------
def layer_norm_reference(x, weight, bias, g):
    n = x.shape[1]
    mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    rstd = 1 / np.sqrt(var + 1e-5)
    hat = (x - mean) * rstd
    scaled = g * weight
    along = (scaled * hat).sum(1, keepdims=True) / n
    gx = rstd * (scaled - scaled.mean(1, keepdims=True) - hat * along)
    return hat * weight + bias, mean[:, 0], rstd[:, 0], gx, (g * hat).sum(0), g.sum(0)


def check_layer_norm(kernels, rows, n, dtype, affine):
    x, g = sample((rows, n), dtype), sample((rows, n), dtype, 1)
    weight, bias = sample(n, dtype, 2), sample(n, dtype, 3)
    expected = layer_norm_reference(
        numbers(x), numbers(weight) if affine else 1.0,
        numbers(bias) if affine == 2 else 0.0, numbers(g),
    )  # fmt: skip
    y = empty((rows, n), dtype)
    mean, rstd = np.empty(rows, working(dtype)), np.empty(rows, working(dtype))
    inputs = [x, weight, bias][: 1 + affine]
    kernels.call("layer_norm", [y, mean, rstd], inputs, NormParams(eps=1e-5), dtype)
    close(y, expected[0], dtype, 4)
    assert np.allclose(mean, expected[1], rtol=1e-5, atol=1e-5)
    assert np.allclose(rstd, expected[2], rtol=1e-5)
    outs = [empty((rows, n), dtype), empty(n, dtype), empty(n, dtype)]
    inputs = [g, x, mean, rstd] + ([weight] if affine else [])
    kernels.call("layer_norm_grad", outs, inputs, dtype=dtype)
    close(outs[0], expected[3], dtype, 10 * np.abs(expected[2]).max())
    close(outs[1], expected[4], dtype, 10 * rows**0.5)
    close(outs[2], expected[5], dtype, 10 * rows**0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_norm_and_gradient(kernels, dtype):
    for rows, n in [
        (300, 4),
        (40, 7),
        (33, 32),
        (9, 250),
        (9, 256),
        (5, 768),
        (3, 1023),
    ]:
        for affine in (0, 2):
            check_layer_norm(kernels, rows, n, dtype, affine)
    check_layer_norm(kernels, 3, 2048, dtype, 1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("n", [9000, 9001, 33000, 33001])
def test_layer_norm_of_long_rows(kernels, dtype, n):
    check_layer_norm(kernels, 3, n, dtype, 2)


# ---- the same without a mean ---------------------------------------------------------
def check_rms_norm(kernels, rows, n, dtype, weighted):
    x, g, weight = (sample(s, dtype, i) for i, s in enumerate([(rows, n)] * 2 + [n]))
    x = stored(numbers(x) + 1, dtype)
    wide, wide_g = numbers(x), numbers(g)
    scale = numbers(weight) if weighted else 1.0
    inverse = 1 / np.sqrt((wide**2).mean(1, keepdims=True) + 1e-5)
    hat = wide * inverse
    y, rstd = empty((rows, n), dtype), np.empty(rows, working(dtype))
    inputs = [x, weight] if weighted else [x]
    kernels.call("rms_norm", [y, None, rstd], inputs, NormParams(eps=1e-5), dtype)
    close(y, hat * scale, dtype, 4)
    assert np.allclose(rstd, inverse[:, 0], rtol=1e-5)
    outs = [empty((rows, n), dtype), empty(n, dtype), None]
    inputs = [g, x, None, rstd] + ([weight] if weighted else [])
    kernels.call("rms_norm_grad", outs, inputs, dtype=dtype)
    along = (wide_g * scale * hat).mean(1, keepdims=True)
    close(outs[0], inverse * (wide_g * scale - hat * along), dtype, 10 * inverse.max())
    close(outs[1], (wide_g * hat).sum(0), dtype, 10 * rows**0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_norm_and_gradient(kernels, dtype):
    for rows, n in [(300, 4), (40, 7), (33, 32), (9, 250), (5, 768), (3, 1023)]:
        for weighted in (False, True):
            check_rms_norm(kernels, rows, n, dtype, weighted)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("n", [9000, 9001, 33000, 33001])
def test_rms_norm_of_long_rows(kernels, dtype, n):
    check_rms_norm(kernels, 3, n, dtype, True)


def test_layer_norm_far_from_zero(kernels):
    for n in (512, 40000):
        x = 1e4 + sample((2, n), "float32")
        y, mean, rstd = empty(x.shape, "float32"), np.empty(2, "f4"), np.empty(2, "f4")
        kernels.call("layer_norm", [y, mean, rstd], [x], NormParams(eps=1e-5))
        expected = 1 / np.sqrt(x.astype(np.float64).var(1) + 1e-5)
        assert np.allclose(rstd, expected, rtol=1e-4)


def test_layer_norm_grad_without_rows_is_zero(kernels):
    outs = [
        np.empty((0, 5), np.float32),
        np.ones(5, np.float32),
        np.ones(5, np.float32),
    ]
    none = np.empty((0, 5), np.float32)
    kernels.call("layer_norm_grad", outs, [none, none, none[:, 0], none[:, 0]])
    assert (outs[1] == 0).all()
    assert (outs[2] == 0).all()


# ---- batch normalization -------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [(40, 5, 1), (33, 64, 1), (4, 3, 49), (2, 8, 64), (1, 6, 1000), (3, 1, 5000)],
)
def test_batch_norm_and_gradient(kernels, shape, dtype):
    channels = shape[1]
    x, g = sample(shape, dtype), sample(shape, dtype, 1)
    wide_dtype = working(dtype)
    weight, bias = sample(channels, wide_dtype, 2), sample(channels, wide_dtype, 3)
    wide, along = numbers(x), numbers(weight)[:, None]
    average, var = wide.mean((0, 2)), wide.var((0, 2))
    inverse = 1 / np.sqrt(var + 1e-5)
    hat = (wide - average[:, None]) * inverse[:, None]
    y = empty(shape, dtype)
    found = [np.empty(channels, working(dtype)) for _ in range(3)]
    kernels.call(
        "batch_norm", [y, *found], [x, weight, bias], NormParams(eps=1e-5), dtype
    )
    close(y, hat * along + numbers(bias)[:, None], dtype, 4)
    for got, expected in zip(found, (average, var, inverse), strict=True):
        assert np.allclose(got, expected, rtol=2e-5, atol=1e-6)
    outs = [empty(shape, dtype), *(np.empty(channels, wide_dtype) for _ in range(2))]
    inputs = [g, x, found[0], found[2], weight]
    kernels.call("batch_norm_grad", outs, inputs, dtype=dtype)
    wide_g = numbers(g)
    product, total = (wide_g * hat).sum((0, 2)), wide_g.sum((0, 2))
    count = wide.size / channels
    slope = wide_g - (total[:, None] + hat * product[:, None]) / count
    close(outs[0], along * inverse[:, None] * slope, dtype, 10)
    close(outs[1], product, wide_dtype, 10 * count**0.5)
    close(outs[2], total, wide_dtype, 10 * count**0.5)

"""Elementwise CUDA kernels on the emulator: every entry, and every way operands lie.

Values are compared with tensorlib's CPU kernels, and with the entry's own result on
contiguous operands where only the layout differs: those must be the same bits.
"""

import ctypes

import numpy as np
import pytest
from cuda_emulation import (
    DECLINED,
    DTYPES,
    OK,
    ActivationParams,
    FaultError,
    FillParams,
    GluParams,
    Host,
    Operand,
    RangeParams,
    find_compiler,
    load,
)

import tensorlib as tl

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

FAMILIES = ("unary", "binary", "ternary", "cast", "activation", "fill")
NAMES = list(DTYPES)
HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)


@pytest.fixture(scope="module")
def kernels():
    return load(*FAMILIES)


# ---- operands ------------------------------------------------------------------------
def storage(dtype):
    return np.dtype(np.uint16 if dtype == "bfloat16" else dtype)


def to_bfloat16(x):
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def widened(x, dtype):
    if dtype == "bfloat16":
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x


def sample(dtype, shape, rng, low=-3, high=3):
    """Numbers that every op takes: no integer is 0, which would divide."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in FLOATS:
        x = rng.uniform(low, high, shape)
        return to_bfloat16(x) if dtype == "bfloat16" else x.astype(dtype)
    if dtype.startswith("complex"):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return rng.integers(1, 12, shape).astype(dtype)


def run(kernels, op, dtype, out, inputs, out_dtype=None, params=None, **options):
    wrapped = [x if isinstance(x, Operand) else Operand(x, None) for x in inputs]
    for x in wrapped:
        if x.dtype is None and x.array.dtype == np.uint16 and dtype == "bfloat16":
            x.dtype = "bfloat16"
    target = Operand(out, out_dtype)
    status = kernels.call(op, target, wrapped, params=params, dtype=dtype, **options)
    assert status == OK
    return out


def result_dtype(op, dtype):
    tests = [
        "equal",
        "not_equal",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "isnan",
        "isinf",
        "isfinite",
        "signbit",
        "logical_not",
    ]
    return "bool" if op in tests else dtype


def same(a, b):
    return a.tobytes() == b.tobytes()


def entries(kernels, *families):
    chosen = load(*FAMILIES) if not families else kernels
    return sorted((op, NAMES[code]) for op, code in chosen.entries)


ACTIVATION = ActivationParams(a=0.5, b=1.25, c=0.75)
NUMBERED = [
    "leaky_relu",
    "elu",
    "hardtanh",
    "threshold",
    "hardshrink",
    "softshrink",
    "leaky_relu_grad",
    "elu_grad",
    "hardtanh_grad",
    "threshold_grad",
    "shrink_grad",
]
UNARY = [
    "sqrt",
    "rsqrt",
    "reciprocal",
    "floor",
    "ceil",
    "round",
    "softsign",
    "hardsigmoid",
    "hardswish",
    "expm1",
    "log1p",
    "tanh",
    "erf",
    "gelu_tanh",
    "softplus",
    "log_sigmoid",
    "tanhshrink",
    "mish",
    "exp",
    "log",
    "sin",
    "cos",
    "tan",
    "sigmoid",
    "gelu",
    "silu",
    "negative",
    "abs",
    "sign",
    "square",
    "relu",
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
    "logical_not",
    "bitwise_invert",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "sinh",
    "cosh",
    "log2",
    "log10",
    "trunc",
    "leaky_relu",
    "elu",
    "hardtanh",
    "threshold",
    "hardshrink",
    "softshrink",
]


def inputs_of(op, dtype, shape, rng):
    if op == "where":
        return [sample("bool", shape, rng), *(sample(dtype, shape, rng) for _ in "ab")]
    count = 1 if op in UNARY else 3 if op in ("clip", "glu_grad") else 2
    return [sample(dtype, shape, rng) for _ in range(count)]


def params_of(op):
    return ACTIVATION if op in NUMBERED else None


def is_plain(op):
    return not op.startswith("cast_") and op not in ("fill", "arange", "glu_grad")


# ---- every entry ---------------------------------------------------------------------
def test_every_entry_gives_the_same_bits_however_operands_lie(kernels):
    rng = np.random.default_rng(1)
    for op, dtype in entries(kernels):
        if not is_plain(op):
            continue
        inputs = inputs_of(op, dtype, (4, 19), rng)
        target = storage(result_dtype(op, dtype))
        flat = np.zeros((4, 19), target)
        out_dtype = result_dtype(op, dtype)
        run(kernels, op, dtype, flat, inputs, out_dtype, params_of(op))
        strided = [np.asfortranarray(x) if i else x[:, ::-1].copy()[:, ::-1]
                   for i, x in enumerate(inputs)]  # fmt: skip
        other = np.zeros((4, 38), target)[:, ::2]
        run(kernels, op, dtype, other, strided, out_dtype, params_of(op))
        assert same(flat, np.ascontiguousarray(other)), (op, dtype)
        rows = [np.zeros((4, 32), x.dtype)[:, :16] for x in inputs]
        for row, x in zip(rows, inputs, strict=True):
            row[...] = x[:, :16]
        packs = np.zeros((4, 16), target)
        run(kernels, op, dtype, packs, rows, out_dtype, params_of(op))
        assert same(packs, np.ascontiguousarray(flat[:, :16])), (op, dtype)


def test_every_public_op_agrees_with_the_cpu(kernels):
    rng = np.random.default_rng(2)
    seen = 0
    for op, dtype in entries(kernels):
        function = getattr(tl, op, None)
        if function is None or not is_plain(op) or op in (*NUMBERED, "prelu"):
            continue
        if dtype == "bfloat16":
            continue
        x = inputs_of(op, dtype, 203, rng)
        found = np.zeros(203, storage(result_dtype(op, dtype)))
        run(kernels, op, dtype, found, x)
        try:
            expected = function(*(tl.tensor(a) for a in x)).numpy()
        except (TypeError, tl.DTypeError):
            continue
        if expected.dtype != found.dtype:
            continue
        if found.dtype.kind == "f":
            # The same formulas: fused multiply-adds differ, 16 bits round once.
            limit = 8 if dtype == "float32" else 16 if dtype == "float64" else 2
            limit *= float(np.finfo(found.dtype).eps)
            assert np.allclose(
                found.astype(np.float64), expected.astype(np.float64), rtol=limit,
                atol=limit / 10, equal_nan=True,
            ), (op, dtype)  # fmt: skip
        else:
            assert np.array_equal(found, expected), (op, dtype)
        seen += 1
    assert seen > 200


def test_empty_operands_write_nothing(kernels):
    for op, dtype in entries(kernels):
        if is_plain(op):
            inputs = inputs_of(op, dtype, (0, 3), np.random.default_rng(0))
            out = np.zeros((0, 3), storage(result_dtype(op, dtype)))
            run(kernels, op, dtype, out, inputs, result_dtype(op, dtype), params_of(op))


# ---- layouts -------------------------------------------------------------------------
def arrangements(dtype, rng):
    """Pairs of operands of one shape, by name."""
    big = sample(dtype, (40, 3, 64), rng)
    square = sample(dtype, (48, 48), rng)
    row, column = sample(dtype, 64, rng), sample(dtype, (40, 3, 1), rng)
    flat = sample(dtype, 4101, rng)
    yield "one", flat[:1], flat[1:2]
    yield "no axes", flat[3:4].reshape(()), flat[4:5].reshape(())
    yield "flat with a rest", flat, flat[::-1].copy()
    yield "not aligned", flat[1:], flat[:-1]
    yield "reversed", flat[::-1], flat
    yield "steps", flat[::3], flat[: 4101 // 3]
    yield "row", big, np.broadcast_to(row, big.shape)
    yield "row on the left", np.broadcast_to(row, big.shape), big
    yield "column", big, np.broadcast_to(column, big.shape)
    yield "odd rows", big[:, :, :61], np.broadcast_to(row[:61], (40, 3, 61))
    yield "device scalar", big, np.broadcast_to(row[:1], big.shape)
    yield "transposed", square.T, square
    yield "both transposed", square.T, square.copy().T
    yield "permuted", big.transpose(2, 0, 1), big.copy().transpose(2, 0, 1)
    yield "permuted apart", big.transpose(2, 0, 1), sample(dtype, (64, 40, 3), rng)
    yield "outer", (np.broadcast_to(row[:, None], (64, 64)),
                    np.broadcast_to(row, (64, 64)))  # fmt: skip
    many = sample(dtype, (2,) * 10, rng)
    yield "many axes", many.transpose(9, 0, 7, 2, 5, 4, 3, 6, 1, 8), many


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8"])
def test_add_of_any_layout(kernels, dtype):
    rng = np.random.default_rng(3)
    for name, *operands in arrangements(dtype, rng):
        a, b = operands if len(operands) == 2 else operands[0]
        out = np.zeros(a.shape, a.dtype)
        run(kernels, "add", dtype, out, [a, b])
        assert same(out, a + b), name


@pytest.mark.parametrize(
    "lies", ["transposed", "steps", "reversed", "part", "permuted"]
)
def test_output_of_any_layout(kernels, lies):
    rng = np.random.default_rng(4)
    shape = (24, 36)
    out = {
        "transposed": lambda: np.zeros((36, 24), np.float32).T,
        "steps": lambda: np.zeros((24, 72), np.float32)[:, ::2],
        "reversed": lambda: np.zeros(shape, np.float32)[::-1, ::-1],
        "part": lambda: np.zeros((30, 40), np.float32)[3:27, 4:],
        "permuted": lambda: np.zeros((36, 1, 24), np.float32).transpose(2, 1, 0)[:, 0],
    }[lies]()
    a, b = (rng.normal(size=shape).astype(np.float32) for _ in "ab")
    run(kernels, "subtract", "float32", out, [a, b])
    assert np.array_equal(out, a - b)
    run(kernels, "subtract", "float32", out, [out, np.broadcast_to(b[:1], shape)])
    assert np.array_equal(out, a - b - b[:1])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int32"])
def test_numbers_of_the_host_go_by_value(kernels, dtype):
    rng = np.random.default_rng(5)
    for shape in [(), (7,), (33, 64), (5, 3)]:
        x = sample(dtype, shape, rng)
        number = Host(sample(dtype, (), rng), dtype)
        spread = np.broadcast_to(number.array, shape)
        for name in ("subtract", "maximum"):
            for left in (True, False):
                out, expected = np.zeros_like(x), np.zeros_like(x)
                given = [number, x] if left else [x, number]
                run(kernels, name, dtype, out, given, dtype)
                given = [spread.copy(), x] if left else [x, spread.copy()]
                run(kernels, name, dtype, expected, given, dtype)
                assert same(out, expected)
        broadcast = Host(spread, dtype)  # with zero strides
        run(kernels, "subtract", dtype, out, [x, broadcast], dtype)
        run(kernels, "subtract", dtype, expected, [x, spread.copy()], dtype)
        assert same(out, expected)


def test_in_place_of_a_scalar_and_of_itself(kernels):
    x = np.arange(1000, dtype=np.float32)
    run(kernels, "multiply", "float32", x, [x, x])
    assert np.array_equal(x, np.arange(1000, dtype=np.float32) ** 2)
    run(kernels, "exp", "float32", x[:10], [x[:10]])
    assert np.allclose(x[:10], np.exp(np.arange(10.0) ** 2), rtol=1e-6)


def test_turned_operand_equals_strided_one(kernels):
    rng = np.random.default_rng(6)
    a = rng.normal(size=(130, 140)).astype(np.float32)
    b = rng.normal(size=(140, 130)).astype(np.float32)
    out = np.zeros_like(a)
    run(kernels, "add", "float32", out, [a, b.T])
    assert np.array_equal(out, a + b.T)
    run(kernels, "add", "float32", out, [b.T, np.broadcast_to(a[:1], a.shape)])
    assert np.array_equal(out, b.T + a[:1])
    half = np.zeros(a.shape, np.float16)
    run(kernels, "cast_float16", "float32", half, [b.T])
    assert np.array_equal(half, b.T.astype(np.float16))


# ---- conversion ----------------------------------------------------------------------
REAL = [name for name in DTYPES if not name.startswith("complex")]
EDGES = [0.0, -0.0, 1.0, -1.5, 2.5, 100.7, -129.0, 255.5, 40000.0, 65504.0, 65520.0,
         2.0**31, -(2.0**31) - 0.5, 2.0**40, 1e19, -1e19, np.inf, -np.inf, np.nan,
         1e-8, 6e-8, 3.0e38, 1.00390625, 2049.0]  # fmt: skip


@pytest.mark.parametrize("source", REAL)
@pytest.mark.parametrize("target", REAL)
def test_cast_equals_the_cpu(kernels, source, target):
    rng = np.random.default_rng(7)
    with np.errstate(all="ignore"):
        if source in FLOATS:
            x = np.array(EDGES + list(rng.normal(size=30) * 300))
            x = to_bfloat16(x) if source == "bfloat16" else x.astype(source)
        elif source == "bool":
            x = sample("bool", 50, rng)
        else:
            info = np.iinfo(source)
            x = rng.integers(info.min, info.max, 50, dtype=source, endpoint=True)
            x[:3] = [info.min, info.max, 0]
    given = tl.tensor(widened(x, source)).astype(source)
    expected = given.astype(target).astype(
        "float32" if target == "bfloat16" else target
    )
    expected = expected.numpy()
    expected = to_bfloat16(expected) if target == "bfloat16" else expected
    out = np.zeros(x.shape, storage(target))
    run(kernels, f"cast_{target}", source, out, [x], target)
    if target in FLOATS:
        nan = np.isnan(widened(expected, target))
        assert np.array_equal(nan, np.isnan(widened(out, target)))
        out, expected = out[~nan], expected[~nan]
    assert same(out, expected)


def _views(x):
    """Views of a C-contiguous array of four axes."""
    yield "itself", x
    yield "a part", x[1:, :, :, : x.shape[3] // 2]
    yield "words", x[:, :, :, 8:24]
    yield "one off", x[:, :, 1:, 1:]
    yield "turned", x.transpose(3, 2, 1, 0)
    yield "channels last", x.transpose(0, 2, 3, 1)
    yield "last two", x.transpose(0, 1, 3, 2)
    yield "middle", x.transpose(0, 2, 1, 3)
    yield "turned part", x[:, :, 1:35, 2:37].transpose(0, 1, 3, 2)
    yield "backwards", x[::-1, :, ::-1, ::-1]
    yield "every other", x[:, :, ::2, ::3]
    yield "spread", np.broadcast_to(x[:, :1], (2, 5, *x.shape[2:]))


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "float32", "float64", "complex64", "complex128"]
)
def test_copy_of_any_layout(kernels, dtype):
    rng = np.random.default_rng(8)
    x = sample(dtype, (2, 3, 72, 40), rng)
    for name, view in _views(x):
        out = np.zeros(view.shape, view.dtype)
        run(kernels, f"cast_{dtype}", dtype, out, [view], orders=1)
        assert same(out, np.ascontiguousarray(view)), name
        back = np.zeros_like(x)
        if view.base is not None and name != "spread":
            target = dict(_views(back))[name]
            run(kernels, f"cast_{dtype}", dtype, target, [out], orders=1)
            assert same(np.ascontiguousarray(target), out), name


def test_copy_between_columns_of_a_wider_array(kernels):
    wide = np.zeros((50, 96), np.float16)
    part = np.arange(50 * 32, dtype=np.float16).reshape(50, 32)
    run(kernels, "cast_float16", "float16", wide[:, 32:64], [part])
    assert np.array_equal(wide[:, 32:64], part)
    assert not wide[:, :32].any()
    assert not wide[:, 64:].any()


# ---- the rest ------------------------------------------------------------------------
@pytest.mark.parametrize("op", ["floor_divide", "remainder"])
def test_integer_division_by_zero_is_a_fault(kernels, op):
    x = np.arange(1, 9, dtype=np.int32)
    y = np.where(x == 5, 0, x).astype(np.int32)
    with pytest.raises(FaultError, match="division by zero") as caught:
        run(kernels, op, "int32", np.zeros_like(x), [x, y])
    assert caught.value.op == op
    run(kernels, op, "float32", np.zeros(8, np.float32), [x.astype(np.float32)] * 2)


def test_negative_exponent_of_integers_is_a_fault(kernels):
    x = np.array([2, -3, 5], np.int64)
    out = np.zeros_like(x)
    run(kernels, "pow", "int64", out, [x, np.array([3, 3, 0], np.int64)])
    assert out.tolist() == [8, -27, 1]
    with pytest.raises(FaultError, match="negative exponent"):
        run(kernels, "pow", "int64", out, [x, np.array([3, -3, 0], np.int64)])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", [64, 13])
def test_glu_grad_writes_both_parts(kernels, dtype, width):
    rng = np.random.default_rng(9)
    g, value, gate = (sample(dtype, (6, width), rng) for _ in "gvg")
    out = np.zeros((6, 2 * width), storage(dtype))
    # The array is an output twice: the second part is written behind the first.
    parts = [Operand(out[:, :width], dtype), Operand(out[:, width:], dtype)]
    given = [Operand(x, dtype) for x in (g, value, gate)]
    status = kernels.call("glu_grad", parts, given, params=GluParams(apart=width),
                          dtype=dtype)  # fmt: skip
    assert status == OK
    g, a, b = (widened(x, dtype).astype(np.float64) for x in (g, value, gate))
    s = 1 / (1 + np.exp(-b))
    expected = np.concatenate([g * s, g * a * s * (1 - s)], axis=1)
    eps = {"float32": 1e-5, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    assert np.allclose(widened(out, dtype), expected, rtol=eps, atol=eps / 100)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("dtype", [*NAMES])
def test_fill_of_any_layout(kernels, dtype, zero):
    value = sample(dtype, 1, np.random.default_rng(10))
    if zero:  # small ones are a memset
        value[:] = 0
    element = (ctypes.c_uint64 * 2)()
    ctypes.memmove(element, value.tobytes(), value.itemsize)
    for target in (
        np.ones((7, 37), storage(dtype)),
        np.ones((7, 37), storage(dtype))[::-1, ::3],
        np.ones(70_000, storage(dtype)),
        np.ones((), storage(dtype)),
        np.ones(0, storage(dtype)),
    ):
        run(kernels, "fill", dtype, target, [], dtype, FillParams(element=element))
        assert (np.ascontiguousarray(target) == value[0]).all()


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint64", "float32", "float64"])
def test_arange(kernels, dtype):
    out = np.zeros(1001, dtype)
    params = RangeParams(real=0.5, step_real=0.25, integer=7, step_integer=-3)
    run(kernels, "arange", dtype, out, [], dtype, params)
    i = np.arange(1001)
    expected = 0.5 + i * 0.25 if dtype.startswith("f") else 7 - 3 * i
    assert np.array_equal(out, expected.astype(dtype))


def test_more_axes_than_kernels_take_are_declined(kernels):
    x = np.zeros((2,) * 14 + (1,), np.float32)
    view = x.transpose(*range(13, -1, -1), 14)
    spread = np.broadcast_to(np.zeros(1, np.float32), x.shape)
    odd = np.zeros((2,) * 14 + (3,), np.float32)[..., :1]
    status = kernels.call("add", np.zeros_like(x), [view, odd])
    assert status in (OK, DECLINED)
    run(kernels, "add", "float32", np.zeros_like(x), [x, spread])

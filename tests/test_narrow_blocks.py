"""Narrow dtypes computed in blocks: to the bits of the wide dtype, rounded once."""

import numpy as np
import pytest

import tensorlib as tl

HALVES = ["float16", "bfloat16"]
NARROW = [*HALVES, "int8", "int16", "uint16", "uint32"]
# About a block, several, and enough for two threads.
SIZES = [0, 1, 7, 1023, 1024, 1025, 5000, 100_003]


def drawn(shape, dtype, seed=0, low=-9.0):
    values = np.random.default_rng(seed).uniform(low, 9.0, shape).astype("float32")
    if dtype.startswith("u"):
        values = abs(values)
    return tl.tensor(values).astype(dtype)


def wide_of(dtype):
    if dtype in HALVES:
        return "float32"
    return "int64" if dtype == "uint32" else "int32"


def bits(x):
    codes = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64"}
    if x.dtype.name == "bfloat16":
        return (x.astype("float32")).numpy().view("uint32")
    return x.contiguous().numpy().view(codes[x.dtype.itemsize])


def assert_same_bits(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(bits(found), bits(expected))


def through_wide(function, dtype, *operands):
    """The function of whole operands in the wide dtype, narrowed at the end."""
    found = function(*[x.astype(wide_of(dtype)) for x in operands])
    return found.astype(dtype) if found.dtype.name == wide_of(dtype) else found


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("n", SIZES)
def test_elementwise_of_any_length_equals_wide_rounded_once(dtype, n):
    a, b = drawn(n, dtype), drawn(n, dtype, 1)
    for function in (
        tl.add, tl.subtract, tl.multiply, tl.maximum, tl.minimum, tl.less, tl.equal,
    ):  # fmt: skip
        expected = through_wide(function, dtype, a, b)
        assert_same_bits(function(a, b), expected)
    for function in (tl.relu, tl.square, tl.negative, tl.abs, tl.sign):
        assert_same_bits(function(a), through_wide(function, dtype, a))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("function", [tl.exp, tl.tanh, tl.gelu, tl.sin, tl.isnan])
def test_transcendental_of_halves_equals_wide_rounded_once(dtype, function):
    a = drawn(5000, dtype)
    assert_same_bits(function(a), through_wide(function, dtype, a))


@pytest.mark.parametrize("dtype", [*HALVES, "int8", "int16"])
def test_elementwise_of_strided_operands_equals_wide(dtype):
    a, b = drawn((300, 200), dtype), drawn((200, 300), dtype, 1)
    column, row = drawn((300, 1), dtype, 2), drawn((200,), dtype, 3)
    for x, y in (
        (a, b.T), (a[:, ::-1], a[::-1]), (a[:, ::3], b.T[:, ::3]), (a, column),
        (a, row), (column, row), (a, a), (a[:, 5:], a[:, :-5]),
    ):  # fmt: skip
        for function in (tl.add, tl.less_equal, tl.maximum):
            found, expected = function(x, y), through_wide(function, dtype, x, y)
            assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", [*HALVES, "int16"])
def test_where_and_clip_of_narrow_operands_equal_wide(dtype):
    a, b = drawn((70, 90), dtype), drawn((70, 90), dtype, 1)
    mask = (a > b).T
    found = tl.where(mask, a.T, 2)
    expected = tl.where(mask, a.T.astype(wide_of(dtype)), 2).astype(dtype)
    assert_same_bits(found, expected)
    assert_same_bits(
        tl.clip(a, -2, 3), tl.clip(a.astype(wide_of(dtype)), -2, 3).astype(dtype)
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_elementwise_with_nans_and_infinities_equals_wide(dtype):
    values = np.random.default_rng(0).standard_normal(4099).astype("float32")
    values[::7], values[5::61], values[9::97] = np.nan, np.inf, -np.inf
    a = tl.tensor(values).astype(dtype)
    found = a * 1.5
    expected = (a.astype("float32") * 1.5).astype(dtype)
    np.testing.assert_array_equal(
        found.astype("float32").numpy(), expected.astype("float32").numpy()
    )


def every_half(dtype):
    """Every bit pattern of the dtype, in an order that mixes them within a group."""
    codes = np.random.default_rng(0).permutation(2**16).astype("uint16")
    if dtype == "float16":
        return tl.tensor(codes.view("float16"))
    return tl.tensor((codes.astype("uint32") << 16).view("float32")).astype(dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_loops_of_halves_on_every_value_equal_wide_rounded_once(dtype):
    a = every_half(dtype)
    b = tl.flip(a, axis=0)
    unary, binary = (tl.negative, tl.abs, tl.relu, tl.exp), (
        tl.add, tl.subtract, tl.multiply, tl.divide, tl.maximum, tl.minimum
    )  # fmt: skip
    for function, operands in [(f, (a,)) for f in unary] + [
        (f, (a, b)) for f in binary
    ]:
        found = function(*operands)
        expected = through_wide(function, dtype, *operands)
        # The sign of NaN is nobody's promise.
        nan = tl.isnan(expected)
        assert_same_bits(tl.isnan(found), nan)
        assert_same_bits(tl.where(nan, 0, found), tl.where(nan, 0, expected))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("n", [3, 16, 17, 300])
def test_loops_of_halves_with_scalar_operands_equal_wide(dtype, n):
    a, one = drawn(n, dtype), drawn((), dtype, 1)
    for x, y in ((a, one), (one, a), (a[::-1], one), (a[::2], a[::2])):
        for function in (tl.subtract, tl.divide, tl.minimum):
            expected = through_wide(function, dtype, x, y)
            assert_same_bits(function(x, y), expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_gradient_of_relu_of_halves_equals_wide(dtype):
    x, g = drawn(1000, dtype), drawn(1000, dtype, 1)
    x.requires_grad_()
    (found,) = tl.autograd.grad(tl.relu(x), (x,), (g,))
    x = x.detach()
    assert_same_bits(found, tl.where(x > 0, g, tl.zeros_like(g)))


@pytest.mark.parametrize("op", ["abs", "sign", "relu", "maximum", "minimum"])
def test_loops_of_int8_on_every_pair_equal_numpy(op):
    values = np.arange(-128, 128, dtype="int8")
    a, b = (x.ravel() for x in np.meshgrid(values, values))
    if op in ("maximum", "minimum"):
        found, expected = (
            getattr(tl, op)(tl.tensor(a), tl.tensor(b)),
            getattr(np, op)(a, b),
        )
    else:
        found = getattr(tl, op)(tl.tensor(a))
        expected = np.maximum(a, 0) if op == "relu" else getattr(np, op)(a)
    assert found.dtype == tl.int8
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_narrowing_of_long_rows_rounds_as_elements_do(dtype):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**32, 40_000, dtype=np.uint32).view("float32")
    values[np.isnan(values)] = 0
    x = tl.tensor(values)
    rows = x.astype(dtype)
    elements = tl.empty(40_000, dtype=dtype)
    elements[::2], elements[1::2] = x[::2].astype(dtype), x[1::2].astype(dtype)
    assert_same_bits(rows, elements)
    strided = tl.stack([x, x], axis=1)[:, 0].astype(dtype)
    assert_same_bits(rows, strided)


def test_in_place_on_narrow_operand_equals_out_of_place():
    a, b = drawn((130, 70), "bfloat16"), drawn((70, 130), "bfloat16", 1)
    expected = a + b.T
    a += b.T
    assert_same_bits(a, expected)


def test_narrow_elementwise_makes_no_copies():
    x = tl.ones((512, 1024), dtype="bfloat16")
    y = tl.empty_like(x)
    x + x  # the first call may make room
    tl.reset_peak_memory_stats()
    before = tl.memory_stats()["allocated"]
    y = x + x.T.reshape(512, 1024)[:, :1]
    assert tl.memory_stats()["peak_allocated"] - before < 3 * 2**20
    assert y.shape == (512, 1024)


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_results_do_not_depend_on_threads(dtype):
    a, b = drawn((400, 500), dtype), drawn((400, 500), dtype, 1)
    found = []
    for n in (1, 2, 5):
        with tl.num_threads(n):
            found.append([a + b, a * b[:, ::-1]])
    for others in found[1:]:
        for x, y in zip(found[0], others, strict=True):
            assert_same_bits(x, y)


def test_integer_division_by_zero_in_narrow_blocks_raises():
    a, b = drawn(3000, "int16"), tl.ones(3000, dtype="int16")
    b[2500] = 0
    with pytest.raises(ZeroDivisionError):
        a // b


# ---- reductions ----------------------------------------------------------------
REDUCTIONS = [tl.sum, tl.prod, tl.max, tl.min, tl.argmax, tl.argmin, tl.any, tl.all]
SHAPES = [(1,), (100_003,), (3, 5), (4000, 7), (3000, 8), (9, 4000), (700, 1500),
          (50, 60, 70), (8192,), (20, 9000)]  # fmt: skip


def reduced(function, x, axis):
    wide = x.astype(wide_of(x.dtype.name))
    expected = function(wide, axis=axis)
    return expected.astype(x.dtype) if expected.dtype == wide.dtype else expected


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("shape", SHAPES)
def test_reduction_of_narrow_elements_equals_wide(dtype, shape):
    x = drawn(shape, dtype)
    if dtype not in HALVES:
        x = x % 3
    for axis in (None, 0, -1):
        for function in REDUCTIONS:
            found, expected = function(x, axis=axis), function_of(function, x, axis)
            assert_same_bits(found, expected)


def function_of(function, x, axis):
    """What the wide dtype gives, with the narrow one's dtype of the result."""
    expected = reduced(function, x, axis)
    return expected.astype(function(x[:1], axis=axis).dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("function", [tl.sum, tl.mean, tl.var, tl.logsumexp, tl.max])
def test_reduction_of_strided_halves_equals_wide(dtype, function):
    x = drawn((60, 50, 40), dtype)
    wide = x.astype("float32")
    for view in (
        lambda t: t, lambda t: tl.permute_dims(t, (2, 0, 1)), lambda t: t[::2],
        lambda t: t[:, :, ::3],
        lambda t: t[:, 3:], lambda t: t[:, ::-1], lambda t: t[:, :, :5],
    ):  # fmt: skip
        for axis in (None, 0, 1, 2, (0, 2)):
            expected = function(view(wide), axis=axis).astype(dtype)
            assert_same_bits(function(view(x), axis=axis), expected)


def test_reductions_of_narrow_elements_do_not_depend_on_threads():
    x = drawn((300, 4000), "bfloat16")
    found = []
    for n in (1, 2, 3):
        with tl.num_threads(n):
            found.append([tl.sum(x), tl.sum(x, axis=0), tl.var(x, axis=1)])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            assert_same_bits(a, b)


def test_reduction_of_narrow_elements_makes_no_copies():
    x = tl.ones((1024, 2048), dtype="bfloat16")
    tl.sum(x)
    tl.reset_peak_memory_stats()
    before = tl.memory_stats()["allocated"]
    assert tl.sum(x).item() == 2.0**21
    assert tl.max(x, axis=0).sum().item() == 2048
    assert tl.memory_stats()["peak_allocated"] - before < 2**20


# ---- products ---------------------------------------------------------------------
# Blocks of eight rows, panels of 32 columns, pairs along the depth, and what is left.
PRODUCTS = [(1, 1, 1), (3, 2, 5), (8, 32, 32), (9, 33, 31), (40, 7, 70), (5, 0, 4),
            (130, 257, 65)]  # fmt: skip


def sums_of_products(a, b):
    return a.astype("float64").numpy() @ b.astype("float64").numpy()


def assert_rounded_sums(found, a, b, start=0.0):
    """Within a rounding to the dtype and those of float32 sums of the magnitudes."""
    expected = sums_of_products(a, b) + start
    size = sums_of_products(abs(a), abs(b)) + abs(start)
    rounding = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[a.dtype.name]
    bound = rounding * abs(expected) + a.shape[-1] * 2.0**-23 * size
    assert found.dtype == a.dtype
    assert (abs(found.astype("float64").numpy() - expected) <= bound).all()


@pytest.mark.parametrize("shape", PRODUCTS)
def test_product_of_bfloat16_in_any_layout_is_a_rounded_sum(shape):
    m, k, n = shape
    a, b = drawn((m, k), "bfloat16"), drawn((k, n), "bfloat16", 1)
    for x in (a, a.T.contiguous().T, tl.stack([a, a], axis=2)[:, :, 0]):
        for y in (b, b.T.contiguous().T, tl.stack([b, b], axis=2)[:, :, 0]):
            assert_rounded_sums(x @ y, a, b)


def test_batched_product_of_bfloat16_equals_single_products():
    a, b = drawn((3, 20, 34), "bfloat16"), drawn((3, 34, 40), "bfloat16", 1)
    for x, y in ((a, b), (a, b[1]), (a[:1], b), (a.mT.contiguous().mT, b)):
        found = x @ y
        for i in range(3):
            one = x[min(i, len(x) - 1)] @ (y[i] if y.ndim == 3 else y)
            assert_same_bits(found[i], one)


def test_linear_of_bfloat16_starts_from_the_bias():
    x, w = drawn((70, 50), "bfloat16"), drawn((37, 50), "bfloat16", 1)
    bias = drawn(37, "bfloat16", 2)
    found = tl.nn.functional.linear(x, w, bias)
    assert_rounded_sums(found, x, w.T, bias.astype("float64").numpy())


@pytest.mark.parametrize(("low", "high"), [(-126, -60), (-133, -127), (-133, 120)])
def test_product_of_tiny_bfloat16_keeps_subnormal_numbers(low, high):
    """Processors that multiply bfloat16 would take them for 0."""
    rng = np.random.default_rng(0)
    a = np.ldexp(rng.choice([-1.0, 1.0], (20, 40)), rng.integers(low, high, (20, 40)))
    b = np.ldexp(np.ones((40, 36)), rng.integers(-20, 7, (40, 36)))
    a, b = (tl.tensor(x.astype("float32")).astype("bfloat16") for x in (a, b))
    expected = sums_of_products(a, b)
    found = (a @ b).astype("float64").numpy()
    size = sums_of_products(abs(a), abs(b))
    bound = 2.0**-8 * abs(expected) + 40 * 2.0**-23 * size + 2.0**-133
    assert (abs(found - expected) <= bound).all()
    assert (found != 0).any()


def test_product_of_bfloat16_keeps_infinities_and_nans():
    a, b = tl.ones((9, 5), dtype="bfloat16"), tl.ones((5, 33), dtype="bfloat16")
    a[2, 3], a[4, 0], b[0, 32] = float("inf"), float("nan"), -float("inf")
    with np.errstate(invalid="ignore"):
        expected = sums_of_products(a, b)
    np.testing.assert_array_equal((a @ b).astype("float64").numpy(), expected)


def test_products_of_bfloat16_do_not_depend_on_threads():
    a, b = drawn((300, 200), "bfloat16"), drawn((200, 250), "bfloat16", 1)
    with tl.num_threads(1):
        expected = a @ b
    with tl.num_threads(3):
        assert_same_bits(a @ b, expected)


# Large enough for blocks: one run of the depth and several, last panels cut short.
BLOCKS = [(97, 250, 130), (130, 300, 97), (16, 33, 2000), (31, 1500, 200)]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", BLOCKS)
def test_large_product_of_halves_in_any_layout_is_a_rounded_sum(shape, dtype):
    m, k, n = shape
    a, b = drawn((m, k), dtype), drawn((k, n), dtype, 1) / 9
    for x in (a, a.T.contiguous().T, tl.stack([a, a], axis=2)[:, :, 0]):
        for y in (b, b.T.contiguous().T, tl.stack([b, b], axis=2)[:, :, 0]):
            assert_rounded_sums(x @ y, a, b)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("depth", [250, 700])
def test_large_linear_of_halves_starts_from_the_bias(depth, dtype):
    x, w = drawn((80, depth), dtype), drawn((45, depth), dtype, 1) / 9
    bias = drawn(45, dtype, 2) * 100
    found = tl.nn.functional.linear(x, w, bias)
    assert_rounded_sums(found, x, w.T, bias.astype("float64").numpy())


@pytest.mark.parametrize("dtype", HALVES)
def test_large_batched_product_of_halves_equals_single_products(dtype):
    a, b = drawn((3, 80, 340), dtype), drawn((3, 340, 70), dtype, 1)
    for x, y in ((a, b), (a.mT.contiguous().mT, b)):
        found = x @ y
        for i in range(3):
            assert_same_bits(found[i], x[i] @ y[i])


@pytest.mark.parametrize("dtype", HALVES)
def test_large_products_of_halves_do_not_depend_on_threads(dtype):
    a, b = drawn((300, 600), dtype), drawn((600, 250), dtype, 1)
    with tl.num_threads(1):
        expected = a @ b
    for threads in (2, 3, 7):
        with tl.num_threads(threads):
            assert_same_bits(a @ b, expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_product_of_integers_in_any_layout_wraps_as_numpy(dtype):
    a, b = (np.random.default_rng(i).integers(0, 99, (2, 41, 41)) for i in range(2))
    a, b = a.astype(dtype), b.astype(dtype)
    x, y = tl.tensor(a), tl.tensor(b)
    expected = np.matmul(a, b)
    for one in (x, x.mT.contiguous().mT):
        for other in (y, y.mT.contiguous().mT):
            found = one @ other
            assert found.dtype == x.dtype
            np.testing.assert_array_equal(found.numpy(), expected)


# ---- kernels of rows ----------------------------------------------------------------
ROW_SHAPES = [(3000, 100), (3, 100_000), (1, 300_000), (300_000,), (5, 400, 200)]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("shape", ROW_SHAPES)
@pytest.mark.parametrize("function", [tl.softmax, tl.log_softmax])
def test_softmax_of_many_halves_equals_wide_rounded_once(dtype, shape, function):
    x = drawn(shape, dtype)
    for axis in (-1, 0):
        found = function(x, axis=axis)
        expected = function(x.astype("float32"), axis=axis).astype(dtype)
        assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_layer_norm_of_many_halves_equals_wide_rounded_once(dtype):
    x, w, b = drawn((3000, 100), dtype), drawn(100, dtype, 1), drawn(100, dtype, 2)
    found = tl.layer_norm(x, (100,), w, b)
    expected = through_wide(
        lambda *t: tl.layer_norm(t[0], (100,), *t[1:]), dtype, x, w, b
    )
    assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_rms_norm_of_many_halves_equals_wide_rounded_once(dtype):
    x, w = drawn((3000, 100), dtype), drawn(100, dtype, 1)
    found = tl.rms_norm(x, (100,), w, 1e-3)
    expected = through_wide(lambda *t: tl.rms_norm(t[0], 100, t[1], 1e-3), dtype, x, w)
    assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_gradient_of_softmax_of_many_halves_equals_wide(dtype):
    x, g = drawn((2000, 100), dtype), drawn((2000, 100), dtype, 1)
    x.requires_grad_()
    (found,) = tl.autograd.grad(tl.softmax(x, axis=1), (x,), (g,))
    x = x.detach()
    y = tl.softmax(x, axis=1)  # the rule reads the rounded result
    wide_y, wide_g = y.astype("float64"), g.astype("float64")
    expected = wide_y * (wide_g - (wide_y * wide_g).sum(axis=1, keepdims=True))
    eps = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    np.testing.assert_allclose(
        found.astype("float64").numpy(),
        expected.numpy(), rtol=2 * eps, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
def test_pooling_of_many_halves_equals_wide(dtype):
    x = drawn((64, 8, 20, 20), dtype)
    for function in (tl.max_pool2d, tl.avg_pool2d):
        found = function(x, 2)
        assert_same_bits(found, function(x.astype("float32"), 2).astype(dtype))


def test_softmax_of_many_halves_takes_memory_for_some_rows_only():
    x = tl.zeros((4000, 1000), dtype="bfloat16")
    tl.softmax(x, axis=1)
    tl.reset_peak_memory_stats()
    before = tl.memory_stats()["allocated"]
    tl.softmax(x, axis=1)
    # The result takes 8 MB; the operand in float32 alone would be 16.
    assert tl.memory_stats()["peak_allocated"] - before < 12e6


@pytest.mark.parametrize("n", [63, 8191, 8193, 300_001])
def test_sums_of_the_largest_bytes_do_not_wrap(n):
    for value, dtype in ((255, "uint8"), (True, "bool")):
        x = tl.full(n, value, dtype=dtype)
        assert tl.sum(x).item() == n * int(value)
        assert tl.count_nonzero(x).item() == n


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 100, 300, 3000])
def test_softmax_of_halves_is_that_of_floats_rounded_once(n, dtype, op):
    function = getattr(tl, op)
    a = np.random.default_rng(n).standard_normal((29, n)) * 5
    a[3, 0], a[4], a[5, -1] = np.nan, -np.inf, np.inf
    x = tl.tensor(a, dtype=dtype)
    for rows, axis in ((x, 1), (x.mT.contiguous(), 0), (x[::-2, ::-1], -1)):
        found = function(rows, axis=axis)
        expected = function(rows.astype("float32"), axis=axis).astype(dtype)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(
            found.astype("float64").numpy(), expected.astype("float64").numpy()
        )

"""The CUDA kernels of matrix products, on the emulator, against NumPy."""

import ctypes

import numpy as np
import pytest
from cuda_emulation import DECLINED, OK, Host, MatmulParams, find_compiler, load

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = ["bool", "int8", "uint8", "int32", "int64", "uint64"]
# Of rounding at the end, and of sums in float; the inputs are small integers / 8.
TOLERANCES = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6, "float64": 1e-14}


@pytest.fixture(scope="module", params=[1, 0], ids=["small", "large"])
def kernels(request):
    """With and without the tiles for small products, which all of these are."""
    kernels = load("matmul", "cublaslt", "libraries")
    kernels.library.tl_cuda_set_small_products(request.param)
    yield kernels
    kernels.library.tl_cuda_set_small_products(1)


def as_bits(x):
    """The bfloat16 bits of numbers that it holds exactly."""
    return (np.asarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def from_bits(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


def sample(rng, shape, dtype):
    """Numbers that every dtype holds exactly, and the same in float64 or int64."""
    if dtype == "bool":
        x = rng.integers(0, 8, shape) == 0
        return x, x.astype(np.int64)
    if dtype in INTEGERS:
        x = rng.integers(0, 120, shape).astype(dtype)
        return x, x.astype(object) if dtype == "uint64" else x.astype(np.int64)
    x = rng.integers(-8, 9, shape) / 8
    return as_bits(x) if dtype == "bfloat16" else x.astype(dtype), x


def empty(shape, dtype):
    return np.zeros(shape, "uint16" if dtype == "bfloat16" else dtype)


def assert_product(found, expected, dtype):
    if dtype == "bool":
        np.testing.assert_array_equal(found, expected.astype(np.int64) > 0)
    elif dtype in INTEGERS:
        wrapped = np.asarray(expected).astype(object) % (1 << 8 * found.itemsize)
        unsigned = found.view("u" + str(found.dtype).removeprefix("u"))
        np.testing.assert_array_equal(unsigned.astype(object), wrapped)
    else:
        found = from_bits(found) if dtype == "bfloat16" else found.astype(np.float64)
        tolerance = TOLERANCES[dtype]
        np.testing.assert_allclose(found, expected, tolerance, 4 * tolerance)


def run(kernels, out, operands, dtype, accumulate=0):
    return kernels.call("matmul", out, operands, MatmulParams(accumulate), dtype)


SHAPES = [
    (1, 1, 1), (3, 5, 7), (64, 64, 16), (70, 130, 33), (9, 9, 200), (1, 40, 600),
    (1, 1, 9000), (1, 3, 5001), (3, 1, 5001), (1, 2056, 70), (2056, 1, 70),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_matmul_of_rows_matches_numpy(kernels, dtype, shape):
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, exact_a = sample(rng, (m, k), dtype)
    b, exact_b = sample(rng, (k, n), dtype)
    out = empty((m, n), dtype)
    assert run(kernels, out, [a, b], dtype) == OK
    assert_product(out, exact_a @ exact_b, dtype)


@pytest.mark.parametrize(
    "shape", [(33, 20, 18), (128, 136, 24), (1, 24, 520), (24, 1, 520)]
)
@pytest.mark.parametrize("layout", ["at", "bt", "both", "flipped", "spread", "ct"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64", "uint8", "bool"])
def test_matmul_of_any_strides_matches_numpy(kernels, dtype, layout, shape):
    m, n, k = shape
    rng = np.random.default_rng(1)
    a, exact_a = sample(rng, (m, k), dtype)
    b, exact_b = sample(rng, (k, n), dtype)
    out = empty((m, n), dtype)
    if layout in ("at", "both"):
        a = np.ascontiguousarray(a.T).T
    if layout in ("bt", "both"):
        b = np.ascontiguousarray(b.T).T
    if layout == "flipped":
        a, exact_a, b, exact_b = (
            a[::-1, ::-1],
            exact_a[::-1, ::-1],
            b[:, ::-1],
            exact_b[:, ::-1],
        )
    if layout == "spread":
        wide = np.zeros((m, 2 * k), a.dtype)
        wide[:, ::2] = a
        a = wide[:, ::2]
    if layout == "ct":
        out = empty((n, m), dtype).T
    assert run(kernels, out, [a, b], dtype) == OK
    assert_product(out, exact_a @ exact_b, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "shape", [(4, 6, 5), (40, 72, 48), (2, 16, 0), (1, 16, 640), (12, 1, 640)]
)
def test_matmul_with_bias_begins_each_row_with_it(kernels, dtype, shape):
    m, n, k = shape
    rng = np.random.default_rng(2)
    a, exact_a = sample(rng, (m, k), dtype)
    b, exact_b = sample(rng, (n, k), dtype)
    bias, exact_bias = sample(rng, (n,), dtype)
    out = empty((m, n), dtype)
    assert run(kernels, out, [a, b.T, bias], dtype) == OK
    assert_product(out, exact_a @ exact_b.T + exact_bias, dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, "int32", "bool"])
@pytest.mark.parametrize("shape", [(4, 6, 5), (40, 72, 48), (2, 16, 0), (1, 16, 640)])
def test_matmul_accumulates_into_the_output(kernels, dtype, shape):
    m, n, k = shape
    rng = np.random.default_rng(3)
    a, exact_a = sample(rng, (m, k), dtype)
    b, exact_b = sample(rng, (n, k), dtype)
    out, exact = sample(rng, (m, n), dtype)
    assert run(kernels, out, [a, b.T], dtype, accumulate=1) == OK
    assert_product(out, exact_a @ exact_b.T + exact, dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
@pytest.mark.parametrize(
    "case", ["same", "a once", "b once", "heads", "crossed", "many"]
)
def test_matmul_of_batches_matches_numpy(kernels, dtype, case):
    rng = np.random.default_rng(4)
    lead_a, lead_b, order = {
        "same": ((5,), (5,), None),
        "a once": ((1,), (6,), None),
        "b once": ((6,), (1,), None),
        "heads": ((2, 3), (2, 3), (0, 2, 1, 3)),
        "crossed": ((2, 1), (1, 3), None),
        "many": ((11, 3), (11, 3), (0, 2, 1, 3)),
    }[case]
    a, exact_a = sample(rng, (*lead_a, 12, 16), dtype)
    b, exact_b = sample(rng, (*lead_b, 16, 24), dtype)
    if order:  # (B, L, H, D) seen as (B, H, L, D)
        a = np.ascontiguousarray(a.transpose(order)).transpose(order)
        b = np.ascontiguousarray(b.transpose(order)).transpose(order)
    expected = exact_a @ exact_b
    lead = expected.shape[:-2]
    out = empty(expected.shape, dtype)
    a = np.broadcast_to(a, (*lead, 12, 16))
    b = np.broadcast_to(b, (*lead, 16, 24))
    assert run(kernels, out, [a, b], dtype) == OK
    assert_product(out, expected, dtype)


@pytest.mark.parametrize("ragged", [0, 1])
@pytest.mark.parametrize("b_order", "CF")
@pytest.mark.parametrize("a_order", "CF")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(40, 72, 264), (320, 328, 40), (16, 664, 72)])
def test_matmul_of_parts_in_any_order_matches_numpy(
    kernels, dtype, shape, a_order, b_order, ragged
):
    m, n, k = (extent - 3 * ragged for extent in shape)
    rng = np.random.default_rng(6)
    a, exact_a = sample(rng, (m + 8, k + 16), dtype)
    b, exact_b = sample(rng, (k + 16, n + 8), dtype)
    bias, exact_bias = sample(rng, (n,), dtype)
    a = np.asarray(a, order=a_order)[8:, 8 : k + 8]
    b = np.asarray(b, order=b_order)[8 : k + 8, 8:]
    out = empty((m, n), dtype)
    assert run(kernels, out, [a, b, bias], dtype) == OK
    exact = exact_a[8:, 8 : k + 8] @ exact_b[8 : k + 8, 8:] + exact_bias
    assert_product(out, exact, dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_matmul_of_small_batches_that_share_b_matches_numpy(kernels, dtype):
    rng = np.random.default_rng(7)
    a, exact_a = sample(rng, (3, 48, 136), dtype)
    b, exact_b = sample(rng, (136, 40), dtype)
    out = empty((3, 40, 48), dtype).transpose(0, 2, 1)
    shared = np.broadcast_to(b, (3, 136, 40))
    assert run(kernels, out, [a, shared], dtype) == OK
    assert_product(out, exact_a @ exact_b, dtype)


def test_matmul_over_nothing_is_zero(kernels):
    out = np.ones((2, 3, 4), np.float32)
    a, b = np.ones((2, 3, 0), np.float32), np.ones((2, 0, 4), np.float32)
    assert run(kernels, out, [a, b], "float32") == OK
    np.testing.assert_array_equal(out, 0)


def test_matmul_of_no_rows_writes_nothing(kernels):
    a, b = np.ones((0, 3), np.float32), np.ones((3, 4), np.float32)
    assert run(kernels, np.ones((0, 4), np.float32), [a, b], "float32") == OK


def test_matmul_declines_operands_on_the_cpu(kernels):
    one = np.ones((1, 1), np.float32)
    assert run(kernels, one.copy(), [one, Host(one)], "float32") == DECLINED


@pytest.mark.parametrize("k", [8, 40, 264])
@pytest.mark.parametrize("rung", [0, 1, 2, 3])
def test_every_rung_multiplies(kernels, rung, k):
    m, n = 130, 136
    rng = np.random.default_rng(5)
    dtype = "bfloat16" if rung == 3 else "float32"
    a, exact_a = sample(rng, (m, k), dtype)
    b, exact_b = sample(rng, (k, n), dtype)
    out = empty((m, n), dtype)
    sizes = [ctypes.c_int64(x) for x in (m, n, k)]
    arrays = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, out)]
    assert kernels.library.tl_cuda_teaching_matmul(rung, 0, *sizes, *arrays) == 0
    kernels.library.tl_cuda_synchronize(0)
    assert_product(out, exact_a @ exact_b, dtype)

"""Matrix products of every size and layout that a kernel of its own serves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorlib as tl

EPS = {"float32": 2.0**-24, "float64": 2.0**-53}
# Rows, columns and depths around the blocks of the kernels and the choice among them.
SHAPES = [
    (1, 1, 1), (1, 64, 64), (1, 300, 200), (3, 1, 5), (5, 7, 9), (6, 16, 8),
    (7, 17, 33), (8, 100, 784), (12, 31, 64), (16, 3, 255), (17, 129, 300),
    (64, 64, 64), (33, 520, 257), (64, 40, 256), (100, 784, 8), (65, 256, 256),
    (80, 81, 82), (130, 127, 126), (129, 33, 256), (132, 300, 257), (145, 31, 513),
    (241, 130, 64), (490, 49, 300), (140, 4100, 260), (300, 1, 700), (2000, 70, 255),
]  # fmt: skip


def strided(array, layout):
    """Return an equal tensor whose memory is laid out otherwise."""
    if layout == "rows":
        return tl.tensor(array)
    if layout == "columns":
        return tl.tensor(array.T.copy()).T
    if layout == "reversed":
        return tl.flip(tl.tensor(array[::-1, ::-1].copy()), axis=(0, 1))
    wide = np.zeros((2 * array.shape[0], 3 * array.shape[1]), array.dtype)
    wide[::2, ::3] = array
    return tl.tensor(wide)[::2, ::3]


LAYOUTS = ("rows", "columns", "spread", "reversed")


def require_product(found, a, b, start, dtype):
    """Compare with NumPy in float64: the error bound of a sum of K products."""
    exact = a.astype(np.float64) @ b.astype(np.float64) + start
    bound = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(start)
    error = np.abs(found.numpy() - exact)
    assert (error <= (a.shape[1] + 2) * EPS[dtype] * bound + 1e-300).all()


def operands(m, n, k, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((m, k)).astype(dtype),
        rng.standard_normal((k, n)).astype(dtype),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matmul_all_layouts_match_numpy(shape, dtype):
    a, b = operands(*shape, dtype)
    for left in LAYOUTS:
        for right in LAYOUTS:
            found = strided(a, left) @ strided(b, right)
            require_product(found, a, b, 0.0, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_linear_with_bias_matches_numpy(shape, dtype):
    a, b = operands(*shape, dtype)
    bias = np.linspace(-3, 3, b.shape[1]).astype(dtype)
    for left in LAYOUTS:
        for right in LAYOUTS:
            found = tl.linear(strided(a, left), strided(b, right).T, tl.tensor(bias))
            require_product(found, a, b, bias.astype(np.float64), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(150, 70, 600), (700, 33, 300), (64, 64, 3000), (131, 4200, 270)], ids=str
)
def test_large_products_have_the_same_bits_on_any_threads(shape, dtype):
    a, b = operands(*shape, dtype)
    before = tl.get_num_threads()
    try:
        for left in LAYOUTS:
            found = []
            for threads in (1, 2, 5, 9):
                tl.set_num_threads(threads)
                found.append((strided(a, left) @ strided(b, "rows")).numpy().tobytes())
            assert len(set(found)) == 1
    finally:
        tl.set_num_threads(before)


# More columns than a slice of b has, more depth, both with few rows, and many of each.
CUT = [(140, 8300, 20), (250, 40, 40_000), (17, 33, 33_000), (600, 520, 460)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", CUT, ids=str)
def test_products_cut_along_columns_and_depth_match_numpy(shape, dtype):
    a, b = (tl.tensor(x).astype(dtype) for x in operands(*shape, "float32")[:2])
    found = []
    for threads in (1, 2, 3):
        with tl.num_threads(threads):
            found.append((a @ b).astype(tl.float64).numpy())
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    a, b = (x.astype(tl.float64).numpy() for x in (a, b))
    sums = EPS["float64" if dtype == "float64" else "float32"] * (shape[2] + 2)
    error = np.abs(found[0] - a @ b) - sums * (np.abs(a) @ np.abs(b))
    assert (error <= tl.finfo(dtype).eps * np.abs(found[0])).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [2, 3, 9])
def test_large_products_of_a_batch_match_numpy(batch, dtype):
    rng = np.random.default_rng(batch)
    a = rng.standard_normal((batch, 150, 90)).astype(dtype)
    b = rng.standard_normal((batch, 90, 140)).astype(dtype)
    found = tl.tensor(a) @ tl.tensor(b)
    for each in range(batch):
        require_product(found[each], a[each], b[each], 0.0, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_large_products_are_added_up(dtype):
    x, w = operands(200, 140, 310, dtype)
    g, _ = operands(200, 1, 140, dtype, seed=1)
    weight, start = tl.tensor(w, requires_grad=True), 0.0
    for _ in range(2):
        (tl.tensor(x) @ weight).backward(tl.tensor(g))
        require_product(weight.grad, x.T, g, start, dtype)
        start = weight.grad.numpy().astype(np.float64)


@pytest.mark.parametrize("step", [1, 2])
def test_rows_of_a_batch_that_lie_apart_are_one_product(step):
    a, b = operands(40, 90, 64, "float32")
    wide = tl.tensor(np.repeat(a, step, axis=0))[::step].reshape((1, 40, 64))
    found = wide.permute_dims((1, 0, 2)) @ tl.tensor(b)
    assert found.shape == (40, 1, 90)
    require_product(found[:, 0], a, b, 0.0, "float32")
    assert (found[:, 0] == tl.tensor(a) @ tl.tensor(b)).all()


def test_large_product_with_nan_and_infinity_touches_its_row_and_column_only():
    a, b = operands(150, 71, 300, "float32")
    a[141, 299], b[299, 70] = np.nan, np.inf
    strange = ~np.isfinite((tl.tensor(a) @ tl.tensor(b)).numpy())
    assert strange[141].all()
    assert strange[:, 70].all()
    assert strange.sum() == 71 + 150 - 1


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 40)] * 3),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 2),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99),
)
def test_matmul_any_small_size_matches_numpy(sizes, layouts, dtype, seed):
    a, b = operands(*sizes, dtype, seed)
    found = strided(a, layouts[0]) @ strided(b, layouts[1])
    require_product(found, a, b, 0.0, dtype)


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_matmul_small_with_nan_and_infinity_touches_its_row_and_column_only(layout):
    a, b = operands(13, 21, 70, "float32")
    a[4, 69], b[69, 20] = np.nan, np.inf
    found = (strided(a, "rows") @ strided(b, layout)).numpy()
    strange = ~np.isfinite(found)
    assert strange[4].all()
    assert strange[:, 20].all()
    assert strange.sum() == 21 + 13 - 1


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("n", [*range(1, 20), 31, 33, 40])
def test_linear_of_any_width_and_its_summed_gradient_match_numpy(n, dtype):
    rng = np.random.default_rng(n)
    x, w, b, g = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((9, 21), (21, n), (n,), (9, n))
    )
    weight = tl.tensor(w, requires_grad=True)
    close = {"rtol": 0, "atol": 400 * EPS[dtype]}
    for times in (1, 2):
        y = tl.nn.functional.linear(tl.tensor(x), weight.T, tl.tensor(b))
        y.backward(tl.tensor(g))
        expected = times * (x.astype(float).T @ g.astype(float))
        np.testing.assert_allclose(weight.grad.numpy(), expected, **close)
    expected = x.astype(float) @ w.astype(float) + b
    np.testing.assert_allclose(y.detach().numpy(), expected, **close)


def test_linear_over_an_empty_depth_is_the_bias():
    bias = tl.tensor([1.0, -2.0, 3.0])
    found = tl.linear(tl.ones((2, 0)), tl.ones((3, 0)), bias)
    assert found.tolist() == [bias.tolist()] * 2


def test_linear_bias_that_is_a_strided_view_is_read_right():
    bias = tl.arange(6, dtype=tl.float32)[::-2]
    found = tl.linear(tl.zeros((2, 4)), tl.ones((3, 4)), bias)
    assert found.tolist() == [[5.0, 3.0, 1.0]] * 2


# ---- scalar products -------------------------------------------------------------
# Lengths around a vector's lanes and the blocks whose sums are joined.
LENGTHS = [0, 1, 3, 16, 25, 67, 1000, 8192, 8193, 50_001]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", LENGTHS)
def test_vecdot_of_rows_is_as_exact_as_a_sum_in_blocks(n, dtype):
    a, b = operands(3, 3, n, dtype)
    b = b.T
    exact = (a.astype(np.float64) * b).sum(-1)
    bound = np.abs(a.astype(np.float64) * b).sum(-1)
    found = tl.vecdot(tl.tensor(a), tl.tensor(b)).numpy()
    # A product's rounding, and of 128 additions in each of the lanes of a block.
    assert (np.abs(found - exact) <= 130 * EPS[dtype] * bound).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [0, 1])
def test_vecdot_of_strided_operands_equals_numpy(layout, axis):
    a, b = operands(30, 30, 40, "float64")
    b = np.ascontiguousarray(b.T)
    found = tl.vecdot(strided(a, layout), tl.tensor(b), axis=axis - 2)
    assert np.allclose(found.numpy(), (a * b).sum(axis), rtol=0, atol=1e-12)


def test_vecdot_of_broadcast_rows_has_gradients_of_every_operand():
    a, b = operands(4, 1, 60, "float64")
    x = tl.tensor(a.reshape(2, 2, 60), requires_grad=True)
    y = tl.tensor(b[:, 0].copy(), requires_grad=True)
    weight = np.arange(1.0, 5).reshape(2, 2)
    (tl.vecdot(x, y) * tl.tensor(weight)).sum().backward()
    assert np.allclose(x.grad.numpy(), weight[..., None] * b[:, 0], atol=1e-12)
    assert np.allclose(y.grad.numpy(), (weight.reshape(4, 1) * a).sum(0), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 300_000), (70, 5000)])
def test_vecdot_has_the_same_bits_on_any_number_of_threads(shape):
    a, b = operands(shape[0], shape[0], shape[1], "float32")
    x, y = tl.tensor(a), tl.tensor(np.ascontiguousarray(b.T))
    found = []
    for threads in (1, 2, 3):
        with tl.num_threads(threads):
            found.append(tl.vecdot(x, y).tobytes())
    assert found[0] == found[1] == found[2]


def test_vecdot_of_axes_that_do_not_broadcast_raises():
    with pytest.raises(tl.ShapeError, match="vecdot: axes before the last"):
        tl.vecdot(tl.ones((2, 3)), tl.ones((4, 3)))


@pytest.mark.parametrize("text", ["ij,ij->i", "ij,ij->", "ij,ji->i", "bij,bij->b"])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_einsum_of_scalar_products_equals_numpy(text, dtype):
    rng = np.random.default_rng(1)
    shape = (3, 5, 5)[-len(text.split(",")[0]) :]
    a, b = (rng.integers(-4, 5, shape).astype(dtype) for _ in range(2))
    found = tl.einsum(text, tl.tensor(a), tl.tensor(b))
    assert np.array_equal(found.numpy(), np.einsum(text, a, b))

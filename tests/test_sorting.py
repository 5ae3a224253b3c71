"""Sorting, selection, searching, sets and statistics over random arguments."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from op_samples_sorting import _argsort, _kthvalue, _sort, _topk
from sample_arrays import QUICK, assert_same

import tensorlib as tl

DTYPES = ["bool", "uint8", "int32", "int64", "float32", "float64"]
FLOATS = ["float32", "float64"]
SPECIAL = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1.0, -1.0, 1e-40, -1e-40]


@st.composite
def arrays(draw, dtypes=DTYPES, min_dims=1, max_dims=3, min_side=0):
    """An array with repeats and special values, strided as it comes."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(
        hnp.array_shapes(
            min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=40
        ).filter(lambda s: np.prod(s) < 2000)
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["few", "many", "bits", "clusters"]))
    a = np.asarray(_drawn(rng, kind, shape, dtype))
    views = [a, a.T, a[..., ::-1], a[::2]] if a.ndim else [a]
    return draw(st.sampled_from(views))


def _drawn(rng, kind, shape, dtype):
    if kind == "bits" and dtype != "bool":
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(rng.bytes(size), dtype).reshape(shape)
    if kind == "few" and dtype in FLOATS:
        return rng.choice(np.array(SPECIAL), shape).astype(dtype)
    if kind == "clusters" and dtype in ("int64", "float64"):
        values = rng.choice([-(2**40), 2**40], shape) + rng.integers(-5, 5, shape)
        return values.astype(dtype)
    values = rng.integers(0, 3 if kind == "few" else 100, shape)
    values = values if dtype in ("bool", "uint8") else values - 50
    return values.astype(dtype)


def tensors(a):
    """The array as a tensor with its strides."""
    return tl.asarray(a)


def assert_same_bits(x, a):
    """Equal bit for bit, signs of zeros and NaNs included."""
    assert x.shape == a.shape
    assert x.contiguous().numpy().tobytes() == np.ascontiguousarray(a).tobytes()


@pytest.fixture(params=[1, 3])
def threads(request):
    before = tl.get_num_threads()
    tl.set_num_threads(request.param)
    yield request.param
    tl.set_num_threads(before)


# ---- order -----------------------------------------------------------------------
@QUICK
@given(arrays(), st.booleans(), st.data())
def test_sort_and_argsort_equal_stable_reference(a, descending, data):
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    order = _argsort(a, axis, descending)
    assert_same(tl.argsort(tensors(a), axis=axis, descending=descending), order)
    found = tl.sort(tensors(a), axis=axis, descending=descending)
    assert_same_bits(found, np.take_along_axis(a, order, axis))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [24, 25, 32, 33, 4095, 4096, 140_003])
def test_sort_of_any_length_equals_stable_reference(size, dtype, descending, threads):
    rng = np.random.default_rng(size)
    for kind in ("few", "many", "bits", "clusters"):
        a = np.asarray(_drawn(rng, kind, (size,), dtype))
        order = _argsort(a, -1, descending)
        assert_same(tl.argsort(tensors(a), descending=descending), order)
        assert_same_bits(tl.sort(tensors(a), descending=descending), a[order])


ROWS_IN_MEMORY = {
    "one after the other": lambda a: a,
    "side by side": lambda a: np.ascontiguousarray(a.T).T,
    "backwards": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "every second": lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
}


@pytest.mark.parametrize("layout", ROWS_IN_MEMORY.values(), ids=ROWS_IN_MEMORY)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 31, 100, 512, 1024, 1025])
def test_sort_of_several_rows_equals_stable_reference(size, dtype, descending, layout):
    rng = np.random.default_rng(size)
    for count in (1, 3, 4, 7, 8, 13, 16, 37):
        for kind in ("few", "many", "bits", "clusters"):
            a = layout(np.asarray(_drawn(rng, kind, (count, size), dtype)))
            expected = np.take_along_axis(a, _argsort(a, -1, descending), -1)
            assert_same_bits(tl.sort(tensors(a), descending=descending), expected)


def test_sort_of_rows_at_uneven_distances_equals_reference():
    a = np.random.default_rng(0).standard_normal((3, 5, 40)).astype("float32")
    x = tl.tensor(a)[:, ::2]
    assert_same_bits(tl.sort(x), np.sort(a[:, ::2]))
    assert_same_bits(tl.sort(x, axis=0), np.sort(a[:, ::2], axis=0))


def test_sort_of_several_rows_has_the_same_bits_on_any_threads(threads):
    a = np.random.default_rng(0).choice(np.array(SPECIAL), (1001, 100))
    order = np.argsort(a, axis=-1, kind="stable")
    assert_same_bits(tl.sort(tl.tensor(a)), np.take_along_axis(a, order, -1))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_sort_puts_nan_last_and_keeps_order_of_zeros(dtype, descending):
    a = np.array([np.nan, 0.0, -0.0, -1.0, -np.nan, np.inf, -0.0], dtype)
    found = tl.sort(tl.tensor(a), descending=descending).numpy()
    assert np.isnan(found[-2:]).all()
    assert np.signbit(found[-2:]).tolist() == np.signbit(a[[0, 4]]).tolist()
    zeros = found[found == 0]
    assert np.signbit(zeros).tolist() == [False, True, True]


def test_sort_of_few_high_values_finishes_long_runs(threads):
    # One far element, so that the high bits of all others agree.
    a = np.concatenate([1.0 + np.arange(100_000)[::-1] * 1e-12, [1e300]])
    assert_same_bits(tl.sort(tl.tensor(a)), np.sort(a))
    assert_same(tl.argsort(tl.tensor(a)), np.argsort(a, kind="stable"))


def test_sort_writes_nothing_else():
    buffer = tl.zeros((5, 8))
    x = tl.tensor(np.random.default_rng(0).standard_normal((5, 8)).astype("float32"))
    buffer[:, ::2] = tl.sort(x)[:, ::2]
    assert (buffer[:, 1::2] == 0).all().item()


def test_sort_gradient_goes_to_places_in_the_input():
    x = tl.tensor([3.0, 1.0, 2.0], requires_grad=True)
    g = tl.autograd.grad((tl.sort(x) * tl.tensor([10.0, 20.0, 30.0])).sum(), [x])[0]
    assert g.tolist() == [30.0, 10.0, 20.0]


# ---- ranks -----------------------------------------------------------------------
@QUICK
@given(arrays(), st.booleans(), st.data())
def test_topk_equals_head_of_stable_sort(a, largest, data):
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    k = data.draw(st.integers(0, a.shape[axis]))
    values, order = _topk(a, k, axis, largest)
    found = tl.topk(tensors(a), k, axis, largest)
    assert_same(found.indices, order)
    assert_same_bits(found.values, values)
    loose = tl.topk(tensors(a), k, axis, largest, sorted=False).indices
    np.testing.assert_array_equal(np.sort(loose.numpy(), axis), np.sort(order, axis))


@QUICK
@given(arrays(min_side=1), st.data())
def test_kthvalue_equals_stable_sort(a, data):
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    if a.shape[axis] == 0:
        return
    k = data.draw(st.integers(1, a.shape[axis]))
    for keepdims in (False, True):
        values, order = _kthvalue(a, k, axis, keepdims)
        found = tl.kthvalue(tensors(a), k, axis, keepdims)
        assert_same(found.indices, order)
        assert_same_bits(found.values, values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 1000, 100_000])
def test_selection_from_a_long_row_equals_stable_sort(k, dtype, threads):
    rng = np.random.default_rng(k)
    for kind in ("few", "many", "bits", "clusters"):
        a = np.asarray(_drawn(rng, kind, (140_003,), dtype))
        for largest in (False, True):
            found = tl.topk(tensors(a), k, -1, largest)
            assert_same(found.indices, _topk(a, k, -1, largest)[1])
        assert_same(tl.kthvalue(tensors(a), k).indices, _kthvalue(a, k)[1])


@pytest.mark.parametrize("order", [1, -1])
def test_topk_of_ordered_rows_equals_stable_sort(order):
    a = np.arange(50_000, dtype=np.int32)[::order].copy()
    for largest in (False, True):
        found = tl.topk(tl.tensor(a), 20, -1, largest)
        assert_same(found.indices, _topk(a, 20, -1, largest)[1])


# ---- searching -------------------------------------------------------------------
@QUICK
@given(arrays(max_dims=1), arrays(min_dims=0), st.sampled_from(["left", "right"]))
def test_searchsorted_equals_numpy(a, v, side):
    a = np.sort(a)
    dtype = tl.result_type(tl.tensor(a), tl.tensor(v)).name
    found = tl.searchsorted(tensors(a), tensors(v), side=side)
    expected = np.searchsorted(np.sort(a.astype(dtype)), v.astype(dtype), side)
    assert_same(found, np.asarray(expected, np.int64))


def test_searchsorted_by_sorter_equals_numpy():
    rng = np.random.default_rng(1)
    a, v = rng.standard_normal(300), rng.standard_normal((4, 50))
    order = np.argsort(a)
    found = tl.searchsorted(tl.tensor(a), tl.tensor(v), sorter=tl.tensor(order))
    assert_same(found, np.searchsorted(a, v, sorter=order))


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"side": "middle"}, ValueError),
        ({"side": None}, ValueError),
        ({"sorter": tl.tensor([0, 1])}, tl.ShapeError),
        ({"sorter": tl.tensor([0, 1, 3])}, IndexError),
        ({"sorter": tl.tensor([0.0, 1.0, 2.0])}, tl.DTypeError),
    ],
)
def test_searchsorted_of_bad_arguments_raises(arguments, kind):
    with pytest.raises(kind):
        tl.searchsorted(tl.tensor([1.0, 2.0, 3.0]), 1.0, **arguments)


def test_searchsorted_of_a_scalar_promotes_as_operators_do():
    assert tl.searchsorted(tl.tensor([1, 2, 3]), 2.5).item() == 2
    assert tl.searchsorted(tl.tensor([1, 2, 3]), 2).shape == ()


# ---- sets ------------------------------------------------------------------------
@QUICK
@given(arrays(min_dims=0))
def test_unique_functions_equal_numpy(a):
    values, first, inverse, counts = np.unique(
        a, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    found = tl.unique_all(tensors(a))
    np.testing.assert_array_equal(found.values.numpy(), values)
    assert_same(found.inverse_indices, inverse.reshape(a.shape))
    assert_same(found.indices, first)
    assert_same(found.counts, counts)
    np.testing.assert_array_equal(tl.unique_values(tensors(a)).numpy(), values)
    assert_same(tl.unique_counts(tensors(a)).counts, counts)
    assert_same(tl.unique_inverse(tensors(a)).inverse_indices, found[2].numpy())
    alone = np.unique(a, return_counts=True)
    for x, e in zip(tl.unique(tensors(a), return_counts=True), alone, strict=True):
        np.testing.assert_array_equal(x.numpy(), e)


@QUICK
@given(arrays(min_dims=0), arrays(min_dims=0), st.booleans())
def test_isin_equals_numpy(a, b, invert):
    dtype = tl.result_type(tl.tensor(a), tl.tensor(b)).name
    expected = np.isin(a.astype(dtype), b.astype(dtype), invert=invert)
    assert_same(tl.isin(tensors(a), tensors(b), invert=invert), expected)


def test_isin_takes_scalars():
    x = tl.tensor([1, 2, 3])
    assert tl.isin(x, 2).tolist() == [False, True, False]
    assert tl.isin(3, x).item() is True
    assert tl.isin(x, 2.5).tolist() == [False] * 3
    assert tl.isin([3, 1], 1).tolist() == [False, True]
    assert tl.isin(1, [3, 1]).item() is True


@pytest.mark.parametrize("pair", [(int, 2), (2, int), (None, 1), ("a", tl.ones(1))])
def test_isin_of_what_is_no_array_raises(pair):
    with pytest.raises(TypeError, match="isin: expected a tensor"):
        tl.isin(*pair)


@pytest.mark.parametrize("pair", [(1, 2), (1j, 2), (2, 1j)])
def test_isin_of_two_scalars_raises(pair):
    with pytest.raises(tl.DTypeError, match="isin: expected at least one tensor"):
        tl.isin(*pair)


# ---- statistics ------------------------------------------------------------------
METHODS = [
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation",
    "interpolated_inverted_cdf", "hazen", "weibull", "linear", "median_unbiased",
    "normal_unbiased", "lower", "higher", "midpoint", "nearest",
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["quantile", "nanquantile", "percentile"])
def test_quantile_by_any_method_equals_numpy(name, method):
    rng = np.random.default_rng(5)
    scale = 100 if name == "percentile" else 1
    for n in (1, 2, 3, 8, 25, 200):
        a = rng.standard_normal((3, n))
        if n > 2 and name == "nanquantile":
            a[0, 0] = a[1, 1:] = np.nan
        q = np.array([0, 0.1, 0.25, 1 / 3, 0.5, 0.7, 1]) * scale
        found = getattr(tl, name)(tl.tensor(a), q, axis=1, method=method).numpy()
        expected = getattr(np, name)(a, q, axis=1, method=method)
        # A mean by weights that add up to one after rounding.
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


def test_quantile_of_nan_is_nan_and_nanquantile_skips_it():
    a = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0], [np.nan] * 3])
    x = tl.tensor(a)
    np.testing.assert_array_equal(tl.median(x, 1).numpy(), [np.nan, 2, np.nan])
    np.testing.assert_array_equal(tl.nanmedian(x, 1).numpy(), [2, 2, np.nan])


def test_median_of_infinities_is_not_nan():
    assert tl.median(tl.tensor([tl.inf, tl.inf])).item() == tl.inf
    assert tl.median(tl.tensor([-tl.inf, 1.0, tl.inf])).item() == 1.0
    assert tl.median(tl.tensor([1e308, 1.5e308], dtype="float64")).item() == 1.25e308


def test_median_of_nothing_is_nan():
    assert np.isnan(tl.median(tl.zeros((0,))).item())
    assert tl.median(tl.zeros((2, 0)), 1).shape == (2,)
    assert tl.median(tl.zeros((0, 2)), 1).shape == (0,)


def test_median_of_large_integers_is_rounded_once():
    x = tl.tensor([2**24 + 1, 2**24 + 3, 2**24 + 5])
    assert tl.median(x).item() == np.float32(2**24 + 3)


@QUICK
@given(arrays(dtypes=["float32", "float64", "int64"]), st.integers(1, 300))
def test_histogram_equals_numpy_by_its_edges(a, bins):
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        a = a[np.isfinite(a)]
    if a.size and abs(a).max() > 2**52:
        return
    counts, edges = tl.histogram(tensors(a), bins)
    assert_same(counts, np.histogram(a, edges.numpy())[0])
    reference = np.histogram_bin_edges(a.astype(np.float64), bins)
    scale = max(abs(reference).max(), 1e-30)
    eps = np.finfo(edges.dtype.name).eps
    np.testing.assert_allclose(edges.numpy(), reference, rtol=0, atol=4 * eps * scale)


def test_histogram_of_given_edges_weights_and_density_equals_numpy():
    rng = np.random.default_rng(2)
    a, w = rng.standard_normal(1000), rng.random(1000)
    a[:3] = np.nan
    e = np.array([-2.0, -0.5, -0.5, 0.0, 1.0])
    for keywords in ({}, {"weights": w}):
        for bins, bounds in ((e, None), (7, (-1.0, 2.5))):
            given = bins if isinstance(bins, int) else tl.tensor(bins)
            ours = {k: tl.tensor(v) for k, v in keywords.items()}
            found = tl.histogram(tl.tensor(a), given, bounds, **ours)
            expected = np.histogram(a, bins, bounds, **keywords)[0]
            # Weights are added in NumPy's order, but not in its blocks.
            np.testing.assert_allclose(found.hist.numpy(), expected, rtol=1e-13)
    found = tl.histogram(tl.tensor(a), 9, (-1, 1), weights=tl.tensor(w), density=True)
    expected = np.histogram(a, 9, (-1, 1), weights=w, density=True)[0]
    np.testing.assert_allclose(found.hist.numpy(), expected, rtol=1e-13)


def test_histogram_of_extreme_range_does_not_overflow():
    x = tl.tensor([-1.7e308, 0.0, 1.7e308], dtype="float64")
    edges = tl.tensor([-1.7e308, -1.0, 1.0, 1.7e308], dtype="float64")
    assert tl.histogram(x, edges).hist.tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", [(1,), (2,), (7, 9), (8, 1000), (3, 4, 6)])
def test_median_over_any_axes_equals_numpy(dtype, shape):
    x = (np.random.default_rng(0).standard_normal(shape) * 50).astype(dtype)
    if dtype.startswith("float"):
        x.flat[0], x.flat[-1] = np.inf, -np.inf
    for axis in (None, 0, -1):
        for keepdims in (False, True):
            found = tl.median(tl.tensor(x), axis=axis, keepdims=keepdims)
            with np.errstate(invalid="ignore"):
                expected = np.median(x.astype("float64"), axis, keepdims=keepdims)
            wanted = dtype if dtype.startswith("float") else "float32"
            assert found.dtype.name == wanted
            np.testing.assert_array_equal(found.numpy(), expected.astype(wanted))


def test_median_of_a_row_with_nan_is_nan():
    x = tl.tensor([[1.0, tl.nan, 2.0, 4.0], [3.0, 1.0, 2.0, 9.0]])
    np.testing.assert_array_equal(tl.median(x, axis=1).numpy(), [np.nan, 2.5])
    assert math.isnan(tl.median(x).item())


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 34, 1000, 4096, 4097])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64"])
@pytest.mark.parametrize("kind", ["few", "many", "bits"])
def test_median_of_short_rows_equals_the_middle_of_a_stable_sort(n, dtype, kind):
    rng = np.random.default_rng(n)
    if dtype == "float16":
        a = rng.choice(np.array(SPECIAL[:2] + SPECIAL[4:8]), (3, 2 * n)).astype(dtype)
    else:
        a = _drawn(rng, kind, (3, 2 * n), dtype)
    rows = a[:, ::2]
    wanted = dtype if dtype.startswith("float") else "float32"
    for name, skip in (("median", False), ("nanmedian", True)):
        found = getattr(tl, name)(tensors(a)[:, ::2], axis=1)
        expected = [_middle_of(row, skip, wanted) for row in rows]
        assert_same(found, np.array(expected, wanted))


def _middle_of(row, skip, wanted):
    row = _sort(np.ascontiguousarray(row))
    if row.dtype.kind == "f":
        if np.isnan(row[-1]) and not skip:
            return np.nan
        row = row[~np.isnan(row)]
        if row.size == 0:
            return np.nan
    low, high = row[(row.size - 1) // 2], row[row.size // 2]
    if low == high:
        return np.array(low).astype(wanted)
    with np.errstate(invalid="ignore"):
        return (0.5 * np.float64(low) + 0.5 * np.float64(high)).astype(wanted)


@pytest.mark.parametrize("name", ["median", "nanmedian"])
@pytest.mark.parametrize("n", [6, 7])
def test_median_has_the_same_bits_with_and_without_a_gradient(name, n):
    a = np.random.default_rng(n).choice(np.array(SPECIAL), (200, n)).astype("float32")
    x = tl.tensor(a, requires_grad=True)
    found = getattr(tl, name)(tl.tensor(a), axis=1)
    recorded = getattr(tl, name)(x, axis=1).detach()
    np.testing.assert_array_equal(found.numpy(), recorded.numpy())


@pytest.mark.parametrize("k", [1, 3, 40, 250, 999])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("kind", ["few", "many", "bits"])
def test_topk_of_a_short_row_equals_head_of_stable_sort(k, dtype, kind):
    a = _drawn(np.random.default_rng(k), kind, (1000,), dtype)
    for largest in (False, True):
        values, order = _topk(a, k, largest=largest)
        found = tl.topk(tensors(a), k, largest=largest)
        np.testing.assert_array_equal(found.indices.numpy(), order)
        assert_same_bits(found.values, values)
        apart = tl.topk(tensors(a), k, largest=largest, sorted=False)
        np.testing.assert_array_equal(np.sort(apart.indices.numpy()), np.sort(order))


def test_median_gradient_goes_to_the_middle_elements():
    x = tl.tensor([3.0, 1.0, 2.0, 9.0], requires_grad=True)
    tl.median(x).backward()
    assert x.grad.tolist() == [0.5, 0.0, 0.5, 0.0]


@pytest.mark.parametrize("n", [0, 1, 3, 399, 401, 100_003])
@pytest.mark.parametrize("bins", [1, 100, 512, 513])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32", "uint64"])
def test_bincount_of_any_length_equals_numpy(n, bins, dtype):
    x = np.random.default_rng(n).integers(0, bins, n).astype(dtype)
    expected = np.bincount(x.astype(np.int64), minlength=7)
    np.testing.assert_array_equal(tl.bincount(tl.tensor(x), minlength=7), expected)


@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_bincount_of_a_negative_element_names_it(dtype):
    x = tl.tensor([3, -2, 1], dtype=dtype)
    with pytest.raises(ValueError, match="bincount: expected elements >= 0, got -2"):
        tl.bincount(x)


def test_bincount_gradient_is_the_cotangent_of_each_bin():
    w = tl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = tl.bincount(tl.tensor([2, 0, 2]), w)
    assert y.tolist() == [2.0, 0.0, 4.0]
    g = tl.autograd.grad((y * tl.tensor([5.0, 6.0, 7.0])).sum(), [w])[0]
    assert g.tolist() == [7.0, 5.0, 7.0]


# ---- methods ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("sort", ()), ("argsort", ()), ("topk", (2,)), ("kthvalue", (2,)), ("median", ()),
     ("quantile", (0.3,)), ("unique", ()), ("isin", (1.0,))],
)  # fmt: skip
def test_method_equals_function(name, arguments):
    x = tl.tensor([3.0, 1.0, 2.0])
    found = getattr(x, name)(*arguments)
    expected = getattr(tl, name)(x, *arguments)
    for y, e in zip(
        found if isinstance(found, tuple) else (found,),
        expected if isinstance(expected, tuple) else (expected,),
        strict=True,
    ):
        assert y.tolist() == e.tolist()


def test_sorted_reference_agrees_with_numpy():
    a = np.random.default_rng(0).standard_normal((5, 40))
    np.testing.assert_array_equal(_sort(a), np.sort(a))

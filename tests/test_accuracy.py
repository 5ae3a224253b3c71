"""The elementwise functions keep the bounds of docs/accuracy.md, at fewer points."""

import re

import accuracy
import accuracy_complex
import numpy as np
import pytest
import scipy.special

import tensorlib as tl


@pytest.mark.parametrize("dtype", accuracy.DTYPES)
@pytest.mark.parametrize("row", accuracy.ROWS, ids=lambda row: row.name)
def test_error_is_within_the_rows_bound(row, dtype):
    error, point = accuracy.worst(row, dtype, 8000)[0]
    assert error <= row.bound[accuracy.DTYPES.index(dtype)], point


@pytest.mark.parametrize("dtype", accuracy_complex.DTYPES)
@pytest.mark.parametrize("row", accuracy_complex.ROWS, ids=lambda row: row.name)
def test_complex_error_is_within_the_rows_bound(row, dtype):
    count = 300 if row.digits > 60 else 1500
    norm, _, point = accuracy_complex.worst(row, dtype, count, seed=1)
    assert norm <= row.bound[list(accuracy_complex.DTYPES).index(dtype)], point


@pytest.mark.parametrize(("table", "rows"), [(1, accuracy.ROWS),
                                             (3, accuracy_complex.ROWS)])  # fmt: skip
def test_page_has_a_row_for_each_function_within_its_bound(table, rows):
    page = accuracy.PAGE
    if not page.exists():
        pytest.skip("no docs beside tests/")
    text = re.sub(r" \([\d.e+]+\)", "", page.read_text().split(accuracy.MARK)[table])
    lines = re.findall(r"^\| (.+?) \| ([\d.| ]+) \| [\d., ]+ \|$", text, re.M)
    cells = {name: [float(c) for c in rest.split(" | ")] for name, rest in lines}
    assert set(cells) == {row.name for row in rows}
    for row in rows:
        half = len(cells[row.name]) // 2
        assert max(cells[row.name][:half]) <= row.bound[0]
        assert max(cells[row.name][half:]) <= row.bound[1]


# Points where a function once was far off: (function, argument, result by mpmath).
ONCE_WRONG = [
    (tl.sigmoid, -88.75, 2.858961e-39),
    (tl.silu, -88.43, -3.4811e-37),
    (tl.silu, -103.0, -1.915e-43),
    (tl.gelu, -5.607290267944336, -5.769037e-08),
    (tl.gelu, -13.0, -7.952893e-38),
    (tl.tanhshrink, 3.4e-6, 1.31013e-17),
    (tl.mish, -103.0, -1.915e-43),
]


def exact(function, x):
    """The value by mpmath of the row of that name."""
    row = next(r for r in accuracy.ROWS if r.name == function.__name__)
    with accuracy.mpmath.workdps(60):
        return np.longdouble(str(row.exact(accuracy.mpmath.mpf(x))))


@pytest.mark.parametrize("dtype", accuracy.DTYPES)
@pytest.mark.parametrize(("function", "x", "about"), ONCE_WRONG, ids=str)
def test_small_results_are_not_lost(function, x, about, dtype):
    x = float(np.asarray(x, dtype))
    found = function(tl.tensor([x], dtype=dtype)).numpy()
    expected = exact(function, x)
    assert abs(expected / about - 1) < 0.05
    assert abs(found[0] - expected) <= 5 * accuracy.unit(abs(expected), dtype)


def test_gelu_with_tanh_is_exact_where_its_exponent_is_large():
    x = np.linspace(-9, -20, 50)
    found = tl.gelu(tl.tensor(x), approximate="tanh").numpy()
    row = next(r for r in accuracy.ROWS if r.name == "gelu, tanh")
    for k in range(x.size):
        assert accuracy.confirmed(row, "float64", [x], found, k) <= 4


UNARY = [row for row in accuracy.ROWS if len(row.ranges) == 1]


@pytest.mark.parametrize("row", UNARY, ids=lambda row: row.name)
def test_every_float16_is_rounded_once(row):
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    found = row.apply(x)
    assert found.dtype == np.float16
    with np.errstate(all="ignore"):
        expected = row.wide(x.astype(accuracy.WIDE))
        assert accuracy.errors(row, "float16", found, expected, [x]).max() <= 0.501


def gelu_with_gradient(x):
    a = tl.tensor(x, requires_grad=True)
    y = tl.gelu(a)
    y.backward(tl.ones(a.shape))
    return y.detach().numpy(), a.grad.numpy()


def test_gelu_of_an_element_has_the_same_bits_in_any_place():
    x = np.float32([*np.linspace(-16, 12, 41), np.inf, -np.inf, np.nan, -0.0, 0, 1e38])
    wide = np.repeat(x, 3)
    for got, strided, padded in zip(
        gelu_with_gradient(x),
        (part[::3] for part in gelu_with_gradient(wide)),
        gelu_with_gradient(np.concatenate([np.zeros(11, "f"), x])),
        strict=True,
    ):
        np.testing.assert_array_equal(got.view("i4"), strided.view("i4"))
        np.testing.assert_array_equal(got.view("i4"), padded[11:].view("i4"))
    bits = tl.gelu(tl.tensor(x)).numpy().view("i4")
    columns = tl.gelu(tl.tensor(wide)[::3]).numpy()
    np.testing.assert_array_equal(columns.view("i4"), bits)
    alone = [tl.gelu(tl.tensor(x[k : k + 1])).numpy()[0] for k in range(x.size)]
    np.testing.assert_array_equal(np.float32(alone).view("i4"), bits)


@pytest.mark.parametrize("n", [1, 16, 255, 256, 700])
def test_gelu_of_a_row_has_the_bits_of_its_elements_alone(n):
    x = np.float32(np.random.default_rng(n).normal(0, 8, n))
    alone = [gelu_with_gradient(part) for part in np.split(x, n)]
    for got, parts in zip(gelu_with_gradient(x), zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(got.view("i4"), np.concatenate(parts).view("i4"))


def test_gelu_far_below_zero_is_minus_zero_and_its_gradient_zero():
    y, slope = gelu_with_gradient(np.float32([-15.5, -1e30, -np.inf] * 7))
    assert (y.view("u4") == 0x80000000).all()
    assert (slope == 0).all()


def test_gelu_gradient_error_is_a_few_ulp_of_the_normal_distribution():
    x = np.linspace(-9, 12, 200_001).astype("f")
    wide = x.astype("f8")
    cdf = scipy.special.ndtr(wide)
    exact = cdf + wide * np.exp(-wide * wide / 2) / np.sqrt(2 * np.pi)
    _, found = gelu_with_gradient(x)
    # Beside the zero near -0.75 only the terms' size bounds the error.
    size = np.maximum(abs(exact), cdf)
    assert (abs(found - exact) / size).max() < 8 * 2.0**-24


@pytest.mark.parametrize("size", [1e-37, 1e-33, 1e-30, 1e-20, 1e20, 3e38])
def test_gelu_gradient_error_does_not_grow_with_a_small_or_large_cotangent(size):
    x = np.linspace(-13, -4.5, 20_001).astype("f")  # the derivative is normal
    g = np.float32(size) * np.where(np.arange(x.size) % 2, 1, -1).astype("f")
    a = tl.tensor(x, requires_grad=True)
    tl.gelu(a).backward(tl.tensor(g))
    wide = x.astype("f8")
    density = np.exp(-wide * wide / 2) / np.sqrt(2 * np.pi)
    exact = g * (scipy.special.ndtr(wide) + wide * density)
    unit = np.maximum(np.spacing(abs(exact).astype("f")), np.float32(2.0**-149))
    assert (abs(a.grad.numpy() - exact) / unit).max() < 4


def test_gelu_gradient_of_an_endless_cotangent_is_endless_or_nan():
    x = np.float32([-14, -9, -5] * 9)
    for g in (np.inf, -np.inf, np.nan):
        a = tl.tensor(x, requires_grad=True)
        tl.gelu(a).backward(tl.full(x.shape, g))
        np.testing.assert_array_equal(a.grad.numpy(), -np.full(x.shape, g, "f"))

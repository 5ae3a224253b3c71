"""Largest errors of the elementary functions, in ulp, and the standard's special cases.

float32 is compared with NumPy's float64 over every 4099th bit pattern, float64 with
mpmath over random arguments of all magnitudes.
"""

import mpmath
import numpy as np
import pytest

import tensorlib as tl

# name: bound in ulp for float32 and float64, as the docstrings state them.
UNARY = {
    "acos": (1.0, 1.0),
    "acosh": (0.6, 2.0),
    "asin": (1.1, 1.0),
    "asinh": (1.8, 2.0),
    "atan": (1.5, 1.0),
    "atanh": (2.0, 2.0),
    "sinh": (2.0, 2.0),
    "cosh": (2.0, 2.0),
    "log2": (2.0, 1.0),
    "log10": (2.0, 2.0),
}
BINARY = {"atan2": (2.0, 1.0), "hypot": (0.6, 1.3)}
MPMATH = {
    **{name: getattr(mpmath, name) for name in ("acos", "acosh", "asin", "asinh")},
    **{name: getattr(mpmath, name) for name in ("atan", "atanh", "sinh", "cosh")},
    "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10,
    "atan2": mpmath.atan2,
    "hypot": mpmath.hypot,
}
INF, NAN, PI = np.inf, np.nan, np.pi


def every_float32():
    bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    return values[np.isfinite(values)]


def errors_in_ulp(found, exact):
    """|found - exact| in units of found's dtype at exact, where exact is finite."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(found.dtype)
        keep = np.isfinite(rounded)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
        np.testing.assert_array_equal(found[~keep], rounded[~keep])
        return abs(found[keep] - exact[keep]) / np.spacing(abs(rounded[keep]))


@pytest.mark.parametrize("name", UNARY)
def test_unary_float32_error_is_within_bound(name):
    x = every_float32()
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.float64))
    found = getattr(tl, name)(tl.tensor(x)).numpy()
    assert errors_in_ulp(found, exact).max() < UNARY[name][0]


@pytest.mark.parametrize("name", BINARY)
def test_binary_float32_error_is_within_bound(name):
    rng = np.random.default_rng(1)
    x, y = rng.permutation(every_float32()), rng.permutation(every_float32())
    x = np.concatenate([x, rng.normal(size=10**6).astype(np.float32)])
    y = np.concatenate([y, rng.normal(size=10**6).astype(np.float32)])
    exact = getattr(np, name)(x.astype(np.float64), y.astype(np.float64))
    found = getattr(tl, name)(tl.tensor(x), tl.tensor(y)).numpy()
    # Below the normal numbers a quotient in float32 is rounded once more.
    normal = abs(exact) > np.finfo(np.float32).smallest_normal
    assert errors_in_ulp(found[normal], exact[normal]).max() < BINARY[name][0]
    assert errors_in_ulp(found[~normal], exact[~normal]).max(initial=0) <= 1.0


def doubles(name, rng, n=1500):
    spread = np.exp(rng.uniform(-300, 300, n)) * rng.choice([-1, 1], n)
    close = rng.uniform(-1, 1, n)
    x = np.concatenate([spread, close, 1 + close * 1e-3, rng.uniform(-30, 30, n)])
    if name in ("acos", "asin", "atanh"):
        x = x[abs(x) < 1]
    if name == "acosh":
        x = 1 + abs(x)
    if name in ("log2", "log10"):
        x = abs(x)
    return x[abs(x) < 700] if name in ("sinh", "cosh") else x


def exact_errors(name, found, *inputs):
    with mpmath.workdps(50):
        rows = zip(found.tolist(), *[x.tolist() for x in inputs], strict=True)
        errors = []
        for value, *numbers in rows:
            exact = MPMATH[name](*map(mpmath.mpf, numbers))
            errors.append(abs(value - exact) / float(np.spacing(abs(float(exact)))))
        return float(max(errors))


@pytest.mark.parametrize("name", UNARY)
def test_unary_float64_error_is_within_bound(name):
    x = doubles(name, np.random.default_rng(2))
    found = getattr(tl, name)(tl.tensor(x)).numpy()
    assert exact_errors(name, found, x) < UNARY[name][1]


@pytest.mark.parametrize("name", BINARY)
def test_binary_float64_error_is_within_bound(name):
    rng = np.random.default_rng(3)
    x, y = doubles(name, rng), doubles(name, rng)
    y = np.where(rng.random(x.size) < 0.5, y, x * rng.uniform(0.1, 9, x.size))
    found = getattr(tl, name)(tl.tensor(x), tl.tensor(y)).numpy()
    assert exact_errors(name, found, x, y) < BINARY[name][1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logaddexp_error_is_within_two_ulp_of_its_largest_number(dtype):
    rng = np.random.default_rng(4)
    a, b = (rng.normal(size=(2, 10**5)) * 20).astype(dtype)
    wide = np.longdouble
    exact = np.logaddexp(a.astype(wide), b.astype(wide))
    found = tl.logaddexp(tl.tensor(a), tl.tensor(b)).numpy()
    size = np.maximum(abs(exact).astype(dtype), np.maximum(abs(a), abs(b)))
    assert (abs(found - exact) / np.spacing(size)).max() < 2


# ---- special cases -------------------------------------------------------------
# Array API 2025.12, "Elementwise functions": (function, arguments, result).
CASES = [
    ("acos", (1.5,), NAN), ("acos", (-1.5,), NAN), ("acos", (1.0,), 0.0),
    ("acosh", (0.5,), NAN), ("acosh", (-INF,), NAN), ("acosh", (1.0,), 0.0),
    ("acosh", (INF,), INF), ("asin", (1.5,), NAN), ("asin", (-0.0,), -0.0),
    ("asinh", (-0.0,), -0.0), ("asinh", (INF,), INF), ("asinh", (-INF,), -INF),
    ("atan", (-0.0,), -0.0), ("atan", (INF,), PI / 2), ("atan", (-INF,), -PI / 2),
    ("atanh", (2.0,), NAN), ("atanh", (-INF,), NAN), ("atanh", (-1.0,), -INF),
    ("atanh", (1.0,), INF), ("atanh", (-0.0,), -0.0), ("cosh", (-INF,), INF),
    ("cosh", (-0.0,), 1.0), ("sinh", (-0.0,), -0.0), ("sinh", (-INF,), -INF),
    ("log2", (-1.0,), NAN), ("log2", (-0.0,), -INF), ("log2", (1.0,), 0.0),
    ("log2", (INF,), INF), ("log10", (-1.0,), NAN), ("log10", (0.0,), -INF),
    ("log10", (1.0,), 0.0), ("log10", (INF,), INF), ("trunc", (-0.5,), -0.0),
    ("trunc", (-INF,), -INF), ("trunc", (-0.0,), -0.0),
    ("atan2", (1.0, 0.0), PI / 2), ("atan2", (1.0, -0.0), PI / 2),
    ("atan2", (0.0, 0.0), 0.0), ("atan2", (0.0, -0.0), PI), ("atan2", (0.0, -1.0), PI),
    ("atan2", (-0.0, 0.0), -0.0), ("atan2", (-0.0, -0.0), -PI),
    ("atan2", (-0.0, 1.0), -0.0), ("atan2", (-0.0, -1.0), -PI),
    ("atan2", (1.0, INF), 0.0), ("atan2", (1.0, -INF), PI),
    ("atan2", (-1.0, INF), -0.0),
    ("atan2", (-1.0, -INF), -PI), ("atan2", (INF, 1.0), PI / 2),
    ("atan2", (-INF, 1.0), -PI / 2), ("atan2", (INF, INF), PI / 4),
    ("atan2", (INF, -INF), 3 * PI / 4), ("atan2", (-INF, INF), -PI / 4),
    ("atan2", (-INF, -INF), -3 * PI / 4), ("atan2", (NAN, 1.0), NAN),
    ("hypot", (INF, NAN), INF), ("hypot", (NAN, -INF), INF), ("hypot", (NAN, 1.0), NAN),
    ("hypot", (-0.0, -0.0), 0.0), ("hypot", (-3.0, 4.0), 5.0),
    ("logaddexp", (INF, NAN), NAN), ("logaddexp", (INF, -INF), INF),
    ("logaddexp", (INF, INF), INF), ("logaddexp", (-INF, -INF), -INF),
    ("logaddexp", (-INF, 2.0), 2.0), ("copysign", (INF, -0.0), -INF),
    ("copysign", (-3.0, 0.0), 3.0), ("copysign", (NAN, -1.0), NAN),
    ("nextafter", (0.0, -0.0), -0.0), ("nextafter", (-0.0, 0.0), 0.0),
    ("nextafter", (NAN, 1.0), NAN), ("nextafter", (1.0, NAN), NAN),
    ("nextafter", (INF, INF), INF), ("nextafter", (INF, -INF), "greatest"),
    ("nextafter", (0.0, 1.0), "least"), ("nextafter", ("greatest", INF), INF),
    ("nextafter", ("least", -1.0), 0.0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "inputs", "expected"), CASES, ids=str)
def test_special_case_is_the_standards(name, inputs, expected, dtype):
    facts = np.finfo(dtype)
    words = {"greatest": facts.max, "least": facts.smallest_subnormal}
    arguments = [tl.tensor([words.get(x, x)] * 3, dtype=dtype) for x in inputs]
    found = getattr(tl, name)(*arguments).numpy()
    wanted = np.array([words.get(expected, expected)] * 3, dtype)
    np.testing.assert_allclose(found, wanted, rtol=2 * facts.eps, atol=0)
    if expected == expected:
        np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))


def test_signbit_sees_zeros_and_nans():
    signs = tl.tensor([1.0, -1.0, 1.0, -1.0, -1.0])
    x = tl.copysign(tl.tensor([0.0, 0.0, NAN, NAN, INF]), signs)
    assert tl.signbit(x).tolist() == [False, True, False, True, True]


def test_gradients_of_large_numbers_do_not_overflow():
    x = tl.tensor([1e38], requires_grad=True)
    for name in ("asinh", "acosh", "log2", "log10"):
        (g,) = tl.autograd.grad(getattr(tl, name)(x).sum(), [x])
        assert 0 < g.item() < 2e-38


def _halves(bits, dtype):
    """Tensor of 16-bit floats with these bits, by way of exact float32 values."""
    if dtype == tl.float16:
        return tl.asarray(bits.view(np.float16))
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    return tl.astype(tl.asarray(values), tl.bfloat16)


@pytest.mark.parametrize("dtype", [tl.float16, tl.bfloat16], ids=str)
@pytest.mark.parametrize("towards", [-INF, -1.0, -0.0, 0.0, 1.5, INF])
def test_nextafter_of_halves_is_their_own_neighbour(dtype, towards):
    every = np.arange(1 << 16, dtype=np.uint16)
    x = _halves(every, dtype)
    wide = np.asarray(tl.astype(x, tl.float64))
    # Finite numbers and infinities in order: their places are consecutive integers.
    size, sign = (every & 0x7FFF).astype(np.int32), (every >> 15).astype(bool)
    place = np.where(sign, -size, size)
    moved = place + np.where(wide < towards, 1, -1)
    expected = np.where(moved < 0, 0x8000 - moved, moved).astype(np.uint16)
    expected[(moved == 0) & sign] = 0x8000  # -0 comes after the least negative number
    expected = np.asarray(tl.astype(_halves(expected, dtype), tl.float64))
    expected = np.where(wide == towards, towards, expected)
    expected = np.where(np.isnan(wide), wide, expected)
    found = tl.nextafter(x, tl.tensor(towards, dtype=dtype))
    assert found.dtype == dtype
    found = np.asarray(tl.astype(found, tl.float64))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))

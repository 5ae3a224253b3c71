"""Functions of one number, over rows: forms, places, strides and special values."""

import numpy as np
import pytest

import tensorlib as tl

FUNCTIONS = [
    "sqrt",
    "exp",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "tanh",
    "sinh",
    "cosh",
    "asinh",
    "atanh",
    "sin",
    "cos",
    "tan",
    "sigmoid",
]
NUMPY_NAMES = {"asinh": "arcsinh", "atanh": "arctanh"}


def reference(name, x):
    if name == "sigmoid":
        return 1 / (1 + np.exp(-x))
    return getattr(np, NUMPY_NAMES.get(name, name))(x)


def spread(count, seed):
    """Floats of random bits, half of them near 1 in size."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 2**32, count, np.uint32).view(np.float32)
    return np.where(rng.random(count) < 0.5, wide, rng.normal(size=count)).astype("f4")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_of_an_element_do_not_depend_on_its_place(name):
    x = spread(1500, 1)
    whole = getattr(tl, name)(tl.tensor(x)).numpy()
    for start, stop in [(0, 1), (3, 10), (5, 21), (1, 300), (700, 1499)]:
        part = getattr(tl, name)(tl.tensor(x)[start:stop]).numpy()
        np.testing.assert_array_equal(part.view("u4"), whole[start:stop].view("u4"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_of_an_element_do_not_depend_on_strides(name, dtype):
    x = np.where(np.isfinite(x := spread(1200, 2)), x, 0.5).astype(dtype)
    function = getattr(tl, name)
    whole = function(tl.tensor(x)).numpy()
    apart = function(tl.tensor(np.repeat(x, 3))[::3]).numpy()
    np.testing.assert_array_equal(apart, whole)
    backwards = function(tl.tensor(x[::-1].copy())[::-1]).numpy()
    np.testing.assert_array_equal(backwards, whole)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_those_of_numpy(name):
    tiny = np.finfo("f4").smallest_subnormal
    sizes = [0.0, tiny, 1e-40, 1.0, 1.5, 89.0, 89.5, 105.0, 3e38, np.inf, np.nan]
    x = np.array(sizes + [-s for s in sizes], "f4")
    with np.errstate(all="ignore"):
        expected = reference(name, x.astype("f8")).astype("f4")
    result = getattr(tl, name)(tl.tensor(x)).numpy()
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    special = np.isinf(expected) | (expected == 0)
    np.testing.assert_array_equal(result[special], expected[special])
    signs = np.signbit(expected[special])
    np.testing.assert_array_equal(np.signbit(result[special]), signs)


def test_sqrt_is_rounded_correctly_for_every_mantissa():
    for exponent in (127, 128):
        bits = np.arange(exponent << 23, (exponent + 1) << 23, dtype=np.uint32)
        x = bits.view(np.float32)
        np.testing.assert_array_equal(tl.sqrt(tl.tensor(x)).numpy(), np.sqrt(x))


@pytest.mark.parametrize(("name", "ulp"), [("sin", 1.6), ("cos", 1.6), ("tan", 3.2)])
def test_error_near_multiples_of_a_quarter_turn_is_small(name, ulp):
    """Where the reduction cancels most, below and beyond its limits."""
    turns = np.arange(-700_000, 700_000, 7) * (np.pi / 2)
    x = np.concatenate([turns, np.nextafter(turns.astype("f4"), 0)]).astype("f4")
    exact = reference(name, x.astype("f8"))
    result = getattr(tl, name)(tl.tensor(x)).numpy().astype("f8")
    unit = np.spacing(np.abs(exact).astype("f4")).astype("f8")
    assert (np.abs(result - exact) / unit).max() <= ulp

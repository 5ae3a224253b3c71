"""Special values that libraries get wrong: the standard's tables and C99's annexes.

Real rows are Array API 2025.12 and C99 F.10; complex ones C99 G.6 and, where the
standard is firmer (expm1, tanh, sign), the standard's. A number in a tuple may have
either sign.
"""

import math

import pytest

import tensorlib as tl

INF, NAN, PI = math.inf, math.nan, math.pi

REAL = [
    ("floor_divide", INF, 2.0, INF), ("floor_divide", INF, -2.0, -INF),
    ("floor_divide", -INF, 2.0, -INF), ("floor_divide", INF, INF, NAN),
    ("floor_divide", 2.0, INF, 0.0), ("floor_divide", -2.0, INF, -0.0),
    ("floor_divide", 2.0, -INF, -0.0), ("floor_divide", -2.0, -INF, 0.0),
    ("floor_divide", 0.0, 0.0, NAN), ("floor_divide", 1.0, 0.0, INF),
    ("floor_divide", 1.0, -0.0, -INF), ("floor_divide", -0.0, 3.0, -0.0),
    ("floor_divide", -7.0, 2.0, -4.0), ("floor_divide", 7.0, -2.0, -4.0),
    ("remainder", -7.0, 2.0, 1.0), ("remainder", 7.0, -2.0, -1.0),
    ("remainder", 0.0, 3.0, 0.0), ("remainder", 0.0, -3.0, -0.0),
    ("remainder", -0.0, 3.0, 0.0), ("remainder", -6.0, 3.0, 0.0),
    ("remainder", 6.0, -3.0, -0.0), ("remainder", 2.0, INF, 2.0),
    ("remainder", -2.0, INF, INF), ("remainder", 2.0, -INF, -INF),
    ("remainder", INF, 2.0, NAN), ("remainder", 1.0, 0.0, NAN),
    ("remainder", NAN, 1.0, NAN),
    ("pow", 1.0, NAN, 1.0), ("pow", NAN, 0.0, 1.0), ("pow", NAN, -0.0, 1.0),
    ("pow", -1.0, INF, 1.0), ("pow", -1.0, -INF, 1.0), ("pow", 2.0, INF, INF),
    ("pow", 0.5, INF, 0.0), ("pow", 2.0, -INF, 0.0), ("pow", 0.5, -INF, INF),
    ("pow", INF, 0.5, INF), ("pow", INF, -0.5, 0.0), ("pow", -INF, 3.0, -INF),
    ("pow", -INF, 2.0, INF), ("pow", -INF, 0.5, INF), ("pow", -INF, -3.0, -0.0),
    ("pow", -INF, -2.0, 0.0), ("pow", 0.0, 2.5, 0.0), ("pow", 0.0, -1.0, INF),
    ("pow", -0.0, 3.0, -0.0), ("pow", -0.0, 2.0, 0.0), ("pow", -0.0, -3.0, -INF),
    ("pow", -0.0, -2.0, INF), ("pow", -8.0, 1 / 3, NAN), ("pow", -2.0, 3.0, -8.0),
]  # fmt: skip


def agrees(found, expected):
    """One number and its sign, which a tuple leaves open."""
    if isinstance(expected, tuple):
        return abs(found) == expected[0]
    if expected != expected:
        return found != found
    if not math.isclose(found, expected, rel_tol=1e-6, abs_tol=0):
        return False
    return math.copysign(1, found) == math.copysign(1, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("name", "x", "y", "expected"), REAL, ids=str)
@pytest.mark.parametrize("length", [1, 37])
def test_real_special_value(name, x, y, expected, dtype, length):
    a, b = (tl.full(length, v, dtype=dtype) for v in (x, y))
    for found in getattr(tl, name)(a, b).tolist():
        assert agrees(found, expected), found


def test_pow_of_mixed_elements_has_the_bits_of_each_alone():
    """Special values beside others take their form, and the others theirs."""
    values = [-INF, -2.5, -2.0, -1.0, -1e-40, -0.0, 0.0, 1e-40, 0.5, 1.0, 3.0, INF, NAN]
    pairs = [(x, y) for x in values for y in (-151.0, -3.0, -0.5, 0.0, 2.0, 127.5, INF)]
    a, b = (tl.tensor(column) for column in zip(*pairs, strict=True))
    alone = [(a[i : i + 1] ** b[i : i + 1]).tobytes() for i in range(a.size)]
    assert (a**b).tobytes() == b"".join(alone)


OPEN = (0.0,), (INF,)
ZERO, ANY_INF = OPEN
# (function, x, y, real part, imaginary part) of f(x + iy).
COMPLEX = [
    ("exp", 0.0, 0.0, 1.0, 0.0), ("exp", -0.0, -0.0, 1.0, -0.0),
    ("exp", 1.0, INF, NAN, NAN), ("exp", INF, 0.0, INF, 0.0),
    ("exp", -INF, 1.0, 0.0, 0.0), ("exp", -INF, 2.0, -0.0, 0.0),
    ("exp", INF, 2.0, -INF, INF), ("exp", -INF, INF, ZERO, ZERO),
    ("exp", INF, INF, ANY_INF, NAN), ("exp", -INF, NAN, ZERO, ZERO),
    ("exp", INF, NAN, ANY_INF, NAN), ("exp", NAN, 0.0, NAN, 0.0),
    ("exp", NAN, 1.0, NAN, NAN), ("expm1", -0.0, 0.0, 0.0, 0.0),
    ("expm1", INF, 0.0, INF, 0.0), ("expm1", -INF, 1.0, -1.0, 0.0),
    ("expm1", -INF, INF, -1.0, ZERO), ("expm1", -INF, NAN, -1.0, ZERO),
    ("expm1", INF, INF, ANY_INF, NAN), ("expm1", NAN, 0.0, NAN, 0.0),
    ("log", -0.0, 0.0, -INF, PI), ("log", 0.0, 0.0, -INF, 0.0),
    ("log", 0.0, -0.0, -INF, -0.0), ("log", 1.0, INF, INF, PI / 2),
    ("log", -INF, 1.0, INF, PI), ("log", INF, 1.0, INF, 0.0),
    ("log", -INF, INF, INF, 3 * PI / 4), ("log", INF, INF, INF, PI / 4),
    ("log", INF, NAN, INF, NAN), ("log", NAN, INF, INF, NAN),
    ("log1p", -1.0, 0.0, -INF, 0.0), ("log1p", 1.0, INF, INF, PI / 2),
    ("sqrt", -0.0, 0.0, 0.0, 0.0), ("sqrt", 0.0, -0.0, 0.0, -0.0),
    ("sqrt", 1.0, INF, INF, INF), ("sqrt", NAN, INF, INF, INF),
    ("sqrt", -INF, 1.0, 0.0, INF), ("sqrt", INF, 1.0, INF, 0.0),
    ("sqrt", -INF, NAN, NAN, ANY_INF), ("sqrt", INF, NAN, INF, NAN),
    ("sqrt", -4.0, 0.0, 0.0, 2.0), ("sqrt", -4.0, -0.0, 0.0, -2.0),
    ("tanh", 0.0, 0.0, 0.0, 0.0), ("tanh", -0.0, 0.0, -0.0, 0.0),
    ("tanh", INF, 2.0, 1.0, 0.0), ("tanh", INF, -2.0, 1.0, -0.0),
    ("tanh", INF, INF, 1.0, ZERO), ("tanh", 1.0, INF, NAN, NAN),
    ("tanh", INF, NAN, 1.0, ZERO), ("tanh", NAN, 0.0, NAN, 0.0),
    ("sinh", 0.0, 0.0, 0.0, 0.0), ("sinh", INF, 0.0, INF, 0.0),
    ("sinh", INF, 2.0, -INF, INF), ("sinh", 1.0, INF, NAN, NAN),
    ("cosh", 0.0, 0.0, 1.0, 0.0), ("cosh", INF, 0.0, INF, 0.0),
    ("cosh", INF, 2.0, -INF, INF), ("cosh", INF, NAN, INF, NAN),
    ("asinh", 0.0, 0.0, 0.0, 0.0), ("asinh", 1.0, INF, INF, PI / 2),
    ("asinh", INF, INF, INF, PI / 4), ("asinh", INF, NAN, INF, NAN),
    ("acosh", 0.0, 0.0, 0.0, PI / 2), ("acosh", -INF, 1.0, INF, PI),
    ("acosh", -INF, INF, INF, 3 * PI / 4), ("acosh", NAN, INF, INF, NAN),
    ("atanh", 0.0, NAN, 0.0, NAN), ("atanh", 1.0, 0.0, INF, 0.0),
    ("atanh", 1.0, INF, 0.0, PI / 2), ("atanh", INF, 1.0, 0.0, PI / 2),
    ("acos", 0.0, NAN, PI / 2, NAN), ("acos", 1.0, INF, PI / 2, -INF),
    ("acos", -INF, 1.0, PI, -INF), ("acos", INF, INF, PI / 4, -INF),
    ("sign", 0.0, 0.0, 0.0, 0.0), ("sign", 3.0, 4.0, 0.6, 0.8),
    ("sign", NAN, 1.0, NAN, NAN),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(("name", "x", "y", "real", "imag"), COMPLEX, ids=str)
def test_complex_special_value(name, x, y, real, imag, dtype):
    found = getattr(tl, name)(tl.full(3, complex(x, y), dtype=dtype)).tolist()
    assert len(found) == 3
    for z in found:
        assert agrees(z.real, real), z
        assert agrees(z.imag, imag), z


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(
    "name", ["exp", "log", "sqrt", "tanh", "sinh", "cosh", "asinh"]
)
def test_complex_function_of_the_conjugate_is_the_conjugate(name, dtype):
    parts = [0.0, -0.0, 0.5, -2.0, INF, -INF]
    for x in parts:
        for y in parts:
            z, w = (tl.full(1, complex(x, s * y), dtype=dtype) for s in (1, -1))
            a, b = (getattr(tl, name)(v).tolist()[0] for v in (z, w))
            assert a.real == b.real or (a.real != a.real and b.real != b.real)
            if a.imag == a.imag:
                assert a.imag == -b.imag

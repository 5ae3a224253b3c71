"""The largest errors of the elementwise functions of complex numbers, by mpmath.

An error is measured in two ways: by norm, the distance from the exact result in units
in the last place (ulp) of its modulus; and by parts, the larger of the errors of the
real and the imaginary part in the units of that part. The first is what is bounded: a
part that is small beside the other may have no right digit, as the sum of two products
that cancel. `accuracy` writes the table.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import numpy as np
from accuracy_points import bits_of

import tensorlib as tl

DTYPES = {"complex64": "float32", "complex128": "float64"}

# Largest errors by norm that are allowed, in ulp, for complex64 and complex128.
BOUNDS = {
    "add": (0.8, 0.8),
    "subtract": (0.8, 0.8),
    "multiply": (1.2, 1.2),
    "divide": (0.8, 2.4),
    "square": (1.2, 1.2),
    "reciprocal": (0.8, 2.0),
    "sqrt": (1.6, 1.6),
    "rsqrt": (2.2, 2.8),
    "abs": (0.6, 0.6),
    "angle": (1.8, 0.6),
    "exp": (2.0, 2.0),
    "expm1": (2.8, 2.8),
    "log": (3.6, 2.4),
    "log1p": (3.0, 2.4),
    "log2": (3.4, 3.2),
    "log10": (3.0, 2.8),
    "sin": (2.4, 2.4),
    "cos": (2.4, 2.4),
    "tan": (6.0, 6.0),
    "asin": (3.2, 2.8),
    "acos": (2.4, 2.4),
    "atan": (4.0, 2.8),
    "sinh": (2.4, 2.4),
    "cosh": (2.4, 2.4),
    "tanh": (6.0, 6.0),
    "asinh": (3.2, 2.8),
    "acosh": (2.4, 2.4),
    "atanh": (4.0, 2.8),
    "pow": (24.0, 24.0),
}


@dataclass(frozen=True)
class Row:
    """One function, its exact value in mpmath, and the box of half of the points."""

    name: str
    exact: Callable
    size: float = 10.0
    operands: int = 1
    wild: bool = True  # whether the other half has random bits
    digits: int = 60  # that mpmath works with: a large argument of sin loses 40

    @property
    def bound(self):
        return BOUNDS[self.name]


# Of the logarithms that they are: 1 + z must keep the smallest z, squared.
ARCS = 660
ROWS = [
    Row("add", lambda a, b: a + b, operands=2),
    Row("subtract", lambda a, b: a - b, operands=2),
    Row("multiply", lambda a, b: a * b, operands=2),
    Row("divide", lambda a, b: a / b, operands=2),
    Row("square", lambda z: z * z),
    Row("reciprocal", lambda z: 1 / z),
    Row("sqrt", mpmath.sqrt),
    Row("rsqrt", lambda z: 1 / mpmath.sqrt(z)),
    Row("abs", abs),
    Row("angle", mpmath.arg),
    Row("exp", mpmath.exp, size=80.0),
    Row("expm1", mpmath.expm1, size=3.0),
    Row("log", mpmath.log, size=2.0),
    Row("log1p", mpmath.log1p, size=2.0),
    Row("log2", lambda z: mpmath.log(z, 2), size=2.0),
    Row("log10", mpmath.log10, size=2.0),
    Row("sin", mpmath.sin),
    Row("cos", mpmath.cos),
    Row("tan", mpmath.tan),
    Row("asin", mpmath.asin, size=2.0, digits=ARCS),
    Row("acos", mpmath.acos, size=2.0, digits=ARCS),
    Row("atan", mpmath.atan, size=2.0, digits=ARCS),
    Row("sinh", mpmath.sinh),
    Row("cosh", mpmath.cosh),
    Row("tanh", mpmath.tanh),
    Row("asinh", mpmath.asinh, size=2.0, digits=ARCS),
    Row("acosh", mpmath.acosh, size=2.0, digits=ARCS),
    Row("atanh", mpmath.atanh, size=2.0, digits=ARCS),
    Row("pow", lambda a, b: mpmath.exp(b * mpmath.log(a)), size=3.0, operands=2,
        wild=False),
]  # fmt: skip


def points(row, dtype, count, rng):
    """Complex operands: parts of random bits, of ordinary size, one of each."""
    part, found = DTYPES[dtype], []
    for _ in range(row.operands):
        tame = rng.uniform(-row.size, row.size, (2, count)).astype(part)
        wild = np.stack([bits_of(part, count, rng) for _ in range(2)])
        chosen = rng.random((2, count)) < (0.5 if row.wild else 0.0)
        real, imag = np.where(chosen, wild, tame)
        found.append((real + 1j * imag.astype(part)).astype(dtype))
    return found


def unit(size, part):
    """The distance of the numbers of a dtype at a size in mpmath."""
    facts = np.finfo(part)
    exponent = max(mpmath.frexp(size)[1], int(facts.minexp) + 1)
    return mpmath.ldexp(1, exponent - int(facts.nmant) - 1)


def errors(row, part, found, numbers):
    """The errors by norm and by parts; 0 where the exact result is beyond the dtype."""
    try:
        exact = mpmath.mpc(row.exact(*[mpmath.mpc(complex(z)) for z in numbers]))
    except (ZeroDivisionError, OverflowError):
        return 0.0, 0.0
    largest = mpmath.mpf(float(np.finfo(part).max))
    if not max(abs(exact.real), abs(exact.imag)) < largest:
        return 0.0, 0.0
    if not np.isfinite(found):
        return np.inf, np.inf
    real, imag = (abs(mpmath.mpf(float(a)) - b) for a, b in
                  ((found.real, exact.real), (found.imag, exact.imag)))  # fmt: skip
    norm = mpmath.hypot(real, imag) / unit(abs(exact), part)
    parts = max(real / unit(abs(exact.real), part), imag / unit(abs(exact.imag), part))
    return float(norm), float(parts)


def worst(row, dtype, count, seed=0):
    """The largest error by norm with its point, and the largest by parts."""
    rng = np.random.default_rng([seed, *row.name.encode()])
    arrays = points(row, dtype, count, rng)
    found = getattr(tl, row.name)(*map(tl.tensor, arrays)).numpy()
    with mpmath.workdps(row.digits):
        each = [
            (*errors(row, DTYPES[dtype], pair[0], pair[1:]), pair[1:])
            for pair in zip(found, *arrays, strict=True)
        ]
    norm, _, point = max(each, key=lambda e: e[0])
    return norm, max(e[1] for e in each), tuple(map(complex, point))

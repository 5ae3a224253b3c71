"""The largest errors of the elementwise functions, in units in the last place (ulp).

A row names a function, a reference in NumPy's long double (64 bits of mantissa) and the
same in mpmath. Results are compared with the first everywhere; the points that look
worst are computed again by mpmath with 60 digits, and those errors count.

``accuracy.py`` measures at 10^6 points on each instruction set at hand and writes the
tables of docs/accuracy.md, that of `accuracy_complex` too; ``accuracy.py NAME`` shows a
function's worst points.
`test_accuracy` runs the rows at fewer points and fails where a row's bound is exceeded.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import accuracy_complex
import mpmath
import numpy as np
from accuracy_points import bits_of, specials

import tensorlib as tl

WIDE = np.longdouble
DTYPES = ("float32", "float64")
CANDIDATES = 20


# Largest errors allowed, in ulp, for float32 and float64.
BOUNDS = {
    "add": (0.5, 0.5),
    "subtract": (0.5, 0.5),
    "multiply": (0.5, 0.5),
    "divide": (0.5, 0.5),
    "square": (0.5, 0.5),
    "sqrt": (0.5, 0.5),
    "reciprocal": (0.5, 0.5),
    "rsqrt": (1.6, 1.6),
    "hypot": (0.6, 1.2),
    "exp": (1.0, 1.2),
    "expm1": (1.6, 2.0),
    "log": (1.0, 1.0),
    "log1p": (1.0, 1.0),
    "log2": (2.0, 0.6),
    "log10": (2.0, 1.8),
    "logaddexp": (2.0, 2.0),
    "sin": (1.6, 1.4),
    "cos": (1.6, 1.6),
    "tan": (3.2, 0.8),
    "asin": (0.8, 0.6),
    "acos": (0.8, 0.6),
    "atan": (1.8, 0.6),
    "atan2": (1.8, 0.6),
    "sinh": (1.6, 1.8),
    "cosh": (1.6, 1.2),
    "tanh": (1.4, 1.4),
    "asinh": (1.8, 1.6),
    "acosh": (0.6, 2.0),
    "atanh": (2.0, 1.6),
    "erf": (1.2, 1.2),
    "sigmoid": (2.4, 2.4),
    "log_sigmoid": (1.6, 1.8),
    "softplus": (1.6, 1.6),
    "softsign": (1.6, 1.6),
    "tanhshrink": (3.6, 3.2),
    "gelu": (4.0, 4.0),
    "gelu, tanh": (3.0, 3.2),
    "silu": (3.2, 3.2),
    "mish": (4.0, 4.0),
    "elu": (1.0, 1.2),
    "selu": (1.8, 2.4),
    "pow": (1.4, 0.6),
}


@dataclass(frozen=True)
class Row:
    """One function.

    Half of the points have random bits, half are uniform in `ranges` (an interval for
    each operand). `scale`, of the operands, is a size that errors may refer to instead
    of the result's where that is larger.
    """

    name: str
    wide: Callable
    exact: Callable
    ranges: tuple = ((-10.0, 10.0),)
    function: Callable | None = None
    scale: Callable | None = None

    @property
    def bound(self):
        return BOUNDS[self.name]

    def apply(self, *arrays):
        function = self.function or getattr(tl, self.name)
        return function(*[tl.tensor(a) for a in arrays]).numpy()


# ---- references that NumPy lacks, in long double ---------------------------------
def square_exp(x, sign):
    """e^(sign x^2) to the last bits: x^2 as an exact part and a small one."""
    high = x.astype(np.float32).astype(WIDE)
    return np.exp(sign * high * high) * np.exp(sign * (x - high) * (x + high))


def erf_series(x):
    """DLMF 7.6.2, whose terms have one sign; for |x| < 2.5."""
    term = total = x
    for k in range(1, 60):
        term = term * (2 * x * x / WIDE(2 * k + 1))
        total = total + term
    return total * square_exp(x, -1) * (2 / np.sqrt(WIDE(mp_pi())))


def erfc_fraction(x):
    """DLMF 7.9.1, from the inside; for x >= 1."""
    below = np.zeros_like(x)
    for k in range(200, 0, -1):
        below = WIDE(k) / 2 / (x + below)
    return square_exp(x, -1) / (np.sqrt(WIDE(mp_pi())) * (x + below))


def mp_pi():
    return np.longdouble("3.14159265358979323846264338327950288")


def erfc(x):
    low, high = np.clip(x, -1.25, 1.25), np.clip(abs(x), 1, 150)
    tail = erfc_fraction(high)
    return np.where(abs(x) < 1.25, 1 - erf_series(low), np.where(x < 0, 2 - tail, tail))


def erf(x):
    y = 1 - erfc_fraction(np.clip(abs(x), 1, 20))
    return np.where(abs(x) < 2, erf_series(np.clip(x, -2, 2)), np.copysign(y, x))


def root_half():
    return np.sqrt(WIDE(0.5))


def gelu(x):
    t = np.clip(x, -200, None)
    return t * erfc(-t * root_half()) / 2


def sigmoid(x):
    e = np.exp(-abs(x))
    return np.where(x < 0, e, WIDE(1)) / (1 + e)


def tanh_slope():
    return 2 * np.sqrt(2 / mp_pi())


def gelu_tanh(x):
    t = np.clip(x, -1000, None)
    return t * sigmoid(tanh_slope() * (t + WIDE("0.044715") * t * t * t))


def silu(x):
    return np.clip(x, -20000, None) * sigmoid(x)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def tanhshrink(x):
    z = np.where(abs(x) < 0.05, x, 0) ** 2
    series = np.zeros_like(x)
    for c in ("21844/6081075", "1382/155925", "62/2835", "17/315", "2/15", "1/3"):
        over, under = map(int, c.split("/"))
        series = WIDE(over) / WIDE(under) - z * series
    return np.where(abs(x) < 0.05, x * z * series, x - np.tanh(x))


def softsign(x):
    return np.where(np.isinf(x), np.sign(x), x / (1 + abs(x)))


def mish(x):
    e = np.exp(-abs(x))
    over = np.where(x < 0, e * (e + 2), 1 + 2 * e)
    return np.clip(x, -20000, None) * over / (over + np.where(x < 0, 2, 2 * e * e))


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def selu(x):
    alpha, scale = WIDE("1.6732632423543772"), WIDE("1.0507009873554805")
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def rsqrt(x):
    return 1 / np.sqrt(x)


def logaddexp_scale(a, b):
    return np.maximum(abs(a), abs(b))


# ---- the same in mpmath ----------------------------------------------------------
def mp_sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def mp_gelu(x):
    return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def mp_gelu_tanh(x):
    slope = 2 * mpmath.sqrt(2 / mpmath.pi)
    return x * mp_sigmoid(slope * (x + mpmath.mpf("0.044715") * x**3))


def mp_softplus(x):
    return mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x))


def mp_tanhshrink(x):
    with mpmath.workdps(200):
        return x - mpmath.tanh(x)


def mp_selu(x):
    alpha, scale = mpmath.mpf("1.6732632423543772"), mpmath.mpf("1.0507009873554805")
    return scale * (x if x > 0 else alpha * mpmath.expm1(x))


def mp_logaddexp(a, b):
    return max(a, b) + mpmath.log1p(mpmath.exp(-abs(a - b)))


ONE = ((-1.0, 1.0),)
POSITIVE = ((0.0, 10.0),)
PAIR = ((-10.0, 10.0), (-10.0, 10.0))
ROWS = [
    Row("add", np.add, lambda a, b: a + b, ranges=PAIR),
    Row("subtract", np.subtract, lambda a, b: a - b, ranges=PAIR),
    Row("multiply", np.multiply, lambda a, b: a * b, ranges=PAIR),
    Row("divide", np.divide, lambda a, b: a / b, ranges=PAIR),
    Row("square", np.square, lambda x: x * x),
    Row("sqrt", np.sqrt, mpmath.sqrt, ranges=POSITIVE),
    Row("reciprocal", lambda x: 1 / x, lambda x: 1 / x),
    Row("rsqrt", rsqrt, lambda x: 1 / mpmath.sqrt(x), ranges=POSITIVE),
    Row("hypot", np.hypot, mpmath.hypot, ranges=PAIR),
    Row("exp", np.exp, mpmath.exp, ranges=((-90.0, 90.0),)),
    Row("expm1", np.expm1, mpmath.expm1, ranges=((-3.0, 3.0),)),
    Row("log", np.log, mpmath.log, ranges=((0.0, 3.0),)),
    Row("log1p", np.log1p, mpmath.log1p, ranges=((-1.0, 2.0),)),
    Row("log2", np.log2, lambda x: mpmath.log(x, 2), ranges=((0.0, 3.0),)),
    Row("log10", np.log10, mpmath.log10, ranges=((0.0, 3.0),)),
    Row("logaddexp", np.logaddexp, mp_logaddexp, ranges=PAIR, scale=logaddexp_scale),
    Row("sin", np.sin, mpmath.sin),
    Row("cos", np.cos, mpmath.cos),
    Row("tan", np.tan, mpmath.tan),
    Row("asin", np.arcsin, mpmath.asin, ranges=ONE),
    Row("acos", np.arccos, mpmath.acos, ranges=ONE),
    Row("atan", np.arctan, mpmath.atan),
    Row("atan2", np.arctan2, mpmath.atan2, ranges=PAIR),
    Row("sinh", np.sinh, mpmath.sinh),
    Row("cosh", np.cosh, mpmath.cosh),
    Row("tanh", np.tanh, mpmath.tanh, ranges=((-3.0, 3.0),)),
    Row("asinh", np.arcsinh, mpmath.asinh),
    Row("acosh", np.arccosh, mpmath.acosh, ranges=((1.0, 10.0),)),
    Row("atanh", np.arctanh, mpmath.atanh, ranges=ONE),
    Row("erf", erf, mpmath.erf, ranges=((-4.0, 4.0),)),
    Row("sigmoid", sigmoid, mp_sigmoid),
    Row("log_sigmoid", lambda x: -softplus(-x), lambda x: -mp_softplus(-x)),
    Row("softplus", softplus, mp_softplus),
    Row("softsign", softsign, lambda x: x / (1 + abs(x))),
    Row("tanhshrink", tanhshrink, mp_tanhshrink, ranges=((-3.0, 3.0),)),
    Row("gelu", gelu, mp_gelu),
    Row(
        "gelu, tanh",
        gelu_tanh,
        mp_gelu_tanh,
        function=lambda x: tl.gelu(x, approximate="tanh"),
    ),
    Row("silu", silu, lambda x: x * mp_sigmoid(x)),
    Row("mish", mish, lambda x: x * mpmath.tanh(mp_softplus(x))),
    Row("elu", elu, lambda x: x if x > 0 else mpmath.expm1(x)),
    Row("selu", selu, mp_selu),
    Row("pow", np.power, mpmath.power, ranges=((0.0, 10.0), (-30.0, 30.0))),
]


# ---- points ----------------------------------------------------------------------
def points(row, dtype, count, rng):
    """Arrays of operands: random bits, uniform, near each other, special values."""
    n = len(row.ranges)
    wild = [bits_of(dtype, count // 2, rng) for _ in range(n)]
    tame = [rng.uniform(*r, count - count // 2).astype(dtype) for r in row.ranges]
    found = [np.concatenate(pair) for pair in zip(wild, tame, strict=True)]
    if n == 2:  # and random bits beside a number of ordinary size
        found[1][: count // 4] = rng.permutation(tame[1])[: count // 4]
    special = specials(dtype)
    grid = [a.ravel() for a in np.meshgrid(*[special] * n)]
    chosen = rng.permutation(grid[0].size)[: max(count // 4, 2000)]
    return [np.concatenate([a, g[chosen]]) for a, g in zip(found, grid, strict=True)]


# ---- errors ----------------------------------------------------------------------
def unit(size, dtype):
    """The distance of dtype's numbers at `size`, which is not negative."""
    facts = np.finfo(dtype)
    exponent = np.clip(np.frexp(size)[1], facts.minexp + 1, facts.maxexp)
    return np.ldexp(WIDE(1), exponent - facts.nmant - 1)


def errors(row, dtype, found, expected, arrays):
    """Errors in ulp; an infinity is the first power of two beyond the largest number.

    NaN where a number is due, or the other way round, is an infinite error.
    """
    end = np.ldexp(WIDE(1), np.finfo(dtype).maxexp)
    f, e = np.clip(found.astype(WIDE), -end, end), np.clip(expected, -end, end)
    size = abs(e)
    if row.scale is not None:
        size = np.maximum(size, np.minimum(row.scale(*arrays), end))
    error = abs(f - e) / unit(np.where(np.isnan(size), 0, size), dtype)
    error = np.where(f == e, 0, error)
    missing = np.isnan(f) != np.isnan(e)
    return np.where(missing, np.inf, np.where(np.isnan(e), 0, error))


def confirmed(row, dtype, arrays, found, k):
    """The error at point k by mpmath."""
    numbers = [float(a[k]) for a in arrays]
    with mpmath.workdps(60):
        try:
            exact = row.exact(*map(mpmath.mpf, numbers))
        except (ValueError, ZeroDivisionError):
            exact = mpmath.nan
        wide = mpmath.mpf(0) if mpmath.im(exact) == 0 else mpmath.nan
        exact = mpmath.re(exact) + wide
        end = mpmath.mpf(2) ** int(np.finfo(dtype).maxexp)
        f = min(max(mpmath.mpf(float(found[k])), -end), end)
        if mpmath.isnan(exact) or mpmath.isnan(f):
            return 0.0 if mpmath.isnan(exact) and mpmath.isnan(f) else np.inf
        exact = min(max(exact, -end), end)
        size = WIDE(str(abs(exact)))
        if row.scale is not None:
            size = max(size, row.scale(*[np.asarray(n) for n in numbers]))
        return float(abs(f - exact) / mpmath.mpf(float(unit(size, dtype))))


def worst(row, dtype, count, seed=0):
    """The largest errors in ulp with their points, largest first."""
    rng = np.random.default_rng([seed, *row.name.encode()])
    arrays = points(row, dtype, count, rng)
    found = row.apply(*arrays)
    with np.errstate(all="ignore"):
        expected = row.wide(*[a.astype(WIDE) for a in arrays])
        error = errors(row, dtype, found, expected, arrays)
    order = np.argsort(error)[::-1][:CANDIDATES]
    points_of = [tuple(float(a[k]) for a in arrays) for k in order]
    checked = [confirmed(row, dtype, arrays, found, k) for k in order]
    return sorted(zip(checked, points_of, strict=True), reverse=True)


# ---- the tables ------------------------------------------------------------------
PAGE = Path(__file__).resolve().parent.parent / "docs" / "accuracy.md"
MARK = "<!-- Written by tests/accuracy.py. -->\n"
COMPLEX_POINTS = 10**4


def measure(count):
    """Print the largest errors on the instruction set of this process."""
    for row in ROWS:
        for dtype in DTYPES:
            error, _ = worst(row, dtype, count)[0]
            print(json.dumps([row.name, dtype, f"{error:.2f}"]), flush=True)
    for row in accuracy_complex.ROWS:
        for dtype in accuracy_complex.DTYPES:
            norm, parts, _ = accuracy_complex.worst(row, dtype, COMPLEX_POINTS)
            cell = f"{norm:.2f} ({parts:.2g})"
            print(json.dumps([row.name, dtype, cell]), flush=True)


def measured_on(isa, count):
    """{(name, dtype): cell} on that instruction set; None where it was not built."""
    environment = {**os.environ, "TENSORLIB_ISA": isa}
    command = [sys.executable, __file__, "measure", str(count)]
    found = subprocess.run(command, capture_output=True, text=True, env=environment)
    if found.returncode:
        print(f"{isa}: {found.stderr.splitlines()[-1]}", file=sys.stderr)
        return None
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    return {(name, dtype): cell for name, dtype, cell in rows}


def table(found, rows, dtypes):
    """The lines of a table: a row's errors by dtype and instruction set, its bounds."""
    heads = [f"{dtype} {isa}" for dtype in dtypes for isa in found]
    yield "| function | " + " | ".join([*heads, "bound"]) + " |"
    yield "|---|" + "---|" * (len(heads) + 1)
    for row in rows:
        cells = [found[isa][row.name, dtype] for dtype in dtypes for isa in found]
        bounds = ", ".join(f"{b:g}" for b in dict.fromkeys(row.bound))
        yield "| " + " | ".join([row.name, *cells, bounds]) + " |"


def write(count):
    """Measure on every instruction set and put both tables between their marks."""
    found = {isa: measured_on(isa, count) for isa in ("v2", "v3", "v4")}
    found = {isa: rows for isa, rows in found.items() if rows}
    head, _, between, _, tail = PAGE.read_text().split(MARK)
    real = table(found, ROWS, DTYPES)
    of_complex = table(found, accuracy_complex.ROWS, accuracy_complex.DTYPES)
    tables = ["\n".join(lines) + "\n" for lines in (real, of_complex)]
    PAGE.write_text(MARK.join([head, tables[0], between, tables[1], tail]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(int(sys.argv[2]))
    elif sys.argv[1:]:
        for chosen in (row for row in ROWS if row.name in sys.argv[1:]):
            for dtype in DTYPES:
                print(chosen.name, dtype, *worst(chosen, dtype, 10**6)[:5], sep="\n  ")
    else:
        write(10**6)

"""What a row of the op table is, and how its arguments become tensors and results.

A row states facts about one op; the tests in `test_op_matrix` and others run over all
rows. Arguments are NumPy arrays, anywhere inside tuples and lists; everything else is
passed to the op and to its reference as it is.
"""

import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import tensorlib as tl

BOOL = ("bool",)
INTEGERS = (
    "int8", "int16", "uint16", "uint32", "uint64", "uint8", "int32", "int64",
)  # fmt: skip
FLOATS = ("float32", "float64")
HALVES = {"float16": 2.0**-10, "bfloat16": 2.0**-7}  # one unit in the last place of 1
NUMERIC = INTEGERS + FLOATS
ALL = BOOL + NUMERIC
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
LEAST = {"float32": 2.0**-149, "float64": 2.0**-1074}
THREADS = (1, 2, 3, 4, 8)


def ulp(count, double=None):
    """Return a tolerance of `count` units in the last place (one more in float64).

    In float64 the reference itself, NumPy's or SciPy's, is off by up to one.
    """
    double = count + 1 if double is None else double
    return {
        "float32": (count * EPS["float32"], LEAST["float32"]),
        "float64": (double * EPS["float64"], LEAST["float64"]),
    }


def near(single, double):
    """Return a tolerance relative and absolute alike: sums of terms of order one."""
    return {"float32": (single, single), "float64": (double, double)}


EXACT = {"float32": (0.0, 0.0), "float64": (0.0, 0.0)}


@dataclass(frozen=True)
class Call:
    """One set of arguments."""

    args: tuple
    kwargs: dict = field(default_factory=dict)


def call(*args, **kwargs):
    return Call(args, kwargs)


@dataclass(frozen=True)
class Error:
    """Arguments, made when asked for, that must raise `kind` with a message."""

    args: Callable
    kind: type
    message: str


@dataclass(eq=False)
class Op:
    """A row of the table.

    `result` names the rule for the result's dtype: "same", "float" (integers give
    float32), "sum" (integers and bool give 64 bits), or a dtype's name. `native` keeps
    float32 arguments float32 in the reference, for ops that are exact in each dtype.
    """

    name: str
    function: Callable
    reference: Callable | None
    calls: Callable  # (dtype, rng) -> list of Call
    dtypes: tuple = FLOATS
    result: str | None = "same"
    tolerance: dict = field(default_factory=lambda: EXACT)
    reason: str = "exact"
    differentiable: bool = False
    twice: bool = True  # differentiable again
    smooth: Callable | None = None  # calls for derivatives; default: calls
    native: bool = False
    special: bool = False  # elementwise: try nan, inf, -0, denormals
    signed_zero: bool = True  # the sign of a zero result is specified
    inplace: Callable | None = None
    large: Callable | None = None  # calls that several threads share
    errors: tuple = ()
    writes: bool = False  # changes its first argument
    covers: tuple = ()  # further public names of the same op

    def __repr__(self):
        return self.name


def over_arrays(function, value):
    """Apply `function` to each array inside tuples and lists."""
    if isinstance(value, (np.ndarray, tl.Tensor)):
        return function(value)
    if type(value) in (list, tuple):
        return type(value)(over_arrays(function, item) for item in value)
    return value


def applied(function, convert, arguments):
    """Call `function` on arguments whose arrays went through `convert`."""
    args = over_arrays(convert, arguments.args)
    kwargs = {k: over_arrays(convert, v) for k, v in arguments.kwargs.items()}
    return function(*args, **kwargs)


def arrays_in(arguments):
    """Return the arrays among the arguments, in order."""
    found = []
    over_arrays(found.append, arguments.args)
    over_arrays(found.append, tuple(arguments.kwargs.values()))
    return found


# ---- layouts -------------------------------------------------------------------
def contiguous(a):
    return tl.tensor(np.ascontiguousarray(a).reshape(a.shape))


def transposed(a):
    return contiguous(a.T).permute_dims(tuple(range(a.ndim))[::-1])


def sliced(a):
    """Every second element of a buffer whose other elements are ones."""
    buffer = np.ones([2 * n + 1 for n in a.shape], a.dtype)
    inner = tuple(slice(1, 1 + 2 * n, 2) for n in a.shape)
    buffer[inner] = a
    return contiguous(buffer)[inner]


def flipped(a):
    return contiguous(np.flip(a)).flip()


def offset(a):
    """Contiguous, but not where an allocation begins, so not aligned."""
    flat = contiguous(np.concatenate([np.ones(1, a.dtype), a.reshape(-1)]))
    return flat[1:].reshape(a.shape)


LAYOUTS = {f.__name__: f for f in (transposed, sliced, flipped, offset)}


def constant(a):
    """The array with its first axis constant, or itself where there is none."""
    if a.ndim == 0 or a.shape[0] == 0:
        return a
    return np.ascontiguousarray(np.broadcast_to(a[:1], a.shape))


def broadcast(a):
    """The tensor of `constant(a)` with a zero stride."""
    if a.ndim == 0 or a.shape[0] == 0:
        return contiguous(a)
    return contiguous(a[:1]).broadcast_to(a.shape)


# ---- comparison ----------------------------------------------------------------
def widened(a):
    """The array as references take it: floats in float64."""
    return a.astype(np.float64) if a.dtype == np.float32 else a


def as_tuple(result):
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def result_dtype(op, dtype):
    if op.result == "same":
        return dtype
    if op.result == "float":
        return dtype if dtype in FLOATS else "float32"
    if op.result == "sum":
        if dtype in FLOATS:
            return dtype
        return "uint64" if dtype.startswith("uint") else "int64"
    return op.result


def expected_of(op, arguments):
    """The reference's results as a tuple of arrays."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
        convert = (lambda a: a.copy()) if op.native else widened
        return tuple(
            np.asarray(e) for e in as_tuple(applied(op.reference, convert, arguments))
        )


def found_of(op, arguments, layout=contiguous):
    """The op's results as a tuple of tensors."""
    return as_tuple(applied(op.function, layout, arguments))


def assert_matches(op, found, expected, dtype, note=""):
    """Compare results with the reference's: count, shape, dtype, values."""
    assert len(found) == len(expected), f"{op}: {len(found)} results {note}"
    wanted = result_dtype(op, dtype)
    for y, e in zip(found, expected, strict=True):
        assert y.shape == e.shape, f"{op}: {y.shape} is not {e.shape} {note}"
        if wanted is not None:
            assert y.dtype.name == wanted, f"{op}: {y.dtype}, not {wanted} {note}"
        values = y.detach().numpy()
        with np.errstate(all="ignore"):
            e = e.astype(values.dtype)
        if values.dtype.kind != "f":
            np.testing.assert_array_equal(values, e, err_msg=f"{op} {note}")
            continue
        rtol, atol = op.tolerance[values.dtype.name]
        np.testing.assert_allclose(
            values, e, rtol=rtol, atol=atol, equal_nan=True, err_msg=f"{op} {note}"
        )


def bits(tensors):
    """The results' bytes, for exact comparison."""
    return [
        None if t is None else t.detach().contiguous().numpy().tobytes()
        for t in tensors
    ]


# ---- drawing -------------------------------------------------------------------
def draw(shape, dtype, rng, low=-3.0, high=3.0, avoid=()):
    """An array of `dtype` within [low, high], not close to the points `avoid`."""
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype in INTEGERS:
        low = max(int(np.ceil(low)), 0) if dtype[0] == "u" else int(np.ceil(low))
        values = np.asarray(rng.integers(low, max(int(high), low) + 1, shape))
        for point in avoid:
            values = np.where(values == point, values + 1, values)
        return values.astype(dtype)
    values = np.asarray(rng.uniform(low, high, shape))
    for point in avoid:
        values = np.where(abs(values - point) < 0.05, values + 0.1, values)
    return values.astype(dtype)


def docstring_of(item):
    """The docstring without the signature that Cython puts before it."""
    doc = inspect.cleandoc(item.__doc__ or "")
    first, _, rest = doc.partition("\n")
    return inspect.cleandoc(rest) if re.match(r"[\w.]+\(.*\)", first) else doc


def generator_for(name):
    """A reproducible NumPy generator, another one for each name."""
    return np.random.default_rng(list(name.encode()))

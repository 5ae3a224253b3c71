"""Rows of ops on elements: arithmetic, logic, mathematics, activations, selection."""

import operator

import numpy as np
from op_families import LARGE, binary, bitwise, comparison, unary
from op_references import as_float, gelu, gelu_tanh, silu
from op_rows import (
    ALL,
    BOOL,
    EPS,
    FLOATS,
    INTEGERS,
    NUMERIC,
    Error,
    Op,
    call,
    draw,
    near,
    ulp,
)
from scipy import special

import tensorlib as tl


def _floor_divide(a, b):
    """NumPy's, but exact quotients of infinities, as the Array API has them."""
    found = np.floor_divide(a, b)
    exact = np.isinf(a) | np.isinf(b)
    return np.where(exact, np.true_divide(a, b), found) if np.any(exact) else found


ARITHMETIC = [
    binary("add", np.add, dtypes=ALL, differentiable=True, inplace=operator.iadd),
    binary("subtract", np.subtract, differentiable=True, inplace=operator.isub),
    binary("multiply", np.multiply, dtypes=ALL, differentiable=True,
           inplace=operator.imul),
    binary("divide", np.true_divide, result="float", avoid=(0,), differentiable=True,
           inplace=operator.itruediv, tolerance=ulp(0.5, 0),
           reason="correctly rounded; the float32 reference is rounded twice"),
    binary("floor_divide", _floor_divide, native=True, avoid=(0,),
           differentiable=True, twice=False, inplace=operator.ifloordiv,
           errors=(Error(lambda: (tl.tensor([1]), 0), ZeroDivisionError, "floor_divide"),)),
    binary("remainder", np.remainder, native=True, avoid=(0,), differentiable=True,
           inplace=operator.imod, tolerance=near(1e-6, 1e-15),
           reason="x - y floor(x / y) cancels",
           errors=(Error(lambda: (tl.tensor([1]), 0), ZeroDivisionError, "remainder"),)),
    binary("pow", np.power, low=0.2, high=3.0, second=(0, 3, ()), differentiable=True,
           inplace=operator.ipow, tolerance=ulp(1, 4), reason="pow is exp of log",
           errors=(Error(lambda: (tl.tensor([2]), -1), ValueError, "negative integer"),)),
    binary("maximum", np.maximum, dtypes=ALL, differentiable=True, signed_zero=False),
    binary("minimum", np.minimum, dtypes=ALL, differentiable=True, signed_zero=False),
    unary("negative", np.negative, dtypes=NUMERIC, result="same",
          errors=(Error(lambda: (tl.tensor([True]),), tl.DTypeError, "logical_not"),)),
    unary("abs", np.abs, dtypes=NUMERIC, result="same", avoid=(0,)),
    unary("sign", np.sign, dtypes=NUMERIC, result="same", avoid=(0,), signed_zero=False,
          twice=False),
    unary("square", np.square, dtypes=NUMERIC, result="same"),
    unary("floor", np.floor, dtypes=NUMERIC, result="same", twice=False,
          avoid=(-2, -1, 0, 1, 2)),
    unary("ceil", np.ceil, dtypes=NUMERIC, result="same", twice=False,
          avoid=(-2, -1, 0, 1, 2)),
    unary("round", np.round, dtypes=NUMERIC, result="same", twice=False,
          avoid=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)),
]  # fmt: skip

LOGIC = [
    comparison("equal", np.equal),
    comparison("not_equal", np.not_equal),
    comparison("less", np.less),
    comparison("less_equal", np.less_equal),
    comparison("greater", np.greater),
    comparison("greater_equal", np.greater_equal),
    comparison("logical_and", np.logical_and),
    comparison("logical_or", np.logical_or),
    comparison("logical_xor", np.logical_xor),
    bitwise("bitwise_and", np.bitwise_and, inplace=operator.iand),
    bitwise("bitwise_or", np.bitwise_or, inplace=operator.ior),
    bitwise("bitwise_xor", np.bitwise_xor, inplace=operator.ixor),
    bitwise("bitwise_left_shift", np.left_shift, dtypes=INTEGERS, second=(0, 7, ()),
            inplace=operator.ilshift),
    bitwise("bitwise_right_shift", np.right_shift, dtypes=INTEGERS, second=(0, 7, ()),
            inplace=operator.irshift),
    unary("bitwise_invert", np.invert, dtypes=BOOL + INTEGERS, result="same",
          differentiable=False, special=False,
          errors=(Error(lambda: (tl.ones(1),), tl.DTypeError, "bitwise_invert"),)),
    unary("logical_not", np.logical_not, result="bool", differentiable=False),
    unary("isnan", np.isnan, result="bool", differentiable=False),
    unary("isinf", np.isinf, result="bool", differentiable=False),
    unary("isfinite", np.isfinite, result="bool", differentiable=False),
]  # fmt: skip

MATHEMATICS = [
    unary("sqrt", as_float(np.sqrt), low=0.01, high=9, tolerance=ulp(0.5, 0),
          reason="correctly rounded; the float32 reference is rounded twice"),
    unary("rsqrt", as_float(lambda x: 1 / np.sqrt(x)), low=0.1, high=9,
          tolerance=ulp(2), reason="a division after a root"),
    unary("reciprocal", as_float(np.reciprocal), avoid=(0,), tolerance=ulp(0.5, 0),
          reason="correctly rounded"),
    unary("exp", as_float(np.exp), tolerance=ulp(2), reason="stated: 1.01 ulp"),
    unary("expm1", as_float(np.expm1), tolerance=ulp(2), reason="stated: 1.3 and 2 ulp"),
    unary("log", as_float(np.log), low=0.05, high=9, tolerance=ulp(2),
          reason="stated: 0.8 and 1 ulp"),
    unary("log1p", as_float(np.log1p), low=-0.9, high=5, tolerance=ulp(2),
          reason="stated: 1.2 and 1 ulp"),
    unary("sin", as_float(np.sin), tolerance=ulp(2), reason="stated: 0.6 ulp"),
    unary("cos", as_float(np.cos), tolerance=ulp(2), reason="stated: 0.6 ulp"),
    unary("tan", as_float(np.tan), low=-1.2, high=1.2, tolerance=ulp(2),
          reason="stated: 2 ulp"),
    unary("tanh", as_float(np.tanh), tolerance=ulp(2), reason="stated: 1.4 and 2 ulp"),
    unary("erf", as_float(special.erf), tolerance=ulp(2), reason="stated: 1.1 ulp"),
]  # fmt: skip

ELEMENTARY = [
    unary("acos", as_float(np.acos), low=-0.9, high=0.9, dtypes=FLOATS, tolerance=ulp(2),
          reason="stated: 1 ulp"),
    unary("acosh", as_float(np.acosh), low=1.1, high=9, tolerance=ulp(2),
          reason="stated: 0.6 and 2 ulp"),
    unary("asin", as_float(np.asin), low=-0.9, high=0.9, dtypes=FLOATS, tolerance=ulp(2),
          reason="stated: 1.1 and 1 ulp"),
    unary("asinh", as_float(np.asinh), tolerance=ulp(2), reason="stated: 0.6 and 2 ulp"),
    unary("atan", as_float(np.atan), tolerance=ulp(2), reason="stated: 1.5 and 1 ulp"),
    unary("atanh", as_float(np.atanh), low=-0.9, high=0.9, dtypes=FLOATS,
          tolerance=ulp(2), reason="stated: 0.6 and 2 ulp"),
    unary("sinh", as_float(np.sinh), tolerance=ulp(2), reason="stated: 2 ulp"),
    unary("cosh", as_float(np.cosh), tolerance=ulp(2), reason="stated: 2 ulp"),
    unary("log2", as_float(np.log2), low=0.05, high=9, tolerance=ulp(2),
          reason="stated: 0.6 and 1 ulp"),
    unary("log10", as_float(np.log10), low=0.05, high=9, tolerance=ulp(2),
          reason="stated: 0.6 and 2 ulp"),
    unary("trunc", np.trunc, dtypes=NUMERIC, result="same", twice=False,
          avoid=(-2, -1, 0, 1, 2)),
    unary("signbit", np.signbit, dtypes=FLOATS, result="bool", differentiable=False),
    unary("positive", np.positive, dtypes=NUMERIC, result="same", twice=False,
          errors=(Error(lambda: (tl.tensor([True]),), tl.DTypeError, "numeric"),)),
    unary("real", np.real, result="same", twice=False),
    unary("conj", np.asarray, result="same", twice=False),
    unary("imag", np.imag, result="same", twice=False, differentiable=False),
    unary("angle", as_float(np.angle), differentiable=False, special=False,
          tolerance=ulp(1), reason="pi"),
    Op("complex", tl.complex, lambda a, b: a + 1j * b,
       lambda d, r: [call(draw((2, 3), d, r), draw((3,), d, r))], result=None,
       errors=(Error(lambda: (tl.ones(1) * 1j, 1.0), tl.DTypeError, "real parts"),)),
    Op("view_as_complex", tl.view_as_complex, lambda a: a[..., 0] + 1j * a[..., 1],
       lambda d, r: [call(draw(s, d, r)) for s in ((2,), (3, 2), (0, 2), (4, 3, 2))],
       result=None,
       errors=(Error(lambda: (tl.ones(3),), tl.ShapeError, "last axis of two"),)),
    Op("view_as_real", tl.view_as_real, lambda a: np.stack([a.real, a.imag], axis=-1),
       lambda d, r: [call(draw(s, d, r) + 1j * draw(s, d, r)) for s in ((), (3,), (2, 0))],
       result=None,
       errors=(Error(lambda: (tl.ones(3),), tl.DTypeError, "complex tensor"),)),
    binary("atan2", as_float(np.arctan2), result="float", avoid=(0,), differentiable=True,
           tolerance=ulp(2), reason="stated: 2 ulp and 1 ulp"),
    binary("logaddexp", as_float(np.logaddexp), result="float", differentiable=True,
           tolerance=near(4e-7, 2e-15), reason="the sum cancels near a result of 0"),
    binary("hypot", as_float(np.hypot), result="float", avoid=(0,), differentiable=True,
           tolerance=ulp(1), reason="stated: 0.6 and 1.3 ulp"),
    binary("copysign", as_float(np.copysign), result="float", avoid=(0,), differentiable=True,
           twice=False),
    binary("nextafter", np.nextafter, result="float", native=True, avoid=(0,),
           dtypes=FLOATS, differentiable=True, twice=False),
]  # fmt: skip


def softsign(x):
    return np.where(np.isinf(x), np.sign(x), x / (1 + abs(x)))


def hardswish(x):
    return np.where(x <= -3, 0, x * (np.minimum(x + 3, 6) / 6))


def mish(x):
    x = np.asarray(x, dtype=np.float64)
    e = np.exp(-abs(x))
    n = np.where(x < 0, e * (e + 2), 1 + 2 * e)
    d = n + np.where(x < 0, 2, 2 * e * e)
    return np.where(x == -np.inf, -0.0, x * (n / d))


def _gated(x, axis):
    x, gate = np.split(x, 2, axis=axis)
    return x, special.expit(gate.astype(np.float64))


def _prelu(x, weight):
    return np.where(x > 0, x, x * weight.reshape(-1, *[1] * max(x.ndim - 2, 0)))


def _prelu_calls(dtype, rng):
    found = [((3,), 1), ((4, 3), 1), ((4, 3), 3), ((2, 3, 4), 3), ((0, 3), 3)]
    return [
        call(draw(shape, dtype, rng, avoid=(0,)), draw((count,), dtype, rng))
        for shape, count in found
    ]


def numbered(name, reference, *more, **facts):
    """A row of an activation that takes numbers: its defaults, and `more`."""
    only = facts.pop("only", False)
    avoid = facts.setdefault("avoid", (0,))
    op = unary(name, as_float(reference), tolerance=ulp(4), signed_zero=False,
               reason="expm1 and products", **facts)  # fmt: skip
    plain = op.calls

    def calls(dtype, rng):
        found = [] if only else plain(dtype, rng)
        shapes = [(2, 5), (0, 3)]
        return found + [
            call(draw(s, dtype, rng, -3, 3, avoid), *n) for n in more for s in shapes
        ]

    op.calls = calls
    if only:
        op.large = None
    return op


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def selu(x):
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def leaky_relu(x, negative_slope=0.01):
    return np.where(x > 0, x, negative_slope * x)


def softshrink(x, lambd=0.5):
    return np.where(abs(x) <= lambd, 0, x - lambd * np.sign(x))


ACTIVATIONS = [
    unary("relu", lambda x: np.maximum(x, np.zeros((), x.dtype)), result="same",
          dtypes=NUMERIC, avoid=(0,), signed_zero=False),
    unary("sigmoid", as_float(special.expit), tolerance=ulp(3), reason="stated: 2.3 ulp"),
    unary("silu", silu, tolerance={d: (4 * e, np.finfo(d).tiny) for d, e in EPS.items()},
          reason="a product with sigmoid; the reference's tail is subnormal"),
    unary("softplus", as_float(lambda x: np.logaddexp(0, x)), tolerance=ulp(4),
          reason="log1p of exp"),
    unary("gelu", gelu, tolerance=ulp(5, 100),
          reason="stated: 5 ulp; SciPy's ndtr rounds x / sqrt 2"),
    unary("gelu_tanh", gelu_tanh, function=lambda x: tl.gelu(x, approximate="tanh"),
          tolerance=near(5e-7, 2e-15), special=False, covers=("gelu",),
          reason="the reference cancels for negative x"),
    unary("log_sigmoid", as_float(lambda x: -np.logaddexp(0, -x)), tolerance=ulp(3),
          signed_zero=False, reason="log1p of exp"),
    unary("mish", mish, tolerance={d: (6 * e, np.finfo(d).tiny) for d, e in EPS.items()},
          reason="stated: 4 ulp; the reference's tail is subnormal"),
    unary("tanhshrink", as_float(lambda x: x - np.tanh(x)), signed_zero=False,
          tolerance=near(4e-7, 8e-16), reason="the reference's difference cancels"),
    unary("softsign", as_float(softsign), tolerance=ulp(1.5), reason="a sum, a quotient",
          avoid=(0,)),
    unary("hardsigmoid", as_float(lambda x: np.clip(x + 3, 0, 6) / 6), avoid=(-3, 3),
          tolerance=ulp(2), reason="a sum, a quotient", high=4, low=-4),
    unary("hardswish", as_float(hardswish), avoid=(-3, 3), tolerance=ulp(3), high=4,
          low=-4, reason="a sum, a quotient, a product", signed_zero=False),
    numbered("leaky_relu", leaky_relu, (0.2,), (-1.5,)),
    numbered("elu", elu, (0.7,)),
    numbered("selu", selu),
    numbered("celu", celu, (0.5,), (3.0,),
             errors=(Error(lambda: (tl.ones(1), 0), ValueError, "alpha != 0"),)),
    numbered("hardtanh", lambda x, min_val=-1, max_val=1: np.clip(x, min_val, max_val),
             (-1, 2), (0.5, 0.5), avoid=(-1, 0.5, 1, 2),
             errors=(Error(lambda: (tl.ones(1), 2, 1), ValueError, "min_val <= max_val"),)),
    numbered("relu6", lambda x: np.clip(x, 0, 6), avoid=(0, 6), high=8),
    numbered("threshold", lambda x, threshold, value: np.where(x <= threshold, value, x),
             (0.5, 7), (0, -1), avoid=(0, 0.5), special=False, only=True),
    numbered("hardshrink", lambda x, lambd=0.5: np.where(abs(x) <= lambd, 0, x), (1.25,),
             avoid=(-0.5, 0.5, -1.25, 1.25)),
    numbered("softshrink", softshrink, (1.25,), avoid=(-0.5, 0.5, -1.25, 1.25),
             errors=(Error(lambda: (tl.ones(1), -1), ValueError, "lambd >= 0"),)),
    Op("prelu", tl.prelu, _prelu, _prelu_calls, dtypes=NUMERIC, result="float",
       differentiable=True, tolerance=ulp(0.5, 0), reason="one product",
       large=lambda d, r: [call(draw((450, 451), d, r, avoid=(0,)), draw((451,), d, r))],
       errors=(Error(lambda: (tl.ones((2, 3)), tl.ones(2)), tl.ShapeError, "prelu"),)),
    Op("glu", tl.glu, lambda x, axis=-1: np.multiply(*_gated(x, axis)),
       lambda d, r: [call(draw(s, d, r), **k) for s, k in
                     [((4,), {}), ((2, 6), {}), ((2, 4, 3), {"axis": 1}), ((0, 2), {})]],
       dtypes=NUMERIC, result="float", differentiable=True, tolerance=ulp(4),
       reason="a product with sigmoid",
       large=lambda d, r: [call(draw((450, 452), d, r))],
       errors=(Error(lambda: (tl.ones(3),), tl.ShapeError, "even length"),)),
]  # fmt: skip


def _where_calls(dtype, rng):
    shapes = [
        ((3,), (3,), (3,)),
        ((2, 1), (3,), ()),
        ((), (2, 2), (2,)),
        ((0,), (), (1,)),
    ]
    found = [
        call(draw(c, "bool", rng), draw(a, dtype, rng), draw(b, dtype, rng))
        for c, a, b in shapes
    ]
    return [*found, call(draw((4,), "bool", rng), draw((4,), dtype, rng), True)]


def _clip_calls(dtype, rng):
    x = draw((2, 5), dtype, rng, -3, 3, avoid=(-1, 2, 1))
    low, high = draw((5,), dtype, rng, -2.5, -1.5), draw((2, 1), dtype, rng, 1.5, 2.5)
    found = [
        call(x, 1, 2),
        call(x, min=1),
        call(x, max=2),
        call(x),
        call(x, low, high),
        call(draw((), dtype, rng), 0, 2),
        call(draw((0, 2), dtype, rng), 0, 2),
    ]
    return found  # fmt: skip


def _clip(x, min=None, max=None):
    kept = x.dtype
    x = x if min is None else np.maximum(x, np.asarray(min, kept))
    return x if max is None else np.minimum(x, np.asarray(max, kept))


SELECTION = [
    Op("where", tl.where, np.where, _where_calls, dtypes=ALL, differentiable=True,
       large=lambda d, r: [call(draw((LARGE,), "bool", r), draw((LARGE,), d, r),
                                draw((1,), d, r))],
       errors=(Error(lambda: (tl.ones(2), 1, 2), tl.DTypeError, "expected a bool"),
               Error(lambda: (tl.ones(2) > 0, tl.ones(3), 0), tl.ShapeError, "where"))),
    Op("clip", tl.clip, _clip, _clip_calls, dtypes=NUMERIC, differentiable=True,
       large=lambda d, r: [call(draw((LARGE,), d, r), -1, 1)],
       errors=(Error(lambda: (tl.ones(2), tl.ones(3), 4), tl.ShapeError, "clip"),)),
]  # fmt: skip

"""The op table: a row for every public op and every Tensor-only method.

References are NumPy's and SciPy's functions in float64, or a few lines of the
definition. A tolerance stands in its row, beside the reason for it.
"""

import operator

import numpy as np
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
from tensorlib.ops.fused_optim import adam_step, sgd_step

F, N = "float64", "int64"
UNARY_SHAPES = [(), (0,), (3,), (2, 3), (4, 1, 3), (2, 0, 3), (130,), (33, 70)]
PAIRS = [
    ((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 4)), ((0, 3), (1,)),
    ((2, 3), ()), ((), (4,)), ((131,), (131,)), ((3, 1, 5), (2, 1)),
]  # fmt: skip
LARGE = 200_003  # several pieces at every kernel's grain, and not a round number


def _index(*values):
    return np.array(values, dtype=np.int64)


# ---- rows of families ----------------------------------------------------------
def unary(name, reference, *, low=-3.0, high=3.0, avoid=(), **facts):
    facts.setdefault("dtypes", ALL)
    facts.setdefault("result", "float")
    facts.setdefault("differentiable", True)
    facts.setdefault("special", True)

    def calls(dtype, rng):
        return [call(draw(s, dtype, rng, low, high, avoid)) for s in UNARY_SHAPES]

    def large(dtype, rng):
        return [
            call(draw((LARGE,), dtype, rng, low, high, avoid)),
            call(draw((449, 451), dtype, rng, low, high, avoid).T),
        ]

    function = facts.pop("function", None) or getattr(tl, name)
    return Op(name, function, reference, calls, large=large, **facts)


def binary(name, reference, *, low=-3.0, high=3.0, avoid=(), second=None, **facts):
    facts.setdefault("dtypes", NUMERIC)
    facts.setdefault("special", True)
    low2, high2, avoid2 = second or (low, high, avoid)

    def pair(a, b, dtype, rng):
        return (
            draw(a, dtype, rng, low, high, avoid),
            draw(b, dtype, rng, low2, high2, avoid2),
        )

    def calls(dtype, rng):
        return [call(*pair(a, b, dtype, rng)) for a, b in PAIRS]

    def large(dtype, rng):
        return [
            call(*pair((LARGE,), (LARGE,), dtype, rng)),
            call(*pair((450, 451), (451,), dtype, rng)),
        ]

    errors = (
        Error(
            lambda: (tl.ones((2, 3)), tl.ones(4)),
            (tl.ShapeError, tl.DTypeError),
            rf"{name}: (shapes \(2, 3\) and \(4,\)|expected integer)",
        ),
        Error(lambda: (tl.ones(2), "a"), TypeError, name),
        Error(lambda: (tl.ones(2), None), TypeError, name),
        *facts.pop("errors", ()),
    )
    return Op(name, getattr(tl, name), reference, calls, large=large, errors=errors,
              **facts)  # fmt: skip


def comparison(name, reference):
    return binary(name, reference, dtypes=ALL, result="bool", low=-2, high=2)


def bitwise(name, reference, **facts):
    facts.setdefault("dtypes", BOOL + INTEGERS)
    wrong = Error(lambda: (tl.ones(2), tl.ones(2)), tl.DTypeError, "integer")
    return binary(name, reference, low=-50, high=50, special=False, errors=(wrong,),
                  **facts)  # fmt: skip


AXES = [
    ((3,), {}), ((2, 3), {"axis": 0}), ((2, 3), {"axis": -1, "keepdims": True}),
    ((5,), {"axis": -1}), ((33, 70), {"axis": 1}), ((70, 33), {"axis": 0}),
    ((1000,), {}),
]  # fmt: skip
MANY_AXES = [
    ((), {}), ((2, 3), {"axis": (0, 1)}), ((2, 3, 4), {"axis": (0, 2), "keepdims": True}),
    ((2, 3, 4), {"axis": (-1, 0)}), ((2, 3), {"axis": ()}), ((3, 4, 5, 2), {"axis": 2}),
]  # fmt: skip
EMPTY_AXES = [((0,), {}), ((2, 0, 3), {"axis": 1}), ((2, 0, 3), {"axis": 0})]


def reduction(name, reference, *, empty=True, several=True, low=-3.0, high=3.0,
              extra=(), **facts):  # fmt: skip
    facts.setdefault("dtypes", ALL)

    def is_smooth(values):
        # The mean of nothing is NaN, and a deviation of 0 is a kink.
        return np.isfinite(values).all() and (name != "std" or np.all(values > 0))

    cases = AXES + (MANY_AXES if several else []) + (EMPTY_AXES if empty else [])

    def calls(dtype, rng):
        found = [call(draw(s, dtype, rng, low, high), **k) for s, k in cases]
        return found + [
            call(draw((4, 5), dtype, rng, low, high), axis=1, **k) for k in extra
        ]

    def smooth(dtype, rng):
        found = []
        for shape, keywords in (AXES + MANY_AXES) + [
            ((3, 4), {"axis": 1, **k}) for k in extra
        ]:
            if np.prod(shape) < 100:
                # Distinct elements, so that extrema are smooth.
                x = rng.permutation(int(np.prod(shape))) * 0.21 + rng.uniform(0, 0.1)
                found.append(call((x - 1.03).reshape(shape), **keywords))
        return [c for c in found if is_smooth(reference(*c.args, **c.kwargs))]

    def large(dtype, rng):
        x = draw((449, 451), dtype, rng, low, high)
        axes = (None, 0, 1)
        return [call(x, axis=k) for k in axes] + [call(x.T, axis=0)]

    errors = (
        Error(
            lambda: (tl.ones((2, 3)), 2), tl.ShapeError, rf"{name}: expected an axis"
        ),
        Error(lambda: (tl.ones((2, 3)), "0"), TypeError, "expected an int axis"),
        Error(lambda: (tl.ones((2, 3)), 0.5), TypeError, "expected an int axis"),
        *facts.pop("errors", ()),
    )
    return Op(name, getattr(tl, name), reference, calls, smooth=smooth, large=large,
              errors=errors, **facts)  # fmt: skip


def shaping(name, cases, reference, function=None, **facts):
    """Rows of ops on the layout: `cases` are (shape, args, kwargs)."""
    facts.setdefault("dtypes", ALL)
    facts.setdefault("differentiable", True)

    def calls(dtype, rng):
        return [call(draw(s, dtype, rng), *a, **k) for s, a, k in cases]

    return Op(name, function or getattr(tl, name), reference, calls, **facts)


def source(name, cases, reference, **facts):
    """Rows of ops that make tensors from numbers."""
    facts.setdefault("result", None)
    return Op(
        name, facts.pop("function", None) or getattr(tl, name), reference,
        lambda dtype, rng: [call(*a, **k) for a, k in cases], dtypes=(F,), **facts,
    )  # fmt: skip


# ---- references ----------------------------------------------------------------
def _signed_zero_max(a, b):
    return np.where(np.isnan(a) | np.isnan(b), np.nan, np.maximum(a, b)).astype(
        np.result_type(a, b)
    )


def _total(function):
    def reference(x, axis=None, keepdims=False):
        kind = np.int64 if x.dtype.kind != "f" else None
        return function(x, axis=axis, keepdims=keepdims, dtype=kind)

    return reference


def _as_float(function):
    def reference(x, *args, **kwargs):
        return function(x.astype(np.float64), *args, **kwargs)

    return reference


def _variance(function):
    def reference(x, axis=None, keepdims=False, correction=0):
        return function(
            x.astype(np.float64), axis=axis, keepdims=keepdims, ddof=correction
        )

    return reference


def _logsumexp(x, axis=None, keepdims=False):
    x = x.astype(np.float64)
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def _softmax(x, axis=-1):
    x = x.astype(np.float64)
    e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-50))
    return e / e.sum(axis=axis, keepdims=True)


def _log_softmax(x, axis=-1):
    x = x.astype(np.float64)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def _cross_entropy(z, t, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    z, shape = np.moveaxis(np.atleast_1d(z), min(1, z.ndim - 1), -1), t.shape
    log_p = _log_softmax(z).reshape(-1, z.shape[-1])
    t = t.reshape(-1)
    live = t != ignore_index
    picked = log_p[np.arange(t.size), np.where(live, t, 0)]
    loss = -(1 - label_smoothing) * picked - label_smoothing * log_p.mean(axis=-1)
    loss = np.where(live, loss, 0.0)
    if reduction == "none":
        return loss.reshape(shape)
    return loss.sum() if reduction == "sum" else loss.sum() / live.sum()


def _layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    count = 1 if isinstance(shape, int) else len(shape)
    axes = tuple(range(x.ndim - count, x.ndim))
    y = x - x.mean(axis=axes, keepdims=True)
    y = y / np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _gelu_tanh(x):
    x = x.astype(np.float64)
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _silu(x):
    x = x.astype(np.float64)
    return np.where(x == -np.inf, -0.0, x * special.expit(x))


def _gelu(x):
    x = x.astype(np.float64)
    return np.where(x == -np.inf, -0.0, x * special.ndtr(x))


def threefry(seed, count):
    """The first `count` 32-bit words of a seed, from the paper's description.

    J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    blocks = -(-count // 4)
    key = [np.uint32(seed & 0xFFFFFFFF), np.uint32(seed >> 32), np.uint32(0),
           np.uint32(0)]  # fmt: skip
    key.append(np.uint32(0x1BD11BDA) ^ key[0] ^ key[1] ^ key[2] ^ key[3])
    x = np.zeros((4, blocks), np.uint32)
    x[0] = np.arange(blocks, dtype=np.uint32)
    turns = [
        (10, 26),
        (11, 21),
        (13, 27),
        (23, 5),
        (6, 20),
        (17, 11),
        (25, 10),
        (18, 20),
    ]
    with np.errstate(over="ignore"):
        x += np.array(key[:4], np.uint32)[:, None]
        for k in range(20):
            a, b = turns[k % 8]
            second, fourth = (1, 3) if k % 2 == 0 else (3, 1)
            for i, j, turn in ((0, second, a), (2, fourth, b)):
                x[i] += x[j]
                x[j] = ((x[j] << np.uint32(turn)) | (x[j] >> np.uint32(32 - turn))) ^ x[
                    i
                ]
            if k % 4 == 3:
                s = k // 4 + 1
                for i in range(4):
                    x[i] += key[(s + i) % 5]
                x[3] += np.uint32(s)
    return x.T.reshape(-1)[:count]


def _unit32(seed, shape):
    words = threefry(seed, int(np.prod(shape)))
    return ((words >> 8) * 2.0**-24).reshape(shape)


def _unit64(seed, shape):
    return ((_words64(seed, int(np.prod(shape))) >> np.uint64(11)) * 2.0**-53).reshape(
        shape
    )


def _words64(seed, count):
    words = threefry(seed, 2 * count).astype(np.uint64)
    return words[::2] | (words[1::2] << np.uint64(32))


def _normal32(seed, shape):
    size = int(np.prod(shape))
    words = threefry(seed, size + size % 2).astype(np.float64)
    u = (words[::2] // 256 + 1) * 2.0**-24
    angle = 2 * np.pi * words[1::2] * 2.0**-32
    radius = np.sqrt(-2 * np.log(u))
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[:size].reshape(shape)


def _below(words, span):
    return np.array([int(w) * span >> 64 for w in words], dtype=np.int64)


# ---- elementwise ---------------------------------------------------------------
ARITHMETIC = [
    binary("add", np.add, dtypes=ALL, differentiable=True, inplace=operator.iadd),
    binary("subtract", np.subtract, differentiable=True, inplace=operator.isub),
    binary("multiply", np.multiply, dtypes=ALL, differentiable=True,
           inplace=operator.imul),
    binary("divide", np.true_divide, result="float", avoid=(0,), differentiable=True,
           inplace=operator.itruediv, tolerance=ulp(0.5, 0),
           reason="correctly rounded; the float32 reference is rounded twice"),
    binary("floor_divide", np.floor_divide, native=True, avoid=(0,),
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
    unary("sqrt", _as_float(np.sqrt), low=0.01, high=9, tolerance=ulp(0.5, 0),
          reason="correctly rounded; the float32 reference is rounded twice"),
    unary("rsqrt", _as_float(lambda x: 1 / np.sqrt(x)), low=0.1, high=9,
          tolerance=ulp(2), reason="a division after a root"),
    unary("reciprocal", _as_float(np.reciprocal), avoid=(0,), tolerance=ulp(0.5, 0),
          reason="correctly rounded"),
    unary("exp", _as_float(np.exp), tolerance=ulp(2), reason="stated: 1.01 ulp"),
    unary("expm1", _as_float(np.expm1), tolerance=ulp(2), reason="stated: 1.3 and 2 ulp"),
    unary("log", _as_float(np.log), low=0.05, high=9, tolerance=ulp(2),
          reason="stated: 0.8 and 1 ulp"),
    unary("log1p", _as_float(np.log1p), low=-0.9, high=5, tolerance=ulp(2),
          reason="stated: 1.2 and 1 ulp"),
    unary("sin", _as_float(np.sin), tolerance=ulp(2), reason="stated: 0.6 ulp"),
    unary("cos", _as_float(np.cos), tolerance=ulp(2), reason="stated: 0.6 ulp"),
    unary("tan", _as_float(np.tan), low=-1.2, high=1.2, tolerance=ulp(2),
          reason="stated: 2 ulp"),
    unary("tanh", _as_float(np.tanh), tolerance=ulp(2), reason="stated: 1.4 and 2 ulp"),
    unary("erf", _as_float(special.erf), tolerance=ulp(2), reason="stated: 1.1 ulp"),
]  # fmt: skip

ACTIVATIONS = [
    unary("relu", lambda x: np.maximum(x, np.zeros((), x.dtype)), result="same",
          dtypes=NUMERIC, avoid=(0,), signed_zero=False),
    unary("sigmoid", _as_float(special.expit), tolerance=ulp(3), reason="stated: 2.3 ulp"),
    unary("silu", _silu, tolerance={d: (4 * e, np.finfo(d).tiny) for d, e in EPS.items()},
          reason="a product with sigmoid, whose tail is subnormal"),
    unary("softplus", _as_float(lambda x: np.logaddexp(0, x)), tolerance=ulp(4),
          reason="log1p of exp"),
    unary("gelu", _gelu, tolerance=near(6e-7, 2e-15),
          reason="1 + erf cancels for negative x"),
    unary("gelu_tanh", _gelu_tanh, function=lambda x: tl.gelu(x, approximate="tanh"),
          tolerance=near(5e-7, 2e-15), special=False, covers=("gelu",),
          reason="1 + tanh cancels for negative x"),
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

# ---- reductions ----------------------------------------------------------------
_SUMS = {"tolerance": near(2e-5, 1e-12), "reason": "rounding of up to 10^3 terms"}
_NONEMPTY = Error(lambda: (tl.ones((0, 2)), 0), tl.ShapeError, "zero elements")
_ONE_AXIS = Error(lambda: (tl.ones((2, 2)), (0, 1)), TypeError, "expected one axis")

REDUCTIONS = [
    reduction("sum", _total(np.sum), result="sum", differentiable=True, **_SUMS),
    reduction("prod", _total(np.prod), result="sum", differentiable=True, low=0.9,
              high=1.1, **_SUMS),
    reduction("mean", _as_float(np.mean), result="float", differentiable=True, **_SUMS),
    reduction("var", _variance(np.var), result="float", differentiable=True,
              extra=({"correction": 1},), **_SUMS),
    reduction("std", _variance(np.std), result="float", differentiable=True,
              extra=({"correction": 1},), **_SUMS),
    reduction("max", np.max, empty=False, differentiable=True, errors=(_NONEMPTY,)),
    reduction("min", np.min, empty=False, differentiable=True, errors=(_NONEMPTY,)),
    reduction("argmax", np.argmax, empty=False, several=False, result=N,
              errors=(_NONEMPTY, _ONE_AXIS)),
    reduction("argmin", np.argmin, empty=False, several=False, result=N,
              errors=(_NONEMPTY, _ONE_AXIS)),
    reduction("any", np.any, result="bool"),
    reduction("all", np.all, result="bool"),
    reduction("logsumexp", _logsumexp, result="float", differentiable=True, **_SUMS),
    shaping("cumsum", [((5,), (), {}), ((2, 3), (), {"axis": 0}),
                       ((2, 3, 4), (), {"axis": -2}), ((0,), (), {}),
                       ((3, 0), (), {"axis": 1}), ((1000,), (), {"axis": 0})],
            lambda x, axis=None: np.cumsum(
                x, axis=axis, dtype=None if x.dtype.kind == "f" else np.int64),
            result="sum",
            large=lambda d, r: [call(draw((449, 451), d, r), axis=k) for k in (0, 1)]
            + [call(draw((LARGE,), d, r))],
            errors=(Error(lambda: (tl.ones((2, 2)),), tl.ShapeError, "expected an axis"),),
            **_SUMS),
]  # fmt: skip

# ---- shapes --------------------------------------------------------------------
_TRANSPOSES = [((2, 3), (), {}), ((4, 2, 3), (), {}), ((2, 0), (), {})]


def _several(shapes):
    return lambda dtype, rng: [
        call([draw(s, dtype, rng) for s in group], **k) for group, k in shapes
    ]


def _split(x, sections, axis=0):
    if isinstance(sections, int):
        points = list(range(sections, x.shape[axis], sections))
    else:
        points = np.cumsum(sections)[:-1]
    return tuple(np.split(x, points, axis=axis))


SHAPES = [
    shaping("reshape", [((2, 3), (3, 2), {}), ((2, 3), ((6,),), {}), ((), (1, 1), {}),
                        ((4, 3, 2), (2, -1), {}), ((0, 3), ((3, 0),), {}),
                        ((2, 3), (-1,), {})],
            lambda x, *s: x.reshape(*s),
            errors=(Error(lambda: (tl.ones(6), (4, 2)), tl.ShapeError, "cannot reshape"),
                    Error(lambda: (tl.ones(6), (-1, -1)), tl.ShapeError, "one -1"),
                    Error(lambda: (tl.ones(6), (-1, 4)), tl.ShapeError, "cannot reshape"),
                    Error(lambda: (tl.ones(6), ("a",)), (tl.ShapeError, TypeError), "reshape"))),
    shaping("permute_dims", [((2, 3, 4), ((2, 0, 1),), {}), ((2, 3), (1, 0), {}),
                             ((), ((),), {}), ((3,), ((-1,),), {}), ((0, 2), (1, 0), {})],
            lambda x, *a: np.transpose(x, a[0] if len(a) == 1 and type(a[0]) is tuple else a),
            errors=(Error(lambda: (tl.ones((2, 3)), (0, 0)), tl.ShapeError, "twice"),
                    Error(lambda: (tl.ones((2, 3)), (0,)), tl.ShapeError, "expected 2"))),
    shaping("transpose", [*_TRANSPOSES, ((4, 2, 3), (0, 2), {})],
            lambda x, a=-2, b=-1: np.swapaxes(x, a, b),
            errors=(Error(lambda: (tl.ones(3),), tl.ShapeError, "transpose"),)),
    shaping("matrix_transpose", _TRANSPOSES, lambda x: np.swapaxes(x, -1, -2),
            errors=(Error(lambda: (tl.ones(3),), tl.ShapeError, "at least 2"),)),
    shaping("expand_dims", [((2, 3), (), {}), ((2, 3), (), {"axis": -1}),
                            ((), (), {"axis": 0}), ((0,), (), {"axis": 1})],
            lambda x, axis=0: np.expand_dims(x, axis),
            errors=(Error(lambda: (tl.ones(3), 3), tl.ShapeError, "expand_dims"),)),
    shaping("squeeze", [((1, 3, 1), (), {}), ((1, 3, 1), (), {"axis": 0}), ((), (), {}),
                        ((1, 0, 1), (), {"axis": (0, -1)})],
            np.squeeze,
            errors=(Error(lambda: (tl.ones((2, 1)), 0), tl.ShapeError, "expected 1"),)),
    shaping("flip", [((3,), (), {}), ((2, 3), (), {}), ((2, 3), (), {"axis": 1}),
                     ((2, 3, 4), (), {"axis": (0, -1)}), ((), (), {}), ((0, 3), (), {})],
            np.flip, errors=(Error(lambda: (tl.ones(3), 1), tl.ShapeError, "flip"),)),
    shaping("flatten", [((2, 3, 4), (), {}), ((2, 3, 4), (1,), {}), ((), (), {}),
                        ((2, 3, 4), (0, 1), {}), ((2, 0), (), {})],
            lambda x, a=0, b=-1: x.reshape(
                x.shape[:a] + (-1 if x.size else 0,) + x.shape[x.ndim + b + 1 if b < 0 else b + 1:]
                if x.ndim else (1,)),
            errors=(Error(lambda: (tl.ones((2, 3)), 1, 0), tl.ShapeError, "comes after"),)),
    shaping("broadcast_to", [((3,), ((2, 3),), {}), ((), ((2, 2),), {}), ((1,), (4,), {}),
                             ((2, 1), ((3, 2, 4),), {}), ((1,), ((0,),), {})],
            np.broadcast_to,
            errors=(Error(lambda: (tl.ones(3), (2,)), tl.ShapeError, "does not broadcast"),)),
    shaping("pad", [((2,), ([(1, 2)],), {}), ((2, 3), (((0, 1), (2, 0)),), {}),
                    ((), ((),), {}), ((0, 2), ([(1, 1), (0, 0)],), {}),
                    ((3,), ([(1, 1)],), {"value": 1})],
            lambda x, w, value=0: np.pad(x, w, constant_values=value) if w else x,
            errors=(Error(lambda: (tl.ones(2), [(1, -1)]), tl.ShapeError, "pad"),
                    Error(lambda: (tl.ones(2), 1), tl.ShapeError, "pad"))),
    Op("concat", tl.concat, lambda t, axis=0: np.concatenate(t, axis=axis),
       _several([([(2,), (3,)], {}), ([(2, 3), (2, 1), (2, 0)], {"axis": 1}),
                 ([(2, 2), (3,)], {"axis": None}), ([(4,)], {"axis": -1})]),
       dtypes=ALL, differentiable=True,
       large=lambda d, r: [call([draw((300, 401), d, r), draw((300, 300), d, r)], axis=1)],
       errors=(Error(lambda: ([],), ValueError, "at least one"),
               Error(lambda: (tl.ones(2),), TypeError, "expected a sequence"),
               Error(lambda: ([tl.ones((2, 3)), tl.ones(3)],), tl.ShapeError, "concat"))),
    Op("stack", tl.stack, np.stack,
       _several([([(2,), (2,)], {}), ([(2, 3), (2, 3)], {"axis": 1}),
                 ([(), ()], {"axis": -1}), ([(0,)], {})]),
       dtypes=ALL, differentiable=True,
       errors=(Error(lambda: ([],), ValueError, "at least one"),
               Error(lambda: ([tl.ones(2), tl.ones(3)],), tl.ShapeError, "stack"))),
    shaping("split", [((5,), (2,), {}), ((2, 6), (3,), {"axis": 1}), ((5,), ([1, 4],), {}),
                      ((0,), (2,), {})],
            _split,
            errors=(Error(lambda: (tl.ones(5), 0), tl.ShapeError, "length >= 1"),
                    Error(lambda: (tl.ones(5), [2, 2]), tl.ShapeError, "add up"))),
    shaping("unstack", [((2, 3), (), {}), ((2, 3), (), {"axis": -1}), ((1,), (), {})],
            lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)),
            errors=(Error(lambda: (tl.tensor(1.0),), tl.ShapeError, "unstack"),)),
]  # fmt: skip

# ---- indexing ------------------------------------------------------------------
_KEYS = [
    ((5,), slice(None, None, -2)), ((4, 5), (slice(1, 3), 2)), ((4, 5), (..., None, -1)),
    ((4, 5), (None, slice(3, 0, -1))), ((), ()), ((), (...,)), ((0, 3), slice(0, 0)),
    ((4, 5), (_index(3, 0, -1),)), ((4, 5), (_index(0, 1), _index(2, 3))),
    ((4, 5, 2), (slice(None), _index(1, 1), 0)), ((4, 5, 2), (_index(1, 2), slice(1, 3), 1)),
    ((3, 4), (_index(2, 0).reshape(2, 1), _index(1, 3, 2))),
    ((2, 3), (np.array([[True, False, True], [False, True, False]]),)),
    ((4, 5), (slice(None), np.array([True, False, False, True, True]))),
    ((4, 5), (_index(), )),
]  # fmt: skip


def _assigned(x, key, value):
    x = x.copy() if isinstance(x, tl.Tensor) else np.array(x)
    x[key] = value
    return x


def _getitem_calls(dtype, rng):
    return [call(draw(s, dtype, rng), key) for s, key in _KEYS]


def _setitem_calls(dtype, rng):
    found = []
    for shape, key in _KEYS:
        x = draw(shape, dtype, rng)
        found.append(call(x, key, draw(x[key].shape, dtype, rng)))
        found.append(call(x, key, 1))
    return [*found, call(draw((3, 4), dtype, rng), slice(1, 3), draw((4,), dtype, rng))]


def _strided(x, shape, strides, offset=0):
    flat = x.reshape(-1)[offset:]
    steps = [s * x.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(flat, shape, steps).copy()


def _along(dtype, rng):
    return [
        call(draw((2, 3), dtype, rng), _index(2, 0, 0, -1).reshape(2, 2), axis=1),
        call(draw((2, 3), dtype, rng), _index(1, 0, 1).reshape(1, 3), axis=0),
        call(draw((4,), dtype, rng), _index(3, 3, 0)),
        call(draw((2, 3), dtype, rng), np.zeros((2, 0), np.int64)),
    ]


def _along_large(dtype, rng):
    x = draw((449, 451), dtype, rng)
    return [call(x, rng.integers(0, 451, (449, 451)), axis=1),
            call(x, rng.integers(0, 449, (449, 451)), axis=0)]  # fmt: skip


_OUT_OF_RANGE = Error(lambda: (tl.ones(3), tl.tensor([3])), IndexError, "3")
_FLOAT_INDEX = Error(lambda: (tl.ones(3), tl.ones(1)), tl.DTypeError, "integer indices")

INDEXING = [
    Op("getitem", lambda x, key: x[key], lambda x, key: x[key], _getitem_calls, dtypes=ALL,
       differentiable=True, covers=("__getitem__",),
       large=lambda d, r: [call(draw((449, 451), d, r), (r.integers(0, 449, 1000),)),
                           call(draw((449, 451), d, r),
                                (r.integers(0, 449, 90_000), r.integers(0, 451, 90_000)))],
       errors=(Error(lambda: (tl.ones(3), 3), IndexError, "out of range"),
               Error(lambda: (tl.ones(3), (0, 0)), IndexError, "too many"),
               Error(lambda: (tl.ones(3), "a"), IndexError, "expected integers"),
               Error(lambda: (tl.ones(3), 0.5), IndexError, "expected integers"),
               Error(lambda: (tl.ones(3), True), IndexError, "bool scalar"),
               Error(lambda: (tl.ones(3), (..., ...)), IndexError, "ellipsis"),
               Error(lambda: (tl.ones(3), slice(None, None, 0)), ValueError, "step"),
               Error(lambda: (tl.ones(3), slice("a", None)), IndexError, "slice"),
               Error(lambda: (tl.ones(3), tl.ones(2) > 0), IndexError, "mask"))),
    Op("setitem", _assigned, _assigned, _setitem_calls, dtypes=ALL, differentiable=True,
       covers=("__setitem__",),
       large=lambda d, r: [call(draw((449, 451), d, r), (r.permutation(449),),
                                draw((449, 451), d, r))],
       errors=(Error(lambda: (tl.ones(3), 3, 1), IndexError, "out of range"),
               Error(lambda: (tl.ones(3), slice(0, 2), tl.ones(3)), tl.ShapeError,
                     "does not broadcast"))),
    Op("take", tl.take, np.take,
       lambda d, r: [call(draw((5,), d, r), _index(4, 0, -1)),
                     call(draw((3, 4), d, r), _index(2, 0, 0, 1).reshape(2, 2), axis=1),
                     call(draw((3, 4), d, r), _index(), axis=0),
                     call(draw((3,), d, r), np.array(2))],
       dtypes=ALL, differentiable=True,
       large=lambda d, r: [call(draw((449, 451), d, r), r.integers(0, 449, 2000), axis=0)],
       errors=(_OUT_OF_RANGE, _FLOAT_INDEX,
               Error(lambda: (tl.ones((2, 2)), tl.tensor([0])), tl.ShapeError, "axis"))),
    Op("take_along_axis", tl.take_along_axis,
       lambda x, i, axis=-1: np.take_along_axis(x, i, axis=axis), _along, dtypes=ALL,
       differentiable=True, large=_along_large, covers=("gather",),
       errors=(_OUT_OF_RANGE, _FLOAT_INDEX,
               Error(lambda: (tl.ones((2, 2)), tl.tensor([0])), tl.ShapeError, "dimensions"))),
    Op("nonzero", tl.nonzero, np.nonzero,
       lambda d, r: [call(draw(s, d, r, -1, 1)) for s in [(5,), (3, 4), (0,), (2, 3, 4)]],
       dtypes=ALL, result=N,
       large=lambda d, r: [call((r.random((449, 451)) < 0.3).astype(d))],
       errors=(Error(lambda: (tl.tensor(1.0),), tl.ShapeError, "at least one"),)),
    Op("as_strided", tl.as_strided, _strided,
       lambda d, r: [call(draw((6,), d, r), (2, 3), (3, 1)), call(draw((4,), d, r), (3, 2), (1, 1)),
                     call(draw((2, 3), d, r), (2, 2), (0, 2), 1),
                     call(draw((6,), d, r), (3,), (-2,), 5), call(draw((3,), d, r), (), (), 2)],
       dtypes=ALL, differentiable=True,
       errors=(Error(lambda: (tl.ones(4), (3,), (2,)), tl.ShapeError, "would be read"),
               Error(lambda: (tl.ones(4), (2,), (-1,)), tl.ShapeError, "would be read"),
               Error(lambda: (tl.ones(4), (2,), (1, 1)), tl.ShapeError, "strides"),
               Error(lambda: (tl.ones((2, 2)).T, (2,), (1,)), tl.ShapeError, "contiguous"))),
]  # fmt: skip

# ---- matrix products -----------------------------------------------------------
_PRODUCTS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
    ((0, 2, 3), (3, 1)), ((1, 1), (1, 1)), ((40, 50), (50, 33)), ((3, 17), (17, 130)),
]  # fmt: skip


def _matmul_large(dtype, rng):
    shapes = [((257, 130), (130, 190)), ((70, 31, 29), (29, 37)), ((3, 900), (900, 701)),
              ((900, 5), (5, 301)), ((1, 700), (700, 801)), ((601, 700), (700,))]  # fmt: skip
    found = [call(draw(a, dtype, rng), draw(b, dtype, rng)) for a, b in shapes]
    return [
        *found,
        call(draw((300, 200), dtype, rng).T, draw((250, 300), dtype, rng).T),
    ]


LINALG = [
    Op("matmul", tl.matmul, np.matmul,
       lambda d, r: [call(draw(a, d, r), draw(b, d, r)) for a, b in _PRODUCTS],
       dtypes=NUMERIC, differentiable=True, tolerance=near(2e-5, 1e-13),
       reason="up to 50 products of order 1", large=_matmul_large,
       errors=(Error(lambda: (tl.ones((3, 4)), tl.ones((5, 6))), tl.ShapeError,
                     r"matmul: inner dimensions must match, got a.shape=\(3, 4\)"),
               Error(lambda: (tl.ones((2, 3, 4)), tl.ones((3, 4, 5))), tl.ShapeError,
                     "leading dimensions"),
               Error(lambda: (tl.tensor(1.0), tl.ones(2)), tl.ShapeError, "use \\*"),
               Error(lambda: (tl.ones(2), "a"), TypeError, "matmul"))),
    Op("linear", tl.linear, lambda x, w, b=None: x @ w.T + (0 if b is None else b),
       lambda d, r: [call(draw(s, d, r), draw((4, 3), d, r), *more)
                     for s in [(2, 3), (3,), (5, 2, 3), (0, 3)]
                     for more in [(), (draw((4,), d, r),), (None,)]],
       dtypes=FLOATS, differentiable=True, tolerance=near(1e-5, 1e-13),
       reason="products of order 1",
       large=lambda d, r: [call(draw((300, 130), d, r), draw((190, 130), d, r),
                                draw((190,), d, r))],
       errors=(Error(lambda: (tl.ones((2, 3)), tl.ones((4, 2))), tl.ShapeError, "linear"),
               Error(lambda: (tl.ones((2, 3)), tl.ones((4, 3)), tl.ones(3)), tl.ShapeError,
                     "bias"))),
]  # fmt: skip

# ---- neural networks -----------------------------------------------------------
_ROWS = [((3,), {}), ((2, 5), {}), ((2, 5), {"axis": 0}), ((2, 3, 4), {"axis": 1}),
         ((0, 3), {}), ((7, 130), {})]  # fmt: skip


def _along_axis(name, reference):
    return Op(
        name, getattr(tl, name), reference,
        lambda d, r: [call(draw(s, d, r), **k) for s, k in _ROWS],
        dtypes=NUMERIC, result="float", differentiable=True, tolerance=near(2e-6, 1e-14),
        reason="exp, a sum of up to 130 terms, and a division or log",
        large=lambda d, r: [call(draw((449, 451), d, r), axis=k) for k in (0, 1)],
        errors=(Error(lambda: (tl.ones(3), 1), tl.ShapeError, name),
                Error(lambda: (tl.tensor(1.0),), tl.ShapeError, name)),
    )  # fmt: skip


def _entropy_calls(dtype, rng):
    z, t = draw((6, 5), dtype, rng), rng.integers(0, 5, 6)
    holes = np.where(np.arange(6) % 3 == 0, -100, t)
    ways = [{}, {"reduction": "sum"}, {"reduction": "none"}, {"label_smoothing": 0.1}]
    found = [call(z, target, **k) for target in (t, holes) for k in ways]
    found.append(call(z, t, ignore_index=int(t[0])))
    found.append(call(draw((5,), dtype, rng), np.array(2)))
    found.append(call(draw((2, 3, 4), dtype, rng), rng.integers(0, 3, (2, 4))))
    return [*found, call(z[:0], t[:0], reduction="sum")]


def _norm_calls(dtype, rng):
    w, b = draw((5,), dtype, rng), draw((5,), dtype, rng)
    x = draw((4, 5), dtype, rng)
    return [
        call(x, 5), call(x, (5,), w), call(x, 5, w, b), call(x, 5, None, b),
        call(draw((2, 3, 5), dtype, rng), (3, 5), draw((3, 5), dtype, rng)),
        call(x, 5, eps=0.1), call(draw((0, 5), dtype, rng), 5, w, b),
    ]  # fmt: skip


def _dropped(p, training=True):
    def function(x):
        return tl.dropout(x, p, training, generator=tl.Generator(11))

    return function


def _drop(x, p=0.3):
    keep = threefry(11, x.size) < int((1 - p) * 2**32)
    return x * keep.reshape(x.shape) / (1 - p)


NNET = [
    _along_axis("softmax", _softmax),
    _along_axis("log_softmax", _log_softmax),
    Op("cross_entropy", tl.cross_entropy, _cross_entropy, _entropy_calls,
       differentiable=True, tolerance=near(2e-6, 1e-14), reason="exp, sums, log",
       large=lambda d, r: [call(draw((2048, 101), d, r), r.integers(0, 101, 2048), **k)
                           for k in ({}, {"label_smoothing": 0.1}, {"reduction": "sum"})],
       errors=(Error(lambda: (tl.ones((2, 3)), tl.tensor([0, 3])), IndexError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.tensor([0, -1])), IndexError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.tensor([0])), tl.ShapeError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.ones(2)), tl.DTypeError, "integer"))),
    Op("layer_norm", tl.layer_norm, _layer_norm, _norm_calls, differentiable=True,
       tolerance=near(5e-6, 2e-14), reason="mean, variance and a root of 5 to 15 terms",
       large=lambda d, r: [call(draw((1000, 211), d, r), 211, draw((211,), d, r),
                                draw((211,), d, r))],
       errors=(Error(lambda: (tl.ones((2, 3)), 2), tl.ShapeError, "layer_norm"),
               Error(lambda: (tl.ones((2, 3)), 3, tl.ones(2)), tl.ShapeError, "weight"),
               Error(lambda: (tl.ones((2, 3)), ()), tl.ShapeError, "layer_norm"))),
    Op("embedding", tl.embedding, lambda i, w: w[i],
       lambda d, r: [call(r.integers(0, 6, s), draw((6, 3), d, r))
                     for s in [(4,), (2, 3), (), (0,)]],
       dtypes=ALL, differentiable=True,
       large=lambda d, r: [call(r.integers(0, 50, 4000), draw((50, 64), d, r))],
       errors=(Error(lambda: (tl.tensor([3]), tl.ones((3, 2))), IndexError, "3"),
               Error(lambda: (tl.tensor([0]), tl.ones(3)), tl.ShapeError, "embedding"),
               Error(lambda: (tl.ones(1), tl.ones((3, 2))), tl.DTypeError, "integer"))),
    Op("one_hot", tl.one_hot, lambda x, n=-1: np.eye(
           n if n >= 0 else int(x.max()) + 1, dtype=np.int64)[x],
       lambda d, r: [call(draw((4,), d, r, 0, 3)), call(draw((2, 3), d, r, 0, 3), 5),
                     call(draw((), d, r, 0, 2), 3), call(draw((0,), d, r, 0, 2), 3)],
       dtypes=INTEGERS, result=N,
       large=lambda d, r: [call(r.integers(0, 50, 4000).astype(d), 50)],
       errors=(Error(lambda: (tl.tensor([3]), 3), IndexError, r"classes in \[0, 3\)"),
               Error(lambda: (tl.ones(1), 3), tl.DTypeError, "integers"),
               Error(lambda: (tl.tensor([], dtype=tl.int64),), ValueError, "num_classes"))),
    unary("dropout", _drop, function=_dropped(0.3), dtypes=FLOATS, special=False,
          tolerance=ulp(1), reason="two products",
          errors=(Error(lambda: (tl.tensor([1]),), tl.DTypeError, "floating"),)),
]  # fmt: skip


# ---- optimizers ----------------------------------------------------------------
def _sgd(p, g, v, **how):
    sgd_step([p], [g], [v], **how)
    return p, v


def _sgd_reference(p, g, v, lr, momentum=0.0, dampening=0.0, weight_decay=0.0,
                   nesterov=False, maximize=False, first_step=False, momentum_scale=1.0):  # fmt: skip
    d = (-g if maximize else g) + weight_decay * p
    v = d if first_step else momentum * v + (1 - dampening) * d
    smooth = v * momentum_scale
    return p - lr * (d + momentum * smooth if nesterov else smooth), v


def _adam(p, g, m, v, **how):
    adam_step([p], [g], [m], [v], **how)
    return p, m, v


def _adam_reference(p, g, m, v, lr, beta1, beta2, eps, weight_decay=0.0,
                    bias_correction1=1.0, bias_correction2=1.0, decoupled=False):  # fmt: skip
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    step = m / bias_correction1 / (np.sqrt(v / bias_correction2) + eps)
    return p - lr * step, m, v


_ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.01,
         "bias_correction1": 0.271, "bias_correction2": 0.0297}  # fmt: skip
_SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}


def _steps(count, ways, size=None):
    def calls(dtype, rng):
        shapes = [(7,), (3, 4), (0,), ()] if size is None else [(size,)]
        return [
            call(*[draw(s, dtype, rng, 0.1, 2.0) for _ in range(count)], **k)
            for s in shapes for k in ways
        ]  # fmt: skip

    return calls


_SGD_WAYS = [_SGD, {**_SGD, "nesterov": True}, {**_SGD, "first_step": True},
             {**_SGD, "maximize": True, "dampening": 0.1}, {**_SGD, "momentum_scale": 2.0}]  # fmt: skip
_ADAM_WAYS = [_ADAM, {**_ADAM, "decoupled": True}]

OPTIMIZERS = [
    Op("sgd_step", _sgd, _sgd_reference, _steps(3, _SGD_WAYS), tolerance=near(2e-6, 1e-14),
       reason="a few products", large=_steps(3, _SGD_WAYS, LARGE), writes=True,
       errors=(Error(lambda: (tl.ones(2), tl.ones(3), tl.ones(2)), TypeError, "lr"),)),
    Op("adam_step", _adam, _adam_reference, _steps(4, _ADAM_WAYS),
       tolerance=near(5e-6, 1e-13), reason="a root, a division, corrections rounded once",
       large=_steps(4, _ADAM_WAYS, LARGE), writes=True),
]  # fmt: skip


# ---- random numbers ------------------------------------------------------------
def _seeded(function):
    def drawn(*args, **kwargs):
        return function(*args, **kwargs, generator=tl.Generator(5))

    return drawn


def _seeded_rand(*shape, dtype="float32"):
    return (_unit32 if dtype == "float32" else _unit64)(5, shape)


_BIG = ((LARGE,), {})


def random(name, cases, reference, large, **facts):
    return source(
        name, cases, reference, function=_seeded(getattr(tl, name)),
        large=lambda d, r: [call(*a, **k) for a, k in large], **facts,
    )  # fmt: skip


RANDOM = [
    random("rand", [((2, 3), {}), ((0,), {}), ((), {}), ((1001,), {}),
                    ((5,), {"dtype": F})], _seeded_rand, [_BIG, ((LARGE,), {"dtype": F})]),
    random("uniform", [((-1.0, 3.0, (1001,)), {})],
           lambda a, b, s: a + _unit32(5, s) * (b - a), [((0.0, 2.0, (LARGE,)), {})],
           tolerance=near(2e-7, 1e-15), reason="one product and one sum",
           errors=(Error(lambda: (2.0, 1.0), ValueError, "low <= high"),
                   Error(lambda: (0.0, float("nan")), ValueError, "uniform"))),
    random("randn", [((1001,), {}), ((2, 2), {}), ((3,), {})],
           lambda *s: _normal32(5, s), [_BIG, ((LARGE,), {"dtype": F})],
           tolerance=near(2e-6, 1e-14), reason="log, sqrt and cos of 24-bit numbers"),
    random("normal", [((3.0, 2.0, (1001,)), {})],
           lambda m, d, s: m + d * _normal32(5, s), [((0.0, 2.0, (LARGE,)), {})],
           tolerance=near(5e-6, 1e-14), reason="as randn, scaled",
           errors=(Error(lambda: (0.0, -1.0), ValueError, "std >= 0"),)),
    random("randint", [((10, None, (99,)), {}), ((-5, 5, (99,)), {}),
                       ((0, 256, (99,)), {"dtype": "uint8"})],
           lambda a, b, s, dtype=N: _below(_words64(5, s[0]), b - a if b is not None else a)
           + (a if b is not None else 0), [((0, 1000, (LARGE,)), {})],
           errors=(Error(lambda: (5, 5), ValueError, "low < high"),
                   Error(lambda: (0, 1 << 70), ValueError, "int64"),)),
    random("bernoulli", [((0.3, (999,)), {}), ((0.0, (9,)), {}), ((1.0, (9,)), {})],
           lambda p, s: threefry(5, s[0]) < np.float64(p * 2**32),
           [((0.3, (LARGE,)), {})],
           errors=(Error(lambda: (1.5,), ValueError, "probability"),)),
    random("randperm", [((0,), {}), ((1,), {})], lambda n: np.arange(n), [((2000,), {})],
           errors=(Error(lambda: (-1,), ValueError, "extents >= 0"),)),
]  # fmt: skip

# ---- creation and conversion ---------------------------------------------------
_LIKE = [((3,), (), {}), ((2, 0), (), {}), ((), (), {})]

CREATION = [
    source("zeros", [((3,), {}), (((2, 0),), {}), (((),), {})], np.zeros,
           errors=(Error(lambda: (-1,), tl.ShapeError, "extents >= 0"),
                   Error(lambda: ("a",), tl.ShapeError, "shape|extents"),
                   Error(lambda: ((1 << 40, 1 << 40),), MemoryError, "memory"))),
    source("ones", [((3,), {}), (((2, 2),), {"dtype": N})], np.ones),
    source("full", [((3, 7), {}), (((2, 2), 0.5), {}), (((), True), {})], np.full,
           errors=(Error(lambda: (2, 1 << 70), OverflowError, "out of range|large"),)),
    source("empty", [((3,), {"dtype": F}), (((2, 3),), {"dtype": F})], None),
    source("eye", [((3,), {}), ((2, 4), {}), ((3,), {"k": 1}), ((3, 2), {"k": -1}),
                   ((0,), {})], np.eye),
    source("arange", [((5,), {}), ((1, 5), {}), ((5, 0, -2), {}), ((0.0, 1.0, 0.25), {}),
                      ((3, 3), {}), ((0, 1, 0.1), {"dtype": F})], np.arange,
           tolerance=near(1e-6, 1e-15), reason="start + i * step",
           errors=(Error(lambda: (0, 5, 0), ValueError, "step"),
                   Error(lambda: (float("inf"),), ValueError, "finite"))),
    source("linspace", [((0.0, 1.0, 5), {}), ((0.0, 1.0, 1), {}), ((0, 1, 0), {}),
                        ((1.0, 2.0, 4), {"endpoint": False})], np.linspace,
           tolerance=near(1e-6, 1e-15), reason="start + i * step",
           errors=(Error(lambda: (0, 1, -1), ValueError, "num"),)),
    shaping("zeros_like", _LIKE, np.zeros_like, differentiable=False),
    shaping("ones_like", _LIKE, np.ones_like, differentiable=False),
    shaping("full_like", [(s, (1,), k) for s, _, k in _LIKE], np.full_like,
            differentiable=False),
    shaping("empty_like", _LIKE, None, differentiable=False),
    shaping("tensor", _LIKE, np.copy, differentiable=False,
            errors=(Error(lambda: ([[1], [1, 2]],), tl.ShapeError, "ragged"),
                    Error(lambda: ("abc",), TypeError, "str"),
                    Error(lambda: ([1 << 70],), OverflowError, "out of range"))),
    shaping("asarray", _LIKE, np.copy, differentiable=False),
    shaping("from_numpy", _LIKE, np.copy, function=lambda x: tl.from_numpy(
                x.numpy() if isinstance(x, tl.Tensor) else x),
            differentiable=False,
            errors=(Error(lambda: ([1.0],), TypeError, "numpy.ndarray"),)),
    shaping("from_dlpack", _LIKE, np.copy, differentiable=False),
    shaping("astype", [((3, 4), (d,), {}) for d in FLOATS], lambda x, d: x, result=None,
            smooth=lambda d, r: [call(draw((3, 4), d, r), F)], tolerance=ulp(0.5, 0), reason="one rounding",
            errors=(Error(lambda: (tl.ones(1), "int7"), tl.DTypeError, "dtype"),)),
    shaping("to", [((3, 4), (F,), {})], lambda x, d: x, function=tl.Tensor.to, result=None),
    shaping("copy", _LIKE, np.copy, function=tl.Tensor.copy, covers=("clone",)),
    shaping("contiguous", _LIKE, np.copy, function=tl.Tensor.contiguous),
    shaping("detach", _LIKE, np.copy, function=tl.Tensor.detach, differentiable=False),
    shaping("fill_", [(s, (1,), k) for s, _, k in _LIKE], np.full_like,
            function=lambda x, v: x.copy().fill_(v), differentiable=False),
    shaping("zero_", _LIKE, np.zeros_like, function=lambda x: x.copy().zero_(),
            differentiable=False),
    Op("copy_", lambda x, y: x.copy().copy_(y), lambda x, y: np.broadcast_to(y, x.shape),
       lambda d, r: [call(draw((2, 3), d, r), draw((3,), d, r))], dtypes=ALL,
       differentiable=True),
]  # fmt: skip


def _inplace_method(name, of, reference):
    return Op(
        name, lambda x, y: getattr(x.copy(), name)(y), reference,
        lambda d, r: [call(draw((2, 3), d, r, 1, 3), draw((3,), d, r, 1, 3))],
        differentiable=True, tolerance=ulp(0.5, 0), reason=f"as {of}",
    )  # fmt: skip


INPLACE = [
    _inplace_method("add_", "add", np.add),
    _inplace_method("sub_", "subtract", np.subtract),
    _inplace_method("mul_", "multiply", np.multiply),
    _inplace_method("div_", "divide", np.true_divide),
]

OPS = (
    ARITHMETIC + LOGIC + MATHEMATICS + ACTIVATIONS + SELECTION + REDUCTIONS + SHAPES
    + INDEXING + LINALG + NNET + OPTIMIZERS + RANDOM + CREATION + INPLACE
)  # fmt: skip
BY_NAME = {op.name: op for op in OPS}

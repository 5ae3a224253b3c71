"""Rows of convolutions, pooling, patches and norms of channels."""

import numpy as np
from op_references_window import (
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool,
    batch_norm,
    conv,
    conv_transpose,
    fold,
    group_norm,
    instance_norm,
    max_pool,
    rms_norm,
    unfold,
)
from op_rows import Error, Op, call, draw, near

import tensorlib as tl

FIRST = {1: "NCL", 2: "NCHW", 3: "NCDHW"}
LAST = {1: "NLC", 2: "NHWC", 3: "NDHWC"}
HUGE = 2**62


# ---- convolutions --------------------------------------------------------------
# Shapes of x (channels first) and of the weight, whether there is a bias, keywords.
_CONV = {
    1: [
        ((2, 2, 7), (3, 2, 3), True, {}),
        ((2, 7), (3, 2, 2), False, {"stride": 2, "padding": 1}),
        ((2, 4, 5), (4, 1, 3), True, {"groups": 4, "padding": "same"}),
        ((0, 2, 5), (3, 2, 3), True, {}),
    ],
    2: [
        ((2, 2, 4, 5), (3, 2, 3, 2), True, {}),
        ((1, 3, 5, 4), (2, 3, 1, 1), False, {}),
        ((1, 2, 6, 5), (2, 2, 3, 3), True, {"stride": (2, 1), "padding": (1, 2)}),
        ((2, 4, 4, 4), (6, 2, 2, 2), True, {"groups": 2, "dilation": 2}),
        ((1, 3, 4, 5), (6, 1, 3, 3), True, {"groups": 3, "padding": 1, "stride": 2}),
        ((4, 3, 4), (2, 2, 2, 3), False, {"padding": "same", "groups": 2}),
        ((3, 2, 1, 1), (2, 2, 1, 1), True, {}),
        ((0, 2, 4, 4), (3, 2, 3, 3), True, {}),
        ((2, 0, 4, 4), (3, 0, 3, 3), True, {}),
    ],
    3: [
        ((1, 2, 3, 3, 3), (2, 2, 2, 2, 2), True, {"padding": 1, "stride": 2}),
        ((2, 2, 3, 2), (2, 1, 2, 1, 2), False, {"groups": 2, "padding": "valid"}),
    ],
}
_TRANSPOSED = {
    1: [
        ((2, 2, 4), (2, 3, 3), True, {}),
        ((2, 4), (2, 1, 3), False, {"stride": 2, "output_padding": 1, "groups": 2}),
    ],
    2: [
        ((2, 2, 3, 2), (2, 3, 2, 3), True, {}),
        ((1, 4, 3, 3), (4, 1, 3, 2), True, {"groups": 2, "stride": 2, "padding": 1}),
        ((1, 3, 3, 2), (3, 2, 3, 3), False, {"groups": 3, "dilation": (1, 2)}),
        ((1, 2, 2, 3), (2, 2, 3, 3), True,
         {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)}),
        ((2, 3, 3), (2, 1, 1, 1), True, {}),
        ((0, 2, 3, 3), (2, 3, 2, 2), True, {}),
    ],
    3: [((1, 2, 2, 2, 2), (2, 1, 2, 2, 2), True, {"stride": 2})],
}  # fmt: skip


def _convolution_calls(table, count):
    def calls(dtype, rng):
        found = []
        for shape, weight, biased, keywords in table[count]:
            transposed = table is _TRANSPOSED
            made = weight[1] * keywords.get("groups", 1) if transposed else weight[0]
            x, w = draw(shape, dtype, rng), draw(weight, dtype, rng)
            more = (draw((made,), dtype, rng),) if biased else ()
            found.append(call(x, w, *more, **keywords))
            x = np.ascontiguousarray(np.moveaxis(x, -count - 1, -1))
            found.append(call(x, w, *more, layout=LAST[count], **keywords))
        return found

    return calls


_LARGE = {
    1: [((4, 8, 1500), (16, 8, 5), {"padding": 2})],
    2: [((8, 16, 20, 20), (24, 16, 3, 3), {"padding": 1}),
        ((9, 16, 13, 14), (24, 8, 3, 3), {"groups": 2, "stride": 2}),
        ((2, 64, 40, 40), (64, 1, 3, 3), {"groups": 64}),
        ((2, 40, 40, 40), (30, 40, 1, 1), {})],
    3: [((2, 4, 12, 12, 12), (8, 4, 3, 3, 3), {})],
}  # fmt: skip


def _large_convolutions(count, transposed):
    def calls(dtype, rng):
        found = []
        for shape, weight, keywords in _LARGE[count]:
            groups = keywords.get("groups", 1)
            w = (weight[1] * groups, weight[0] // groups, *weight[2:])
            w = draw(w if transposed else weight, dtype, rng)
            x = draw(shape, dtype, rng)
            found.append(call(x, w, **keywords))
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
            found.append(call(x, w, layout=LAST[count], **keywords))
        return found

    return calls


def _wrong_convolutions(name, count, transposed):
    def ones(*shape):
        return tl.ones(shape)

    axes = (4,) * count
    x, w = (1, 2, *axes), (2, 2, *(3,) * count)

    def error(kind, message, *args):
        return Error(lambda: (ones(*x), ones(*w), None, *args), kind, message)

    def shapes(message, xs, ws, *args):
        return Error(lambda: (ones(*xs), ones(*ws), *args), tl.ShapeError, message)

    found = [
        shapes(f"{name}: expected an input of shape", (1, *x, 1), w),
        shapes("weight of", x, w[1:]),
        shapes("groups=1", x, (3, 3, *w[2:])),
        shapes("bias", x, w, tl.ones(5)),
        shapes("kernel that is not empty", x, (2, 2, *(0,) * count)),
        error(ValueError, r"stride in \[1", 0),
        error(ValueError, "stride", -1),
        error(ValueError, r"2\*\*31", HUGE),
        error(TypeError, "stride to be an int", 1.5),
        error(TypeError, "stride", "1"),
        error(ValueError, f"stride to be an int or {count} ints", (1,) * (count + 1)),
        error(ValueError, "padding", 1, -1),
        error((MemoryError, ValueError, tl.ShapeError), name, 1, 2**30),
        error(ValueError, "padding", 1, HUGE),
        Error(lambda: (ones(*x), "a"), TypeError, name),
    ]
    if transposed:
        return (
            *found,
            error(ValueError, "output_padding below", 2, 0, 2),
            error(ValueError, "groups", 1, 0, 0, 0),
            shapes("negative", (1, 2, *(1,) * count), w, None, 1, 2),
        )
    return (
        *found,
        shapes("kernel is larger", (1, 2, *(2,) * count), w),
        error(tl.ShapeError, "kernel is larger", 1, 0, 2**30),
        error(ValueError, "groups", 1, 0, 1, 0),
        error(ValueError, "'same' or 'valid'", 1, "full"),
        error(ValueError, "needs stride 1", 2, "same"),
    )


def _convolution(name, table, reference, count, transposed):
    return Op(
        name, getattr(tl, name), reference, _convolution_calls(table, count),
        differentiable=True, tolerance=near(2e-5, 1e-13),
        reason="sums of up to 30 products of order one", errors=_wrong_convolutions(
            name, count, transposed
        ), large=_large_convolutions(count, transposed),
    )  # fmt: skip


CONVOLUTIONS = [_convolution(f"conv{n}d", _CONV, conv, n, False) for n in (1, 2, 3)] + [
    _convolution(f"conv_transpose{n}d", _TRANSPOSED, conv_transpose, n, True)
    for n in (1, 2, 3)
]


# ---- pooling -------------------------------------------------------------------
_MAX = {
    1: [((2, 2, 7), (2,), {}), ((2, 7), (3, 2, 1), {"ceil_mode": True})],
    2: [((2, 2, 4, 5), (2,), {}), ((1, 2, 5, 5), ((3, 2), (2, 1), (1, 0)), {}),
        ((2, 6, 5), (2, 1, 0, 2), {"return_indices": True}),
        ((1, 2, 5, 4), (2, 2, 1), {"ceil_mode": True, "return_indices": True}),
        ((0, 2, 4, 4), (2,), {})],
    3: [((1, 2, 3, 4, 3), (2,), {}),
        ((2, 3, 3, 3), (2, 2, 1), {"ceil_mode": True, "return_indices": True})],
}  # fmt: skip
_AVG = {
    1: [((2, 2, 7), (2,), {}), ((2, 7), (3, 2, 1), {"ceil_mode": True}),
        ((1, 2, 7), (3, 2, 1), {"count_include_pad": False})],
    2: [((2, 2, 4, 5), (2,), {}), ((1, 2, 5, 5), ((3, 2), (2, 1), (1, 0)), {}),
        ((2, 6, 5), (3, 2, 1), {"ceil_mode": True}),
        ((1, 2, 5, 4), (3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
        ((1, 2, 5, 4), (2,), {"divisor_override": 3}), ((0, 2, 4, 4), (2,), {})],
    3: [((1, 2, 3, 4, 3), (2,), {}),
        ((2, 3, 3, 3), (2, 2, 1), {"ceil_mode": True})],
}  # fmt: skip
_ADAPTIVE = {
    1: [((2, 2, 7), (3,), {}), ((2, 5), (1,), {}), ((1, 2, 3), (5,), {})],
    2: [((2, 2, 4, 5), (3,), {}), ((2, 6, 5), ((4, None),), {}),
        ((1, 2, 3, 3), ((1, 1),), {}), ((1, 2, 2, 3), (4,), {}), ((0, 2, 4, 4), (2,), {})],
    3: [((1, 2, 3, 4, 3), (2,), {}), ((2, 3, 3, 3), ((None, 1, 2),), {})],
}  # fmt: skip


def _distinct(shape, dtype, rng):
    """Elements 0.2 apart or more, so that the largest one is smooth."""
    size = int(np.prod(shape))
    return (rng.permutation(size) * 0.3 - size * 0.1).reshape(shape).astype(dtype)


def _pooling_calls(cases, count, smooth=False):
    def calls(dtype, rng):
        found = []
        for shape, args, keywords in cases:
            if smooth:
                keywords = {k: v for k, v in keywords.items() if k != "return_indices"}
            x = _distinct(shape, dtype, rng)
            found.append(call(x, *args, **keywords))
            x = np.ascontiguousarray(np.moveaxis(x, -count - 1, -1))
            found.append(call(x, *args, layout=LAST[count], **keywords))
        return found

    return calls


def _large_pooling(count, *args):
    shape = {1: (40, 30, 101), 2: (20, 12, 33, 31), 3: (8, 8, 12, 11, 13)}[count]

    def calls(dtype, rng):
        x = draw(shape, dtype, rng)
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        return [call(x, *args), call(last, *args, layout=LAST[count])]

    return calls


def _wrong_pooling(name, count, adaptive):
    x = (1, 2, *(4,) * count)

    def error(kind, message, *args, shape=x):
        return Error(lambda: (tl.ones(shape), *args), kind, message)

    found = [
        error(tl.ShapeError, f"{name}: expected an input", 2, shape=(*x, 1)),
        error(tl.ShapeError, "not empty", 2, shape=(1, 2, *(0,) * count)),
        error(TypeError, "int", 1.5),
        error(TypeError, "int", "2"),
        error(ValueError, "ints", (2,) * (count + 1)),
        error(ValueError, r"2\*\*31", HUGE),
        error(ValueError, "-1", -1),
        Error(lambda: ("a", 2), TypeError, name),
    ]
    if adaptive:
        return (*found, error(TypeError, "output_size", None))
    return (
        *found,
        error(ValueError, "kernel_size", 0),
        error(ValueError, "stride", 2, 0),
        error(ValueError, "stride", 2, HUGE),
        error(ValueError, "at most half", 2, 2, 2),
        error(ValueError, "padding", 2, 2, -1),
        error(tl.ShapeError, "window is larger", 7),
    )


def _pooling(name, cases, reference, count, args):
    return Op(
        name, getattr(tl, name), reference, _pooling_calls(cases, count),
        smooth=_pooling_calls(cases, count, True), differentiable=True, tolerance=near(2e-6, 1e-14),
        result=None, reason="sums of up to 12 terms",
        large=_large_pooling(count, *args),
        errors=_wrong_pooling(name, count, name.startswith("adaptive")),
    )  # fmt: skip


POOLING = [
    row
    for n in (1, 2, 3)
    for row in (
        _pooling(f"max_pool{n}d", _MAX[n], max_pool(n), n, (3, 2, 1)),
        _pooling(f"avg_pool{n}d", _AVG[n], avg_pool(n), n, (3, 2, 1)),
        _pooling(f"adaptive_max_pool{n}d", _ADAPTIVE[n], adaptive_max_pool(n), n, (5,)),
        _pooling(f"adaptive_avg_pool{n}d", _ADAPTIVE[n], adaptive_avg_pool(n), n, (5,)),
    )
]


# ---- patches -------------------------------------------------------------------
_UNFOLD = [
    ((2, 2, 3, 4), (2,)), ((1, 2, 5, 4), ((3, 2), 1, (1, 0), (2, 1))),
    ((2, 5, 5), (2, 2, 1)), ((0, 2, 3, 3), (2,)),
]  # fmt: skip
_FOLD = [
    ((2, 8, 6), ((3, 4), 2)), ((1, 12, 6), ((5, 4), (3, 2), 1, (1, 0), (2, 2))),
    ((8, 9), (3, 2, 2, 1)), ((0, 4, 4), (3, 2)),
]  # fmt: skip
FOLDING = [
    Op("unfold", tl.unfold, unfold,
       lambda d, r: [call(draw(s, d, r), *a) for s, a in _UNFOLD], differentiable=True,
       large=lambda d, r: [call(draw((8, 4, 31, 29), d, r), 3, 1, 1)],
       errors=(Error(lambda: (tl.ones((2, 2)), 2), tl.ShapeError, "unfold: expected"),
               Error(lambda: (tl.ones((2, 2, 2)), 3), tl.ShapeError, "window is larger"),
               Error(lambda: (tl.ones((2, 2, 2)), 0), ValueError, "kernel_size"),
               Error(lambda: (tl.ones((2, 2, 2)), 1, 1, 2**30), MemoryError, "unfold"),
               Error(lambda: (tl.ones((2, 2, 2)), HUGE), ValueError, "kernel_size"))),
    Op("fold", tl.fold, fold,
       lambda d, r: [call(draw(s, d, r), *a) for s, a in _FOLD], differentiable=True,
       tolerance=near(2e-6, 1e-14), reason="sums of up to 9 terms",
       large=lambda d, r: [call(draw((8, 36, 899), d, r), (31, 29), 3, 1, 1)],
       errors=(Error(lambda: (tl.ones((3, 2)), 2, 2), tl.ShapeError, "fold: expected"),
               Error(lambda: (tl.ones((4, 2)), 3, 2), tl.ShapeError, "4 columns"),
               Error(lambda: (tl.ones((4, 1)), HUGE, 2), ValueError, "output_size"))),
]  # fmt: skip


# ---- norms of channels ---------------------------------------------------------
def _norm_calls(function):
    """Calls with no weight, one, and both; shapes (N, C, ...)."""

    def calls(dtype, rng):
        found = []
        for shape in [(4, 3), (3, 2, 4), (2, 2, 3, 3), (3, 2, 17)]:
            x, c = draw(shape, dtype, rng), shape[1]
            w, b = draw((c,), dtype, rng), draw((c,), dtype, rng)
            found += [
                function(x, w, b, w),
                function(x, None, b, w),
                function(x, None, None, w),
            ]
        return [f for f in found if f is not None]

    return calls


def _by_batch(x, w, b, other):
    return call(x, None, None, w, b, True)


def _by_given(x, w, b, other):
    return call(x, other, other * other + 0.5, w, b, eps=0.01)


def _by_sample(x, w, b, other):
    return call(x, None, None, w, b) if x.ndim > 2 else None


def _by_group(x, w, b, other):
    return call(x, x.shape[1], w, b) if x.ndim > 2 else call(x, 1, w, b)


def _norm(name, reference, calls, large, errors):
    return Op(
        name, getattr(tl, name), reference, calls, differentiable=True, large=large,
        tolerance=near(1e-5, 5e-14), reason="mean, variance and a root of up to 51 terms",
        errors=errors,
    )  # fmt: skip


def _ones(*shape):
    return tl.ones(shape)


NORMS = [
    _norm("batch_norm", batch_norm,
          lambda d, r: _norm_calls(_by_batch)(d, r) + _norm_calls(_by_given)(d, r),
          lambda d, r: [call(draw((16, 24, 400), d, r), None, None, draw((24,), d, r),
                             training=True),
                        call(draw((900, 70), d, r), None, None, training=True),
                        *(_by_given(draw((*s, 400), d, r), *draw((3, s[1]), d, r))
                          for s in ((16, 24), (3, 130)))],
          (Error(lambda: (_ones(3),), tl.ShapeError, "batch_norm: expected"),
           Error(lambda: (_ones(2, 3), _ones(2)), tl.ShapeError, "running_mean"),
           Error(lambda: (_ones(2, 3),), ValueError, "running_mean and running_var"),
           Error(lambda: (_ones(1, 3), None, None, None, None, True), ValueError,
                 "more than one value"))),
    _norm("instance_norm", instance_norm, _norm_calls(_by_sample),
          lambda d, r: [call(draw((16, 24, 400), d, r))],
          (Error(lambda: (_ones(3),), tl.ShapeError, "instance_norm: expected"),
           Error(lambda: (_ones(2, 3, 1),), ValueError, "more than one value"))),
    _norm("group_norm", group_norm, _norm_calls(_by_group),
          lambda d, r: [call(draw((16, 24, 400), d, r), 4)],
          (Error(lambda: (_ones(2, 3), 2), tl.ShapeError, "divisible by 2"),
           Error(lambda: (_ones(2, 3), 0), ValueError, "num_groups"),
           Error(lambda: (_ones(2, 3), 0.5), TypeError, "num_groups"),
           Error(lambda: (_ones(2, 3), 3, _ones(2)), tl.ShapeError, "weight"))),
    _norm("rms_norm", rms_norm,
          lambda d, r: [call(draw((4, 5), d, r), 5, eps=1e-5),
                        call(draw((4, 5), d, r), (5,), draw((5,), d, r), 0.1),
                        call(draw((2, 3, 5), d, r), (3, 5), draw((3, 5), d, r), 1e-6),
                        call(draw((0, 5), d, r), 5, draw((5,), d, r), 0.1)],
          lambda d, r: [call(draw((900, 211), d, r), 211, draw((211,), d, r))],
          (Error(lambda: (_ones(2, 3), 2), tl.ShapeError, "rms_norm"),
           Error(lambda: (_ones(2, 3), 3, _ones(2)), tl.ShapeError, "weight"))),
]  # fmt: skip

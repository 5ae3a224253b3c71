"""Rows of reductions."""

import numpy as np
from op_families import LARGE, N, reduction, shaping
from op_references import as_float, logsumexp, total, variance
from op_rows import Error, call, draw, near

import tensorlib as tl

_SUMS = {"tolerance": near(2e-5, 1e-12), "reason": "rounding of up to 10^3 terms"}
_NONEMPTY = Error(lambda: (tl.ones((0, 2)), 0), tl.ShapeError, "zero elements")
_ONE_AXIS = Error(lambda: (tl.ones((2, 2)), (0, 1)), TypeError, "expected one axis")

REDUCTIONS = [
    reduction("sum", total(np.sum), result="sum", differentiable=True, **_SUMS),
    reduction("prod", total(np.prod), result="sum", differentiable=True, low=0.9,
              high=1.1, **_SUMS),
    reduction("mean", as_float(np.mean), result="float", differentiable=True, **_SUMS),
    reduction("var", variance(np.var), result="float", differentiable=True,
              extra=({"correction": 1},), **_SUMS),
    reduction("std", variance(np.std), result="float", differentiable=True,
              extra=({"correction": 1},), **_SUMS),
    reduction("max", np.max, empty=False, differentiable=True, errors=(_NONEMPTY,)),
    reduction("min", np.min, empty=False, differentiable=True, errors=(_NONEMPTY,)),
    reduction("argmax", np.argmax, empty=False, several=False, result=N,
              errors=(_NONEMPTY, _ONE_AXIS)),
    reduction("argmin", np.argmin, empty=False, several=False, result=N,
              errors=(_NONEMPTY, _ONE_AXIS)),
    reduction("any", np.any, result="bool"),
    reduction("all", np.all, result="bool"),
    reduction("logsumexp", logsumexp, result="float", differentiable=True, **_SUMS),
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

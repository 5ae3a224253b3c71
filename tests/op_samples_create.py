"""Rows of ops that make tensors, at random or not, convert or change them."""

import numpy as np
from op_families import LARGE, F, N, shaping, source
from op_references import below, normal32, threefry, unit32, unit64, words64
from op_rows import ALL, FLOATS, Error, Op, call, draw, near, ulp

import tensorlib as tl


# ---- random numbers ------------------------------------------------------------
def _seeded(function):
    def drawn(*args, **kwargs):
        return function(*args, **kwargs, generator=tl.Generator(5))

    return drawn


def _seeded_rand(*shape, dtype="float32"):
    return (unit32 if dtype == "float32" else unit64)(5, shape)


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
           lambda a, b, s: a + unit32(5, s) * (b - a), [((0.0, 2.0, (LARGE,)), {})],
           tolerance=near(2e-7, 1e-15), reason="one product and one sum",
           errors=(Error(lambda: (2.0, 1.0), ValueError, "low <= high"),
                   Error(lambda: (0.0, float("nan")), ValueError, "uniform"))),
    random("randn", [((1001,), {}), ((2, 2), {}), ((3,), {})],
           lambda *s: normal32(5, s), [_BIG, ((LARGE,), {"dtype": F})],
           tolerance=near(2e-6, 1e-14), reason="log, sqrt and cos of 24-bit numbers"),
    random("normal", [((3.0, 2.0, (1001,)), {})],
           lambda m, d, s: m + d * normal32(5, s), [((0.0, 2.0, (LARGE,)), {})],
           tolerance=near(5e-6, 1e-14), reason="as randn, scaled",
           errors=(Error(lambda: (0.0, -1.0), ValueError, "std >= 0"),)),
    random("randint", [((10, None, (99,)), {}), ((-5, 5, (99,)), {}),
                       ((0, 256, (99,)), {"dtype": "uint8"})],
           lambda a, b, s, dtype=N: below(words64(5, s[0]), b - a if b is not None else a)
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

"""Rows of ops on other ops: rearrangement, contraction, cumulation, comparison."""

import numpy as np
from op_families import N, shaping
from op_rows import ALL, FLOATS, NUMERIC, Error, Op, call, draw, near

import tensorlib as tl

_TRIANGLES = [
    ((3, 3), (), {}), ((2, 4), (), {"k": 1}), ((2, 4, 3), (), {"k": -1}),
    ((2, 3), (), {"k": 9}), ((2, 3), (), {"k": -9}), ((0, 3), (), {}),
]  # fmt: skip
_VECTOR = Error(lambda: (tl.ones(3),), tl.ShapeError, "at least 2 dimensions")


def _repeat(x, repeats, axis=None):
    return np.repeat(x, repeats, axis=axis)


def _repeat_calls(dtype, rng):
    several = np.array([2, 0, 1, 0, 3])
    return [
        call(draw((2, 3), dtype, rng), 2),
        call(draw((2, 3), dtype, rng), 3, axis=0),
        call(draw((2, 5), dtype, rng), several, axis=1),
        call(draw((5,), dtype, rng), several),
        call(draw((5,), dtype, rng), np.zeros(5, np.int64)),
        call(draw((0, 2), dtype, rng), 2, axis=-1),
        call(draw((3,), dtype, rng), np.array([2])),
    ]


def _several(shapes):
    return lambda dtype, rng: [
        call(*[draw(s, dtype, rng) for s in group], **k) for group, k in shapes
    ]


MANIPULATION = [
    shaping("tril", _TRIANGLES, np.tril, errors=(_VECTOR,)),
    shaping("triu", _TRIANGLES, np.triu, errors=(_VECTOR,)),
    shaping("diagonal", [((3, 3), (), {}), ((2, 4), (1,), {}), ((4, 2, 3), (-1, 0, 2), {}),
                         ((2, 3), (5,), {}), ((2, 3), (-5,), {}), ((3, 2, 2), (0, -1, -2), {})],
            np.diagonal,
            errors=(Error(lambda: (tl.ones((2, 2)), 0, 1, 1), tl.ShapeError, "twice"),
                    Error(lambda: (tl.ones(2),), tl.ShapeError, "axis"))),
    shaping("diag", [((3,), (), {}), ((2,), (2,), {}), ((2,), (-1,), {}), ((2, 3), (), {}),
                     ((3, 2), (-1,), {}), ((0,), (), {})], np.diag,
            errors=(Error(lambda: (tl.tensor(1.0),), tl.ShapeError, "1 or 2"),)),
    shaping("moveaxis", [((2, 3, 4), (0, -1), {}), ((2, 3, 4), ((0, 1), (-1, 0)), {}),
                         ((2,), (0, 0), {})], np.moveaxis,
            errors=(Error(lambda: (tl.ones((2, 3)), 2, 0), tl.ShapeError, "axis"),
                    Error(lambda: (tl.ones((2, 3)), (0, 1), 0), tl.ShapeError, "as many"))),
    shaping("roll", [((5,), (2,), {}), ((2, 3), (-1,), {}), ((2, 3), (4,), {"axis": 1}),
                     ((2, 3), ((1, 2),), {"axis": (0, 1)}), ((0, 2), (1,), {"axis": 0}),
                     ((2, 3), (1,), {"axis": (0, 1)}), ((), (1,), {})],
            np.roll,
            errors=(Error(lambda: (tl.ones(3), (1, 2)), tl.ShapeError, "one shift"),
                    Error(lambda: (tl.ones(3), 0.5), TypeError, "ints as shift"))),
    shaping("tile", [((2,), (2,), {}), ((2,), ((2, 1, 3),), {}), ((2, 3), ((2,),), {}),
                     ((), ((2, 2),), {}), ((2, 3), ((0, 1),), {}), ((2, 1), ((1, 1),), {}),
                     ((1,) * 9, ((2,) * 9,), {})],
            np.tile,
            errors=(Error(lambda: (tl.ones(3), -1), tl.ShapeError, "repetitions >= 0"),)),
    Op("repeat", tl.repeat, _repeat, _repeat_calls, dtypes=ALL, differentiable=True,
       errors=(Error(lambda: (tl.ones(3), -1), tl.ShapeError, "repeats >= 0"),
               Error(lambda: (tl.ones(3), tl.tensor([1, -1, 1])), tl.ShapeError, ">= 0"),
               Error(lambda: (tl.ones(3), tl.tensor([1, 1])), tl.ShapeError, "one repeat"),
               Error(lambda: (tl.ones(3), tl.ones(3)), tl.DTypeError, "integer"))),
    Op("broadcast_arrays", tl.broadcast_arrays, np.broadcast_arrays,
       _several([([(3,), (2, 1)], {}), ([(), (2,)], {}), ([(0,), (1,)], {})]),
       dtypes=ALL, differentiable=True,
       errors=(Error(lambda: (tl.ones(2), tl.ones(3)), tl.ShapeError, "do not broadcast"),)),
    Op("meshgrid", tl.meshgrid, np.meshgrid,
       _several([([(3,), (2,)], {}), ([(3,), (2,), (4,)], {"indexing": "ij"}),
                            ([(2,)], {}), ([(0,), (2,)], {})]),
       dtypes=ALL, differentiable=True,
       errors=(Error(lambda: (tl.ones((2, 2)),), tl.ShapeError, "one dimension"),)),
    shaping("diff", [((5,), (), {}), ((2, 5), (), {"n": 2}), ((3, 2), (), {"axis": 0}),
                     ((3,), (), {"n": 5}), ((3,), (), {"n": 0}), ((2, 0), (), {})],
            lambda x, n=1, axis=-1: np.diff(x, n=n, axis=axis), dtypes=NUMERIC,
            tolerance=near(1e-6, 1e-15), reason="float32 differences of differences",
            errors=(Error(lambda: (tl.tensor(1),), tl.ShapeError, "axis"),)),
    Op("masked_fill", tl.masked_fill, lambda x, m, v: np.where(m, np.asarray(v, x.dtype), x),
       lambda d, r: [call(draw((2, 3), d, r), draw((3,), "bool", r), True),
                     call(draw((4,), d, r), draw((2, 4), "bool", r), draw((), d, r))],
       dtypes=ALL, differentiable=True,
       errors=(Error(lambda: (tl.tensor([1]), tl.tensor([True]), 0.5), tl.DTypeError, "stored"),
               Error(lambda: (tl.ones(2), tl.ones(2), 0), tl.DTypeError, "bool mask"))),
    Op("kron", tl.kron, np.kron,
       _several([([(2,), (3,)], {}), ([(2, 3), (3, 2)], {}), ([(2,), (2, 3)], {}),
                        ([(), (2,)], {}), ([(0,), (2,)], {})]),
       dtypes=NUMERIC, differentiable=True, tolerance=near(1e-6, 0), reason="one product",
       errors=(Error(lambda: (tl.ones((1,) * 17), 1), tl.ShapeError, "16 dimensions"),)),
]  # fmt: skip


def _einsum_calls(dtype, rng):
    found = [
        ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ii->i", (3, 3)),
        ("ii", (3, 3)), ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("i,j->ij", (2,), (3,)),
        ("...ij,...jk->...ik", (5, 2, 3), (3, 4)), ("i...->...", (3, 2)),
        ("bij,bjk,bkl->bil", (2, 3, 4), (2, 4, 2), (2, 2, 5)),
        ("ij,kj,lj->ikl", (2, 3), (4, 3), (2, 3)), ("iij,jk->ik", (2, 2, 3), (3, 2)),
        ("ab,bc,cd,de->ea", (2, 3), (3, 4), (4, 2), (2, 3)), ("i,i,i->", (4,), (4,), (4,)),
        ("...,...", (2, 3), (3,)), ("ij,jk->ik", (2, 0), (0, 3)), (",i->i", (), (3,)),
        ("...i,...i->...", (2, 1, 3), (4, 3)), ("iiij->j", (2, 2, 2, 3)),
    ]  # fmt: skip
    return [call(s, *[draw(n, dtype, rng) for n in shapes]) for s, *shapes in found]


def _vecdot(a, b, axis=-1):
    a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    return np.sum(a * b, axis=-1, dtype=np.result_type(a, b))


def _trace(x, offset=0):
    return np.trace(x, offset, -2, -1)


CONTRACTIONS = [
    Op("einsum", tl.einsum, np.einsum, _einsum_calls, dtypes=("int64", *FLOATS),
       differentiable=True, tolerance=near(1e-5, 1e-13), reason="sums in another order",
       large=lambda d, r: [call("ij,jk,kl->il", *[draw((99, 99), d, r) for _ in range(3)])],
       errors=(Error(lambda: ("ij", tl.ones(2)), tl.ShapeError, "do not fit"),
               Error(lambda: ("i", tl.ones(2), tl.ones(2)), ValueError, "operands"),
               Error(lambda: ("i,i->i", tl.ones(2), tl.ones(3)), tl.ShapeError, "length"),
               Error(lambda: ("i->ii", tl.ones(2)), ValueError, "output"),
               Error(lambda: ("i->j", tl.ones(2)), ValueError, "output"),
               Error(lambda: ("i!", tl.ones((2, 2))), ValueError, "expected letters"),
               Error(lambda: ("i->i->i", tl.ones(2)), ValueError, "expected letters"),
               Error(lambda: ("......", tl.ones(2)), ValueError, "expected letters"),
               Error(lambda: ("0", tl.ones(2)), ValueError, "expected letters"),
               Error(lambda: (3, tl.ones(2)), TypeError, "str"))),
    Op("tensordot", tl.tensordot, np.tensordot,
       _several([([(2, 3), (3, 4)], {"axes": 1}), ([(2, 3), (2, 3)], {}),
                             ([(2,), (3,)], {"axes": 0}), ([(2, 0), (0, 3)], {"axes": 1}),
                             ([(2, 3, 4), (4, 2)], {"axes": ((0, 2), (1, 0))}),
                             ([(2, 3), (4, 3)], {"axes": ((-1,), (1,))})]),
       dtypes=("int64", *FLOATS), differentiable=True, tolerance=near(1e-5, 1e-13),
       reason="sums in another order",
       errors=(Error(lambda: (tl.ones((2, 3)), tl.ones((3, 2))), tl.ShapeError, "match"),
               Error(lambda: (tl.ones((2, 3)), tl.ones(3)), tl.ShapeError, "axes in"))),
    Op("vecdot", tl.vecdot, _vecdot,
       _several([([(3,), (3,)], {}), ([(2, 3), (3,)], {}),
                          ([(3, 2), (3, 2)], {"axis": 0}), ([(0,), (0,)], {})]),
       dtypes=NUMERIC, differentiable=True, tolerance=near(1e-5, 1e-13),
       reason="sums in another order",
       errors=(Error(lambda: (tl.ones(2), tl.ones(3)), tl.ShapeError, "one length"),)),
    Op("outer", tl.outer, np.outer, _several([([(2,), (3,)], {}), ([(0,), (2,)], {})]),
       dtypes=NUMERIC, differentiable=True, tolerance=near(1e-6, 0), reason="one product",
       errors=(Error(lambda: (tl.ones((2, 2)), tl.ones(2)), tl.ShapeError, "one dimension"),)),
    shaping("trace", [((3, 3), (), {}), ((2, 4), (), {"offset": 1}), ((2, 3, 3), (), {}),
                      ((2, 2), (), {"offset": 5})],
            _trace, dtypes=NUMERIC, result="sum", tolerance=near(1e-6, 1e-14),
            reason="a sum", errors=(_VECTOR,)),
]  # fmt: skip


def _scanned(function, initial):
    def reference(x, axis=0, include_initial=False):
        made = function(x, axis=axis)
        if include_initial:
            shape = (*made.shape[:axis], 1, *made.shape[axis:][1:])
            made = np.concatenate([np.full(shape, initial, made.dtype), made], axis)
        return made

    return reference


_SCANS = [
    ((5,), (), {}), ((2, 3), (), {"axis": 1}), ((4, 2), (), {"axis": 0}), ((0,), (), {}),
    ((3,), (), {"include_initial": True}), ((2, 3), (), {"axis": 1, "include_initial": True}),
    ((0, 2), (), {"axis": 0, "include_initial": True}), ((9,), (), {}),
]  # fmt: skip
_SCAN_ERRORS = (
    Error(lambda: (tl.ones((2, 2)),), tl.ShapeError, "expected an axis"),
    Error(lambda: (tl.tensor(1.0),), tl.ShapeError, "expected an axis"),
)


def _isclose_calls(dtype, rng):
    x = draw((2, 5), dtype, rng)
    found = [
        call(x, x[:1]),
        call(x, x.copy(), equal_nan=True),
        call(x, x, rtol=0, atol=0),
    ]
    if dtype in FLOATS:
        y = np.array([0, 1, np.inf, -np.inf, np.nan], dtype)
        found += [call(y, y[:, None]), call(y, y, equal_nan=True),
                  call(x, (x + 1e-3).astype(dtype), atol=1e-2)]  # fmt: skip
    return found


SEARCHING = [
    shaping("count_nonzero", [((5,), (), {}), ((2, 3), (), {"axis": 0}), ((0,), (), {}),
                              ((2, 3), (), {"axis": (0, 1), "keepdims": True}), ((), (), {})],
            np.count_nonzero, differentiable=False, result=N,
            errors=(Error(lambda: ("a",), (TypeError, tl.DTypeError), "count_nonzero"),)),
    Op("isclose", tl.isclose, np.isclose, _isclose_calls, dtypes=NUMERIC, result="bool",
       errors=(Error(lambda: (tl.ones(2), tl.ones(3)), tl.ShapeError, "broadcast"),)),
    shaping("cumulative_sum", _SCANS, _scanned(np.cumsum, 0), dtypes=NUMERIC, result="sum",
            tolerance=near(1e-6, 1e-14), reason="a running sum", errors=_SCAN_ERRORS),
    shaping("cumulative_prod", _SCANS, _scanned(np.cumprod, 1), dtypes=NUMERIC, result="sum",
            tolerance={"float32": (2e-6, 1e-30), "float64": (4e-15, 1e-200)},
            reason="products in another order", errors=_SCAN_ERRORS,
            large=lambda d, r: [call(draw((449, 451), d, r, 0.9, 1.1), axis=k) for k in (0, 1)]
            + [call(draw((200_003,), d, r, 0.999, 1.001))]),
]  # fmt: skip


def _written(add):
    def reference(x, *args, axis=-1):
        *first, indices, values = args
        axis = first[0] if first else axis
        out = x.copy()
        for at in np.ndindex(indices.shape):
            place = list(at)
            place[axis] = indices[at]
            out[tuple(place)] = (out[tuple(place)] if add else 0) + values[at]
        return out

    return reference


def _gathered(x, axis, index):
    out = np.empty(index.shape, x.dtype)
    for at in np.ndindex(index.shape):
        place = list(at)
        place[axis] = index[at]
        out[at] = x[tuple(place)]
    return out


def _gather_calls(dtype, rng):
    found = [((5,), 0, (3,)), ((2, 3), 1, (2, 4)), ((3, 4, 2), 1, (2, 5, 1)),
             ((3, 4), -2, (2, 4)), ((4,), 0, (0,)), ((0, 2), 1, (0, 3))]  # fmt: skip
    return [call(draw(shape, dtype, rng), axis,
                 rng.integers(-shape[axis], shape[axis], wanted))
            for shape, axis, wanted in found]  # fmt: skip


def _index_added(x, axis, index, source, alpha=1):
    out = np.moveaxis(x.copy(), axis, 0)
    np.add.at(out, index, (np.moveaxis(source, axis, 0) * alpha).astype(x.dtype))
    return np.moveaxis(out, 0, axis)


def _put(x, indices, values, accumulate=False):
    out = x.copy().reshape(-1)
    if accumulate:
        np.add.at(out, indices.reshape(-1), values.reshape(-1))
    else:
        out[indices.reshape(-1)] = values.reshape(-1)
    return out.reshape(x.shape)


def _scatter_calls(dtype, rng):
    found = [((5,), [3, 0, -1], -1), ((2, 3), [[0, 0], [2, 1]], 1), ((4,), [], 0),
             ((2, 3), [[1, 0, -1], [0, 0, 1], [1, 1, 1]], 0)]  # fmt: skip
    calls = []
    for shape, places, axis in found:
        i = np.array(places, np.int64)
        calls.append(
            call(draw(shape, dtype, rng), i, draw(i.shape, dtype, rng), axis=axis)
        )
    for shape, axis, places, src in [((3, 4), 1, (2, 2), (2, 3)),
                                     ((3, 4), 0, (5, 3), (5, 4)),
                                     ((3, 2, 3), 2, (1, 2, 1), (2, 2, 2))]:  # fmt: skip
        i = rng.permuted(np.indices(places)[axis] % shape[axis], axis=axis)
        calls.append(call(draw(shape, dtype, rng), axis, i, draw(src, dtype, rng)))
    return calls


_THREE = lambda *more: lambda: (tl.ones(3), tl.tensor([3]), tl.ones(1), *more)  # noqa: E731
_WRITE_ERRORS = (
    Error(_THREE(), IndexError, r"index 3 is out of range for axis 0"),
    Error(
        lambda: (tl.ones(3), tl.ones(1), tl.ones(1)), tl.DTypeError, "integer indices"
    ),
    Error(
        lambda: (tl.ones(3), tl.tensor([1, 0]), tl.ones(1)), tl.ShapeError, "src|shape"
    ),
    Error(
        lambda: (tl.tensor([3]), tl.tensor([0]), tl.ones(1)), tl.DTypeError, "stored"
    ),
)
_SUMS = {"tolerance": near(1e-6, 1e-15), "reason": "sums in float32"}
SCATTERING = [
    Op("gather", tl.gather, _gathered, _gather_calls, dtypes=ALL, differentiable=True,
       errors=(Error(lambda: (tl.ones(3), 0, tl.tensor([3])), IndexError,
                     "gather: index 3 is out of range for axis 0 of size 3"),
               Error(lambda: (tl.ones(3), 0, tl.ones(1)), tl.DTypeError, "integer"),
               Error(lambda: (tl.ones((2, 2)), 0, tl.zeros((1, 3), dtype=tl.int64)),
                     tl.ShapeError, "no longer than x but along axis 0"),
               Error(lambda: (tl.ones(3), 0), TypeError, "expected index once"))),
    Op("index_select", tl.index_select, lambda x, axis, i: np.take(x, np.atleast_1d(i), axis),
       lambda d, r: [call(draw((5,), d, r), 0, np.array([4, 0, -1])),
                     call(draw((3, 4), d, r), 1, np.array([2, 2, 0])),
                     call(draw((3, 4), d, r), -2, np.array([], np.int64)),
                     call(draw((3,), d, r), 0, np.array(2))],
       dtypes=ALL, differentiable=True,
       errors=(Error(lambda: (tl.ones(3), 0, tl.tensor([3])), IndexError,
                     "index_select: index 3 is out of range for axis 0 of size 3"),
               Error(lambda: (tl.ones(3), 0, tl.ones(1)), tl.DTypeError, "integer"),
               Error(lambda: (tl.ones(3), tl.tensor([0])), TypeError, "axis"),
               Error(lambda: (tl.ones(3), 0, tl.tensor([[0]])), tl.ShapeError, "one dim"))),
    Op("scatter", tl.scatter, _written(False), _scatter_calls, dtypes=NUMERIC,
       differentiable=True, errors=_WRITE_ERRORS),
    Op("scatter_add", tl.scatter_add, _written(True), _scatter_calls, dtypes=NUMERIC,
       differentiable=True, errors=_WRITE_ERRORS, **_SUMS,
       large=lambda d, r: [call(draw((300, 401), d, r), r.integers(0, 401, (300, 401)),
                                draw((300, 401), d, r))]),
    Op("index_add", tl.index_add, _index_added,
       lambda d, r: [call(draw((3, 4), d, r), 0, np.array([2, 0, 2]), draw((3, 4), d, r)),
                     call(draw((3, 4), d, r), 1, np.array([-1]), draw((3, 1), d, r), alpha=2)],
       dtypes=NUMERIC, differentiable=True, **_SUMS,
       errors=(Error(lambda: (tl.ones(3), None, None), TypeError, "index_add|axis"),)),
    Op("put", tl.put, _put,
       lambda d, r: [call(draw((2, 3), d, r), np.array([5, 0, -2]), draw((3,), d, r)),
                     call(draw((2, 3), d, r), np.array([[1, 1], [0, 1]]), draw((2, 2), d, r),
                          accumulate=True)],
       dtypes=NUMERIC, differentiable=True, errors=_WRITE_ERRORS, **_SUMS),
]  # fmt: skip

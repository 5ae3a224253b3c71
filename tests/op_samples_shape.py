"""Rows of ops on shapes, and of indexing."""

import numpy as np
from op_families import N, shaping
from op_rows import ALL, Error, Op, call, draw

import tensorlib as tl

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


def index(*values):
    return np.array(values, dtype=np.int64)


# ---- indexing ------------------------------------------------------------------
_KEYS = [
    ((5,), slice(None, None, -2)), ((4, 5), (slice(1, 3), 2)), ((4, 5), (..., None, -1)),
    ((4, 5), (None, slice(3, 0, -1))), ((), ()), ((), (...,)), ((0, 3), slice(0, 0)),
    ((4, 5), (index(3, 0, -1),)), ((4, 5), (index(0, 1), index(2, 3))),
    ((4, 5, 2), (slice(None), index(1, 1), 0)), ((4, 5, 2), (index(1, 2), slice(1, 3), 1)),
    ((3, 4), (index(2, 0).reshape(2, 1), index(1, 3, 2))),
    ((2, 3), (np.array([[True, False, True], [False, True, False]]),)),
    ((4, 5), (slice(None), np.array([True, False, False, True, True]))),
    ((4, 5), (index(), )),
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
        call(draw((2, 3), dtype, rng), index(2, 0, 0, -1).reshape(2, 2), axis=1),
        call(draw((2, 3), dtype, rng), index(1, 0, 1).reshape(1, 3), axis=0),
        call(draw((4,), dtype, rng), index(3, 3, 0)),
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
       lambda d, r: [call(draw((5,), d, r), index(4, 0, -1)),
                     call(draw((3, 4), d, r), index(2, 0, 0, 1).reshape(2, 2), axis=1),
                     call(draw((3, 4), d, r), index(), axis=0),
                     call(draw((3,), d, r), np.array(2))],
       dtypes=ALL, differentiable=True,
       large=lambda d, r: [call(draw((449, 451), d, r), r.integers(0, 449, 2000), axis=0)],
       errors=(_OUT_OF_RANGE, _FLOAT_INDEX,
               Error(lambda: (tl.ones((2, 2)), tl.tensor([0])), tl.ShapeError, "axis"))),
    Op("take_along_axis", tl.take_along_axis,
       lambda x, i, axis=-1: np.take_along_axis(x, i, axis=axis), _along, dtypes=ALL,
       differentiable=True, large=_along_large,
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

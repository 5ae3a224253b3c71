"""Rows of families: the shapes, errors and large calls that their ops share."""

import numpy as np
from op_rows import ALL, BOOL, INTEGERS, NUMERIC, Error, Op, call, draw

import tensorlib as tl

F, N = "float64", "int64"
UNARY_SHAPES = [(), (0,), (3,), (2, 3), (4, 1, 3), (2, 0, 3), (130,), (33, 70)]
PAIRS = [
    ((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 4)), ((0, 3), (1,)),
    ((2, 3), ()), ((), (4,)), ((131,), (131,)), ((3, 1, 5), (2, 1)),
]  # fmt: skip
LARGE = 200_003  # several pieces at every kernel's grain, and not a round number


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

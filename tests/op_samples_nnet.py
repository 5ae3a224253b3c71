"""Rows of matrix products, neural networks and optimizers."""

import numpy as np
from op_families import LARGE, N, unary
from op_references import (
    cross_entropy,
    ctc_loss,
    layer_norm,
    log_softmax,
    softmax,
    threefry,
)
from op_rows import ALL, FLOATS, INTEGERS, NUMERIC, Error, Op, call, draw, near, ulp

import tensorlib as tl
from tensorlib.ops.fused_optim import optimizer_step

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


def _ctc_calls(dtype, rng):
    x = log_softmax(draw((5, 3, 4), "float64", rng), -1).astype(dtype)
    y = np.array([[1, 2, 2], [3, 3, 0], [2, 9, 9]])
    steps, counts = [5, 4, 3], [3, 2, 1]
    flat = np.array([1, 2, 2, 3, 3, 2])
    ways = [{}, {"reduction": "sum"}, {"reduction": "none"}]
    found = [call(x, y, steps, counts, **k) for k in ways]
    found.append(call(x, flat, steps, counts))
    found.append(call(x[:, 0].copy(), np.array([1, 2]), 5, 2))
    other = np.array([[1, 2, 2], [0, 2, 0], [2, 9, 9]])
    found.append(call(x, other, steps, [0, 2, 0], blank=3))
    return [*found, call(x, y, [5, 2, 3], counts, reduction="none", zero_infinity=True)]


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
    _along_axis("softmax", softmax),
    _along_axis("log_softmax", log_softmax),
    _along_axis("softmin", lambda x, axis=-1: softmax(-np.asarray(x, float), axis)),
    Op("cross_entropy", tl.cross_entropy, cross_entropy, _entropy_calls,
       differentiable=True, tolerance=near(2e-6, 1e-14), reason="exp, sums, log",
       large=lambda d, r: [call(draw((2048, 101), d, r), r.integers(0, 101, 2048), **k)
                           for k in ({}, {"label_smoothing": 0.1}, {"reduction": "sum"})],
       errors=(Error(lambda: (tl.ones((2, 3)), tl.tensor([0, 3])), IndexError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.tensor([0, -1])), IndexError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.tensor([0])), tl.ShapeError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.ones(2)), tl.DTypeError, "integer"))),
    Op("ctc_loss", tl.ctc_loss, ctc_loss, _ctc_calls, differentiable=True,
       tolerance=near(5e-6, 2e-14), reason="sums over paths in logarithms",
       large=lambda d, r: [call(-draw((40, 20, 30), d, r, 1, 4), r.integers(1, 30, (20, 9)),
                                [40, 31] * 10, [9, 4] * 10)],
       errors=(Error(lambda: (tl.ones((4, 1, 3)), tl.tensor([[3]]), [4], [1]), IndexError,
                     "label 3 of sequence 0"),
               Error(lambda: (tl.ones((4, 1, 3)), tl.tensor([[1]]), [5], [1]), ValueError,
                     "input_lengths"),
               Error(lambda: (tl.ones((4, 1, 3)), tl.tensor([[1]]), [4], [2]), ValueError,
                     "target_lengths"),
               Error(lambda: (tl.ones((4, 1, 3)), tl.tensor([[1]]), [4, 4], [1]),
                     tl.ShapeError, "input_lengths"),
               Error(lambda: (tl.ones((4, 2, 3)), tl.tensor([1, 2]), [4, 4], [1, 2]),
                     (tl.ShapeError, ValueError), "targets"),
               Error(lambda: (tl.ones(3), tl.tensor([1]), 1, 1), tl.ShapeError,
                     "log_probs"),
               Error(lambda: (tl.ones((4, 1, 3)), tl.ones((1, 1)), [4], [1]),
                     tl.DTypeError, "integers"),
               Error(lambda: (tl.ones((4, 1, 3)), tl.tensor([[1]]), [4], [1], 3),
                     IndexError, "blank"))),
    Op("layer_norm", tl.layer_norm, layer_norm, _norm_calls, differentiable=True,
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
def _stepped(p, g, *states, rule, settings):
    optimizer_step(rule, [p], [g], [[s] for s in states], settings)
    return p, *states


def _reference(p, g, *states, rule, settings):
    sign, l2, shrink, *rest = settings
    p = p * shrink
    return _RULES[rule](p, sign * g + l2 * p, *states, *rest)


def _sgd(p, d, lr):
    return (p - lr * d,)


def _sgd_momentum(p, d, v, lr, momentum, keep, scale, nesterov):
    v = momentum * v + keep * d
    return p - lr * (d + momentum * v * scale if nesterov else v * scale), v


def _adam(p, d, m, v, step, new1, beta2, new2, correction, eps):
    m, v = m + new1 * (d - m), beta2 * v + new2 * d * d
    return p - step * m / (np.sqrt(v) * correction + eps), m, v


def _amsgrad(p, d, m, v, most, step, new1, beta2, new2, correction, eps):
    _, m, v = _adam(p, d, m, v, step, new1, beta2, new2, correction, eps)
    most = np.maximum(most, v)
    return p - step * m / (np.sqrt(most) * correction + eps), m, v, most


def _lion(p, d, m, lr, beta1, new1, beta2, new2):
    return p - lr * np.sign(beta1 * m + new1 * d), beta2 * m + new2 * d


def _rprop(p, d, last, step, shrinking, growing, least, most):
    turn = np.sign(d * last)
    step = np.clip(step * np.choose(turn.astype(int) + 1, [shrinking, 1, growing]),
                   least, most)  # fmt: skip
    d = np.where(turn < 0, 0, d)
    return p - step * np.sign(d), d, step


# Every rule is compared with PyTorch in test_optim_rules; here are those of each kind.
_RULES = {
    "sgd": _sgd, "sgd_momentum": _sgd_momentum, "adam": _adam, "adam_amsgrad": _amsgrad,
    "lion": _lion, "rprop": _rprop,
}  # fmt: skip
_COMMON = (1.0, 0.01, 1.0), (-1.0, 0.0, 0.99)
_WAYS = {
    "sgd": (0, [(0.1,)]),
    "sgd_momentum": (1, [(0.1, 0.9, 1.0, 1.0, 0.0), (0.1, 0.9, 0.5, 2.0, 1.0)]),
    "adam": (2, [(0.1, 0.1, 0.99, 0.01, 5.0, 1e-8)]),
    "adam_amsgrad": (3, [(0.1, 0.1, 0.99, 0.01, 5.0, 1e-8)]),
    "lion": (1, [(0.1, 0.9, 0.1, 0.99, 0.01)]),
    "rprop": (2, [(0.5, 1.2, 1e-6, 50.0)]),
}


def _steps(shapes):
    def calls(dtype, rng):
        return [
            call(*[draw(shape, dtype, rng, 0.1, 2.0) for _ in range(count + 2)],
                 rule=rule, settings=(*common, *settings))
            for shape in shapes
            for rule, (count, ways) in _WAYS.items()
            for common in _COMMON for settings in ways
        ]  # fmt: skip

    return calls


OPTIMIZERS = [
    Op("optimizer_step", _stepped, _reference, _steps([(7,), (3, 4), (0,), ()]),
       tolerance=near(5e-6, 1e-13), reason="a root, a division, a few products",
       large=_steps([(LARGE,)]), writes=True),
]  # fmt: skip

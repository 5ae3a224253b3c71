"""Rows of matrix products, neural networks and optimizers."""

import numpy as np
from op_families import LARGE, N, unary
from op_references import (
    cross_entropy,
    layer_norm,
    log_softmax,
    softmax,
    threefry,
)
from op_rows import ALL, FLOATS, INTEGERS, NUMERIC, Error, Op, call, draw, near, ulp

import tensorlib as tl
from tensorlib.ops.fused_optim import adam_step, sgd_step

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
    _along_axis("softmax", softmax),
    _along_axis("log_softmax", log_softmax),
    Op("cross_entropy", tl.cross_entropy, cross_entropy, _entropy_calls,
       differentiable=True, tolerance=near(2e-6, 1e-14), reason="exp, sums, log",
       large=lambda d, r: [call(draw((2048, 101), d, r), r.integers(0, 101, 2048), **k)
                           for k in ({}, {"label_smoothing": 0.1}, {"reduction": "sum"})],
       errors=(Error(lambda: (tl.ones((2, 3)), tl.tensor([0, 3])), IndexError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.tensor([0, -1])), IndexError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.tensor([0])), tl.ShapeError, "target"),
               Error(lambda: (tl.ones((2, 3)), tl.ones(2)), tl.DTypeError, "integer"))),
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

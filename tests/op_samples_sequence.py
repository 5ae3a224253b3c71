"""Rows of ops over sequences: recurrent layers and attention."""

import numpy as np
from op_rows import FLOATS, Error, Op, call, draw, near

import tensorlib as tl


# ---- recurrent layers ----------------------------------------------------------
def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _steps(x, states, step, reverse, lengths):
    """The loop over time that defines every layer; step maps (x_t, states)."""
    steps, batch = x.shape[:2]
    outputs = [None] * steps
    for t in range(steps)[::-1] if reverse else range(steps):
        after = step(x[t], states)
        live = np.ones(batch, bool) if lengths is None else t < lengths
        states = [
            np.where(live[:, None], new, old)
            for new, old in zip(after, states, strict=True)
        ]
        outputs[t] = states[0]
    return (np.stack(outputs), *states)


def _state(given, x, size):
    return np.zeros((x.shape[1], size)) if given is None else given


def rnn(x, h0, w_ih, w_hh, b_ih=0, b_hh=0, nonlinearity="tanh", reverse=False,
        lengths=None):  # fmt: skip
    def step(x, states):
        a = x @ w_ih.T + b_ih + states[0] @ w_hh.T + b_hh
        return [np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)]

    return _steps(x, [_state(h0, x, w_hh.shape[1])], step, reverse, lengths)


def lstm(x, h0, c0, w_ih, w_hh, b_ih=0, b_hh=0, w_hr=None, reverse=False, lengths=None):
    def step(x, states):
        h, c = states
        i, f, g, o = np.split(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        return [h if w_hr is None else h @ w_hr.T, c]

    states = [_state(h0, x, w_hh.shape[1]), _state(c0, x, w_hh.shape[0] // 4)]
    return _steps(x, states, step, reverse, lengths)


def gru(x, h0, w_ih, w_hh, b_ih=0, b_hh=0, reverse=False, lengths=None):
    def step(x, states):
        r, z, n = np.split(x @ w_ih.T + b_ih, 3, axis=1)
        hr, hz, hn = np.split(states[0] @ w_hh.T + b_hh, 3, axis=1)
        z = _sigmoid(z + hz)
        n = np.tanh(n + _sigmoid(r + hr) * hn)
        return [(1 - z) * n + z * states[0]]

    return _steps(x, [_state(h0, x, w_hh.shape[1])], step, reverse, lengths)


def _layer_calls(gates, states, how=()):
    def calls(dtype, rng):
        def sample(t, n, f, h, bias=True, given=True, p=None, **kwargs):
            shapes = [(n, p or h), (n, h)][:states]
            held = [draw(s, dtype, rng) if given else None for s in shapes]
            rest = [(gates * h, f), (gates * h, p or h)] + [(gates * h,)] * (2 * bias)
            weights = [draw(s, dtype, rng, -0.7, 0.7) for s in rest]
            if p:
                kwargs["w_hr"] = draw((p, h), dtype, rng, -0.7, 0.7)
            return call(draw((t, n, f), dtype, rng), *held, *weights, **kwargs)

        found = [
            sample(3, 2, 2, 2), sample(1, 1, 1, 1), sample(4, 2, 3, 2, reverse=True),
            sample(3, 2, 2, 2, bias=False), sample(2, 3, 1, 2, given=False),
            sample(3, 2, 2, 2, lengths=np.array([1, 3])), sample(2, 0, 2, 2),
            sample(5, 17, 9, 21), *[sample(3, 2, 2, 2, **k) for k in how],
        ]  # fmt: skip
        if states == 2:
            found += [sample(3, 2, 2, 3, p=2), sample(3, 2, 2, 3, p=1, reverse=True)]
        return found

    return calls


def _layer_large(gates, states):
    def large(dtype, rng):
        t, n, f, h = 3, 70, 40, 130
        held = [draw((n, h), dtype, rng)] * states
        rest = [(gates * h, f), (gates * h, h), (gates * h,), (gates * h,)]
        weights = [draw(s, dtype, rng, -0.2, 0.2) for s in rest]
        return [call(draw((t, n, f), dtype, rng), *held, *weights)]

    return large


def _layer_errors(op, gates):
    def given(x=(3, 2, 4), h0=(2, 2), w_ih=None, w_hh=None, bias=None):
        states = [tl.ones(h0)] * (2 if op is tl.lstm else 1)
        weights = [tl.ones(w_ih or (2 * gates, 4)), tl.ones(w_hh or (2 * gates, 2))]
        return (tl.ones(x), *states, *weights, *([tl.ones(bias)] if bias else []))

    return (
        Error(lambda: given(x=(3, 4)), tl.ShapeError, r"\(steps, batch, features\)"),
        Error(lambda: given(x=(0, 2, 4)), tl.ShapeError, "at least one time step"),
        Error(lambda: given(h0=(3, 2)), tl.ShapeError, "h0"),
        Error(lambda: given(w_ih=(2 * gates, 3)), tl.ShapeError, "w_ih"),
        Error(lambda: given(w_hh=(2 * gates, 3)), tl.ShapeError, "w_hh"),
        Error(lambda: given(w_hh=(0, 0)), tl.ShapeError, "w_hh"),
        Error(lambda: given(bias=(2 * gates + 1,)), tl.ShapeError, "b_ih"),
        Error(lambda: (*given()[:-1], None), TypeError, "w_hh"),
    )


def _layer(name, reference, gates, states, how=()):
    op = getattr(tl, name)
    return Op(
        name, op, reference, _layer_calls(gates, states, how), dtypes=FLOATS,
        differentiable=True, tolerance=near(1e-5, 1e-13),
        reason="sums of up to 21 products, through a few steps",
        large=_layer_large(gates, states), errors=_layer_errors(op, gates),
    )  # fmt: skip


RECURRENT = [
    _layer("rnn", rnn, 1, 1, [{"nonlinearity": "relu"}]),
    _layer("lstm", lstm, 4, 2),
    _layer("gru", gru, 3, 1),
]


# ---- attention -----------------------------------------------------------------
def attention(q, k, v, mask=None, is_causal=False, scale=None, enable_gqa=False):
    """The definition; a row that may see nothing is zeros."""
    if enable_gqa:
        k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], axis=-3) for x in (k, v))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = q @ np.swapaxes(k, -1, -2) * scale
    if mask is not None:
        scores = (
            np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
        )
    if is_causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    if scores.shape[-1] == 0:
        return scores @ v
    top = scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ v


# query, key, value, mask or None, further arguments.
_HEADS = [
    ((3, 2), (4, 2), (4, 3), None, {}),
    ((2, 3, 2), (2, 4, 2), (2, 4, 2), None, {"is_causal": True}),
    ((2, 1, 4, 2), (3, 3, 2), (1, 3, 1), None, {"scale": 0.3}),
    ((2, 2, 3, 2), (2, 2, 3, 2), (2, 2, 3, 2), (3, 3), {}),
    ((2, 3, 2), (2, 3, 2), (2, 3, 2), (2, 1, 3), {}),
    ((2, 4, 3, 2), (2, 2, 3, 2), (2, 2, 3, 2), (2, 4, 3, 3), {"enable_gqa": True}),
    ((4, 3, 2), (2, 3, 2), (2, 3, 2), (1, 1, 3), {"enable_gqa": True}),
    ((0, 3, 2), (0, 3, 2), (0, 3, 2), None, {}),
    ((3, 2), (0, 2), (0, 3), None, {}),
    ((0, 2), (3, 2), (3, 2), None, {}),
    ((2, 0), (3, 0), (3, 2), None, {"scale": 1.0}),
    ((2, 2), (3, 2), (3, 0), None, {}),
    ((70, 5), (131, 5), (131, 3), None, {"is_causal": True}),
]
_MASKS = {
    "float": lambda s, d, r: draw(s, d, r),
    "bool": lambda s, d, r: r.random(s) < 0.6,
}


def _attention_calls(dtype, rng):
    found = []
    for *shapes, mask, how in _HEADS:
        inputs = [draw(s, dtype, rng) for s in shapes]
        if mask is None:
            found.append(call(*inputs, **how))
            continue
        found += [
            call(*inputs, make(mask, dtype, rng), **how) for make in _MASKS.values()
        ]
    return found


def _attention_large(dtype, rng):
    shapes = [((3, 200, 40), (3, 300, 40)), ((2, 9, 150, 24), (2, 9, 150, 24))]
    return [
        call(draw(q, dtype, rng), draw(k, dtype, rng), draw(k, dtype, rng), is_causal=c)
        for q, k in shapes for c in (False, True)
    ]  # fmt: skip


_SDPA = tl.scaled_dot_product_attention
ATTENTION = [
    Op("scaled_dot_product_attention", _SDPA, attention, _attention_calls, dtypes=FLOATS,
       differentiable=True, tolerance=near(5e-6, 1e-14),
       reason="exp, sums of up to 131 terms", large=_attention_large,
       errors=(
           Error(lambda: (tl.ones((3, 2)), tl.ones((3, 3)), tl.ones((3, 2))),
                 tl.ShapeError, r"query \(..., L, E\)"),
           Error(lambda: (tl.ones((3, 2)), tl.ones((4, 2)), tl.ones((3, 2))),
                 tl.ShapeError, r"query \(..., L, E\)"),
           Error(lambda: (tl.ones(2), tl.ones((4, 2)), tl.ones((4, 2))),
                 tl.ShapeError, r"query \(..., L, E\)"),
           Error(lambda: (tl.ones((2, 3, 2)), tl.ones((3, 4, 2)), tl.ones((4, 2))),
                 tl.ShapeError, "leading axes"),
           Error(lambda: (tl.ones((3, 2)), tl.ones((4, 2)), tl.ones((4, 2)),
                          tl.ones((2, 3, 4))), tl.ShapeError, "mask that broadcasts"),
           Error(lambda: (tl.ones((3, 2)), tl.ones((4, 2)), tl.ones((4, 2)),
                          tl.ones((3, 4), dtype=tl.int64)), tl.DTypeError, "mask of bool"),
           Error(lambda: (tl.ones((3, 2)), tl.ones((4, 2)), tl.ones((4, 2)),
                          tl.ones((3, 4)), 0.0, True), ValueError, "got both"),
           Error(lambda: (tl.ones((3, 2)), tl.ones((4, 2)), tl.ones((4, 2)), None, 1.5),
                 ValueError, "dropout_p"))),
]  # fmt: skip

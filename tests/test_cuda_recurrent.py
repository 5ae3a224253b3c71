"""The CUDA kernels of recurrent layers, emulated, against the CPU's layers."""

import numpy as np
import pytest
from cuda_emulation import OK, RecurrentParams, find_compiler, load

import tensorlib as tl

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no g++")

# Errors of some steps, each a sum of some dozen products.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
CELLS = {"tanh": (0, 1), "relu": (1, 1), "lstm": (2, 4), "gru": (3, 3)}
SIZES = [  # steps, sequences, units: in one launch, then a launch a step
    (1, 1, 1), (5, 3, 5), (4, 9, 32), (3, 5, 100), (3, 2, 129), (2, 35, 150),
]  # fmt: skip


@pytest.fixture(scope="module")
def kernels():
    return load("recurrent")


class Layer:
    """The operands of a layer whose input is the input's part of the gates."""

    def __init__(self, cell, sizes, dtype, *, lengths=False, reverse=0, outputs=None):
        rng = np.random.default_rng(7)
        self.cell, self.dtype = cell, dtype
        self.steps, self.batch, self.units = sizes
        self.code, parts = CELLS[cell]
        self.outputs = outputs or self.units
        self.gates = parts * self.units

        def draw(*shape, scale=1.0):
            return (scale * rng.standard_normal(shape)).astype(dtype)

        self.x = draw(self.steps, self.batch, self.gates)
        self.w_hh = draw(self.gates, self.outputs, scale=self.outputs**-0.5)
        self.h0 = draw(self.batch, self.outputs)
        self.c0 = draw(self.batch, self.units) if cell == "lstm" else None
        self.b_hh = draw(self.gates) if cell == "gru" else None
        self.w_hr = None
        if outputs:
            self.w_hr = draw(outputs, self.units, scale=self.units**-0.5)
        self.lengths = None
        if lengths:
            self.lengths = rng.integers(0, self.steps + 1, self.batch)
        self.reverse = reverse
        self.params = RecurrentParams(cell=self.code, reverse=reverse)
        self.g_h = draw(self.steps, self.batch, self.outputs)
        self.g_c = draw(self.batch, self.units) if cell == "lstm" else None

    def run_cpu(self):
        """The results and the gradients of x, h0, c0, w_hh and w_hr."""
        given = [self.x, self.h0, self.c0, self.w_hh, self.b_hh, self.w_hr]
        given = [g if g is None else tl.tensor(g) for g in given]
        for tensor in given:
            if tensor is not None:
                tensor.requires_grad = True
        x, h0, c0, w_hh, b_hh, w_hr = given
        how = {"reverse": bool(self.reverse), "lengths": self.lengths}
        if self.lengths is not None:
            how["lengths"] = tl.tensor(self.lengths)
        eye = tl.tensor(np.eye(self.gates, dtype=self.dtype))
        c_n = None
        if self.cell == "lstm":
            h, _, c_n = tl.lstm(x, h0, c0, eye, w_hh, w_hr=w_hr, **how)
        elif self.cell == "gru":
            h, _ = tl.gru(x, h0, eye, w_hh, b_hh=b_hh, **how)
        else:
            h, _ = tl.rnn(x, h0, eye, w_hh, nonlinearity=self.cell, **how)
        loss = (h * tl.tensor(self.g_h)).sum()
        if c_n is not None:
            loss = loss + (c_n * tl.tensor(self.g_c)).sum()
        loss.backward()
        grads = [t if t is None else t.grad.numpy() for t in (x, h0, c0, w_hh, w_hr)]
        return h.detach().numpy(), c_n if c_n is None else c_n.detach().numpy(), grads

    def run_kernels(self, kernels):
        stored = {"lstm": 5, "gru": 4}.get(self.cell, 1) * self.units
        gates = np.full((self.steps, self.batch, stored), np.nan, self.dtype)
        gates[..., : self.gates] = self.x
        h, c_n = gates, None
        if self.cell in ("lstm", "gru"):
            h = np.full((self.steps, self.batch, self.outputs), np.nan, self.dtype)
        if self.cell == "lstm":
            c_n = np.full((self.batch, self.units), np.nan, self.dtype)
        outs = [h, gates] if c_n is None else [h, gates, c_n]
        operands = [self.w_hh, self.h0, self.c0, self.b_hh, self.w_hr, self.lengths]
        assert kernels.call("recurrent", outs, operands, self.params) == OK
        da = np.full(self.x.shape, np.nan, self.dtype)
        dh, dc = np.full_like(self.h0, np.nan), None
        if c_n is not None:
            dc = np.full_like(self.c0, np.nan)
        db = np.full_like(da, np.nan) if self.cell == "gru" else None
        projected = inner = None
        if self.w_hr is not None:
            projected = np.full(self.g_h.shape, np.nan, self.dtype)
            inner = np.empty((self.steps, self.batch, self.units), self.dtype)
        operands = [
            self.g_h, self.g_c, h, gates, self.w_hh, self.h0, self.c0, self.w_hr,
            self.lengths,
        ]  # fmt: skip
        outs = [da, dh, dc, db, projected, inner]
        assert kernels.call("recurrent_grad", outs, operands, self.params) == OK
        return h, c_n, [da, dh, dc, self.weight_grad(h, da if db is None else db),
                        self.projection_grad(projected, inner)]  # fmt: skip

    def weight_grad(self, h, db):
        order = slice(None, None, -1 if self.reverse else 1)
        before = np.concatenate([self.h0[None], h[order][:-1]])
        return np.einsum("tng,tnp->gp", db[order], before)

    def projection_grad(self, projected, inner):
        if projected is None:
            return None
        return np.einsum("tnp,tnh->ph", projected, inner)


def check(kernels, *args, **settings):
    layer = Layer(*args, **settings)
    found, wanted = layer.run_kernels(kernels), layer.run_cpu()
    pairs = [found[:2], wanted[:2]], [found[2], wanted[2]]
    for one, other in (pair for two in pairs for pair in zip(*two, strict=True)):
        assert (one is None) == (other is None)
        if one is not None:
            scale = max(1.0, np.abs(other).max(initial=0))
            np.testing.assert_allclose(
                one / scale, other / scale, atol=TOLERANCE[layer.dtype], rtol=0
            )


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_equals_the_cpu(kernels, dtype, cell, sizes):
    check(kernels, cell, sizes, dtype)


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("units", [6, 130])
@pytest.mark.parametrize("cell", CELLS)
def test_lengths_and_direction_equal_the_cpu(kernels, cell, units, reverse):
    check(kernels, cell, (5, 6, units), "float64", lengths=True, reverse=reverse)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("sizes", [(4, 5, 7), (3, 35, 70)])
def test_projection_equals_the_cpu(kernels, sizes, lengths):
    check(kernels, "lstm", sizes, "float64", lengths=lengths, outputs=4)
    check(kernels, "lstm", sizes, "float32", lengths=lengths, outputs=sizes[2] + 3)

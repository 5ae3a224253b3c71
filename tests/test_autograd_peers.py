"""Gradients against PyTorch's, where it is installed."""

import numpy as np
import pytest

import tensorlib as tl


def _both(shapes, seed=0):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s) for s in shapes]
    ours = [tl.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    return torch, ours, theirs


def _assert_same(ours, theirs, rtol=1e-10):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            a.grad.numpy(), b.grad.numpy(), rtol=rtol, atol=1e-12
        )


def test_mlp_gradients_equal_torch():
    torch, ours, theirs = _both([(8, 5), (7, 5), (7,), (3, 7), (3,)])
    target = np.arange(8) % 3
    x, w1, b1, w2, b2 = ours
    tl.cross_entropy(
        tl.linear(tl.gelu(tl.linear(x, w1, b1)), w2, b2), tl.tensor(target)
    ).backward()
    f = torch.nn.functional
    x, w1, b1, w2, b2 = theirs
    f.cross_entropy(
        f.linear(f.gelu(f.linear(x, w1, b1)), w2, b2), torch.tensor(target)
    ).backward()
    _assert_same(ours, theirs)


def test_normalized_residual_gradients_equal_torch():
    torch, ours, theirs = _both([(4, 6), (6,), (6,), (6, 6)])
    x, w, b, m = ours
    y = x + tl.silu(tl.layer_norm(x, 6, w, b) @ m)
    (tl.softmax(y, 1) * y).sum().backward()
    x, w, b, m = theirs
    f = torch.nn.functional
    y = x + f.silu(f.layer_norm(x, (6,), w, b) @ m)
    (f.softmax(y, 1) * y).sum().backward()
    _assert_same(ours, theirs)


def test_attention_gradients_equal_torch():
    torch, ours, theirs = _both([(2, 3, 4, 5)] * 3)
    for lib, (q, k, v) in ((tl, ours), (torch, theirs)):
        scores = q @ (k.mT) * 5**-0.5
        weights = tl.softmax(scores, -1) if lib is tl else torch.softmax(scores, -1)
        ((weights @ v) ** 2).sum().backward()
    _assert_same(ours, theirs)


def test_indexing_gradients_equal_torch():
    torch, ours, theirs = _both([(5, 6), (4, 6)])
    for lib, (x, v) in ((tl, ours), (torch, theirs)):
        index = lib.tensor([0, 2, 2, 4])
        y = x * 2
        y[1] = v[0]
        z = y[index] * v + y[::2, 1:5].sum() + y[:, index].prod(1).sum()
        (z * z).sum().backward()
    _assert_same(ours, theirs)


def test_reduction_gradients_equal_torch():
    torch, ours, theirs = _both([(4, 6)])
    (x,), (t,) = ours, theirs
    (
        x.var(1, correction=1)
        + x.max(1)
        + x.prod(1)
        + tl.logsumexp(x, 1)
        + x.std(1, correction=1)
        + x.mean(1)
        + x.cumsum(1)[:, 3]
    ).sum().backward()
    (
        t.var(1)
        + t.amax(1)
        + t.prod(1)
        + torch.logsumexp(t, 1)
        + t.std(1)
        + t.mean(1)
        + t.cumsum(1)[:, 3]
    ).sum().backward()
    _assert_same(ours, theirs)


def test_double_backward_equals_torch():
    torch, ours, theirs = _both([(3, 4), (4, 2)])
    results = []
    for lib, (x, w) in ((tl, ours), (torch, theirs)):
        y = ((x @ w).tanh() * (x @ w).sigmoid()).sum()
        g = (tl.autograd.grad if lib is tl else torch.autograd.grad)(
            y, [x, w], create_graph=True
        )
        ((g[0] ** 2).sum() + (g[1] ** 3).sum()).backward()
        results.append(y)
    _assert_same(ours, theirs, rtol=1e-9)

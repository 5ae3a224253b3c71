"""Compare a module with PyTorch's: outputs, gradients, buffers, in both modes."""

import pytest

import tensorlib as tl
from tensorlib import nn

# float32: sums of a few hundred products in another order. float64: the same. 16 bits:
# a rounding or two.
TOLERANCE = {
    "bfloat16": (1.6e-2, 1e-2),
    "float16": (2e-3, 2e-3),
    "float32": (1e-5, 2e-5),
    "float64": (1e-12, 1e-12),
}


def torch_module():
    return pytest.importorskip("torch")


def to_torch(x):
    torch = torch_module()
    x = x.detach().contiguous()
    if x.dtype.name == "bfloat16":  # which NumPy lacks
        return to_torch(x.astype("float32")).to(torch.bfloat16)
    return torch.from_numpy(x.numpy().copy())


def sample(shape, dtype="float64", seed=0):
    return tl.randn(shape, generator=tl.Generator(seed), dtype=dtype)


def assert_close(ours, theirs, dtype):
    rtol, atol = TOLERANCE[dtype]
    torch_module().testing.assert_close(
        to_torch(ours), theirs.detach(), rtol=rtol, atol=atol
    )


def assert_parity(build, shape, dtype, steps=1):
    """`build` makes the module from nn or torch.nn; PyTorch's gets our state."""
    torch = torch_module()
    ours, theirs = build(nn).to(tl.dtype(dtype)), build(torch.nn)
    theirs = theirs.to(getattr(torch, dtype))
    theirs.load_state_dict({k: to_torch(v) for k, v in ours.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        for step in range(steps):
            _compare(ours, theirs, sample(shape, dtype, seed=step), dtype)
    for (name, b), (other, tb) in zip(
        ours.named_buffers(), theirs.named_buffers(), strict=True
    ):
        assert name == other
        if b.dtype.is_floating_point:
            assert_close(b, tb, dtype)
        else:
            assert b.tolist() == tb.tolist()


def _compare(ours, theirs, x, dtype):
    tx = to_torch(x).requires_grad_(True)
    x = x.requires_grad_(True)
    y, ty = ours(x), theirs(tx)
    if isinstance(ty, tuple):
        assert y[1].tolist() == ty[1].tolist()
        y, ty = y[0], ty[0]
    assert_close(y, ty, dtype)
    ours.zero_grad()
    theirs.zero_grad()
    weights = sample(y.shape, dtype, seed=99)
    (y * weights).sum().backward()
    (ty * to_torch(weights)).sum().backward()
    assert_close(x.grad, tx.grad, dtype)
    for (name, p), (other, tp) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == other
        assert_close(p.grad, tp.grad, dtype)

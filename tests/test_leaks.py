"""Nothing is leaked: storages, references, memory."""

import contextlib
import gc
import resource
import sys

import numpy as np
import pytest
from op_rows import applied, arrays_in, as_tuple, contiguous
from op_samples import OPS

import tensorlib as tl


@pytest.fixture(autouse=True, scope="module")
def frozen():
    """Keep the modules' objects out of the many collections here."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def live():
    return tl.memory_stats()["live"]


def collected():
    gc.collect()
    return live()


def run_row(op, *, create_graph=False):
    """Every call of the row, forward and backward."""
    rng = np.random.default_rng(1)
    for arguments in op.calls(op.dtypes[-1], rng):
        if sum(a.size for a in arrays_in(arguments)) > 3000:
            continue
        inputs = []

        def tracked(a, inputs=inputs):
            x = contiguous(a)
            if op.differentiable and x.dtype.is_floating_point:
                inputs.append(x.requires_grad_())
            return x

        outputs = as_tuple(applied(op.function, tracked, arguments))
        outputs = [y for y in outputs if y.requires_grad]
        if outputs:
            seeds = [tl.ones_like(y) for y in outputs]
            tl.autograd.grad(
                outputs, inputs, seeds, allow_unused=True, create_graph=create_graph
            )


@pytest.mark.parametrize("op", OPS, ids=repr)
def test_storages_return_after_forward_and_backward(op):
    run_row(op)
    gc.collect()
    gc.disable()
    try:
        before = live()
        run_row(op)
        assert live() == before  # by reference counts alone
    finally:
        gc.enable()


@pytest.mark.parametrize("op", [op for op in OPS if op.differentiable], ids=repr)
def test_storages_return_after_create_graph(op):
    run_row(op, create_graph=True)
    before = collected()
    run_row(op, create_graph=True)
    assert collected() == before


@pytest.mark.parametrize("op", [op for op in OPS if op.errors], ids=repr)
def test_storages_return_after_errors(op):
    def fail():
        for error in op.errors:
            with contextlib.suppress(Exception):
                op.function(*error.args())

    fail()
    before = collected()
    fail()
    assert collected() == before


def test_storages_return_after_errors_in_backward():
    def fail():
        w = tl.ones(5, requires_grad=True)
        x = w * 1
        y = (x * x).exp().sum()
        with tl.no_grad():
            x += 1
        with pytest.raises(tl.GraphError):
            y.backward()

    fail()
    before = collected()
    for _ in range(5):
        fail()
    assert collected() == before


def test_gradient_cycles_are_collected():
    before = collected()
    for _ in range(10):
        x = tl.ones(100, requires_grad=True)
        y = (x.exp() * x).sum()
        y.backward(create_graph=True)
        x.grad.sum().backward()
        del x, y
    assert collected() == before


def test_borrowed_memory_is_released():
    a = np.ones(1000)
    count = sys.getrefcount(a)
    x = tl.asarray(a)
    view = x[5:]
    assert sys.getrefcount(a) > count
    del x
    assert sys.getrefcount(a) > count
    del view
    assert sys.getrefcount(a) == count


def test_exported_memory_keeps_the_tensor():
    before = collected()
    x = tl.arange(1000)
    a = x.numpy()
    del x
    assert live() == before + 1
    assert a[999] == 999
    del a
    assert collected() == before


def refused(function):
    with pytest.raises(tl.ShapeError):
        function()


OPERATIONS = {
    "add": lambda x: x + x,
    "scalar": lambda x: x * 2.0,
    "view": lambda x: x[1:].T,
    "index": lambda x: x[tl.tensor([0, 1])],
    "sum": lambda x: x.sum(axis=0),
    "shape": lambda x: (x.shape, x.strides, x.dtype, x.device),
    "tolist": lambda x: x.tolist(),
    "repr": repr,
    "numpy": lambda x: x.numpy(),
    "buffer": lambda x: memoryview(x),
    "dlpack": lambda x: np.from_dlpack(x),
    "iterate": list,
    "error": lambda x: refused(lambda: x + tl.ones(7)),
    "backward": lambda x: (x.clone().requires_grad_() ** 2).sum().backward(),
    "hook": lambda x: x.clone().requires_grad_().register_hook(print),
    "jvp": lambda x: tl.autograd.jvp(lambda y: y * y, x, x),
    "no_grad": lambda x: tl.no_grad().__enter__().__exit__(None, None, None),
    "random": lambda x: tl.randn(3, generator=tl.Generator(1)),
    "linear": lambda x: tl.linear(x, x),
    "inplace": lambda x: x.mul_(1.0),
    "assign": lambda x: x.__setitem__(0, 1.0),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_repeated_use_keeps_references_stable(name):
    operation = OPERATIONS[name]
    x = tl.ones((3, 3))
    watched = [None, True, tl.float32, tl.Tensor, tl.autograd.Node, x]
    for _ in range(20):
        operation(x)
    gc.collect()
    before = [sys.getrefcount(o) for o in watched] + [live()]
    for _ in range(1000):
        operation(x)
    gc.collect()
    after = [sys.getrefcount(o) for o in watched] + [live()]
    drift = [abs(b - a) for a, b in zip(before, after, strict=True)]
    assert max(drift) < 100, drift


def resident():
    """Resident set in KiB now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_stable_over_ten_thousand_steps():
    w = tl.randn(20, 20, generator=tl.Generator(0))
    x = tl.randn(8, 20, generator=tl.Generator(1))
    target = tl.tensor([k % 20 for k in range(8)])

    def step():
        weight = w.detach().requires_grad_()
        loss = tl.cross_entropy(tl.gelu(tl.linear(x, weight)), target)
        loss.backward()
        parts = x[::2], x.T[tl.tensor([1, 2])], str(loss), weight.grad.tolist()
        return len(parts)

    for _ in range(1000):
        step()
    gc.collect()
    storages, before = live(), resident()
    for _ in range(10_000):
        step()
    gc.collect()
    assert live() == storages
    # 10^4 leaks of the smallest block alone would be 640 KiB, of a Tensor 4 MiB.
    assert resident() - before < 512


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_stable_over_varying_shapes():
    for _ in range(2):
        for n in range(1, 400):
            tl.ones((n, 300)).exp().sum()
    before = resident()
    for _ in range(3):
        for n in range(1, 400):
            tl.ones((n, 300)).exp().sum()
    assert resident() - before < 4096

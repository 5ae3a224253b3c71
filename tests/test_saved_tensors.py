"""What the graph keeps: hooks that pack it, and when it is freed."""

import gc
import threading

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.autograd import grad, saved_tensors_hooks


def leaf(*values):
    return tl.tensor(list(values), dtype=tl.float64, requires_grad=True)


def identity(x):
    return x


PROGRAMS = {
    "inputs": lambda x: (x * x * 3).sum(),
    "outputs": lambda x: tl.tanh(tl.exp(x)).sum(),
    "index": lambda x: (x[tl.tensor([0, 1, 1])] * x[:1]).sum(),
    "pooling": lambda x: tl.max_pool1d(x.reshape(1, 1, 2), 2).sum() * x[0],
    "mean pooling": lambda x: tl.avg_pool1d(x.reshape(1, 1, 2), 2).sum() * x[0],
    "matmul": lambda x: (x.reshape(2, 1) @ x.reshape(1, 2)).sum(),
    "fused": lambda x: tl.layer_norm(x * x, (2,)).exp().sum(),
    "glu": lambda x: tl.glu(x * 2).sum() * x[1],
    "attention": lambda x: tl.scaled_dot_product_attention(
        *[x.reshape(1, 2, 1) * k for k in (1, 2, 3)]
    ).sum(),
    "in place": lambda x: (x * 2).add_(x).exp().sum(),
}


def derivatives(program, x):
    """The first gradient, and one of a function of it."""
    (first,) = grad(program(x), x, create_graph=True)
    (second,) = grad((first * first).sum(), x)
    return first.tolist(), second.tolist()


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("packing", ["identity", "copy", "numpy"])
def test_packed_tensors_give_the_same_derivatives(name, packing):
    pack, unpack = {
        "identity": (identity, identity),
        "copy": (lambda x: x.clone(), identity),
        "numpy": (lambda x: np.array(x), tl.asarray),
    }[packing]
    x = leaf(0.5, -1.25)
    expected = derivatives(PROGRAMS[name], x)
    with saved_tensors_hooks(pack, unpack):
        assert derivatives(PROGRAMS[name], x) == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_packed_tensors_carry_tangents(name):
    def gradient(x):
        with saved_tensors_hooks(lambda x: x.clone(), identity):
            return tl.grad(PROGRAMS[name])(x)

    x, v = leaf(0.5, -1.25).detach(), leaf(1.0, 2.0).detach()
    expected = tl.jvp(tl.grad(PROGRAMS[name]), (x,), (v,))[1]
    assert tl.jvp(gradient, (x,), (v,))[1].tolist() == expected.tolist()


def test_hooks_see_each_saved_tensor_once_and_leaves_never():
    packed, unpacked = [], []

    def pack(x):
        packed.append(x.shape)
        return x

    def unpack(x):
        unpacked.append(x.shape)
        return x

    layer = nn.Linear(4, 3)
    x = tl.ones((2, 4))
    with saved_tensors_hooks(pack, unpack):
        y = tl.tanh(layer(x))
    assert packed == [(2, 4), (2, 3)]
    y.sum().backward()
    assert unpacked == [(2, 3), (2, 4)]
    tl.tanh(layer(x))
    assert len(packed) == 2


def test_hooks_are_not_recorded_and_do_not_pack_their_own_work():
    states = []

    def pack(x):
        states.append(tl.is_grad_enabled())
        return x * leaf(1.0)

    with saved_tensors_hooks(pack, identity):
        tl.exp(leaf(1.0))
    assert states == [False]


def test_innermost_hooks_alone_are_used():
    order = []
    x = leaf(1.0)
    with saved_tensors_hooks(lambda x: order.append("outer") or x, identity):
        with saved_tensors_hooks(lambda x: order.append("inner") or x, identity):
            tl.exp(x)
        tl.exp(x)
    assert order == ["inner", "outer"]


def test_hooks_hold_for_their_thread_alone():
    packed = []
    with saved_tensors_hooks(lambda x: packed.append(x) or x, identity):
        thread = threading.Thread(target=lambda: tl.exp(leaf(1.0)))
        thread.start()
        thread.join()
    assert not packed


def test_packed_tensor_that_shares_memory_is_checked_for_writes():
    x = leaf(1.0, 2.0)
    y = x * 1
    with saved_tensors_hooks(identity, identity):
        z = (y * y).sum()
    with tl.no_grad():
        y += 1
    with pytest.raises(tl.GraphError, match="saved by multiply was changed in place"):
        z.backward()


@pytest.mark.parametrize(
    ("unpacked", "error", "message"),
    [
        (5, TypeError, "return the Tensor saved by exp, got int"),
        (tl.ones(3), tl.ShapeError, r"shape \(1,\) and float64, which exp saved"),
        (tl.ones(1), tl.ShapeError, "got .* float32"),
    ],
)
def test_unpack_that_returns_the_wrong_thing_raises(unpacked, error, message):
    with saved_tensors_hooks(identity, lambda x: unpacked):
        y = tl.exp(leaf(1.0)).sum()
    with pytest.raises(error, match=f"saved_tensors_hooks: .*{message}"):
        y.backward()


def test_hooks_that_cannot_be_raise():
    with pytest.raises(TypeError, match="callable as unpack_hook, got NoneType"):
        saved_tensors_hooks(identity, None)
    with (
        saved_tensors_hooks(lambda x: x.add_(1), identity),
        pytest.raises(tl.GraphError, match="pack to leave its argument"),
    ):
        tl.exp(leaf(1.0))
    with (
        saved_tensors_hooks(lambda x: 1 / 0, identity),
        pytest.raises(ZeroDivisionError),
    ):
        tl.exp(leaf(1.0))
    context = saved_tensors_hooks(identity, identity)
    with pytest.raises(tl.GraphError, match="innermost context"):
        context.__exit__(None, None, None)


def test_packed_graph_freed_by_backward_says_so():
    x = leaf(1.0)
    with saved_tensors_hooks(identity, identity):
        y = (tl.exp(x) * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(tl.GraphError, match="freed by an earlier backward"):
        y.backward()


def test_hooks_free_what_they_packed():
    def use():
        with saved_tensors_hooks(lambda x: x.clone(), identity):
            (leaf(1.0, 2.0).exp() * 2).exp().sum().backward()

    use()
    gc.collect()
    gc.disable()
    try:
        before = tl.memory_stats()["live"]
        use()
        assert tl.memory_stats()["live"] == before
    finally:
        gc.enable()


# ---- when buffers go ---------------------------------------------------------------
MEGABYTE = 1 << 20


def chain(length, x):
    for _ in range(length):
        x = tl.exp(x * 1.0) * 0.1
    return x


def test_backward_frees_each_buffer_after_its_last_reader():
    x = tl.zeros(MEGABYTE // 4, requires_grad=True)
    y = chain(20, x).sum()
    kept = tl.memory_stats()["allocated"]
    tl.reset_peak_memory_stats()
    during = []

    x.register_hook(lambda g: during.append(tl.memory_stats()["allocated"]))
    y.backward()
    # At the end all that the chain saved is gone: what is left is x and its gradient.
    assert during[0] < kept - 18 * MEGABYTE
    # On the way no more than the cotangent, its successor and one intermediate.
    assert tl.memory_stats()["peak_allocated"] <= kept + 3.5 * MEGABYTE


def test_retained_graph_keeps_its_buffers():
    x = tl.zeros(MEGABYTE // 4, requires_grad=True)
    y = chain(20, x).sum()
    kept = tl.memory_stats()["allocated"]
    y.backward(retain_graph=True)
    assert tl.memory_stats()["allocated"] >= kept
    y.backward()
    assert tl.memory_stats()["allocated"] < kept - 15 * MEGABYTE


def test_gradient_of_an_intermediate_computes_nothing_below_it():
    calls = []

    class Spy(tl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            calls.append(1)
            return g * 2

    x = leaf(1.0)
    y = Spy.apply(x)
    assert grad((y * 3).sum(), y)[0].tolist() == [3.0]
    assert not calls
    assert [g.item() for g in grad((y * 3).sum(), [y, x])] == [3.0, 6.0]


# ---- inference mode ----------------------------------------------------------------
def test_inference_mode_records_nothing_and_cannot_be_recorded():
    w = leaf(1.0, 2.0)
    with tl.inference_mode():
        assert tl.is_inference_mode_enabled()
        x = w * 2
        with tl.enable_grad():
            assert not (w * 2).requires_grad
        with tl.set_grad_enabled(True):
            assert not (w * 2).requires_grad
    assert not tl.is_inference_mode_enabled()
    assert x.is_inference()
    assert (w + x).requires_grad  # nothing of x is saved
    with pytest.raises(tl.GraphError, match=r"multiply: .*made in inference_mode"):
        w * x
    with pytest.raises(tl.GraphError, match=r"requires_grad: .*inference_mode"):
        x.requires_grad_()
    with pytest.raises(tl.GraphError, match=r"add: .*made in inference_mode"):
        x += w
    assert (w * x.clone()).requires_grad


def test_inference_mode_leaves_views_of_other_tensors_usable():
    w = leaf(1.0, 2.0)
    with tl.inference_mode():
        view = w.detach()[:1]
        copy = w.detach().clone()
    assert not view.is_inference()
    assert copy[:1].is_inference()
    assert (w * view).requires_grad


def test_inference_mode_decorates_and_nests():
    @tl.inference_mode
    def bare(x):
        return x * 2

    @tl.inference_mode()
    def called(x):
        with tl.inference_mode(False):
            inner = x * 3
        return x * 2, inner

    w = leaf(1.0)
    assert bare(w).is_inference()
    outer, inner = called(w)
    assert (outer.is_inference(), outer.requires_grad) == (True, False)
    assert (inner.is_inference(), inner.requires_grad) == (False, True)
    with pytest.raises(TypeError, match="inference_mode: expected a bool, got 5"):
        tl.inference_mode(5)


def test_inference_mode_holds_for_its_thread_alone():
    found = []
    with tl.inference_mode():
        thread = threading.Thread(
            target=lambda: found.append(tl.exp(leaf(1.0)))
        )  # fmt: skip
        thread.start()
        thread.join()
    assert found[0].requires_grad
    assert not found[0].is_inference()


def test_function_refuses_to_save_an_inference_tensor():
    class Saves(tl.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(y)
            return x * 2

    with tl.inference_mode():
        y = tl.ones(1)
    with pytest.raises(tl.GraphError, match=r"Saves: .*inference_mode"):
        Saves.apply(leaf(1.0), y)

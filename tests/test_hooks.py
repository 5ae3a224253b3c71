"""Hooks on tensors and modules, against PyTorch's."""

import gc
from collections import namedtuple

import pytest

import tensorlib as tl
from tensorlib import nn


# ---- tensors ---------------------------------------------------------------------
def tensor_hooks(module, dtype):
    """The same program in either library; what its hooks saw."""
    seen = []
    x = module.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: seen.append(("y", g.tolist())))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(("x", g.tolist())))
    gone = x.register_hook(lambda g: g * 100)
    gone.remove()
    x.register_post_accumulate_grad_hook(lambda x: seen.append(("+", x.grad.tolist())))
    (y * y + y).sum().backward()
    (x * x).sum().backward()
    return seen, x.grad.tolist(), y.grad.tolist()


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_tensor_hooks_see_and_change_what_pytorchs_do(torch):
    ours = tensor_hooks(tl, tl.float64)
    assert ours == tensor_hooks(torch, torch.float64)


def test_leaf_hook_sees_the_sum_of_all_contributions_of_a_pass(torch):
    def run(module):
        seen = []
        x = module.ones(2, requires_grad=True)
        w = module.ones(2, requires_grad=True)
        x.register_hook(lambda g: seen.append(g.tolist()))
        x.register_post_accumulate_grad_hook(lambda x: seen.append("done"))
        w.register_post_accumulate_grad_hook(lambda w: seen.append("w"))
        y = (w * 2 + x * 3) * x
        module.autograd.grad(y.sum(), [x], retain_graph=True)
        module.autograd.grad([x.sum(), y.sum()], [x], retain_graph=True)
        ((y * x).sum() + x.sum()).backward()
        return seen, x.grad.tolist(), w.grad.tolist()

    assert run(tl) == run(torch)


def test_post_accumulate_hook_runs_before_the_rest_of_the_pass():
    x, w = tl.ones(1, requires_grad=True), tl.ones(1, requires_grad=True)
    order = []
    w.register_post_accumulate_grad_hook(lambda w: order.append("w"))
    y = x * 2
    y.register_hook(lambda g: order.append("y"))
    ((y * 3) * w).sum().backward()
    assert order == ["w", "y"]


def test_leaf_hook_on_a_leaf_that_is_an_output_sees_the_sum():
    x, seen = tl.ones(1, requires_grad=True), []
    x.register_hook(lambda g: seen.append(g.item()))
    one = tl.ones(1)
    assert tl.autograd.grad([x * 2, x], [x], [one, one])[0].item() == 3.0
    assert tl.autograd.grad([x, x * 2], [x], [one, one])[0].item() == 3.0
    assert seen == [3.0, 3.0]


def test_retain_grad_accumulates_and_is_harmless_when_repeated(torch):
    def run(module):
        x = module.ones(2, requires_grad=True)
        y = x * 2
        y.retain_grad()
        y.retain_grad()
        x.retain_grad()
        for _ in range(2):
            (y * y).sum().backward(retain_graph=True)
        return y.grad.tolist(), x.grad.tolist()

    assert run(tl) == run(torch)


def test_retain_grad_of_a_tensor_that_is_gone_keeps_nothing():
    x = tl.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    z = (y * y).sum()
    del y
    z.backward()
    assert x.grad.tolist() == [8.0, 8.0]


def test_retained_gradient_is_not_changed_by_what_follows():
    x = tl.ones(2, requires_grad=True)
    y = x * 1
    y.retain_grad()
    z = y + 0
    z.retain_grad()
    (z + y).sum().backward()
    assert (z.grad.tolist(), y.grad.tolist()) == ([1.0, 1.0], [2.0, 2.0])


def test_post_accumulate_hook_may_step_and_forget_the_gradient():
    w = tl.ones(2, requires_grad=True)

    def descend(w):
        with tl.no_grad():
            w -= w.grad
        w.grad = None

    w.register_post_accumulate_grad_hook(descend)
    (w * 3).sum().backward()
    assert (w.tolist(), w.grad) == ([-2.0, -2.0], None)


def test_hooks_refuse_what_they_cannot_watch():
    x = tl.ones(2, requires_grad=True)
    for method in ("register_hook", "register_post_accumulate_grad_hook"):
        with pytest.raises(TypeError, match=f"{method}: expected a callable, got 5"):
            getattr(x, method)(5)
        with pytest.raises(tl.GraphError, match=f"{method}: .*not require grad"):
            getattr(tl.ones(2), method)(print)
    with pytest.raises(tl.GraphError, match="expected a leaf tensor"):
        (x * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(tl.GraphError, match=r"retain_grad: .*not require grad"):
        tl.ones(2).retain_grad()


def test_removing_a_hook_twice_leaves_its_twin():
    x, seen = tl.ones(1, requires_grad=True), []
    handle = x.register_hook(seen.append)
    x.register_hook(seen.append)
    handle.remove()
    handle.remove()
    x.sum().backward()
    assert len(seen) == 1


# ---- modules ---------------------------------------------------------------------
class OursAdd(nn.Module):
    def forward(self, a, b, factor=1.0):
        return a * 2 + b * factor, a * b


Pair = namedtuple("Pair", "first second")


def numbers(grads):
    return tuple(None if g is None else g.tolist() for g in grads)


def module_hooks(module, layer, changed, tracked):
    """The gradients of one call with hooks, and what they saw."""
    seen = []

    def before(layer, grad_output):
        seen.append(("pre", numbers(grad_output)))
        if changed:
            return tuple(None if g is None else g * 2 for g in grad_output)
        return None

    def after(layer, grad_input, grad_output):
        seen.append(("full", numbers(grad_input), numbers(grad_output)))
        if changed:
            return tuple(None if g is None else g * 10 for g in grad_input)
        return None

    layer.register_full_backward_pre_hook(before)
    layer.register_full_backward_hook(after)
    a = module.tensor([1.0, 2.0], requires_grad=tracked[0])
    b = module.tensor([3.0, 5.0], requires_grad=tracked[1])
    total, product = layer(a, b, 3.0)
    (total.sum() * 7 + product.sum()).backward()
    return seen, numbers([a.grad, b.grad])


@pytest.mark.parametrize("tracked", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("changed", [False, True])
def test_full_backward_hooks_see_and_change_what_pytorchs_do(torch, changed, tracked):
    class TorchAdd(torch.nn.Module):
        forward = OursAdd.forward

    ours = module_hooks(tl, OursAdd(), changed, tracked)
    theirs = module_hooks(torch, TorchAdd(), changed, tracked)
    # Of an input that needs no gradient PyTorch shows zeros, unless it is the only one.
    pre, (kind, grad_input, grad_output) = theirs[0]
    shown = zip(grad_input, (*tracked, False), strict=True)
    grad_input = tuple(g if needed else None for g, needed in shown)
    assert ours == ([pre, (kind, grad_input, grad_output)], theirs[1])


def test_full_backward_hook_of_one_unused_output_sees_none():
    seen = []
    layer = OursAdd()
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    a, b = tl.ones(1, requires_grad=True), tl.ones(1, requires_grad=True)
    layer(a, b)[0].sum().backward()
    (grad_input, grad_output) = seen[0]
    assert numbers(grad_input) == ([2.0], [1.0])
    assert numbers(grad_output) == ([1.0], None)


def test_full_backward_hook_on_the_same_tensor_twice_splits_the_gradient():
    layer = OursAdd()
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10, gi[1] * 100))
    x = tl.ones(1, requires_grad=True)
    layer(x, x)[0].sum().backward()
    assert x.grad.item() == 2 * 10 + 1 * 100


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        ((tl.ones(1),), ValueError, "return 2 gradients or None, got 1"),
        ((tl.ones(3), None), tl.ShapeError, r"gradient 0 of shape \(1,\), got \(3,\)"),
    ],
)
def test_full_backward_hook_that_returns_the_wrong_thing_raises(found, error, message):
    layer = OursAdd()
    layer.register_full_backward_hook(lambda m, gi, go: found)
    x = tl.ones(1, requires_grad=True)
    with pytest.raises(error, match=f"OursAdd: .*{message}"):
        layer(x, x)[0].sum().backward()


def test_backward_hooks_leave_second_derivatives_and_forward_mode_right():
    layer, seen = nn.Tanh(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(1))
    x = tl.tensor([0.5, -1.0], dtype=tl.float64, requires_grad=True)
    assert tl.autograd.gradcheck(layer, (x,))
    assert tl.autograd.gradgradcheck(layer, (x,))
    assert seen


def test_backward_hooks_keep_the_kind_of_a_tuple():
    class Recurrent(nn.Module):
        def forward(self, x):
            return Pair(x * 2, x)

    layer = Recurrent()
    layer.register_full_backward_hook(lambda m, gi, go: None)
    found = layer(tl.ones(1, requires_grad=True))
    assert type(found) is Pair
    assert found.first.requires_grad


def test_backward_hooks_free_what_they_saw():
    layer = nn.Linear(4, 4)
    layer.register_full_backward_hook(lambda m, gi, go: None)

    def use():
        x = tl.ones((2, 4), requires_grad=True)
        layer(x).sum().backward()
        layer.zero_grad()

    use()
    gc.collect()
    gc.disable()
    try:
        before = tl.memory_stats()["live"]
        use()
        assert tl.memory_stats()["live"] == before
    finally:
        gc.enable()


def test_backward_hook_is_removed_by_its_handle():
    layer, seen = nn.Tanh(), []
    x = tl.ones(1, requires_grad=True)
    for register in (
        layer.register_full_backward_hook,
        layer.register_full_backward_pre_hook,
    ):
        with register(lambda *args: seen.append(args)):
            layer(x).sum().backward()
    layer(x).sum().backward()
    assert len(seen) == 2
    assert not layer._hooked

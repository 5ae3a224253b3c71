"""Graphs: grad(), what is retained, hooks, long chains and cycles that are freed."""

import gc
import math
import weakref

import pytest
from sample_leaves import leaf, live

import tensorlib as tl
from tensorlib.autograd import grad


# ---- grad() --------------------------------------------------------------------
def test_grad_returns_and_accumulates_nothing():
    x = leaf(3.0)
    (g,) = grad((x * x).sum(), x)
    assert g.tolist() == [6.0]
    assert x.grad is None


def test_grad_of_several_outputs_and_inputs():
    a, b = leaf(2.0), leaf(3.0)
    found = grad(
        [a * b, a + b],
        [a, b],
        [tl.tensor([1.0], dtype="float64"), tl.tensor([10.0], dtype="float64")],
    )
    assert [g.item() for g in found] == [13.0, 12.0]


def test_grad_of_an_intermediate_tensor():
    x = leaf(2.0)
    y = x * x
    found = grad((y * 3).sum(), [y, x])
    assert [g.item() for g in found] == [3.0, 12.0]


def test_grad_leaves_out_gradients_that_nobody_asked_for():
    x = tl.ones((1, 1000), requires_grad=True)
    w = tl.ones((1000, 1000), requires_grad=True)
    y = (x @ w).sum()
    before = tl.memory_stats()["allocated"]
    tl.reset_peak_memory_stats()
    (g,) = grad(y, x, retain_graph=True)
    assert g.tolist() == [[1000.0] * 1000]
    assert tl.memory_stats()["peak_allocated"] - before < w.nbytes
    (g,) = grad(y, w)  # the same node, now for the other input
    assert (g == 1.0).all()


def test_grad_after_a_failed_one_has_every_gradient():
    a, b = leaf(2.0), leaf(3.0)
    y = a * b

    def fail(g):
        raise RuntimeError("no")

    handle = a.register_hook(fail)
    with pytest.raises(RuntimeError, match="no"):
        grad(y, a, retain_graph=True)
    handle.remove()
    assert [g.item() for g in grad(y, [a, b], retain_graph=True)] == [3.0, 2.0]
    y.backward()
    assert (a.grad.item(), b.grad.item()) == (3.0, 2.0)


def test_grad_of_an_input_given_twice():
    x = leaf(2.0)
    found = grad((x * x).sum(), [x, x])
    assert [g.item() for g in found] == [4.0, 4.0]


def test_grad_of_an_output_that_is_an_input():
    x = leaf(2.0)
    y = x * 3
    assert [g.item() for g in grad(y.sum(), [x])] == [3.0]
    assert grad(x, x, tl.tensor([7.0], dtype="float64"))[0].item() == 7.0


def test_grad_of_the_same_output_twice_sums():
    x = leaf(2.0)
    y = (x * x).sum()
    assert grad([y, y], x)[0].item() == 8.0


def test_grad_of_an_unused_input():
    x, other = leaf(2.0), leaf(1.0)
    with pytest.raises(tl.GraphError, match=r"\[1\].*allow_unused"):
        grad((x * 2).sum(), [x, other])
    assert grad((x * 2).sum(), [x, other], allow_unused=True)[1] is None


def test_grad_of_an_input_without_grad_raises():
    x = leaf(2.0)
    with pytest.raises(tl.GraphError, match="input 0 does not require grad"):
        grad((x * 2).sum(), tl.ones(1))


def test_grad_counts_its_cotangents():
    x = leaf(2.0)
    with pytest.raises(ValueError, match="grad_outputs"):
        grad([x * 2, x * 3], x, [tl.ones(1)])


@pytest.mark.parametrize("bad", [5, "x", [1.0], None])
def test_grad_of_no_tensor_raises(bad):
    with pytest.raises(TypeError, match="grad"):
        grad(bad, leaf(1.0))


def test_grad_does_not_run_nodes_that_lead_nowhere():
    x, y = leaf(1.0), leaf(2.0)
    seen = []
    z = y * 2
    z.register_hook(lambda g: seen.append(1))
    grad((x * 3 + z * z).sum(), x)
    assert not seen


def test_create_graph_gives_higher_derivatives():
    x = leaf(2.0)
    y = (x**4).sum()
    for expected in (32.0, 48.0, 48.0, 24.0):
        (g,) = grad(y, x, create_graph=True)
        assert g.item() == pytest.approx(expected)
        y = g.sum()


def test_backward_with_create_graph_gives_a_differentiable_grad():
    x = leaf(3.0)
    (x * x * x).sum().backward(create_graph=True)
    (second,) = grad(x.grad.sum(), x)
    assert second.item() == pytest.approx(18.0)


def test_grad_inside_no_grad_works():
    x = leaf(3.0)
    y = (x * x).sum()
    with tl.no_grad():
        (g,) = grad(y, x)
    assert g.item() == 6.0
    assert not g.requires_grad


def test_create_graph_inside_no_grad_records():
    x = leaf(3.0)
    y = (x * x).sum()
    with tl.no_grad():
        (g,) = grad(y, x, create_graph=True)
    assert grad(g.sum(), x)[0].item() == 2.0


# ---- retaining -----------------------------------------------------------------
def test_second_backward_raises_unless_retained():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(tl.GraphError, match=r"multiply were freed.*retain_graph=True"):
        y.backward()
    assert x.grad.item() == 8.0


def test_backward_frees_what_was_saved():
    start = live()
    x = tl.ones((100,), requires_grad=True)
    y = x.exp()
    z = (y * y).sum()
    del y
    z.backward()
    # x, z and the gradient are left.
    assert live() - start == 3


def test_failed_backward_leaves_the_graph_usable():
    x = leaf(1.0, 2.0)
    y = x * x

    def refuse(_):
        raise KeyError("hook")

    handle = x.register_hook(refuse)
    with pytest.raises(KeyError):
        y.sum().backward(retain_graph=True)
    handle.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


# ---- hooks ---------------------------------------------------------------------
def test_hook_of_a_leaf_replaces_the_gradient():
    x = leaf(1.0)
    x.register_hook(lambda g: g * 10)
    (x * 2).sum().backward()
    assert x.grad.item() == 20.0


def test_hook_of_an_intermediate_sees_the_whole_gradient():
    x = leaf(1.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    (y * 3 + y).sum().backward()
    assert seen == [4.0]


def test_hooks_run_in_order_and_can_be_removed():
    x = leaf(1.0)
    seen = []
    removals = [x.register_hook(lambda g, k=k: seen.append(k)) for k in range(3)]
    removals[1].remove()
    removals[1].remove()
    x.sum().backward()
    assert seen == [0, 2]


def test_hook_of_a_wrong_shape_raises():
    x = leaf(1.0)
    x.register_hook(lambda g: tl.ones(2))
    with pytest.raises(tl.ShapeError, match="hook"):
        x.sum().backward()


def test_hook_that_is_no_function_raises():
    with pytest.raises(TypeError, match="callable"):
        leaf(1.0).register_hook(5)
    with pytest.raises(tl.GraphError, match="require grad"):
        tl.ones(1).register_hook(print)


# ---- long chains and cycles ----------------------------------------------------
@pytest.mark.slow
def test_chain_of_a_million_nodes_runs_backward_and_is_freed():
    start = live()
    x = tl.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1.0
    del y
    assert live() - start == 2


@pytest.mark.slow
def test_chain_of_a_million_nodes_is_freed_without_backward():
    start = live()
    x = tl.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y * 1.0
    del y
    assert live() - start == 1


def test_long_chain_with_create_graph_is_freed():
    start = live()
    x = tl.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y.sin()
    (g,) = grad(y, x, create_graph=True)
    assert math.isfinite(g.item())
    del y, g
    assert live() - start == 1


def test_cycle_through_create_graph_is_collected():
    start = live()
    for _ in range(5):
        x = tl.ones(10, requires_grad=True)
        (x * x).sum().backward(create_graph=True)
    del x
    assert live() == start


def test_cycle_through_a_hook_is_collected():
    start = live()
    x = tl.ones(10, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g, y=y: None)
    x.register_hook(lambda g, x=x: None)
    del x, y
    assert live() == start


def test_node_does_not_hold_its_output():
    start = live()
    x = tl.ones(10, requires_grad=True)
    for _ in range(10):
        x.exp()
    assert tl.memory_stats()["live"] - start == 1


def test_hooks_die_with_their_tensor():
    class Marker:
        def __call__(self, g):
            return None

    marker = Marker()
    died = weakref.ref(marker)
    x = leaf(1.0)
    x.register_hook(marker)
    del x, marker
    gc.collect()
    assert died() is None

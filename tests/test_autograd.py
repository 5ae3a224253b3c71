"""The tape: what backward accumulates, leaves and switches, detach and data."""

import gc
import math
import threading

import numpy as np
import pytest
from sample_leaves import leaf

import tensorlib as tl


# ---- backward and accumulation -------------------------------------------------
def test_backward_of_lecture_example_gives_its_gradients():
    # Lecture 4: y = ln x1 + x1 x2 - sin x2 at (2, 5).
    x1, x2 = tl.tensor(2.0, requires_grad=True), tl.tensor(5.0, requires_grad=True)
    (x1.log() + x1 * x2 - x2.sin()).backward()
    assert x1.grad.item() == pytest.approx(5.5, rel=1e-6)
    assert x2.grad.item() == pytest.approx(2 - math.cos(5), rel=1e-6)


def test_backward_twice_accumulates():
    x = leaf(1.0, 2.0)
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


PARTS = {
    "disjoint": lambda y: [y[0], y[1], y[2]],
    "overlapping": lambda y: [y[:2], y[1:], y[1]],
    "stepped": lambda y: [y[::2], y[:, ::-1], y[2, 1:3]],
    "split": lambda y: tl.split(y, [1, 2]),
    "unstacked": lambda y: list(tl.unstack(y, axis=1)),
    "new axes": lambda y: [y[None, 0], y[..., 1, None]],
}


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("order", [1, -1])
def test_gradients_of_several_parts_are_those_of_zeros_around_each(parts, order):
    x = leaf(*range(12)).reshape((3, 4)).detach().requires_grad_(True)
    y = x * 1.0
    expected = np.zeros((3, 4))
    total = 0.0
    for n, part in enumerate(PARTS[parts](y)[::order]):
        total = total + (part * (n + 1) * part).sum()
        held = np.arange(12.0).reshape(3, 4)
        place = PARTS[parts](tl.arange(12).reshape((3, 4)))[::order][n].numpy()
        np.add.at(expected.reshape(-1), place, 2 * (n + 1) * held.reshape(-1)[place])
    total.backward()
    assert x.grad.tolist() == expected.tolist()


def test_gradient_of_a_permuted_tensors_part_lies_in_its_order():
    x = tl.arange(24.0).reshape((2, 3, 4)).requires_grad_(True)
    orders = []
    y = x.permute_dims((2, 0, 1))
    y.register_hook(lambda g: orders.append(g.strides))
    (y[1] * y[2]).sum().backward()
    assert orders == [y.strides] == [(1, 12, 4)]
    expected = np.zeros((2, 3, 4))
    held = x.detach().numpy()
    expected[..., 1], expected[..., 2] = held[..., 2], held[..., 1]
    assert x.grad.tolist() == expected.tolist()


def test_gradients_of_parts_leave_the_callers_cotangents_alone():
    x = leaf(1.0, 2.0)
    y = x * 2
    whole, first = tl.ones(2), tl.full((), 5.0)
    (gradient,) = tl.autograd.grad([y, y[0]], [x], grad_outputs=[whole, first])
    assert gradient.tolist() == [12.0, 2.0]
    assert whole.tolist() == [1.0, 1.0]
    assert first.item() == 5.0


def test_gradients_of_parts_are_differentiable_and_repeat():
    x = leaf(1.0, 2.0, 3.0)
    y = x * x
    z = (y[:2] * y[1:]).sum()
    for _ in range(2):
        (g,) = tl.autograd.grad(z, [x], create_graph=True)
        assert g.tolist() == [8.0, 40.0, 24.0]
    (second,) = tl.autograd.grad(g.sum(), [x], retain_graph=True)
    # d/dx of 2 x0 x1^2 + 2 x1 (x0^2 + x2^2) + 2 x2 x1^2, summed
    assert second.tolist() == [16.0, 52.0, 32.0]
    z.backward()
    assert x.grad.tolist() == [8.0, 40.0, 24.0]


def test_accumulation_is_in_place():
    x = leaf(1.0, 2.0)
    x.sum().backward()
    held = x.grad
    address = held.data_ptr()
    del held
    (x * 2).sum().backward()
    assert x.grad.data_ptr() == address
    assert x.grad.tolist() == [3.0, 3.0]


def test_accumulation_leaves_a_held_gradient_unchanged():
    x = leaf(1.0, 2.0)
    x.sum().backward()
    view = x.grad[:]
    x.sum().backward()
    assert view.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a + b,
        lambda a, b: (a + b) + (a + b),
        lambda a, b: tl.concat([a, b]),
        lambda a, b: tl.stack([a, b]),
        lambda a, b: (a - b).reshape(1, 2),
        lambda a, b: tl.where(tl.tensor([True, True]), a, b),
    ],
)
def test_gradients_of_two_leaves_never_share_memory(function):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = function(a, b)
    seed = tl.ones_like(y)
    y.backward(seed)
    assert a.grad.data_ptr() != b.grad.data_ptr()
    kept = b.grad.tolist()
    a.grad += 100
    assert b.grad.tolist() == kept
    assert seed.tolist() == tl.ones_like(y).tolist()


def test_gradient_does_not_alias_the_cotangent_given():
    a, seed = leaf(1.0, 2.0), tl.tensor([3.0, 4.0], dtype="float64")
    (a + 0).backward(seed)
    a.grad += 1
    assert seed.tolist() == [3.0, 4.0]


def test_backward_of_a_leaf_gives_the_cotangent():
    a, seed = leaf(1.0), tl.tensor([3.0], dtype="float64")
    a.backward(seed)
    assert a.grad.tolist() == [3.0]
    a.grad += 1
    assert seed.tolist() == [3.0]


def test_tensor_used_many_times_gathers_every_path():
    x = leaf(3.0)
    y = x * x + x * 2 + x / 3 - x
    y.sum().backward()
    assert x.grad.item() == pytest.approx(6 + 2 + 1 / 3 - 1)


def test_diamond_is_visited_once_per_node():
    x = y = leaf(1.0)
    for _ in range(60):  # 2^60 paths
        y = y + y
    y.sum().backward()
    assert x.grad.item() == 2.0**60


def test_broadcast_is_undone():
    a, b = tl.ones((3, 1), requires_grad=True), tl.ones((4,), requires_grad=True)
    c = tl.tensor(1.0, requires_grad=True)
    (a * b * c).sum().backward()
    assert (a.grad.shape, b.grad.shape, c.grad.shape) == ((3, 1), (4,), ())
    assert (a.grad == 4).all()
    assert (b.grad == 3).all()
    assert c.grad.item() == 12


def test_gradient_has_the_leaf_dtype():
    a = tl.ones(2, requires_grad=True)
    b = tl.ones(2, dtype="float64", requires_grad=True)
    (a * b).sum().backward()
    assert (a.grad.dtype, b.grad.dtype) == (tl.float32, tl.float64)


def test_gradient_flows_through_a_cast():
    a = tl.ones(2, requires_grad=True)
    a.astype("float64").exp().sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), [math.e] * 2, rtol=1e-7)


def test_gradient_stops_at_an_integer_cast():
    a = tl.ones(2, requires_grad=True)
    assert not a.astype("int64").requires_grad


def test_inputs_argument_limits_accumulation():
    a, b = leaf(1.0), leaf(2.0)
    (a * b).sum().backward(inputs=[a])
    assert a.grad.tolist() == [2.0]
    assert b.grad is None


# ---- leaves and flags ----------------------------------------------------------
def test_only_leaves_receive_grad():
    x = leaf(1.0)
    y = x * 2
    y.sum().backward()
    assert x.is_leaf
    assert not y.is_leaf
    assert y.grad is None


def test_requires_grad_of_nonleaf_cannot_be_set():
    y = leaf(1.0) * 2
    with pytest.raises(tl.GraphError, match=r"leaf tensors only.*multiply.*detach"):
        y.requires_grad = False


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_requires_grad_of_integers_raises(dtype):
    with pytest.raises(tl.DTypeError, match=f"floating.*{dtype}"):
        tl.zeros(2, dtype=dtype).requires_grad_()


def test_requires_grad_spreads_to_results():
    a, b = tl.ones(2), tl.ones(2, requires_grad=True)
    assert not (a + a).requires_grad
    assert (a + b).requires_grad
    assert not (b > a).requires_grad
    assert repr((a + b).grad_fn) == "<add node>"


def test_backward_without_grad_raises():
    with pytest.raises(tl.GraphError, match="does not require grad"):
        tl.ones(()).backward()


def test_backward_of_nonscalar_needs_a_cotangent():
    x = leaf(1.0, 2.0)
    with pytest.raises(tl.GraphError, match=r"scalar.*\(2,\)"):
        (x * 2).backward()


@pytest.mark.parametrize(
    ("cotangent", "error"),
    [
        (tl.ones(3), tl.ShapeError),
        (tl.ones(2, dtype="int64"), tl.DTypeError),
        ([1.0, 1.0], TypeError),
        (1.0, TypeError),
    ],
)
def test_backward_with_a_bad_cotangent_raises(cotangent, error):
    with pytest.raises(error, match="backward"):
        (leaf(1.0, 2.0) * 2).backward(cotangent)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (tl.ones(3), tl.ShapeError, r"\(2,\).*\(3,\)"),
        (tl.ones(2, dtype="float64"), tl.DTypeError, "float32.*float64"),
        ([1.0, 1.0], TypeError, "Tensor or None"),
    ],
)
def test_setting_grad_checks_it(value, error, message):
    x = tl.ones(2, requires_grad=True)
    with pytest.raises(error, match=message):
        x.grad = value


def test_grad_can_be_set_and_cleared():
    x = tl.ones(2, requires_grad=True)
    x.grad = tl.full((2,), 5.0)
    x.sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]
    x.grad = None
    assert x.grad is None
    with pytest.raises(tl.GraphError, match="own gradient"):
        x.grad = x


# ---- switches ------------------------------------------------------------------
def test_no_grad_records_nothing():
    x = leaf(1.0)
    with tl.no_grad():
        assert not tl.is_grad_enabled()
        y = x * 2
        with tl.enable_grad():
            z = x * 2
        assert not tl.is_grad_enabled()
    assert tl.is_grad_enabled()
    assert (y.requires_grad, z.requires_grad) == (False, True)


def test_no_grad_ends_on_an_exception():
    def fail():
        with tl.no_grad():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert tl.is_grad_enabled()


def test_switches_decorate_functions():
    @tl.no_grad()
    def off(x):
        """Doc."""
        return x * 2

    @tl.set_grad_enabled(True)
    def on(x):
        return x * 2

    assert off.__doc__ == "Doc."
    assert not off(leaf(1.0)).requires_grad
    with tl.no_grad():
        assert on(leaf(1.0)).requires_grad
        assert not tl.is_grad_enabled()


def test_decorated_recursion_restores_each_level():
    @tl.no_grad()
    def count(n):
        assert not tl.is_grad_enabled()
        if n:
            count(n - 1)
        assert not tl.is_grad_enabled()

    count(3)
    assert tl.is_grad_enabled()


def test_one_switch_object_nests():
    switch = tl.no_grad()
    with switch, switch:
        pass
    assert tl.is_grad_enabled()


def test_no_grad_holds_for_its_thread_only():
    seen = {}

    def other():
        seen["enabled"] = tl.is_grad_enabled()

    with tl.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen["enabled"]


# ---- detach and data -----------------------------------------------------------
def test_detach_shares_memory_outside_the_graph():
    x = leaf(1.0, 2.0)
    y = x.detach()
    assert y.data_ptr() == x.data_ptr()
    assert not y.requires_grad
    y[0] = 7.0
    assert x.tolist() == [7.0, 2.0]


def test_data_replaces_elements_of_a_leaf():
    x = leaf(1.0, 2.0)
    other = tl.tensor([5.0, 6.0], dtype="float64")
    x.data = other
    assert x.tolist() == [5.0, 6.0]
    assert x.requires_grad
    assert x.data_ptr() == other.data_ptr()
    (x * x).sum().backward()
    assert x.grad.tolist() == [10.0, 12.0]


def test_data_outlives_its_source():
    x = leaf(1.0)
    x.data = tl.tensor([2.0], dtype="float64")
    gc.collect()
    noise = [tl.tensor([9.0], dtype="float64") for _ in range(10)]
    assert x.tolist() == [2.0]
    del noise


def test_data_of_itself_is_kept():
    x = leaf(1.0, 2.0)
    x.data = x.data
    x.data = x
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "error"),
    [(tl.ones(2, dtype="int64"), tl.DTypeError), (5, TypeError), (None, TypeError)],
)
def test_data_checks_its_value(value, error):
    with pytest.raises(error, match="data"):
        leaf(1.0, 2.0).data = value


def test_data_of_a_nonleaf_keeps_its_shape():
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(tl.ShapeError, match="data"):
        y.data = tl.ones(3, dtype="float64")


def test_inplace_update_through_data_is_not_recorded():
    x = leaf(1.0, 2.0)
    x.data -= 0.5
    assert x.tolist() == [0.5, 1.5]
    assert x.is_leaf
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_changing_data_after_saving_raises():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    x.data += 1
    with pytest.raises(tl.GraphError, match=r"saved by multiply.*in place by add"):
        y.backward()

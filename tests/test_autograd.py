"""The tape: what backward accumulates, what it refuses, what it frees."""

import gc
import math
import threading
import weakref

import numpy as np
import pytest

import tensorlib as tl
from tensorlib.autograd import grad, jvp


def leaf(*values, dtype="float64"):
    return tl.tensor(list(values), dtype=dtype, requires_grad=True)


def live():
    gc.collect()
    return tl.memory_stats()["live"]


# ---- backward and accumulation -------------------------------------------------
def test_backward_of_lecture_example_gives_its_gradients():
    # Lecture 4: y = ln x1 + x1 x2 - sin x2 at (2, 5).
    x1, x2 = tl.tensor(2.0, requires_grad=True), tl.tensor(5.0, requires_grad=True)
    (x1.log() + x1 * x2 - x2.sin()).backward()
    assert x1.grad.item() == pytest.approx(5.5, rel=1e-6)
    assert x2.grad.item() == pytest.approx(2 - math.cos(5), rel=1e-6)


@pytest.mark.parametrize(
    ("direction", "slope"), [((1.0, 0.0), 5.5), ((0.0, 1.0), 2 - math.cos(5))]
)
def test_jvp_of_lecture_example_gives_its_slopes(direction, slope):
    y, dy = jvp(
        lambda a, b: a.log() + a * b - b.sin(),
        [tl.tensor(v, dtype="float64") for v in [[2.0], [5.0]]],
        [tl.tensor([v], dtype="float64") for v in direction],
    )
    assert y.item() == pytest.approx(math.log(2) + 10 - math.sin(5), rel=1e-14)
    assert dy.item() == pytest.approx(slope, rel=1e-14)


def test_backward_twice_accumulates():
    x = leaf(1.0, 2.0)
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


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

    remove = x.register_hook(refuse)
    with pytest.raises(KeyError):
        y.sum().backward(retain_graph=True)
    remove()
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
    removals[1]()
    removals[1]()
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


# ---- versions and in-place rules -----------------------------------------------
@pytest.mark.parametrize(
    ("saver", "change", "writer"),
    [
        (lambda x: x * x, lambda x: x.add_(1), "add"),
        (lambda x: x.log(), lambda x: x.mul_(2), "multiply"),
        (lambda x: x.sin(), lambda x: x.zero_(), "assign"),
        (lambda x: x @ x, lambda x: x.__setitem__(0, 5.0), "assign"),
    ],
)
def test_error_names_who_saved_and_who_changed(saver, change, writer):
    w = leaf(1.0, 2.0)
    x = w * 1
    y = saver(x).sum()
    with tl.no_grad():
        change(x)
    with pytest.raises(tl.GraphError, match=f"saved by .*changed in place by {writer}"):
        y.backward()


def test_changing_a_saved_output_raises():
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = y.sum()
    with tl.no_grad():
        y += 1
    with pytest.raises(tl.GraphError, match=r"saved by exp.*changed in place by add"):
        z.backward()


def test_changing_what_no_rule_reads_is_allowed():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = (y + 1).sum()
    with tl.no_grad():
        y += 5
    z.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_version_counts_writes():
    x = tl.zeros(3)
    assert x.version == 0
    x += 1
    x[0] = 2
    assert x.version == 2
    assert x[1:].version == 2


def test_changing_a_leaf_in_place_raises():
    x = leaf(1.0)
    with pytest.raises(tl.GraphError, match=r"leaf.*no_grad"):
        x += 1
    with pytest.raises(tl.GraphError, match="leaf"):
        x[0] = 1.0
    with tl.no_grad():
        x += 1
    assert x.tolist() == [2.0]


def test_changing_a_view_in_place_raises():
    x = leaf(1.0, 2.0) * 1
    with pytest.raises(tl.GraphError, match=r"view.*base"):
        x[:1].add_(1)


def test_inplace_change_is_recorded():
    x = leaf(2.0, 3.0)
    y = x * 1
    y *= x
    y[0] = 0.0
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 6.0]


def test_inplace_product_with_itself_is_right():
    x = leaf(2.0, 3.0)
    y = x * 1
    y *= y
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_assigned_value_receives_its_gradient():
    x, v = leaf(1.0, 2.0, 3.0), leaf(5.0)
    y = x * 2
    y[1:2] = v
    (y * y).sum().backward()
    assert v.grad.tolist() == [10.0]
    assert x.grad.tolist() == [8.0, 0.0, 24.0]


def test_assigning_into_a_plain_tensor_records():
    base, v = tl.zeros(3, dtype="float64"), leaf(5.0)
    base[1] = v[0]
    assert base.requires_grad
    (base * base).sum().backward()
    assert v.grad.tolist() == [10.0]


def test_view_taken_before_a_recorded_change_raises():
    x = leaf(1.0, 2.0)
    y = x * 1
    view = y[:1]
    y *= 2
    with pytest.raises(tl.GraphError, match="view"):
        (view * 2).sum().backward()


def test_view_taken_after_a_recorded_change_works():
    x = leaf(1.0, 2.0)
    y = x * 1
    y *= 3
    y[:1].sum().backward()
    assert x.grad.tolist() == [3.0, 0.0]


def test_inplace_through_a_view_changes_its_base():
    base = tl.zeros((2, 3))
    base[0].add_(1)
    base.T[2] = 5
    assert base.tolist() == [[1, 1, 5], [0, 0, 5]]


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


# ---- forward mode --------------------------------------------------------------
def test_jvp_equals_directional_derivative_of_backward():
    rng = np.random.default_rng(0)
    w = tl.tensor(rng.normal(size=(3, 3)))
    x, v = tl.tensor(rng.normal(size=(2, 3))), tl.tensor(rng.normal(size=(2, 3)))

    def function(x):
        return (x @ w).tanh().sum()

    _, slope = jvp(function, x, v)
    x.requires_grad = True
    (g,) = grad(function(x), x)
    assert slope.item() == pytest.approx((g * v).sum().item(), rel=1e-12)


def test_jvp_of_a_constant_is_zero():
    _, dy = jvp(lambda x: tl.ones(3), tl.ones(2), tl.ones(2))
    assert dy.tolist() == [0.0, 0.0, 0.0]


def test_jvp_leaves_no_tangent_behind():
    x = tl.ones(2)
    y, _ = jvp(lambda x: x * 3, x, tl.ones(2))
    assert not x.requires_grad
    _, dz = jvp(lambda a: a + y, tl.ones(2), tl.ones(2))
    assert dz.tolist() == [1.0, 1.0]


def test_jvp_does_not_nest():
    def inner(x):
        return jvp(lambda z: z * z, x, tl.ones(1))[0]

    with pytest.raises(tl.GraphError, match="nest"):
        jvp(inner, tl.ones(1), tl.ones(1))
    assert jvp(lambda x: x * 2, tl.ones(1), tl.ones(1))[1].item() == 2.0


def test_jvp_recovers_after_an_error():
    with pytest.raises(ZeroDivisionError):
        jvp(lambda x: 1 / 0, tl.ones(1), tl.ones(1))
    assert jvp(lambda x: x * 2, tl.ones(1), tl.ones(1))[1].item() == 2.0


def test_jvp_checks_its_tangents():
    with pytest.raises(tl.ShapeError, match=r"\(2,\).*\(3,\)"):
        jvp(lambda x: x, tl.ones(2), tl.ones(3))
    with pytest.raises(ValueError, match="1 tangents, got 2"):
        jvp(lambda x: x, tl.ones(2), [tl.ones(2), tl.ones(2)])
    with pytest.raises(TypeError, match="return a Tensor"):
        jvp(lambda x: 5, tl.ones(2), tl.ones(2))


def test_jvp_of_a_gradient_is_a_hessian_product():
    x = tl.tensor([1.0, 2.0], dtype="float64", requires_grad=True)

    def gradient(x):
        return grad((x * x * x).sum(), x, create_graph=True)[0]

    _, product = jvp(gradient, x, tl.tensor([1.0, 10.0], dtype="float64"))
    assert product.tolist() == [6.0, 120.0]


# ---- the checks themselves -----------------------------------------------------
def test_gradcheck_finds_a_wrong_gradient():
    def wrong(x):
        y = x * x
        return y.detach() + (x * 3 - (x * 3).detach())

    with pytest.raises(tl.GraphError, match="differences"):
        tl.autograd.gradcheck(wrong, leaf(1.0, 2.0))


def test_gradcheck_refuses_float32():
    with pytest.raises(tl.DTypeError, match="float64"):
        tl.autograd.gradcheck(lambda x: x, tl.ones(2, requires_grad=True))


def test_gradcheck_refuses_constants():
    with pytest.raises(tl.GraphError, match="requires grad"):
        tl.autograd.gradcheck(lambda x: x, tl.ones(2, dtype="float64"))


# ---- against PyTorch -----------------------------------------------------------
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

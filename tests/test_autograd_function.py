"""autograd.Function: PyTorch's API, in both modes and to every order."""

import gc

import pytest

import tensorlib as tl
from tensorlib.autograd import Function, gradcheck, gradgradcheck


def leaf(*values):
    return tl.tensor(list(values), dtype=tl.float64, requires_grad=True)


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = tl.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad_output):
        (y,) = ctx.saved_tensors
        return grad_output * y

    @staticmethod
    def jvp(ctx, tangent):
        (y,) = ctx.saved_tensors
        return tangent * y


class Mixed(Function):
    """Two tensors and a number in; a product, a sum, a number and a mask out."""

    @staticmethod
    def forward(ctx, x, factor, y):
        ctx.factor = factor
        ctx.save_for_backward(x, y)
        return x * y * factor, x + y, 3, x > 0

    @staticmethod
    def backward(ctx, product, total, number, mask):
        x, y = ctx.saved_tensors
        return product * y * ctx.factor + total, None, product * x * ctx.factor + total

    @staticmethod
    def jvp(ctx, x_t, factor, y_t):
        x, y = ctx.saved_tensors
        return (x_t * y + x * y_t) * ctx.factor, x_t + y_t, None, None


class Cube(Function):
    """Written with setup_context."""

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output * 3 * ctx.saved_tensors[0] ** 2

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * 3 * ctx.saved_tensors[0] ** 2


def combined(x, y):
    product, total, _, _ = Mixed.apply(x, 2.0, y)
    return tl.sin(product) * total + product


CASES = {
    "saved output": (Exp.apply, 1),
    "first of several outputs": (lambda x, y: Mixed.apply(x, 2.0, y)[0], 2),
    "second of several outputs": (lambda x, y: Mixed.apply(x, 2.0, y)[1], 2),
    "all outputs": (combined, 2),
    "setup_context": (Cube.apply, 1),
    "composition": (lambda x: Cube.apply(Exp.apply(x) + x), 1),
}


def inputs_of(count):
    return (leaf(0.5, -1.25), leaf(2.0, 3.0))[:count]


@pytest.mark.parametrize("name", CASES)
def test_function_in_both_modes_agrees_with_differences(name):
    function, count = CASES[name]
    assert gradcheck(function, inputs_of(count))


@pytest.mark.parametrize("name", CASES)
def test_function_differentiated_twice_agrees_with_differences(name):
    function, count = CASES[name]
    assert gradgradcheck(function, inputs_of(count))


@pytest.mark.parametrize(
    ("outer", "inner"),
    [(a, b) for a in (tl.jacfwd, tl.jacrev) for b in (tl.jacfwd, tl.jacrev)],
)
@pytest.mark.parametrize("order", [2, 3])
def test_function_derivatives_in_any_mix_of_modes_are_those_of_exp(outer, inner, order):
    derivative = inner(outer(lambda x: Exp.apply(x)))
    if order == 3:
        derivative = tl.jacfwd(derivative)
    x = tl.tensor(0.5, dtype=tl.float64)
    assert derivative(x).item() == pytest.approx(tl.exp(x).item(), rel=1e-14)


def test_function_third_derivative_by_nested_jvp_is_that_of_a_cube():
    def slope(f):
        return lambda x: tl.jvp(f, (x,), (tl.ones_like(x),))[1]

    x = tl.tensor(2.0, dtype=tl.float64)
    assert slope(slope(slope(Cube.apply)))(x).item() == 6.0


def test_function_is_pytorchs():
    torch = pytest.importorskip("torch")

    class TorchMixed(torch.autograd.Function):
        forward, backward = Mixed.forward, Mixed.backward

    def run(function, module, dtype):
        x = module.tensor([0.5, -1.0], dtype=dtype, requires_grad=True)
        y = module.tensor([2.0, 3.0], dtype=dtype, requires_grad=True)
        product, total, number, mask = function.apply(x, 2.0, y)
        (product * total).sum().backward()
        flags = product.requires_grad, total.requires_grad, mask.requires_grad
        return x.grad.tolist(), y.grad.tolist(), number, mask.tolist(), flags

    ours = run(Mixed, tl, tl.float64)
    assert ours == run(TorchMixed, torch, torch.float64)


def test_gradients_of_one_output_alone_find_zeros_for_the_others():
    seen = []

    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x.sum(), (x > 0)

        @staticmethod
        def backward(ctx, a, b, c):
            seen.append((a, b, c))
            return a * 2 + b

    x = leaf(1.0, 2.0)
    Both.apply(x)[0].sum().backward()
    a, b, c = seen[0]
    assert a.tolist() == [1.0, 1.0]
    assert (b.shape, b.item(), c.tolist()) == ((), 0.0, [False, False])


def test_gradients_not_materialized_are_none():
    seen = []

    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a, b))
            return b * 3

    Both.apply(leaf(1.0))[1].sum().backward()
    assert seen[0][0] is None
    assert seen[0][1].tolist() == [1.0]


def test_function_needs_input_grad_tells_which():
    seen = []

    class Spy(Function):
        @staticmethod
        def forward(ctx, a, b, c):
            seen.append(ctx.needs_input_grad)
            return a + b

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return g, g, None

    x = leaf(1.0)
    Spy.apply(tl.ones(1, dtype=tl.float64), x, 5).sum().backward()
    with tl.no_grad():
        Spy.apply(x, x, 5)
    assert seen == [(False, True, False)] * 2 + [(False,) * 3]


def test_function_records_nothing_inside():
    class Inner(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            assert not y.requires_grad
            return y

        @staticmethod
        def backward(ctx, g):
            assert not tl.is_grad_enabled()
            return g * 2

    x = leaf(1.0)
    Inner.apply(x).sum().backward()
    assert x.grad.tolist() == [2.0]


def test_output_that_is_an_input_is_a_tensor_of_its_own():
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    x = leaf(1.0, 2.0)
    y = Identity.apply(x)
    y.sum().backward()
    assert x.is_leaf
    assert y is not x
    assert x.grad.tolist() == [5.0, 5.0]
    with pytest.raises(tl.GraphError, match="view"):
        y += 1


def test_output_given_twice_gets_both_cotangents():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            y = x * 2
            return y, y

        @staticmethod
        def backward(ctx, a, b):
            return a * 2 + b * 20

    x = leaf(1.0)
    a, b = Twice.apply(x)
    (a + b * 3).sum().backward()
    assert x.grad.tolist() == [62.0]


def test_mark_dirty_changes_the_argument_and_its_place_in_the_graph():
    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x *= 2
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

        @staticmethod
        def jvp(ctx, tangent):
            return tangent * 2

    w = leaf(1.0, 2.0)
    x = w * 3
    y = Double.apply(x)
    assert y is x
    (y * y).sum().backward()
    assert w.grad.tolist() == [72.0, 144.0]
    assert gradcheck(lambda w: Double.apply(w * 3), (leaf(1.0, 2.0),))


@pytest.mark.parametrize("argument", ["leaf", "view", "no argument", "not returned"])
def test_mark_dirty_of_what_cannot_be_raises(argument):
    other = tl.ones(2, dtype=tl.float64)

    class Dirty(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(other if argument == "no argument" else x)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(1.0, 2.0)
    given = {"leaf": x, "view": (x * 2)[:1]}.get(argument, x * 2)
    with pytest.raises(tl.GraphError, match="mark_dirty"):
        Dirty.apply(given)


def test_forward_that_changes_an_argument_unmarked_raises():
    class Sneaky(Function):
        @staticmethod
        def forward(ctx, x):
            x += 1
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    with pytest.raises(tl.GraphError, match=r"changed argument 0 in place.*mark_dirty"):
        Sneaky.apply(leaf(1.0) * 1)


def test_mark_non_differentiable_output_has_no_gradient():
    class Sorted(Function):
        @staticmethod
        def forward(ctx, x):
            low = x * 0
            ctx.mark_non_differentiable(low)
            return x * 1, low

        @staticmethod
        def backward(ctx, g, none):
            return g

    y, low = Sorted.apply(leaf(1.0))
    assert (y.requires_grad, low.requires_grad) == (True, False)


# ---- errors --------------------------------------------------------------------
def returning(found, **methods):
    """Return a function of (x, number, y) whose backward returns `found`."""

    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, number, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return found

    for name, method in methods.items():
        setattr(Wrong, name, staticmethod(method))
    return Wrong


WRONG = {
    "too few": ((tl.ones(2),), tl.GraphError, "expected 3 gradients.*got 1"),
    "too many": ((tl.ones(2),) * 4, tl.GraphError, "expected 3 gradients.*got 4"),
    "of a number": ((None, tl.ones(2), None), tl.GraphError, "gradient 1"),
    "no tensor": ((1.0, None, None), TypeError, "gradient 0, got float"),
    "shape": ((None, None, tl.ones(3)), tl.ShapeError, r"gradient 2 of shape \(2,\)"),
    "dtype": ((tl.tensor([1, 2]), None, None), tl.DTypeError, "floating gradient 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_backward_that_returns_the_wrong_thing_raises(name):
    found, error, message = WRONG[name]
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0)
    with pytest.raises(error, match=f"Wrong.backward: .*{message}"):
        returning(found).apply(x, 1, y).sum().backward()
    assert x.grad is None
    assert y.grad is None


def test_gradients_may_be_none_more_or_broadcast():
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0)
    found = (tl.ones((3, 2)), None, None, None, None)
    returning(found).apply(x, 1, y).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert y.grad is None


def test_function_without_backward_raises_in_backward():
    class Forward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    y = Forward.apply(leaf(1.0))
    with pytest.raises(tl.GraphError, match="Forward: expected a backward"):
        y.sum().backward()


def test_function_without_jvp_raises_in_forward_mode_before_it_runs():
    calls = []

    class NoJvp(Function):
        @staticmethod
        def forward(ctx, x):
            calls.append(1)
            return x

    x = tl.ones(1)
    with pytest.raises(tl.GraphError, match="NoJvp: expected a jvp"):
        tl.jvp(NoJvp.apply, (x,), (x,))
    assert not calls


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        ((tl.ones(2), tl.ones(2)), tl.GraphError, "expected 1 tangents.*got 2"),
        (tl.ones(3), tl.ShapeError, r"tangent 0 of shape \(2,\), got \(3,\)"),
        (tl.ones(2), tl.DTypeError, "tangent 0 of float64"),
        (5, TypeError, "tangent 0, got int"),
    ],
)
def test_jvp_that_returns_the_wrong_thing_raises(found, error, message):
    wrong = returning((None,) * 3, jvp=lambda ctx, *tangents: found)
    x = tl.ones(2, dtype=tl.float64)
    with pytest.raises(error, match=f"Wrong.jvp: .*{message}"):
        tl.jvp(lambda x: wrong.apply(x, 1, x), (x,), (x,))


def test_function_is_not_instantiated():
    with pytest.raises(TypeError, match=r"use Exp\.apply"):
        Exp()
    with pytest.raises(NotImplementedError, match="forward is missing"):
        Function.apply(leaf(1.0))


def test_context_set_to_nonsense_raises():
    class Hostile(Function):
        @staticmethod
        def forward(ctx, x):
            ctx._saved = (5,)
            return x * 2

    class Untracks(Double1):
        @staticmethod
        def forward(ctx, x):
            x.requires_grad = False
            return x * 1

    with pytest.raises(TypeError, match="Tensor"):
        Hostile.apply(leaf(1.0))
    assert not Untracks.apply(leaf(1.0)).requires_grad


def test_save_for_backward_of_no_tensor_raises():
    class Saves(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, 5)

    with pytest.raises(TypeError, match=r"save_for_backward.*int as argument 1"):
        Saves.apply(leaf(1.0))


def test_saved_tensor_changed_in_place_raises():
    x = leaf(1.0) * 2
    y = Cube.apply(x)
    x += 1
    with pytest.raises(tl.GraphError, match="saved by Cube was changed in place"):
        y.sum().backward()


def test_second_backward_raises_and_retain_graph_permits_it():
    x = leaf(1.0)
    y = Cube.apply(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6.0]
    with pytest.raises(tl.GraphError, match="saved by Cube were freed"):
        y.backward()


def test_saved_tensors_outside_of_the_methods_raise():
    kept = []

    class Keeps(Exp):
        @staticmethod
        def forward(ctx, x):
            kept.append(ctx)
            return Exp.forward(ctx, x)

    Keeps.apply(leaf(1.0))
    with pytest.raises(tl.GraphError, match="in forward, backward and jvp only"):
        _ = kept[0].saved_tensors


def test_error_in_backward_passes_and_leaves_the_graph_usable():
    class Moody(Function):
        fails = True

        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            if Moody.fails:
                raise KeyError("moody")
            return a * 2 + b * 3

    x = leaf(1.0)
    a, b = Moody.apply(x)
    loss = (a + b).sum()
    with pytest.raises(KeyError, match="moody"):
        loss.backward(retain_graph=True)
    Moody.fails = False
    loss.backward()
    assert x.grad.tolist() == [5.0]


def test_saved_intermediate_is_a_constant_and_gradgradcheck_tells():
    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x * x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            return g * 3 * ctx.saved_tensors[0]

        @staticmethod
        def jvp(ctx, t):
            return t * 3 * ctx.saved_tensors[0]

    assert gradcheck(Half.apply, (leaf(2.0),))
    with pytest.raises((tl.GraphError, AssertionError)):
        gradgradcheck(Half.apply, (leaf(2.0),))


# ---- once_differentiable ---------------------------------------------------------
class ByNumpy(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @tl.autograd.once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return tl.asarray(2 * x.detach().numpy() * g.numpy())

    @staticmethod
    def jvp(ctx, t):
        return 2 * ctx.saved_tensors[0] * t


def test_once_differentiable_gives_a_first_gradient():
    assert tl.grad(lambda x: ByNumpy.apply(x).sum())(tl.ones(2)).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("allow_unused", [False, True])
def test_once_differentiable_refuses_a_second_gradient(allow_unused):
    x = leaf(1.0)
    (g,) = tl.autograd.grad(ByNumpy.apply(x).sum(), x, create_graph=True)
    assert g.tolist() == [2.0]
    with pytest.raises(tl.GraphError, match="ByNumpy: is marked once_differentiable"):
        tl.autograd.grad(g.sum(), x, allow_unused=allow_unused)


def test_once_differentiable_refuses_forward_over_reverse():
    with pytest.raises(tl.GraphError, match="once_differentiable"):
        tl.hessian(lambda x: ByNumpy.apply(x).sum())(tl.ones(2))


# ---- memory ----------------------------------------------------------------------
def test_function_frees_by_reference_counts_alone():
    def use():
        x = leaf(1.0, 2.0)
        product, total, _, _ = Mixed.apply(x, 2.0, Exp.apply(x))
        (product * total).sum().backward()
        Exp.apply(x)
        tl.autograd.jvp(Exp.apply, x.detach(), x.detach())

    use()
    gc.collect()
    gc.disable()
    try:
        before = tl.memory_stats()["live"]
        use()
        assert tl.memory_stats()["live"] == before
    finally:
        gc.enable()


def test_function_frees_after_errors_and_graphs_of_gradients():
    def use():
        x = leaf(1.0)
        y = Exp.apply(x)
        (g,) = tl.autograd.grad(y.sum(), x, create_graph=True)
        g.sum().backward(retain_graph=True)
        tl.hessian(lambda x: Exp.apply(x).sum())(x.detach())
        with pytest.raises(tl.GraphError):
            returning((None,)).apply(x, 1, x).sum().backward()

    use()
    gc.collect()
    before = tl.memory_stats()["live"]
    for _ in range(3):
        use()
    gc.collect()
    assert tl.memory_stats()["live"] == before


def test_ten_thousand_functions_in_a_chain_neither_recurse_nor_overflow():
    x = y = leaf(1e-3)
    for _ in range(10_000):
        y = Double1.apply(y)
    y.sum().backward()
    assert x.grad.tolist() == [1.0]
    del y


class Double1(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        return g


def test_complex_output_is_differentiated():
    class Turn(tl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1j

        @staticmethod
        def backward(ctx, grad_output):
            return tl.real(grad_output * -1j)

        @staticmethod
        def jvp(ctx, tangent):
            return tangent * 1j

    x = tl.tensor([2.0, 3.0], requires_grad=True)
    (tl.abs(Turn.apply(x)) ** 2).sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]
    _, tangent = tl.autograd.jvp(Turn.apply, x.detach(), tl.ones(2))
    assert tangent.tolist() == [1j, 1j]

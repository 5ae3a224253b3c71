"""Function transforms against closed forms, torch.func and each other."""

import contextlib
import gc
import itertools
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.transforms.pytree import flatten, flatten_like, tree_map, unflatten

Pair = namedtuple("Pair", ["a", "b"])


@dataclass(frozen=True)
class Params:
    w: object
    b: object


def float64(x):
    return tl.tensor(np.asarray(x, dtype=float))


def close(found, expected, rtol=1e-11):
    found = found.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)


# ---- trees ---------------------------------------------------------------------
TREES = [
    1, None, (), [], {}, (1, [2, {"a": 3, "b": (None, 4)}]), Pair(1, [2]),
    OrderedDict(z=1, a=2), Params(1, {"x": None}),
]  # fmt: skip


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_flatten_and_unflatten_are_inverse(tree):
    leaves, structure = flatten(tree)
    again = unflatten(structure, leaves)
    assert again == tree
    assert type(again) is type(tree)
    assert flatten_like(structure, tree, "test") == leaves


def test_tree_map_matches_keys_not_their_order():
    found = tree_map(lambda x, y: x - y, {"a": 1, "b": 2}, {"b": 20, "a": 10})
    assert found == {"a": -9, "b": -18}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ((1, 2), r"expected a dict with \['a', 'b'\] at the top, got a tuple of 2"),
        ({"a": 1}, "at the top"),
        ({"a": 1, "b": 5}, r"expected a list of 1 at \['b'\], got int"),
        ({"a": 1, "b": [1, 2]}, "got a list of 2"),
    ],
)
def test_another_structure_is_refused(other, message):
    with pytest.raises(ValueError, match=message):
        tree_map(max, {"a": 1, "b": [2]}, other)


# ---- gradients -----------------------------------------------------------------
def test_grad_has_the_structure_of_its_argument():
    def f(p, scale):
        return (p.w[0] * p.b["c"]).sum() * scale

    params = Params([float64([1.0, 2.0])], {"c": float64([3.0, 4.0]), "n": None})
    found = tl.grad(f)(params, 2.0)
    assert isinstance(found, Params)
    close(found.w[0], [6.0, 8.0])
    close(found.b["c"], [2.0, 4.0])
    assert found.b["n"] is None


def test_argnums_choose_and_order_the_gradients():
    f = lambda x, y, z: x * y**2 * z**3  # noqa: E731
    x, y, z = float64(2.0), float64(3.0), float64(5.0)
    assert tl.grad(f, 1)(x, y, z).item() == 2 * 2 * 3 * 125
    dz, dx = tl.grad(f, (-1, 0))(x, y, z)
    assert (dz.item(), dx.item()) == (2 * 9 * 75, 9 * 125)


def test_value_and_grad_with_aux():
    f = lambda x: (x * x, {"n": 3, "y": x + 1})  # noqa: E731
    (value, aux), slope = tl.value_and_grad(f, has_aux=True)(float64(3.0))
    assert (value.item(), slope.item(), aux["n"], aux["y"].item()) == (9, 6, 3, 4)
    assert not any(t.requires_grad for t in (value, slope, aux["y"]))
    slope, aux = tl.grad(f, has_aux=True)(float64(3.0))
    assert (slope.item(), aux["y"].item()) == (6, 4)


def test_gradient_of_unused_argument_is_zero():
    x, y = float64([1.0, 2.0]), float64([3.0])
    found = tl.grad(lambda x, y: x.sum(), (0, 1))(x, y)
    close(found[1], [0.0])
    assert tl.grad(lambda x: float64(1.0))(x).tolist() == [0.0, 0.0]


def test_results_require_grad_only_where_something_outside_does():
    x, w = float64([1.0, 2.0]), float64([3.0, 4.0])
    f = lambda x: (w * x * x).sum()  # noqa: E731
    value, slope = tl.value_and_grad(f)(x)
    assert not value.requires_grad
    assert not slope.requires_grad
    w.requires_grad = True
    value, slope = tl.value_and_grad(f)(x)
    (dw,) = tl.autograd.grad(slope.sum(), w)
    close(dw, [2.0, 4.0])
    assert not x.requires_grad
    assert x.grad is None


def test_grad_works_within_no_grad_and_outside_keeps_recording_off():
    x = float64(3.0).requires_grad_()
    with tl.no_grad():
        slope = tl.grad(lambda x: x**3)(x)
        assert not tl.is_grad_enabled()
    assert slope.item() == 27
    assert not slope.requires_grad


def test_gradient_flows_through_grad_to_a_tracked_argument():
    x = float64(2.0).requires_grad_()
    tl.grad(lambda x: x**3)(x).backward()
    assert x.grad.item() == 12


def test_vjp_may_be_pulled_back_many_times():
    x = float64([1.0, 2.0])
    y, pull = tl.vjp(lambda x: {"s": x.exp().sum(), "n": tl.tensor([1])}, x)
    for u in (1.0, 3.0):
        (found,) = pull({"s": float64(u), "n": tl.tensor([0])})
        close(found, u * np.exp([1.0, 2.0]))
    assert not y["s"].requires_grad


def test_jvp_of_a_tensor_returned_twice_gives_its_tangent_twice():
    def twice(x):
        y = x * x
        return y, {"again": y}

    _, (first, rest) = tl.jvp(twice, (3.0,), (1.0,))
    assert (first.item(), rest["again"].item()) == (6.0, 6.0)
    # As the two gradients of a sum are one tensor.
    slopes = tl.grad(lambda x, y: (x + y) ** 3, (0, 1))
    _, (first, second) = tl.jvp(slopes, (1.0, 1.0), (1.0, 0.0))
    assert (first.item(), second.item()) == (12.0, 12.0)


# ---- composition ---------------------------------------------------------------
def by_jvp(f):
    return lambda x: tl.jvp(f, (x,), (tl.ones_like(x),))[1]


def by_vjp(f):
    return lambda x: tl.vjp(f, x)[1](tl.ones_like(x))[0]


def by_linearize(f):
    return lambda x: tl.linearize(f, x)[1](tl.ones_like(x))


DERIVATIVES = [tl.grad, tl.jacrev, tl.jacfwd, by_jvp, by_vjp, by_linearize]


@pytest.mark.parametrize("modes", list(itertools.product(DERIVATIVES, repeat=3)))
def test_transforms_compose_in_any_order(modes):
    f = lambda x: x.exp() * x.sin()  # noqa: E731
    for mode in modes:
        f = mode(f)
    # The third derivative of exp(x) sin(x) is 2 exp(x) (cos(x) - sin(x)).
    expected = 2 * np.exp(0.5) * (np.cos(0.5) - np.sin(0.5))
    found = f(float64(0.5))
    close(found, expected)
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("outer", "inner"), list(itertools.product(DERIVATIVES, repeat=2))
)
def test_perturbations_are_not_confused(outer, inner):
    f = lambda x: x * inner(lambda y: x * y)(float64(5.0))  # noqa: E731
    g = lambda x: x * inner(lambda y: x + y)(float64(5.0))  # noqa: E731
    assert outer(f)(float64(3.0)).item() == 6.0
    assert outer(g)(float64(3.0)).item() == 1.0


# torch loads parts of itself that warn at the first use of torch.func.
TORCH = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def network(tanh, params, x):
    for w in params["weights"]:
        x = tanh(x @ w)
    return (x * x).sum()


@TORCH
def test_hessian_and_products_equal_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = {"weights": [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))]}
    data = rng.normal(size=(5, 3))

    def ours(p):
        return network(tl.tanh, p, float64(data))

    def theirs(p):
        return network(torch.tanh, p, torch.tensor(data))

    p, q = tree_map(float64, arrays), tree_map(torch.tensor, arrays)
    for name in ("grad", "hessian"):
        found = flatten(getattr(tl, name)(ours)(p))[0]
        expected = flatten(getattr(torch.func, name)(theirs)(q))[0]
        for a, b in zip(found, expected, strict=True):
            close(a, b.numpy(), rtol=1e-10)
    (product,) = tl.hvp(ours, (p,), (p,))
    _, expected = torch.func.jvp(torch.func.grad(theirs), (q,), (q,))
    for a, b in zip(flatten(product)[0], flatten(expected)[0], strict=True):
        close(a, b.numpy(), rtol=1e-10)


@TORCH
@pytest.mark.parametrize("shapes", [((2, 3), (3,)), ((), (2,)), ((0,), (2,))])
def test_jacobians_of_trees_agree_with_torch(shapes):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=s) for s in shapes)

    def f(x, y):
        return {"a": (x * x).sum() * y.exp(), "b": (x.sin(), y)}

    for argnums in (0, 1, (0, 1)):
        found = [
            flatten(t(f, argnums)(float64(x), float64(y)))[0]
            for t in (tl.jacrev, tl.jacfwd)
        ]
        expected = flatten(
            torch.func.jacrev(f, argnums)(torch.tensor(x), torch.tensor(y))
        )[0]
        for both in zip(*found, strict=True):
            e = expected.pop(0)
            for each in both:
                assert each.shape == tuple(e.shape)
                close(each, e.numpy())


def test_newton_step_reaches_a_quadratic_minimum():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(4, 4))
    a, b = a @ a.T + np.eye(4), rng.normal(size=4)
    f = lambda x: 0.5 * (x @ float64(a) @ x) - float64(b) @ x  # noqa: E731
    x = float64(rng.normal(size=4))
    h, g = tl.hessian(f)(x).numpy(), tl.grad(f)(x).numpy()
    close(tl.grad(f)(float64(x.numpy() - np.linalg.solve(h, g))), np.zeros(4))


def test_transforms_leave_no_storage_behind():
    def run():
        x = float64([1.0, 2.0])
        f = lambda x: (x.exp().tanh() * x).sum()  # noqa: E731
        tl.hessian(f)(x)
        tl.jacrev(tl.grad(f))(x)
        tl.linearize(tl.grad(f), x)[1](x)

    run()
    gc.collect()
    before = tl.memory_stats()["live"]
    run()
    gc.collect()
    assert tl.memory_stats()["live"] == before


# ---- modules -------------------------------------------------------------------
def test_functional_call_gives_gradients_by_name():
    tl.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = tl.randn(5, 3, dtype="float64")
    model(x).sum().backward()
    params = {n: p.detach() for n, p in model.named_parameters()}
    kept = dict(model.named_parameters())

    def loss(params):
        return tl.functional_call(model, params, (x,)).sum()

    found = tl.grad(loss)(params)
    for name, p in model.named_parameters():
        close(found[name], p.grad.numpy())
        assert p is kept[name]
    double = {n: p * 2 for n, p in params.items()}
    assert loss(double).item() != pytest.approx(loss(params).item())


def test_functional_call_replaces_tied_weights_everywhere():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    found = tl.functional_call(model, {"0.weight": tl.eye(2) * 3}, tl.ones(2))
    assert found.tolist() == [9.0, 9.0]
    with pytest.raises(ValueError, match="tied"):
        tl.functional_call(
            model, {"0.weight": tl.eye(2), "1.weight": tl.ones((2, 2))}, tl.ones(2)
        )


def test_functional_call_restores_after_an_error():
    model = nn.Linear(2, 2)
    kept = model.weight
    with pytest.raises(tl.ShapeError):
        tl.functional_call(model, {"weight": tl.ones((2, 2))}, tl.ones(3))
    assert model.weight is kept


def test_functional_call_keeps_given_buffers_apart():
    model = nn.BatchNorm1d(2)
    own = model.running_mean.tolist()
    given = {"running_mean": tl.zeros(2)}
    tl.functional_call(model, given, tl.ones((4, 2)) * 5)
    assert model.running_mean.tolist() == own


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"w": tl.ones(1)}, KeyError, "no parameter or buffer 'w'; it has weight"),
        ({"weight": 1}, TypeError, "expected a Tensor for 'weight', got int"),
        ({"weight": tl.ones(1)}, tl.ShapeError, r"expected shape \(2, 2\)"),
        (3, TypeError, "expected a dict"),
    ],
)
def test_functional_call_refuses_bad_parameters(params, error, message):
    with pytest.raises(error, match=message):
        tl.functional_call(nn.Linear(2, 2), params, tl.ones(2))


# ---- errors --------------------------------------------------------------------
X = tl.ones(2)
ERRORS = [
    (lambda: tl.grad(lambda x: x)(X), tl.ShapeError, r"0-d floating.*\(2,\)"),
    (lambda: tl.grad(lambda x: (x.sum(), 1))(X), TypeError, "return tensors, got int"),
    (lambda: tl.grad(lambda x: 1.0)(X), TypeError, "return tensors, got float"),
    (lambda: tl.grad(lambda x: None)(X), tl.ShapeError, "got none"),
    (lambda: tl.grad(lambda x: x.sum())(tl.tensor([1])), tl.DTypeError, "int64"),
    (lambda: tl.grad(lambda x: x)("a"), TypeError, "got str"),
    (lambda: tl.grad(3), TypeError, "expected a function, got int"),
    (lambda: tl.grad(lambda x: x, 1)(X), ValueError, "1 positional arguments, got 1"),
    (lambda: tl.grad(lambda x: x, "a")(X), TypeError, "argnums as ints"),
    (lambda: tl.grad(lambda x: x, (0, 0))(X), ValueError, "without repetition"),
    (lambda: tl.grad(lambda x: x, has_aux=True)(X), TypeError, "has_aux=True"),
    (lambda: tl.vjp(lambda x: x, X)[1](tl.ones(3)), tl.ShapeError, r"\(2,\).*\(3,\)"),
    (lambda: tl.vjp(lambda x: x, X)[1]((X,)), TypeError, "cotangent, got tuple"),
    (lambda: tl.vjp(lambda x: x.sum(), X)[1](None), TypeError, "got NoneType"),
    (lambda: tl.vjp(lambda x: (x, x), X)[1](X), ValueError, "a tuple of 2"),
    (lambda: tl.jvp(lambda x: x, X, X), TypeError, "tuple of primals"),
    (lambda: tl.jvp(lambda x: x, (X,), ()), ValueError, "tuple of 1"),
    (lambda: tl.jvp(lambda x: x, (X,), (tl.ones(3),)), tl.ShapeError, r"\(3,\)"),
    (lambda: tl.jvp(lambda x: 1, (X,), (X,)), TypeError, "return tensors, got int"),
    (lambda: tl.hvp(lambda x: x, X, X), TypeError, "tuple of primals"),
    (lambda: tl.jacfwd(lambda x: x)(()), ValueError, "got none"),
    (lambda: tl.functional_call(3, {}), TypeError, "expected a Module"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_bad_calls_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert tl.is_grad_enabled()
    assert tl.grad(lambda x: x * x)(3.0).item() == 6.0


# ---- memory ------------------------------------------------------------------------
def forward_programs():
    x, w = tl.tensor([0.5, -1.0]), tl.tensor([2.0, 3.0], requires_grad=True)
    layer = nn.Sequential(nn.Linear(2, 3), nn.Tanh())

    def slope(y):
        return tl.jvp(lambda x: tl.exp(x * y), (x,), (x,))[1]

    return {
        "constant": lambda: tl.jvp(lambda x: tl.tanh(x) * x, (x,), (x,)),
        "leaf": lambda: tl.jvp(lambda x: tl.tanh(tl.exp(x * w)), (x,), (x,)),
        "both": lambda: tl.jvp(lambda x: tl.exp(x) * w, (w,), (x,))[1].sum().backward(),
        "aux": lambda: tl.jvp(lambda x: (x * w, tl.exp(x)), (x,), (x,), has_aux=True),
        "module": lambda: tl.jvp(layer, (x,), (x,)),
        "of grad": lambda: tl.jvp(tl.grad(lambda x: tl.tanh(x).sum()), (x,), (x,)),
        "nested": lambda: tl.jvp(slope, (w,), (x,)),
        "linearize": lambda: tl.linearize(lambda x: tl.exp(x) * w, x)[1](x),
        "jacfwd": lambda: tl.jacfwd(lambda x: tl.exp(x) * w)(x),
        "hessian": lambda: tl.hessian(lambda x: tl.tanh(x * w).sum())(x),
        "error": lambda: tl.jvp(lambda x: [tl.exp(x * w), "text"], (x,), (x,)),
    }


@pytest.mark.parametrize("name", forward_programs())
def test_forward_transform_leaves_no_cycle(name):
    program = forward_programs()[name]

    def run():
        with contextlib.suppress(TypeError):
            program()

    run()
    gc.collect()
    gc.disable()
    try:
        before = tl.memory_stats()["live"]
        run()
        assert tl.memory_stats()["live"] == before
        assert gc.collect() == 0
    finally:
        gc.enable()

"""Chains of three transforms in random order, against torch.func and differences.

Each transform of a chain turns a function from arrays of one shape to arrays of it into
another such function, so that any may follow any. What a chain means is said once, for
both libraries.
"""

import itertools
import random
from dataclasses import dataclass

import numpy as np
import pytest

import tensorlib as tl
from tensorlib import nn

# torch loads parts of itself that warn at the first use of torch.func.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


# ---- transforms of functions from (3,) to (3,) ------------------------------
def by_grad(lib, func, f):
    return func.grad(lambda x: (f(x) * weights(lib)).sum())


def by_jvp(lib, func, f):
    return lambda x: func.jvp(f, (x,), (weights(lib) * x,))[1]


def by_vjp(lib, func, f):
    return lambda x: func.vjp(f, x)[1](weights(lib) * x)[0]


def by_linearize(lib, func, f):
    return lambda x: func.linearize(f, x)[1](weights(lib) * x)


def by_jacfwd(lib, func, f):
    return lambda x: func.jacfwd(f)(x) @ weights(lib)


def by_jacrev(lib, func, f):
    return lambda x: weights(lib) @ func.jacrev(f)(x)


def by_vmap(lib, func, f):
    # The examples depend on each other's inputs through x alone.
    def mapped(x):
        rows = lib.stack([x, x * 0.5, x - 1.0])
        return func.vmap(f)(rows).sum(0)

    return mapped


def by_inner_vmap(lib, func, f):
    def mapped(x):
        return func.vmap(lambda s, x: (f(x * s) * s).sum(), (0, None))(x, x)

    return mapped


def by_hvp(lib, func, f):
    total = lambda x: (f(x) * weights(lib)).sum()  # noqa: E731
    if func is tl:
        return lambda x: tl.hvp(total, (x,), (weights(lib),))[0]
    return lambda x: func.jvp(func.grad(total), (x,), (weights(lib),))[1]


def weights(lib):
    return lib.asarray(np.array([0.5, -1.0, 2.0]))


TRANSFORMS = {
    "grad": by_grad, "jvp": by_jvp, "vjp": by_vjp, "linearize": by_linearize,
    "jacfwd": by_jacfwd, "jacrev": by_jacrev, "vmap": by_vmap,
    "inner vmap": by_inner_vmap, "hvp": by_hvp,
}  # fmt: skip


# ---- functions -----------------------------------------------------------------
def smooth(lib, x):
    return lib.sin(x) * lib.exp(-x * x * 0.5) + x**3 * 0.1


def products(lib, x):
    a = lib.asarray(np.array([[0.3, -0.2, 0.5], [0.1, 0.4, -0.6], [0.7, 0.2, 0.1]]))
    return lib.tanh(a @ x) @ a + x[0] * x


def softmaxes(lib, x):
    e = lib.exp(x - x.sum() * 0.1)
    return e / e.sum() * lib.cos(x[1])


def views(lib, x):
    y = lib.stack([x, x * x])
    return (y.T @ y)[0] + y[1, [2, 0, 1]] * x[-1]


FUNCTIONS = [smooth, products, softmaxes, views]


def chained(names, lib, func, f):
    function = lambda x: f(lib, x)  # noqa: E731
    for name in names:
        function = TRANSFORMS[name](lib, func, function)
    return function


def sample_of_chains(count):
    every = list(itertools.product(TRANSFORMS, repeat=3))
    return random.Random(0).sample(every, count)


POINT = np.array([0.4, -0.7, 0.9])


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("names", sample_of_chains(90), ids="-".join)
def test_chain_of_three_equals_torch(torch, f, names):
    found = chained(names, tl, tl, f)(tl.tensor(POINT))
    # torch's linearize traces with constants of its own; the same by jvp.
    theirs = ["jvp" if name == "linearize" else name for name in names]
    expected = chained(theirs, torch, torch.func, f)(torch.tensor(POINT))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("names", sample_of_chains(30), ids="-".join)
def test_chain_result_is_outside_all_graphs_and_leaves_nothing(names):
    x = tl.tensor(POINT)
    assert not chained(names, tl, tl, products)(x).requires_grad
    before = tl.memory_stats()["live"]
    chained(names, tl, tl, products)(x)
    assert tl.memory_stats()["live"] == before


# ---- modules and trees -----------------------------------------------------------
@dataclass(frozen=True)
class State:
    params: dict
    scale: object


def network():
    tl.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)
    )  # fmt: skip
    return model.double()


MODEL = network()


def module_loss(state, x):
    """A smooth scalar of a dataclass that holds a module's parameters."""
    y = tl.functional_call(MODEL, state.params, (x,))
    return (tl.log_softmax(y, axis=-1)[..., 0] * state.scale).sum()


def start():
    params = {k: p.detach() for k, p in MODEL.named_parameters()}
    return State(params, tl.tensor(1.5, dtype="float64"))


def mapped_tree(function, *trees):
    """Apply a function leaf by leaf of States."""
    params = {
        k: function(*[t.params[k] for t in trees]) for k in trees[0].params
    }  # fmt: skip
    return State(params, function(*[t.scale for t in trees]))


def inner(a, b):
    total = (a.scale * b.scale).sum()
    for k in a.params:
        total = total + (a.params[k] * b.params[k]).sum()
    return total


def direction():
    rng = np.random.default_rng(3)
    return mapped_tree(lambda p: tl.tensor(rng.normal(size=p.shape)), start())


# Of f(state) -> scalar, another such function: its slope along the direction.
def slope_by_grad(f):
    return lambda s: inner(tl.grad(f)(s), direction())


def slope_by_jvp(f):
    return lambda s: tl.jvp(f, (s,), (direction(),))[1]


def slope_by_vjp(f):
    def pulled(s):
        y, pull = tl.vjp(f, s)
        return inner(pull(tl.ones_like(y))[0], direction())

    return pulled


def slope_by_linearize(f):
    return lambda s: tl.linearize(f, s)[1](direction())


def slope_by_jacrev(f):
    return lambda s: inner(tl.jacrev(f)(s), direction())


def slope_by_jacfwd(f):
    return lambda s: inner(tl.jacfwd(f)(s), direction())


def slope_by_vmap(f):
    # One example along the direction: the slope of a mean of three equal ones.
    def mapped(s):
        steps = tl.tensor([1.0, 1.0, 1.0], dtype="float64")
        along = lambda c, s: tl.jvp(  # noqa: E731
            lambda t: f(mapped_tree(lambda p, v: p + v * t, s, direction())),
            (c * 0.0,), (c,),
        )[1]  # fmt: skip
        return tl.vmap(along, (0, None))(steps, s).mean()

    return mapped


SLOPES = {
    "grad": slope_by_grad, "jvp": slope_by_jvp, "vjp": slope_by_vjp,
    "linearize": slope_by_linearize, "jacrev": slope_by_jacrev,
    "jacfwd": slope_by_jacfwd, "vmap": slope_by_vmap,
}  # fmt: skip
DATA = np.random.default_rng(5).normal(size=(4, 3))


def forward_slope(f):
    return lambda t: tl.jvp(f, (t,), (tl.ones_like(t),))[1]


def derivative(order):
    """Of t -> loss(start + t direction), by differences of the order before it."""

    def along(t):
        return module_loss(
            mapped_tree(lambda p, v: p + v * t, start(), direction()), tl.tensor(DATA)
        )

    def slope(t):
        f = along
        for _ in range(order - 1):
            f = forward_slope(f)
        return f(tl.tensor(t, dtype="float64")).item()

    eps = 1e-5
    return (slope(eps) - slope(-eps)) / (2 * eps)


THIRD = {order: derivative(order) for order in (1, 2, 3)}


@pytest.mark.parametrize(
    "names",
    random.Random(1).sample(list(itertools.product(SLOPES, repeat=3)), 60),
    ids="-".join,
)
def test_chain_over_a_module_in_a_dataclass_equals_differences(names):
    def loss(state):
        return module_loss(state, tl.tensor(DATA))

    f = loss
    for order, name in enumerate(names, 1):
        f = SLOPES[name](f)
        expected = THIRD[order]
        assert f(start()).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)

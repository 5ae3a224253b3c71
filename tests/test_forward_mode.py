"""Forward mode: jvp against known slopes and against backward."""

import gc
import itertools
import math
import threading

import numpy as np
import pytest

import tensorlib as tl
from tensorlib.autograd import grad, jvp
from tensorlib.autograd.forward import DualLevel


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


def float64(x):
    return tl.tensor(x, dtype="float64")


def slope_of(function):
    """The derivative of a function of a scalar, by forward mode."""
    return lambda x: jvp(function, x, tl.ones_like(x))[1]


def gradient_of(function):
    """The derivative of a function of a scalar, by reverse mode."""

    def derivative(x):
        if not x.requires_grad:
            x = x.reshape(()).requires_grad_()
        return grad(function(x), x, create_graph=True)[0]

    return derivative


# d/dx of exp(x) sin(x), of order n: 2^(n/2) exp(x) sin(x + n pi / 4).
def nth_derivative(n, x):
    return 2 ** (n / 2) * math.exp(x) * math.sin(x + n * math.pi / 4)


@pytest.mark.parametrize(
    "modes", [m for n in range(1, 5) for m in itertools.product("fr", repeat=n)]
)
def test_modes_nest_in_any_order(modes):
    function = lambda x: x.exp() * x.sin()  # noqa: E731
    for mode in modes:
        function = slope_of(function) if mode == "f" else gradient_of(function)
    expected = nth_derivative(len(modes), 0.5)
    assert function(float64(0.5)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("inner", [slope_of, gradient_of])
@pytest.mark.parametrize("outer", [slope_of, gradient_of])
def test_perturbations_are_not_confused(outer, inner):
    # d/dx (x d/dy (x + y)) = 1, and d/dx (x d/dy (x y)) = 2 x.
    sums = outer(lambda x: x * inner(lambda y: x + y)(float64(5.0)))
    products = outer(lambda x: x * inner(lambda y: x * y)(float64(5.0)))
    assert sums(float64(3.0)).item() == 1.0
    assert products(float64(3.0)).item() == 6.0


def test_inner_call_may_return_what_it_closes_over():
    # The outer tangent of x survives the inner call that returns x itself.
    def function(x):
        y, dy = jvp(lambda z: x, float64(1.0), float64(1.0))
        return y * y + dy

    assert slope_of(function)(float64(3.0)).item() == 6.0


def test_too_many_nested_calls_are_refused():
    def deep(n):
        return (lambda x: x) if n == 0 else lambda x: jvp(deep(n - 1), x, x)[0]

    with pytest.raises(tl.GraphError, match="at most 64 nested"):
        deep(65)(tl.ones(()))
    assert slope_of(lambda x: x * x)(float64(3.0)).item() == 6.0


def test_mixed_modes_leave_no_storage_behind():
    def run():
        x = float64([0.3, 0.7])

        def gradient(x):
            x = x.reshape(2) if x.requires_grad else x.reshape(2).requires_grad_()
            return grad((x.exp() * x.sigmoid()).sum(), x, create_graph=True)[0]

        jvp(gradient, x, x)
        y, dy = jvp(lambda x: x.tanh().exp(), x.requires_grad_(), tl.ones_like(x))
        grad(dy.sum() + y.sum(), x)

    run()
    gc.collect()
    before = tl.memory_stats()["live"]
    gc.disable()  # reference counts alone must do: no cycle is left
    try:
        run()
        after = tl.memory_stats()["live"]
    finally:
        gc.enable()
    assert after == before


def test_composed_gradient_under_jvp_keeps_recording_off():
    x = tl.randn(3, 4, dtype="float64")

    def gradient(x):
        x = x.reshape(3, 4).requires_grad_()
        return grad(tl.glu(x).sum(), x)[0]

    y, dy = jvp(gradient, x, x)
    assert not y.requires_grad
    assert not dy.requires_grad


def test_jvp_refuses_integers():
    with pytest.raises(tl.DTypeError, match="floating-point primal, got int64"):
        jvp(lambda x: x, tl.tensor([1]), tl.tensor([1]))


def test_threads_have_their_own_levels():
    found = {}

    def work(k):
        x = float64(0.1 * k)
        found[k] = slope_of(slope_of(lambda x: x.exp() * x.sin()))(x).item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(8):
        assert found[k] == pytest.approx(nth_derivative(2, 0.1 * k), abs=1e-12)


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


@pytest.mark.parametrize("tangents", [None, 1.0, "x", [[1.0, 2.0]]])
def test_jvp_with_tangents_that_are_no_tensors_is_refused(tangents):
    with pytest.raises(TypeError, match="jvp: expected a Tensor"):
        tl.autograd.jvp(lambda x: x, tl.ones(2), tangents)


def test_jvp_of_a_gradient_is_a_hessian_product():
    x = tl.tensor([1.0, 2.0], dtype="float64", requires_grad=True)

    def gradient(x):
        return grad((x * x * x).sum(), x, create_graph=True)[0]

    _, product = jvp(gradient, x, tl.tensor([1.0, 10.0], dtype="float64"))
    assert product.tolist() == [6.0, 120.0]


def test_leaving_a_level_that_is_not_the_innermost_is_refused():
    with pytest.raises(tl.GraphError, match="innermost"):
        DualLevel().__exit__(None, None, None)
    refused = pytest.raises(tl.GraphError, match="innermost")
    with DualLevel() as outer, DualLevel(), refused:
        outer.__exit__(None, None, None)

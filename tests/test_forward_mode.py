"""Forward mode: jvp against known slopes and against backward."""

import math

import numpy as np
import pytest

import tensorlib as tl
from tensorlib.autograd import grad, jvp


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

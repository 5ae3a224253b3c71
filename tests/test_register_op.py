"""Operations given by their rules."""

import itertools

import numpy as np
import pytest

import tensorlib as tl
from tensorlib.autograd import gradcheck, gradgradcheck, register_op, registered_ops

names = (f"op_{n}" for n in itertools.count())


def polar(r, angle, *, scale=1.0):
    return r * tl.cos(angle) * scale, r * tl.sin(angle) * scale


def polar_vjp(cotangents, inputs, outputs, *, scale=1.0):
    (a, b), (_, angle), (x, y) = cotangents, inputs, outputs
    return (a * tl.cos(angle) + b * tl.sin(angle)) * scale, b * x - a * y


def polar_jvp(tangents, inputs, outputs, *, scale=1.0):
    (dr, da), (_, angle), (x, y) = tangents, inputs, outputs
    along = dr * scale
    return along * tl.cos(angle) - y * da, along * tl.sin(angle) + x * da


@pytest.fixture(scope="module")
def op():
    return register_op(next(names), polar, polar_vjp, polar_jvp)


@pytest.mark.parametrize("part", [0, 1])
def test_registered_op_agrees_with_differences_in_all_modes(op, part):
    r = tl.tensor([1.0, 2.5], dtype=tl.float64, requires_grad=True)
    angle = tl.tensor([0.25, -1.0], dtype=tl.float64, requires_grad=True)
    assert gradcheck(lambda r, a: op(r, a, scale=1.5)[part], (r, angle))
    assert gradgradcheck(lambda r, a: op(r, a, scale=1.5)[part], (r, angle))


def test_registered_op_is_found_and_named(op):
    assert registered_ops()[op.name] is op
    assert repr(op) == f"<op {op.name}>"
    x = tl.ones(2, requires_grad=True)
    assert op(x, x)[0].grad_fn.name == op.name


def test_registered_op_on_numpy_without_jvp_raises_in_forward_mode():
    sort = register_op(
        next(names),
        lambda x: tl.asarray(np.sort(x.numpy())),
        lambda g, x, y: tl.take(
            g[0], tl.asarray(np.argsort(np.argsort(x[0].detach().numpy())))
        ),
    )
    x = tl.tensor([3.0, 1.0, 2.0])
    weights = tl.tensor([1.0, 10.0, 100.0])
    found = tl.grad(lambda x: (sort(x) * weights).sum())(x)
    assert found.tolist() == [100.0, 1.0, 10.0]
    with pytest.raises(tl.GraphError, match=f"{sort.name}: expected a jvp"):
        tl.jvp(sort, (x,), (x,))


def _numpy_sort():
    """Scaled sorting along the last axis, in NumPy; its rule calls the op itself."""
    order = lambda x: tl.asarray(np.argsort(x.detach().numpy(), axis=-1))  # noqa: E731

    def kernel(x, by, *, scale=1.0):
        return tl.asarray(np.sort(x.numpy(), axis=-1) * scale) * by

    def vjp(cotangents, inputs, outputs, *, scale=1.0):
        (g,), (x, by) = cotangents, inputs
        back = tl.argsort(order(x), axis=-1)
        ordered = tl.take_along_axis(x, order(x), axis=-1) * scale
        return tl.take_along_axis(g * by, back, axis=-1) * scale, g * ordered

    def batching(x, by, *, scale=1.0):
        return sort(x, by, scale=scale)

    sort = register_op(next(names), kernel, vjp, batching=batching)
    return sort


def test_registered_op_with_a_batching_rule_agrees_with_a_loop_under_vmap():
    sort = _numpy_sort()
    rng = np.random.default_rng(5)
    x, by = tl.asarray(rng.normal(size=(2, 3, 4))), tl.asarray(rng.normal(size=4))

    def one(x):
        return sort(x, by, scale=2.0)

    loop = tl.stack([tl.stack([one(row) for row in rows]) for rows in x])
    found = tl.vmap(tl.vmap(one))(x)
    np.testing.assert_array_equal(found.numpy(), loop.numpy())

    def loss(x, by):
        return (sort(x, by, scale=2.0) ** 2).sum()

    slopes = tl.vmap(tl.grad(loss, argnums=(0, 1)), in_axes=(0, None))(x[0], by)
    for n, rows in enumerate(zip(*slopes, strict=True)):
        wanted_rows = tl.grad(loss, argnums=(0, 1))(x[0][n], by)
        for got, wanted in zip(rows, wanted_rows, strict=True):
            np.testing.assert_allclose(got.numpy(), wanted.numpy(), 1e-12)


@pytest.mark.parametrize("made", [5, tl.ones(3), tl.ones(())])
def test_batching_rule_that_returns_no_examples_raises(made):
    wrong = register_op(next(names), len, len, batching=lambda x: made)
    with pytest.raises(tl.ShapeError, match="2 examples along their first axis, got"):
        tl.vmap(wrong)(tl.ones((2, 4)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("no name", len, len), ValueError, "identifier as name, got 'no name'"),
        ((5, len, len), ValueError, "identifier as name, got 5"),
        (("fine", None, len), TypeError, "callable as kernel, got NoneType"),
        (("fine", len, 3), TypeError, "callable as vjp, got int"),
        (("fine", len, len, 3), TypeError, "callable as jvp, got int"),
    ],
)
def test_register_op_refuses_what_is_no_op(arguments, error, message):
    with pytest.raises(error, match=f"register_op: .*{message}"):
        register_op(*arguments)
    assert "fine" not in registered_ops()


def test_register_op_refuses_a_name_twice_and_inputs_that_are_no_tensors(op):
    with pytest.raises(ValueError, match="a new name"):
        register_op(op.name, len, len)
    with pytest.raises(TypeError, match=f"{op.name}: expected a Tensor as input 1"):
        op(tl.ones(1), 2.0)

"""Results of elementwise ops lie in memory as their operands do."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorlib as tl
from tensorlib import nn, optim

torch = pytest.importorskip("torch")

PERMUTATIONS = st.permutations(range(4))
SHAPES = st.tuples(*[st.integers(1, 4)] * 4)

ONE_OPERAND = {
    "exp": lambda m, x: m.exp(x),
    "relu": lambda m, x: (m.nn.functional if m is torch else m).relu(x),
    "celu": lambda m, x: (m.nn.functional if m is torch else nn.functional).celu(x),
    "negative": lambda m, x: -x,
    "plus a number": lambda m, x: x + 1,
    "less than a number": lambda m, x: x < 0.5,
    "clip": lambda m, x: m.clip(x, 0.2, 0.6),
    "abs of complex": lambda m, x: m.abs(x + 1j),
    "clone": lambda m, x: x.clone(),
    "cast": lambda m, x: x.double() if m is torch else x.astype("float64"),
    "zeros_like": lambda m, x: m.zeros_like(x),
    "ones_like": lambda m, x: m.ones_like(x, dtype=m.int64),
    "empty_like": lambda m, x: m.empty_like(x),
}
TWO_OPERANDS = {
    "sum": lambda m, x, y: x + y,
    "power": lambda m, x, y: m.pow(x, y),
    "comparison": lambda m, x, y: x < y,
    "where": lambda m, x, y: m.where(x < y, x, y),
    "sum of dtypes": lambda m, x, y: x + (y.int() if m is torch else y.astype("int32")),
}


def values(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def steps(x):
    """The strides of axes longer than one: those of others have no meaning."""
    strides = x.stride() if isinstance(x, torch.Tensor) else x.strides
    return tuple(s for s, n in zip(strides, x.shape, strict=True) if n > 1)


def pair(shape, axes, seed=0):
    """One permuted array as a tensor of ours and of PyTorch."""
    a = values(shape, seed)
    return (
        tl.permute_dims(tl.tensor(a), tuple(axes)),
        torch.from_numpy(a.copy()).permute(*axes),
    )


def assert_same(ours, theirs, check_values=True):
    assert steps(ours) == steps(theirs)
    if check_values:
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)


# ---- strides ------------------------------------------------------------------------
@pytest.mark.parametrize("name", ONE_OPERAND)
@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, axes=PERMUTATIONS)
def test_result_of_a_permuted_operand_has_pytorchs_strides(name, shape, axes):
    ours, theirs = pair(shape, axes)
    assert_same(
        ONE_OPERAND[name](tl, ours),
        ONE_OPERAND[name](torch, theirs),
        name != "empty_like",
    )


@pytest.mark.parametrize("name", TWO_OPERANDS)
@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, axes=PERMUTATIONS)
def test_result_of_equally_permuted_operands_has_pytorchs_strides(name, shape, axes):
    (x, tx), (y, ty) = pair(shape, axes), pair(shape, axes, 1)
    assert_same(TWO_OPERANDS[name](tl, x, y), TWO_OPERANDS[name](torch, tx, ty))


@given(shape=SHAPES, axes=PERMUTATIONS)
def test_result_of_permuted_operand_and_a_row_keeps_the_order(shape, axes):
    x, tx = pair(shape, axes)
    row = values(x.shape[-1:], 1)
    assert_same(x * tl.tensor(row), tx * torch.from_numpy(row))
    assert_same(tl.tensor(row) - x, torch.from_numpy(row) - tx)


def test_result_of_operands_in_different_orders_is_in_c_order():
    x, y = tl.tensor(values((5, 6))), tl.tensor(values((6, 5)))
    assert (x + y.T).is_contiguous
    assert (y.T + x).is_contiguous
    z = tl.permute_dims(tl.tensor(values((4, 5, 6))), (2, 0, 1))
    w = tl.permute_dims(tl.tensor(values((5, 4, 6))), (2, 1, 0))
    assert (z + w).is_contiguous


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, ::2].T,
        lambda x: x[:, :4].T,
        lambda x: x.T[::-1],
        lambda x: x[0].broadcast_to((5, 6)).T,
    ],
    ids=["every second", "part", "reversed", "broadcast"],
)
def test_result_of_an_operand_with_gaps_is_in_c_order(view):
    x = view(tl.tensor(values((5, 6))))
    assert tl.exp(x).is_contiguous
    assert (x + x).is_contiguous
    np.testing.assert_array_equal((x + x).numpy(), 2 * x.numpy())


def test_result_of_a_whole_slice_of_a_transpose_keeps_the_order():
    x = tl.tensor(values((5, 6, 7)))[2].T
    assert (x * 2).strides == (1, 7)
    np.testing.assert_array_equal((x * 2).numpy(), 2 * x.numpy())


def test_contiguous_after_an_op_on_a_transpose_is_in_c_order():
    x = (tl.tensor(values((5, 6))).T * 2).contiguous()
    assert x.is_contiguous
    assert x.strides == (5, 1)


def test_reshape_of_a_result_in_column_order_is_in_c_order():
    a = values((5, 6))
    found = (tl.tensor(a).T * 2).reshape(-1)
    np.testing.assert_array_equal(found.numpy(), (2 * a.T).reshape(-1))


def test_empty_and_single_element_operands_give_contiguous_results():
    assert (tl.zeros((0, 3)).T + 1).is_contiguous
    assert (tl.zeros((1, 1)).T + 1).is_contiguous
    assert (tl.zeros((1, 3)).T + 1).is_contiguous


# ---- gradients ----------------------------------------------------------------------
def saves_its_output(x):
    return tl.exp(tl.tanh(x) * tl.sqrt(x))


def test_gradient_through_saved_outputs_in_column_order_matches_pytorch():
    a = values((5, 6)) + 0.1
    x = tl.tensor(a, requires_grad=True)
    t = torch.from_numpy(a).requires_grad_()
    (saves_its_output(x.T) ** 2).sum().backward()
    (torch.exp(torch.tanh(t.T) * torch.sqrt(t.T)) ** 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-4)


def test_second_gradient_through_saved_outputs_in_column_order_matches_pytorch():
    a = values((3, 4)) + 0.1
    x = tl.tensor(a, requires_grad=True)
    t = torch.from_numpy(a).requires_grad_()
    (g,) = tl.autograd.grad(saves_its_output(x.T).sum(), [x], create_graph=True)
    (found,) = tl.autograd.grad((g * g).sum(), [x])
    y = torch.exp(torch.tanh(t.T) * torch.sqrt(t.T)).sum()
    (h,) = torch.autograd.grad(y, [t], create_graph=True)
    (expected,) = torch.autograd.grad((h * h).sum(), [t])
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3)


def test_saved_output_in_column_order_that_was_changed_raises():
    x = tl.tensor(values((5, 6)), requires_grad=True)
    y = tl.exp(x.T)
    with tl.no_grad():
        y.fill_(0)
    with pytest.raises(tl.GraphError, match="saved by exp was changed in place"):
        y.sum().backward()


def test_saved_output_in_column_order_after_backward_raises():
    x = tl.tensor(values((5, 6)), requires_grad=True)
    y = tl.exp(x.T).sum()
    y.backward()
    with pytest.raises(tl.GraphError, match="freed by an earlier backward"):
        y.backward()


def test_saved_output_in_column_order_passes_the_hooks():
    seen = []

    def pack(x):
        seen.append(x.shape)
        return x.numpy().copy()

    x = tl.tensor(values((5, 6)), requires_grad=True)
    with tl.autograd.saved_tensors_hooks(pack, tl.tensor):
        y = tl.exp(x.T)
    y.sum().backward()
    assert seen == [(6, 5)]
    np.testing.assert_allclose(x.grad.numpy(), np.exp(x.detach().numpy()), rtol=1e-6)


def test_jvp_through_a_saved_output_in_column_order_matches_the_formula():
    a = values((5, 6))
    x, v = tl.tensor(a).T, tl.tensor(values((6, 5), 1))
    _, found = tl.jvp(tl.exp, (x,), (v,))
    np.testing.assert_allclose(found.numpy(), np.exp(a.T) * v.numpy(), rtol=1e-6)


def test_vmap_over_transposes_equals_a_loop():
    a = tl.tensor(values((3, 4, 5)))

    def f(x):
        return tl.exp(x.T) * x.T

    found = tl.vmap(f)(a)
    expected = np.stack([f(x).numpy() for x in a])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


# ---- what reads memory --------------------------------------------------------------
@pytest.fixture
def column_order():
    """A result in column order and its values."""
    a = values((5, 6))
    found = tl.tensor(a).T * 2
    assert not found.is_contiguous
    return found, 2 * a.T


def test_numpy_of_a_result_in_column_order_has_its_strides(column_order):
    found, expected = column_order
    assert found.numpy().flags.f_contiguous
    np.testing.assert_array_equal(found.numpy(), expected)


def test_dlpack_of_a_result_in_column_order_keeps_values(column_order):
    found, expected = column_order
    np.testing.assert_array_equal(torch.from_dlpack(found).numpy(), expected)


def test_pickle_of_a_result_in_column_order_keeps_values(column_order):
    found, expected = column_order
    back = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(back.numpy(), expected)


def test_safetensors_of_a_result_in_column_order_keeps_values(column_order, tmp_path):
    found, expected = column_order
    tl.save({"x": found}, tmp_path / "x.safetensors")
    back = tl.load(tmp_path / "x.safetensors")["x"]
    np.testing.assert_array_equal(back.numpy(), expected)


def test_product_of_results_in_column_order_matches_numpy(column_order):
    found, expected = column_order
    np.testing.assert_allclose((found @ found.T).numpy(), expected @ expected.T, 1e-5)
    np.testing.assert_allclose((found.T @ found).numpy(), expected.T @ expected, 1e-5)


# ---- optimizers ---------------------------------------------------------------------
OPTIMIZERS = {
    "sgd": lambda m, p: m.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda m, p: m.Adam(p, lr=0.1),
    "rmsprop": lambda m, p: m.RMSprop(p, lr=0.1),
    "adagrad": lambda m, p: m.Adagrad(p, lr=0.1),
}


def trained(library, parameter, optimizer, loss, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        loss(parameter).backward()
        optimizer.step()
    return parameter.detach().numpy()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "loss",
    [lambda p: (p * p * p).sum(), lambda p: (p.T @ p).sum()],
    ids=["gradient in column order", "gradient in C order"],
)
def test_optimizer_of_a_parameter_in_column_order_matches_pytorch(name, loss):
    a = values((5, 6))
    ours = nn.Parameter(tl.tensor(a).T * 2)
    theirs = torch.nn.Parameter(torch.from_numpy(a).T * 2)
    assert not ours.is_contiguous
    found = trained(tl, ours, OPTIMIZERS[name](optim, [ours]), loss)
    expected = trained(torch, theirs, OPTIMIZERS[name](torch.optim, [theirs]), loss)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_optimizer_state_of_a_parameter_in_column_order_is_restored():
    a = values((5, 6))

    def one():
        p = nn.Parameter(tl.tensor(a).T * 2)
        return p, optim.Adam([p], lr=0.1)

    def loss(p):
        return (p * p * p).sum()

    p, adam = one()
    trained(tl, p, adam, loss)
    q, other = one()
    with tl.no_grad():
        q.copy_(p)
    other.load_state_dict(adam.state_dict())
    expected = trained(tl, p, adam, loss)
    np.testing.assert_array_equal(trained(tl, q, other, loss), expected)


def test_optimizer_of_a_parameter_with_gaps_raises():
    p = tl.tensor(values((5, 6)))[:, ::2].requires_grad_()
    p.grad = tl.ones(p.shape)
    with pytest.raises(tl.ShapeError, match="expected contiguous or permuted"):
        optim.SGD([p], lr=0.1).step()

"""Failures that teach: what an error says is there, complete and true."""

import inspect

import pytest

import tensorlib as tl
from tensorlib import nn
from tensorlib.autograd import grad


def leaf(*values):
    return tl.tensor(list(values), requires_grad=True)


def line_after():
    """``file:line`` of the line that follows the call."""
    frame = inspect.currentframe().f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno + 1}"


class Encoder(nn.Module):
    """Its second layer does not fit its first."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(5, 4)])

    def forward(self, x):
        for layer in self.layers:
            self.line = line_after()
            x = layer(x)
        return x


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()

    def forward(self, x):
        return self.encoder(x)


def test_shape_error_in_a_model_names_op_shapes_module_and_line():
    model = Model()
    with pytest.raises(tl.ShapeError, match=r"^linear: expected ") as caught:
        model(tl.ones((2, 4)))
    assert "got x.shape=(2, 4), weight.shape=(4, 5)" in str(caught.value)
    (note,) = caught.value.__notes__
    assert note.startswith("in module encoder.layers.1 (Linear(in_features=5, out_f")
    assert note.endswith(f", at {model.encoder.line}: x = layer(x)")


def test_shape_error_of_an_operator_names_op_and_shapes():
    with pytest.raises(tl.ShapeError, match=r"^add: shapes \(3,\) and \(7,\) do not"):
        tl.ones(3) + tl.ones(7)
    with pytest.raises(tl.ShapeError, match=r"a.shape=\(3, 4\), b.shape=\(5, 6\)"):
        tl.ones((3, 4)) @ tl.ones((5, 6))


class Broken(tl.autograd.Function):
    """A backward whose shapes do not fit."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, g):
        return g @ tl.ones((7, 2))


def test_error_in_backward_names_the_forward_op_and_its_line():
    place = line_after()
    y = Broken.apply(leaf(1.0, 2.0))
    recorded = f", recorded at {place}: y = Broken.apply(leaf(1.0, 2.0))"
    with pytest.raises(tl.ShapeError, match=r"matmul: .*\(2,\).*\(7, 2\)") as caught:
        y.sum().backward()
    assert caught.value.__notes__ == [f"in the backward of Broken{recorded}"]


WRITES = {
    "exp": ("add", lambda x: (y := tl.exp(x), y.add_(1))[0]),
    "multiply": ("subtract", lambda x: ((w := x + 1) * w, w.sub_(2))[0]),
    "matmul": ("assign", lambda x: (x @ (w := x * 2), w.__setitem__(0, 5.0))[0]),
}


@pytest.mark.parametrize("saver", WRITES)
def test_write_to_a_saved_tensor_names_both_ops_and_the_way_out(saver):
    writer, program = WRITES[saver]
    message = rf"saved by {saver} was changed in place by {writer} .*; use the out-of-p"
    y = program(leaf(1.0, 2.0)).sum()
    with pytest.raises(tl.GraphError, match=message):
        y.backward()


@pytest.mark.parametrize(
    ("name", "program"), [("multiply", lambda x: x * x), ("exp", tl.exp)]
)
def test_backward_twice_names_the_op_and_retain_graph(name, program):
    x = leaf(1.0, 2.0)
    y = program(x).sum()
    y.backward()
    first = x.grad.tolist()
    message = rf"saved by {name} were|was freed .* pass retain_graph=True to the first"
    with pytest.raises(tl.GraphError, match=message):
        y.backward()
    assert x.grad.tolist() == first


def test_retain_graph_is_the_way_out_that_the_message_says():
    x = leaf(1.0, 2.0)
    y = tl.exp(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [2 * v for v in tl.exp(x.detach()).tolist()]


def test_gradient_of_what_is_no_scalar_asks_for_a_cotangent():
    x = leaf(1.0, 2.0)
    message = r"expected a scalar output, got shape \(2,\); pass the cotangent"
    with pytest.raises(tl.GraphError, match=f"backward: {message}"):
        (x * 2).backward()
    with pytest.raises(tl.GraphError, match=f"grad: {message}"):
        grad(x * 2, x)
    with pytest.raises(tl.ShapeError, match=r"one 0-d floating tensor, got \(2,\)"):
        tl.grad(lambda x: x * 2)(x)
    assert x.grad is None
    (x * 2).backward(gradient=tl.ones(2))
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: tl.tensor(x.tolist(), requires_grad=True),
        lambda x: x.requires_grad_(),
        lambda x: setattr(x, "requires_grad", True),
        lambda x: tl.grad(lambda x: x.sum())(x),
        nn.Parameter,
    ],
)
def test_integers_that_should_require_grad_raise(ask):
    x = tl.tensor([1, 2])
    with pytest.raises(tl.DTypeError, match=r"floating-point.*, got int64"):
        ask(x)
    assert not x.requires_grad


def test_unused_input_is_named_with_the_way_out():
    x, y, z = leaf(1.0), leaf(2.0), leaf(3.0)
    message = r"grad: the outputs do not depend on inputs \[1, 2\]; pass allow_unused"
    with pytest.raises(tl.GraphError, match=message):
        grad(x * 2, [x, y, z])
    found = grad(x * 2, [x, y, z], allow_unused=True)
    assert (found[0].tolist(), found[1:]) == ([2.0], (None, None))


def test_nothing_that_requires_grad_says_what_to_set():
    with pytest.raises(tl.GraphError, match=r"set requires_grad=True on an input"):
        tl.ones(1).sum().backward()
    x = leaf(1.0)
    with pytest.raises(tl.GraphError, match=r"grad: input 1 does not require grad"):
        grad(x * 2, [x, tl.ones(1)])


@pytest.mark.skipif(tl.cuda.is_available(), reason="the device exists")
def test_device_that_is_not_there_is_named():
    with pytest.raises(tl.DeviceError, match="cuda:0"):
        tl.ones(3, device="cuda")
    with pytest.raises(tl.DeviceError, match=r"to: no CUDA device 0 \(cuda:0\)"):
        tl.ones(3).to("cuda")

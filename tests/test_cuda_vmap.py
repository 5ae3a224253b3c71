"""vmap, Jacobians and per-example gradients of tensors on a GPU, against the CPU's."""

import numpy as np
import pytest
from op_rows import arrays_in, as_tuple, contiguous, generator_for
from test_vmap_ops import (
    BATCH,
    DIFFERENTIABLE,
    ROWS,
    WRITES,
    as_call,
    batched,
    derivative_cases,
    examples_of,
    is_refused,
    ways_of_mapping,
)

import tensorlib as tl
from tensorlib import nn

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not tl.cuda.is_available(), reason=tl.cuda.why_unavailable() or "GPU is there"
    ),
]
# Sums in another order, of terms of order ten, and each device's elementary functions.
TOLERANCE = {"float32": 1e-4, "float64": 1e-12, "complex64": 1e-4, "complex128": 1e-12}
# Of tensors that are not contiguous, or of values that are not sorted.
UNDEFINED = {"as_strided", "searchsorted"}


def on_device(tensors):
    return [x.to("cuda") for x in tensors]


def assert_same(found, expected, note):
    found, expected = as_tuple(found), as_tuple(expected)
    assert len(found) == len(expected), note
    for y, e in zip(found, expected, strict=True):
        assert y.is_cuda, note
        assert (y.shape, y.dtype) == (e.shape, e.dtype), note
        tolerance = TOLERANCE.get(y.dtype.name, 0.0)
        np.testing.assert_allclose(
            y.detach().cpu().numpy(), e.detach().numpy(), tolerance, tolerance, note
        )


# ---- every op ----------------------------------------------------------------------
@ROWS
def test_vmap_of_op_on_gpu_equals_that_on_the_cpu(op):
    dtype = op.dtypes[-1]
    for arguments in op.calls(dtype, generator_for(op.name + dtype))[:4]:
        function = as_call(op.function, arguments)
        arrays = arrays_in(arguments)
        examples = [[contiguous(a) for a in examples_of(a)] for a in arrays]
        for axes in ways_of_mapping(len(arrays)):
            if is_refused(op, arguments, axes) or op.name in UNDEFINED:
                continue
            made = [batched(e, a) for e, a in zip(examples, axes, strict=True)]
            given = on_device(made)  # before: some ops write into what they are given
            try:
                expected = tl.vmap(function, axes, randomness="same")(*made)
            except (ValueError, IndexError):
                continue  # rolled values that the op does not take
            found = tl.vmap(function, axes, randomness="same")(*given)
            assert_same(found, expected, f"{op.name}, {arguments}, {axes}")


@DIFFERENTIABLE
def test_vmap_of_vjp_on_gpu_equals_that_on_the_cpu(op):
    for number, (function, examples, cotangents, axes) in enumerate(
        derivative_cases(op)
    ):
        if number == 4:
            return
        n = len(examples)
        # The function makes its other arguments where the first one is.
        if any(len(e) != BATCH for e in examples) or op.name in WRITES:
            return

        def pulled(*given, function=function, n=n):
            return tl.vjp(function, *given[:n])[1](given[n:])

        both = axes + (0,) * len(cotangents)
        given = [
            batched(e, a) for e, a in zip(examples + cotangents, both, strict=True)
        ]
        expected = tl.vmap(pulled, both, randomness="same")(*given)
        try:
            found = tl.vmap(pulled, both, randomness="same")(*on_device(given))
        except tl.DeviceError:
            return  # other arguments of the call are on the CPU
        assert_same(found, expected, f"{op.name}, {both}")


# ---- devices -----------------------------------------------------------------------
def test_device_of_an_example_is_its_memorys():
    seen = []
    tl.vmap(lambda x: seen.append((x.device, x.is_cuda)) or x)(
        tl.ones((2, 3), device="cuda")
    )
    assert seen[0][0] == tl.device("cuda")


def test_numbers_of_the_host_go_along():
    x = tl.arange(6, device="cuda").astype("float32").reshape((2, 3))
    found = tl.vmap(lambda a: a * tl.tensor(2.0) + 1.0)(x)
    assert_same(found, x.cpu() * 2 + 1, "")


def test_mapped_numbers_of_the_host_go_along():
    x = tl.tensor([1.0, 2.0])
    y = tl.tensor([[1.0, 1.0], [2.0, 2.0]], device="cuda")
    found = tl.vmap(lambda a, b: a * b)(x, y)
    assert_same(found, tl.tensor([[1.0, 1.0], [4.0, 4.0]]), "")


def test_gradient_of_a_number_of_the_host_comes_back():
    x = tl.tensor(2.0, requires_grad=True)
    y = tl.tensor([[1.0, 1.0], [2.0, 2.0]], device="cuda")
    tl.vmap(lambda b: x * b)(y).sum().backward()
    assert x.grad.device.type == "cpu"
    assert x.grad.item() == 6.0


@pytest.mark.parametrize("function", [tl.add, tl.matmul, tl.maximum])
def test_mixed_devices_raise_and_name_both(function):
    x, y = tl.ones((2, 3), device="cuda"), tl.ones((2, 3))
    with pytest.raises(tl.DeviceError, match=r"cuda:0.*cpu|cpu.*cuda:0"):
        tl.vmap(function)(x, y)
    with pytest.raises(tl.DeviceError, match=r"cuda:0.*cpu|cpu.*cuda:0"):
        tl.vmap(lambda a: function(a, tl.ones(3)))(x)


def test_moves_inside_of_vmap():
    x = tl.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda")

    def there_and_back(a):
        assert a.cpu().device.type == "cpu"
        return (a.cpu() * 2).to("cuda") + a

    assert_same(tl.vmap(there_and_back)(x), x.cpu() * 3, "")
    found = tl.vmap(tl.grad(lambda a: (there_and_back(a) ** 2).sum()))(x)
    assert_same(found, x.cpu() * 18, "")


def test_writes_inside_of_vmap():
    x = tl.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda")

    def written(a):
        b = a.copy()
        b[0] = 7.0
        b += 1.0
        return b

    assert_same(tl.vmap(written)(x), tl.tensor([[8.0, 3.0], [8.0, 5.0]]), "")


def test_random_numbers_are_the_cpus():
    found = []
    for device in ("cpu", "cuda"):
        tl.manual_seed(3)
        x = tl.ones((4, 5), device=device)
        found.append(
            tl.vmap(lambda a: a * tl.rand(5, device=a.device), randomness="different")(
                x
            )
        )
    assert_same(found[1], found[0], "")


def test_memory_goes_back():
    x = tl.ones((4, 5), device="cuda")
    tl.vmap(lambda a: tl.exp(a).sum())(x)
    before = tl.cuda.memory_stats()["live"]
    tl.vmap(lambda a: tl.exp(a).sum())(x)
    assert tl.cuda.memory_stats()["live"] == before


# ---- transforms ----------------------------------------------------------------------
@pytest.mark.parametrize("transform", [tl.jacrev, tl.jacfwd])
def test_jacobian_on_gpu_equals_that_on_the_cpu(transform):
    tl.manual_seed(0)
    w, x = tl.randn(4, 3), tl.randn(3)
    expected = transform(lambda a: tl.tanh(w @ a))(x)
    v = w.to("cuda")
    assert_same(transform(lambda a: tl.tanh(v @ a))(x.to("cuda")), expected, "")


def test_hessian_on_gpu_equals_that_on_the_cpu():
    tl.manual_seed(0)
    w, x = tl.randn(4, 3), tl.randn(3)
    expected = tl.hessian(lambda a: (tl.tanh(w @ a) ** 2).sum())(x)
    v = w.to("cuda")
    found = tl.hessian(lambda a: (tl.tanh(v @ a) ** 2).sum())(x.to("cuda"))
    assert_same(found, expected, "")


def test_nested_vmap_on_gpu_equals_that_on_the_cpu():
    tl.manual_seed(0)
    x, y = tl.randn(3, 4), tl.randn(5, 4)

    def distances(x, y):
        return tl.vmap(lambda a: tl.vmap(lambda b: ((a - b) ** 2).sum())(y))(x)

    assert_same(distances(x.to("cuda"), y.to("cuda")), distances(x, y), "")


def test_gradients_of_each_example_equal_those_on_the_cpu():
    tl.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(0), nn.Linear(18, 3))
    x = tl.randn(4, 1, 5, 5)
    target = tl.tensor([0, 2, 1, 0])

    def gradients(device):
        net.to(device)
        state = {name: p.detach() for name, p in net.named_parameters()}

        def loss(state, x, target):
            logits = tl.functional_call(net, state, (x,))
            return nn.functional.cross_entropy(
                logits.reshape((1, 3)), target.reshape((1,))
            )

        return tl.vmap(tl.grad(loss), (None, 0, 0))(
            state, x.to(device), target.to(device)
        )

    expected, found = gradients("cpu"), gradients("cuda")
    assert expected.keys() == found.keys()
    for name, gradient in found.items():
        assert_same(gradient, expected[name], name)

"""Every row of the op table on a GPU: values, layouts, dtypes, derivatives, errors.

Forward results are compared with the references of the table, derivatives with the
CPU's, which the other matrix tests compare with differences.
"""

import operator

import numpy as np
import op_rows
import pytest
from op_rows import (
    FLOATS,
    HALVES,
    LAYOUTS,
    applied,
    arrays_in,
    as_tuple,
    assert_matches,
    contiguous,
    expected_of,
    generator_for,
    over_arrays,
)
from op_samples import OPS
from test_op_matrix import ROW_DTYPES, as_function, calls_of, rows, smooth_calls

import tensorlib as tl
from tensorlib.autograd.forward import DualLevel

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not tl.cuda.is_available(), reason=tl.cuda.why_unavailable() or "GPU is there"
    ),
]
# They are handed NumPy arrays, which have no GPU form.
FROM_THE_HOST = {"from_numpy"}


def on_device(a):
    return contiguous(a).to("cuda")


@pytest.fixture
def on_gpu(monkeypatch):
    """Have the layouts of op_rows made on the GPU."""
    monkeypatch.setattr(op_rows, "contiguous", on_device)


def on_host(tensors):
    return [y.detach().cpu() for y in tensors]


# ---- values ----------------------------------------------------------------------
@ROW_DTYPES
def test_forward_on_gpu_equals_reference(op, dtype):
    if op.reference is None or op.name in FROM_THE_HOST:
        pytest.skip("no values to compare")
    for k, arguments in enumerate(calls_of(op, dtype)):
        found = as_tuple(applied(op.function, on_device, arguments))
        for y in found if arrays_in(arguments) else ():
            assert y.is_cuda
        expected = expected_of(op, arguments)
        assert_matches(op, on_host(found), expected, dtype, f"call {k}")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@rows(lambda op: op.reference is not None and not op.writes)
def test_forward_on_gpu_of_any_layout_equals_reference(op, layout, on_gpu):
    if op.name == "as_strided" or op.name in FROM_THE_HOST:
        pytest.skip("is defined for contiguous tensors only")
    dtype = op.dtypes[-1]
    for k, arguments in enumerate(calls_of(op, dtype)):
        found = as_tuple(applied(op.function, layout, arguments))
        assert_matches(
            op, on_host(found), expected_of(op, arguments), dtype, f"call {k}"
        )


@pytest.mark.parametrize("dtype", HALVES)
@rows(lambda op: op.reference is not None and "float32" in op.dtypes and not op.writes)
def test_forward_on_gpu_in_half_precision_equals_the_cpu(op, dtype):
    def narrowed(device):
        def convert(a):
            x = contiguous(a)
            return (x.astype(dtype) if a.dtype == np.float32 else x).to(device)

        return convert

    if op.name in FROM_THE_HOST | {"complex", "view_as_complex"} or (
        op.name.startswith(("linalg", "fft"))
    ):
        pytest.skip("there are no halves of it")
    # Recurrent layers round each step, which the next one takes up; transposed
    # convolutions without cuDNN each patch, before patches are added.
    stepwise = op.name in ("rnn", "gru", "lstm") or "transpose" in op.name
    eps = HALVES[dtype] * (3 if stepwise else 1)
    for k, arguments in enumerate(calls_of(op, "float32")):
        found = as_tuple(applied(op.function, narrowed("cuda"), arguments))
        expected = as_tuple(applied(op.function, narrowed("cpu"), arguments))
        for y, e in zip(on_host(found), expected, strict=True):
            assert y.dtype is e.dtype
            np.testing.assert_allclose(
                y.astype("float64").numpy(),
                e.detach().astype("float64").numpy(),
                rtol=2 * eps,
                atol=2 * eps,
                err_msg=f"{op} {k}",
            )


# ---- derivatives -----------------------------------------------------------------
def cotangents_of(outputs):
    rng = generator_for("cotangent")
    return [
        contiguous(np.asarray(rng.normal(size=y.shape)).astype(y.dtype.name))
        for y in outputs
    ]


def gradients(op, arguments, dtype, device, *, twice=False):
    function, inputs = as_function(op, arguments, device)
    inputs = [x.detach().astype(dtype).to(device).requires_grad_() for x in inputs]
    outputs = [y for y in as_tuple(function(*inputs)) if y.requires_grad]
    cotangents = [g.to(device) for g in cotangents_of(outputs)]
    found = tl.autograd.grad(
        outputs, inputs, cotangents, allow_unused=True, create_graph=twice
    )
    if twice:
        slopes = [g for g in found if g is not None and g.requires_grad]
        if not slopes:
            return []
        again = [g.to(device) for g in cotangents_of(slopes)]
        found = tl.autograd.grad(slopes, inputs, again, allow_unused=True)
    return [None if g is None else g.cpu() for g in found]


def assert_alike(found, expected, tolerance, note):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype is b.dtype
            np.testing.assert_allclose(
                a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance, err_msg=note
            )


@pytest.mark.parametrize("dtype", FLOATS)
@rows(lambda op: op.differentiable)
def test_vjp_on_gpu_equals_that_on_the_cpu(op, dtype):
    if op.name in FROM_THE_HOST:
        pytest.skip("takes arrays of the host")
    if dtype == "float32" and op.name.startswith("linalg."):
        pytest.skip("the cases are conditioned for float64")
    tolerance = {"float32": 2e-4, "float64": 1e-11}[dtype]
    for k, arguments in enumerate(smooth_calls(op)):
        found = gradients(op, arguments, dtype, "cuda")
        expected = gradients(op, arguments, dtype, "cpu")
        assert_alike(found, expected, tolerance, f"{op} {k}")


@rows(lambda op: op.differentiable and op.twice)
def test_second_derivatives_on_gpu_equal_those_on_the_cpu(op):
    for k, arguments in enumerate(smooth_calls(op)):
        found = gradients(op, arguments, "float64", "cuda", twice=True)
        expected = gradients(op, arguments, "float64", "cpu", twice=True)
        assert_alike(found, expected, 1e-9, f"{op} {k}")


@rows(lambda op: op.differentiable)
def test_jvp_on_gpu_equals_that_on_the_cpu(op):
    def tangents(arguments, device):
        function, inputs = as_function(op, arguments, device)
        rng = generator_for("direction")
        steps = [on(np.asarray(rng.normal(size=x.shape)), device) for x in inputs]
        with DualLevel() as level:
            duals = [level.dual(x, v) for x, v in zip(inputs, steps, strict=True)]
            outputs = as_tuple(function(*duals))
            found = [level.tangent(y) for y in outputs if y.dtype.is_floating_point]
        return [None if t is None else t.detach().cpu() for t in found]

    for k, arguments in enumerate(smooth_calls(op)):
        found, expected = (tangents(arguments, d) for d in ("cuda", "cpu"))
        assert_alike(found, expected, 1e-11, f"{op} {k}")


def on(a, device):
    return contiguous(a).to(device)


# ---- errors ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("op", "k"), [(op, k) for op in OPS for k in range(len(op.errors))], ids=str
)
def test_bad_arguments_on_gpu_raise(op, k):
    def moved(value):
        return value.to("cuda") if isinstance(value, tl.Tensor) else value

    if op.name in FROM_THE_HOST or (op.name, k) == ("as_strided", 3):
        pytest.skip("is about memory of the host, which a copy on the GPU has not")
    error = op.errors[k]
    arguments = [
        type(a)(map(moved, a)) if isinstance(a, (list, tuple)) else moved(a)
        for a in error.args()
    ]
    # The kernel that finds an index out of range does not tell which.
    text = None if error.kind is IndexError else error.message

    def awaited():
        op.function(*arguments)
        tl.cuda.synchronize()  # what only the kernel sees is raised then

    with pytest.raises(error.kind, match=text):
        awaited()


# ---- in place --------------------------------------------------------------------
@rows(lambda op: op.inplace)
def test_inplace_on_gpu_equals_out_of_place(op, on_gpu):
    dtype = op.dtypes[-1]
    for arguments in calls_of(op, dtype):
        a, b = arguments.args
        if np.broadcast_shapes(a.shape, b.shape) != a.shape:
            continue
        for layout in (on_device, *LAYOUTS.values()):
            x = layout(a)
            made = op.function(on_device(a), on_device(b))
            assert op.inplace(x, layout(b)) is x
            np.testing.assert_array_equal(x.cpu().numpy(), made.cpu().numpy())


# ---- scalars and devices -----------------------------------------------------------
@pytest.mark.parametrize(
    "function", [operator.add, operator.mul, operator.truediv, tl.maximum, tl.pow]
)
def test_numbers_of_the_host_mix_with_tensors_of_a_gpu(function):
    a = np.linspace(0.5, 4.0, 7).astype("float32")
    x, number = on_device(a), tl.tensor(3.0, requires_grad=True)
    for b in (3.0, number):
        np.testing.assert_array_equal(
            function(x, b).detach().cpu().numpy(),
            function(contiguous(a), b).detach().numpy(),
        )
    y = function(number, x.requires_grad_()).sum()
    (g,) = tl.autograd.grad(y, [number])
    expected = tl.autograd.grad(function(number, contiguous(a)).sum(), [number])[0]
    assert not g.is_cuda
    np.testing.assert_allclose(g.item(), expected.item(), rtol=1e-6)


@rows(lambda op: not op.writes and op.reference is not None)
def test_tensors_on_two_devices_raise_or_are_moved(op):
    """Never a crash, nor a result of unread memory."""
    arguments = calls_of(op, op.dtypes[-1])[0]
    seen = []

    def mixed(a):
        seen.append(a)
        return contiguous(a).to("cuda" if len(seen) % 2 else "cpu")

    try:
        found = as_tuple(applied(op.function, mixed, arguments))
    except (tl.DeviceError, tl.ShapeError, TypeError):
        return
    expected = expected_of(op, arguments)
    assert_matches(op, on_host(found), expected, op.dtypes[-1])


def test_over_arrays_reaches_lists():
    assert over_arrays(on_device, [np.ones(1)])[0].is_cuda


# ---- size ------------------------------------------------------------------------
def test_more_than_two_to_the_31_elements():
    free, _ = tl.cuda.mem_get_info()
    n = (1 << 31) + 1001
    if free < 12 * n or tl.cuda.get_device_name() == "emulated":
        pytest.skip("the device has not the memory for it")
    x = tl.ones(n, dtype="int8", device="cuda")
    x[-1] = 5
    y = x + x
    assert (y[0].item(), y[-1].item(), y[-2].item()) == (2, 10, 2)
    assert x.sum().item() == n + 4
    assert x.argmax().item() == n - 1
    del y
    pair = tl.stack([x, x])  # strided beyond 2^31
    assert pair[1, -1].item() == 5
    assert pair[:, -3:].cpu().tolist() == [[1, 1, 5], [1, 1, 5]]
    del pair, x
    tl.cuda.empty_cache()

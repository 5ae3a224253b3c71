"""The same checks over every row of the op table."""

import inspect
import operator
import re

import numpy as np
import pytest
from op_rows import (
    FLOATS,
    HALVES,
    LAYOUTS,
    THREADS,
    Call,
    applied,
    arrays_in,
    as_tuple,
    assert_matches,
    bits,
    broadcast,
    call,
    constant,
    contiguous,
    docstring_of,
    expected_of,
    found_of,
    generator_for,
    over_arrays,
    result_dtype,
)
from op_samples import BY_NAME, OPS

import tensorlib as tl
from tensorlib.autograd.forward import DualLevel


def rows(keep=lambda op: True):
    return pytest.mark.parametrize("op", [op for op in OPS if keep(op)], ids=repr)


ROW_DTYPES = pytest.mark.parametrize(
    ("op", "dtype"), [(op, d) for op in OPS for d in op.dtypes], ids=str
)
REFERRED = pytest.mark.parametrize(
    ("op", "dtype"),
    [(op, d) for op in OPS if op.reference is not None for d in op.dtypes],
    ids=str,
)


def calls_of(op, dtype):
    return op.calls(dtype, generator_for(op.name + dtype))


# ---- values --------------------------------------------------------------------
@REFERRED
def test_forward_equals_reference(op, dtype):
    for k, arguments in enumerate(calls_of(op, dtype)):
        expected = expected_of(op, arguments)
        assert_matches(op, found_of(op, arguments), expected, dtype, f"call {k}")


def _rounded(dtype):
    """Return a function that rounds the floats of an array to `dtype`, in float32."""

    def convert(a):
        if a.dtype.kind != "f":
            return a
        return tl.tensor(a).astype(dtype).astype("float32").numpy()

    return convert


@pytest.mark.parametrize("dtype", HALVES)
@rows(lambda op: op.reference is not None and "float32" in op.dtypes and not op.writes)
def test_forward_in_half_precision_equals_reference(op, dtype):
    def narrowed(a):
        x = contiguous(a)
        return x.astype(dtype) if a.dtype == np.float32 else x

    if op.name in ("from_numpy", "complex", "view_as_complex") or "linalg" in op.name:
        pytest.skip("NumPy has no bfloat16, complex numbers and LAPACK no halves")
    if op.name.startswith("fft.") and "shift" not in op.name:
        pytest.skip("halves are transformed as float32")
    # Recurrent layers round the input's part of a step, and then the step.
    eps = HALVES[dtype] * (3 if op.name in ("rnn", "gru", "lstm") else 1)
    for k, arguments in enumerate(calls_of(op, "float32")):
        held = Call(
            over_arrays(_rounded(dtype), arguments.args),
            {n: over_arrays(_rounded(dtype), v) for n, v in arguments.kwargs.items()},
        )
        try:
            found = found_of(op, held, narrowed)
        except tl.DTypeError:
            if op.name.startswith("linalg."):
                continue  # LAPACK has no halves; see test_linalg_complex
            raise
        for y, e in zip(found, expected_of(op, held), strict=True):
            assert y.shape == e.shape
            if op.result in ("same", "float", "sum"):
                assert y.dtype.name == dtype, f"{op}: {y.dtype} {k}"
            values = y.detach().astype("float64").numpy()
            np.testing.assert_allclose(
                values, e.astype(np.float64), rtol=eps, atol=eps, err_msg=f"{op} {k}"
            )


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@rows(lambda op: op.reference is not None and not op.writes)
def test_forward_of_any_layout_equals_reference(op, layout):
    dtype = op.dtypes[-1]
    for k, arguments in enumerate(calls_of(op, dtype)):
        if op.name == "as_strided":
            continue  # is defined for contiguous tensors only
        expected = expected_of(op, arguments)
        found = found_of(op, arguments, layout)
        assert_matches(op, found, expected, dtype, f"call {k}")


@rows(lambda op: op.reference is not None and not op.writes)
def test_forward_of_zero_strides_equals_contiguous(op):
    dtype = op.dtypes[-1]
    for k, arguments in enumerate(calls_of(op, dtype)):
        if op.name == "as_strided":
            continue
        held = Call(
            over_arrays(constant, arguments.args),
            {n: over_arrays(constant, v) for n, v in arguments.kwargs.items()},
        )
        if op.name in ("getitem", "setitem"):  # the key's arrays stay as they are
            held = call(constant(arguments.args[0]), *arguments.args[1:])
            x = broadcast(arguments.args[0])
            rest = over_arrays(contiguous, arguments.args[1:])
            if op.name == "setitem":
                continue
            found = as_tuple(op.function(x, *rest))
        else:
            found = found_of(op, arguments, broadcast)
        assert_matches(op, found, expected_of(op, held), dtype, f"call {k}")


@rows(lambda op: not op.writes)
def test_forward_leaves_arguments_unchanged(op):
    for arguments in calls_of(op, op.dtypes[-1]):
        kept = []

        def convert(a, kept=kept):
            kept.append((contiguous(a), a))
            return kept[-1][0]

        applied(op.function, convert, arguments)
        for tensor, array in kept:
            np.testing.assert_array_equal(tensor.numpy(), array)
            assert tensor.version == 0


# ---- special values ------------------------------------------------------------
def specials(dtype):
    least = np.finfo(dtype).smallest_subnormal
    normal = np.finfo(dtype).smallest_normal
    return np.array(
        [
            0.0,
            -0.0,
            np.nan,
            np.inf,
            -np.inf,
            1.0,
            -1.0,
            0.5,
            -0.5,
            2.5,
            1e4,
            -1e4,
            88.0,
            -104.0,
            least,
            -least,
            3 * least,
            normal,
            -normal / 2,
            np.finfo(dtype).max,
            -np.finfo(dtype).max,
            1e-4,
            -1e-4,
            np.finfo(dtype).eps,
            710.0,
            -745.0,
        ],
        dtype=dtype,
    )


def special_call(op, dtype):
    x = specials(dtype)
    if len(calls_of(op, dtype)[0].args) == 1:
        return call(x)
    a, b = np.meshgrid(x, x)
    return call(a.copy(), b.copy())


@pytest.mark.parametrize("dtype", FLOATS)
@rows(lambda op: op.special and "float64" in op.dtypes)
def test_forward_of_special_values_equals_reference(op, dtype):
    arguments = special_call(op, dtype)
    if op.name in ("floor_divide", "remainder", "sin", "cos", "tan"):
        # Quotients and arguments beyond 1 / eps are checked for finiteness only.
        limit = np.where(abs(arguments.args[0]) > 1e30, 0, arguments.args[0])
        arguments = call(limit.astype(dtype), *arguments.args[1:])
    if op.name in ("floor_divide", "remainder"):
        a, b = arguments.args
        keep = ~((abs(b) < 1e-3) & (b != 0)) | ~np.isfinite(a) | (a == 0)
        arguments = call(a[keep], b[keep])
    expected = expected_of(op, arguments)
    found = found_of(op, arguments)
    assert_matches(op, found, expected, dtype)
    if op.signed_zero and expected[0].dtype.kind == "f":
        with np.errstate(all="ignore"):
            wanted = expected[0].astype(dtype)
        zero = (wanted == 0) & (found[0].numpy() == 0)
        np.testing.assert_array_equal(
            np.signbit(found[0].numpy())[zero],
            np.signbit(wanted)[zero],
            err_msg=f"{op}: signs of zeros",
        )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name", ["sum", "mean", "prod", "max", "min", "var", "logsumexp"]
)
def test_reduction_of_nan_is_nan(name, dtype):
    for position in (0, 1, 500, 999):
        x = np.linspace(0.5, 1.5, 1000).astype(dtype)
        x[position] = np.nan
        assert np.isnan(getattr(tl, name)(tl.tensor(x)).item())
        both = getattr(tl, name)(tl.tensor(np.stack([x, x[::-1]])), axis=1)
        assert bool(both.isnan().all())


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg_reduction_finds_first_nan(name):
    x = np.arange(100, dtype=np.float32)
    x[[40, 70]] = np.nan
    assert getattr(tl, name)(tl.tensor(x)).item() == 40


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg_reduction_of_ties_finds_first(name):
    x = np.zeros(1000, dtype=np.float32)
    assert getattr(tl, name)(tl.tensor(x)).item() == 0
    x[1:] += 1 if name == "argmax" else -1
    assert getattr(tl, name)(tl.tensor(x)).item() == 1


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_exponential_sums_do_not_overflow(name):
    for dtype in FLOATS:
        x = tl.tensor([[1e4, 1e4, -1e4]], dtype=dtype)
        assert bool(getattr(tl, name)(x, axis=1).isfinite().all())


def test_logsumexp_of_minus_infinity_is_minus_infinity():
    x = tl.full((2, 3), -tl.inf)
    assert tl.logsumexp(x, axis=1).tolist() == [-tl.inf, -tl.inf]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("other", [1.0, 300.0, np.inf, -np.inf])
def test_logsumexp_with_infinity_is_infinity(other, dtype):
    x = tl.tensor(np.array([[np.inf, other], [other, 0.0]], dtype))
    for axis in (0, 1):
        assert tl.logsumexp(x, axis=axis)[0].item() == np.inf
    assert tl.logsumexp(x).item() == np.inf


# ---- derivatives ---------------------------------------------------------------
def smooth_calls(op):
    calls = (op.smooth or op.calls)("float64", generator_for(op.name + "smooth"))
    return [
        c
        for c in calls
        if sum(a.size for a in arrays_in(c)) < 300
        and any(a.dtype == np.float64 for a in arrays_in(c))
    ]


def as_function(op, arguments, device="cpu"):
    """The op as a function of its floating arguments alone, and these as tensors."""
    inputs = [
        contiguous(a).to(device).requires_grad_()
        for a in arrays_in(arguments)
        if a.dtype == np.float64
    ]

    def function(*given):
        rest = iter(given)

        def convert(a):
            return next(rest) if a.dtype == np.float64 else contiguous(a).to(device)

        made = applied(op.function, convert, arguments)
        return tuple(made) if isinstance(made, (list, tuple)) else made

    return function, inputs


DIFFERENTIABLE = rows(lambda op: op.differentiable)


@DIFFERENTIABLE
def test_vjp_and_jvp_equal_differences(op):
    checked = 0
    for arguments in smooth_calls(op):
        function, inputs = as_function(op, arguments)
        assert tl.autograd.gradcheck(function, inputs, directions=2)
        checked += 1
    assert checked


@rows(lambda op: op.differentiable and op.twice)
def test_second_derivatives_equal_differences(op):
    for arguments in smooth_calls(op):
        function, inputs = as_function(op, arguments)
        assert tl.autograd.gradgradcheck(function, inputs, directions=1)


@rows(lambda op: op.differentiable and op.twice)
def test_derivatives_of_jvp_equal_differences(op):
    # Reverse over forward, and forward over forward.
    for arguments in smooth_calls(op):
        function, inputs = as_function(op, arguments)
        rng = generator_for("direction")
        steps = [contiguous(np.asarray(rng.normal(size=x.shape))) for x in inputs]

        def slopes(*given, function=function, steps=steps):
            with DualLevel() as level:
                duals = [level.dual(x, v) for x, v in zip(given, steps, strict=True)]
                outputs = as_tuple(function(*duals))
            found = [level.tangent(y) for y in outputs if y.dtype.is_floating_point]
            # Not constant, so that there is something to differentiate.
            return tuple(t * given[0].sum() for t in found if t is not None)

        assert tl.autograd.gradcheck(slopes, inputs, directions=1)


@DIFFERENTIABLE
def test_gradient_is_float32_for_float32(op):
    for arguments in smooth_calls(op):
        function, inputs = as_function(op, arguments)
        singles = [x.detach().astype("float32").requires_grad_() for x in inputs]
        outputs = [y for y in as_tuple(function(*singles)) if y.requires_grad]
        cotangents = [tl.ones_like(y) for y in outputs]
        found = tl.autograd.grad(outputs, singles, cotangents, allow_unused=True)
        for x, g in zip(singles, found, strict=True):
            assert g is None or (g.shape == x.shape and g.dtype is x.dtype)


@DIFFERENTIABLE
def test_gradient_equals_that_of_any_layout(op):
    if op.name == "as_strided":
        pytest.skip("is defined for contiguous tensors only")
    for arguments in smooth_calls(op):
        function, inputs = as_function(op, arguments)
        results = []
        for layout in (contiguous, *LAYOUTS.values()):
            moved = [layout(x.detach().numpy()).requires_grad_() for x in inputs]
            outputs = [y for y in as_tuple(function(*moved)) if y.requires_grad]
            rng = generator_for("cotangent")
            cotangents = [layout(np.asarray(rng.normal(size=y.shape))) for y in outputs]
            results.append(
                tl.autograd.grad(outputs, moved, cotangents, allow_unused=True)
            )
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                if a is not None:
                    np.testing.assert_allclose(
                        a.numpy(), b.numpy(), rtol=1e-12, atol=1e-12, err_msg=op.name
                    )


@rows(lambda op: not op.differentiable and op.result in ("bool", "int64"))
def test_discrete_result_does_not_require_grad(op):
    for arguments in calls_of(op, op.dtypes[-1])[:3]:

        def tracked(a):
            x = contiguous(a)
            return x.requires_grad_() if x.dtype.is_floating_point else x

        for y in as_tuple(applied(op.function, tracked, arguments)):
            assert not y.requires_grad


# ---- in place ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("op", "dtype"), [(op, d) for op in OPS if op.inplace for d in op.dtypes], ids=str
)
def test_inplace_equals_out_of_place(op, dtype):
    if result_dtype(op, dtype) != dtype:
        pytest.skip("the result's dtype differs, so there is no in-place form")
    for arguments in calls_of(op, dtype):
        a, b = arguments.args
        if np.broadcast_shapes(a.shape, b.shape) != a.shape:
            continue
        for layout in (contiguous, *LAYOUTS.values()):
            x = layout(a)
            made = op.function(contiguous(a), contiguous(b))
            version = x.version
            assert op.inplace(x, layout(b)) is x
            assert x.version > version
            np.testing.assert_array_equal(x.numpy(), made.numpy())


@rows(lambda op: op.inplace)
def test_inplace_with_scalar_equals_out_of_place(op):
    for dtype in op.dtypes:
        if result_dtype(op, dtype) == dtype and dtype != "bool":
            a = np.array([1, 2, 3], dtype=dtype)
            x = op.inplace(contiguous(a), 2)
            assert x.dtype.name == dtype
            np.testing.assert_array_equal(
                x.numpy(), op.function(contiguous(a), 2).numpy()
            )


@rows(lambda op: op.inplace and op.differentiable)
def test_inplace_gradient_equals_out_of_place(op):
    a = tl.tensor([1.5, 2.25, 3.0], dtype="float64", requires_grad=True)
    b = tl.tensor([2.0, 1.25, 0.7], dtype="float64", requires_grad=True)
    expected = tl.autograd.grad((op.function(a * 1, b) * b).sum(), [a, b])
    x = a * 1
    x = op.inplace(x, b)
    found = tl.autograd.grad((x * b).sum(), [a, b])
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-14)


# ---- errors --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("op", "k"), [(op, k) for op in OPS for k in range(len(op.errors))], ids=str
)
def test_bad_arguments_raise(op, k):
    error = op.errors[k]
    with pytest.raises(error.kind, match=error.message):
        op.function(*error.args())


# ---- threads -------------------------------------------------------------------
def forward_bits(op, arguments):
    return bits(found_of(op, arguments))


def backward_bits(op, arguments):
    def tracked(a):
        x = contiguous(a)
        if x.dtype.is_floating_point:
            inputs.append(x.requires_grad_())
        return x

    inputs = []
    outputs = [
        y for y in as_tuple(applied(op.function, tracked, arguments)) if y.requires_grad
    ]
    rng = generator_for("cotangent")
    cotangents = [
        contiguous(np.asarray(rng.normal(size=y.shape).astype(y.dtype.name)))
        for y in outputs
    ]
    return bits(tl.autograd.grad(outputs, inputs, cotangents, allow_unused=True))


@rows(lambda op: op.large)
def test_bits_do_not_depend_on_threads(op):
    dtypes = [d for d in ("float32", "float64") if d in op.dtypes] or op.dtypes[-1:]
    for dtype in dtypes:
        for k, arguments in enumerate(op.large(dtype, generator_for(op.name))):
            found = {}
            for n in THREADS:
                tl.set_num_threads(n)
                found[n] = forward_bits(op, arguments)
                if op.differentiable:
                    found[n] += backward_bits(op, arguments)
            for n in THREADS[1:]:
                assert found[n] == found[1], f"{op}, {dtype}, call {k}: {n} threads"


# ---- completeness --------------------------------------------------------------
# Public names that are settings, types, switches and conversions, not ops.
NOT_OPS = {
    "enable_grad",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
    "device",
    "dtype",
    "result_type",
    "can_cast",
    "isdtype",
    "broadcast_shapes",
    "allclose",
    "finfo",
    "iinfo",
    "empty_cache",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_memory_limit",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
    "manual_seed",
    "default_generator",
    "load",
    "save",
    "get_cython_include",
    "get_include",
    "functional_call",
    "is_inference_mode_enabled",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "value_and_grad",
    "vjp",
    "vmap",
}
NOT_OP_METHODS = {
    "backward",
    "data_ptr",
    "item",
    "numpy",
    "is_inference",
    "register_hook",
    "register_post_accumulate_grad_hook",
    "retain_grad",
    "requires_grad_",
    "to_device",
    "tobytes",
    "tolist",
    "cpu",
    "cuda",
    "pin_memory",
    "is_floating_point",
    "element_size",
    "dim",
    "numel",
    "size_bytes",
}


def public_functions():
    """The namespace's functions by name, without settings, classes and modules."""
    found = {name: getattr(tl, name) for name in dir(tl)}  # loads the lazy ones
    for name in tl.linalg.__all__:
        if getattr(tl.linalg, name) is not found.get(name):
            found[f"linalg.{name}"] = getattr(tl.linalg, name)
    found.update((f"fft.{name}", getattr(tl.fft, name)) for name in tl.fft.__all__)
    return {
        name: value
        for name, value in found.items()
        if not name.startswith("_")
        and callable(value)
        and not inspect.isclass(value)
        and name not in NOT_OPS
        and not isinstance(value, tl.Generator)
    }


def public_methods():
    return {
        name: value
        for name, value in vars(tl.Tensor).items()
        if not name.startswith("_") and callable(value) and name not in NOT_OP_METHODS
    }


def covered_names():
    return set(BY_NAME) | {name for op in OPS for name in op.covers}


def test_every_public_function_has_a_row():
    assert not set(public_functions()) - covered_names()


def test_every_method_has_a_row():
    assert not set(public_methods()) - covered_names()


def test_every_row_is_public():
    methods = set(vars(tl.Tensor))
    known = (
        set(dir(tl))
        | {f"linalg.{name}" for name in tl.linalg.__all__}
        | {f"fft.{name}" for name in tl.fft.__all__}
        | methods
        | {
            "getitem",
            "setitem",
            "optimizer_step",
            "gelu_tanh",
        }
    )
    assert not set(BY_NAME) - known


def sections(doc):
    return set(re.findall(r"^ *(\w[\w ]*)\n *-{3,}$", inspect.cleandoc(doc), re.M))


def parameters_of(function):
    try:
        return [p for p in inspect.signature(function).parameters if p != "self"]
    except (TypeError, ValueError):
        return []


@pytest.mark.parametrize("name", sorted(public_functions() | public_methods()))
def test_docstring_has_its_sections(name):
    function = (public_functions() | public_methods())[name]
    doc = docstring_of(function)
    summary = doc.split("\n\n")[0]
    assert summary, f"{name}: no docstring"
    assert len(summary.splitlines()) <= 2, f"{name}: the summary is a line or two"
    missing = {"Examples"} - sections(doc)
    # The _like functions and in-place forms refer to the function they follow.
    if len(parameters_of(function)) > 1 and not name.endswith(("_", "_like")):
        missing |= {"Parameters"} - sections(doc)
    if name.endswith("_") and "see `" in doc:
        missing -= {"Examples"}
    assert not missing, f"{name}: no section {missing}"


def test_every_primitive_name_is_unique_per_role():
    names = [p.name for p in tl.autograd.primitives()]
    repeated = {n for n in names if names.count(n) > 1}
    assert repeated <= {"astype"}


def test_operators_follow_their_functions():
    a, b = tl.tensor([7.0, -3.5]), tl.tensor([2.0, 1.5])
    pairs = [
        (operator.add, tl.add),
        (operator.sub, tl.subtract),
        (operator.mul, tl.multiply),
        (operator.truediv, tl.divide),
        (operator.floordiv, tl.floor_divide),
        (operator.mod, tl.remainder),
        (operator.matmul, tl.matmul),
        (operator.eq, tl.equal),
        (operator.ne, tl.not_equal),
        (operator.lt, tl.less),
        (operator.le, tl.less_equal),
        (operator.gt, tl.greater),
        (operator.ge, tl.greater_equal),
    ]
    for by_operator, by_function in pairs:
        assert by_operator(a, b).tolist() == by_function(a, b).tolist()


@pytest.mark.parametrize("scalar", [2, 0.5, True])
@pytest.mark.parametrize(
    "operation",
    [
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.floordiv,
        operator.mod,
        operator.pow,
    ],
)
def test_reflected_operator_equals_numpy(operation, scalar):
    x = np.array([1.5, 2.0, -4.0])
    if operation is operator.pow:
        x = abs(x)
    with np.errstate(all="ignore"):
        expected = operation(scalar, x), operation(x, scalar)
    found = operation(scalar, tl.tensor(x)), operation(tl.tensor(x), scalar)
    for y, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(y.numpy(), e, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tan"])
def test_bits_do_not_depend_on_neighbours(name, dtype):
    # Blocks without hard arguments take a cheaper form of these ops.
    op, x = getattr(tl, name), np.linspace(0.01, 40, 5000).astype(dtype)
    alone = op(tl.tensor(x)).numpy()
    for hard in (np.inf, np.nan, 0.0, -1.0, 1e-42, 700.0, 1e7):
        mixed = x.copy()
        mixed[::500] = hard
        found = op(tl.tensor(mixed)).numpy()
        kept = np.arange(5000) % 500 != 0
        assert (found[kept] == alone[kept]).all()

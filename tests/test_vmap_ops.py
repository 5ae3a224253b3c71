"""vmap of every op of the table, and of its derivatives, against a Python loop."""

import numpy as np
import pytest
from op_rows import (
    applied,
    arrays_in,
    as_tuple,
    call,
    contiguous,
    generator_for,
)
from op_samples import OPS
from test_op_matrix import smooth_calls

import tensorlib as tl
from tensorlib.core.batching import batching_rule
from tensorlib.core.dispatch import registered_kernels

BATCH = 3
# Sums in another order, as a batch in one kernel call may take them, of terms of order
# ten: a few units in the last place of each.
TOLERANCE = {"float32": 2e-5, "float64": 2e-13, "float16": 1e-2, "bfloat16": 1e-1}


def examples_of(array):
    """The array and two others whose elements are its own, moved round."""
    flat = array.reshape(-1)
    return [np.roll(flat, k).reshape(array.shape) for k in range(BATCH)]


def as_call(function, arguments):
    """The op as a function of tensors in place of the call's arrays."""

    def called(*tensors):
        rest = iter(tensors)
        made = applied(function, lambda a: next(rest), arguments)
        return tuple(made) if isinstance(made, (list, tuple)) else made

    return called


def ways_of_mapping(count):
    """For each tensor alone and for all together, axes for vmap: first and last."""
    chosen = [{k} for k in range(count)]
    if count > 1:
        chosen.append(set(range(count)))
    for places in chosen:
        for axis in (0, -1):
            yield tuple(axis if k in places else None for k in range(count))


def batched(examples, axis):
    if axis is None:
        return examples[0]
    return tl.stack(examples, axis=axis)


def looped(function, examples, axes):
    """The results of each example, stacked."""
    rows = []
    for i in range(BATCH):
        given = [
            e[0] if axis is None else e[i]
            for e, axis in zip(examples, axes, strict=True)
        ]
        rows.append(as_tuple(function(*given)))
    return [tl.stack(list(column)) for column in zip(*rows, strict=True)]


def assert_same(found, expected, note):
    found = as_tuple(found)
    assert len(found) == len(expected), note
    for y, e in zip(found, expected, strict=True):
        assert (y.shape, y.dtype) == (e.shape, e.dtype), note
        if not y.dtype.is_floating_point:
            np.testing.assert_array_equal(y.numpy(), e.numpy(), err_msg=note)
            continue
        tolerance = TOLERANCE[y.dtype.name]
        if y.dtype.name == "bfloat16":
            y, e = y.astype("float32"), e.astype("float32")
        np.testing.assert_allclose(
            y.detach().numpy(), e.detach().numpy(), tolerance, tolerance, err_msg=note
        )


# What cannot be mapped: a result's shape would depend on values, or a tensor without
# batch axes would be written to. The error says so.
def is_refused(op, arguments, axes):
    if op.name in WRITES:
        masked = op.name == "setitem" and mask_is_mapped(arguments, axes)
        return axes[0] is None or masked
    if op.name == "repeat":
        return len(axes) > 1 and axes[1] is not None
    if op.name == "one_hot":
        return len(arguments.args) == 1 and "num_classes" not in arguments.kwargs
    return op.name in UNIQUE or (
        op.name == "getitem" and mask_is_mapped(arguments, axes)
    )


def mask_is_mapped(arguments, axes):
    if len(arguments.args) < 2:
        return False
    keys = arrays_in(call(arguments.args[1]))
    mapped = axes[1 : 1 + len(keys)]
    return any(
        k.dtype == bool and a is not None for k, a in zip(keys, mapped, strict=True)
    )


UNIQUE = {
    "nonzero", "unique", "unique_all", "unique_counts", "unique_inverse",
    "unique_values",
}  # fmt: skip
WRITES = {"setitem", "add_", "sub_", "mul_", "div_", "copy_"}
# Conversions from and to other libraries, and a step that changes what it is given.
NO_BATCH = {"from_numpy", "from_dlpack", "optimizer_step"}
ROWS = pytest.mark.parametrize(
    "op",
    [op for op in OPS if op.reference is not None and op.name not in NO_BATCH],
    ids=repr,
)


@ROWS
def test_vmap_of_op_equals_loop(op):
    checked = 0
    for dtype in dict.fromkeys((op.dtypes[0], op.dtypes[-1])):
        for arguments in op.calls(dtype, generator_for(op.name + dtype)):
            function = as_call(op.function, arguments)
            checked += check_call(op, function, arguments)
    assert checked or not any(
        arrays_in(c) for c in op.calls(op.dtypes[0], generator_for(op.name))
    )


def check_call(op, function, arguments):
    arrays = arrays_in(arguments)
    examples = [[contiguous(a) for a in examples_of(a)] for a in arrays]
    checked = 0
    for axes in ways_of_mapping(len(arrays)):
        note = f"{op.name}, {arguments}, {axes}"
        given = [batched(e, a) for e, a in zip(examples, axes, strict=True)]
        if op.name == "as_strided" and -1 in axes:
            continue  # is defined for contiguous tensors only
        if is_refused(op, arguments, axes):
            with pytest.raises(tl.GraphError, match="vmap"):
                tl.vmap(function, axes)(*given)
            checked += 1
            continue
        try:
            expected = looped(function, examples, axes)
        except (ValueError, IndexError):
            continue  # rolled values that the op does not take
        found = tl.vmap(function, axes, randomness="same")(*given)
        assert_same(found, expected, note)
        checked += 1
    return checked


def float_call(op, arguments):
    """The op as a function of its float64 arguments, and examples of these."""
    arrays = [a for a in arrays_in(arguments) if a.dtype == np.float64]

    def function(*given):
        rest = iter(given)

        def convert(a):
            return next(rest) if a.dtype == np.float64 else contiguous(a)

        made = as_tuple(applied(op.function, convert, arguments))
        return tuple(y for y in made if y.dtype.is_floating_point)

    return function, [[contiguous(a) for a in examples_of(a)] for a in arrays]


DIFFERENTIABLE = pytest.mark.parametrize(
    "op", [op for op in OPS if op.differentiable], ids=repr
)


def derivative_cases(op):
    for arguments in smooth_calls(op):
        function, examples = float_call(op, arguments)
        outputs = function(*[e[0] for e in examples])
        rng = generator_for("cotangent")
        cotangents = [
            [contiguous(np.asarray(rng.normal(size=y.shape))) for _ in range(BATCH)]
            for y in outputs
        ]
        for axes in ways_of_mapping(len(examples)):
            if op.name in WRITES and axes[0] is None:
                continue  # refused
            if not (op.name == "as_strided" and -1 in axes):
                yield function, examples, cotangents, axes


@DIFFERENTIABLE
def test_vmap_of_vjp_equals_loop(op):
    for function, examples, cotangents, axes in derivative_cases(op):
        n = len(examples)

        def pulled(*given, function=function, n=n):
            return tl.vjp(function, *given[:n])[1](given[n:])

        everything = examples + cotangents
        for rest in ((None,) * len(cotangents), (0,) * len(cotangents)):
            both = axes + rest
            given = [batched(e, a) for e, a in zip(everything, both, strict=True)]
            found = tl.vmap(pulled, both, randomness="same")(*given)
            assert_same(found, looped(pulled, everything, both), f"{op.name}, {both}")


@DIFFERENTIABLE
def test_vmap_of_pullback_alone_equals_loop(op):
    # The function is recorded outside vmap: only the cotangents are mapped.
    for arguments in smooth_calls(op):
        function, examples = float_call(op, arguments)
        outputs, pull = tl.vjp(function, *[e[0] for e in examples])
        rng = generator_for("cotangent")
        cotangents = tuple(
            contiguous(np.asarray(rng.normal(size=(BATCH, *y.shape)))) for y in outputs
        )
        found = tl.vmap(pull)(cotangents)
        rows = [pull(tuple(u[i] for u in cotangents)) for i in range(BATCH)]
        expected = [tl.stack(list(column)) for column in zip(*rows, strict=True)]
        assert_same(found, expected, op.name)


@DIFFERENTIABLE
def test_vmap_of_jvp_equals_loop(op):
    for function, examples, _, axes in derivative_cases(op):
        n = len(examples)
        rng = generator_for("tangent")
        tangents = [
            [contiguous(np.asarray(rng.normal(size=e[0].shape))) for _ in range(BATCH)]
            for e in examples
        ]

        def pushed(*given, function=function, n=n):
            return tl.jvp(function, given[:n], given[n:])[1]

        everything = examples + tangents
        for rest in ((None,) * n, (0,) * n):
            both = axes + rest
            given = [batched(e, a) for e, a in zip(everything, both, strict=True)]
            found = tl.vmap(pushed, both, randomness="same")(*given)
            assert_same(found, looped(pushed, everything, both), f"{op.name}, {both}")


@DIFFERENTIABLE
def test_gradient_of_vmap_equals_gradient_of_loop(op):
    for function, examples, cotangents, axes in derivative_cases(op):
        given = [batched(e, a) for e, a in zip(examples, axes, strict=True)]
        weights = [tl.stack(c) for c in cotangents]

        def total(*given, function=function, axes=axes, weights=weights):
            made = tl.vmap(function, axes, randomness="same")(*given)
            return tl.stack(
                [(y * w).sum() for y, w in zip(made, weights, strict=True)]
            ).sum()

        def total_of_loop(*given, function=function, axes=axes, weights=weights):
            parts = [
                [x] * BATCH if a is None else tl.unstack(x, axis=a)
                for x, a in zip(given, axes, strict=True)
            ]
            made = looped(function, parts, axes)
            return tl.stack(
                [(y * w).sum() for y, w in zip(made, weights, strict=True)]
            ).sum()

        places = tuple(range(len(given)))
        found = tl.grad(total, places)(*given)
        expected = tl.grad(total_of_loop, places)(*given)
        assert_same(found, expected, f"{op.name}, {axes}")


def test_every_kernel_has_a_batching_rule():
    assert [getattr(tl, name) for name in dir(tl)]  # loads all families
    kernels = {op for op, entries in registered_kernels().items() if entries}
    # Optimizers' names end in the number of their states; an example at a time.
    kernels = {op for op in kernels if "/" not in op}
    assert not {op for op in kernels if batching_rule(op) is None}


@ROWS
def test_op_on_shared_arguments_is_the_same_for_all_examples(op):
    arguments = op.calls(op.dtypes[-1], generator_for(op.name))[0]
    tensors = [contiguous(a) for a in arrays_in(arguments)]
    function = as_call(op.function, arguments)
    expected = [y.broadcast_to((2, *y.shape)) for y in as_tuple(function(*tensors))]
    found = tl.vmap(lambda _: function(*tensors), randomness="same")(tl.zeros(2))
    assert_same(found, expected, op.name)

"""Rules of every op against each other, that none is missing, and that checks can fail.

`test_op_matrix` compares derivatives with differences, `test_vmap_ops` batches with
loops. Differences are right to some five digits; that reverse mode is the transpose of
forward mode holds to rounding, for first derivatives and for second ones.
"""

import itertools

import numpy as np
import pytest
import test_op_matrix as matrix
import test_vmap_ops as batches
from op_rows import Op, applied, arrays_in, as_tuple, call, contiguous, generator_for
from op_samples import OPS
from test_op_matrix import as_function, smooth_calls

import tensorlib as tl
from tensorlib.autograd import register_op

DIFFERENTIABLE = [op for op in OPS if op.differentiable]


# ---- transposes ----------------------------------------------------------------
def inner(a, b):
    """The inner product of lists of tensors, and the sum of its terms' magnitudes."""
    products = [(x * y).detach().numpy() for x, y in zip(a, b, strict=True)]
    return sum(p.sum() for p in products), sum(abs(p).sum() for p in products)


def drawn(tensors, name):
    rng = generator_for(name)
    return [contiguous(np.asarray(rng.normal(size=x.shape))) for x in tensors]


def assert_transposes(function, inputs, note, tolerance=1e-9):
    """<u, J v> = <J^T u, v>, J v by forward mode and J^T u by reverse mode."""

    def floating(*given):
        return [y for y in as_tuple(function(*given)) if y.dtype.is_floating_point]

    primals = [x.detach() for x in inputs]
    outputs, pull = tl.vjp(floating, *primals)
    u, v = drawn(outputs, "cotangent"), drawn(primals, "tangent")
    pushed = tl.jvp(floating, tuple(primals), tuple(v))[1]
    found, size = inner(u, pushed)
    expected, other = inner(pull(u), v)
    assert abs(found - expected) <= tolerance * max(size, other, 1e-3), note


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=repr)
def test_reverse_mode_is_the_transpose_of_forward_mode(op):
    for arguments in smooth_calls(op):
        function, inputs = as_function(op, arguments)
        assert_transposes(function, inputs, f"{op.name}, {arguments}")


@pytest.mark.parametrize("op", [op for op in DIFFERENTIABLE if op.twice], ids=repr)
def test_reverse_over_reverse_is_the_transpose_of_forward_over_reverse(op):
    for arguments in smooth_calls(op):
        function, inputs = as_function(op, arguments)
        primals = [x.detach() for x in inputs]

        def outputs_of(*given, function=function):
            made = as_tuple(function(*given))
            return [y for y in made if y.dtype.is_floating_point]

        cotangents = drawn(outputs_of(*primals), "first")

        def gradients(*given, of=outputs_of, cotangents=cotangents):
            return tl.vjp(of, *given)[1](cotangents)

        note = f"{op.name}, {arguments}"
        assert_transposes(gradients, primals, note, 1e-8)


# ---- completeness --------------------------------------------------------------
# Primitives that no row records, and why that is right.
CONSTANT = {
    # Results that are not floating, or do not depend on what they are given.
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and",
    "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift",
    "bitwise_invert", "isnan", "isinf", "isfinite", "argmax", "argmin", "any", "all",
    "nonzero", "mask_get", "arange", "fill", "argsort", "argselect", "median", "topk",
    "searchsorted", "runs", "bincount", "weighted_bincount", "histogram", "sort",
    "random_uniform", "random_normal", "random_integers", "random_bernoulli",
    "random_permutation", "signbit",
}  # fmt: skip
INNER = {
    # Steps of other primitives, which record themselves, and fused gradients, which
    # their definitions replace where they are recorded; lu_factor is recorded for lu.
    "recurrent_input", "recurrent_grad", "ctc_loss_grad", "batch_norm_grad",
    "concat_pairs",
    "layer_norm_grad", "rms_norm_grad", "group_norm_grad", "attention_grad",
    "attention_dropout_grad", "glu_grad", "solve_adjoint", "try_inv", "lu",
}  # fmt: skip
ELSEWHERE = {
    "vmap_hide", "vmap_show", "vmap_lift",  # test_vmap
    "angle", "complex_sign", "complex_sum", "magnitude",  # test_complex
    "slogdet_sign",  # test_linalg
    "attention_dropout",  # test_attention
    "pool_gather",  # test_derivatives_of_jvp_equal_differences
    "function", "function_output",  # test_autograd_function
    "to",  # test_cuda
}  # fmt: skip


def is_step(name):
    """Whether it changes images or parameters, outside of all graphs."""
    return name.startswith(("augment_", "optimizer_")) or "/" in name


def is_ours(name):
    """Whether it is of the library, not of an extension that another test loaded."""
    return "." not in name


def recorded_names(outputs):
    """The names of all nodes that lead to the outputs."""
    found, todo = set(), [y.grad_fn for y in outputs if y.grad_fn is not None]
    seen = set()
    while todo:
        node = todo.pop()
        if node is None or node.sequence in seen or isinstance(node, tl.Tensor):
            continue
        seen.add(node.sequence)
        found.add(node.name)
        todo.extend(n for n in node.next_functions if not isinstance(n, tl.Tensor))
    return found


def test_every_primitive_is_differentiated_by_a_row():
    # A row that records it runs its vjp and jvp: a missing rule raises there.
    assert [getattr(tl, name) for name in dir(tl)]  # loads all families
    reached = set()
    for op in DIFFERENTIABLE:
        for arguments in smooth_calls(op):
            function, inputs = as_function(op, arguments)
            outputs = [y for y in as_tuple(function(*inputs)) if y.requires_grad]
            reached |= recorded_names(outputs)
            if op.twice:
                seeds = [y.detach().requires_grad_() for y in outputs]
                slopes = tl.autograd.grad(
                    outputs, inputs, seeds, create_graph=True, allow_unused=True
                )
                reached |= recorded_names([g for g in slopes if g is not None])
    existing = {
        p.name
        for p in tl.autograd.primitives()
        if is_ours(p.name) and not is_step(p.name)
    }
    known = CONSTANT | INNER | ELSEWHERE
    assert existing - reached - known == set()
    assert known & reached == set()
    assert known - existing == set()


def test_rows_that_are_not_differentiable_record_nothing():
    for op in OPS:
        if op.differentiable or op.name in DIFFERENTIABLE_IN_PART:
            continue
        for arguments in op.calls(op.dtypes[-1], generator_for(op.name)):

            def tracked(a):
                x = contiguous(a)
                return x.requires_grad_() if x.dtype.is_floating_point else x

            if not arrays_in(arguments) or op.name in CONVERSIONS or op.writes:
                continue
            for y in as_tuple(applied(op.function, tracked, arguments)):
                if isinstance(y, tl.Tensor):
                    assert not y.requires_grad, op.name


CONVERSIONS = {"asarray", "from_numpy", "from_dlpack", "tensor"}
# Rows of what has derivatives in other rows, or in test_complex.
DIFFERENTIABLE_IN_PART = {
    "fft.fftfreq", "fft.rfftfreq", "fill_", "zero_", "angle",
    "complex", "imag", "linalg.qr", "linalg.svd", "view_as_complex",
    "view_as_real", "unique", "unique_all", "unique_counts", "unique_inverse",
    "unique_values",
}  # fmt: skip


# ---- the checks can fail -------------------------------------------------------
names = (f"mutant_{n}" for n in itertools.count())


def row(vjp=None, jvp=None, kernel=None):
    """A row of x**3 whose rules are right unless another one is given."""
    op = register_op(
        next(names),
        kernel or (lambda x: x * x * x),
        vjp or (lambda g, x, y: g[0] * 3 * x[0] * x[0]),
        jvp or (lambda t, x, y: t[0] * 3 * x[0] * x[0]),
    )

    def calls(dtype, rng):
        return [call(rng.normal(size=(2, 3)).astype(dtype) + 2)]

    return Op(op.name, op, lambda x: x**3, calls, differentiable=True)


def mixing(x):
    """The mean over the examples of vmap: no op of one example."""
    from tensorlib.autograd.batch import show_levels

    shown, levels = show_levels(x)
    return shown.mean(axis=0) if levels else x


def crooked_square(x):
    """An op whose jvp is wrong, for a vjp that uses it."""
    op = register_op(
        next(names),
        lambda x: x * x,
        lambda g, x, y: g[0] * 2 * x[0],
        lambda t, x, y: t[0] * 2.1 * x[0],
    )
    return op(x)


MUTANTS = {
    "none": {},
    "wrong vjp": {"vjp": lambda g, x, y: g[0] * 3.001 * x[0] * x[0]},
    "wrong jvp": {"jvp": lambda t, x, y: t[0] * 3.001 * x[0] * x[0]},
    "vjp wrong by rounding": {"vjp": lambda g, x, y: g[0] * (3 + 1e-8) * x[0] * x[0]},
    "vjp of constants": {"vjp": lambda g, x, y: g[0] * 3 * (x[0] * x[0]).detach()},
    "jvp of constants": {"jvp": lambda t, x, y: t[0] * 3 * (x[0] * x[0]).detach()},
    "vjp with a wrong jvp": {"vjp": lambda g, x, y: g[0] * 3 * crooked_square(x[0])},
    "kernel mixes examples": {"kernel": lambda x: mixing(x * x * x)},
    "vjp mixes examples": {"vjp": lambda g, x, y: mixing(g[0] * 3 * x[0] * x[0])},
    "jvp mixes examples": {"jvp": lambda t, x, y: mixing(t[0] * 3 * x[0] * x[0])},
}
CHECKS = {
    matrix.test_vjp_and_jvp_equal_differences: {"wrong vjp", "wrong jvp"},
    test_reverse_mode_is_the_transpose_of_forward_mode: {
        "wrong vjp", "wrong jvp", "vjp wrong by rounding",
    },
    matrix.test_second_derivatives_equal_differences: {"vjp of constants"},
    test_reverse_over_reverse_is_the_transpose_of_forward_over_reverse: {
        "vjp with a wrong jvp",
    },
    matrix.test_derivatives_of_jvp_equal_differences: {"jvp of constants"},
    batches.test_vmap_of_op_equals_loop: {"kernel mixes examples"},
    batches.test_vmap_of_vjp_equals_loop: {"vjp mixes examples"},
    batches.test_vmap_of_pullback_alone_equals_loop: {"vjp mixes examples"},
    batches.test_vmap_of_jvp_equals_loop: {"jvp mixes examples"},
    batches.test_gradient_of_vmap_equals_gradient_of_loop: {"kernel mixes examples"},
}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__[5:])
def test_check_passes_right_rules(check):
    check(row())


@pytest.mark.parametrize(
    ("check", "mutant"),
    [(check, m) for check, mutants in CHECKS.items() for m in sorted(mutants)],
    ids=lambda x: x if isinstance(x, str) else x.__name__[5:],
)
def test_check_fails_on_a_wrong_rule(check, mutant):
    with pytest.raises((AssertionError, tl.GraphError, tl.ShapeError)):
        check(row(**MUTANTS[mutant]))


def test_every_mutant_is_found():
    assert set().union(*CHECKS.values()) == set(MUTANTS) - {"none"}

"""Chains of elementwise operations: an op at a time, and fused by compilers."""

import re

from bench.case import Case, Spec, size_label
from bench.variants import with_arrays, with_compile, with_jax

SIZES = (10**3, 10**5, 10**7)
# Expressions of a, b and c; `np` is the module of array functions.
CHAINS = {
    "a * b + c": "a * b + c",
    "density": "np.exp((a - b) * (a - b) * -0.5) * 0.39894",
    "gelu by tanh": "a * 0.5 * (np.tanh((a * a * a * 0.044715 + a) * 0.79788) + 1.0)",
    "squared error": "np.mean(np.square(a - b) * c)",
}


def _jnp(expression):
    return expression.replace("np.", "jnp.")


def _operands(expression, size, *, grad=False):
    return {
        name: Spec((size,), grad=grad)
        for name in "abc"
        if re.search(rf"\b{name}\b", expression)
    }


def _forward(name, expression, size):
    case = Case(
        "chains",
        f"{name} {size_label(size)}",
        expression.replace("np.", "tl."),
        expression.replace("np.", "torch."),
        expression,
        operands=_operands(expression, size),
        tolerance=(1e-4, 1e-5),
    )
    case = with_compile(case)
    # MLX takes a quarter of a second for the largest: one thread, no vectors.
    return with_arrays(case) if size < 10**7 else with_jax(case, _jnp(expression))


def _backward(name, expression, size):
    operands = _operands(expression, size, grad=True)
    wanted = f"({', '.join(operands)},)"
    inner = expression.replace("np.", "{}.")
    case = Case(
        "chains",
        f"{name} {size_label(size)}, forward + backward",
        f"tl.autograd.grad({inner.replace('{}', 'tl')}, {wanted}, g)",
        f"torch.autograd.grad({inner.replace('{}', 'torch')}, {wanted}, g)",
        operands={**operands, "g": Spec(() if "mean" in expression else (size,))},
        tolerance=(1e-4, 1e-5),
    )
    given = wanted[1:-2]
    function = f"lambda {given}: {_jnp(expression)}"
    return with_jax(with_compile(case), f"jax.vjp({function}, {given})[1](g)")


def cases():
    for name, expression in CHAINS.items():
        for size in SIZES:
            yield _forward(name, expression, size)
        yield _backward(name, expression, 10**7)

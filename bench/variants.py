"""Further contestants of a row, made from the statements that it has.

Each function takes a `Case` and returns it with one more library in `others`.
"""

import ast
import re
from dataclasses import replace

__all__ = ["with_arrays", "with_channels_last", "with_compile", "with_jax", "with_mlx"]

_GRADIENT = "torch.autograd.grad"


def _also(case, library, statement, add):
    """The case with a library whose names `add` completes."""

    def prepare(which, names):
        if case.prepare is not None:
            case.prepare(which, names)
        if which == library:
            add(names)

    return replace(case, others={**case.others, library: statement}, prepare=prepare)


def _function(case, expression):
    """The expression as source of a function of its operands, and the call of it."""
    used = [name for name in case.operands if re.search(rf"\b{name}\b", expression)]
    arguments = ", ".join(used)
    return f"lambda {arguments}: {expression}", f"compiled({arguments})"


def _differentiated(statement):
    """The expression whose gradient is taken and the other arguments, or itself."""
    call = ast.parse(statement, mode="eval").body
    if isinstance(call, ast.Call) and ast.unparse(call.func) == _GRADIENT:
        return [ast.unparse(argument) for argument in call.args]
    return [statement]


def with_compile(case):
    """Add PyTorch's statement through `torch.compile`.

    Of a gradient the differentiated expression is compiled, which compiles its backward
    pass too.
    """
    expression, *wanted = _differentiated(case.torch)
    source, call = _function(case, expression)

    def add(names):
        function = eval(source, dict(names))
        names["compiled"] = names["torch"].compile(function, dynamic=False)

    if wanted:
        call = f"{_GRADIENT}({', '.join([call, *wanted])})"
    return _also(case, "compile", call, add)


def _to_channels_last(names):
    """Put the channels of images, filters and modules last in memory."""
    torch = names["torch"]
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for name, value in names.items():
        if isinstance(value, torch.nn.Module):
            value.to(memory_format=torch.channels_last)
        elif isinstance(value, torch.Tensor) and value.ndim in formats:
            moved = value.detach().contiguous(memory_format=formats[value.ndim])
            names[name] = moved.requires_grad_(value.requires_grad)


def with_channels_last(case):
    """Add PyTorch's statement on operands whose channels lie last."""
    return _also(case, "channels_last", case.torch, _to_channels_last)


def with_jax(case, expression):
    """Add an expression of ``jnp`` or ``jax``, jitted."""
    source, call = _function(case, expression)

    def add(names):
        names["compiled"] = names["jax"].jit(eval(source, dict(names)))

    return _also(case, "jax", f"jax.block_until_ready({call})", add)


def with_mlx(case, expression):
    """Add an expression of ``mx``, compiled."""
    source, call = _function(case, expression)

    def add(names):
        function = names["mx"].compile(eval(source, dict(names)))
        evaluate = names["mx"].eval

        def compiled(*arrays):
            result = function(*arrays)
            evaluate(result)  # an array is computed when it is asked for
            return result

        names["compiled"] = compiled

    return _also(case, "mlx", call, add)


def with_arrays(case, expression=None):
    """Add JAX and MLX, jitted, where they write as NumPy does.

    Parameters
    ----------
    case : Case
    expression : str, optional
        With ``np`` for the array functions; NumPy's statement by default.
    """
    text = expression or case.numpy
    case = with_jax(case, re.sub(r"\bnp\.", "jnp.", text))
    return with_mlx(case, re.sub(r"\bnp\.", "mx.", text))

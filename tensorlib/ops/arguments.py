"""Arguments of ops that are written in Python on other ops."""

from operator import index

from tensorlib.core.errors import AxisError, ShapeError
from tensorlib.core.tensor import Tensor, is_batched
from tensorlib.ops.elementwise import tensor_of

__all__ = [
    "any_batched",
    "axes_of",
    "axis_of",
    "float_of",
    "int_of",
    "ints_of",
    "tensor_of",
]


def any_batched(*given):
    """Return whether one of the arguments is a tensor under vmap."""
    return any(isinstance(x, Tensor) and is_batched(x) for x in given)


def int_of(op, name, value):
    """Return `value` as an int, if it is one."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{op}: expected an int {name}, got {value!r}")
    return index(value)


def float_of(op, name, value):
    """Return `value` as a float, if it is a number.

    A tensor, even of one element, is none: it would not broadcast.
    """
    if type(value) is float:
        return value
    if isinstance(value, (str, Tensor)) or (
        not hasattr(value, "__float__") or getattr(value, "ndim", 0) != 0
    ):
        raise TypeError(
            f"{op}: expected {name} to be a number, got {type(value).__name__}"
        )
    return float(value)


def axis_of(op, axis, ndim):
    """Return an axis in [0, ndim) from one in [-ndim, ndim)."""
    where = int_of(op, "axis", axis)
    if not -ndim <= where < ndim:
        raise AxisError(f"{op}: expected an axis in [{-ndim}, {ndim}), got {where}")
    return where % ndim


def ints_of(op, name, values):
    """Return an int or a sequence of ints as a tuple."""
    if hasattr(values, "__index__"):
        return (int_of(op, name, values),)
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"{op}: expected ints as {name}, got {values!r}")
    return tuple(int_of(op, name, value) for value in values)


def axes_of(op, axes, ndim):
    """Return distinct axes in [0, ndim), in the order given."""
    found = tuple(axis_of(op, axis, ndim) for axis in ints_of(op, "axis", axes))
    if len(set(found)) != len(found):
        raise ShapeError(f"{op}: an axis is given twice in {axes}")
    return found

"""What the transforms share: their arguments' checks, and results taken apart."""

from tensorlib.core.errors import DTypeError
from tensorlib.core.tensor import Tensor
from tensorlib.ops.creation import asarray
from tensorlib.transforms.pytree import flatten

__all__ = [
    "check_callable",
    "chosen",
    "differentiable",
    "output_leaves",
    "replaced",
    "split_aux",
]


def check_callable(op, function):
    """Raise unless `function` can be called."""
    if not callable(function):
        raise TypeError(f"{op}: expected a function, got {type(function).__name__}")


def differentiable(op, leaf):
    """Return a leaf of a differentiated argument as a floating tensor."""
    if isinstance(leaf, float):
        return asarray(leaf)
    if not isinstance(leaf, Tensor):
        raise TypeError(
            f"{op}: expected tensors in the arguments to differentiate, got "
            f"{type(leaf).__name__}; close over it, or choose others by argnums"
        )
    if not leaf.dtype.is_floating_point:
        raise DTypeError(
            f"{op}: expected floating-point arguments to differentiate, got "
            f"{leaf.dtype}; choose others by argnums, or cast with .astype()"
        )
    return leaf


def _positions(op, argnums, count):
    numbers = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    found = []
    for number in numbers:
        if isinstance(number, bool) or not hasattr(number, "__index__"):
            raise TypeError(f"{op}: expected argnums as ints, got {number!r}")
        if not -count <= number.__index__() < count:
            raise ValueError(
                f"{op}: expected argnums within the {count} positional arguments, "
                f"got {number}"
            )
        found.append(number.__index__() % count)
    if len(set(found)) != len(found) or not found:
        raise ValueError(f"{op}: expected argnums without repetition, got {argnums}")
    return found


def chosen(op, argnums, args):
    """Return the positions that `argnums` means, and the arguments there: a tree."""
    places = _positions(op, argnums, len(args))
    if isinstance(argnums, (tuple, list)):
        return places, tuple(args[place] for place in places)
    return places, args[places[0]]


def replaced(args, places, argnums, tree):
    """Return `args` with the tree that `chosen` gave, or one like it, put back."""
    full = list(args)
    values = tree if isinstance(argnums, (tuple, list)) else (tree,)
    for place, value in zip(places, values, strict=True):
        full[place] = value
    return full


def split_aux(op, result, has_aux):
    """Return ``(output, aux)`` of what the function returned; aux None without."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"{op}: expected the function to return (output, aux) with has_aux=True, "
            f"got {type(result).__name__}"
        )
    return result


def output_leaves(op, tree):
    """Return leaves, all tensors, and structure of a function's output."""
    leaves, structure = flatten(tree)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(
                f"{op}: expected the function to return tensors, got "
                f"{type(leaf).__name__}"
            )
    return leaves, structure

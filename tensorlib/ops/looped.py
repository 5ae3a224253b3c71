"""The fall-back of `vmap` for ops that must look at values before they start.

Where the length of a sequence, say, is read from memory on the way to the kernel, no
kernel can take a batch of lengths: the op runs once for each example.
"""

from functools import wraps

from tensorlib.autograd.batch import innermost_level, is_mapping
from tensorlib.core.errors import GraphError
from tensorlib.core.tensor import Tensor, is_batched
from tensorlib.ops.joining import stack

__all__ = ["any_batched", "looped", "one_by_one"]


def any_batched(*given):
    """Return whether one of the arguments is a tensor under vmap."""
    return any(isinstance(x, Tensor) and is_batched(x) for x in given)


def one_by_one(op, function, *given):
    """Return ``function(*given)`` under vmap, computed for each example in turn.

    Parameters
    ----------
    op : str
    function : callable
        Returns a tensor or a tuple of tensors and None.
    *given : object
        Tensors under vmap, and anything else.
    """
    level = innermost_level(*given)
    if level is None or level.size == 0:
        raise GraphError(f"{op}: expected at least one example under vmap")
    # Tensors that all examples share are shown too: gradients are each example's own.
    mapped = [isinstance(x, Tensor) for x in given]
    shown = [
        level.show(x, 0) if held else x for x, held in zip(given, mapped, strict=True)
    ]
    rows = [
        function(*[x[i] if held else x for x, held in zip(shown, mapped, strict=True)])
        for i in range(level.size)
    ]
    if not isinstance(rows[0], tuple):
        return level.hide(stack(rows), 0)
    made = tuple(
        None if column[0] is None else level.hide(stack(list(column)), 0)
        for column in zip(*rows, strict=True)
    )
    return type(rows[0])._make(made) if hasattr(rows[0], "_make") else made


def looped(function):
    """Make a function of tensors run once for each example under `vmap`.

    Examples
    --------
    >>> import tensorlib as tl
    >>> @looped
    ... def largest(x):
    ...     return tl.tensor(x.max().item())
    >>> tl.vmap(largest)(tl.tensor([[1, 4], [3, 2]]))
    tensor([4, 3])
    """

    @wraps(function)
    def mapped(*args, **kwargs):
        if not is_mapping() or not any_batched(*args, *kwargs.values()):
            return function(*args, **kwargs)

        def one(*given):
            rest = dict(zip(kwargs, given[len(args) :], strict=True))
            return function(*given[: len(args)], **rest)

        return one_by_one(function.__name__, one, *args, *kwargs.values())

    return mapped

"""vmap: a function of one example made a function of many."""

import functools

from tensorlib.autograd.batch import BatchLevel
from tensorlib.core.errors import ShapeError
from tensorlib.core.tensor import Tensor
from tensorlib.ops.joining import concat
from tensorlib.transforms.arguments import check_callable, output_leaves
from tensorlib.transforms.pytree import broadcast_prefix, flatten, unflatten

__all__ = ["map_units", "vmap"]


def vmap(func, in_axes=0, out_axes=0, randomness="error", chunk_size=None):
    """Return a function that applies `func` to each example of a batch at once.

    `func` is written for one example: inside, a mapped tensor has the shape of one, and
    its operations work on all examples together. The result is that of a loop over the
    batch whose results are stacked.

    Parameters
    ----------
    func : callable
        Takes trees of anything as positional arguments, returns a tree of tensors.
    in_axes : int, None, or tuple of trees of these, default 0
        Along which axis of an argument the examples lie; None for what all examples
        share. One for all arguments, or a tuple with one entry an argument, which may
        be a tree that the argument's begins with. Keyword arguments are shared.
    out_axes : int, None, or tree of these, default 0
        Along which axis of a result the examples are to lie; None for a result that is
        the same for all. A tree begins the result's.
    randomness : {"error", "different", "same"}, default "error"
        What random numbers drawn inside mean: numbers of its own for each example, or
        one set for all. "different" draws what one call for the whole batch would draw,
        with `chunk_size` for a chunk at a time. Nested calls mean their own axis each.
    chunk_size : int, optional
        How many examples to compute at a time, which bounds the memory; all by default.

    Returns
    -------
    callable
        Takes what `func` takes, with the batch axes.

    Raises
    ------
    ValueError
        If nothing is mapped, the lengths of the mapped axes differ, `in_axes` or
        `out_axes` does not fit, or `randomness` or `chunk_size` is none of the above.
    TypeError
        If what is to be mapped, or a result, is not a tensor.
    ShapeError
        If a tensor has no such axis.
    GraphError
        Inside, where Python asks for a value of a mapped tensor (``if x > 0``,
        ``x.item()``); where a mapped value is written into a tensor that is not; and
        where random numbers are drawn with ``randomness="error"``.

    Notes
    -----
    It nests, and composes with `grad`, `vjp`, `jvp`, `linearize`, `jacrev`, `jacfwd`
    and `hessian` in any order. Operations without a batched form run one example after
    the other; ``docs/transforms.md`` says which. A result that is the same for all
    examples is a view with stride 0: ``.contiguous()`` gives memory to write to.

    References
    ----------
    R. Frostig, M. J. Johnson, C. Leary, "Compiling machine learning programs via
    high-level tracing", SysML 2018.

    Examples
    --------
    >>> import tensorlib as tl
    >>> a, b = tl.tensor([[1.0, 2.0], [3.0, 4.0]]), tl.tensor([10.0, 1.0])
    >>> tl.vmap(lambda x, y: (x * y).sum(), in_axes=(0, None))(a, b)
    tensor([12., 34.])

    The gradient of each example by itself:

    >>> tl.vmap(tl.grad(lambda x: (x ** 3).sum()))(a)
    tensor([[ 3., 12.],
            [27., 48.]])
    """
    check_callable("vmap", func)
    if chunk_size is not None:
        _check_chunk(chunk_size)
    BatchLevel(0, randomness)

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        leaves, structure = flatten(args)
        axes = _input_axes(in_axes, args, leaves)
        size = _batch_size(leaves, axes)

        draws = {} if randomness == "same" else None  # of the first chunk

        def run(leaves, size):
            level = BatchLevel(size, randomness, draws)
            return _run(func, level, leaves, structure, axes, out_axes, kwargs)

        if chunk_size is None or size <= chunk_size:
            return unflatten(*run(leaves, size)[:2])
        return _in_chunks(run, leaves, axes, size, int(chunk_size))

    return wrapped


def map_units(func, units, draws):
    """Return what `func` makes of each row of a tensor: a list of tensors, stacked.

    Random numbers are the same in all calls that are given one dict `draws`.
    """
    with BatchLevel(units.shape[0], "same", draws) as level:
        made = func(level.hide(units, 0))
    return [level.show(y, 0) for y in made]


def _check_chunk(chunk_size):
    if (
        isinstance(chunk_size, bool)
        or not hasattr(chunk_size, "__index__")
        or chunk_size < 1
    ):
        raise ValueError(
            f"vmap: expected chunk_size None or an int >= 1, got {chunk_size!r}"
        )


def _input_axes(in_axes, args, leaves):
    """Return the mapped axis of each leaf, not negative, or None."""
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if isinstance(in_axes, tuple):
        if len(in_axes) != len(args):
            raise ValueError(
                f"vmap: expected in_axes of {len(args)} entries, one per positional "
                f"argument, got {len(in_axes)}"
            )
        axes = [
            axis
            for each, arg in zip(in_axes, args, strict=True)
            for axis in broadcast_prefix(each, arg, "vmap: in_axes")
        ]
    else:
        axes = [in_axes] * len(leaves)
    return [_input_axis(axis, x) for axis, x in zip(axes, leaves, strict=True)]


def _input_axis(axis, x):
    if axis is None:
        return None
    _check_axis("in_axes", axis)
    if not isinstance(x, Tensor):
        raise TypeError(
            f"vmap: expected a tensor to map over axis {axis}, got {type(x).__name__}; "
            "give in_axes None for what all examples share"
        )
    return _normalized("in_axes", axis, x.ndim, x.shape)


def _check_axis(what, axis):
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise ValueError(f"vmap: expected ints or None in {what}, got {axis!r}")


def _normalized(what, axis, ndim, shape):
    axis = axis.__index__()
    if not -ndim <= axis < ndim:
        raise ShapeError(
            f"vmap: expected {what} within the {ndim} dimensions of shape {shape}, got "
            f"{axis}"
        )
    return axis % ndim


def _batch_size(leaves, axes):
    sizes = [
        x.shape[axis] for x, axis in zip(leaves, axes, strict=True) if axis is not None
    ]
    if not sizes:
        raise ValueError("vmap: expected a tensor to map over, got none")
    if len(set(sizes)) > 1:
        raise ValueError(f"vmap: expected mapped axes of one length, got {sizes}")
    return sizes[0]


def _run(func, level, leaves, structure, axes, out_axes, kwargs):
    """Return structure and leaves of the batched result, and the leaves' axes."""
    with level:
        hidden = [
            x if axis is None else level.hide(x, axis)
            for x, axis in zip(leaves, axes, strict=True)
        ]
        made = func(*unflatten(structure, hidden), **kwargs)
        outputs, shape = output_leaves("vmap", made)
        wanted = broadcast_prefix(out_axes, made, "vmap: out_axes")
        wanted = [
            _output_axis(level, y, a) for y, a in zip(outputs, wanted, strict=True)
        ]
    shown = [
        y if axis is None else level.show(y, axis)
        for y, axis in zip(outputs, wanted, strict=True)
    ]
    return shape, shown, wanted


def _output_axis(level, y, axis):
    if axis is None:
        if level.holds(y):
            raise ValueError(
                "vmap: out_axes is None for a result that differs between the examples"
            )
        return None
    _check_axis("out_axes", axis)
    return _normalized("out_axes", axis, y.ndim + 1, (*y.shape, level.size))


def _in_chunks(run, leaves, axes, size, step):
    """Run a part of the batch at a time and join the results."""
    parts = []
    for start in range(0, size, step):
        stop = min(start + step, size)
        chunk = [
            x if axis is None else x[(slice(None),) * axis + (slice(start, stop),)]
            for x, axis in zip(leaves, axes, strict=True)
        ]
        structure, outputs, wanted = run(chunk, stop - start)
        parts.append(outputs)
    joined = [
        column[0] if axis is None else concat(column, axis=axis)
        for column, axis in zip(zip(*parts, strict=True), wanted, strict=True)
    ]
    return unflatten(structure, joined)

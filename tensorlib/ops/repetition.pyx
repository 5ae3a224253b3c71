"""Repetition of elements and of whole tensors.

Both are a copy of a view that has an axis of repetitions, of stride 0, before or after
each axis that is repeated.
"""
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport tracking
from tensorlib.core.abi cimport TL_INT64, TL_MAX_NDIM, tl_buffer
from tensorlib.core.dtype cimport is_integer_code
from tensorlib.core.layout cimport copy_layout, parse_axis, update_layout
from tensorlib.core.tensor cimport Tensor, new_tensor, new_view
from tensorlib.ops.elementwise cimport as_tensor, cast, copy, copy_into
from tensorlib.ops.reduce cimport broadcast
from tensorlib.ops.shape cimport reshape_like

from tensorlib.core.errors import DTypeError, ShapeError, rename
from tensorlib.ops.arguments import int_of, ints_of
from tensorlib.ops.creation import zeros
from tensorlib.ops.indexing import nonzero, take
from tensorlib.ops.joining import concat
from tensorlib.ops.reduce import cumsum

cdef enum:
    MOST_TIMES = 1024
    MOST_ELEMENTS = 1099511627776     # as often as that: their number does not overflow


cdef Tensor _spread(str op, Tensor x, tuple single, tuple wide, tuple merged):
    """x with axes of length one, these repeated, the result in its own shape."""
    try:
        return reshape_like(copy(broadcast(reshape_like(x, single), wide)), merged)
    except ShapeError as error:     # more elements than can be
        rename(error, op)
        raise


def tile(x, repetitions, /):
    """Return `x` repeated as a whole along each axis.

    Parameters
    ----------
    x : Tensor
    repetitions : int or tuple of int
        How often along each axis, the last ones aligned; missing axes count as one.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If a repetition is negative.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.tile(tl.tensor([1, 2]), (2, 2))
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    cdef Tensor a = as_tensor("tile", x)
    cdef int ndim, d, some
    counts = ints_of("tile", "repetitions", repetitions)
    if min(counts, default=0) < 0:
        raise ShapeError(f"tile: expected repetitions >= 0, got {repetitions}")
    ndim = max(a.buf.ndim, <int>len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - a.buf.ndim) + a.shape
    repeated = [d for d in range(ndim) if counts[d] != 1]
    if not repeated:
        return copy(reshape_like(a, shape))
    # As many axes of repetitions at a time as fit.
    some = max(TL_MAX_NDIM - ndim, 1)
    while repeated:
        a = _tiled(a, list(shape), counts, repeated[:some])
        shape, repeated = a.shape, repeated[some:]
    return a


cdef Tensor _tiled(Tensor x, list shape, tuple counts, list chosen):
    """x, seen in this shape, repeated along the chosen axes."""
    single, wide, merged = [], [], []
    for d, extent in enumerate(shape):
        times = 1
        if d in chosen:
            times = counts[d]
            single.append(1)
            wide.append(times)
        single.append(extent)
        wide.append(extent)
        merged.append(times * extent)
    return _spread("tile", x, tuple(single), tuple(wide), tuple(merged))


def repeat(x, repeats, /, *, axis=None):
    """Return `x` with each element repeated in place along an axis.

    Parameters
    ----------
    x : Tensor
    repeats : int or Tensor of integers
        How often, for all elements or for each along the axis.
    axis : int, optional
        By default `x` is flattened first.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If there is neither one count nor one an element, or one is negative.
    DTypeError
        If `repeats` is not of integers.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.repeat(tl.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    >>> tl.repeat(tl.tensor([1, 2, 3]), tl.tensor([2, 0, 1]))
    tensor([1, 1, 3])
    """
    cdef Tensor a = as_tensor("repeat", x)
    cdef Tensor counts
    cdef int along
    if axis is None:
        a, axis = reshape_like(a, (a.buf.size,)), 0
    along = parse_axis("repeat", axis, a.buf.ndim)
    if hasattr(repeats, "__index__") and type(repeats) is not Tensor:
        return _repeat_all(a, int_of("repeat", "repeats", repeats), along)
    counts = as_tensor("repeat", repeats)
    if not is_integer_code(counts.buf.dtype):
        raise DTypeError(f"repeat: expected integer repeats, got {counts.dtype}")
    if counts.buf.size == 1 and counts.buf.ndim <= 1:
        return _repeat_all(a, int(counts.item()), along)
    if counts.buf.ndim != 1 or counts.buf.shape[0] != a.buf.shape[along]:
        raise ShapeError(
            f"repeat: expected one repeat or {a.buf.shape[along]}, got shape "
            f"{counts.shape}"
        )
    return take(a, _places(cast(counts, TL_INT64)), axis=along)


cdef Tensor _repeat_all(Tensor x, object times, int axis):
    if times < 0:
        raise ShapeError(f"repeat: expected repeats >= 0, got {times}")
    if (
        times <= MOST_TIMES and x.buf.size <= MOST_ELEMENTS
        and x.buf.shape[axis] <= MOST_ELEMENTS and x.buf.ndim < TL_MAX_NDIM
        and not tracking(x.track)
    ):
        return _repeat_untracked(x, times, axis)
    shape = x.shape
    before, n, after = shape[:axis], shape[axis], shape[axis + 1:]
    return _spread(
        "repeat", x, (*before, n, 1, *after), (*before, n, times, *after),
        (*before, n * times, *after),
    )


cdef Tensor _repeat_untracked(Tensor x, int64_t times, int axis):
    """The same copy, where no graph asks for the steps to it."""
    cdef Tensor out
    cdef tl_buffer layout, source, target
    copy_layout(&layout, &x.buf)
    layout.shape[axis] *= times
    out = new_tensor(&layout, x.buf.dtype, x.buf.device_type, x.buf.device_index)
    copy_layout(&source, &x.buf)
    copy_layout(&target, &out.buf)
    _insert_repetitions(&source, axis, x.buf.shape[axis], times, x.buf.strides[axis], 0)
    _insert_repetitions(
        &target, axis, x.buf.shape[axis], times, out.buf.strides[axis] * times,
        out.buf.strides[axis],
    )
    copy_into("repeat", new_view(out, &target), new_view(x, &source))
    return out


cdef void _insert_repetitions(
    tl_buffer *b, int axis, int64_t n, int64_t times, int64_t stride, int64_t step
) noexcept:
    """Make an axis two: n elements by `stride`, each of them seen `times` by `step`."""
    cdef int d
    for d in range(b.ndim, axis + 1, -1):
        b.shape[d], b.strides[d] = b.shape[d - 1], b.strides[d - 1]
    b.shape[axis], b.strides[axis] = n, stride
    b.shape[axis + 1], b.strides[axis + 1] = times, step
    b.ndim += 1
    update_layout(b)


def _places(counts):
    """Repeat each position i counts[i] times: steps where runs begin, summed."""
    if counts.size and counts.min().item() < 0:
        raise ShapeError(f"repeat: expected repeats >= 0, got {counts.min().item()}")
    (kept,) = nonzero(counts)
    total = int(counts.sum().item())
    if total == 0:
        return zeros(0, dtype="int64", device=counts.device)
    starts = take(cumsum(counts, axis=0) - counts, kept)
    steps = zeros(total, dtype="int64", device=counts.device)
    steps[starts] = concat((kept[:1], kept[1:] - kept[:-1]))
    return cumsum(steps, axis=0)

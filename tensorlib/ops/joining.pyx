"""Joining and splitting: concat, stack, split, unstack, pad."""

from cpython.number cimport PyNumber_Index as index
from libc.stdint cimport int64_t
from tensorlib.autograd.batch cimport aligned
from tensorlib.autograd.primitive cimport (
    Node, Primitive, record, record1, run2, tracking,
)
from tensorlib.core.abi cimport (
    TL_COMPLEX64, TL_COMPLEX128, TL_CPU, TL_FLOAT32, TL_FLOAT64, TL_MAX_NDIM,
    tl_buffer,
)
from tensorlib.core.dtype cimport dtype_sizes, promote_codes
from tensorlib.core.layout cimport copy_layout, parse_axis, parse_shape, update_layout
from tensorlib.core.tensor cimport Tensor, new_like, new_tensor, new_view
from tensorlib.ops.elementwise cimport as_tensor, cast, copy, copy_into, fill
from tensorlib.ops.shape cimport (
    BasicIndex, index_layout, reshape_like, selection_of, slice_axis,
    take_axis, view_grad, whole_index, zeros_shaped,
)

from tensorlib.core.errors import ShapeError, rename
from tensorlib.ops.arithmetic import abs, clip
from tensorlib.ops.creation import arange
from tensorlib.ops.indexing import take


cdef class Concat(Primitive):
    """Tensors joined along an axis; params: (axis, lengths)."""

    cdef tuple vjp(self, Node node, Tensor g):
        cdef int64_t start = 0
        axis, lengths = node.params
        parts = []
        for i, length in enumerate(lengths):
            parts.append(
                slice_axis(g, axis, start, length, 1) if node.needs(i) else None
            )
            start += length
        return tuple(parts)

    cdef Tensor jvp(self, Node node, tuple tangents):
        axis, lengths = node.params
        shape = list(node.shape_tuple())
        given = [t for t in tangents if t is not None][0]
        parts = []
        for tangent, length in zip(tangents, lengths):
            if tangent is None:
                shape[axis] = length
                tangent = zeros_shaped(<Tensor>given, tuple(shape))
            parts.append(tangent)
        return <Tensor>concat(parts, axis=axis)


cdef Concat _concat = Concat("concat")
cdef Primitive _pairs = Primitive("concat_pairs", kernel="complex")


cdef list _tensors(str op, object tensors):
    if isinstance(tensors, Tensor):
        raise TypeError(f"{op}: expected a sequence of tensors, got one Tensor")
    try:
        found = list(tensors)
    except TypeError:
        raise TypeError(
            f"{op}: expected a sequence of tensors, got {type(tensors).__name__}"
        ) from None
    found = [as_tensor(op, x) for x in found]
    if not found:
        raise ValueError(f"{op}: expected at least one tensor, got an empty sequence")
    return found


def concat(tensors, /, *, axis=0):
    """Return the tensors joined along an axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        Of one shape but for `axis`; promoted to one dtype.
    axis : int or None, default 0
        None flattens the tensors first.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the shapes differ elsewhere than along `axis`.
    ValueError
        If the sequence is empty.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.concat([tl.tensor([1, 2]), tl.tensor([3])])
    tensor([1, 2, 3])
    """
    cdef Tensor first, x, out
    cdef tl_buffer shape
    cdef int d, dtype, where, track = 0
    cdef int64_t start = 0
    items = _tensors("concat", tensors)
    if axis is None:
        items = [reshape_like(x, (x.size,)) for x in items]
        axis = 0
    items = aligned("concat", tuple(items))
    first = <Tensor>items[0]
    where = parse_axis("concat", axis, first.buf.ndim)
    copy_layout(&shape, &first.buf)
    dtype = first.buf.dtype
    shape.shape[where] = 0
    for x in items:
        for d in range(first.buf.ndim):
            if x.buf.ndim != first.buf.ndim or (
                d != where and x.buf.shape[d] != first.buf.shape[d]
            ):
                raise ShapeError(
                    f"concat: expected shapes equal but for axis {where}, got "
                    f"{first.shape} and {x.shape}"
                )
        shape.shape[where] += x.buf.shape[where]
        dtype = promote_codes(dtype, x.buf.dtype)
        track |= x.track
    items = [cast(x, dtype) for x in items]
    out = new_tensor(&shape, dtype, first.buf.device_type, first.buf.device_index)
    if not _alternate(out, items, where):
        for x in items:
            _copy_slice(out, x, where, start)
            start += x.buf.shape[where]
    if track and tracking(track):
        record(_concat, out, tuple(items), (), False,
               (where, [x.shape[where] for x in items]))
    return out


cdef bint _alternate(Tensor out, list items, int axis) except -1:
    """Whether elements of two tensors alternate in out: they are then in it.

    One pass, as parts of complex numbers, moves them whatever their bits mean.
    """
    cdef tl_buffer[3] view
    cdef Tensor x
    cdef int d, k = 0, size = dtype_sizes()[out.buf.dtype]
    if (
        len(items) != 2 or axis != out.buf.ndim - 1 or out.buf.shape[axis] != 2
        or out.buf.device_type != TL_CPU or size not in (4, 8)
    ):
        return False
    for x in [*items, out]:
        if x.buf.shape[axis] == 0:
            return False
        copy_layout(&view[k], &x.buf)
        view[k].ndim -= 1
        view[k].dtype = TL_FLOAT32 if size == 4 else TL_FLOAT64
        update_layout(&view[k])
        k += 1
    view[2].dtype = TL_COMPLEX64 if size == 4 else TL_COMPLEX128
    for d in range(axis):
        view[2].strides[d] //= 2
    update_layout(&view[2])
    run2(_pairs, new_view(out, &view[2]), &view[0], &view[1], NULL)
    return True


cdef int _copy_slice(Tensor out, Tensor x, int axis, int64_t start) except -1:
    """out[..., start:start + n, ...] = x, outside the graph."""
    cdef BasicIndex by
    cdef tl_buffer layout
    whole_index(&by, &out.buf)
    by.items[axis].start = start
    by.items[axis].length = x.buf.shape[axis]
    index_layout(&layout, &out.buf, &by)
    return copy_into("concat", new_view(out, &layout), x)


cdef class Roll(Primitive):
    """Elements moved along axes, those pushed out back in; params: places by axis."""

    cdef Tensor apply(self, Tensor x, list axes):
        """axes: pairs of an axis and the places, fewer than there are on the axis."""
        cdef Tensor out = new_like(x, x.buf.dtype)
        cdef int part
        for part in range(1 << len(axes)):
            self.copy_part(out, x, axes, part)
        if x.track and tracking(x.track):
            record1(self, out, x, (), False, axes)
        return out

    cdef int copy_part(self, Tensor out, Tensor x, list axes, int part) except -1:
        """One of the blocks whose elements stay together; a bit of part by axis."""
        cdef BasicIndex source, target
        cdef tl_buffer layout
        cdef int i, axis
        cdef int64_t places, n
        whole_index(&source, &x.buf)
        whole_index(&target, &x.buf)
        for i in range(len(axes)):
            axis, places = axes[i]
            n = x.buf.shape[axis]
            if part >> i & 1:       # those pushed out
                source.items[axis].start = n - places
                source.items[axis].length = target.items[axis].length = places
            else:
                target.items[axis].start = places
                source.items[axis].length = target.items[axis].length = n - places
        index_layout(&layout, &out.buf, &target)
        out = new_view(out, &layout)
        index_layout(&layout, &x.buf, &source)
        return copy_into("roll", out, new_view(x, &layout))

    cdef tuple vjp(self, Node node, Tensor g):
        return (self.apply(g, [(d, g.shape[d] - places) for d, places in node.params]),)

    cdef Tensor jvp(self, Node node, tuple tangents):
        return self.apply(<Tensor>tangents[0], node.params)


cdef Roll _roll = Roll("roll")


def rolled(Tensor x not None, dict places):
    """Return `x` with its elements moved along axes; see `roll`.

    Parameters
    ----------
    x : Tensor
    places : dict of int to int
        By axis from the front, how many towards higher indices.

    Returns
    -------
    Tensor

    Raises
    ------
    AxisError
        If an axis does not exist.
    """
    cdef list axes = []
    cdef int64_t extent
    for axis, count in places.items():
        extent = x.buf.shape[parse_axis("roll", axis, x.buf.ndim)]
        if extent and count % extent:
            axes.append((parse_axis("roll", axis, x.buf.ndim), count % extent))
    if not axes:
        return copy(x)
    # Each axis doubles the blocks: three at a time.
    for first in range(0, len(axes), 3):
        x = _roll.apply(x, axes[first:first + 3])
    return x


def stack(tensors, /, *, axis=0):
    """Return the tensors joined along a new axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        Of one shape.
    axis : int, default 0
        Position of the new axis in the result.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.stack([tl.tensor([1, 2]), tl.tensor([3, 4])], axis=1)
    tensor([[1, 3],
            [2, 4]])
    """
    items = _tensors("stack", tensors)
    shape = items[0].shape
    for x in items[1:]:
        if x.shape != shape:
            raise ShapeError(f"stack: expected one shape, got {shape} and {x.shape}")
    where = parse_axis("stack", axis, len(shape) + 1)
    if len(shape) == TL_MAX_NDIM:
        raise ShapeError(
            f"stack: expected at most {TL_MAX_NDIM} dimensions, got {len(shape) + 1}"
        )
    shape = (*shape[:where], 1, *shape[where:])
    return concat([reshape_like(x, shape) for x in items], axis=where)


def split(x, /, sections, *, axis=0):
    """Return views of consecutive parts of `x` along an axis.

    Parameters
    ----------
    x : Tensor
    sections : int or sequence of int
        The length of each part (the last may be shorter), or the lengths of all.
    axis : int, default 0

    Returns
    -------
    list of Tensor

    Raises
    ------
    ShapeError
        If the lengths do not add up to the axis's length.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.split(tl.arange(5), 2)
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """
    cdef Tensor a = as_tensor("split", x)
    cdef int where = parse_axis("split", axis, a.buf.ndim)
    cdef int64_t start = 0, extent = a.buf.shape[where]
    cdef int64_t step
    if hasattr(sections, "__index__"):
        step = index(sections)
        if step < 1:
            raise ShapeError(f"split: expected a length >= 1, got {sections}")
        lengths = [
            min(step, extent - i * step)
            for i in range(extent // step + (extent % step != 0))
        ] or [0]
    else:
        try:
            lengths = [index(n) for n in sections]
        except TypeError:
            raise TypeError(
                f"split: expected an int or a sequence of ints, got {sections!r}"
            ) from None
        if sum(lengths) != extent or min(lengths, default=0) < 0:
            raise ShapeError(
                f"split: lengths {lengths} do not add up to {extent}, the length of "
                f"axis {where}"
            )
    parts = []
    for n in lengths:
        parts.append(slice_axis(a, where, start, n, 1))
        start += n
    return parts


def unstack(x, /, *, axis=0):
    """Return the slices of `x` along an axis as a tuple of views.

    Parameters
    ----------
    x : Tensor
    axis : int, default 0

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.unstack(tl.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    cdef Tensor a = as_tensor("unstack", x)
    cdef int where = parse_axis("unstack", axis, a.buf.ndim)
    return tuple([take_axis(a, where, i) for i in range(a.buf.shape[where])])


def pad(x, /, pad_width, *, mode="constant", value=0):
    """Return `x` with elements added around it.

    Parameters
    ----------
    x : Tensor
    pad_width : sequence of (int, int)
        How many elements to add before and after each axis.
    mode : {"constant", "reflect", "replicate", "circular"}
        The elements added: `value`; those across the border, without its own; the
        border's own; those of the opposite end.
    value : scalar, default 0

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If there is not one pair of non-negative ints an axis, or an axis is too short
        to be reflected or repeated that far.
    ValueError
        If `mode` is none of the above.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.pad(tl.tensor([1, 2]), [(1, 2)])
    tensor([0, 1, 2, 0, 0])
    >>> tl.pad(tl.tensor([1, 2, 3]), [(2, 1)], mode="reflect")
    tensor([3, 2, 1, 2, 3, 2])
    """
    cdef Tensor a = as_tensor("pad", x)
    cdef Tensor out
    cdef tl_buffer layout
    cdef BasicIndex by
    cdef int d
    try:
        widths = [(index(before), index(after)) for before, after in pad_width]
    except (TypeError, ValueError):
        raise ShapeError(
            f"pad: expected a (before, after) pair of ints an axis, got {pad_width!r}"
        ) from None
    if len(widths) != a.buf.ndim or any([min(pair) < 0 for pair in widths]):
        raise ShapeError(
            f"pad: expected {a.buf.ndim} pairs of non-negative ints for shape "
            f"{a.shape}, got {pad_width!r}"
        )
    if mode != "constant":
        return _pad_from_itself(a, widths, mode)
    parse_shape(
        "pad", [n + w[0] + w[1] for n, w in zip(a.shape, widths)], &layout
    )
    out = new_tensor(&layout, a.buf.dtype, a.buf.device_type, a.buf.device_index)
    try:
        fill(out, value)
    except TypeError as error:
        rename(error, "pad")
        raise
    whole_index(&by, &a.buf)
    for d in range(a.buf.ndim):
        by.items[d].start = widths[d][0]
    index_layout(&layout, &out.buf, &by)
    copy_into("pad", new_view(out, &layout), a)
    if a.track and tracking(a.track):
        record1(view_grad(), out, a, (), False, selection_of(&out.buf, &by))
    return out


cdef Tensor _pad_from_itself(Tensor x, list widths, object mode):
    """The modes that repeat elements of x: picked axis by axis."""
    cdef tl_buffer layout
    if mode not in ("reflect", "replicate", "circular"):
        raise ValueError(
            "pad: expected mode 'constant', 'reflect', 'replicate' or 'circular', got "
            f"{mode!r}"
        )
    parse_shape("pad", [n + w[0] + w[1] for n, w in zip(x.shape, widths)], &layout)
    for axis, (before, after) in enumerate(widths):
        n = x.buf.shape[axis]
        if before == after == 0:
            continue
        reach = {"reflect": n - 1, "replicate": layout.size, "circular": n}[mode]
        if n == 0 or max(before, after) > reach:
            raise ShapeError(
                f"pad: mode {mode!r} reaches {max(reach, 0)} elements at most on axis "
                f"{axis} of shape {x.shape}, got {(before, after)}"
            )
        places = arange(-before, n + after)
        if mode == "circular":
            places = places % n
        elif mode == "replicate":
            places = clip(places, 0, n - 1)
        else:
            places = abs(places)
            places = (n - 1) - abs((n - 1) - places)
        x = <Tensor>take(x, places, axis=axis)
    return x

"""Arguments of ops that slide a window: convolutions, pooling, unfold.

All of them run as volumes of three axes; images and sequences have unit axes put in.
"""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.number cimport PyNumber_Index as index
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_buffer
from tensorlib.core.layout cimport copy_layout, set_contiguous
from tensorlib.core.tensor cimport Tensor
from tensorlib.ops.elementwise cimport contiguous
from tensorlib.ops.shape cimport reshape_to

from tensorlib.core.errors import ShapeError
from tensorlib.ops.shape import permute_dims

cdef tuple _LAYOUTS = (
    ("NCL", "NCHW", "NCDHW"),
    ("NLC", "NHWC", "NDHWC"),
)
cdef int64_t _LIMIT = 2147483647


cdef bint channels_last(str op, object layout, int spatial) except -1:
    first, last = _LAYOUTS[0][spatial - 1], _LAYOUTS[1][spatial - 1]
    if layout == first or layout == last:
        return layout == last
    raise ValueError(f"{op}: expected layout {first!r} or {last!r}, got {layout!r}")


cdef tuple per_axis(str op, str name, object value, int spatial, int64_t least):
    cdef list found
    try:
        if hasattr(value, "__index__"):
            found = [index(value)] * spatial
        elif isinstance(value, str):
            raise TypeError
        else:
            found = [index(item) for item in value]
            if len(found) == 1:
                found *= spatial
    except TypeError:
        raise TypeError(
            f"{op}: expected {name} to be an int or {spatial} ints, got {value!r}"
        ) from None
    if len(found) != spatial:
        raise ValueError(
            f"{op}: expected {name} to be an int or {spatial} ints, got {value!r}"
        )
    for item in found:
        if not least <= item <= _LIMIT:
            raise ValueError(
                f"{op}: expected {name} in [{least}, 2**31), got {value!r}"
            )
    return tuple(found)


cdef bint is_batched(str op, Tensor x, int spatial, object layout) except -1:
    cdef int d
    if x.buf.ndim != spatial + 1 and x.buf.ndim != spatial + 2:
        raise ShapeError(
            f"{op}: expected an input of shape ({', '.join(layout)}) or "
            f"({', '.join(layout[1:])}), got {x.shape}"
        )
    for d in range(x.buf.ndim):
        if x.buf.shape[d] > _LIMIT:
            raise ShapeError(f"{op}: expected extents below 2**31, got {x.shape}")
    return x.buf.ndim == spatial + 2


cdef tuple as_triple(tuple values, int missing):
    return (missing,) * (3 - len(values)) + values


cdef int fill_axes(
    str op, str name, object value, int spatial, int64_t least, int64_t *out
) except -1:
    cdef int d, overflow = 0
    cdef int64_t one
    if type(value) is int:
        one = PyLong_AsLongLongAndOverflow(value, &overflow)
        if not overflow and least <= one <= _LIMIT:
            for d in range(3 - spatial, 3):
                out[d] = one
            return 0
    found = per_axis(op, name, value, spatial, least)
    for d in range(spatial):
        out[3 - spatial + d] = found[d]
    return 0


cdef Tensor as_volume(Tensor x, int spatial, bint last):
    cdef int d, given = 0, first = 1 if last else 2
    cdef bint batched = x.buf.ndim == spatial + 2
    cdef tl_buffer volume
    volume.ndim = 5
    for d in range(5):
        if (d == 0 and not batched) or first <= d < first + 3 - spatial:
            volume.shape[d] = 1
        else:
            volume.shape[d] = x.buf.shape[given]
            given += 1
    set_contiguous(&volume)
    return reshape_to(contiguous(x), &volume)


cdef Tensor from_volume(Tensor x, int spatial, bint last, bint batched):
    cdef int d, first = 1 if last else 2
    cdef tl_buffer plain
    plain.ndim = 0
    for d in range(0 if batched else 1, 5):
        if not first <= d < first + 3 - spatial:
            plain.shape[plain.ndim] = x.buf.shape[d]
            plain.ndim += 1
    set_contiguous(&plain)
    return reshape_to(x, &plain)


cdef tuple paddings(
    str op, object padding, tuple kernel, tuple stride, tuple dilation
):
    """What is added before and after each axis."""
    if not isinstance(padding, str):
        found = per_axis(op, "padding", padding, len(kernel), 0)
        return found, found
    if padding == "valid":
        return (0,) * len(kernel), (0,) * len(kernel)
    if padding != "same":
        raise ValueError(
            f"{op}: expected padding to be ints, 'same' or 'valid', got {padding!r}"
        )
    if max(stride) > 1:
        raise ValueError(f"{op}: padding='same' needs stride 1, got {stride}")
    totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return tuple([t // 2 for t in totals]), tuple([t - t // 2 for t in totals])


cdef bint is_plain(object value) noexcept:
    """Whether equal values mean the same: an int, or a tuple of ints."""
    if type(value) is tuple:
        for item in <tuple>value:
            if type(item) is not int:
                return False
        return True
    return type(value) is int


cdef void lay_volume(tl_buffer *volume, const tl_buffer *b, int spatial) noexcept:
    """b, in C order with channels first, as it is with five axes."""
    cdef int d, lead = b.ndim - spatial - 1      # axes before the channels
    copy_layout(volume, b)
    volume.storage = b.storage
    volume.ndim = 5
    volume.shape[0] = b.shape[0] if lead else 1
    volume.shape[1] = b.shape[lead]
    for d in range(2, 5 - spatial):
        volume.shape[d] = 1
    for d in range(spatial):
        volume.shape[5 - spatial + d] = b.shape[lead + 1 + d]
    set_contiguous(volume)


cdef Tensor channels_moved(Tensor x, int spatial, bint to_last):
    """Channels from second to last, or back; x has spatial or spatial + 1 axes more."""
    cdef int lead = x.buf.ndim - spatial - 1
    axes = tuple(range(lead, lead + spatial + 1))
    axes = axes[1:] + axes[:1] if to_last else axes[-1:] + axes[:-1]
    return <Tensor>permute_dims(x, (*range(lead), *axes))

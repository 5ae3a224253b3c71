"""What the arguments of a convolution mean: its parameters and extents, checked."""
cimport cython
from libc.stdint cimport int64_t
from tensorlib.core.dtype cimport dtype_of, is_complex_code, promote_codes
from tensorlib.core.tensor cimport Tensor
from tensorlib.ops.elementwise cimport as_float, as_tensor, cast, contiguous
from tensorlib.ops.window cimport as_triple, is_batched, is_plain, paddings, per_axis

from tensorlib.core.errors import DTypeError, ShapeError


@cython.final
cdef class Geometry:
    """Parameters of one convolution and the shapes of its x, w and y."""
    cdef bint has_steps(self):
        cdef int d
        for d in range(3):
            if self.params.stride[d] != 1:
                return True
        return False


cdef tuple checked_operands(str op, object x, object weight, object bias):
    """The three as floating tensors of one dtype and device."""
    cdef Tensor a = as_float(as_tensor(op, x))
    cdef Tensor w = as_float(as_tensor(op, weight))
    cdef Tensor b = None if bias is None else as_tensor(op, bias)
    cdef int dtype = promote_codes(a.buf.dtype, w.buf.dtype)
    if b is not None:
        dtype = promote_codes(dtype, b.buf.dtype)
        b = contiguous(cast(b, dtype))
    if is_complex_code(dtype):
        raise DTypeError(f"{op}: expected real numbers, got {dtype_of(dtype)}")
    return cast(a, dtype), cast(w, dtype), b


cdef int64_t group_count(str op, object groups) except -1:
    return per_axis(op, "groups", groups, 1, 1)[0]


cdef int check_channels(
    str op, Tensor w, Tensor b, int spatial, int64_t channels, int64_t groups,
    int64_t produced, bint transposed,
) except -1:
    """Raise unless weight, bias and groups fit an input of so many channels."""
    cdef int64_t wanted = channels if transposed else channels // groups
    cdef int64_t found = w.buf.shape[0 if transposed else 1]
    kernel = ", ".join(("kD", "kH", "kW")[3 - spatial:])
    if channels % groups or w.buf.shape[0] % groups or found != wanted:
        names = "(C, O / groups" if transposed else "(O, C / groups"
        raise ShapeError(
            f"{op}: expected weight of shape {names}, {kernel}) with C and O divisible "
            f"by groups, got weight.shape={w.shape} for {channels} input channels and "
            f"groups={groups}"
        )
    if 0 in w.shape[2:]:
        raise ShapeError(f"{op}: expected a kernel that is not empty, got {w.shape}")
    if b is not None and (b.buf.ndim != 1 or b.buf.shape[0] != produced):
        raise ShapeError(f"{op}: expected a bias of shape ({produced},), got {b.shape}")
    return 0


cdef int check_rank(str op, Tensor w, int spatial) except -1:
    if w.buf.ndim != spatial + 2:
        raise ShapeError(
            f"{op}: expected a weight of {spatial + 2} dimensions, got {w.shape}"
        )
    return 0


cdef Geometry new_geometry(
    str op, int64_t groups, tuple stride, tuple padding, tuple dilation, bint last,
    tuple sizes, tuple kernel, tuple outs, tuple channels,
):
    """channels: of x, of x in a group, of y; each checked against a 32-bit BLAS."""
    cdef Geometry how = Geometry.__new__(Geometry)
    cdef int d
    sizes, kernel, outs = (
        as_triple(sizes, 1), as_triple(kernel, 1), as_triple(outs, 1)
    )
    stride, padding, dilation = (
        as_triple(stride, 1), as_triple(padding, 0), as_triple(dilation, 1)
    )
    count, (c, c_group, o) = channels[0], channels[1:]
    for size in (
        sizes[0] * sizes[1] * sizes[2], outs[0] * outs[1] * outs[2], c, o,
        c_group * kernel[0] * kernel[1] * kernel[2],
        o // groups * kernel[0] * kernel[1] * kernel[2],
    ):
        if size > MOST:
            raise ValueError(
                f"{op}: expected less than 2**31 elements a channel, channels and "
                f"weights an output channel, got input extents {sizes}, kernel "
                f"{kernel}, output extents {outs} and {c} to {o} channels"
            )
    how.params.groups = groups
    how.params.channels_last = last
    for d in range(3):
        how.params.stride[d] = stride[d]
        how.params.padding[d] = padding[d]
        how.params.dilation[d] = dilation[d]
    if last:
        how.shapes = (
            (count, *sizes, c), (o, *kernel, c_group), (count, *outs, o)
        )
    else:
        how.shapes = (
            (count, c, *sizes), (o, c_group, *kernel), (count, o, *outs)
        )
    return how


cdef Geometry _geometry_of_call(
    str op, int spatial, Tensor a, Tensor w, Tensor b, object stride, object padding,
    object dilation, int64_t count, object layout, bint last,
):
    """Check the arguments of a convolution, and find the extents of its result."""
    cdef bint batched = is_batched(op, a, spatial, layout)
    check_rank(op, w, spatial)
    steps = per_axis(op, "stride", stride, spatial, 1)
    gaps = per_axis(op, "dilation", dilation, spatial, 1)
    kernel = w.shape[2:]
    before, after = paddings(op, padding, kernel, steps, gaps)
    shape = a.shape if batched else (1, *a.shape)
    channels = shape[-1] if last else shape[1]
    sizes = shape[1:-1] if last else shape[2:]
    check_channels(op, w, b, spatial, channels, count, w.buf.shape[0], False)
    outs = []
    for size, k, s, d, low, high in zip(sizes, kernel, steps, gaps, before, after):
        room = size + low + high - d * (k - 1) - 1
        if room < 0:
            raise ShapeError(
                f"{op}: the kernel is larger than the padded input: got input extents "
                f"{sizes}, kernel {kernel}, padding {before}, dilation {gaps}"
            )
        outs.append(room // s + 1)
    return new_geometry(
        op, count, steps, before, gaps, last, sizes, kernel, tuple(outs),
        (shape[0], channels, w.buf.shape[1], w.buf.shape[0]),
    )


# Geometries of calls that were checked, by their arguments: a module's are the same at
# every call, and checking them took longer than a convolution of a small image.
cdef dict _checked = {}
cdef Py_ssize_t _CHECKED = 256


cdef Geometry checked_geometry(
    str op, int spatial, Tensor a, Tensor w, Tensor b, object stride, object padding,
    object dilation, int64_t count, object layout, bint last,
):
    """The same, from an earlier call with the same arguments."""
    cdef tuple key
    if not (
        is_plain(stride) and is_plain(dilation)
        and (is_plain(padding) or type(padding) is str)
    ):
        return _geometry_of_call(
            op, spatial, a, w, b, stride, padding, dilation, count, layout, last
        )
    key = (
        spatial, last, a.shape, w.shape, None if b is None else b.shape, stride,
        padding, dilation, count,
    )
    found = _checked.get(key)
    if found is None:
        found = _geometry_of_call(
            op, spatial, a, w, b, stride, padding, dilation, count, layout, last
        )
        if len(_checked) >= _CHECKED:
            _checked.clear()
        _checked[key] = found
    return <Geometry>found

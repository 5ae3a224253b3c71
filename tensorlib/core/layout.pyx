"""Shape, stride, broadcast and view algebra on the C struct.

Everything here is arithmetic on `tl_buffer`; the functions that may fail on user
input raise ShapeError with the op's name and the values.
"""
from cpython.buffer cimport (
    PyBUF_ANY_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_F_CONTIGUOUS, PyBUF_STRIDES,
)
from cpython.number cimport PyNumber_Index as index
from cpython.object cimport PyObject
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from tensorlib.core.abi cimport TL_C_CONTIGUOUS, TL_MAX_NDIM, tl_buffer

from tensorlib.core.errors import AxisError, ShapeError

cdef extern from "Python.h":
    # Of an int: it has no other error than the overflow that it tells of.
    # Borrowed references: counting them would cost more than the conversion.
    bint PyLong_CheckExact(PyObject *x) noexcept
    PyObject *PyTuple_GET_ITEM(PyObject *tuple, Py_ssize_t i) noexcept
    long long PyLong_AsLongLongAndOverflow(PyObject *x, int *overflow) noexcept

MAX_DIMENSIONS = TL_MAX_NDIM

cdef enum:
    SMALL_EXTENT = 16384    # four of these multiply to less than any memory


cdef void set_contiguous(tl_buffer *b) noexcept nogil:
    # Strides of an empty tensor may wrap around: nothing is ever addressed by them.
    cdef uint64_t size = 1
    cdef int d
    for d in range(b.ndim - 1, -1, -1):
        b.strides[d] = <int64_t>size
        size *= <uint64_t>b.shape[d]
    b.size = <int64_t>size
    b.flags = TL_C_CONTIGUOUS


cdef void update_layout(tl_buffer *b) noexcept nogil:
    cdef uint64_t size = 1          # of an empty tensor it may wrap around on the way
    cdef bint contiguous = True
    cdef int d
    for d in range(b.ndim - 1, -1, -1):
        if b.shape[d] != 1 and b.strides[d] != <int64_t>size:
            contiguous = False
        size *= <uint64_t>b.shape[d]
    b.size = <int64_t>size
    b.flags = TL_C_CONTIGUOUS if contiguous or size == 0 else 0


cdef bint same_shape(const tl_buffer *a, const tl_buffer *b) noexcept nogil:
    cdef int d
    if a.ndim != b.ndim:
        return False
    for d in range(a.ndim):
        if a.shape[d] != b.shape[d]:
            return False
    return True


cdef bint same_strides(const tl_buffer *a, const tl_buffer *b) noexcept nogil:
    cdef int d
    for d in range(a.ndim):
        if a.strides[d] != b.strides[d] and a.shape[d] != 1 and a.size:
            return False
    return True


cdef bint is_dense(const tl_buffer *b) noexcept nogil:
    # The steps grow, so no axis is found twice.
    cdef int64_t step = 1
    cdef int d
    while step < b.size:
        for d in range(b.ndim):
            if b.strides[d] == step and b.shape[d] != 1:
                break
        else:
            return False
        step *= b.shape[d]
    return True


cdef void keep_order(
    tl_buffer *out, const tl_buffer **operands, int n
) noexcept nogil:
    cdef const tl_buffer *model = NULL
    cdef const tl_buffer *operand
    cdef int d, k
    for k in range(n):
        operand = operands[k]
        if not same_shape(operand, out):
            continue
        if operand.flags & TL_C_CONTIGUOUS:
            return
        if model == NULL:
            if is_dense(operand):
                model = operand
        elif not same_strides(operand, model) and is_dense(operand):
            return
    if model == NULL:
        return
    for d in range(out.ndim):
        out.strides[d] = model.strides[d]
    out.flags = 0


cdef void copy_layout(tl_buffer *out, const tl_buffer *b) noexcept nogil:
    cdef int d
    out.data = b.data
    out.size = b.size
    out.ndim = b.ndim
    out.dtype = b.dtype
    out.device_type = b.device_type
    out.device_index = b.device_index
    out.flags = b.flags
    for d in range(b.ndim):
        out.shape[d] = b.shape[d]
        out.strides[d] = b.strides[d]


cdef int broadcast_shape(
    tl_buffer *out, const tl_buffer *a, const tl_buffer *b
) noexcept nogil:
    cdef int ndim = a.ndim if a.ndim > b.ndim else b.ndim
    cdef int d
    cdef int64_t m, n
    for d in range(1, ndim + 1):
        m = a.shape[a.ndim - d] if d <= a.ndim else 1
        n = b.shape[b.ndim - d] if d <= b.ndim else 1
        if m != n and m != 1 and n != 1:
            return -1
        out.shape[ndim - d] = n if m == 1 else m
    out.ndim = ndim
    return 0


cdef int broadcast_view(
    tl_buffer *out, const tl_buffer *b, const tl_buffer *target
) noexcept nogil:
    cdef int d, source
    cdef int lead = target.ndim - b.ndim
    if lead < 0:
        return -1
    for d in range(target.ndim):
        source = d - lead
        out.shape[d] = target.shape[d]
        if source < 0:
            out.strides[d] = 0
        elif b.shape[source] == target.shape[d]:
            out.strides[d] = b.strides[source]
        elif b.shape[source] == 1:
            out.strides[d] = 0
        else:
            return -1
    out.ndim = target.ndim
    out.data = b.data
    out.dtype = b.dtype
    out.device_type = b.device_type
    out.device_index = b.device_index
    update_layout(out)
    return 0


cdef int reshape_view(
    tl_buffer *out, const tl_buffer *b, int ndim, const int64_t *shape
) noexcept nogil:
    """Match runs of old and new axes whose products agree.

    Inside a run the old axes must be mergeable (stride[d] == stride[d+1] *
    shape[d+1]); the new ones then split the merged axis.
    """
    cdef int64_t[TL_MAX_NDIM] old_shape, old_strides
    cdef int64_t old_product, new_product
    cdef int old_ndim = 0
    cdef int d, i = 0, j = 0, first_old, first_new
    out.data = b.data
    out.dtype = b.dtype
    out.device_type = b.device_type
    out.device_index = b.device_index
    out.ndim = ndim
    for d in range(ndim):
        out.shape[d] = shape[d]
    if b.flags & TL_C_CONTIGUOUS:
        set_contiguous(out)
        return 0
    for d in range(b.ndim):
        if b.shape[d] != 1:
            old_shape[old_ndim] = b.shape[d]
            old_strides[old_ndim] = b.strides[d]
            old_ndim += 1
    while i < old_ndim and j < ndim:
        first_old, first_new = i, j
        old_product, new_product = old_shape[i], shape[j]
        while old_product != new_product:
            if new_product < old_product:
                j += 1
                new_product *= shape[j]
            else:
                i += 1
                old_product *= old_shape[i]
        for d in range(first_old, i):
            if old_strides[d] != old_strides[d + 1] * old_shape[d + 1]:
                return -1
        out.strides[j] = old_strides[i]
        for d in range(j - 1, first_new - 1, -1):
            out.strides[d] = out.strides[d + 1] * shape[d + 1]
        i += 1
        j += 1
    for d in range(j, ndim):   # only axes of length one are left
        out.strides[d] = 1
    update_layout(out)
    return 0


cdef tuple shape_tuple(const tl_buffer *b):
    cdef int d
    if b.ndim == 1:
        return (b.shape[0],)
    if b.ndim == 2:
        return (b.shape[0], b.shape[1])
    return tuple([b.shape[d] for d in range(b.ndim)])


cdef tuple strides_tuple(const tl_buffer *b):
    cdef int d
    return tuple([b.strides[d] for d in range(b.ndim)])


cdef bint plain_shape(tuple shape, tl_buffer *b) noexcept:
    return _plain(NULL, shape, b)


cdef bint plain_extents(object first, tuple more, tl_buffer *b) noexcept:
    return _plain(<PyObject *>first, more, b)


cdef inline bint _plain(PyObject *first, tuple more, tl_buffer *b) noexcept:
    cdef Py_ssize_t d, skipped = first != NULL, n = len(more) + skipped
    cdef PyObject *item
    cdef long long extent
    cdef int overflow
    if n > 4:
        return False
    for d in range(n):
        item = first
        if d >= skipped:
            item = PyTuple_GET_ITEM(<PyObject *>more, d - skipped)
        if not PyLong_CheckExact(item):
            return False
        extent = PyLong_AsLongLongAndOverflow(item, &overflow)
        if overflow or extent <= 0 or extent > SMALL_EXTENT:
            return False
        b.shape[d] = extent
    b.ndim = <int>n
    set_contiguous(b)
    return True


cdef int parse_shape(str op, object shape, tl_buffer *b) except -1:
    cdef int64_t extent
    cdef int64_t product = 1
    cdef int d
    cdef bint empty = False
    if type(shape) is tuple and plain_shape(<tuple>shape, b):
        return 0
    if isinstance(shape, int):
        shape = (shape,)
    elif not isinstance(shape, (tuple, list)):
        try:
            shape = tuple(shape)
        except TypeError:
            raise ShapeError(
                f"{op}: expected a shape (an int or a tuple of ints), got {shape!r}"
            ) from None
    if len(shape) > TL_MAX_NDIM:
        raise ShapeError(
            f"{op}: expected at most {TL_MAX_NDIM} dimensions, got {len(shape)}"
        )
    for d, item in enumerate(shape):
        try:
            extent = item if type(item) is int else index(item)
        except (TypeError, OverflowError):
            raise ShapeError(
                f"{op}: expected int extents below 2**63, got {item!r} in {shape!r}"
            ) from None
        if extent < 0:
            raise ShapeError(f"{op}: expected extents >= 0, got shape {shape!r}")
        b.shape[d] = extent
        empty = empty or extent == 0
    for d in range(len(shape)):
        if b.shape[d] and not empty:
            if product > (INT64_MAX >> 5) // b.shape[d]:
                raise MemoryError(f"{op}: shape {shape!r} is larger than any memory")
            product *= b.shape[d]
    b.ndim = len(shape)
    set_contiguous(b)
    return 0


cdef int parse_axis(str op, object axis, int ndim) except -1:
    cdef int64_t found
    if isinstance(axis, bool):
        raise TypeError(f"{op}: expected an int axis, got {axis!r}")
    try:
        found = axis if type(axis) is int else index(axis)
    except TypeError:
        raise TypeError(f"{op}: expected an int axis, got {axis!r}") from None
    except OverflowError:
        found = INT64_MAX
    if not -ndim <= found < ndim:
        raise AxisError(
            f"{op}: expected an axis in [{-ndim}, {ndim}) for {ndim} dimensions, "
            f"got {axis!r}"
        )
    return <int>(found + ndim if found < 0 else found)


cdef int parse_axes(str op, object axis, int ndim, bint *mask) except -1:
    cdef int d
    for d in range(ndim):
        mask[d] = axis is None
    if axis is None:
        return 0
    for item in axis if isinstance(axis, (tuple, list)) else (axis,):
        d = parse_axis(op, item, ndim)
        if mask[d]:
            raise ShapeError(f"{op}: axis {d} is given twice in {axis!r}")
        mask[d] = True
    return 0


cdef int check_contiguity(const tl_buffer *b, int flags) except -1:
    """Raise BufferError when the consumer asks for a layout it lacks."""
    cdef bint c_order = b.flags & TL_C_CONTIGUOUS
    cdef bint f_order = True
    cdef int64_t step = 1
    cdef int d
    for d in range(b.ndim):
        if b.shape[d] != 1 and b.strides[d] != step:
            f_order = False
        step *= b.shape[d]
    f_order = f_order or b.size == 0
    if (flags & PyBUF_STRIDES) != PyBUF_STRIDES and not c_order:
        raise BufferError("buffer: the consumer needs C order; use .contiguous()")
    if (flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS and not c_order:
        raise BufferError("buffer: the tensor is not C-contiguous")
    if (flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS and not f_order:
        raise BufferError("buffer: the tensor is not Fortran-contiguous")
    if (flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS and not (
        c_order or f_order
    ):
        raise BufferError("buffer: the tensor is not contiguous")
    return 0

"""Tensors over memory that somebody else owns.

Every zero-copy path in (buffer protocol, array interface, DLPack) ends here, so that
the rules are written once: strides must be whole elements and addresses aligned,
otherwise the elements are copied; the owner lives until the storage goes.
"""
from cpython.buffer cimport PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from tensorlib.core.abi cimport (
    TL_CPU, TL_MAX_NDIM, TL_STORAGE_READONLY, tl_buffer, tl_storage,
)
from tensorlib.core.dtype cimport dtype_sizes
from tensorlib.core.layout cimport set_contiguous, update_layout
from tensorlib.core.storage cimport storage_borrow, storage_release
from tensorlib.core.tensor cimport Tensor, check_host, new_over, new_tensor

from tensorlib.core.errors import DTypeError, ShapeError

cdef extern from "Python.h":
    bint Py_IsInitialized() noexcept nogil


cdef int check_dtype(str op, int dtype, object described) except -1:
    if dtype < 0:
        raise DTypeError(
            f"{op}: expected bool or numbers of the machine's byte order, "
            f"got {described}"
        )
    return 0


# ---- copying -------------------------------------------------------------------
cdef char *_pack(
    char *out, const char *data, const int64_t *shape, const int64_t *strides,
    int ndim, int itemsize,
) noexcept nogil:
    """Copy elements at byte strides into C order; returns the end of the output."""
    cdef int64_t i
    if ndim == 0:
        memcpy(out, data, itemsize)
        return out + itemsize
    if ndim == 1 and strides[0] == itemsize:
        memcpy(out, data, shape[0] * itemsize)
        return out + shape[0] * itemsize
    if ndim == 1 and itemsize == 4:     # a constant size lets memcpy become one move
        for i in range(shape[0]):
            memcpy(out + 4 * i, data + i * strides[0], 4)
        return out + 4 * shape[0]
    if ndim == 1 and itemsize == 8:
        for i in range(shape[0]):
            memcpy(out + 8 * i, data + i * strides[0], 8)
        return out + 8 * shape[0]
    for i in range(shape[0]):
        out = _pack(
            out, data + i * strides[0], shape + 1, strides + 1, ndim - 1, itemsize
        )
    return out


cdef Tensor packed_copy(Tensor x):
    cdef int64_t[TL_MAX_NDIM] strides
    cdef int itemsize = dtype_sizes()[x.buf.dtype]
    cdef Tensor out
    cdef int d
    check_host("copy", x, True)
    if x.buf.device_type != TL_CPU:
        return x.detach().copy()
    out = new_tensor(&x.buf, x.buf.dtype, TL_CPU, 0)
    if x.buf.size == 0:
        return out
    for d in range(x.buf.ndim):
        strides[d] = x.buf.strides[d] * itemsize
    with nogil:
        _pack(
            <char *>out.buf.data, <const char *>x.buf.data, x.buf.shape, strides,
            x.buf.ndim, itemsize,
        )
    return out


def packed(x):
    """Return a contiguous copy of the tensor `x`, outside the graph."""
    return packed_copy(<Tensor?>x)


# ---- adopting ------------------------------------------------------------------
cdef int _check_extents(str op, const Foreign *memory) except -1:
    cdef int64_t size = dtype_sizes()[memory.dtype]
    cdef bint empty = False
    cdef int d
    if not 0 <= memory.ndim <= TL_MAX_NDIM:
        raise ShapeError(
            f"{op}: expected at most {TL_MAX_NDIM} dimensions, got {memory.ndim}"
        )
    for d in range(memory.ndim):
        if memory.shape[d] < 0:
            raise ShapeError(f"{op}: expected extents >= 0, got {memory.shape[d]}")
        empty = empty or memory.shape[d] == 0
    for d in range(memory.ndim):
        if empty:
            break
        if size > INT64_MAX // memory.shape[d]:
            raise ShapeError(f"{op}: the array's size does not fit in 63 bits")
        size *= memory.shape[d]
    if memory.data == NULL and not empty:
        raise ValueError(f"{op}: the array has elements but no memory")
    return 0


cdef bint _fits(const Foreign *memory, int itemsize) noexcept:
    """Whether the elements can be addressed in place."""
    cdef int d
    if <size_t>memory.data % itemsize:
        return False
    for d in range(memory.ndim):
        if memory.shape[d] > 1 and memory.strides[d] % itemsize:
            return False
    return True


cdef Tensor _packed(const Foreign *memory, int itemsize):
    cdef tl_buffer layout
    cdef Tensor out
    cdef int d
    layout.ndim = memory.ndim
    for d in range(memory.ndim):
        layout.shape[d] = memory.shape[d]
    out = new_tensor(&layout, memory.dtype, TL_CPU, 0)
    if out.buf.size:
        with nogil:
            _pack(
                <char *>out.buf.data, <const char *>memory.data, memory.shape,
                memory.strides, memory.ndim, itemsize,
            )
    return out


cdef Tensor _over(const Foreign *memory, int itemsize, bint *adopted):
    """A tensor over the memory; its storage spans the lowest to the highest byte."""
    cdef tl_buffer layout
    cdef tl_storage *storage
    cdef int64_t low = 0, high = itemsize, reach
    cdef int d
    layout.ndim = memory.ndim
    layout.data = memory.data
    layout.dtype = <uint8_t>memory.dtype
    layout.device_type = <uint8_t>memory.device_type
    layout.device_index = <uint16_t>memory.device_index
    for d in range(memory.ndim):
        layout.shape[d] = memory.shape[d]
    set_contiguous(&layout)     # unit axes and empty tensors keep these strides
    if layout.size == 0:
        high = 0
    else:
        for d in range(memory.ndim):
            if memory.shape[d] > 1:
                layout.strides[d] = memory.strides[d] // itemsize
                reach = (memory.shape[d] - 1) * memory.strides[d]
                low += reach if reach < 0 else 0
                high += reach if reach > 0 else 0
        update_layout(&layout)
    storage = storage_borrow(
        <char *>memory.data + low, high - low,
        TL_STORAGE_READONLY if memory.readonly else 0, memory.owner, memory.release,
    )
    storage.device_type, storage.device_index = layout.device_type, layout.device_index
    adopted[0] = True
    try:
        return new_over(storage, &layout)
    finally:
        storage_release(storage)


cdef Tensor adopt_memory(str op, const Foreign *memory, bint copy):
    cdef int itemsize
    cdef bint fits, adopted = False
    cdef Tensor made
    try:
        check_dtype(op, memory.dtype, "another data type")
        _check_extents(op, memory)
        itemsize = dtype_sizes()[memory.dtype]
        fits = _fits(memory, itemsize)
        if memory.device_type != TL_CPU:
            if not fits:
                raise BufferError(f"{op}: the elements on the GPU are not aligned")
            made = _over(memory, itemsize, &adopted)
            return packed_copy(made) if copy else made
        if copy or not fits:
            return _packed(memory, itemsize)
        return _over(memory, itemsize, &adopted)
    finally:
        if not adopted:
            memory.release(memory.owner)


# ---- buffers -------------------------------------------------------------------
cdef void release_buffer(void *owner) noexcept nogil:
    """Give a Py_buffer back; storages are freed from any thread."""
    if not Py_IsInitialized():
        return
    with gil:
        PyBuffer_Release(<Py_buffer *>owner)
    free(owner)


cdef Tensor over_buffer(object source, Foreign *memory, int64_t offset):
    """Elements described by `memory` inside a buffer of bytes, bounds checked."""
    cdef Py_buffer *view
    cdef int d
    cdef bint empty = False
    cdef object low = offset                 # Python integers: they cannot wrap
    cdef object high = low + dtype_sizes()[memory.dtype]
    cdef object extent, stride
    for d in range(memory.ndim):
        extent, stride = memory.shape[d], memory.strides[d]
        empty = empty or extent <= 0
        if stride < 0:
            low += (extent - 1) * stride
        else:
            high += (extent - 1) * stride
    view = <Py_buffer *>malloc(sizeof(Py_buffer))
    if view == NULL:
        raise MemoryError("asarray: no memory for a buffer view")
    try:
        PyObject_GetBuffer(source, view, 0)
    except BaseException:
        free(view)
        raise
    length = view.len
    if not empty and (low < 0 or high > length):
        release_buffer(view)
        raise ValueError(
            f"the array needs bytes {low} to {high} of a buffer of {length}"
        )
    memory.data = <char *>view.buf + offset
    memory.readonly = view.readonly
    memory.device_type = memory.device_index = TL_CPU
    memory.owner = view
    memory.release = release_buffer
    return adopt_memory("asarray", memory, False)

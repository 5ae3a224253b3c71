"""Looks for infinities and NaN in memory, for `autograd.detect_anomaly`.

One pass over memory that a kernel has just written, mostly in cache. The contiguous
inner run of a buffer is scanned without a branch: an element is not finite when all
bits of its exponent are set, and the compiler vectorizes the comparison.
"""
from libc.math cimport isinf, isnan
from libc.stdint cimport int64_t, uint32_t, uint64_t
from tensorlib.core.abi cimport (
    TL_CPU, TL_FLOAT32, TL_FLOAT64, TL_MAX_NDIM, tl_buffer,
)
from tensorlib.core.dtype cimport dtype_of
from tensorlib.core.layout cimport shape_tuple

cdef fused bits:
    uint32_t
    uint64_t

cdef struct Found:
    double lowest
    double highest
    int64_t infinite
    int64_t nan
    int64_t finite


cdef bint _scan(const bits *x, int64_t n, int64_t step) noexcept nogil:
    cdef bits exponent = <bits>0x7F800000
    cdef bits any_set = 0
    cdef int64_t i
    if bits is uint64_t:
        exponent = <uint64_t>0x7FF0000000000000
    if step == 1:
        for i in range(n):
            any_set |= (x[i] & exponent) == exponent
    else:
        for i in range(n):
            any_set |= (x[i * step] & exponent) == exponent
    return any_set != 0


cdef int64_t _next_run(const tl_buffer *b, int64_t *index) noexcept nogil:
    """Advance the index over all axes but the last; the offset, or -1 at the end."""
    cdef int d
    cdef int64_t offset = 0
    for d in range(b.ndim - 2, -1, -1):
        index[d] += 1
        if index[d] < b.shape[d]:
            break
        index[d] = 0
    else:
        return -1
    for d in range(b.ndim - 1):
        offset += index[d] * b.strides[d]
    return offset


cdef bint _is_read(const tl_buffer *b) noexcept nogil:
    return b.size != 0 and b.device_type == TL_CPU and (
        b.dtype == TL_FLOAT32 or b.dtype == TL_FLOAT64
    )


cdef bint has_nonfinite(const tl_buffer *b) noexcept nogil:
    cdef int64_t[TL_MAX_NDIM] index
    cdef int64_t offset = 0, n = 1, step = 1
    cdef bint found = False
    cdef int d
    if not _is_read(b):
        return False
    for d in range(b.ndim):
        index[d] = 0
    if b.ndim:
        n, step = b.shape[b.ndim - 1], b.strides[b.ndim - 1]
    while offset >= 0 and not found:
        if b.dtype == TL_FLOAT32:
            found = _scan(<const uint32_t *>b.data + offset, n, step)
        else:
            found = _scan(<const uint64_t *>b.data + offset, n, step)
        offset = _next_run(b, index)
    return found


cdef void _count(double value, Found *found) noexcept nogil:
    if isnan(value):
        found.nan += 1
    elif isinf(value):
        found.infinite += 1
    else:
        if not found.finite or value < found.lowest:
            found.lowest = value
        if not found.finite or value > found.highest:
            found.highest = value
        found.finite += 1


cdef str described(const tl_buffer *b):
    cdef int64_t[TL_MAX_NDIM] index
    cdef int64_t offset = 0, i, n = 1, step = 1
    cdef Found found = Found(0.0, 0.0, 0, 0, 0)
    cdef str text = f"{dtype_of(b.dtype).name} {shape_tuple(b)}"
    cdef int d
    if not _is_read(b):
        return text
    for d in range(b.ndim):
        index[d] = 0
    if b.ndim:
        n, step = b.shape[b.ndim - 1], b.strides[b.ndim - 1]
    while offset >= 0:
        for i in range(n):
            if b.dtype == TL_FLOAT32:
                _count((<const float *>b.data)[offset + i * step], &found)
            else:
                _count((<const double *>b.data)[offset + i * step], &found)
        offset = _next_run(b, index)
    if found.finite:
        text += f" in [{found.lowest:.6g}, {found.highest:.6g}]"
    if found.infinite or found.nan:
        text += f" with {found.infinite} inf, {found.nan} NaN"
    return text

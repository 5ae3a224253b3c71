"""Looks for infinities and NaN in memory, for `autograd.detect_anomaly`.

One pass over memory that a kernel has just written, mostly in cache. The contiguous
inner run of a buffer is scanned without a branch: a number is not finite when all bits
of its exponent are set, and the compiler vectorizes the comparison. Complex numbers are
two.
"""
from libc.math cimport hypot, isinf, isnan
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from tensorlib.core.abi cimport (
    TL_BFLOAT16, TL_C_CONTIGUOUS, TL_COMPLEX64, TL_COMPLEX128, TL_CPU, TL_FLOAT16,
    TL_FLOAT32, TL_MAX_NDIM, tl_bfloat16, tl_bfloat16_to_float, tl_buffer, tl_float16,
    tl_float16_to_float,
)
from tensorlib.core.dtype cimport dtype_of, is_complex_code, is_inexact_code
from tensorlib.core.layout cimport shape_tuple

cdef fused bits:
    uint16_t
    uint32_t
    uint64_t

cdef struct Found:
    double lowest
    double highest
    int64_t infinite
    int64_t nan
    int64_t finite


cdef bint _scan(
    const bits *x, bits exponent, int64_t n, int64_t step
) noexcept nogil:
    cdef bits any_set = 0
    cdef int64_t i
    if step == 1:
        for i in range(n):
            any_set |= (x[i] & exponent) == exponent
    else:
        for i in range(n):
            any_set |= (x[i * step] & exponent) == exponent
    return any_set != 0


cdef inline int64_t _extent(const tl_buffer *b, int d, bint once) noexcept nogil:
    """The length of an axis; once: of one along which nothing moves, 1."""
    return 1 if once and b.strides[d] == 0 else b.shape[d]


cdef int64_t _next_run(const tl_buffer *b, int64_t *index, bint once) noexcept nogil:
    """Advance the index over all axes but the last; the offset, or -1 at the end."""
    cdef int d
    cdef int64_t offset = 0
    for d in range(b.ndim - 2, -1, -1):
        index[d] += 1
        if index[d] < _extent(b, d, once):
            break
        index[d] = 0
    else:
        return -1
    for d in range(b.ndim - 1):
        offset += index[d] * b.strides[d]
    return offset


cdef bint _is_read(const tl_buffer *b) noexcept nogil:
    return b.size != 0 and b.device_type == TL_CPU and is_inexact_code(b.dtype)


cdef bint _scan_parts(
    const tl_buffer *b, int64_t at, int64_t n, int64_t step
) noexcept nogil:
    """Scan real numbers; `at` and `step` count those."""
    if b.dtype == TL_FLOAT16:
        return _scan(<const uint16_t *>b.data + at, <uint16_t>0x7C00, n, step)
    if b.dtype == TL_BFLOAT16:
        return _scan(<const uint16_t *>b.data + at, <uint16_t>0x7F80, n, step)
    if b.dtype == TL_FLOAT32 or b.dtype == TL_COMPLEX64:
        return _scan(<const uint32_t *>b.data + at, <uint32_t>0x7F800000, n, step)
    return _scan(
        <const uint64_t *>b.data + at, <uint64_t>0x7FF0000000000000, n, step
    )


cdef bint _scan_run(
    const tl_buffer *b, int64_t offset, int64_t n, int64_t step
) noexcept nogil:
    if not is_complex_code(b.dtype):
        return _scan_parts(b, offset, n, step)
    if step == 1:
        return _scan_parts(b, 2 * offset, 2 * n, 1)
    return _scan_parts(b, 2 * offset, n, 2 * step) or (
        _scan_parts(b, 2 * offset + 1, n, 2 * step)
    )


cdef double _value(const tl_buffer *b, int64_t i) noexcept nogil:
    """An element, of a complex one its magnitude."""
    if b.dtype == TL_FLOAT16:
        return tl_float16_to_float((<const tl_float16 *>b.data)[i])
    if b.dtype == TL_BFLOAT16:
        return tl_bfloat16_to_float((<const tl_bfloat16 *>b.data)[i])
    if b.dtype == TL_FLOAT32:
        return (<const float *>b.data)[i]
    if b.dtype == TL_COMPLEX64:
        return hypot(
            (<const float *>b.data)[2 * i], (<const float *>b.data)[2 * i + 1]
        )
    if b.dtype == TL_COMPLEX128:
        return hypot(
            (<const double *>b.data)[2 * i], (<const double *>b.data)[2 * i + 1]
        )
    return (<const double *>b.data)[i]


cdef bint has_nonfinite(const tl_buffer *b) noexcept nogil:
    cdef int64_t[TL_MAX_NDIM] index
    cdef int64_t offset = 0, n = 1, step = 1
    cdef bint found = False
    cdef int d
    if not _is_read(b):
        return False
    if b.flags & TL_C_CONTIGUOUS:
        return _scan_run(b, 0, b.size, 1)
    for d in range(b.ndim):
        index[d] = 0
    if b.ndim:
        n, step = _extent(b, b.ndim - 1, True), b.strides[b.ndim - 1]
    while offset >= 0 and not found:
        found = _scan_run(b, offset, n, step)
        offset = _next_run(b, index, True)
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
            _count(_value(b, offset + i * step), &found)
        offset = _next_run(b, index, False)
    if found.finite:
        text += " of magnitudes" if is_complex_code(b.dtype) else ""
        text += f" in [{found.lowest:.6g}, {found.highest:.6g}]"
    if found.infinite or found.nan:
        text += f" with {found.infinite} inf, {found.nan} NaN"
    return text

"""The slower ways of an op for which a device has no kernel.

A narrow dtype is widened where the device has a kernel for the wide one. Otherwise the
memory under the operands is copied to the host, the CPU's kernel runs there, and what
it wrote is copied back: results are right, and the caller waits. docs/cuda.md lists the
ops that go this way.
"""
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from tensorlib.core.abi cimport (
    TL_CPU, TL_CUDA, TL_DTYPE_COUNT, tl_buffer, tl_call, tl_kernel, tl_storage,
)
from tensorlib.core.batching cimport set_host_launch
from tensorlib.core.dispatch cimport launch, set_absent
from tensorlib.core.dtype cimport dtype_sizes, wider_code
from tensorlib.core.layout cimport copy_layout
from tensorlib.core.remote cimport TO_DEVICE, TO_HOST, cross
from tensorlib.core.storage cimport storage_new, storage_release
from tensorlib.core.widening cimport launch_widened

# Memory from which operands are read and to which they are written.
ctypedef struct Span:
    char *begin
    char *end
    tl_storage *copy
    bint written

ctypedef struct Visit:
    int n                       # operands, outputs first
    int spans
    Span *span                  # as many as operands
    tl_buffer *made             # their buffers on the host
    const tl_buffer **operands


cdef void _reach(const tl_buffer *b, char **begin, char **end) noexcept:
    """The bytes between the lowest and the highest element."""
    cdef int64_t low = 0, high = 1
    cdef int d
    for d in range(b.ndim):
        if b.strides[d] < 0:
            low += (b.shape[d] - 1) * b.strides[d]
        else:
            high += (b.shape[d] - 1) * b.strides[d]
    begin[0] = <char *>b.data + low * dtype_sizes()[b.dtype]
    end[0] = <char *>b.data + high * dtype_sizes()[b.dtype]


cdef void _add_span(Visit *visit, const tl_buffer *b, bint written) noexcept:
    """Enter the operand's memory; spans that touch become one."""
    cdef char *begin
    cdef char *end
    cdef int i = 0
    cdef Span *span
    _reach(b, &begin, &end)
    while i < visit.spans:
        span = &visit.span[i]
        if span.begin < end and begin < span.end:
            begin = min(begin, span.begin)
            end = max(end, span.end)
            written = written or span.written
            visit.spans -= 1
            span[0] = visit.span[visit.spans]
            i = 0
        else:
            i += 1
    span = &visit.span[visit.spans]
    span.begin, span.end, span.copy, span.written = begin, end, NULL, written
    visit.spans += 1


cdef bint _is_remote(const tl_buffer *b) noexcept:
    return b != NULL and b.device_type != TL_CPU and b.size != 0


cdef int _fetch(Visit *visit, int device_type, int index) except -1:
    """Copy the spans to the host, and make the operands' buffers there."""
    cdef Span *span
    cdef const tl_buffer *b
    cdef char *begin
    cdef char *end
    cdef int i, k
    for i in range(visit.spans):
        span = &visit.span[i]
        span.copy = storage_new(span.end - span.begin)
        cross(
            device_type, index, span.copy.data, span.begin, span.end - span.begin,
            TO_HOST,
        )
    for k in range(visit.n):
        b = visit.operands[k]
        if b == NULL or b.device_type == TL_CPU:
            continue
        copy_layout(&visit.made[k], b)
        visit.made[k].device_type, visit.made[k].device_index = TL_CPU, 0
        visit.operands[k] = &visit.made[k]
        if b.size == 0:
            continue
        _reach(b, &begin, &end)
        for i in range(visit.spans):
            span = &visit.span[i]
            if span.begin <= begin and end <= span.end:
                visit.made[k].data = (
                    <char *>span.copy.data + (<char *>b.data - span.begin)
                )
    return 0


cdef int _give_back(Visit *visit, int device_type, int index) except -1:
    cdef int i
    cdef Span *span
    for i in range(visit.spans):
        span = &visit.span[i]
        if span.written:
            cross(
                device_type, index, span.begin, span.copy.data, span.end - span.begin,
                TO_DEVICE,
            )
    return 0


cdef int launch_on_host(
    str op, const tl_kernel *row, int dtype, tl_call *call, int64_t work
) except -1:
    cdef Visit visit
    cdef tl_call inner = call[0]
    cdef int k, device_type = call.out[0].device_type, index = call.out[0].device_index
    visit.n, visit.spans = call.nout + call.nin, 0
    visit.span = <Span *>calloc(visit.n, sizeof(Span))
    visit.made = <tl_buffer *>calloc(visit.n, sizeof(tl_buffer))
    visit.operands = <const tl_buffer **>calloc(visit.n, sizeof(tl_buffer *))
    try:
        if visit.span == NULL or visit.made == NULL or visit.operands == NULL:
            raise MemoryError(f"{op}: no memory for {visit.n} operands")
        for k in range(visit.n):
            visit.operands[k] = (
                call.out[k] if k < call.nout else call.in_[k - call.nout]
            )
            if _is_remote(visit.operands[k]):
                _add_span(&visit, visit.operands[k], k < call.nout)
        _fetch(&visit, device_type, index)
        inner.out, inner.in_ = visit.operands, visit.operands + call.nout
        launch(op, row, TL_CPU, dtype, &inner, work)
        return _give_back(&visit, device_type, index)
    finally:
        for k in range(visit.spans if visit.span != NULL else 0):
            if visit.span[k].copy != NULL:
                storage_release(visit.span[k].copy)
        free(visit.span)
        free(visit.made)
        free(visit.operands)


cdef int _launch_absent(
    str op, const tl_kernel *row, int dtype, tl_call *call, int64_t work
) except -1:
    """In a wider dtype where the device has that, on the host where it has not."""
    cdef int wide = wider_code(dtype)
    cdef int device_type = call.out[0].device_type
    if (
        wide >= 0 and row[device_type * TL_DTYPE_COUNT + dtype].run == NULL
        and row[device_type * TL_DTYPE_COUNT + wide].run != NULL
    ):
        return launch_widened(op, row, dtype, wide, call, work)
    return launch_on_host(op, row, dtype, call, work)


set_absent(TL_CUDA, _launch_absent)
set_host_launch(launch_on_host)

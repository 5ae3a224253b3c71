"""Dtypes without loops of their own: widened around a kernel, or loaded when needed.

A narrow dtype (8 and 16-bit integers, uint32, the half-precision floats) is computed in
a wide one: where `launch` finds no kernel, the operands are widened, the wide dtype's
kernel runs, and what it wrote is narrowed. Integers wrap as they would have, and sums
of half-precision numbers are float32's, rounded once. Kernels of the complex dtypes are
loaded when the first one is missed.
"""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free
from tensorlib.core.abi cimport TL_CPU, tl_buffer, tl_call, tl_kernel
from tensorlib.core.dispatch cimport kernel_row, launch, set_absent
from tensorlib.core.dtype cimport dtype_sizes, wider_code
from tensorlib.core.layout cimport (
    copy_layout, same_shape, set_contiguous, update_layout,
)
from tensorlib.core.storage cimport storage_new, storage_release

from tensorlib.core.dtype import dtype_name
from tensorlib.core.errors import missing_kernel

cdef enum:
    MANY = 16       # operands, of an optimizer, which share no memory

cdef dict _late = {}    # dtype: what loads its kernels when one is first missed


cdef int _convert(
    str op, const tl_buffer *target, const tl_buffer *source
) except -1:
    """Write source to target, in the name of op: narrowing may overflow."""
    cdef tl_call call
    cdef const tl_buffer *out = target
    call.out, call.in_, call.params = &out, &source, NULL
    call.nout = call.nin = 1
    return launch(
        op, kernel_row(f"cast_{dtype_name(target.dtype)}"), TL_CPU, source.dtype, &call,
        target.size,
    )


cdef int _widen(tl_buffer *wide, const tl_buffer *narrow, int dtype) except -1:
    """Make `wide` a copy; axes that are broadcast (stride 0) stay so."""
    cdef tl_buffer source
    cdef int d
    copy_layout(&source, narrow)
    for d in range(narrow.ndim):
        if narrow.strides[d] == 0 and narrow.size:
            source.shape[d] = 1
    copy_layout(wide, &source)
    wide.dtype = <uint8_t>dtype
    set_contiguous(wide)
    source.size = wide.size
    wide.storage = storage_new(wide.size * dtype_sizes()[dtype])
    wide.data = wide.storage.data
    _convert("astype", wide, &source)
    if wide.size != narrow.size:
        for d in range(narrow.ndim):
            if source.shape[d] != narrow.shape[d]:
                wide.shape[d], wide.strides[d] = narrow.shape[d], 0
        update_layout(wide)
    return 0


cdef int _same_memory(
    const tl_buffer **operands, int k, const tl_buffer *buffer
) noexcept:
    """Which operand before k is `buffer` under another name, -1: none."""
    cdef int d, i
    cdef const tl_buffer *other
    cdef bint same
    for i in range(k if k < MANY else 0):
        other = operands[i]
        if other != NULL and other.data == buffer.data and same_shape(other, buffer):
            same = other.dtype == buffer.dtype
            for d in range(buffer.ndim):
                same = same and other.strides[d] == buffer.strides[d]
            if same:
                return i
    return -1


cdef int _run_wider(
    str op, const tl_kernel *row, int dtype, int wide, tl_call *call, int64_t work,
    tl_buffer *made, const tl_buffer **operands,
) except -1:
    """operands: the call's, and behind them room for what stands in for them."""
    cdef int k, twin, n = call.nout + call.nin
    cdef tl_call wider
    cdef const tl_buffer *operand
    cdef const tl_buffer **widened = operands + n
    for k in range(n):
        operand = call.out[k] if k < call.nout else call.in_[k - call.nout]
        operands[k] = widened[k] = operand
        if operand != NULL and operand.dtype == dtype:
            twin = _same_memory(operands, k, operand)
            if twin < 0:    # outputs too: some kernels add to them
                _widen(&made[k], operand, wide)
            widened[k] = &made[k] if twin < 0 else widened[twin]
    wider.out, wider.in_ = widened, widened + call.nout
    wider.nout, wider.nin, wider.params = call.nout, call.nin, call.params
    launch(op, row, TL_CPU, wide, &wider, work)
    for k in range(call.nout):
        if made[k].storage != NULL:
            _convert(op, call.out[k], &made[k])
    return 0


cdef int _launch_wider(
    str op, const tl_kernel *row, int dtype, tl_call *call, int64_t work
) except -1:
    cdef int k, n = call.nout + call.nin, wide = wider_code(dtype)
    cdef tl_buffer *made
    cdef const tl_buffer **operands
    load = _late.get(dtype)
    if load is not None:
        load()      # again by another thread that comes meanwhile, which is no harm
        _late.pop(dtype, None)
        return launch(op, row, TL_CPU, dtype, call, work)
    if wide < 0 or (row + wide).run == NULL:
        missing_kernel(op, TL_CPU, dtype)
    made = <tl_buffer *>calloc(n, sizeof(tl_buffer))
    operands = <const tl_buffer **>calloc(2 * n, sizeof(tl_buffer *))
    try:
        if made == NULL or operands == NULL:
            raise MemoryError(f"{op}: no memory for {n} operands")
        return _run_wider(op, row, dtype, wide, call, work, made, operands)
    finally:
        if made != NULL:
            for k in range(n):
                if made[k].storage != NULL:
                    storage_release(made[k].storage)
        free(made)
        free(operands)


def load_late(dtypes, load):
    """Have `load` called when a kernel of one of these dtype codes is first missed."""
    _late.update(dict.fromkeys(dtypes, load))


set_absent(TL_CPU, _launch_wider)

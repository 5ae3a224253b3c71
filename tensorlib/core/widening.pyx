"""Dtypes without loops of their own: widened around a kernel, or loaded when needed.

A narrow dtype (8 and 16-bit integers, uint32, the half-precision floats) is computed in
a wide one: where `launch` finds no kernel, the operands are widened, the wide dtype's
kernel runs, and what it wrote is narrowed. Integers wrap as they would have, and sums
of half-precision numbers are float32's, rounded once. A driver that can convert a block
at a time (loops over elements, reductions) says so by `widens_in_blocks`; its kernel is
entered into the table when it is first missed, so that later calls find it there.
Kernels of rows (`widens_in_rows`) are called for some rows at a time, whose operands
stay in the cache. Kernels of the complex dtypes are loaded when the first is missed.
"""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free
from tensorlib.core.abi cimport (
    TL_CPU, TL_DTYPE_COUNT, tl_buffer, tl_call, tl_kernel, tl_kernel_fn, tl_loop,
)
from tensorlib.core.dispatch cimport kernel_row, launch, set_absent
from tensorlib.core.dtype cimport dtype_sizes, wider_code
from tensorlib.core.layout cimport (
    copy_layout, same_shape, set_contiguous, update_layout,
)
from tensorlib.core.remote cimport storage_on
from tensorlib.core.storage cimport storage_release

from tensorlib.core.dtype import dtype_name
from tensorlib.core.errors import missing_kernel

cdef enum:
    MANY = 16       # operands, of an optimizer, which share no memory
    AT_ONCE = 131072    # elements of an operand: 512 KiB, half of which a thread has

cdef dict _late = {}    # dtype: what loads its kernels when one is first missed

cdef dict _in_rows = {}     # an op's row in the table: bits of its shared operands

# Drivers, and what stands in for each on narrow operands.
ctypedef struct Pair:
    tl_kernel_fn wide
    tl_kernel_fn blocks

cdef Pair[8] _pairs
cdef int _pair_count = 0


cdef int widens_in_blocks(tl_kernel_fn wide, tl_kernel_fn blocks) except -1:
    global _pair_count
    if _pair_count == 8:
        raise RuntimeError("kernel table: too many drivers that widen in blocks")
    _pairs[_pair_count].wide, _pairs[_pair_count].blocks = wide, blocks
    _pair_count += 1
    return 0


cdef tl_loop _cast_loop(int source, int target) except? NULL:
    cdef const tl_kernel *row = kernel_row(f"cast_{dtype_name(target)}")
    return <tl_loop>(row + TL_CPU * TL_DTYPE_COUNT + source).loop


cdef bint _enter_blocks(const tl_kernel *row, int dtype, int wide) except -1:
    """Give the narrow dtype a kernel that converts in blocks; False: there is none."""
    cdef tl_kernel *entry = <tl_kernel *>row + dtype
    cdef tl_narrow *how
    cdef int i
    for i in range(_pair_count):
        if _pairs[i].wide == (row + wide).run:
            how = <tl_narrow *>calloc(1, sizeof(tl_narrow))   # as long as the table
            if how == NULL:
                raise MemoryError("kernel table: no memory for an entry")
            how.wide, how.dtype = (row + wide)[0], dtype
            how.widen, how.narrow = _cast_loop(dtype, wide), _cast_loop(wide, dtype)
            how.size, how.wide_size = dtype_sizes()[dtype], dtype_sizes()[wide]
            entry.loop = how
            entry.run = _pairs[i].blocks
            return True
    return False


cdef int _convert(
    str op, const tl_buffer *target, const tl_buffer *source
) except -1:
    """Write source to target, in the name of op: narrowing may overflow."""
    cdef tl_call call
    cdef const tl_buffer *out = target
    call.out, call.in_, call.params = &out, &source, NULL
    call.nout = call.nin = 1
    return launch(
        op, kernel_row(f"cast_{dtype_name(target.dtype)}"), target.device_type,
        source.dtype, &call, target.size,
    )


cdef int _widen(
    tl_buffer *wide, const tl_buffer *narrow, int dtype, bint copied
) except -1:
    """Make `wide` a copy, or like one; axes that are broadcast (stride 0) stay so."""
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
    wide.storage = storage_on(
        wide.device_type, wide.device_index, wide.size * dtype_sizes()[dtype]
    )
    wide.data = wide.storage.data
    if copied:
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
    tl_buffer *made, const tl_buffer **operands, bint adds,
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
            if twin < 0:
                _widen(&made[k], operand, wide, k >= call.nout or adds)
            widened[k] = &made[k] if twin < 0 else widened[twin]
    wider.out, wider.in_ = widened, widened + call.nout
    wider.nout, wider.nin, wider.params = call.nout, call.nin, call.params
    launch(op, row, call.out[0].device_type, wide, &wider, work)
    for k in range(call.nout):
        if made[k].storage != NULL:
            _convert(op, call.out[k], &made[k])
    return 0


cdef int _launch_whole(
    str op, const tl_kernel *row, int dtype, int wide, tl_call *call, int64_t work,
    bint adds,
) except -1:
    """adds: whether the kernel may read its outputs, to add to them."""
    cdef int k, n = call.nout + call.nin
    cdef tl_buffer *made
    cdef const tl_buffer **operands
    made = <tl_buffer *>calloc(n, sizeof(tl_buffer))
    operands = <const tl_buffer **>calloc(2 * n, sizeof(tl_buffer *))
    try:
        if made == NULL or operands == NULL:
            raise MemoryError(f"{op}: no memory for {n} operands")
        return _run_wider(op, row, dtype, wide, call, work, made, operands, adds)
    finally:
        if made != NULL:
            for k in range(n):
                if made[k].storage != NULL:
                    storage_release(made[k].storage)
        free(made)
        free(operands)


cdef int launch_widened(
    str op, const tl_kernel *row, int dtype, int wide, tl_call *call, int64_t work
) except -1:
    return _launch_whole(op, row, dtype, wide, call, work, True)


cdef int64_t _rows_at_once(const tl_call *call, unsigned shared) noexcept:
    """How many rows (the first axis) go at a time; 0: all, or there are none."""
    cdef const tl_buffer *operand
    cdef int k
    cdef int64_t rows = -1, largest = 0
    for k in range(call.nout + call.nin):
        operand = call.out[k] if k < call.nout else call.in_[k - call.nout]
        if operand == NULL or shared >> k & 1:
            continue
        if operand.ndim < (2 if k == 0 else 1):     # an output's only axis is a row
            return 0
        if k and operand.shape[0] != rows:
            return 0
        rows = operand.shape[0]
        largest = max(largest, operand.size)
    if largest <= AT_ONCE:
        return 0
    return max(AT_ONCE * rows // largest, 1)


cdef int _run_rows(
    str op, const tl_kernel *row, int dtype, int wide, tl_call *call, int64_t work,
    int64_t at_once, unsigned shared,
) except -1:
    """The call for some rows at a time, each as a call of its own."""
    cdef int k, n = call.nout + call.nin
    cdef tl_call part = call[0]
    cdef tl_buffer[MANY] some
    cdef const tl_buffer *operand
    cdef const tl_buffer *given[MANY]
    cdef int64_t begin = 0, rows = call.out[0].shape[0]
    part.out, part.in_ = given, given + call.nout
    while begin < rows:
        at_once = min(at_once, rows - begin)
        for k in range(n):
            operand = call.out[k] if k < call.nout else call.in_[k - call.nout]
            given[k] = operand
            if operand != NULL and not shared >> k & 1:
                copy_layout(&some[k], operand)
                some[k].data = <char *>operand.data + (
                    begin * operand.strides[0] * dtype_sizes()[operand.dtype]
                )
                some[k].shape[0] = at_once
                update_layout(&some[k])
                given[k] = &some[k]
        _launch_whole(
            op, row, dtype, wide, &part, max(work * at_once // rows, 1), False
        )
        begin += at_once
    return 0


cdef int _launch_wider(
    str op, const tl_kernel *row, int dtype, tl_call *call, int64_t work
) except -1:
    cdef int wide = wider_code(dtype)
    cdef int64_t at_once
    load = _late.get(dtype)
    if load is not None:
        load()      # again by another thread that comes meanwhile, which is no harm
        _late.pop(dtype, None)
        return launch(op, row, TL_CPU, dtype, call, work)
    if wide < 0 or (row + wide).run == NULL:
        missing_kernel(op, TL_CPU, dtype)
    if _enter_blocks(row, dtype, wide):
        return launch(op, row, TL_CPU, dtype, call, work)
    shared = _in_rows.get(<size_t>row)
    if shared is not None and call.nout + call.nin <= MANY:
        at_once = _rows_at_once(call, shared)
        if at_once:
            return _run_rows(op, row, dtype, wide, call, work, at_once, shared)
    return _launch_whole(op, row, dtype, wide, call, work, shared is None)


def widens_in_rows(op, shared=()):
    """State that each operand of an op's kernels has its rows along the first axis.

    Narrow operands are then widened some rows at a time; the places of those that are
    no rows (weights, outputs counted before inputs) are `shared`.
    """
    _in_rows[<size_t>kernel_row(op)] = sum([1 << place for place in shared])


def load_late(dtypes, load):
    """Have `load` called when a kernel of one of these dtype codes is first missed."""
    _late.update(dict.fromkeys(dtypes, load))


set_absent(TL_CPU, _launch_wider)

"""The driver of elementwise kernels: strides, threads, and nothing else.

A call becomes runs of a tl_loop. All-contiguous operands (scalars included) are one
run; otherwise dimensions are sorted by the output's strides, merged where all
operands allow it, and walked by an odometer. Threads take contiguous pieces of the
output's index range, so results never depend on their number. On one thread OpenMP
is not entered at all: a forked child depends on that.

An operand that is read by columns (a transpose) would fetch a cache line for every
element. It is walked in blocks instead, each turned around in a small buffer first.

Where an operation takes tens of instructions, short runs and strided ones are collected
in blocks first, since loops are vectorized for elements that adjoin.

A result that the caches would not hold is written past them, in blocks.

A narrow dtype has no loops: its operands run through the wide dtype's loop in blocks
that stay in the L1 cache, converted on the way in and on the way out.
"""
from cython.parallel cimport prange
from libc.stdint cimport int16_t, int32_t, int64_t, int8_t

from tensorlib.core.abi cimport (
    TL_C_CONTIGUOUS, TL_DTYPE_COUNT, TL_MAX_NDIM, TL_OK, tl_buffer, tl_call, tl_loop,
    tl_status,
)
from tensorlib.core.batching cimport takes_any_axes
from tensorlib.core.threads cimport thread_pool, threads_for
from tensorlib.core.widening cimport tl_narrow, widens_in_blocks
from tensorlib.kernels.gomp cimport use_pool

cdef enum:
    OPERANDS = 4                # the output and up to three inputs
    GRAIN = 32768               # elements a thread should have, memory-bound loops
    TRANSCENDENTAL_GRAIN = 16384  # the same for loops of tens of operations
    SHORT_RUN = 16              # a shorter innermost dimension is worth replacing
    BLOCK_ROWS = 64             # of a block that is turned: some cache lines
    BLOCK_LINE = 448            # bytes of such a row: 7 lines, to spread over the sets
    WIDE_BLOCK = 1024           # elements of a block that is converted
    COLLECTED = 512             # elements of a block that is collected
    COLLECTED_RUN = 128         # a longer run of elements that adjoin is left alone

cdef extern from *:
    """
    static const long long tl_sizes[15] = {
        1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 8, 16};
    #if defined(__x86_64__)
    static int tl_x86_level(void) {
        __builtin_cpu_init();
        if (__builtin_cpu_supports("x86-64-v4")) return 4;
        if (__builtin_cpu_supports("x86-64-v3")) return 3;
        if (__builtin_cpu_supports("x86-64-v2")) return 2;
        return 1;
    }
    #else
    static int tl_x86_level(void) { return 0; }
    #endif
    """
    const int64_t tl_sizes[TL_DTYPE_COUNT]
    int tl_x86_level()

cdef extern from "tensorlib/turn.h" nogil:
    void tl_turn(
        const void *source, int64_t step, int64_t itemsize, int64_t rows,
        int64_t columns, void *block, int64_t width)

cdef extern from "tensorlib/streamed.h" nogil:
    enum:
        TL_STREAMED_BLOCK
        TL_STREAMED_LEAST
    ctypedef struct tl_streamed:
        tl_loop loop
        const void *params
        int64_t itemsize[OPERANDS]
        int64_t block
    int64_t tl_streamed_from()
    int tl_streaming_loop(
        void *out, const void *a, const void *b, const void *c,
        const int64_t *strides, int64_t n, const void *params)

# Bytes of a call's operands that the caches do not hold; 0 where that is not known.
cdef int64_t _streamed_from = tl_streamed_from()

# The operands of one call after collapsing; strides in bytes, dimension-major.
ctypedef struct Plan:
    int operands
    int ndim
    int64_t shape[TL_MAX_NDIM]
    int64_t strides[TL_MAX_NDIM][OPERANDS]
    char *data[OPERANDS]
    int64_t run_strides[OPERANDS]  # of the innermost dimension, in elements


cdef int64_t piece_start(int64_t n, int k, int threads) noexcept nogil:
    # Whole cache lines of the smallest dtype, so that no two threads share one.
    cdef int64_t start = n * k // threads
    return n if k == threads else start & ~<int64_t>63


cdef inline int64_t _magnitude(int64_t stride) noexcept nogil:
    return -stride if stride < 0 else stride


cdef inline bint _is_outer(
    const int64_t *a, const int64_t *b, int operands
) noexcept nogil:
    """Whether dimension a belongs outside b: compare strides, output first."""
    cdef int k
    for k in range(operands):
        if _magnitude(a[k]) != _magnitude(b[k]):
            return _magnitude(a[k]) > _magnitude(b[k])
    return True


cdef inline void _swap(Plan *plan, int d, int e) noexcept nogil:
    cdef int k
    plan.shape[d], plan.shape[e] = plan.shape[e], plan.shape[d]
    for k in range(plan.operands):
        plan.strides[d][k], plan.strides[e][k] = plan.strides[e][k], plan.strides[d][k]


cdef void _gather(Plan *plan, const tl_call *call) noexcept nogil:
    """Copy shape and strides, without dimensions of one element."""
    cdef const tl_buffer *operand
    cdef const tl_buffer *out = call.out[0]
    cdef int d, k, ndim = 0
    plan.operands = 1 + call.nin
    for d in range(out.ndim):
        if out.shape[d] != 1:
            plan.shape[ndim] = out.shape[d]
            for k in range(plan.operands):
                operand = out if k == 0 else call.in_[k - 1]
                plan.strides[ndim][k] = operand.strides[d] * tl_sizes[operand.dtype]
            for k in range(plan.operands, OPERANDS):
                plan.strides[ndim][k] = 0
            ndim += 1
    for k in range(plan.operands):
        operand = out if k == 0 else call.in_[k - 1]
        plan.data[k] = <char *>operand.data
    plan.ndim = ndim


cdef void _collapse(Plan *plan) noexcept nogil:
    """Flip, sort and merge dimensions; the result has at least one."""
    cdef int d, e, k, last = 0
    cdef bint merge
    for d in range(plan.ndim):
        if plan.strides[d][0] < 0:
            for k in range(plan.operands):
                plan.data[k] += (plan.shape[d] - 1) * plan.strides[d][k]
                plan.strides[d][k] = -plan.strides[d][k]
        e = d
        while e > 0 and not _is_outer(
            plan.strides[e - 1], plan.strides[e], plan.operands
        ):
            _swap(plan, e - 1, e)
            e -= 1
    for d in range(1, plan.ndim):
        merge = True
        for k in range(plan.operands):
            merge &= plan.strides[last][k] == plan.strides[d][k] * plan.shape[d]
        if merge:
            plan.shape[last] *= plan.shape[d]
        else:
            last += 1
            plan.shape[last] = plan.shape[d]
        for k in range(plan.operands):
            plan.strides[last][k] = plan.strides[d][k]
    plan.ndim = last + 1


cdef void _choose_inner(Plan *plan) noexcept nogil:
    """Make the longest dimension the innermost one when that one is very short."""
    cdef int d, longest = plan.ndim - 1
    if plan.shape[longest] >= SHORT_RUN:
        return
    for d in range(plan.ndim - 1):
        if plan.shape[d] > 4 * plan.shape[longest]:
            longest = d
    _swap(plan, longest, plan.ndim - 1)


cdef int _run_piece(
    const Plan *plan, const tl_call *call, int64_t start, int64_t stop
) noexcept nogil:
    """Run elements start..stop of the plan's index range."""
    cdef int64_t index[TL_MAX_NDIM]
    cdef char *data[OPERANDS]
    cdef tl_loop loop = <tl_loop>call.loop
    cdef int d, k, status = TL_OK, inner = plan.ndim - 1
    cdef int64_t length, rest = start
    for k in range(OPERANDS):
        data[k] = plan.data[k] if k < plan.operands else NULL
    for d in range(inner, -1, -1):
        index[d] = rest % plan.shape[d]
        rest //= plan.shape[d]
        for k in range(plan.operands):
            data[k] += index[d] * plan.strides[d][k]
    while start < stop:
        length = min(plan.shape[inner] - index[inner], stop - start)
        status |= loop(
            data[0], data[1], data[2], data[3], plan.run_strides, length, call.params
        )
        start += length
        if start >= stop:
            break
        # The odometer: back to the start of this run, then carry outwards.
        if index[inner]:
            for k in range(plan.operands):
                data[k] -= index[inner] * plan.strides[inner][k]
            index[inner] = 0
        d = inner - 1
        for k in range(OPERANDS):
            data[k] += plan.strides[d][k]
        index[d] += 1
        while index[d] == plan.shape[d]:
            for k in range(plan.operands):
                data[k] += plan.strides[d - 1][k] - plan.shape[d] * plan.strides[d][k]
            index[d] = 0
            d -= 1
            index[d] += 1
    return status


cdef int _run_pieces(
    const Plan *plan, const tl_call *call, int64_t n, int threads
) noexcept nogil:
    cdef int status = TL_OK, k
    for k in prange(threads, num_threads=threads, schedule="static", chunksize=1):
        status |= _run_piece(
            plan, call, piece_start(n, k, threads), piece_start(n, k + 1, threads)
        )
    return status


# ---- operands read by columns -----------------------------------------------------
ctypedef struct Turned:
    bint packed[OPERANDS]
    int64_t itemsize[OPERANDS]
    int64_t strides[OPERANDS]   # of a run, in elements, packed operands by rows
    int64_t columns             # of a block
    int64_t blocks              # along the last dimension but one


cdef bint _find_turned(Plan *plan, const tl_call *call, Turned *t) noexcept nogil:
    """Whether inputs lie along another dimension; that becomes the last but one."""
    cdef int d, k, inner = plan.ndim - 1, beside = -1
    cdef int64_t widest = 1
    if plan.ndim < 2 or plan.shape[inner] < SHORT_RUN:
        return False
    for k in range(plan.operands):
        t.packed[k], t.strides[k] = False, plan.run_strides[k]
        t.itemsize[k] = tl_sizes[(call.out[0] if k == 0 else call.in_[k - 1]).dtype]
    for k in range(1, plan.operands):
        if _magnitude(plan.run_strides[k]) < SHORT_RUN or t.itemsize[k] > 8:
            continue
        for d in range(inner):
            if (
                plan.strides[d][k] == t.itemsize[k] and plan.shape[d] >= SHORT_RUN
                and (beside < 0 or beside == d)
            ):
                beside = d
                t.packed[k], t.strides[k] = True, 1
                widest = max(widest, t.itemsize[k])
    if beside < 0:
        return False
    _swap(plan, beside, inner - 1)
    t.columns = BLOCK_LINE // widest
    t.blocks = (plan.shape[inner - 1] + BLOCK_ROWS - 1) // BLOCK_ROWS
    return True


cdef int _run_blocks(
    const Plan *plan, const tl_call *call, const Turned *t, int64_t first, int64_t last
) noexcept nogil:
    """Strips of BLOCK_ROWS rows, counted along the last dimension but one first."""
    cdef char buffer[OPERANDS - 1][BLOCK_ROWS * BLOCK_LINE]
    cdef char *data[OPERANDS]
    cdef char *row[OPERANDS]
    cdef tl_loop loop = <tl_loop>call.loop
    cdef int d, k, status = TL_OK, inner = plan.ndim - 1
    cdef int64_t strip, rest, at, rows, columns, i, j
    for k in range(plan.operands, OPERANDS):
        row[k] = NULL
    for strip in range(first, last):
        at = strip % t.blocks * BLOCK_ROWS
        rows = min(<int64_t>BLOCK_ROWS, plan.shape[inner - 1] - at)
        for k in range(plan.operands):
            data[k] = plan.data[k] + at * plan.strides[inner - 1][k]
        rest = strip // t.blocks
        for d in range(inner - 2, -1, -1):
            for k in range(plan.operands):
                data[k] += rest % plan.shape[d] * plan.strides[d][k]
            rest //= plan.shape[d]
        j = 0
        while j < plan.shape[inner]:
            columns = min(t.columns, plan.shape[inner] - j)
            for k in range(1, plan.operands):
                if t.packed[k]:
                    tl_turn(
                        data[k] + j * plan.strides[inner][k], plan.run_strides[k],
                        t.itemsize[k], rows, columns, buffer[k - 1], t.columns,
                    )
            for i in range(rows):
                for k in range(plan.operands):
                    if t.packed[k]:
                        row[k] = buffer[k - 1] + i * t.columns * t.itemsize[k]
                    else:
                        row[k] = data[k] + (
                            i * plan.strides[inner - 1][k] + j * plan.strides[inner][k]
                        )
                status |= loop(
                    row[0], row[1], row[2], row[3], t.strides, columns, call.params
                )
            j += columns
    return status


cdef int _run_turned(
    const Plan *plan, const tl_call *call, const Turned *t, int threads
) noexcept nogil:
    cdef int status = TL_OK, k, d
    cdef int64_t strips = t.blocks
    for d in range(plan.ndim - 2):
        strips *= plan.shape[d]
    if threads == 1:
        return _run_blocks(plan, call, t, 0, strips)
    for k in prange(threads, num_threads=threads, schedule="static", chunksize=1):
        status |= _run_blocks(
            plan, call, t, strips * k // threads, strips * (k + 1) // threads
        )
    return status


# ---- operands that are collected --------------------------------------------------
# What a piece has collected; it stands in for the call's params.
ctypedef struct Collection:
    tl_loop loop
    const void *params
    int operands
    int64_t held                # elements
    int64_t itemsize[OPERANDS]
    int64_t strides[OPERANDS]   # of the loop: 0 for an operand of one element
    char *out                   # of the first element held
    char blocks[OPERANDS][COLLECTED * 8]    # none of the output

ctypedef fused item:
    int8_t
    int16_t
    int32_t
    int64_t


cdef bint _is_worth_collecting(const Plan *plan, const tl_call *call) noexcept nogil:
    """Whether elements that adjoin in the output lie apart, or in short runs."""
    cdef int k, inner = plan.ndim - 1
    cdef int64_t itemsize
    cdef bint scattered = plan.shape[inner] < COLLECTED_RUN
    if not call.out[0].flags & TL_C_CONTIGUOUS:
        return False
    for k in range(1, plan.operands):
        itemsize = tl_sizes[call.in_[k - 1].dtype]
        if itemsize > 8:
            return False
        scattered |= not 0 <= plan.strides[inner][k] <= itemsize
    return scattered


cdef void _copy_run(
    item *block, const item *source, int64_t stride, int64_t n
) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        block[i] = source[i * stride]


cdef void _collect(
    char *block, const char *source, int64_t stride, int64_t itemsize, int64_t n
) noexcept nogil:
    if itemsize == 1:
        _copy_run(<int8_t *>block, <const int8_t *>source, stride, n)
    elif itemsize == 2:
        _copy_run(<int16_t *>block, <const int16_t *>source, stride, n)
    elif itemsize == 4:
        _copy_run(<int32_t *>block, <const int32_t *>source, stride, n)
    else:
        _copy_run(<int64_t *>block, <const int64_t *>source, stride, n)


cdef int _run_collection(Collection *c) noexcept nogil:
    cdef int64_t n = c.held
    c.held = 0
    return c.loop(
        c.out, c.blocks[1], c.blocks[2], c.blocks[3], c.strides, n, c.params
    )


cdef int _collecting_loop(
    char *out, const char *a, const char *b, const char *c,
    const int64_t *strides, int64_t n, const void *params,
) noexcept nogil:
    """A tl_loop on runs of any kind: they are collected, and computed by blocks."""
    cdef Collection *job = <Collection *>params
    cdef const char **data = [out, a, b, c]
    cdef int k, status = TL_OK
    cdef int64_t m
    while n > 0:
        m = min(n, COLLECTED - job.held)
        if job.held == 0:
            job.out = <char *>data[0]
        for k in range(1, job.operands):
            if job.strides[k]:
                _collect(
                    job.blocks[k] + job.held * job.itemsize[k], data[k], strides[k],
                    job.itemsize[k], m,
                )
            data[k] += m * strides[k] * job.itemsize[k]
        data[0] += m * job.itemsize[0]
        n -= m
        job.held += m
        if job.held == COLLECTED:
            status |= _run_collection(job)
    return status


cdef int _run_collected(
    const Plan *plan, const tl_call *call, int64_t start, int64_t stop
) noexcept nogil:
    cdef tl_call collecting = call[0]
    cdef Collection job
    cdef int k, d, status
    job.loop, job.params = <tl_loop>call.loop, call.params
    job.operands, job.held = plan.operands, 0
    job.itemsize[0], job.strides[0] = tl_sizes[call.out[0].dtype], 1
    for k in range(1, OPERANDS):    # loops step through operands that are not there
        job.strides[k] = 0
    for k in range(1, plan.operands):
        job.itemsize[k] = tl_sizes[call.in_[k - 1].dtype]
        for d in range(plan.ndim):
            if plan.strides[d][k] != 0:
                job.strides[k] = 1
        if job.strides[k] == 0:     # one element serves every block
            _collect(job.blocks[k], plan.data[k], 0, job.itemsize[k], 1)
    collecting.loop, collecting.params = <const void *>_collecting_loop, &job
    status = _run_piece(plan, &collecting, start, stop)
    if job.held:
        status |= _run_collection(&job)
    return status


cdef tl_status _run_collected_pieces(
    const Plan *plan, const tl_call *call, int64_t n, int threads
) noexcept nogil:
    cdef int status = TL_OK, k
    if threads == 1:
        return <tl_status>_run_collected(plan, call, 0, n)
    for k in prange(threads, num_threads=threads, schedule="static", chunksize=1):
        status |= _run_collected(
            plan, call, piece_start(n, k, threads), piece_start(n, k + 1, threads)
        )
    return <tl_status>status


cdef int64_t _flat_stride(const tl_buffer *buffer) noexcept nogil:
    """1 for contiguous, 0 for one broadcast element, -1 for anything else."""
    cdef int d
    if buffer.flags & TL_C_CONTIGUOUS:
        return 1
    for d in range(buffer.ndim):
        if buffer.strides[d] != 0 and buffer.shape[d] != 1:
            return -1
    return 0


cdef int _plan_threads(const Plan *plan, int64_t n, int64_t grain) noexcept nogil:
    """Threads for a plan; elements of runs that no vector takes cost four times."""
    cdef int k
    for k in range(plan.operands):
        if not 0 <= plan.run_strides[k] <= 1:
            return threads_for(n, grain // 4)
    return threads_for(n, grain)


cdef tl_status _run_strided(const tl_call *call, int64_t grain) noexcept nogil:
    cdef Plan plan
    cdef Turned turned
    cdef const tl_buffer *operand
    cdef int k, threads
    cdef bint collected = False
    cdef int64_t n = call.out[0].size
    _gather(&plan, call)
    if plan.ndim == 0:
        plan.ndim = 1
        plan.shape[0] = 1
        for k in range(OPERANDS):
            plan.strides[0][k] = 0
    else:
        _collapse(&plan)
        collected = grain == TRANSCENDENTAL_GRAIN and _is_worth_collecting(&plan, call)
        if not collected:
            _choose_inner(&plan)
    for k in range(OPERANDS):
        plan.run_strides[k] = 0
        if k < plan.operands:
            operand = call.out[0] if k == 0 else call.in_[k - 1]
            plan.run_strides[k] = (
                plan.strides[plan.ndim - 1][k] // tl_sizes[operand.dtype]
            )
    threads = _plan_threads(&plan, n, grain)
    if _find_turned(&plan, call, &turned):
        return <tl_status>_run_turned(&plan, call, &turned, threads)
    if collected:
        return _run_collected_pieces(&plan, call, n, threads_for(n, grain))
    if threads == 1:
        return <tl_status>_run_piece(&plan, call, 0, n)
    return <tl_status>_run_pieces(&plan, call, n, threads)


cdef inline tl_status _run_flat_pieces(
    const tl_call *call, const int64_t *strides, int threads
) noexcept nogil:
    """The contiguous case as a one-dimensional plan, on several threads."""
    cdef Plan plan
    cdef const tl_buffer *operand
    cdef int k
    plan.operands = 1 + call.nin
    plan.ndim = 1
    plan.shape[0] = call.out[0].size
    for k in range(OPERANDS):
        plan.run_strides[k] = strides[k]
        if k < plan.operands:
            operand = call.out[0] if k == 0 else call.in_[k - 1]
            plan.data[k] = <char *>operand.data
            plan.strides[0][k] = strides[k] * tl_sizes[operand.dtype]
    return <tl_status>_run_pieces(&plan, call, plan.shape[0], threads)


cdef inline tl_status _run_cached(const tl_call *call, int64_t grain) noexcept nogil:
    cdef const tl_buffer *out = call.out[0]
    cdef int64_t strides[OPERANDS]
    cdef const void *data[OPERANDS]
    cdef int k, threads
    if out.size == 0:
        return TL_OK
    if not out.flags & TL_C_CONTIGUOUS:
        return _run_strided(call, grain)
    strides[0] = 1
    for k in range(OPERANDS - 1):
        strides[k + 1] = 0
        data[k] = NULL
        if k < call.nin:
            data[k] = call.in_[k].data
            strides[k + 1] = _flat_stride(call.in_[k])
            if strides[k + 1] < 0:
                return _run_strided(call, grain)
    threads = threads_for(out.size, grain)
    if threads > 1:
        return _run_flat_pieces(call, strides, threads)
    return <tl_status>(<tl_loop>call.loop)(
        out.data, data[0], data[1], data[2], strides, out.size, call.params
    )


cdef int64_t _distinct(const tl_buffer *buffer) noexcept nogil:
    """Elements in memory: broadcast axes repeat them."""
    cdef int64_t count = 1
    cdef int d
    for d in range(buffer.ndim):
        if buffer.strides[d] != 0:
            count *= buffer.shape[d]
    return count


cdef bint _is_streamed(const tl_call *call, tl_streamed *job) noexcept nogil:
    """Whether a call outgrows the caches; in place, results would not be streamed."""
    cdef const tl_buffer *operand
    cdef int64_t itemsize, widest = 0, nbytes = 0
    cdef int k
    for k in range(OPERANDS):
        job.itemsize[k] = 0
        if k <= call.nin:
            operand = call.out[0] if k == 0 else call.in_[k - 1]
            if k and operand.data == call.out[0].data:
                return False
            itemsize = tl_sizes[operand.dtype]
            job.itemsize[k] = itemsize
            widest = max(widest, itemsize)
            nbytes += _distinct(operand) * itemsize
    job.loop, job.params = <tl_loop>call.loop, call.params
    job.block = TL_STREAMED_BLOCK // widest
    return _streamed_from and nbytes >= _streamed_from


cdef tl_status _run_large(const tl_call *call, int64_t grain) noexcept nogil:
    cdef tl_call streaming = call[0]
    cdef tl_streamed job
    if _is_streamed(call, &job):
        streaming.loop, streaming.params = <const void *>tl_streaming_loop, &job
    return _run_cached(&streaming, grain)


cdef inline tl_status _run(const tl_call *call, int64_t grain) noexcept nogil:
    if call.out[0].size >= TL_STREAMED_LEAST:
        return _run_large(call, grain)
    return _run_cached(call, grain)


cdef tl_status run_elementwise(const tl_call *call) noexcept nogil:
    return _run(call, GRAIN)


cdef tl_status run_transcendental(const tl_call *call) noexcept nogil:
    return _run(call, TRANSCENDENTAL_GRAIN)


# ---- narrow dtypes ----------------------------------------------------------------
# What a run needs to know; it stands in for the call's params.
ctypedef struct Narrowed:
    const tl_narrow *how
    const void *params
    bint is_narrow[OPERANDS]
    int64_t itemsize[OPERANDS]


cdef int _convert_block(
    tl_loop cast, void *target, int64_t to_step, const void *source, int64_t step,
    int64_t n,
) noexcept nogil:
    cdef int64_t[OPERANDS] strides = [to_step, step, 0, 0]
    return cast(target, source, NULL, NULL, strides, n, NULL)


cdef int _narrow_loop(
    char *out, const char *a, const char *b, const char *c,
    const int64_t *strides, int64_t n, const void *params,
) noexcept nogil:
    """A tl_loop on narrow operands: a block is widened, computed, narrowed."""
    cdef const Narrowed *job = <const Narrowed *>params
    cdef int64_t[OPERANDS][WIDE_BLOCK + 8] wide     # 8 more: not a page apart
    cdef const char **data = [out, a, b, c]
    cdef int64_t[OPERANDS] steps
    cdef int k, status = TL_OK
    cdef int64_t m = min(n, WIDE_BLOCK)
    for k in range(OPERANDS):
        steps[k] = strides[k]
        if job.is_narrow[k]:
            steps[k] = 1
            if k and strides[k] == 0:   # one element serves every block
                _convert_block(job.how.widen, wide[k], 1, data[k], 1, 1)
                steps[k] = 0
    while n > 0 and status == TL_OK:
        m = min(n, WIDE_BLOCK)
        for k in range(1, OPERANDS):
            if job.is_narrow[k] and strides[k]:
                _convert_block(job.how.widen, wide[k], 1, data[k], strides[k], m)
        status = (<tl_loop>job.how.wide.loop)(
            <void *>wide[0] if job.is_narrow[0] else <void *>data[0],
            <void *>wide[1] if job.is_narrow[1] else <void *>data[1],
            <void *>wide[2] if job.is_narrow[2] else <void *>data[2],
            <void *>wide[3] if job.is_narrow[3] else <void *>data[3],
            steps, m, job.params,
        )
        if job.is_narrow[0] and status == TL_OK:
            _convert_block(job.how.narrow, <void *>data[0], strides[0], wide[0], 1, m)
        for k in range(OPERANDS):
            data[k] += m * strides[k] * job.itemsize[k]
        n -= m
    return status


cdef tl_status _run_narrow(const tl_call *call, int64_t grain) noexcept nogil:
    cdef tl_call narrow = call[0]
    cdef Narrowed job
    cdef const tl_buffer *operand
    cdef int k
    job.how, job.params = <const tl_narrow *>call.loop, call.params
    for k in range(OPERANDS):
        job.is_narrow[k], job.itemsize[k] = False, 0
        if k <= call.nin:
            operand = call.out[0] if k == 0 else call.in_[k - 1]
            job.is_narrow[k] = operand.dtype == job.how.dtype
            job.itemsize[k] = tl_sizes[operand.dtype]
    narrow.loop, narrow.params = <const void *>_narrow_loop, &job
    return _run(&narrow, grain)


cdef tl_status _run_narrow_elementwise(const tl_call *call) noexcept nogil:
    return _run_narrow(call, GRAIN)


cdef tl_status _run_narrow_transcendental(const tl_call *call) noexcept nogil:
    return _run_narrow(call, TRANSCENDENTAL_GRAIN)


def x86_level():
    """Return the processor's x86-64 level, 1 to 4; 0 on other architectures."""
    return tl_x86_level()


takes_any_axes(run_elementwise)
takes_any_axes(run_transcendental)
takes_any_axes(_run_narrow_elementwise)
takes_any_axes(_run_narrow_transcendental)
widens_in_blocks(run_elementwise, _run_narrow_elementwise)
widens_in_blocks(run_transcendental, _run_narrow_transcendental)
use_pool(thread_pool())

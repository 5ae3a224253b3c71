"""Kernels under `vmap` that take one example a call: the examples, in one launch.

The operands of the launch are those of all examples, with the batch axes in front, on
the host; what a Batch says of their memory may be about another device's.

Examples are independent, so any split over threads gives the same bits. They are split
where each is too small for threads of its own; a kernel that is entered from a part of
a parallel loop keeps to its thread.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from tensorlib.core.abi cimport (
    TL_CPU, TL_OK, TL_OUT_OF_MEMORY, tl_buffer, tl_call, tl_status,
)
from tensorlib.core.batching cimport MAX_LEVELS, Batch, set_examples
from tensorlib.core.threads cimport thread_count, thread_pool, threads_for
from tensorlib.kernels.gomp cimport use_pool

cdef enum:
    GRAIN = 32768           # elements a thread should have
    MOST_PARTS = 64

cdef const tl_buffer *_operand(const tl_call *call, int k) noexcept nogil:
    return call.out[k] if k < call.nout else call.in_[k - call.nout]


cdef void _move_to(
    const Batch *batch, const tl_call *shown, int64_t example, tl_buffer *views
) noexcept nogil:
    """Let the views be those of an example, counted in C order of the batch axes."""
    cdef int64_t[MAX_LEVELS] at
    cdef int64_t offset
    cdef int d, k
    for d in range(batch.axes.n - 1, -1, -1):
        at[d] = example % batch.axes.size[d]
        example //= batch.axes.size[d]
    for k in range(batch.n):
        if batch.given[k] == NULL:
            continue
        offset = 0
        for d in range(batch.axes.n):
            offset += at[d] * batch.operands[k].steps[d]
        views[k].data = <char *>_operand(shown, k).data + offset


cdef tl_status _run_on(
    const Batch *batch, const tl_call *shown, int64_t first, int64_t last,
    tl_buffer *views, const tl_buffer **operands,
) noexcept nogil:
    cdef tl_call call = batch.one
    cdef tl_status status
    cdef int64_t example
    cdef int k
    for k in range(batch.n):
        views[k] = batch.operands[k].view
        views[k].device_type, views[k].device_index = TL_CPU, 0
        operands[k] = NULL if batch.given[k] == NULL else &views[k]
    call.out, call.in_, call.loop = (
        operands, operands + call.nout, batch.kernel.loop
    )
    for example in range(first, last):
        _move_to(batch, shown, example, views)
        status = batch.kernel.run(&call)
        if status != TL_OK:
            return status
    return TL_OK


cdef tl_status _run(
    const Batch *batch, const tl_call *shown, int64_t first, int64_t last
) noexcept nogil:
    """Examples first..last, up to one that fails."""
    cdef tl_status status = TL_OUT_OF_MEMORY
    cdef tl_buffer *views = <tl_buffer *>malloc(batch.n * sizeof(tl_buffer))
    cdef const tl_buffer **operands = <const tl_buffer **>malloc(
        batch.n * sizeof(void *)
    )
    if views != NULL and operands != NULL:
        status = _run_on(batch, shown, first, last, views, operands)
    free(views)
    free(operands)
    return status


cdef tl_status run_examples(const tl_call *call) noexcept nogil:
    cdef const Batch *batch = <const Batch *>call.loop
    cdef tl_status[MOST_PARTS] found
    cdef int64_t count = batch.count
    cdef int k, threads = 1
    if batch.work < GRAIN and count >= thread_count():
        threads = min(threads_for(batch.work * count, GRAIN), <int>MOST_PARTS)
        threads = <int>min(<int64_t>threads, count)
    if threads <= 1:
        return _run(batch, call, 0, count)
    for k in prange(threads, num_threads=threads, schedule="static", chunksize=1):
        found[k] = _run(
            batch, call, count * k // threads, count * (k + 1) // threads
        )
    for k in range(threads):
        if found[k] != TL_OK:
            return found[k]
    return TL_OK


set_examples(run_examples)
use_pool(thread_pool())

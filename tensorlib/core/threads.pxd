# How many threads a kernel may use.
from libc.stdint cimport int64_t

# The configured count; 1 in a forked child and inside a parallel region.
cdef int thread_count() noexcept nogil
# Threads worth using for work units when each thread should have at least grain.
cdef int threads_for(int64_t work, int64_t grain) noexcept nogil

cdef extern from "tensorlib/pool.h" nogil:
    ctypedef struct tl_pool:
        pass
    const tl_pool *tl_thread_pool()
    void tl_pool_set_threads(unsigned threads)

# The pool that this module's parallel loops run on; NULL: the compiler's OpenMP.
cdef const tl_pool *thread_pool() noexcept

# Each module with a prange says once: use_pool(thread_pool()).
from tensorlib.core.threads cimport tl_pool

cdef extern from "gomp.h" nogil:
    void use_pool "tl_gomp_use" (const tl_pool *pool)

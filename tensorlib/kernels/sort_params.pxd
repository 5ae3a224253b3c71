# Parameters of the kernels of cpu_sort.
from libc.stdint cimport int32_t, int64_t

cdef extern from "tensorlib/sort_params.h" nogil:
    ctypedef struct tl_sort_params:
        int64_t k
        int32_t descending
        int32_t sorted

    ctypedef struct tl_median_params:
        int32_t skip_nan

    ctypedef struct tl_search_params:
        int32_t right

    ctypedef struct tl_runs_params:
        int32_t equal_nan

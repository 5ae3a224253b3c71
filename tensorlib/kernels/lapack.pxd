# The parameters of the linear-algebra kernels; none has a place in kernels.h, which
# every kernel includes.
from libc.stdint cimport int32_t

# A kernel's out[0] is always int32 (B,): for each matrix of the batch 0, LAPACK's
# positive info, or NOT_FINITE. Matrices are row-major and contiguous; batches have any
# stride.
cdef enum:
    NOT_FINITE = -1

ctypedef struct tl_matrix_params:
    int32_t upper        # which triangle is read or written
    int32_t left         # solve_triangular: A X = B rather than X A = B
    int32_t transposed   # with the transpose of A
    int32_t unit         # a diagonal of ones that is not read

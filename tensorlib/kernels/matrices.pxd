# Products of batches of strided matrices, as their kernels see them.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from tensorlib.core.abi cimport tl_call, tl_storage
from tensorlib.kernels.strided cimport tl_axes

# Unsigned integers, whatever the dtype: the bits are the same, and C lets them wrap.
ctypedef fused number:
    float
    double
    uint8_t
    uint32_t
    uint64_t

cdef enum:
    GRAIN = 1 << 18         # multiply-adds a thread should have (about 5 us)

# Strides are in elements; c is the result. It starts from itself (accumulate), from
# rows that are all `bias`, or from zeros.
ctypedef struct Product:
    int64_t m, n, k
    int64_t a_row, a_col
    int64_t b_row, b_col
    int64_t c_row, c_col
    bint accumulate
    const void *bias

# What c starts from, by the call's parameters and operands.
cdef void set_start(const tl_call *call, Product *p) noexcept nogil
# Fill in sizes and strides; True when operands are to change places.
cdef bint describe(const tl_call *call, Product *p, tl_axes *batch) noexcept nogil
cdef void copy_matrix(
    const number *source, int64_t row, int64_t col, number *target, int64_t target_row,
    int64_t target_col, int64_t rows, int64_t cols,
) noexcept nogil
# A copy of an operand's matrices, whose strides it changes; NULL: out of memory.
cdef tl_storage *row_major_copy(
    tl_axes *batch, int operand, const number *source, int64_t rows, int64_t cols,
    int64_t *row, int64_t *col,
) noexcept nogil
# Zeros: the product over an empty K.
cdef void clear(const Product *p, const tl_axes *batch, number *c) noexcept nogil

# Runs a reduction, given its four small functions, over any axes, strides and threads.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_call, tl_reduce_params, tl_status

cdef enum:
    COLUMNS = 1024          # columns of a tile: accumulators stay in the L1 cache
    GATHER = 1024           # strided elements copied together at a time
    SHORT = 64              # contiguous runs below this are gathered

# What a part of the data reduces to. Which fields an op uses is its own affair.
ctypedef struct Partial:
    double real             # sum, product, extreme, mean or shift, of floats
    double second           # sum of squared deviations, or of exponentials
    int64_t whole           # sum, product, extreme of integers; count
    int64_t index           # position of the extreme

ctypedef void (*unit_fn)(const void *x, int64_t n, Partial *p) noexcept nogil
ctypedef void (*cols_fn)(
    const void *x, int64_t step, int64_t rows, int64_t cols, Partial *p
) noexcept nogil
# a[i] = a[i] joined with b[i], n times
ctypedef void (*merge_fn)(Partial *a, const Partial *b, int64_t n) noexcept nogil
ctypedef void (*finish_fn)(
    const Partial *p, int64_t n, const tl_reduce_params *params, void *out, int64_t step
) noexcept nogil

# cols and finish in one, into contiguous results.
ctypedef void (*direct_fn)(
    const void *x, int64_t step, int64_t rows, int64_t cols,
    const tl_reduce_params *params, void *out,
) noexcept nogil

ctypedef struct Op:
    unit_fn unit
    cols_fn cols
    merge_fn merge
    finish_fn finish
    direct_fn direct        # or NULL
    direct_fn join          # of rows that direct wrote with a scale of 1; or NULL
    unit_fn[2] of_halves    # unit of float16, bfloat16; NULL: they are widened first
    Partial empty           # the reduction of nothing
    int in_size             # bytes of an element
    int out_size
    const Op *values        # unit without positions; or NULL
    bint ordered            # positions count: axes must keep their order
    bint transposed         # unit is slow on a few elements: take short rows by cols

# Kernel of every reduction; call.loop is an Op.
cdef tl_status reduce_kernel(const tl_call *call) noexcept nogil

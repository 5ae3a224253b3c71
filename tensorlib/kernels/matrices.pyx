"""What kernels of matrix products share: batches of strided matrices, their copies."""
from libc.stdint cimport int64_t

from tensorlib.core.abi cimport tl_buffer, tl_call, tl_matmul_params, tl_storage
from tensorlib.core.storage cimport scratch_new
from tensorlib.kernels.strided cimport (
    axes_collapse, axes_init, axes_offset, axes_operand, tl_axes,
)


cdef void copy_matrix(
    const number *source, int64_t row, int64_t col, number *target, int64_t target_row,
    int64_t target_col, int64_t rows, int64_t cols,
) noexcept nogil:
    cdef int64_t i, j
    for i in range(rows):
        for j in range(cols):
            target[i * target_row + j * target_col] = source[i * row + j * col]


cdef tl_storage *row_major_copy(
    tl_axes *batch, int operand, const number *source, int64_t rows, int64_t cols,
    int64_t *row, int64_t *col,
) noexcept nogil:
    """A row-major copy of a batch of matrices; broadcast axes are not repeated."""
    cdef tl_axes from_
    cdef tl_storage *storage
    cdef number *target
    cdef int64_t step = rows * cols, matrix
    cdef int axis
    from_.ndim = batch.ndim
    from_.size = 1
    for axis in range(batch.ndim - 1, -1, -1):
        from_.strides[0][axis] = batch.strides[operand][axis]
        from_.shape[axis] = 1 if from_.strides[0][axis] == 0 else batch.shape[axis]
        batch.strides[operand][axis] = 0 if from_.strides[0][axis] == 0 else step
        step *= from_.shape[axis]
        from_.size *= from_.shape[axis]
    storage = scratch_new(step * sizeof(number))
    if storage == NULL:
        return NULL
    target = <number *>storage.data
    for matrix in range(from_.size):
        copy_matrix(
            source + axes_offset(&from_, 0, matrix), row[0], col[0],
            target + matrix * rows * cols, cols, 1, rows, cols,
        )
    row[0] = cols
    col[0] = 1
    return storage


cdef void clear(const Product *p, const tl_axes *batch, number *c) noexcept nogil:
    """The product over an empty K."""
    cdef int64_t which, i, j
    for which in range(batch.size):
        for i in range(p.m):
            for j in range(p.n):
                c[axes_offset(batch, 2, which) + i * p.c_row + j * p.c_col] = 0


cdef inline void swap(int64_t *x, int64_t *y) noexcept nogil:
    cdef int64_t held = x[0]
    x[0] = y[0]
    y[0] = held


cdef void set_start(const tl_call *call, Product *p) noexcept nogil:
    p.accumulate = (<const tl_matmul_params *>call.params).accumulate
    p.bias = call.in_[2].data if call.nin > 2 else NULL


cdef bint describe(const tl_call *call, Product *p, tl_axes *batch) noexcept nogil:
    """Fill in sizes and strides; True when operands are to change places.

    An output stored by columns is computed as its transpose; a batch of a's that
    share one b is one taller product.
    """
    cdef const tl_buffer *a = call.in_[0]
    cdef const tl_buffer *b = call.in_[1]
    cdef const tl_buffer *c = call.out[0]
    cdef int last = c.ndim - 1
    cdef bint swapped = False
    p.m, p.n, p.k = c.shape[last - 1], c.shape[last], a.shape[last]
    p.a_row, p.a_col = a.strides[last - 1], a.strides[last]
    p.b_row, p.b_col = b.strides[last - 1], b.strides[last]
    p.c_row, p.c_col = c.strides[last - 1], c.strides[last]
    set_start(call, p)
    axes_init(batch, a, 0, last - 1)
    axes_operand(batch, 1, b, 0)
    axes_operand(batch, 2, c, 0)
    axes_collapse(batch, 3)
    if p.c_col != 1 and p.n != 1 and p.c_row == 1 and p.bias == NULL:
        swapped = True
        swap(&p.m, &p.n)
        swap(&p.a_row, &p.b_col)
        swap(&p.a_col, &p.b_row)
        swap(&p.c_row, &p.c_col)
        for last in range(batch.ndim):
            swap(&batch.strides[0][last], &batch.strides[1][last])
    last = batch.ndim - 1
    if last >= 0 and p.m == 1:              # one row lies any distance from the next
        p.a_row, p.c_row = batch.strides[0][last], batch.strides[2][last]
    if (
        last >= 0 and batch.strides[1][last] == 0
        and batch.strides[0][last] == p.m * p.a_row
        and batch.strides[2][last] == p.m * p.c_row
    ):
        p.m *= batch.shape[last]
        batch.size //= batch.shape[last]
        batch.ndim = last
    return swapped

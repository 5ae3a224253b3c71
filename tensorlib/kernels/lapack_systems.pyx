"""Kernels of linear systems: inverses, solutions and determinants by LU factors.

What is transposed here is not conjugated: these functions are analytic, and the reverse
pass conjugates around their rules (ops/complex.pyx).
"""
from libc.math cimport fabs, hypot, isnan, log
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from tensorlib.core.abi cimport tl_call, tl_status
from tensorlib.kernels.blas cimport (
    CBLAS_NO_TRANS, CBLAS_ROW_MAJOR, CBLAS_TRANS, blas_dgemv, blas_sgemv,
)
from tensorlib.kernels.lapack cimport (
    WRONG_PIVOT, Job, after, input, is_single, job_of, output, real,
    register_matrix_kernel, round_up, run_batch, tl_matrix_params,
)
from tensorlib.kernels.lapack_factors cimport factor_lu
from tensorlib.kernels.small_matrix cimport (
    SMALL, Substitution, double_complex, float_complex, small_inv, small_lu,
    small_solve, small_solve_lu, small_substitution,
)


cdef inline bint is_small(const Job *job) noexcept nogil:
    return job.n <= SMALL and not job.lapack.is_complex


# ---- inverse ---------------------------------------------------------------------
cdef int inv_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """The inverse of the transpose is the transpose of the inverse."""
    cdef int n = job.n, info = 0, lwork = job.lwork
    cdef char *a = input(job, 0, i)
    cdef char *y = output(job, 1, i)
    if is_small(job):
        if is_single(job):
            return small_inv(n, <const float *>a, <float *>y)
        return small_inv(n, <const double *>a, <double *>y)
    memcpy(y, a, <size_t>n * n * job.lapack.itemsize)
    info = factor_lu(job, n, n, y, <int *>scratch)
    if info == 0:
        job.lapack.getri(
            &n, y, &n, <int *>scratch, scratch + job.work_at, &lwork, &info
        )
    return info


cdef tl_status inv(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef int n = job.n, query = -1, info
    cdef double[2] size
    if not is_small(&job):
        job.lapack.getri(&n, NULL, &n, NULL, size, &query, &info)
        job.lwork = round_up(&job, size)
        job.work_at = after(0, n * sizeof(int))
        job.scratch = job.work_at + <int64_t>job.lwork * job.lapack.itemsize
    return run_batch(&job, inv_one, 2.0 * n * n * n)


# ---- linear systems --------------------------------------------------------------
cdef void swap_rows(
    char *x, int64_t bytes, const int *order, int n, bint backwards
) noexcept nogil:
    """Interchange rows i and order[i] (from 1) of x, for every i in turn."""
    cdef char held[256]
    cdef char *a
    cdef char *b
    cdef int64_t i, at, part, step
    for step in range(n):
        i = n - 1 - step if backwards else step
        if order[i] - 1 == i:
            continue
        a, b = x + i * bytes, x + (order[i] - 1) * bytes
        at = 0
        while at < bytes:
            part = min(bytes - at, 256)
            memcpy(held, a + at, part)
            memcpy(a + at, b + at, part)
            memcpy(b + at, held, part)
            at += part


cdef inline void subtract_product(
    const Substitution *s, int rows, int columns, const real *a, const real *x, real *y
) noexcept nogil:
    """y -= A x, for a part of A of so many rows and columns."""
    cdef bint across = s.col == 1
    cdef int trans = CBLAS_NO_TRANS if across else CBLAS_TRANS
    cdef int first = rows if across else columns, second = columns if across else rows
    cdef int64_t ld = s.row if across else s.col
    if real is float:
        blas_sgemv(CBLAS_ROW_MAJOR, trans, first, second, -1, a, ld, x, 1, 1, y, 1)
    else:
        blas_dgemv(CBLAS_ROW_MAJOR, trans, first, second, -1, a, ld, x, 1, 1, y, 1)


cdef void by_blocks(
    const Substitution *whole, const real *a, real *x
) noexcept nogil:
    """One right side. The BLAS subtracts from a block what is solved; inside of it, a
    call for each row, as in the BLAS's own solver, would cost more than the arithmetic.
    """
    cdef Substitution s = whole[0]
    cdef int done = 0, n = whole.n, at, solved
    while done < n:
        s.n = min(SMALL, n - done)
        at = n - done - s.n if s.upper else done
        solved = at + s.n if s.upper else 0
        if done > 0:
            subtract_product(
                &s, s.n, done, a + at * s.row + solved * s.col, x + solved, x + at
            )
        small_substitution(&s, a + at * (s.row + s.col), x + at)
        done += s.n


cdef void vector_solution(
    const Job *job, const Substitution *s, const char *a, char *x
) noexcept nogil:
    if is_single(job):
        by_blocks(s, <const float *>a, <float *>x)
    else:
        by_blocks(s, <const double *>a, <double *>x)


cdef void triangular(
    const Job *job, char *a, char *x, int n, int k, bint upper, bint trans, bint unit
) noexcept nogil:
    """x, row-major (n, k), becomes the solution of op(F).T x = x, F column-major.

    In column-major terms: X.T op(F) = B.T, a solution from the right.
    """
    cdef char *uplo = b"U" if upper else b"L"
    cdef char *op = b"T" if trans else b"N"
    cdef char *diag = b"U" if unit else b"N"
    cdef int one = 1
    cdef Substitution s
    if k == 1 and not job.lapack.is_complex:
        s.n, s.k, s.x_row, s.x_col, s.unit = n, 1, 1, 1, unit
        s.row, s.col = (1 if trans else n), (n if trans else 1)
        s.upper = upper == trans
        vector_solution(job, &s, a, x)
    elif k == 1:
        job.lapack.trsv(
            uplo, b"N" if trans else b"T", diag, &n, a, &n, x, &one, 1, 1, 1
        )
    elif k > 1:
        job.lapack.trsm(
            b"R", uplo, op, diag, &k, &n, <void *>job.lapack.one, a, &n, x, &k,
            1, 1, 1, 1
        )


cdef int solve_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """A.T = P L U in LAPACK's terms, so A = U.T L.T P.T, and X = P L^-T U^-T B."""
    cdef int n = job.n, k = <int>job.call.in_[1].shape[2], info = 0
    cdef size_t size = job.lapack.itemsize
    cdef char *x = output(job, 1, i)
    cdef char *lu = output(job, 2, i)
    cdef int *order = <int *>output(job, 3, i)
    memcpy(lu, input(job, 0, i), n * n * size)
    memcpy(x, input(job, 1, i), n * k * size)
    if is_small(job):
        if is_single(job):
            return small_solve(n, k, <float *>lu, order, <float *>x)
        return small_solve(n, k, <double *>lu, order, <double *>x)
    info = factor_lu(job, n, n, lu, order)
    if info != 0:
        return info
    triangular(job, lu, x, n, k, True, False, False)
    triangular(job, lu, x, n, k, False, False, True)
    swap_rows(x, k * size, order, n, True)
    return 0


cdef tl_status solve(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef double n = job.n
    return run_batch(
        &job, solve_one, 0.67 * n * n * n + 2 * n * n * call.in_[1].shape[2]
    )


cdef int solve_adjoint_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """With the factors of solve: A.T Y = G, so Y = L'^-1 ... in the reverse order."""
    cdef int n = job.n, k = <int>job.call.in_[1].shape[2]
    cdef size_t size = job.lapack.itemsize
    cdef char *y = output(job, 1, i)
    cdef char *lu = input(job, 0, i)
    cdef int *order = <int *>input(job, 2, i)
    cdef int row
    for row in range(n):
        if not 1 <= order[row] <= n:
            return WRONG_PIVOT
    memcpy(y, input(job, 1, i), n * k * size)
    if is_small(job):
        if is_single(job):
            small_solve_lu(n, k, <const float *>lu, order, <float *>y, True)
        else:
            small_solve_lu(n, k, <const double *>lu, order, <double *>y, True)
        return 0
    swap_rows(y, k * size, order, n, False)
    triangular(job, lu, y, n, k, False, True, True)
    triangular(job, lu, y, n, k, True, True, False)
    return 0


cdef tl_status solve_adjoint(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    return run_batch(
        &job, solve_adjoint_one, 2.0 * job.n * job.n * call.in_[1].shape[2]
    )


cdef int zero_of(
    const real *a, int64_t n, int64_t step, bint is_complex
) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if a[i * step] == 0 and (not is_complex or a[i * step + 1] == 0):
            return <int>(i + 1)
    return 0


cdef int first_zero(const Job *job, const char *a) noexcept nogil:
    """One more than the place of the first zero on a diagonal; 0 when there is none."""
    cdef bint is_complex = job.lapack.is_complex
    cdef int64_t step = (job.n + 1) * (2 if is_complex else 1)
    if is_single(job):
        return zero_of(<const float *>a, job.n, step, is_complex)
    return zero_of(<const double *>a, job.n, step, is_complex)


cdef Substitution substitution(const Job *job) noexcept nogil:
    """The call's system from the left: X op(A) = B is op(A).T X.T = B.T."""
    cdef const tl_matrix_params *p = job.params
    cdef int64_t rows = job.call.in_[1].shape[1], columns = job.call.in_[1].shape[2]
    cdef bint flipped = p.transposed == p.left
    cdef Substitution s
    s.n, s.unit, s.upper = job.n, p.unit, p.upper != flipped
    s.row, s.col = (1 if flipped else job.n), (job.n if flipped else 1)
    s.k = <int>(columns if p.left else rows)
    s.x_row, s.x_col = (columns if p.left else 1), (1 if p.left else columns)
    return s


cdef void small_solution(
    const Job *job, const Substitution *s, const char *a, char *x
) noexcept nogil:
    if not job.lapack.is_complex:
        if is_single(job):
            small_substitution(s, <float *>a, <float *>x)
        else:
            small_substitution(s, <double *>a, <double *>x)
    elif is_single(job):
        small_substitution(s, <float_complex *>a, <float_complex *>x)
    else:
        small_substitution(s, <double_complex *>a, <double_complex *>x)


cdef int triangular_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Rows of ours are columns of LAPACK's: sides and triangles change places."""
    cdef const tl_matrix_params *p = job.params
    cdef int n = job.n, info = 0
    cdef int rows = <int>job.call.in_[1].shape[1], columns = (
        <int>job.call.in_[1].shape[2]
    )
    cdef char *a = input(job, 0, i)
    cdef char *x = output(job, 1, i)
    cdef const Substitution *s = <const Substitution *>job.plan
    memcpy(x, input(job, 1, i), <size_t>rows * columns * job.lapack.itemsize)
    if not p.unit:
        info = first_zero(job, a)
    if info != 0 or rows == 0 or columns == 0:
        return info
    if n <= SMALL:
        small_solution(job, s, a, x)
    elif s.k == 1 and not job.lapack.is_complex:
        vector_solution(job, s, a, x)
    elif p.left:
        triangular(job, a, x, n, columns, not p.upper, p.transposed, p.unit)
    else:
        job.lapack.trsm(
            b"L", b"L" if p.upper else b"U", b"T" if p.transposed else b"N",
            b"U" if p.unit else b"N", &columns, &rows, <void *>job.lapack.one,
            a, &n, x, &columns, 1, 1, 1, 1
        )
    return 0


cdef tl_status solve_triangular(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef Substitution s = substitution(&job)
    job.plan = &s
    return run_batch(
        &job, triangular_one, <double>job.n * call.in_[1].shape[1]
        * call.in_[1].shape[2]
    )


# ---- determinant -----------------------------------------------------------------
cdef int factored(const Job *job, int64_t i, char *scratch, int *order) noexcept nogil:
    """The factors of matrix i (or of its transpose) in scratch; LAPACK's info."""
    cdef int n = job.n, info = 0
    memcpy(scratch, input(job, 0, i), <size_t>n * n * job.lapack.itemsize)
    if not is_small(job):
        info = factor_lu(job, n, n, scratch, order)
    elif is_single(job):
        info = small_lu(n, <float *>scratch, order)
    else:
        info = small_lu(n, <double *>scratch, order)
    return info


cdef void product_of(
    int n, const real *lu, const int *order, real *found
) noexcept nogil:
    cdef double total = 1
    cdef int k
    for k in range(n):
        total *= -lu[k * (n + 1)] if order[k] != k + 1 else lu[k * (n + 1)]
    found[0] = <real>total


cdef void complex_product_of(
    int n, const real *lu, const int *order, real *found
) noexcept nogil:
    cdef double x, y, real_part = 1, imaginary = 0
    cdef int k
    for k in range(n):
        x, y = lu[2 * k * (n + 1)], lu[2 * k * (n + 1) + 1]
        if order[k] != k + 1:
            x, y = -x, -y
        real_part, imaginary = (
            real_part * x - imaginary * y, real_part * y + imaginary * x
        )
    found[0], found[1] = <real>real_part, <real>imaginary


cdef int det_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    cdef int *order = <int *>(scratch + job.work_at)
    cdef char *found = output(job, 1, i)
    cdef int n = job.n
    factored(job, i, scratch, order)
    if job.lapack.is_complex:
        if is_single(job):
            complex_product_of(n, <float *>scratch, order, <float *>found)
        else:
            complex_product_of(n, <double *>scratch, order, <double *>found)
    elif is_single(job):
        product_of(n, <float *>scratch, order, <float *>found)
    else:
        product_of(n, <double *>scratch, order, <double *>found)
    return 0


cdef int slogdet_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    cdef int *order = <int *>(scratch + job.work_at)
    cdef char *sign = output(job, 1, i)
    cdef char *size = output(job, 2, i)
    cdef int n = job.n
    factored(job, i, scratch, order)
    if job.lapack.is_complex:
        if is_single(job):
            complex_log(n, <float *>scratch, order, <float *>sign, <float *>size)
        else:
            complex_log(n, <double *>scratch, order, <double *>sign, <double *>size)
    elif is_single(job):
        log_product(n, <float *>scratch, order, <float *>sign, <float *>size)
    else:
        log_product(n, <double *>scratch, order, <double *>sign, <double *>size)
    return 0


cdef void log_product(
    int n, const real *lu, const int *order, real *sign, real *logarithm
) noexcept nogil:
    """The sign and the logarithm of |the product of a diagonal|; 0 and -inf for 0."""
    cdef double d, total = 0
    cdef real s = 1
    cdef int k
    for k in range(n):
        d = lu[k * (n + 1)]
        if (d < 0) != (order[k] != k + 1):
            s = -s
        if d == 0:
            s = 0
        elif isnan(d):
            s = <real>d
        total += log(fabs(d))
    sign[0] = s
    logarithm[0] = <real>total


cdef void complex_log(
    int n, const real *lu, const int *order, real *sign, real *logarithm
) noexcept nogil:
    """The same; a sign is d / |d|, of absolute value 1."""
    cdef double x, y, size, total = 0, a = 1, b = 0
    cdef int k
    for k in range(n):
        x, y = lu[2 * k * (n + 1)], lu[2 * k * (n + 1) + 1]
        if order[k] != k + 1:
            x, y = -x, -y
        size = hypot(x, y)
        total += log(size)
        if size == 0:
            a, b = 0, 0
        else:
            a, b = (a * x - b * y) / size, (a * y + b * x) / size
    sign[0], sign[1] = <real>a, <real>b
    logarithm[0] = <real>total


cdef Job factoring(const tl_call *call) noexcept nogil:
    """A job whose scratch memory holds one matrix and its pivots."""
    cdef Job job = job_of(call)
    job.work_at = after(0, <int64_t>job.n * job.n * job.lapack.itemsize)
    job.scratch = job.work_at + job.n * sizeof(int)
    return job


cdef tl_status det(const tl_call *call) noexcept nogil:
    cdef Job job = factoring(call)
    return run_batch(&job, det_one, 0.67 * job.n * job.n * job.n)


cdef tl_status slogdet(const tl_call *call) noexcept nogil:
    cdef Job job = factoring(call)
    return run_batch(&job, slogdet_one, 0.67 * job.n * job.n * job.n + 20 * job.n)


def register():
    """Fill the rows of this family.

    Examples
    --------
    >>> register()
    """
    register_matrix_kernel("inv", inv)
    register_matrix_kernel("solve", solve)
    register_matrix_kernel("solve_adjoint", solve_adjoint)
    register_matrix_kernel("solve_triangular", solve_triangular)
    register_matrix_kernel("det", det)
    register_matrix_kernel("slogdet", slogdet)

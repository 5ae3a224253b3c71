"""Kernels of linear algebra: LAPACK on every matrix of a batch.

LAPACK is the one inside the BLAS library, on one thread; the batch is shared among the
threads of the pool. Each matrix is worked on alone, so its bits depend neither on the
number of threads nor on its neighbours. Matrices up to `SMALL` rows go through loops
of our own (small_matrix.pyx, small_spectrum.pyx): there a call of LAPACK costs more
than the arithmetic.

LAPACK is column-major: what is row-major for us is the transpose for it. Each kernel
says how it makes use of that rather than transpose its operands.

References
----------
E. Anderson et al., "LAPACK Users' Guide", 3rd ed., SIAM 1999.
"""
from cython.parallel cimport prange
from libc.math cimport fabs, isnan, log
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from tensorlib.core.abi cimport (
    TL_CPU, TL_FLOAT32, TL_FLOAT64, TL_OK, TL_OUT_OF_MEMORY, tl_buffer, tl_call,
    tl_kernel_fn, tl_status, tl_storage,
)
from tensorlib.core.dispatch cimport register_kernel
from tensorlib.core.storage cimport scratch_new, storage_release
from tensorlib.core.threads cimport thread_pool, threads_for
from tensorlib.kernels.blas cimport blas_function
from tensorlib.kernels.gomp cimport use_pool
from tensorlib.kernels.small_matrix cimport (
    SMALL, small_cholesky, small_inv, small_lu, small_qr, small_solve, small_solve_lu,
)
from tensorlib.kernels.small_spectrum cimport JACOBI, jacobi_eigh, jacobi_svd

cdef enum:
    GRAIN = 20000         # floating-point operations that pay for another thread
    OVERHEAD = 200        # ... that a matrix costs besides its arithmetic
    UNBLOCKED = 32        # columns of a QR factorization that gain nothing from blocks
    TILE = 32             # of a transposing copy: two tiles stay in the first cache

ctypedef fused real:
    float
    double

# ---- the functions of each dtype -------------------------------------------------
cdef Lapack _single
cdef Lapack _double


cdef int _fill(Lapack *table, str letter, int itemsize) except -1:
    table.getrf = <getrf_fn>blas_function(letter + "getrf_")
    table.getri = <getri_fn>blas_function(letter + "getri_")
    table.potrf = <potrf_fn>blas_function(letter + "potrf_")
    table.geqrf = <geqrf_fn>blas_function(letter + "geqrf_")
    table.orgqr = <orgqr_fn>blas_function(letter + "orgqr_")
    table.geqr2 = <geqr2_fn>blas_function(letter + "geqr2_")
    table.org2r = <org2r_fn>blas_function(letter + "org2r_")
    table.syevd = <syevd_fn>blas_function(letter + "syevd_")
    table.gesdd = <gesdd_fn>blas_function(letter + "gesdd_")
    table.gesvd = <gesvd_fn>blas_function(letter + "gesvd_")
    table.trsm = <trsm_fn>blas_function(letter + "trsm_")
    table.trsv = <trsv_fn>blas_function(letter + "trsv_")
    table.itemsize = itemsize
    return 0


# ---- one kernel call: its matrices and how they are shared ----------------------
ctypedef struct Job:
    const tl_call *call
    const Lapack *lapack
    const tl_matrix_params *params
    int m                 # rows and columns of the first input
    int n
    int lwork             # elements of LAPACK's workspace, and how it is laid out
    int64_t work_at       # bytes: where it begins in a thread's scratch memory
    int64_t more_at       # ... and a second one
    int64_t scratch       # bytes a thread has

# The work on matrix i; returns LAPACK's info.
ctypedef int (*matrix_fn)(const Job *job, int64_t i, char *scratch) noexcept nogil


cdef Job job_of(const tl_call *call) noexcept nogil:
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.call = call
    job.lapack = <const Lapack *>call.loop
    job.params = <const tl_matrix_params *>call.params
    job.m = <int>call.in_[0].shape[1]
    job.n = <int>call.in_[0].shape[2]
    return job


cdef inline bint is_single(const Job *job) noexcept nogil:
    return job.call.in_[0].dtype == TL_FLOAT32


cdef inline char *input(const Job *job, int which, int64_t i) noexcept nogil:
    cdef const tl_buffer *b = job.call.in_[which]
    return <char *>b.data + i * b.strides[0] * job.lapack.itemsize


cdef inline char *output(const Job *job, int which, int64_t i) noexcept nogil:
    cdef const tl_buffer *b = job.call.out[which]
    return <char *>b.data + i * b.strides[0] * job.lapack.itemsize


cdef inline int *pivots(const Job *job, int which, int64_t i) noexcept nogil:
    cdef const tl_buffer *b = job.call.out[which]
    return <int *>b.data + i * b.strides[0]


cdef void run_range(
    const Job *job, matrix_fn one, char *scratch, int64_t first, int64_t last
) noexcept nogil:
    cdef int32_t *info = <int32_t *>job.call.out[0].data
    cdef int64_t i
    for i in range(first, last):
        info[i] = one(job, i, scratch)


cdef tl_status run_batch(const Job *job, matrix_fn one, double flops) noexcept nogil:
    """Run `one`, of so many operations, on every matrix."""
    cdef int64_t count = job.call.out[0].shape[0], t
    cdef int threads = threads_for(<int64_t>(count * (flops + OVERHEAD)), GRAIN)
    cdef int64_t each = (job.scratch + 63) // 64 * 64
    cdef tl_storage *storage = NULL
    cdef char *scratch = NULL
    if threads > count:
        threads = <int>count
    if threads < 1:
        threads = 1
    if each > 0:
        storage = scratch_new(threads * each)
        if storage == NULL:
            return TL_OUT_OF_MEMORY
        scratch = <char *>storage.data
    if threads == 1:
        run_range(job, one, scratch, 0, count)
    else:
        for t in prange(threads, num_threads=threads, schedule="static", nogil=True):
            run_range(
                job, one, scratch + t * each, count * t // threads,
                count * (t + 1) // threads,
            )
    if storage != NULL:
        storage_release(storage)
    return TL_OK


# ---- loops over elements ---------------------------------------------------------
cdef void transposed_of(
    real *to, const real *source, int64_t rows, int64_t columns, int64_t ld
) noexcept nogil:
    """to[j * ld + i] = source[i, j], in tiles."""
    cdef int64_t i, j, top = 0, left
    while top < rows:
        left = 0
        while left < columns:
            for i in range(top, min(top + TILE, rows)):
                for j in range(left, min(left + TILE, columns)):
                    to[j * ld + i] = source[i * columns + j]
            left += TILE
        top += TILE


cdef void transpose(
    const Job *job, void *to, const void *source, int64_t rows, int64_t columns,
    int64_t ld,
) noexcept nogil:
    if is_single(job):
        transposed_of(<float *>to, <const float *>source, rows, columns, ld)
    else:
        transposed_of(<double *>to, <const double *>source, rows, columns, ld)


cdef bint finite_range(const real *x, int64_t n) noexcept nogil:
    cdef int64_t i
    cdef real total = 0
    for i in range(n):
        total += x[i] * 0     # NaN from the first NaN or infinity on
    return total == 0


cdef bint all_finite(const Job *job, const void *x, int64_t n) noexcept nogil:
    if is_single(job):
        return finite_range(<const float *>x, n)
    return finite_range(<const double *>x, n)


cdef bint lower_finite(const Job *job, const char *x, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if not all_finite(job, x + i * n * job.lapack.itemsize, i + 1):
            return False
    return True


cdef inline int round_up(const Job *job, const void *size) noexcept nogil:
    """LAPACK's answer to a query for its workspace, a size in the dtype."""
    if is_single(job):
        # float32 may have rounded it down.
        return <int>((<const float *>size)[0] * 1.0000002) + 1
    return <int>(<const double *>size)[0]


# ---- inverse ---------------------------------------------------------------------
cdef int inv_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """The inverse of the transpose is the transpose of the inverse."""
    cdef int n = job.n, info = 0, lwork = job.lwork
    cdef char *a = input(job, 0, i)
    cdef char *y = output(job, 1, i)
    if n <= SMALL:
        if is_single(job):
            return small_inv(n, <const float *>a, <float *>y)
        return small_inv(n, <const double *>a, <double *>y)
    memcpy(y, a, <size_t>n * n * job.lapack.itemsize)
    job.lapack.getrf(&n, &n, y, &n, <int *>scratch, &info)
    if info == 0:
        job.lapack.getri(
            &n, y, &n, <int *>scratch, scratch + job.work_at, &lwork, &info
        )
    return info


cdef tl_status inv(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef int n = job.n, query = -1, info
    cdef double size = 0
    if n > SMALL:
        job.lapack.getri(&n, NULL, &n, NULL, &size, &query, &info)
        job.lwork = round_up(&job, &size)
        job.work_at = (n * sizeof(int) + 63) // 64 * 64
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
    if k == 1:
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
    cdef int *order = pivots(job, 3, i)
    memcpy(lu, input(job, 0, i), n * n * size)
    memcpy(x, input(job, 1, i), n * k * size)
    if n <= SMALL:
        if is_single(job):
            return small_solve(n, k, <float *>lu, order, <float *>x)
        return small_solve(n, k, <double *>lu, order, <double *>x)
    job.lapack.getrf(&n, &n, lu, &n, order, &info)
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
    cdef int *order = (
        <int *>job.call.in_[2].data + i * job.call.in_[2].strides[0]
    )
    memcpy(y, input(job, 1, i), n * k * size)
    if n <= SMALL:
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


cdef int first_zero(
    const Job *job, const char *a, int64_t n, int64_t step
) noexcept nogil:
    """One more than the place of the first zero on a diagonal; 0 when there is none."""
    cdef int64_t i
    cdef double x
    for i in range(n):
        if is_single(job):
            x = (<const float *>a)[i * step]
        else:
            x = (<const double *>a)[i * step]
        if x == 0:
            return <int>(i + 1)
    return 0


cdef int triangular_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Rows of ours are columns of LAPACK's: sides and triangles change places."""
    cdef const tl_matrix_params *p = job.params
    cdef int n = job.n, info = 0
    cdef int rows = <int>job.call.in_[1].shape[1], columns = (
        <int>job.call.in_[1].shape[2]
    )
    cdef char *a = input(job, 0, i)
    cdef char *x = output(job, 1, i)
    memcpy(x, input(job, 1, i), <size_t>rows * columns * job.lapack.itemsize)
    if not p.unit:
        info = first_zero(job, a, n, n + 1)
    if info != 0 or rows == 0 or columns == 0:
        return info
    if p.left:
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
    return run_batch(
        &job, triangular_one, <double>job.n * call.in_[1].shape[1]
        * call.in_[1].shape[2]
    )


# ---- determinant -----------------------------------------------------------------
cdef int factored(const Job *job, int64_t i, char *scratch, int *order) noexcept nogil:
    """The factors of matrix i (or of its transpose) in scratch; LAPACK's info."""
    cdef int n = job.n, info = 0
    memcpy(scratch, input(job, 0, i), <size_t>n * n * job.lapack.itemsize)
    if n > SMALL:
        job.lapack.getrf(&n, &n, scratch, &n, order, &info)
    elif is_single(job):
        info = small_lu(n, <float *>scratch, order)
    else:
        info = small_lu(n, <double *>scratch, order)
    return info


cdef int det_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    cdef int *order = <int *>(scratch + job.work_at)
    cdef int n = job.n, k
    cdef double d, found = 1
    factored(job, i, scratch, order)
    for k in range(n):
        if is_single(job):
            d = (<float *>scratch)[k * (n + 1)]
        else:
            d = (<double *>scratch)[k * (n + 1)]
        found *= -d if order[k] != k + 1 else d
    if is_single(job):
        (<float *>output(job, 1, i))[0] = <float>found
    else:
        (<double *>output(job, 1, i))[0] = found
    return 0


cdef int slogdet_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    cdef int *order = <int *>(scratch + job.work_at)
    cdef int n = job.n
    factored(job, i, scratch, order)
    if is_single(job):
        log_product(n, <float *>scratch, order, <float *>output(job, 1, i),
                    <float *>output(job, 2, i))
    else:
        log_product(n, <double *>scratch, order, <double *>output(job, 1, i),
                    <double *>output(job, 2, i))
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


cdef Job factoring(const tl_call *call) noexcept nogil:
    """A job whose scratch memory holds one matrix and its pivots."""
    cdef Job job = job_of(call)
    job.work_at = (<int64_t>job.n * job.n * job.lapack.itemsize + 63) // 64 * 64
    job.scratch = job.work_at + job.n * sizeof(int)
    return job


cdef tl_status det(const tl_call *call) noexcept nogil:
    cdef Job job = factoring(call)
    return run_batch(&job, det_one, 0.67 * job.n * job.n * job.n)


cdef tl_status slogdet(const tl_call *call) noexcept nogil:
    cdef Job job = factoring(call)
    return run_batch(&job, slogdet_one, 0.67 * job.n * job.n * job.n + 20 * job.n)


# ---- factorizations --------------------------------------------------------------
cdef int lu_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Rows are interchanged, so LAPACK needs a true transpose: out is column-major."""
    cdef int m = job.m, n = job.n, info = 0
    cdef char *lu = output(job, 1, i)
    transpose(job, lu, input(job, 0, i), m, n, m)
    job.lapack.getrf(&m, &n, lu, &m, pivots(job, 2, i), &info)
    return 0


cdef tl_status lu_factor(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    return run_batch(&job, lu_one, <double>job.m * job.n * min(job.m, job.n))


cdef void clear_triangle(real *a, int64_t n, bint above) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if above:
            memset(a + i * n + i + 1, 0, (n - i - 1) * sizeof(real))
        else:
            memset(a + i * n, 0, i * sizeof(real))


cdef int cholesky_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Our lower triangle is LAPACK's upper one, and L is its U."""
    cdef int n = job.n, info = 0, upper = job.params.upper, k
    cdef char *a = input(job, 0, i)
    cdef char *y = output(job, 1, i)
    if n <= SMALL:
        if is_single(job):
            return small_cholesky(n, <const float *>a, <float *>y, upper)
        return small_cholesky(n, <const double *>a, <double *>y, upper)
    memcpy(y, a, <size_t>n * n * job.lapack.itemsize)
    job.lapack.potrf(b"L" if upper else b"U", &n, y, &n, &info, 1)
    if is_single(job):
        clear_triangle(<float *>y, n, not upper)
    else:
        clear_triangle(<double *>y, n, not upper)
    for k in range(n if info == 0 else 0):
        if not all_finite(job, y + <int64_t>k * (n + 1) * job.lapack.itemsize, 1):
            return k + 1
    return info


cdef tl_status cholesky(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    return run_batch(&job, cholesky_one, 0.34 * job.n * job.n * job.n)


cdef void upper_part(
    real *r, const real *f, int64_t rows, int64_t columns, int64_t ld
) noexcept nogil:
    """r, row-major, gets the upper triangle of f, column-major; zeros below."""
    cdef int64_t i, j
    memset(r, 0, rows * columns * sizeof(real))
    for i in range(min(rows, ld)):
        for j in range(i, columns):
            r[i * columns + j] = f[j * ld + i]


cdef void small_qr_one(
    const real *a, real *r, real *q, int m, int n, int c, int rows
) noexcept nogil:
    """q, where it is wanted, is Q.T."""
    cdef real[SMALL * SMALL] x
    cdef real[SMALL * SMALL] square
    memcpy(x, a, m * n * sizeof(real))
    small_qr(m, n, c, x, square if q != NULL else NULL)
    memcpy(r, x, rows * n * sizeof(real))
    if q != NULL:
        transposed_of(q, square, m, c, m)


cdef int qr_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Factor a column-major copy; Q leaves as its transpose, which needs no copy."""
    cdef int m = job.m, n = job.n, info = 0, lwork = job.lwork, k = min(m, n)
    cdef const tl_buffer *r = job.call.out[1]
    cdef char *tau = scratch + job.more_at
    cdef char *work = scratch + job.work_at
    cdef int columns = <int>job.call.out[2].shape[1] if job.call.nout > 2 else 0
    cdef char *q = output(job, 2, i) if job.call.nout > 2 else NULL
    if max(m, n) <= SMALL:
        if is_single(job):
            small_qr_one(<float *>input(job, 0, i), <float *>output(job, 1, i),
                         <float *>q, m, n, columns, <int>r.shape[1])
        else:
            small_qr_one(<double *>input(job, 0, i), <double *>output(job, 1, i),
                         <double *>q, m, n, columns, <int>r.shape[1])
        return 0
    transpose(job, scratch, input(job, 0, i), m, n, m)
    if k <= UNBLOCKED:
        job.lapack.geqr2(&m, &n, scratch, &m, tau, work, &info)
    else:
        job.lapack.geqrf(&m, &n, scratch, &m, tau, work, &lwork, &info)
    if is_single(job):
        upper_part(<float *>output(job, 1, i), <float *>scratch, r.shape[1], n, m)
    else:
        upper_part(<double *>output(job, 1, i), <double *>scratch, r.shape[1], n, m)
    if q != NULL:
        if k <= UNBLOCKED:
            job.lapack.org2r(&m, &columns, &k, scratch, &m, tau, work, &info)
        else:
            job.lapack.orgqr(
                &m, &columns, &k, scratch, &m, tau, work, &lwork, &info
            )
        memcpy(q, scratch, <size_t>m * columns * job.lapack.itemsize)
    return 0


cdef tl_status qr(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef int m = job.m, n = job.n, k = min(m, n), query = -1, info, q = k
    cdef int64_t size = job.lapack.itemsize
    cdef double found = 0
    if call.nout > 2:
        q = <int>call.out[2].shape[1]
    job.lapack.geqrf(&m, &n, NULL, &m, NULL, &found, &query, &info)
    job.lwork = max(round_up(&job, &found), n, q)
    if call.nout > 2:
        job.lapack.orgqr(&m, &q, &k, NULL, &m, NULL, &found, &query, &info)
        job.lwork = max(round_up(&job, &found), job.lwork)
    job.more_at = (<int64_t>m * max(n, q) * size + 63) // 64 * 64
    job.work_at = (job.more_at + k * size + 63) // 64 * 64
    job.scratch = job.work_at + job.lwork * size
    return run_batch(&job, qr_one, 4.0 * m * n * k)


# ---- spectra ---------------------------------------------------------------------
cdef void to_double(const Job *job, double *y, const char *x, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        y[i] = (<const float *>x)[i] if is_single(job) else (<const double *>x)[i]


cdef void from_double(const Job *job, char *y, const double *x, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        if is_single(job):
            (<float *>y)[i] = <float>x[i]
        else:
            (<double *>y)[i] = x[i]


cdef bint small_eigh(const Job *job, int64_t i) noexcept nogil:
    cdef double[JACOBI * JACOBI] a
    cdef double[JACOBI * JACOBI] v
    cdef double[JACOBI] w
    cdef int n = job.n
    cdef bint vectors = job.call.nout > 2
    to_double(job, a, input(job, 0, i), n * n)
    if not jacobi_eigh(n, a, w, v if vectors else NULL):
        return False
    from_double(job, output(job, 1, i), w, n)
    if vectors:
        from_double(job, output(job, 2, i), v, n * n)
    return True


cdef bint small_svd(const Job *job, int64_t i) noexcept nogil:
    """Nearly singular matrices are left to LAPACK, which completes their bases."""
    cdef double[JACOBI * JACOBI] a
    cdef double[JACOBI * JACOBI] ut
    cdef double[JACOBI * JACOBI] u
    cdef double[JACOBI] s
    cdef int m = job.m, n = job.n
    cdef bint vectors = job.call.nout > 2
    cdef double eps = 1.2e-7 if is_single(job) else 2.3e-16
    if vectors and job.params.upper and m < n:
        return False
    to_double(job, a, input(job, 0, i), m * n)
    if not jacobi_svd(m, n, a, s, ut if vectors else NULL, eps):
        return False
    from_double(job, output(job, 1, i), s, m)
    if vectors:
        transposed_of(u, ut, m, m, m)
        from_double(job, output(job, 2, i), u, m * m)
        from_double(job, output(job, 3, i), a, m * n)
    return True


cdef int eigh_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """The columns of LAPACK's eigenvectors are rows of ours: out[2] is V.T."""
    cdef int n = job.n, info = 0, lwork = job.lwork
    cdef bint vectors = job.call.nout > 2
    cdef int liwork = 3 + 5 * n if vectors else 1
    cdef char *a = input(job, 0, i)
    cdef char *v = output(job, 2, i) if vectors else scratch + job.more_at
    if not lower_finite(job, a, n):
        return NOT_FINITE
    if n <= JACOBI and small_eigh(job, i):
        return 0
    memcpy(v, a, <size_t>n * n * job.lapack.itemsize)
    job.lapack.syevd(
        b"V" if vectors else b"N", b"U", &n, v, &n, output(job, 1, i),
        scratch + job.work_at, &lwork, <int *>scratch, &liwork, &info, 1, 1
    )
    return info


cdef tl_status eigh(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef int n = job.n, query = -1, info, liwork
    cdef bint vectors = call.nout > 2
    cdef int64_t size = job.lapack.itemsize
    cdef double found = 0
    job.lapack.syevd(
        b"V" if vectors else b"N", b"U", &n, NULL, &n, NULL, &found, &query,
        &liwork, &query, &info, 1, 1
    )
    job.lwork = round_up(&job, &found)
    job.work_at = ((3 + 5 * n) * sizeof(int) + 63) // 64 * 64
    job.more_at = (job.work_at + job.lwork * size + 63) // 64 * 64
    job.scratch = job.more_at + (0 if vectors else n * n * size)
    return run_batch(&job, eigh_one, (9.0 if vectors else 1.4) * n * n * n)


cdef int svd_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """A.T = V S U.T: LAPACK's left vectors are our right ones, in their places."""
    cdef int m = job.m, n = job.n, info = 0, lwork = job.lwork, ldu = max(n, 1)
    cdef bint vectors = job.call.nout > 2
    cdef int ldvt = <int>job.call.out[2].shape[2] if vectors else 1
    cdef char *how = b"N"
    cdef char *a = input(job, 0, i)
    cdef char *u = output(job, 3, i) if vectors else NULL
    cdef char *vt = output(job, 2, i) if vectors else NULL
    cdef char *work = scratch + job.work_at
    cdef size_t size = <size_t>m * n * job.lapack.itemsize
    if not all_finite(job, a, <int64_t>m * n):
        return NOT_FINITE
    if m <= n <= JACOBI and small_svd(job, i):
        return 0
    if vectors:
        how = b"A" if job.params.upper else b"S"
    memcpy(scratch + job.more_at, a, size)
    job.lapack.gesdd(
        how, &n, &m, scratch + job.more_at, &n, output(job, 1, i), u, &ldu, vt, &ldvt,
        work, &lwork, <int *>scratch, &info, 1
    )
    if info > 0:
        # Divide and conquer gave up; the iteration by QR converges more often.
        memcpy(scratch + job.more_at, a, size)
        job.lapack.gesvd(
            how, how, &n, &m, scratch + job.more_at, &n, output(job, 1, i), u, &ldu,
            vt, &ldvt, work, &lwork, &info, 1, 1
        )
    return info


cdef tl_status svd(const tl_call *call) noexcept nogil:
    """params.upper: all of U and V, rather than min(m, n) columns each."""
    cdef Job job = job_of(call)
    cdef int m = job.m, n = job.n, k = min(m, n), query = -1, info
    cdef int ldu = max(n, 1), ldvt = 1
    cdef bint vectors = call.nout > 2
    cdef char *how = b"N"
    cdef int64_t size = job.lapack.itemsize
    cdef double found = 0
    if vectors:
        ldvt = <int>call.out[2].shape[2]
        how = b"A" if job.params.upper else b"S"
    job.lapack.gesdd(how, &n, &m, NULL, &n, NULL, NULL, &ldu, NULL, &ldvt, &found,
                     &query, NULL, &info, 1)
    job.lwork = round_up(&job, &found)
    job.lapack.gesvd(how, how, &n, &m, NULL, &n, NULL, NULL, &ldu, NULL, &ldvt, &found,
                     &query, &info, 1, 1)
    job.lwork = max(round_up(&job, &found), job.lwork)
    job.work_at = (8 * k * sizeof(int) + 63) // 64 * 64
    job.more_at = (job.work_at + job.lwork * size + 63) // 64 * 64
    job.scratch = job.more_at + <int64_t>m * n * size
    return run_batch(&job, svd_one, (20.0 if vectors else 4.0) * m * n * k)


cdef int _register(str name, tl_kernel_fn run) except -1:
    register_kernel(name, TL_CPU, TL_FLOAT32, run, &_single)
    register_kernel(name, TL_CPU, TL_FLOAT64, run, &_double)
    return 0


def register():
    """Look LAPACK's functions up, and fill the rows of this family."""
    _fill(&_single, "s", sizeof(float))
    _fill(&_double, "d", sizeof(double))
    (<float *>_single.one)[0] = 1.0
    (<double *>_double.one)[0] = 1.0
    _register("inv", inv)
    _register("solve", solve)
    _register("solve_adjoint", solve_adjoint)
    _register("solve_triangular", solve_triangular)
    _register("det", det)
    _register("slogdet", slogdet)
    _register("lu_factor", lu_factor)
    _register("cholesky", cholesky)
    _register("qr", qr)
    _register("eigh", eigh)
    _register("svd", svd)


use_pool(thread_pool())

"""Kernels of the LU, Cholesky and QR factorizations.

A matrix that is Hermitian is the conjugate of its transpose. LAPACK sees the transpose
of ours, so it factors the conjugate; the transposes of its factors are ours.
"""
from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from tensorlib.core.abi cimport tl_buffer, tl_call, tl_status
from tensorlib.core.threads cimport thread_pool, threads_for
from tensorlib.kernels.blas cimport (
    CBLAS_NO_TRANS, CBLAS_ROW_MAJOR, CBLAS_TRANS, blas_dgemm, blas_sgemm,
)
from tensorlib.kernels.gomp cimport use_pool
from tensorlib.kernels.lapack cimport (
    Job, after, all_finite, check_hermitian, input, is_single, job_of, output, real,
    register_matrix_kernel, round_up, run_batch, transpose,
)
from tensorlib.kernels.small_matrix cimport (
    SMALL, double_complex, float_complex, small_cholesky, small_lu_factor,
    small_lu_parts, small_number, small_qr,
)

cdef enum:
    UNBLOCKED = 32        # columns of a QR factorization that gain nothing from blocks
    TILE = 64             # rows and columns of a step of the Cholesky factorization
    TILED = 192           # rows of a matrix that is factored by such steps
    TILE_GRAIN = 500000   # multiply-adds that pay for another thread
    PANELED = 128         # rows and columns of a matrix whose LU goes by panels
    PANEL = 32            # columns of a panel, which LAPACK factors on one thread
    WIDE = 512            # rows and columns from which panels are twice as wide


# ---- LU by panels ----------------------------------------------------------------
cdef void interchange(
    real *x, int64_t ld, int columns, const int *order, int first, int last
) noexcept nogil:
    """Swap rows k and order[k] (from 1) of column-major x, for k in first..last."""
    cdef int64_t k, at
    for _ in range(columns):
        for k in range(first, last):
            at = order[k] - 1
            x[k], x[at] = x[at], x[k]
        x += ld


cdef void update_columns(
    const Job *job, real *a, int m, int j, int b, const int *order, int column,
    int count,
) noexcept nogil:
    """Do to columns what the panel j..j + b did; on its right, subtract its product."""
    cdef real *x = a + <int64_t>column * m
    cdef real *panel = a + <int64_t>j * m
    cdef int below = m - j - b
    interchange(x, m, count, order, j, j + b)
    if column < j:
        return
    job.lapack.trsm(
        b"L", b"L", b"N", b"U", &b, &count, <void *>job.lapack.one, panel + j, &m,
        x + j, &m, 1, 1, 1, 1
    )
    # The BLAS sees the transposes, as rows.
    if below == 0:
        return
    if real is float:
        blas_sgemm(
            CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, CBLAS_NO_TRANS, count, below, b, -1,
            x + j, m, panel + j + b, m, 1, x + j + b, m
        )
    else:
        blas_dgemm(
            CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, CBLAS_NO_TRANS, count, below, b, -1,
            x + j, m, panel + j + b, m, 1, x + j + b, m
        )


cdef void update_tile(
    const Job *job, char *a, int m, int n, int j, int b, const int *order, int64_t t
) noexcept nogil:
    """Tile t of the columns on the left of the panel j..j + b, then on its right."""
    cdef int64_t left = (j + TILE - 1) // TILE
    cdef int column = <int>(t * TILE if t < left else j + b + (t - left) * TILE)
    cdef int count = min(<int>TILE, (j if t < left else n) - column)
    if is_single(job):
        update_columns(job, <float *>a, m, j, b, order, column, count)
    else:
        update_columns(job, <double *>a, m, j, b, order, column, count)


cdef int factor_lu(const Job *job, int m, int n, char *a, int *order) noexcept nogil:
    """Factor column-major a in place; LAPACK's info.

    A large one right-looking, by panels: threads share tiles of the other columns, the
    same ones for any number of threads.
    """
    cdef int k = min(m, n), j = 0, b, rows, info = 0, found = 0, i, threads
    cdef int64_t t, tiles
    if k < PANELED or job.lapack.is_complex:
        job.lapack.getrf(&m, &n, a, &m, order, &info)
        return info
    while j < k:
        b, rows = min(<int>(PANEL if k < WIDE else 2 * PANEL), k - j), m - j
        job.lapack.getrf(
            &rows, &b, a + (<int64_t>j * m + j) * job.lapack.itemsize, &m, order + j,
            &info
        )
        if info > 0 and found == 0:
            found = j + info
        for i in range(j, j + b):
            order[i] += j
        tiles = (j + TILE - 1) // TILE + (n - j - b + TILE - 1) // TILE
        threads = threads_for(<int64_t>rows * (n - j) * b, TILE_GRAIN)
        for t in prange(
            tiles, num_threads=threads, schedule="static", chunksize=1, nogil=True
        ):
            update_tile(job, a, m, n, j, b, order, t)
        j += b
    return found


# ---- factorizations --------------------------------------------------------------
cdef int lu_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Rows are interchanged, so LAPACK needs a true transpose: out is column-major."""
    cdef int m = job.m, n = job.n
    cdef char *a = input(job, 0, i)
    cdef char *lu = output(job, 1, i)
    cdef int *order = <int *>output(job, 2, i)
    if max(m, n) > SMALL:
        transpose(job, lu, m, a, n, m, n)
        factor_lu(job, m, n, lu, order)
    elif not job.lapack.is_complex:
        if is_single(job):
            small_lu_factor(m, n, <float *>a, <float *>lu, order)
        else:
            small_lu_factor(m, n, <double *>a, <double *>lu, order)
    elif is_single(job):
        small_lu_factor(m, n, <float_complex *>a, <float_complex *>lu, order)
    else:
        small_lu_factor(m, n, <double_complex *>a, <double_complex *>lu, order)
    return 0


cdef tl_status lu_factor(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    return run_batch(&job, lu_one, <double>job.m * job.n * min(job.m, job.n))


cdef void small_parts(
    const Job *job, int64_t i, const small_number *a
) noexcept nogil:
    small_lu_parts(
        job.m, job.n, a, <small_number *>output(job, 1, i),
        <small_number *>output(job, 2, i), <small_number *>output(job, 3, i)
    )


cdef inline void set_one(const Job *job, char *x, int64_t at) noexcept nogil:
    memcpy(x + at * job.lapack.itemsize, job.lapack.one, job.lapack.itemsize)


cdef void lower_part(
    const Job *job, char *lower, const char *f, int64_t k
) noexcept nogil:
    """lower (m, k), row-major, gets that of f (n, m), with ones on the diagonal."""
    cdef int64_t i, size = job.lapack.itemsize
    transpose(job, lower, k, f, job.m, k, job.m)
    for i in range(k):
        set_one(job, lower, i * (k + 1))
        memset(lower + (i * (k + 1) + 1) * size, 0, (k - i - 1) * size)


cdef void permutation_matrix(
    const Job *job, char *p, const int *order, int *source, int64_t k
) noexcept nogil:
    """Column i of p has its one where row i of L U comes from."""
    cdef int64_t i, m = job.m
    memset(p, 0, m * m * job.lapack.itemsize)
    for i in range(m):
        source[i] = <int>i
    for i in range(k):
        source[i], source[order[i] - 1] = source[order[i] - 1], source[i]
    for i in range(m):
        set_one(job, p, source[i] * m + i)


cdef int lu_parts_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """P, L and U, each with zeros where it has none of its own."""
    cdef int m = job.m, n = job.n, k = min(m, n)
    cdef char *a = input(job, 0, i)
    cdef int *order = <int *>(scratch + job.work_at)
    if max(m, n) > SMALL:
        transpose(job, scratch, m, a, n, m, n)
        factor_lu(job, m, n, scratch, order)
        permutation_matrix(job, output(job, 1, i), order, order + k, k)
        lower_part(job, output(job, 2, i), scratch, k)
        upper_part(job, output(job, 3, i), scratch, k)
    elif not job.lapack.is_complex:
        if is_single(job):
            small_parts(job, i, <float *>a)
        else:
            small_parts(job, i, <double *>a)
    elif is_single(job):
        small_parts(job, i, <float_complex *>a)
    else:
        small_parts(job, i, <double_complex *>a)
    return 0


cdef tl_status lu(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef int64_t m = job.m, n = job.n
    if max(m, n) > SMALL:
        job.work_at = after(0, m * n * job.lapack.itemsize)
        job.scratch = job.work_at + (m + min(m, n)) * sizeof(int)
    return run_batch(&job, lu_parts_one, <double>m * n * min(m, n))


cdef void clear_triangle(const Job *job, char *a, bint above) noexcept nogil:
    cdef int64_t i, n = job.n, size = job.lapack.itemsize
    for i in range(n):
        if above:
            memset(a + (i * n + i + 1) * size, 0, (n - i - 1) * size)
        else:
            memset(a + i * n * size, 0, i * size)


cdef int factor_tile(
    const Job *job, char *diagonal, char *tile, int b
) noexcept nogil:
    """Factor b rows in place. tile: the factor once more, column-major.

    LAPACK's upper factor of the rows as they are would take twice as long.
    """
    cdef int n = job.n, info = 0
    transpose(job, tile, b, diagonal, n, b, b)
    job.lapack.potrf(b"L", &b, tile, &b, &info, 1)
    transpose(job, diagonal, n, tile, b, b, b)
    return info


cdef void solve_tile(
    const Job *job, const char *tile, char *rows, int b, int count
) noexcept nogil:
    """`count` rows of the panel below a factored tile."""
    cdef int n = job.n
    job.lapack.trsm(
        b"L", b"L", b"N", b"N", &b, &count, <void *>job.lapack.one, <void *>tile, &b,
        rows, &n, 1, 1, 1, 1
    )


cdef void subtract_tiles(
    const Job *job, char *panel, char *c, int b, int first, int count
) noexcept nogil:
    """Take the panel's product with its transpose from `count` rows of what is left."""
    cdef int n = job.n, columns = first + count
    cdef int64_t row = <int64_t>first * n * job.lapack.itemsize
    if is_single(job):
        blas_sgemm(
            CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, CBLAS_TRANS, count, columns, b, -1,
            <float *>(panel + row), n, <float *>panel, n, 1, <float *>(c + row), n
        )
    else:
        blas_dgemm(
            CBLAS_ROW_MAJOR, CBLAS_NO_TRANS, CBLAS_TRANS, count, columns, b, -1,
            <double *>(panel + row), n, <double *>panel, n, 1, <double *>(c + row), n
        )


cdef int cholesky_by_tiles(const Job *job, char *y, char *tile) noexcept nogil:
    """The lower factor of a real matrix in place: right-looking, by columns of tiles.

    Threads share rows of tiles, which are the same for any number of threads.
    """
    cdef int n = job.n, j = 0, b, below, info, threads
    cdef int64_t t, count, size = job.lapack.itemsize
    cdef char *panel
    while j < n:
        b = min(<int>TILE, n - j)
        info = factor_tile(job, y + j * (<int64_t>n + 1) * size, tile, b)
        if info != 0:
            return j + info
        panel = y + ((<int64_t>j + b) * n + j) * size
        below = n - j - b
        count = (below + TILE - 1) // TILE
        threads = threads_for(<int64_t>below * below * b, TILE_GRAIN)
        for t in prange(
            count, num_threads=threads, schedule="static", chunksize=1, nogil=True
        ):
            solve_tile(
                job, tile, panel + t * TILE * n * size, b, min(TILE, below - t * TILE)
            )
        for t in prange(
            count, num_threads=threads, schedule="static", chunksize=1, nogil=True
        ):
            subtract_tiles(
                job, panel, panel + b * size, b, <int>(t * TILE),
                min(TILE, below - t * TILE),
            )
        j += b
    return 0


cdef inline bint has_tiles(const Job *job) noexcept nogil:
    return job.n >= TILED and not job.lapack.is_complex and not job.params.upper


cdef int cholesky_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Our lower triangle is LAPACK's upper one, and L is its U."""
    cdef int n = job.n, info = 0, upper = job.params.upper, k
    cdef char *a = input(job, 0, i)
    cdef char *y = output(job, 1, i)
    info = check_hermitian(job, a)
    if info != 0:
        return info
    if n <= SMALL and not job.lapack.is_complex:
        if is_single(job):
            return small_cholesky(n, <const float *>a, <float *>y, upper)
        return small_cholesky(n, <const double *>a, <double *>y, upper)
    memcpy(y, a, <size_t>n * n * job.lapack.itemsize)
    if has_tiles(job):
        info = cholesky_by_tiles(job, y, scratch)
    else:
        job.lapack.potrf(b"L" if upper else b"U", &n, y, &n, &info, 1)
    clear_triangle(job, y, not upper)
    for k in range(n if info == 0 else 0):
        if not all_finite(job, y + <int64_t>k * (n + 1) * job.lapack.itemsize, 1):
            return k + 1
    return info


cdef tl_status cholesky(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    if has_tiles(&job):
        job.scratch = TILE * TILE * job.lapack.itemsize
    return run_batch(&job, cholesky_one, 0.34 * job.n * job.n * job.n)


cdef void upper_part(
    const Job *job, char *r, const char *f, int64_t rows
) noexcept nogil:
    """r, row-major, gets the upper triangle of f (n, m); zeros below."""
    cdef int64_t i, n = job.n, size = job.lapack.itemsize
    cdef int64_t kept = min(rows, job.m)
    memset(r + kept * n * size, 0, (rows - kept) * n * size)
    transpose(job, r, n, f, job.m, n, kept)
    for i in range(kept):
        memset(r + i * n * size, 0, min(i, n) * size)


cdef void small_qr_one(
    const Job *job, const real *a, real *r, real *q, int c, int rows
) noexcept nogil:
    """q, where it is wanted, is Q.T."""
    cdef real[SMALL * SMALL] x
    cdef real[SMALL * SMALL] square
    cdef int m = job.m, n = job.n
    memcpy(x, a, m * n * sizeof(real))
    small_qr(m, n, c, x, square if q != NULL else NULL)
    memcpy(r, x, rows * n * sizeof(real))
    if q != NULL:
        transpose(job, q, m, square, c, m, c)


cdef int qr_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Factor a column-major copy; Q leaves as its transpose, which needs no copy."""
    cdef int m = job.m, n = job.n, info = 0, lwork = job.lwork, k = min(m, n)
    cdef const tl_buffer *r = job.call.out[1]
    cdef char *tau = scratch + job.more_at
    cdef char *work = scratch + job.work_at
    cdef int columns = <int>job.call.out[2].shape[1] if job.call.nout > 2 else 0
    cdef char *q = output(job, 2, i) if job.call.nout > 2 else NULL
    if max(m, n) <= SMALL and not job.lapack.is_complex:
        if is_single(job):
            small_qr_one(job, <float *>input(job, 0, i), <float *>output(job, 1, i),
                         <float *>q, columns, <int>r.shape[1])
        else:
            small_qr_one(job, <double *>input(job, 0, i), <double *>output(job, 1, i),
                         <double *>q, columns, <int>r.shape[1])
        return 0
    transpose(job, scratch, m, input(job, 0, i), n, m, n)
    if k <= UNBLOCKED:
        job.lapack.geqr2(&m, &n, scratch, &m, tau, work, &info)
    else:
        job.lapack.geqrf(&m, &n, scratch, &m, tau, work, &lwork, &info)
    upper_part(job, output(job, 1, i), scratch, r.shape[1])
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
    cdef double[2] found
    if call.nout > 2:
        q = <int>call.out[2].shape[1]
    job.lapack.geqrf(&m, &n, NULL, &m, NULL, found, &query, &info)
    job.lwork = max(round_up(&job, found), n, q)
    if call.nout > 2:
        job.lapack.orgqr(&m, &q, &k, NULL, &m, NULL, found, &query, &info)
        job.lwork = max(round_up(&job, found), job.lwork)
    job.more_at = after(0, <int64_t>m * max(n, q) * size)
    job.work_at = after(job.more_at, k * size)
    job.scratch = job.work_at + job.lwork * size
    return run_batch(&job, qr_one, 4.0 * m * n * k)


def register():
    """Fill the rows of this family.

    Examples
    --------
    >>> register()
    """
    register_matrix_kernel("lu_factor", lu_factor)
    register_matrix_kernel("lu", lu)
    register_matrix_kernel("cholesky", cholesky)
    register_matrix_kernel("qr", qr)


use_pool(thread_pool())

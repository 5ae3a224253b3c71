"""Kernels of eigenvalues and singular values."""
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from tensorlib.core.abi cimport tl_call, tl_status
from tensorlib.kernels.lapack cimport (
    NOT_FINITE, Job, after, all_finite, check_hermitian, input, is_single, job_of,
    output, real, register_matrix_kernel, round_up, run_batch, transpose,
)
from tensorlib.kernels.small_spectrum cimport JACOBI, jacobi_eigh, jacobi_svd


# ---- small matrices ----------------------------------------------------------------
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
    cdef int m = job.m, n = job.n, j, k
    cdef bint vectors = job.call.nout > 2
    cdef double eps = 1.2e-7 if is_single(job) else 2.3e-16
    if vectors and job.params.upper and m < n:
        return False
    to_double(job, a, input(job, 0, i), m * n)
    if not jacobi_svd(m, n, a, s, ut if vectors else NULL, eps):
        return False
    from_double(job, output(job, 1, i), s, m)
    if vectors:
        for j in range(m):
            for k in range(m):
                u[j * m + k] = ut[k * m + j]
        from_double(job, output(job, 2, i), u, m * m)
        from_double(job, output(job, 3, i), a, m * n)
    return True


# ---- symmetric and Hermitian matrices ----------------------------------------------
cdef void negate(real *x, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        x[2 * i + 1] = -x[2 * i + 1]


cdef void conjugate(const Job *job, char *x, int64_t n) noexcept nogil:
    if is_single(job):
        negate(<float *>x, n)
    else:
        negate(<double *>x, n)


cdef int eigh_call(
    const Job *job, char *v, char *w, char *work, int lwork, char *rwork, int lrwork,
    int *iwork, int liwork,
) noexcept nogil:
    """Eigenvalues w; v, the matrix, becomes the vectors. Lengths of -1 are queries."""
    cdef int n = job.n, info = 0
    cdef char *jobz = b"V" if job.call.nout > 2 else b"N"
    if job.lapack.is_complex:
        job.lapack.heevd(
            jobz, b"U", &n, v, &n, w, work, &lwork, rwork, &lrwork, iwork, &liwork,
            &info, 1, 1
        )
    else:
        job.lapack.syevd(
            jobz, b"U", &n, v, &n, w, work, &lwork, iwork, &liwork, &info, 1, 1
        )
    return info


cdef inline int eigh_integers(const Job *job) noexcept nogil:
    return 3 + 5 * job.n if job.call.nout > 2 else 1


cdef inline int64_t eigh_reals(const Job *job) noexcept nogil:
    cdef int64_t n = job.n
    if not job.lapack.is_complex:
        return 0
    return 1 + 5 * n + 2 * n * n if job.call.nout > 2 else n


cdef int eigh_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """The columns of LAPACK's eigenvectors are rows of ours: out[2] is V.T.

    What LAPACK sees is the transpose, so the conjugate, as its vectors are of ours.
    """
    cdef int64_t n = job.n
    cdef bint vectors = job.call.nout > 2
    cdef char *a = input(job, 0, i)
    cdef char *v = output(job, 2, i) if vectors else scratch + job.more_at
    cdef int info = check_hermitian(job, a)
    if info != 0:
        return info
    if n <= JACOBI and not job.lapack.is_complex and small_eigh(job, i):
        return 0
    memcpy(v, a, n * n * job.lapack.itemsize)
    info = eigh_call(
        job, v, output(job, 1, i), scratch + job.work_at, job.lwork,
        scratch + job.real_at, <int>eigh_reals(job), <int *>scratch, eigh_integers(job)
    )
    if vectors and job.lapack.is_complex:
        conjugate(job, v, n * n)
    return info


cdef tl_status eigh(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef int64_t n = job.n, size = job.lapack.itemsize
    cdef bint vectors = call.nout > 2
    cdef double[2] found
    cdef double reals
    cdef int integers
    eigh_call(
        &job, NULL, NULL, <char *>found, -1, <char *>&reals, -1, &integers, -1
    )
    job.lwork = round_up(&job, found)
    job.work_at = after(0, (3 + 5 * n) * sizeof(int))
    job.real_at = after(job.work_at, job.lwork * size)
    job.more_at = after(job.real_at, eigh_reals(&job) * job.lapack.real_size)
    job.scratch = job.more_at + (0 if vectors else n * n * size)
    return run_batch(&job, eigh_one, (9.0 if vectors else 1.4) * n * n * n)


# ---- singular values ---------------------------------------------------------------
ctypedef struct SVDCall:
    char *how
    char *a
    char *s
    char *u
    char *vt
    int ldu
    int ldvt
    char *work
    int lwork
    char *rwork
    int *iwork


cdef int by_division(const Job *job, SVDCall *c) noexcept nogil:
    """Divide and conquer; what is the left side for us is the right one for LAPACK."""
    cdef int m = job.m, n = job.n, info = 0
    if job.lapack.is_complex:
        job.lapack.complex_gesdd(
            c.how, &n, &m, c.a, &n, c.s, c.u, &c.ldu, c.vt, &c.ldvt, c.work, &c.lwork,
            c.rwork, c.iwork, &info, 1
        )
    else:
        job.lapack.gesdd(
            c.how, &n, &m, c.a, &n, c.s, c.u, &c.ldu, c.vt, &c.ldvt, c.work, &c.lwork,
            c.iwork, &info, 1
        )
    return info


cdef int by_iteration(const Job *job, SVDCall *c) noexcept nogil:
    """QR's iteration."""
    cdef int m = job.m, n = job.n, info = 0
    if job.lapack.is_complex:
        job.lapack.complex_gesvd(
            c.how, c.how, &n, &m, c.a, &n, c.s, c.u, &c.ldu, c.vt, &c.ldvt, c.work,
            &c.lwork, c.rwork, &info, 1, 1
        )
    else:
        job.lapack.gesvd(
            c.how, c.how, &n, &m, c.a, &n, c.s, c.u, &c.ldu, c.vt, &c.ldvt, c.work,
            &c.lwork, &info, 1, 1
        )
    return info


cdef SVDCall svd_call(const Job *job) noexcept nogil:
    cdef SVDCall c
    cdef bint vectors = job.call.nout > 2
    c.how = b"N"
    c.a = c.s = c.u = c.vt = c.rwork = NULL
    c.iwork = NULL
    c.ldu, c.ldvt = max(job.n, 1), 1
    c.work, c.lwork = NULL, job.lwork
    if vectors:
        c.ldvt = <int>job.call.out[2].shape[2]
        c.how = b"A" if job.params.upper else b"S"
    return c


cdef int svd_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """A.T = conj(V) S U.T: LAPACK's left vectors are our right ones, in their places.
    """
    cdef SVDCall c = svd_call(job)
    cdef int64_t count = <int64_t>job.m * job.n
    cdef char *a = input(job, 0, i)
    cdef int info
    if not all_finite(job, a, count):
        return NOT_FINITE
    if job.m <= job.n <= JACOBI and not job.lapack.is_complex and small_svd(job, i):
        return 0
    c.a, c.s = scratch + job.more_at, output(job, 1, i)
    if job.call.nout > 2:
        c.u, c.vt = output(job, 3, i), output(job, 2, i)
    c.work, c.iwork = scratch + job.work_at, <int *>scratch
    c.rwork = scratch + job.real_at
    memcpy(c.a, a, count * job.lapack.itemsize)
    info = by_division(job, &c)
    if info > 0:
        # Divide and conquer gave up; the iteration by QR converges more often.
        memcpy(c.a, a, count * job.lapack.itemsize)
        info = by_iteration(job, &c)
    return info


cdef inline int64_t svd_reals(const Job *job) noexcept nogil:
    """As LAPACK's documentation of gesdd asks, which is more than gesvd needs."""
    cdef int64_t k = min(job.m, job.n), more = max(job.m, job.n)
    if not job.lapack.is_complex:
        return 0
    return max(5 * k * k + 5 * k, 2 * more * k + 2 * k * k + k) + 7 * k


cdef tl_status svd(const tl_call *call) noexcept nogil:
    """params.upper: all of U and V, rather than min(m, n) columns each."""
    cdef Job job = job_of(call)
    cdef int64_t size = job.lapack.itemsize, m = job.m, n = job.n, k = min(m, n)
    cdef double[2] found
    cdef double[2] reals      # where a query may leave something too
    cdef SVDCall c = svd_call(&job)
    c.work, c.lwork, c.rwork = <char *>found, -1, <char *>reals
    by_division(&job, &c)
    job.lwork = round_up(&job, found)
    by_iteration(&job, &c)
    job.lwork = max(round_up(&job, found), job.lwork)
    job.work_at = after(0, 8 * k * sizeof(int))
    job.real_at = after(job.work_at, job.lwork * size)
    job.more_at = after(job.real_at, svd_reals(&job) * job.lapack.real_size)
    job.scratch = job.more_at + m * n * size
    return run_batch(&job, svd_one, (20.0 if call.nout > 2 else 4.0) * m * n * k)


# ---- eigenvalues of any square matrix ------------------------------------------------
cdef void paired(
    int n, const real *wr, const real *wi, const real *v, real *w, real *vectors
) noexcept nogil:
    """Complex results from geev's: of a conjugate pair, v has the two parts."""
    cdef int64_t i, j = 0
    cdef real sign
    for j in range(n):
        w[2 * j], w[2 * j + 1] = wr[j], wi[j]
    if vectors == NULL:
        return
    for j in range(n):
        sign = 1 if wi[j] > 0 else -1 if wi[j] < 0 else 0
        for i in range(n):
            if sign >= 0:
                vectors[2 * (j * n + i)] = v[j * n + i]
            else:
                vectors[2 * (j * n + i)] = v[(j - 1) * n + i]
            if sign > 0:
                vectors[2 * (j * n + i) + 1] = v[(j + 1) * n + i]
            elif sign < 0:
                vectors[2 * (j * n + i) + 1] = -v[j * n + i]
            else:
                vectors[2 * (j * n + i) + 1] = 0


cdef int real_eig(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Scratch memory: the matrix, vectors, both parts of eigenvalues, workspace."""
    cdef int n = job.n, info = 0, lwork = job.lwork, one = 1
    cdef bint vectors = job.call.nout > 2
    cdef int64_t size = job.lapack.itemsize
    cdef char *v = scratch + job.more_at
    cdef char *wr = scratch + job.real_at
    cdef char *wi = wr + n * size
    cdef char *found = output(job, 2, i) if vectors else NULL
    job.lapack.geev(
        b"N", b"V" if vectors else b"N", &n, scratch, &n, wr, wi, NULL, &one, v, &n,
        scratch + job.work_at, &lwork, &info, 1, 1
    )
    if info != 0:
        return info
    if is_single(job):
        paired(n, <float *>wr, <float *>wi, <float *>v, <float *>output(job, 1, i),
               <float *>found)
    else:
        paired(n, <double *>wr, <double *>wi, <double *>v, <double *>output(job, 1, i),
               <double *>found)
    return 0


cdef int eig_one(const Job *job, int64_t i, char *scratch) noexcept nogil:
    """Eigenvectors of the transpose are others, so LAPACK needs a true transpose.

    Its columns of vectors are our rows: out[2] is V.T.
    """
    cdef int n = job.n, info = 0, lwork = job.lwork, one = 1
    cdef bint vectors = job.call.nout > 2
    cdef char *a = input(job, 0, i)
    if not all_finite(job, a, <int64_t>n * n):
        return NOT_FINITE
    transpose(job, scratch, n, a, n, n, n)
    if not job.lapack.is_complex:
        return real_eig(job, i, scratch)
    job.lapack.complex_geev(
        b"N", b"V" if vectors else b"N", &n, scratch, &n, output(job, 1, i), NULL, &one,
        output(job, 2, i) if vectors else NULL, &n, scratch + job.work_at, &lwork,
        scratch + job.real_at, &info, 1, 1
    )
    return info


cdef tl_status eig(const tl_call *call) noexcept nogil:
    cdef Job job = job_of(call)
    cdef int n = job.n, query = -1, info = 0, one = 1
    cdef bint vectors = call.nout > 2
    cdef char *jobv = b"V" if vectors else b"N"
    cdef int64_t size = job.lapack.itemsize, square = size * n * n
    cdef double[2] found
    cdef double[2] reals      # the query leaves something here too
    if job.lapack.is_complex:
        job.lapack.complex_geev(b"N", jobv, &n, NULL, &n, NULL, NULL, &one, NULL, &n,
                                found, &query, reals, &info, 1, 1)
    else:
        job.lapack.geev(b"N", jobv, &n, NULL, &n, NULL, NULL, NULL, &one, NULL, &n,
                        found, &query, &info, 1, 1)
    job.lwork = round_up(&job, found)
    job.more_at = after(0, square)
    job.real_at = after(job.more_at, square if vectors else 0)
    job.work_at = after(job.real_at, 2 * n * job.lapack.real_size)
    job.scratch = job.work_at + job.lwork * size
    return run_batch(&job, eig_one, (25.0 if vectors else 10.0) * n * n * n)


def register():
    """Fill the rows of this family.

    Examples
    --------
    >>> register()
    """
    register_matrix_kernel("eigh", eigh)
    register_matrix_kernel("svd", svd)
    register_matrix_kernel("eig", eig)

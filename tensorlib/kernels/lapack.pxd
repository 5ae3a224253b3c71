# The parameters of the linear-algebra kernels, which have no place in kernels.h because
# every kernel includes it; LAPACK's functions; and what runs one on a batch.
from libc.stdint cimport int32_t, int64_t
from tensorlib.core.abi cimport tl_call, tl_kernel_fn, tl_status

# A kernel's out[0] is always int32 (B,): for each matrix of the batch 0, LAPACK's
# positive info, or one of these codes. Matrices are row-major and contiguous; batches
# have any stride.
cdef enum:
    NOT_FINITE = -1
    WRONG_PIVOT = -2      # one out of range
    NOT_HERMITIAN = -3

ctypedef fused real:
    float
    double

ctypedef struct tl_matrix_params:
    int32_t upper        # which triangle is read or written
    int32_t left         # solve_triangular: A X = B rather than X A = B
    int32_t transposed   # with the transpose of A
    int32_t unit         # a diagonal of ones that is not read

# Their names lack the dtype's letter; of complex matrices an "or" reads "un", and "sy"
# reads "he". Iterations on complex matrices take memory for real numbers besides.
# Fortran passes pointers, and the lengths of strings at the end.
ctypedef void (*getrf_fn)(
    int *m, int *n, void *a, int *lda, int *ipiv, int *info
) noexcept nogil
ctypedef void (*getri_fn)(
    int *n, void *a, int *lda, int *ipiv, void *work, int *lwork, int *info
) noexcept nogil
ctypedef void (*potrf_fn)(
    char *uplo, int *n, void *a, int *lda, int *info, size_t
) noexcept nogil
ctypedef void (*geqrf_fn)(
    int *m, int *n, void *a, int *lda, void *tau, void *work, int *lwork, int *info
) noexcept nogil
ctypedef void (*orgqr_fn)(
    int *m, int *n, int *k, void *a, int *lda, void *tau, void *work, int *lwork,
    int *info
) noexcept nogil
ctypedef void (*geqr2_fn)(
    int *m, int *n, void *a, int *lda, void *tau, void *work, int *info
) noexcept nogil
ctypedef void (*org2r_fn)(
    int *m, int *n, int *k, void *a, int *lda, void *tau, void *work, int *info
) noexcept nogil
ctypedef void (*syevd_fn)(
    char *jobz, char *uplo, int *n, void *a, int *lda, void *w, void *work, int *lwork,
    int *iwork, int *liwork, int *info, size_t, size_t
) noexcept nogil
ctypedef void (*gesdd_fn)(
    char *jobz, int *m, int *n, void *a, int *lda, void *s, void *u, int *ldu,
    void *vt, int *ldvt, void *work, int *lwork, int *iwork, int *info, size_t
) noexcept nogil
ctypedef void (*gesvd_fn)(
    char *jobu, char *jobvt, int *m, int *n, void *a, int *lda, void *s, void *u,
    int *ldu, void *vt, int *ldvt, void *work, int *lwork, int *info, size_t, size_t
) noexcept nogil
ctypedef void (*heevd_fn)(
    char *jobz, char *uplo, int *n, void *a, int *lda, void *w, void *work, int *lwork,
    void *rwork, int *lrwork, int *iwork, int *liwork, int *info, size_t, size_t
) noexcept nogil
ctypedef void (*complex_gesdd_fn)(
    char *jobz, int *m, int *n, void *a, int *lda, void *s, void *u, int *ldu,
    void *vt, int *ldvt, void *work, int *lwork, void *rwork, int *iwork, int *info,
    size_t
) noexcept nogil
ctypedef void (*complex_gesvd_fn)(
    char *jobu, char *jobvt, int *m, int *n, void *a, int *lda, void *s, void *u,
    int *ldu, void *vt, int *ldvt, void *work, int *lwork, void *rwork, int *info,
    size_t, size_t
) noexcept nogil
ctypedef void (*geev_fn)(
    char *jobvl, char *jobvr, int *n, void *a, int *lda, void *wr, void *wi, void *vl,
    int *ldvl, void *vr, int *ldvr, void *work, int *lwork, int *info, size_t, size_t
) noexcept nogil
ctypedef void (*complex_geev_fn)(
    char *jobvl, char *jobvr, int *n, void *a, int *lda, void *w, void *vl, int *ldvl,
    void *vr, int *ldvr, void *work, int *lwork, void *rwork, int *info, size_t, size_t
) noexcept nogil
ctypedef void (*trsm_fn)(
    char *side, char *uplo, char *transa, char *diag, int *m, int *n, void *alpha,
    void *a, int *lda, void *b, int *ldb, size_t, size_t, size_t, size_t
) noexcept nogil
ctypedef void (*trsv_fn)(
    char *uplo, char *trans, char *diag, int *n, void *a, int *lda, void *x, int *incx,
    size_t, size_t, size_t
) noexcept nogil

ctypedef struct Lapack:
    getrf_fn getrf
    getri_fn getri
    potrf_fn potrf
    geqrf_fn geqrf
    orgqr_fn orgqr
    geqr2_fn geqr2        # the same two, column by column
    org2r_fn org2r
    syevd_fn syevd
    gesdd_fn gesdd
    gesvd_fn gesvd
    geev_fn geev
    heevd_fn heevd        # these four where is_complex, in place of those above
    complex_gesdd_fn complex_gesdd
    complex_gesvd_fn complex_gesvd
    complex_geev_fn complex_geev
    trsm_fn trsm
    trsv_fn trsv
    int itemsize
    int real_size         # bytes of a part of a complex number
    int is_complex
    int is_single         # whether parts are floats
    char one[16]          # 1 in the dtype
    double half_digits    # the square root of its epsilon

# One kernel call: its matrices, and the memory each thread has for them.
ctypedef struct Job:
    const tl_call *call
    const Lapack *lapack
    const tl_matrix_params *params
    const void *plan      # what a kernel has worked out for all its matrices
    int m                 # rows and columns of the first input
    int n
    int lwork             # elements of LAPACK's workspace, and how it is laid out
    int64_t work_at       # bytes: where it begins in a thread's scratch memory
    int64_t more_at       # ... a second one
    int64_t real_at       # ... and one of real numbers
    int64_t scratch       # bytes a thread has

# The work on matrix i; returns LAPACK's info.
ctypedef int (*matrix_fn)(const Job *job, int64_t i, char *scratch) noexcept nogil

cdef Job job_of(const tl_call *call) noexcept nogil
# Run `one`, of so many operations on real numbers, on every matrix.
cdef tl_status run_batch(const Job *job, matrix_fn one, double flops) noexcept nogil
# Matrix i of an operand.
cdef char *input(const Job *job, int which, int64_t i) noexcept nogil
cdef char *output(const Job *job, int which, int64_t i) noexcept nogil
# to[j * ld + i] = source[i * source_ld + j].
cdef void transpose(
    const Job *job, void *to, int64_t ld, const void *source, int64_t source_ld,
    int64_t rows, int64_t columns) noexcept nogil
cdef bint all_finite(const Job *job, const void *x, int64_t n) noexcept nogil
# 0, NOT_FINITE or NOT_HERMITIAN for a square matrix.
cdef int check_hermitian(const Job *job, const void *a) noexcept nogil
# LAPACK's answer to a query for its workspace, a size in the dtype.
cdef int round_up(const Job *job, const void *size) noexcept nogil
# Enter a kernel for float32 and float64, complex64 and complex128.
cdef int register_matrix_kernel(str name, tl_kernel_fn run) except -1


cdef inline bint is_single(const Job *job) noexcept nogil:
    return job.lapack.is_single


cdef inline int64_t after(int64_t at, int64_t bytes) noexcept nogil:
    """Where the next part of scratch memory begins."""
    return (at + bytes + 63) // 64 * 64

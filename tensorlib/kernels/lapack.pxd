# The parameters of the linear-algebra kernels, which have no place in kernels.h because
# every kernel includes it; and LAPACK's functions.
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

# Their names lack the dtype's letter.
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
    trsm_fn trsm
    trsv_fn trsv
    int itemsize
    char one[16]          # 1 in the dtype

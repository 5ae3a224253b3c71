# The CBLAS functions of the BLAS that was loaded at import; sizes are 32-bit.
cdef enum:
    CBLAS_ROW_MAJOR = 101
    CBLAS_NO_TRANS = 111
    CBLAS_TRANS = 112

ctypedef void (*sgemm_fn)(
    int order, int transa, int transb, int m, int n, int k,
    float alpha, const float *a, int lda, const float *b, int ldb,
    float beta, float *c, int ldc,
) noexcept nogil
ctypedef void (*dgemm_fn)(
    int order, int transa, int transb, int m, int n, int k,
    double alpha, const double *a, int lda, const double *b, int ldb,
    double beta, double *c, int ldc,
) noexcept nogil
ctypedef void (*sgemv_fn)(
    int order, int trans, int m, int n,
    float alpha, const float *a, int lda, const float *x, int incx,
    float beta, float *y, int incy,
) noexcept nogil
ctypedef void (*dgemv_fn)(
    int order, int trans, int m, int n,
    double alpha, const double *a, int lda, const double *x, int incx,
    double beta, double *y, int incy,
) noexcept nogil

cdef sgemm_fn blas_sgemm
cdef dgemm_fn blas_dgemm
cdef sgemv_fn blas_sgemv
cdef dgemv_fn blas_dgemv

# Another function of that library, by its name without the wheel's prefix.
cdef void *blas_function(str name) except NULL

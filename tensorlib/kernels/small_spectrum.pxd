# Eigenvalues and singular values of matrices of at most JACOBI rows, in double.
cdef enum:
    JACOBI = 4            # rows; above it LAPACK is as fast

# a, row-major, symmetric by its lower triangle, is destroyed; w ascending, and the
# eigenvectors as rows of v, unless that is NULL. False: it did not converge.
cdef bint jacobi_eigh(int n, double *a, double *w, double *v) noexcept nogil
# The rows of a (m, n), m <= n, become those of Vh; s descending; ut is U.T, or NULL.
# False: it is for LAPACK, being (nearly) singular or of extreme size; a is destroyed.
cdef bint jacobi_svd(
    int m, int n, double *a, double *s, double *ut, double eps) noexcept nogil

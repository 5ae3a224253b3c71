# Factorizations of matrices for which a call of LAPACK costs more than the work.
# All are row-major. Results are LAPACK's info: 0, or the place (from 1) of the failure.

cdef enum:
    SMALL = 16            # rows; above it LAPACK is as fast

ctypedef fused small_real:
    float
    double

# In place: P L U, with row i interchanged with row order[i] (from 1).
cdef int small_lu(int n, small_real *a, int *order) noexcept nogil
# x (n, k) becomes A^-1 x, and a the factors of A.
cdef int small_solve(
    int n, int k, small_real *a, int *order, small_real *x) noexcept nogil
# x becomes A^-1 x, or A^-T x, by the factors.
cdef void small_solve_lu(
    int n, int k, const small_real *lu, const int *order, small_real *x,
    bint adjoint) noexcept nogil
# x (m, n) becomes R, zeros below; q (m, c) the first c columns of Q, c >= min(m, n).
# None of m, n and c is above SMALL. q may be NULL.
cdef void small_qr(
    int m, int n, int c, small_real *x, small_real *q) noexcept nogil
cdef int small_inv(int n, const small_real *a, small_real *y) noexcept nogil
# y: L of L L.T from the lower triangle of a, or U of U.T U from the upper one.
cdef int small_cholesky(
    int n, const small_real *a, small_real *y, bint upper) noexcept nogil

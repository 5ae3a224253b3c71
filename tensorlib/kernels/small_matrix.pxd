# Factorizations of matrices for which a call of LAPACK costs more than the work.
# All are row-major. Results are LAPACK's info: 0, or the place (from 1) of the failure.

from libc.stdint cimport int64_t

cdef enum:
    SMALL = 16            # rows; above it LAPACK is as fast

ctypedef float complex float_complex
ctypedef double complex double_complex

ctypedef fused small_real:
    float
    double

ctypedef fused small_number:
    float
    double
    float_complex
    double_complex

# A triangular system A X = B, X (n, k); strides are in elements.
ctypedef struct Substitution:
    int n
    int k
    int64_t row           # of A: from a row to the next one, and along a row
    int64_t col
    int64_t x_row         # the same of X
    int64_t x_col
    bint upper
    bint unit             # the diagonal is ones, and is not read

# In place: P L U, with row i interchanged with row order[i] (from 1).
cdef int small_lu(int n, small_real *a, int *order) noexcept nogil
# The factors of a (m, n), column after column; neither m nor n is above SMALL.
cdef void small_lu_factor(
    int m, int n, const small_number *a, small_number *lu, int *order) noexcept nogil
# The same apart, row after row: P (m, m), L (m, k) and U (k, n), k being min(m, n).
cdef void small_lu_parts(
    int m, int n, const small_number *a, small_number *p, small_number *lower,
    small_number *upper) noexcept nogil
# x, B before, becomes X; n is not above SMALL.
cdef void small_substitution(
    const Substitution *s, const small_number *a, small_number *x) noexcept nogil
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

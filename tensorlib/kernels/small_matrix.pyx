"""Loops for matrices of a few rows: elimination, substitution, Cholesky, QR.

The loops are those of the textbooks, with partial pivoting. For real matrices, sizes 2
to 4, of which batches hold most, are compiled once each with the size as a constant.

References
----------
G. H. Golub, C. F. Van Loan, "Matrix Computations", 4th ed., Johns Hopkins 2013,
algorithms 3.1.1 to 3.1.4, 3.4.1, 4.2.1 and 5.2.1.
"""
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdint cimport int64_t


cdef inline double magnitude(small_number x) noexcept nogil:
    """What pivots are compared by: of complex numbers |re| + |im|, as in LAPACK."""
    if small_number is float or small_number is double:
        return fabs(x)
    else:
        return fabs(x.real) + fabs(x.imag)


cdef inline int lu(int m, int n, small_number *a, int *order) noexcept nogil:
    cdef int i, j, k, pivot, info = 0
    cdef double best
    cdef small_number held, factor
    for k in range(min(m, n)):
        pivot, best = k, magnitude(a[k * n + k])
        for i in range(k + 1, m):
            # NaN counts as largest, so that it reaches the result.
            if not magnitude(a[i * n + k]) <= best:
                pivot, best = i, magnitude(a[i * n + k])
        order[k] = pivot + 1
        if best == 0:
            if info == 0:
                info = k + 1
            continue
        if pivot != k:
            for j in range(n):
                held = a[k * n + j]
                a[k * n + j] = a[pivot * n + j]
                a[pivot * n + j] = held
        for i in range(k + 1, m):
            factor = a[i * n + k] / a[k * n + k]
            a[i * n + k] = factor
            for j in range(k + 1, n):
                a[i * n + j] = a[i * n + j] - factor * a[k * n + j]
    return info


cdef inline void subtract_row(
    small_real *x, const small_real *y, small_real factor, int k
) noexcept nogil:
    cdef int j
    for j in range(k):
        x[j] -= factor * y[j]


cdef inline void divide_row(small_real *x, small_real divisor, int k) noexcept nogil:
    cdef int j
    for j in range(k):
        x[j] /= divisor


cdef inline void swap_row(small_real *x, small_real *y, int k) noexcept nogil:
    cdef int j
    cdef small_real held
    for j in range(k):
        held = x[j]
        x[j] = y[j]
        y[j] = held


cdef inline void forward_and_back(
    int n, int k, const small_real *a, const int *order, small_real *x
) noexcept nogil:
    cdef int i, j
    for i in range(n):
        if order[i] != i + 1:
            swap_row(x + i * k, x + (order[i] - 1) * k, k)
    for i in range(1, n):
        for j in range(i):
            subtract_row(x + i * k, x + j * k, a[i * n + j], k)
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            subtract_row(x + i * k, x + j * k, a[i * n + j], k)
        divide_row(x + i * k, a[i * n + i], k)


cdef inline void adjoint_solution(
    int n, int k, const small_real *a, const int *order, small_real *x
) noexcept nogil:
    """U.T L.T P.T x = b."""
    cdef int i, j
    for i in range(n):
        for j in range(i):
            subtract_row(x + i * k, x + j * k, a[j * n + i], k)
        divide_row(x + i * k, a[i * n + i], k)
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            subtract_row(x + i * k, x + j * k, a[j * n + i], k)
    for i in range(n - 1, -1, -1):
        if order[i] != i + 1:
            swap_row(x + i * k, x + (order[i] - 1) * k, k)


cdef int eliminate(int m, int n, small_number *a, int *order) noexcept nogil:
    """As `lu`; complex matrices have no copies of their own of each size."""
    if small_number is float or small_number is double:
        if m == n == 2:
            return lu(2, 2, a, order)
        if m == n == 3:
            return lu(3, 3, a, order)
        if m == n == 4:
            return lu(4, 4, a, order)
    return lu(m, n, a, order)


cdef int small_lu(int n, small_real *a, int *order) noexcept nogil:
    return eliminate(n, n, a, order)


cdef void small_lu_factor(
    int m, int n, const small_number *a, small_number *lu, int *order
) noexcept nogil:
    """Eliminate in a copy by rows; what leaves is its transpose."""
    cdef small_number[SMALL * SMALL] x
    cdef int i, j
    for i in range(m * n):
        x[i] = a[i]
    eliminate(m, n, x, order)
    for j in range(n):
        for i in range(m):
            lu[j * m + i] = x[i * n + j]


cdef void small_lu_parts(
    int m, int n, const small_number *a, small_number *p, small_number *lower,
    small_number *upper
) noexcept nogil:
    cdef small_number[SMALL * SMALL] x
    cdef int[SMALL] order
    cdef int[SMALL] source      # of each row of L U, the row of A
    cdef int i, j, k = min(m, n)
    for i in range(m * n):
        x[i] = a[i]
    eliminate(m, n, x, order)
    for i in range(m):
        source[i] = i
    for i in range(m * m):
        p[i] = 0
    for i in range(k):
        j = order[i] - 1
        source[i], source[j] = source[j], source[i]
    for i in range(m):
        p[source[i] * m + i] = 1
        for j in range(k):
            lower[i * k + j] = x[i * n + j] if j < i else 1 if j == i else 0
    for i in range(k):
        for j in range(n):
            upper[i * n + j] = x[i * n + j] if j >= i else 0


cdef inline void substitute_vector(
    int n, const Substitution *s, const small_number *a, small_number *x
) noexcept nogil:
    """By columns of A, whose updates of x do not wait for each other.

    Each step's division waits for the one before it: what it divides stays in a
    register. An upper triangle is a lower one whose strides are negative.
    """
    cdef int64_t row = s.row, col = s.col, x_row = s.x_row
    cdef small_number[SMALL] y
    cdef small_number value
    cdef int i, j
    if s.upper:
        a, x = a + (n - 1) * (row + col), x + (n - 1) * x_row
        row, col, x_row = -row, -col, -x_row
    for i in range(n):
        y[i] = x[i * x_row]
    value = y[0]
    for j in range(n):
        if not s.unit:
            value = value / a[j * (row + col)]
        x[j * x_row] = value
        for i in range(j + 2, n):
            y[i] = y[i] - a[i * row + j * col] * value
        if j + 1 < n:
            value = y[j + 1] - a[(j + 1) * row + j * col] * value


cdef inline void substitute_rows(
    const Substitution *s, int64_t x_col, const small_number *a, small_number *x
) noexcept nogil:
    """By rows of X."""
    cdef int64_t row = s.row, col = s.col, x_row = s.x_row
    cdef small_number factor
    cdef int n = s.n, k = s.k, i, j, r
    if s.upper:
        a, x = a + (n - 1) * (row + col), x + (n - 1) * x_row
        row, col, x_row = -row, -col, -x_row
    for i in range(n):
        for j in range(i):
            factor = a[i * row + j * col]
            for r in range(k):
                x[i * x_row + r * x_col] = (
                    x[i * x_row + r * x_col] - factor * x[j * x_row + r * x_col]
                )
        if not s.unit:
            factor = a[i * (row + col)]
            for r in range(k):
                x[i * x_row + r * x_col] = x[i * x_row + r * x_col] / factor


cdef void small_substitution(
    const Substitution *s, const small_number *a, small_number *x
) noexcept nogil:
    if s.k > 1:
        if small_number is float or small_number is double:
            if s.x_col == 1:
                substitute_rows(s, 1, a, x)
                return
        substitute_rows(s, s.x_col, a, x)
        return
    if small_number is float or small_number is double:
        if s.n == 2:
            substitute_vector(2, s, a, x)
            return
        if s.n == 4:
            substitute_vector(4, s, a, x)
            return
    substitute_vector(s.n, s, a, x)


cdef int small_solve(
    int n, int k, small_real *a, int *order, small_real *x
) noexcept nogil:
    cdef int info = small_lu(n, a, order)
    if info == 0:
        small_solve_lu(n, k, a, order, x, False)
    return info


cdef void small_solve_lu(
    int n, int k, const small_real *a, const int *order, small_real *x,
    bint adjoint,
) noexcept nogil:
    if adjoint:
        adjoint_solution(n, k, a, order, x)
    elif k == 1:
        forward_and_back(n, 1, a, order, x)
    else:
        forward_and_back(n, k, a, order, x)


cdef inline int inverse(int n, const small_real *a, small_real *y) noexcept nogil:
    cdef small_real[SMALL * SMALL] work
    cdef int[SMALL] order
    cdef int i, info
    for i in range(n * n):
        work[i] = a[i]
        y[i] = 0
    for i in range(n):
        y[i * (n + 1)] = 1
    info = lu(n, n, work, order)
    if info == 0:
        forward_and_back(n, n, work, order, y)
    return info


cdef int small_inv(int n, const small_real *a, small_real *y) noexcept nogil:
    if n == 2:
        return inverse(2, a, y)
    if n == 3:
        return inverse(3, a, y)
    if n == 4:
        return inverse(4, a, y)
    return inverse(n, a, y)


cdef inline int cholesky(
    int n, const small_real *a, small_real *y, bint upper
) noexcept nogil:
    """By rows of L; the strides say which triangle is read and written."""
    cdef int down = 1 if upper else n, across = n if upper else 1
    cdef int i, j, k
    cdef small_real x
    for i in range(n):
        for j in range(i + 1):
            x = a[i * down + j * across]
            for k in range(j):
                x -= y[i * down + k * across] * y[j * down + k * across]
            if i > j:
                y[i * down + j * across] = x / y[j * down + j * across]
                y[j * down + i * across] = 0
            elif x > 0 and x < <small_real>INFINITY:
                y[i * (n + 1)] = sqrt(x)
            else:
                return i + 1
    return 0


cdef int small_cholesky(
    int n, const small_real *a, small_real *y, bint upper
) noexcept nogil:
    if n == 2:
        return cholesky(2, a, y, upper)
    if n == 3:
        return cholesky(3, a, y, upper)
    if n == 4:
        return cholesky(4, a, y, upper)
    return cholesky(n, a, y, upper)


cdef double reflector(int m, int step, small_real *x) noexcept nogil:
    """Householder's vector for x, with a first element of 1, below beta; returns tau.

    (I - tau v v.T) x = beta e1, with the sign opposite to that of x[0], as in LAPACK.
    """
    cdef int i
    cdef double size = 0, squares = 0, alpha = x[0], beta, scale = 1
    for i in range(1, m):
        size = max(size, fabs(<double>x[i * step]))
        squares += <double>x[i * step] * <double>x[i * step]
    if size == 0 and squares == 0:
        return 0
    if not 1e-140 < size < 1e140 or fabs(alpha) > 1e140:
        scale, squares = max(size, fabs(alpha)), 0
        for i in range(1, m):
            squares += (x[i * step] / scale) * (x[i * step] / scale)
        alpha /= scale
    beta = sqrt(alpha * alpha + squares)
    if alpha > 0:
        beta = -beta
    for i in range(1, m):
        x[i * step] = <small_real>((x[i * step] / scale) / (alpha - beta))
    x[0] = <small_real>(beta * scale)
    return (beta - alpha) / beta


cdef inline void reflect(
    int m, int n, double tau, const small_real *v, int step, small_real *x, int ld
) noexcept nogil:
    """x (m, n) becomes (I - tau v v.T) x, v[0] being 1."""
    cdef small_real[SMALL] w
    cdef int i, j
    for j in range(n):
        w[j] = x[j]
    for i in range(1, m):
        for j in range(n):
            w[j] += v[i * step] * x[i * ld + j]
    for j in range(n):
        w[j] *= <small_real>tau
        x[j] -= w[j]
    for i in range(1, m):
        for j in range(n):
            x[i * ld + j] -= v[i * step] * w[j]


cdef void small_qr(
    int m, int n, int c, small_real *x, small_real *q
) noexcept nogil:
    cdef double[SMALL] tau
    cdef int i, j, k = min(m, n)
    for i in range(k):
        tau[i] = reflector(m - i, n, x + i * n + i)
        reflect(m - i, n - i - 1, tau[i], x + i * n + i, n, x + i * n + i + 1, n)
    if q != NULL:
        for i in range(m):
            for j in range(c):
                q[i * c + j] = i == j
        for i in range(k - 1, -1, -1):
            reflect(m - i, c - i, tau[i], x + i * n + i, n, q + i * c + i, c)
    for i in range(m):
        for j in range(min(i, n)):
            x[i * n + j] = 0

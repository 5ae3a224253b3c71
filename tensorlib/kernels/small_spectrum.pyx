"""Jacobi's methods: rotations of two rows until all are orthogonal, or diagonal.

For a few rows they take a handful of sweeps and are more accurate than tridiagonal or
bidiagonal reduction; float32 is computed in double.

References
----------
G. H. Golub, C. F. Van Loan, "Matrix Computations", 4th ed., Johns Hopkins 2013,
sections 8.5 (two-sided, symmetric) and 8.6.3 (one-sided, singular values).
"""
from libc.math cimport fabs, sqrt

cdef enum:
    SWEEPS = 30           # convergence is quadratic: five or six are common


cdef inline double tangent(double zeta) noexcept nogil:
    """The smaller root of t^2 + 2 zeta t - 1."""
    if fabs(zeta) > 1e150:
        return 0.5 / zeta
    if zeta < 0:
        return -1.0 / (sqrt(1.0 + zeta * zeta) - zeta)
    return 1.0 / (sqrt(1.0 + zeta * zeta) + zeta)


cdef inline void rotate(
    double *x, double *y, int n, int step, double c, double s
) noexcept nogil:
    cdef int i
    cdef double a, b
    for i in range(n):
        a, b = x[i * step], y[i * step]
        x[i * step] = c * a - s * b
        y[i * step] = s * a + c * b


cdef inline void swap(double *x, double *y, int n) noexcept nogil:
    cdef int i
    cdef double held
    for i in range(n):
        held = x[i]
        x[i] = y[i]
        y[i] = held


cdef bint sweep(int n, double *a, double *v) noexcept nogil:
    """Rotate every pair once; whether none needed it."""
    cdef int p, q
    cdef double off, t, c
    cdef bint done = True
    for p in range(n):
        for q in range(p + 1, n):
            off = a[q * n + p]
            # Below half an ulp of both, it does not change them.
            if (
                fabs(a[p * n + p]) + fabs(off) == fabs(a[p * n + p])
                and fabs(a[q * n + q]) + fabs(off) == fabs(a[q * n + q])
            ):
                a[q * n + p] = a[p * n + q] = 0
                continue
            done = False
            t = tangent((a[q * n + q] - a[p * n + p]) / (2 * off))
            c = 1.0 / sqrt(1.0 + t * t)
            rotate(a + p * n, a + q * n, n, 1, c, c * t)
            rotate(a + p, a + q, n, n, c, c * t)
            if v != NULL:
                rotate(v + p * n, v + q * n, n, 1, c, c * t)
    return done


cdef bint jacobi_eigh(int n, double *a, double *w, double *v) noexcept nogil:
    cdef int i, j, least, count = 0
    for i in range(n):
        for j in range(n):
            if v != NULL:
                v[i * n + j] = i == j
            if j > i:
                a[i * n + j] = a[j * n + i]
    while not sweep(n, a, v):
        count += 1
        if count == SWEEPS:
            return False
    for i in range(n):
        w[i] = a[i * (n + 1)]
    for i in range(n - 1):
        least = i
        for j in range(i + 1, n):
            if w[j] < w[least]:
                least = j
        if least != i:
            swap(w + i, w + least, 1)
            if v != NULL:
                swap(v + i * n, v + least * n, n)
    return True


cdef inline double dot(const double *x, const double *y, int n) noexcept nogil:
    cdef int i
    cdef double found = 0
    for i in range(n):
        found += x[i] * y[i]
    return found


cdef bint orthogonalize(int m, int n, double *a, double *ut) noexcept nogil:
    """Rotate every pair of rows once; whether none needed it."""
    cdef int p, q
    cdef double xx, yy, xy, t, c
    cdef bint done = True
    for p in range(m):
        for q in range(p + 1, m):
            xy = dot(a + p * n, a + q * n, n)
            xx, yy = dot(a + p * n, a + p * n, n), dot(a + q * n, a + q * n, n)
            if fabs(xy) <= 2.3e-16 * sqrt(xx * yy):
                continue
            done = False
            t = tangent((yy - xx) / (2 * xy))
            c = 1.0 / sqrt(1.0 + t * t)
            rotate(a + p * n, a + q * n, n, 1, c, c * t)
            if ut != NULL:
                rotate(ut + p * m, ut + q * m, m, 1, c, c * t)
    return done


cdef bint jacobi_svd(
    int m, int n, double *a, double *s, double *ut, double eps
) noexcept nogil:
    cdef int i, j, most, count = 0
    cdef double size = 0
    for i in range(m * n):
        size = max(size, fabs(a[i]))
    if not 1e-70 < size < 1e70:       # squares of products must not overflow
        return False
    if ut != NULL:
        for i in range(m * m):
            ut[i] = i % (m + 1) == 0
    while not orthogonalize(m, n, a, ut):
        count += 1
        if count == SWEEPS:
            return False
    for i in range(m):
        s[i] = sqrt(dot(a + i * n, a + i * n, n))
    for i in range(m):
        most = i
        for j in range(i + 1, m):
            if s[j] > s[most]:
                most = j
        if most != i:
            swap(s + i, s + most, 1)
            swap(a + i * n, a + most * n, n)
            if ut != NULL:
                swap(ut + i * m, ut + most * m, m)
    # Directions of vanishing rows are noise.
    if s[m - 1] <= 100 * eps * s[0]:
        return False
    for i in range(m):
        for j in range(n):
            a[i * n + j] /= s[i]
    return True

"""Cholesky, QR and LU factorizations.

References
----------
M. B. Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation", Springer 2008. I. Murray, "Differentiation of the Cholesky
decomposition", arXiv:1602.07527 (2016). S. F. Walter, L. Lehmann, "Algorithmic
differentiation of linear algebra functions with application in optimum experimental
design", arXiv:1001.1654 (2010), for QR.
"""

from collections import namedtuple

from tensorlib.core.errors import GraphError
from tensorlib.core.naming import own_errors
from tensorlib.linalg.arguments import (
    adjoint,
    flat,
    fresh,
    matrices_of,
    real_diagonal,
    stacked,
    unstacked,
)
from tensorlib.linalg.matrix_op import MatrixOp, permutation
from tensorlib.linalg.solving import triangular_stack
from tensorlib.ops.complex import conj
from tensorlib.ops.creation import arange, eye, ones
from tensorlib.ops.creation import zeros as zeros_of
from tensorlib.ops.diagonals import tril, triu
from tensorlib.ops.elementwise import astype
from tensorlib.ops.joining import concat
from tensorlib.ops.linalg import matmul
from tensorlib.ops.shape import expand_dims, matrix_transpose, reshape

__all__ = [
    "LUFactors",
    "LUResult",
    "QRResult",
    "cholesky",
    "lu",
    "lu_factor",
    "qr",
    "thin_qr",
]

QRResult = namedtuple("QRResult", ("Q", "R"))
LUFactors = namedtuple("LUFactors", ("LU", "pivots"))
LUResult = namedtuple("LUResult", ("P", "L", "U"))


# ---- Cholesky --------------------------------------------------------------------
class Cholesky(MatrixOp):
    """A = L L^H. dL = L phi(L^-1 dA L^-H), phi: the lower half with half the diagonal.

    params: whether the output is L^H. The gradient is Hermitian.
    """

    reads_output = True
    expected = "a positive definite matrix"
    found = "one whose leading minor of order {} is not positive"

    def pullback(self, upper, g, needs, out, saved):
        lower = adjoint(out).contiguous() if upper else out
        g = adjoint(g) if upper else g
        p = _phi(matmul(adjoint(lower), g))
        s = triangular_stack(conj(lower), p, False, True, True)
        s = triangular_stack(lower, s, False, False)
        return (0.5 * (s + adjoint(s)),)

    def pushforward(self, upper, tangents, out, saved):
        lower = adjoint(out).contiguous() if upper else out
        da = 0.5 * (tangents[0] + adjoint(tangents[0]))
        p = triangular_stack(lower, da, False)
        p = triangular_stack(conj(lower), p, False, False, True)
        d = matmul(lower, _phi(p))
        return adjoint(d) if upper else d


_cholesky = Cholesky("cholesky")


def _phi(x):
    n = x.shape[-1]
    how = {"dtype": x.dtype, "device": x.device}
    half = tril(ones((n, n), **how)) - 0.5 * eye(n, **how)
    return tril(x) * half


@own_errors
def cholesky(x, /, *, upper=False):
    """Return the Cholesky factors of symmetric or Hermitian positive definite matrices.

    ``x = L @ conj(L.mT)`` with a lower triangular L, or ``x = conj(U.mT) @ U``.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
        Of a floating or complex dtype. Where its triangles differ by roundings, the
        one that is asked for counts.
    upper : bool, default False
        Return U rather than L.

    Returns
    -------
    Tensor of shape (..., N, N)
        The other triangle is 0.

    Raises
    ------
    LinAlgError
        If a matrix is not positive definite; the message says at which leading minor.
        If it is not symmetric (Hermitian, if complex): an element and its mirror image
        differ by more than ``sqrt(eps)`` times the largest element. If it holds NaN or
        infinity.
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.

    Notes
    -----
    The gradient is Hermitian: it is that of moving along Hermitian matrices.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.cholesky(tl.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    x = matrices_of("cholesky", x, square=True)
    a, upper, batch = stacked(x), bool(upper), x.shape[:-2]
    y = fresh(a, *a.shape)
    _cholesky.execute((y,), (a,), batch, upper=upper)
    return unstacked(_cholesky.recorded(y, (a,), (), upper), batch)


# ---- QR --------------------------------------------------------------------------
class QR(MatrixOp):
    """The packed result is Q.T and R, one after the other in each row (B, ...).

    params: (M, N, columns of Q). saved: nothing but the output.
    """

    reads_output = True

    def unpacked(self, params, x):
        m, n, k = params
        q = matrix_transpose(reshape(x[:, : k * m], (x.shape[0], k, m)))
        return q, reshape(x[:, k * m :], (x.shape[0], k, n))

    def packed(self, q, r):
        return concat((flat(matrix_transpose(q)), flat(r)), axis=1)

    def check(self, params):
        m, n, k = params
        if k > n:
            raise GraphError(
                f"qr: mode='complete' has no derivative for matrices of more rows than "
                f"columns, got {m} x {n}; use mode='reduced'"
            )

    def pullback(self, params, g, needs, out, saved):
        self.check(params)
        k = params[2]
        q, r = self.unpacked(params, out)
        gq, gr = self.unpacked(params, g)
        if params[1] == k:
            return (_qr_pullback(q, r, gq, gr),)
        # Columns beyond the first k: A2 = Q R2.
        gq = gq + matmul(_after(q, r, k), adjoint(gr[:, :, k:]))
        first = _qr_pullback(q, r[:, :, :k], gq, gr[:, :, :k])
        return (concat((first, matmul(q, gr[:, :, k:])), axis=2),)

    def pushforward(self, params, tangents, out, saved):
        self.check(params)
        k = params[2]
        q, r = self.unpacked(params, out)
        da = tangents[0]
        dq, dr = _qr_pushforward(q, r[:, :, :k], da[:, :, :k])
        if params[1] != k:
            more = matmul(adjoint(dq), _after(q, r, k))
            more = more + matmul(adjoint(q), da[:, :, k:])
            dr = concat((dr, more), axis=2)
        return self.packed(dq, dr)


def _after(q, r, k):
    return matmul(q, r[:, :, k:])


def _qr_pullback(q, r, gq, gr):
    """(gQ + Q sym(upper(gR R^H - Q^H gQ))) R^-H, sym mirroring the upper triangle.

    The diagonal of R is real, so that of what sym makes is too.
    """
    m = matmul(gr, adjoint(r)) - matmul(adjoint(q), gq)
    mirrored = real_diagonal(triu(m)) + adjoint(triu(m, k=1))
    s = gq + matmul(q, mirrored)
    return triangular_stack(conj(r).contiguous(), s.contiguous(), True, False, True)


def _qr_pushforward(q, r, da):
    x = triangular_stack(r.contiguous(), da.contiguous(), True, False)
    c = matmul(adjoint(q), x)
    below = tril(c, k=-1)
    # Upper, its diagonal real: c = omega + turn, and omega is skew-Hermitian.
    turn = real_diagonal(c - (below - adjoint(below)))
    return x - matmul(q, turn), matmul(turn, r)


_qr = QR("qr")


@own_errors
def qr(x, /, *, mode="reduced"):
    """Return QR factorizations: ``x = Q @ R``, Q orthonormal and R upper triangular.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
        Of a floating or complex dtype.
    mode : {"reduced", "complete", "r"}, default "reduced"
        Whether Q has K = min(M, N) columns or M; "r" computes R alone.

    Returns
    -------
    QRResult
        A named tuple: ``Q`` of shape (..., M, K) and ``R`` of shape (..., K, N), or
        (..., M, M) and (..., M, N). With mode "r", Q is empty, of shape (0,).

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.
    DTypeError
        If the dtype is neither floating nor complex.
    ValueError
        If the mode is another one.
    GraphError
        From the gradient, if the mode is "complete" and M > N.
    LinAlgError
        From the gradient, if the first K columns are linearly dependent.

    Notes
    -----
    By Householder reflections; R's diagonal is real, and may be negative.

    Examples
    --------
    >>> import tensorlib as tl
    >>> q, r = tl.linalg.qr(tl.tensor([[3.0], [4.0]]))
    >>> (q @ r).shape, tl.allclose(tl.abs(r), tl.tensor([[5.0]]))
    ((2, 1), True)
    """
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(
            f"qr: expected mode 'reduced', 'complete' or 'r', got {mode!r}"
        )
    x = matrices_of("qr", x)
    a, (m, n), batch = stacked(x), x.shape[-2:], x.shape[:-2]
    k = m if mode == "complete" else min(m, n)
    if _qr.is_tracked((a,)):
        q, r = _tracked_qr(a, m, n, k)
    else:
        q, r = _plain_qr(a, m, n, k, mode)
    r = unstacked(r, batch)
    return QRResult(fresh(a, 0) if mode == "r" else unstacked(q, batch), r)


def _plain_qr(a, m, n, k, mode):
    r = fresh(a, a.shape[0], k, n)
    if mode == "r":
        _qr.execute((r,), (a,), ())
        return None, r
    q = _first_q(a, m, n, k)
    _qr.execute((r, q), (a,), ())
    return matrix_transpose(q), r


def thin_qr(a):
    """Return Q (B, M, K) and R (B, K, N) of contiguous matrices, outside the graph."""
    _, m, n = a.shape
    return _plain_qr(a, m, n, min(m, n), "reduced")


def only_r(a):
    """Return R (B, K, N) of contiguous matrices (B, M, N), outside the graph."""
    _, m, n = a.shape
    return _plain_qr(a, m, n, min(m, n), "r")[1]


def _first_q(a, m, n, k):
    """Memory for Q.T; of matrices without columns, Q is the identity."""
    if n:
        return fresh(a, a.shape[0], k, m)
    how = {"dtype": a.dtype, "device": a.device}
    return zeros_of((a.shape[0], k, m), **how) + eye(k, m, **how)


def _tracked_qr(a, m, n, k):
    b = a.shape[0]
    packed = fresh(a, b, k * (m + n))
    if not n:
        packed[:] = reshape(_first_q(a, m, n, k), (b, k * m))
    q = reshape(packed[:, : k * m], (b, k, m))
    _qr.execute((reshape(packed[:, k * m :], (b, k, n)), q), (a,), ())
    packed = _qr.recorded(packed, (a,), (), (m, n, k))
    return _qr.unpacked((m, n, k), packed)


# ---- LU --------------------------------------------------------------------------
class LUFactor(MatrixOp):
    """The output is the transpose of L and U in one matrix; saved: P.

    With K = L1^-1 (P.T dA)1 U1^-1 of the leading square: dL1 = L1 lower(K),
    dU1 = upper(K) U1, and what is beyond follows from the product.
    """

    is_analytic = True
    reads_output = True

    def pullback(self, params, g, needs, out, saved):
        (p,) = saved
        lower, upper, k = _parts(matrix_transpose(out))
        gl, gu, _ = _parts(matrix_transpose(g), unit=False)
        l1, u1 = lower[:, :k].contiguous(), upper[:, :, :k].contiguous()
        down = matmul(matrix_transpose(l1), gl[:, :k])
        across = matmul(gu[:, :, :k], matrix_transpose(u1))
        if upper.shape[2] > k:
            down = down - matmul(gu[:, :, k:], matrix_transpose(upper[:, :, k:]))
        if lower.shape[1] > k:
            across = across - matmul(matrix_transpose(lower[:, k:]), gl[:, k:])
        s = tril(down, k=-1) + triu(across)
        s = triangular_stack(l1, s, False, True, True, True)
        s = triangular_stack(u1, s, True, False, True)
        if upper.shape[2] > k:
            more = triangular_stack(
                l1, gu[:, :, k:].contiguous(), False, True, True, True
            )
            s = concat((s, more), axis=2)
        if lower.shape[1] > k:
            more = triangular_stack(u1, gl[:, k:].contiguous(), True, False, True)
            s = concat((s, more), axis=1)
        return (matmul(p, s),)

    def pushforward(self, params, tangents, out, saved):
        (p,) = saved
        lower, upper, k = _parts(matrix_transpose(out))
        l1, u1 = lower[:, :k].contiguous(), upper[:, :, :k].contiguous()
        da = matmul(matrix_transpose(p), tangents[0])
        left = triangular_stack(l1, da[:, :k].contiguous(), False, unit=True)
        middle = triangular_stack(u1, left[:, :, :k].contiguous(), True, False)
        down, across = tril(middle, k=-1), triu(middle)
        d = matmul(l1, down) + matmul(across, u1)
        if upper.shape[2] > k:
            more = left[:, :, k:] - matmul(down, upper[:, :, k:])
            d = concat((d, more), axis=2)
        if lower.shape[1] > k:
            more = triangular_stack(u1, da[:, k:].contiguous(), True, False)
            d = concat((d, more - matmul(lower[:, k:], across)), axis=1)
        return matrix_transpose(d)


_lu_factor = LUFactor("lu_factor")
_lu = MatrixOp("lu")


def _parts(packed, unit=True):
    """L (B, M, K) and U (B, K, N) in one matrix (B, M, N), taken apart; and K."""
    k = min(packed.shape[1:])
    lower, upper = tril(packed[:, :, :k], k=-1), triu(packed[:, :k])
    if unit:
        lower = lower + eye(
            packed.shape[1], k, dtype=packed.dtype, device=packed.device
        )
    return lower, upper, k


def _factored(a):
    """L and U in one stack, and the pivots."""
    b, m, n = a.shape
    transpose = fresh(a, b, n, m)
    pivots = fresh(a, b, min(m, n), dtype="int32")
    _lu_factor.execute((transpose, pivots), (a,), ())
    if _lu_factor.is_tracked((a,)):
        p = _permutation_matrix(pivots, m, a.dtype)
        transpose = _lu_factor.recorded(transpose, (a,), (p,))
    return matrix_transpose(transpose), pivots


def _plain_lu(a, m, n):
    """P, L and U of matrices (B, M, N) outside the graph."""
    b, k = a.shape[0], min(m, n)
    p, lower, upper = fresh(a, b, m, m), fresh(a, b, m, k), fresh(a, b, k, n)
    _lu.execute((p, lower, upper), (a,), ())
    return p, lower, upper


def _permutation_matrix(pivots, m, dtype):
    order = permutation(pivots, m)
    rows = expand_dims(arange(m, device=order.device), axis=1)
    return astype(expand_dims(order, axis=1) == rows, dtype)


@own_errors
def lu_factor(A, /, *, pivot=True):  # noqa: N803
    """Return LU factorizations in the compact form that `lu_solve` takes.

    Parameters
    ----------
    A : Tensor of shape (..., M, N)
        Of a floating or complex dtype.
    pivot : bool, default True
        Only True: elimination without pivoting is not stable.

    Returns
    -------
    LUFactors
        A named tuple: ``LU`` of shape (..., M, N), U in its upper triangle and L,
        whose diagonal is ones, below; ``pivots`` of shape (..., K), int32: row i was
        interchanged with row ``pivots[i]``, counted from 1, in turn.

    Raises
    ------
    ShapeError
        If `A` has fewer than two dimensions.
    DTypeError
        If the dtype is neither floating nor complex.
    ValueError
        If `pivot` is False.
    LinAlgError
        From the gradient, if the leading square of U is singular.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.lu_factor(tl.tensor([[1.0, 2.0], [2.0, 6.0]])).pivots
    tensor([2, 2], dtype=int32)
    """
    x = _pivoted("lu_factor", A, pivot)
    packed, pivots = _factored(stacked(x))
    batch = x.shape[:-2]
    return LUFactors(
        unstacked(packed, batch), reshape(pivots, (*batch, pivots.shape[1]))
    )


@own_errors
def lu(A, /, *, pivot=True):  # noqa: N803
    """Return LU factorizations: ``A = P @ L @ U``.

    Parameters
    ----------
    A : Tensor of shape (..., M, N)
        Of a floating or complex dtype.
    pivot : bool, default True
        Only True: elimination without pivoting is not stable.

    Returns
    -------
    LUResult
        A named tuple, with K = min(M, N): the permutation ``P`` of shape (..., M, M),
        ``L`` of shape (..., M, K), lower triangular with ones on its diagonal, and
        ``U`` of shape (..., K, N), upper triangular.

    Raises
    ------
    ShapeError
        If `A` has fewer than two dimensions.
    DTypeError
        If the dtype is neither floating nor complex.
    ValueError
        If `pivot` is False.
    LinAlgError
        From the gradient, if the leading square of U is singular.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.lu(tl.tensor([[1.0, 2.0], [2.0, 6.0]])).U
    tensor([[ 2.,  6.],
            [ 0., -1.]])
    """
    x = _pivoted("lu", A, pivot)
    a, batch = stacked(x), x.shape[:-2]
    m, n = a.shape[1:]
    if not a.size or _lu_factor.is_tracked((a,)):
        packed, pivots = _factored(a)
        lower, upper, _ = _parts(packed)
        p = _permutation_matrix(pivots, m, x.dtype)
    else:
        p, lower, upper = _plain_lu(a, m, n)
    return LUResult(*(unstacked(part, batch) for part in (p, lower, upper)))


def _pivoted(op, x, pivot):
    if not pivot:
        raise ValueError(f"{op}: expected pivot=True, got {pivot!r}")
    return matrices_of(op, x)

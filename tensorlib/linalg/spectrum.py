"""Eigenvalues of Hermitian matrices, singular values, and what is made of them.

Derivatives: M. B. Giles, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation", Springer 2008, section 3; J. Townsend,
"Differentiating the singular value decomposition" (2016); G. H. Golub, V. Pereyra, "The
differentiation of pseudo-inverses and nonlinear least squares problems whose variables
separate", SIAM J. Numer. Anal. 10 (1973), for pinv.
"""

from collections import namedtuple

from tensorlib.core.dtype import finfo
from tensorlib.core.errors import GraphError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.linalg.arguments import (
    adjoint,
    flat,
    fresh,
    matrices_of,
    on_every_example,
    promoted,
    real_dtype,
    stacked,
)
from tensorlib.linalg.factorization import only_r, thin_qr
from tensorlib.linalg.matrix_op import MatrixOp, is_differentiated
from tensorlib.ops.arithmetic import abs as magnitude
from tensorlib.ops.complex import conj, imag, real
from tensorlib.ops.creation import eye
from tensorlib.ops.creation import zeros as zeros_of
from tensorlib.ops.diagonals import last_diagonal
from tensorlib.ops.indexing import where
from tensorlib.ops.joining import concat
from tensorlib.ops.linalg import matmul
from tensorlib.ops.reduce import max as largest
from tensorlib.ops.reduce import sum as total
from tensorlib.ops.shape import (
    expand_dims,
    matrix_transpose,
    reshape,
    squeeze,
)

__all__ = [
    "EighResult",
    "LstsqResult",
    "SVDResult",
    "eigh",
    "eigvalsh",
    "lstsq",
    "matrix_rank",
    "pinv",
    "svd",
    "svd_stack",
    "svdvals",
]

EighResult = namedtuple("EighResult", ("eigenvalues", "eigenvectors"))
SVDResult = namedtuple("SVDResult", ("U", "S", "Vh"))
LstsqResult = namedtuple(
    "LstsqResult", ("solution", "residuals", "rank", "singular_values")
)


# Workspaces have up to 4 N^2 + 7 N elements, counted in 32 bits.
LARGEST = 20000


def over_gaps(m, gaps):
    """Return m / gaps off the diagonal and 0 on it; 0 where both are 0.

    There the basis of an eigenspace is arbitrary, but nothing depends on the choice.
    """
    one = eye(m.shape[-1], dtype="bool", device=m.device)
    harmless = one | ((gaps == 0) & (m == 0))
    return where(one, 0.0, m / where(harmless, 1.0, gaps))


def gaps_of(w):
    """w[j] - w[i] at (i, j)."""
    return expand_dims(w, axis=1) - expand_dims(w, axis=2)


def _symmetric(x):
    return 0.5 * (x + adjoint(x))


def _diagonals(x):
    """Return the real parts of diagonals."""
    return real(last_diagonal(x, 0))


def _packed(*parts):
    """Results of one matrix after the other, real ones in the common dtype."""
    return concat([flat(part) for part in parts], axis=1)


def check_phases(op, turned):
    """Refuse a cotangent that depends on the phases of complex vectors.

    Parameters
    ----------
    op : str
    turned : Tensor of shape (B, K)
        What the function changes by when the phase of each vector does.
    """
    size = magnitude(on_every_example(turned.detach()))
    found = largest(size).item() if size.size else 0.0
    # PyTorch's tolerance: roundings of large cotangents may not be taken for it.
    if found > 1e-2:
        raise GraphError(
            f"{op}: expected a function that is the same for all phases of complex "
            f"vectors, which are arbitrary, got one that they change by {found:.3g}"
        )


def _columns_times(v, w):
    """V diag(w)."""
    return v * expand_dims(w, axis=1)


class Iteration(MatrixOp):
    """An op whose kernel may not converge, on matrices that LAPACK has memory for."""

    found = "one where LAPACK's iteration did not converge (info {})"
    largest = LARGEST


class Eigenpairs(Iteration):
    """An op whose packed result (B, N + N * N) is N eigenvalues, then V.T."""

    reads_output = True

    def unpacked(self, x):
        n = int((x.shape[1] + 0.25) ** 0.5)  # from n + n * n
        v = matrix_transpose(reshape(x[:, n:], (x.shape[0], n, n)))
        return x[:, :n], v


# ---- symmetric matrices ----------------------------------------------------------
class Eigh(Eigenpairs):
    """A V = V diag(w), w real.

    dw = diag(V^H dA V), dV = V (V^H dA V / (w_j - w_i)). The gradient is Hermitian.
    """

    expected = "a symmetric matrix whose eigenvalues can be found"

    def unpacked(self, x):
        w, v = super().unpacked(x)
        return real(w), v

    def pullback(self, params, g, needs, out, saved):
        w, v = self.unpacked(out)
        gw, gv = self.unpacked(g)
        vt = adjoint(v)
        m = matmul(vt, gv)
        if m.dtype.is_complex:
            check_phases("eigh", imag(last_diagonal(m, 0)))
        inner = over_gaps(0.5 * (m - adjoint(m)), gaps_of(w))
        return (_columns_times(v, gw) @ vt + matmul(matmul(v, inner), vt),)

    def pushforward(self, params, tangents, out, saved):
        w, v = self.unpacked(out)
        m = matmul(matmul(adjoint(v), _symmetric(tangents[0])), v)
        dv = matmul(v, over_gaps(m, gaps_of(w)))
        return _packed(_diagonals(m), matrix_transpose(dv))


class Eigvalsh(Iteration):
    """The eigenvalues alone; saved: A and its eigenvectors."""

    expected = Eigh.expected

    def vectors(self, saved):
        return eigh_stack(saved[0])[1] if is_differentiated() else saved[1]

    def pullback(self, params, g, needs, out, saved):
        v = self.vectors(saved)
        return (matmul(_columns_times(v, g), adjoint(v)),)

    def pushforward(self, params, tangents, out, saved):
        v = self.vectors(saved)
        return real(total(conj(v) * matmul(_symmetric(tangents[0]), v), axis=1))


_eigh = Eigh("eigh")
_eigvalsh = Eigvalsh("eigvalsh", kernel="eigh")


def eigh_stack(a, batch=()):
    """Return eigenvalues and eigenvectors of contiguous matrices (B, N, N)."""
    b, n, _ = a.shape
    w, vt = fresh(a, b, n, dtype=real_dtype(a)), fresh(a, b, n, n)
    _eigh.execute((w, vt), (a,), batch)
    if not _eigh.is_tracked((a,)):
        return w, matrix_transpose(vt)
    return _eigh.unpacked(_eigh.recorded(_packed(w, vt), (a,)))


@own_errors
def eigh(x, /):
    """Return eigenvalues and eigenvectors of symmetric or Hermitian matrices.

    ``x @ v[:, i] = w[i] * v[:, i]``.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
        Of a floating or complex dtype. Where its triangles differ by roundings, the
        lower one counts.

    Returns
    -------
    EighResult
        A named tuple: ``eigenvalues`` of shape (..., N), real and ascending, and
        ``eigenvectors`` of shape (..., N, N), orthonormal, in columns.

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity or is not symmetric (Hermitian, if complex):
        an element and its mirror image differ by more than ``sqrt(eps)`` times the
        largest element. Or if LAPACK's iteration does not converge.
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.
    GraphError
        From the gradient of a function that depends on the phases of complex vectors.

    Notes
    -----
    Signs or phases of eigenvectors, and bases of the eigenspaces of repeated
    eigenvalues, are arbitrary. The gradient exists for functions that do not depend on
    them; where others meet a repeated eigenvalue it is infinite or NaN. It is
    Hermitian.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.eigh(tl.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    x = matrices_of("eigh", x, square=True)
    w, v = eigh_stack(stacked(x), x.shape[:-2])
    return EighResult(reshape(w, x.shape[:-1]), reshape(v, x.shape))


@own_errors
def eigvalsh(x, /):
    """Return the eigenvalues of symmetric or Hermitian matrices, in ascending order.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
        Of a floating or complex dtype. Where its triangles differ by roundings, the
        lower one counts.

    Returns
    -------
    Tensor of shape (..., N)

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity or is not symmetric (Hermitian, if complex),
        as `eigh` says. Or if LAPACK's iteration does not converge.
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.

    Notes
    -----
    The gradient exists for repeated eigenvalues too, for symmetric functions of them.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.eigvalsh(tl.tensor([[0.0, 1.0], [1.0, 0.0]]))
    tensor([-1.,  1.])
    """
    x = matrices_of("eigvalsh", x, square=True)
    a = stacked(x)
    if _eigvalsh.is_tracked((a,)):
        w, v = eigh_stack(a.detach(), x.shape[:-2])
        w = _eigvalsh.recorded(w, (a,), (a, v))
    else:
        w = fresh(a, *a.shape[:2], dtype=real_dtype(a))
        _eigvalsh.execute((w,), (a,), x.shape[:-2])
    return reshape(w, x.shape[:-1])


# ---- singular values -------------------------------------------------------------
class SVD(Iteration):
    """A = U diag(S) Vh; the packed result is U, S and Vh in each row (B, ...).

    params: the shapes of U and Vh. With E = s_j^2 - s_i^2 and K = min(M, N) columns,
    gA = U ((skew(U^H gU) / E) S + S (skew(V^H gV) / E) + diag(gS)) Vh and, for what
    leaves the span of U or V, (I - U U^H) gU / S Vh + U / S gVh (I - V V^H). Complex
    vectors turn by one phase together; what changes between their phases is i Im
    diag(U^H gU) / S on the diagonal.
    """

    reads_output = True
    expected = "a matrix whose singular values can be found"
    found = "one where LAPACK's iterations did not converge (info {})"

    def unpacked(self, params, x):
        (m, ku), (kv, n) = params
        k, b = min(m, n), x.shape[0]
        at = m * ku
        u = reshape(x[:, :at], (b, m, ku))
        return u, real(x[:, at : at + k]), reshape(x[:, at + k :], (b, kv, n))

    def pullback(self, params, g, needs, out, saved):
        gu, gs, gvh = self.unpacked(params, g)
        u, s, vh = self.unpacked(params, out)
        k = s.shape[1]
        if gu.shape[2] > k or gvh.shape[1] > k:
            _check_extra(gu[:, :, k:], gvh[:, k:])
            u, vh, gu, gvh = u[:, :, :k], vh[:, :k], gu[:, :, :k], gvh[:, :k]
        return (_svd_pullback(u, s, vh, gu, gs, gvh),)

    def pushforward(self, params, tangents, out, saved):
        u, s, vh = self.unpacked(params, out)
        k = s.shape[1]
        if u.shape[2] > k or vh.shape[1] > k:
            raise GraphError(
                "svd: full_matrices=True has no forward-mode derivative for matrices "
                "that are not square; use full_matrices=False"
            )
        parts = _svd_pushforward(u, s, vh, tangents[0])
        return _packed(*parts)


def _check_extra(*cotangents):
    for g in cotangents:
        if on_every_example(g.detach() != 0).any().item():
            raise GraphError(
                "svd: the columns that full_matrices=True adds have no derivative; "
                "use full_matrices=False"
            )


def _square_gaps(s):
    """s_j^2 - s_i^2, without cancellation."""
    return gaps_of(s) * (expand_dims(s, axis=1) + expand_dims(s, axis=2))


def _skew(x):
    return x - adjoint(x)


def _svd_pullback(u, s, vh, gu, gs, gvh):
    m, n = u.shape[1], vh.shape[2]
    ut, v, gv = adjoint(u), adjoint(vh), adjoint(gvh)
    gaps = _square_gaps(s)
    mu, mv = matmul(ut, gu), matmul(vh, gv)
    inner = _columns_times(over_gaps(_skew(mu), gaps), s)
    from_v = over_gaps(_skew(mv), gaps) * expand_dims(s, axis=2)
    if mu.dtype.is_complex:
        turn = imag(last_diagonal(mu, 0))
        check_phases("svd", turn + imag(last_diagonal(mv, 0)))
        gs = gs + _quotient(turn, s) * 1j
    one = eye(s.shape[1], dtype="bool", device=s.device)
    on = where(one, expand_dims(gs, axis=1), inner + from_v)
    found = matmul(matmul(u, on), vh)
    if m > n:
        outside = gu - matmul(u, matmul(ut, gu))
        found = found + matmul(_quotient(outside, expand_dims(s, axis=1)), vh)
    if n > m:
        outside = gvh - matmul(matmul(gvh, v), vh)
        found = found + matmul(u, _quotient(outside, expand_dims(s, axis=2)))
    return found


def _quotient(x, s):
    """Return x / s, and 0 where both are 0."""
    return x / where((x == 0) & (s == 0), 1.0, s)


def _svd_pushforward(u, s, vh, da):
    m, n = u.shape[1], vh.shape[2]
    ut, v = adjoint(u), adjoint(vh)
    p = matmul(matmul(ut, da), v)
    pt, gaps = adjoint(p), _square_gaps(s)
    rows, columns = expand_dims(s, axis=2), expand_dims(s, axis=1)
    du = over_gaps(p * columns + rows * pt, gaps)
    if p.dtype.is_complex:
        phases = _quotient(imag(last_diagonal(p, 0)), s) * 1j
        one = eye(s.shape[1], dtype="bool", device=s.device)
        du = where(one, expand_dims(phases, axis=1), du)
    du = matmul(u, du)
    dv = matmul(v, over_gaps(rows * p + pt * columns, gaps))
    if m > n:
        outside = matmul(da, v)
        outside = outside - matmul(u, matmul(ut, outside))
        du = du + _quotient(outside, columns)
    if n > m:
        outside = matmul(adjoint(da), u)
        outside = outside - matmul(v, matmul(vh, outside))
        dv = dv + _quotient(outside, columns)
    return du, _diagonals(p), adjoint(dv)


class Svdvals(Iteration):
    """The singular values alone; saved: A and its singular vectors."""

    expected = SVD.expected
    found = SVD.found

    def vectors(self, saved):
        if is_differentiated():
            u, _, vh = svd_stack(saved[0])
            return u, vh
        return saved[1:]

    def pullback(self, params, g, needs, out, saved):
        u, vh = self.vectors(saved)
        return (matmul(_columns_times(u, g), vh),)

    def pushforward(self, params, tangents, out, saved):
        u, vh = self.vectors(saved)
        return real(total(conj(u) * matmul(tangents[0], adjoint(vh)), axis=1))


_svd = SVD("svd")
_svdvals = Svdvals("svdvals", kernel="svd")


def svd_stack(a, batch=(), full=False):
    """Return U, S and Vh of contiguous matrices (B, M, N)."""
    b, m, n = a.shape
    if m > n:
        # A tall matrix of ours is a wide one for LAPACK, which takes twice as long.
        v, s, ut = svd_stack(matrix_transpose(a).contiguous(), batch, full)
        return matrix_transpose(ut), s, matrix_transpose(v)
    k = min(m, n)
    ku, kv = (m, n) if full else (k, k)
    u, vh = fresh(a, b, m, ku), fresh(a, b, kv, n)
    s = fresh(a, b, k, dtype=real_dtype(a))
    if full and not k:
        how = {"dtype": a.dtype, "device": a.device}
        u[:], vh[:] = eye(m, **how), eye(n, **how)
    _svd.execute((s, u, vh), (a,), batch, upper=full)
    if not _svd.is_tracked((a,)):
        return u, s, vh
    params = (m, ku), (kv, n)
    packed = _svd.recorded(_packed(u, s, vh), (a,), (), params)
    return _svd.unpacked(params, packed)


@own_errors
def svd(x, /, *, full_matrices=True):
    """Return singular value decompositions: ``x = U @ diag(S) @ Vh``.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
        Of a floating or complex dtype.
    full_matrices : bool, default True
        Whether U and Vh are square, or have K = min(M, N) columns and rows.

    Returns
    -------
    SVDResult
        A named tuple: ``U`` of shape (..., M, M) or (..., M, K), ``S`` of shape
        (..., K), descending, ``Vh`` of shape (..., N, N) or (..., K, N).

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity, or LAPACK's iterations do not converge.
    ShapeError
        If `x` has fewer than two dimensions.
    DTypeError
        If the dtype is neither floating nor complex.
    GraphError
        From the gradient, with respect to the columns and rows beyond K, and of a
        function that depends on the phases of complex vectors.

    Notes
    -----
    Signs or phases of singular vectors, and bases that belong to repeated singular
    values, are arbitrary. The gradient exists for functions that do not depend on
    them; where others meet a repeated value it is infinite or NaN. `svdvals` has no
    such limit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> u, s, vh = tl.linalg.svd(tl.tensor([[0.0, 2.0], [3.0, 0.0]]))
    >>> s
    tensor([3., 2.])
    """
    x = matrices_of("svd", x)
    batch = x.shape[:-2]
    u, s, vh = svd_stack(stacked(x), batch, bool(full_matrices))
    return SVDResult(
        reshape(u, (*batch, *u.shape[1:])),
        reshape(s, (*batch, s.shape[1])),
        reshape(vh, (*batch, *vh.shape[1:])),
    )


@own_errors
def svdvals(x, /):
    """Return the singular values of matrices, in descending order.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
        Of a floating or complex dtype.

    Returns
    -------
    Tensor of shape (..., min(M, N))

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity, or LAPACK's iterations do not converge.
    ShapeError
        If `x` has fewer than two dimensions.
    DTypeError
        If the dtype is neither floating nor complex.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.svdvals(tl.tensor([[0.0, 2.0], [3.0, 0.0]]))
    tensor([3., 2.])
    """
    x = matrices_of("svdvals", x)
    wide = x if x.shape[-1] >= x.shape[-2] else matrix_transpose(x)
    a, batch = stacked(wide), x.shape[:-2]
    if _svdvals.is_tracked((a,)):
        u, s, vh = svd_stack(a.detach(), batch)
        s = _svdvals.recorded(s, (a,), (a, u, vh))
    else:
        s = fresh(a, a.shape[0], min(a.shape[1:]), dtype=real_dtype(a))
        _svdvals.execute((s,), (a,), batch)
    return reshape(s, (*batch, s.shape[1]))


# ---- rank and pseudo-inverse -----------------------------------------------------
def _cutoff(s, shape, rtol):
    """Which singular values (..., K) count: those above rtol times the largest."""
    if rtol is None:
        rtol = max(shape) * finfo(s.dtype).eps
    elif getattr(rtol, "ndim", 0):
        rtol = expand_dims(rtol, axis=-1)
    top = largest(s, axis=-1, keepdims=True) if s.shape[-1] else s
    return s > rtol * top


@own_errors
def matrix_rank(x, /, *, rtol=None):
    """Return how many singular values of a matrix are not negligible.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
        Of a floating or complex dtype.
    rtol : float or Tensor of shape (...), optional
        Singular values up to `rtol` times the largest count as zero; max(M, N) times
        the machine epsilon by default.

    Returns
    -------
    Tensor of shape (...), of dtype int64

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity.
    ShapeError
        If `x` has fewer than two dimensions.
    DTypeError
        If the dtype is neither floating nor complex.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.matrix_rank(tl.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)
    """
    x = matrices_of("matrix_rank", x)
    s = svdvals(x.detach())
    return total(_cutoff(s, x.shape[-2:], rtol), axis=-1)


class Pinv(MatrixOp):
    """The derivative at constant rank, by Golub and Pereyra, of P = A^+; saved: A.

    dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P.
    """

    reads_output = True

    def pullback(self, params, g, needs, p, saved):
        (a,) = saved
        pt, gt = adjoint(p), adjoint(g)
        first = matmul(gt, matmul(p, pt))
        second = matmul(matmul(pt, p), gt)
        found = (first - matmul(a, matmul(p, first))) - matmul(matmul(pt, g), pt)
        return (found + second - matmul(matmul(second, p), a),)

    def pushforward(self, params, tangents, p, saved):
        (a,), da = saved, tangents[0]
        dt, pt = adjoint(da), adjoint(p)
        first = matmul(matmul(p, pt), dt)
        second = matmul(dt, matmul(pt, p))
        found = (first - matmul(matmul(first, a), p)) - matmul(matmul(p, da), p)
        return found + second - matmul(p, matmul(a, second))


_pinv = Pinv("pinv")


def _thin_svd(a, batch):
    """Return U, S and Vh outside the graph; much taller matrices are reduced to R."""
    if a.shape[1] < 2 * a.shape[2]:
        return svd_stack(a, batch)
    q, r = thin_qr(a)
    u, s, vh = svd_stack(r, batch)
    return matmul(q, u), s, vh


def _pinv_stack(a, batch, rtol):
    """Return the pseudo-inverses, the singular values and which of them count."""
    u, s, vh = _thin_svd(a.detach(), batch)
    if getattr(rtol, "ndim", 0):
        rtol = reshape(rtol, (a.shape[0],))
    counts = _cutoff(s, a.shape[1:], rtol)
    inverse = where(counts, 1.0 / where(counts, s, 1.0), 0.0)
    p = matmul(
        _columns_times(adjoint(vh), inverse), adjoint(u)
    )  # fmt: skip
    return _pinv.recorded(p.contiguous(), (a,), (a,)), s, counts


@own_errors
def pinv(x, /, *, rtol=None):
    """Return the Moore-Penrose pseudo-inverses of matrices.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
        Of a floating or complex dtype.
    rtol : float or Tensor of shape (...), optional
        Singular values up to `rtol` times the largest count as zero; max(M, N) times
        the machine epsilon by default.

    Returns
    -------
    Tensor of shape (..., N, M)

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity.
    ShapeError
        If `x` has fewer than two dimensions.
    DTypeError
        If the dtype is neither floating nor complex.

    Notes
    -----
    By singular value decomposition. The gradient is that of moving among matrices of
    the same rank; where the rank changes, the pseudo-inverse is not continuous.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.pinv(tl.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5, 0. ],
            [0. , 0. ]])
    """
    x = matrices_of("pinv", x)
    p, _, _ = _pinv_stack(stacked(x), x.shape[:-2], rtol)
    return reshape(p, (*x.shape[:-2], x.shape[-1], x.shape[-2]))


def _squares(x):
    """Return the sums of |x|^2 of each column."""
    return total(real(conj(x) * x), axis=-2)


def _lstsq_of_r(a, b, batch, rtol):
    """Return X, the singular values, which of them count, and the residuals.

    From R of (A, B) alone: Q^H B stands beside A's part of it, and what A leaves of B
    below. Neither Q nor the pseudo-inverse is formed.
    """
    n = a.shape[2]
    if getattr(rtol, "ndim", 0):
        rtol = reshape(rtol, (a.shape[0],))
    both = concat((a, b), axis=2)
    r = only_r(both)
    u, s, vh = svd_stack(r[:, :n, :n].contiguous(), batch)
    counts = _cutoff(s, a.shape[1:], rtol)
    inverse = where(counts, 1.0 / where(counts, s, 1.0), 0.0)
    y = matmul(adjoint(u), r[:, :n, n:])
    x = matmul(adjoint(vh), y * expand_dims(inverse, axis=2))
    return x, s, counts, _squares(r[:, n:, n:])


@own_errors
def lstsq(A, B, /, rcond=None):  # noqa: N803
    """Return solutions of least squares, the X of least norm with the least |A X - B|.

    Parameters
    ----------
    A : Tensor of shape (..., M, N)
        Of a floating or complex dtype.
    B : Tensor of shape (..., M, K), or (M,) with one matrix
    rcond : float, optional
        Singular values up to `rcond` times the largest count as zero; max(M, N) times
        the machine epsilon by default.

    Returns
    -------
    LstsqResult
        A named tuple: ``solution`` of shape (..., N, K) or (N,); ``residuals``, the
        sums of squares of A X - B, of shape (..., K), or empty of shape (0,) unless
        M > N and every A has rank N; ``rank`` (...), int64; ``singular_values``.

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity.
    ShapeError
        If the shapes do not fit.
    DTypeError
        If a dtype is neither floating nor complex.

    Notes
    -----
    By the pseudo-inverse, or by R of (A, B) for tall matrices where no gradient is
    wanted: to the same accuracy. The gradient is that of moving among matrices of one
    rank.

    Examples
    --------
    >>> import tensorlib as tl
    >>> a = tl.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> tl.linalg.lstsq(a, tl.tensor([1.0, 3.0, 5.0])).rank
    tensor(2)
    """
    a = matrices_of("lstsq", A)
    vector = getattr(B, "ndim", 2) == 1
    b = matrices_of("lstsq", expand_dims(B, axis=1) if vector else B)
    if a.shape[-2] != b.shape[-2]:
        raise ShapeError(
            f"lstsq: expected B of {a.shape[-2]} rows, got A.shape={a.shape}, "
            f"B.shape={b.shape}"
        )
    a, b = promoted(a, b)
    batch, (m, n) = a.shape[:-2], a.shape[-2:]
    # With many columns of B, their own reflections would cost more than Q.
    tall = 0 < 2 * n <= m and b.shape == (*batch, m, min(b.shape[-1], n))
    if tall and not _pinv.is_tracked((a, b)):
        x, s, counts, squares = _lstsq_of_r(stacked(a), stacked(b), batch, rcond)
        x = reshape(x, (*batch, *x.shape[1:]))
        squares = reshape(squares, (*batch, x.shape[-1]))
    else:
        p, s, counts = _pinv_stack(stacked(a), batch, rcond)
        x, squares = matmul(reshape(p, (*batch, n, m)), b), None
    rank = reshape(total(counts, axis=-1), batch)
    residuals = zeros_of((0,), dtype=real_dtype(x))
    if m > n and on_every_example(rank == n).all().item():
        if squares is None:
            squares = _squares(matmul(a, x) - b)
        residuals = squares
    x = squeeze(x, axis=-1) if vector else x
    return LstsqResult(x, residuals, rank, reshape(s, (*batch, s.shape[1])))

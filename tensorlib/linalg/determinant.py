"""Determinants, with gradients that are right for singular matrices too.

References
----------
M. B. Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation", Springer 2008, section 2.2.4.
"""

from collections import namedtuple

from tensorlib.core.dtype import finfo
from tensorlib.core.naming import own_errors
from tensorlib.linalg.arguments import (
    adjoint,
    fresh,
    matrices_of,
    on_every_example,
    real_dtype,
    stacked,
)
from tensorlib.linalg.matrix_op import MatrixOp
from tensorlib.linalg.solving import inverse_stack, solve_stack
from tensorlib.linalg.spectrum import svd_stack
from tensorlib.ops.arithmetic import abs as magnitude
from tensorlib.ops.complex import conj, imag, real
from tensorlib.ops.creation import eye
from tensorlib.ops.diagonals import last_diagonal
from tensorlib.ops.indexing import where
from tensorlib.ops.linalg import matmul
from tensorlib.ops.reduce import max as largest
from tensorlib.ops.reduce import prod as product
from tensorlib.ops.reduce import sum as total
from tensorlib.ops.shape import expand_dims, matrix_transpose, reshape

__all__ = ["SlogdetResult", "det", "slogdet"]

SlogdetResult = namedtuple("SlogdetResult", ("sign", "logabsdet"))


def _as_matrices(x):
    """Shape (B,) as (B, 1, 1)."""
    return reshape(x, (*x.shape, 1, 1))


# ---- det -------------------------------------------------------------------------
class Det(MatrixOp):
    """d det(A) = <cof(A), dA>, the cofactors being det(A) A^-T where there is A^-1."""

    is_analytic = True

    def pullback(self, params, g, needs, out, saved):
        return (_as_matrices(g) * cofactors(saved[0]),)

    def pushforward(self, params, tangents, out, saved):
        return total(cofactors(saved[0]) * tangents[0], axis=(1, 2))


class Cofactors(MatrixOp):
    """The derivative is a symmetric form: the second derivative of det."""

    is_analytic = True

    def pullback(self, params, g, needs, out, saved):
        return (_second_derivative(saved[0], g),)

    def pushforward(self, params, tangents, out, saved):
        return _second_derivative(saved[0], tangents[0])


_det = Det("det")
_cofactors = Cofactors("cofactors")


def _filled(a, value, dtype):
    """Return a number for each matrix, which those of no rows keep."""
    made = fresh(a, a.shape[0], dtype=dtype)
    made[:] = value
    return made


def _det_stack(a):
    d = _filled(a, 1, a.dtype)
    _det.execute((d,), (a,), ())
    return _det.recorded(d, (a,), (a,))


@own_errors
def det(x, /):
    """Return the determinants of square matrices.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
        Of a floating or complex dtype.

    Returns
    -------
    Tensor of shape (...)
        1 for matrices of no rows. It may overflow; `slogdet` does not.

    Raises
    ------
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.

    Notes
    -----
    By LU factorization. The gradient, the matrix of cofactors, is finite for singular
    matrices too; there it is taken from the singular value decomposition.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.det(tl.tensor([[2.0, 1.0], [4.0, 5.0]]))
    tensor(6.)
    """
    x = matrices_of("det", x, square=True)
    return reshape(_det_stack(stacked(x)), x.shape[:-2])


def cofactors(a):
    """Return the derivative of det, for contiguous matrices (B, N, N)."""
    plain = a.detach()
    if not a.size:
        return a.copy()
    d, inverse, regular = _tried(plain)
    found = _as_matrices(d) * matrix_transpose(inverse)
    if not on_every_example(regular).all().item():
        found = where(_as_matrices(regular), found, _singular_cofactors(plain))
    return _cofactors.recorded(found, (a,), (a,))


def _tried(a):
    """Return determinants, inverses, and where these are good enough for cofactors.

    There the condition number in the infinity norm is below eps^-1/2: half of the
    digits are left.
    """
    inverse = fresh(a, *a.shape)
    _try_inv.execute((inverse,), (a,), (), check=False)
    d, condition = _det_stack(a), _norm(a) * _norm(inverse)
    return d, inverse, (d != 0) & (condition < finfo(a.dtype).eps ** -0.5)


_try_inv = MatrixOp("try_inv", kernel="inv")


def _norm(a):
    return largest(total(magnitude(a), axis=2), axis=1)


def _by_parts(a, regular, first, second, v):
    """first(a, v) where `regular`, else second(a, v); each goes its way alone."""
    known = on_every_example(regular)
    if known.all().item():
        return first(a, v)
    if not known.any().item():
        return second(a, v)
    mask = _as_matrices(regular)
    one = eye(a.shape[1], dtype=a.dtype, device=a.device)
    return where(mask, first(where(mask, a, one), v), second(a, v))


def _singular_cofactors(a):
    """Use A = U S V: cof(A) = det(U V) conj(U) cof(S) conj(V), of S products."""
    u, s, vh, sign = _signed_svd(a)
    n = a.shape[1]
    one = eye(n, dtype="bool", device=s.device)
    rest = product(where(one, 1.0, expand_dims(s, axis=1)), axis=2)
    return sign * matmul(conj(u) * expand_dims(rest, axis=1), conj(vh))


def _signed_svd(a):
    """Return U, S, V and det(U V), which is constant if it is real."""
    u, s, vh = svd_stack(a)
    turn = matmul(u, vh).contiguous()
    turn = turn if a.dtype.is_complex else turn.detach()
    return u, s, vh, _as_matrices(_det_stack(turn))


def _second_derivative(a, v):
    """Return the derivative of the cofactors along v; `a` may be tracked."""
    if not a.size:
        return a.copy()
    regular = _tried(a.detach())[2]
    return _by_parts(a, regular, _regular_second, _singular_second, v)


def _regular_second(a, v):
    a = a.contiguous()
    t = matrix_transpose(inverse_stack(a))
    along = _as_matrices(total(t * v, axis=(1, 2)))
    turned = matmul(matmul(t, matrix_transpose(v)), t)
    return _as_matrices(_det_stack(a)) * (along * t - turned)


def _singular_second(a, v):
    """In the basis of U and V: minors of two rows and columns of a diagonal matrix."""
    u, s, vh, sign = _signed_svd(a)
    n = a.shape[1]
    w = matmul(matmul(adjoint(u), v), adjoint(vh))
    pairs = _products_without_two(s)
    on = matmul(pairs, expand_dims(last_diagonal(w, 0), axis=2))
    one = eye(n, dtype="bool", device=a.device)
    m = where(one, on, -pairs * matrix_transpose(w))
    return sign * matmul(matmul(conj(u), m), conj(vh))


def _products_without_two(s):
    """p[i, j] = the product of all s but those of i and j; 0 where i = j."""
    n = s.shape[1]
    one = eye(n, dtype="bool", device=s.device)
    left_out = expand_dims(one, axis=1) | expand_dims(one, axis=0)
    every = product(where(left_out, 1.0, reshape(s, (s.shape[0], 1, 1, n))), axis=3)
    return where(one, 0.0, every)


# ---- slogdet ---------------------------------------------------------------------
class Slogdet(MatrixOp):
    """d log|det A| = Re <conj(A^-T), dA>; the output is the logarithm."""

    def pullback(self, params, g, needs, out, saved):
        return (_as_matrices(g) * adjoint(inverse_stack(saved[0])),)

    def pushforward(self, params, tangents, out, saved):
        return real(_relative_change(saved[0], tangents[0]))


class Sign(MatrixOp):
    """The sign turns by the imaginary part of the relative change: d s = i s Im(dt)."""

    reads_output = True

    def pullback(self, params, g, needs, sign, saved):
        turn = imag(conj(sign) * g)
        return (_as_matrices(turn * 1j) * adjoint(inverse_stack(saved[0])),)

    def pushforward(self, params, tangents, sign, saved):
        return sign * imag(_relative_change(saved[0], tangents[0])) * 1j


def _relative_change(a, da):
    """tr(A^-1 dA), the derivative of log det(A)."""
    return total(last_diagonal(solve_stack(a, da.contiguous()), 0), axis=1)


_slogdet = Slogdet("slogdet")
_sign = Sign("slogdet_sign")


@own_errors
def slogdet(x, /):
    """Return signs and logarithms of the determinants of square matrices.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
        Of a floating or complex dtype.

    Returns
    -------
    SlogdetResult
        A named tuple of Tensors of shape (...): ``sign``, which is -1, 0 or 1 (of
        complex matrices, 0 or of magnitude 1), and ``logabsdet``, real, so that
        ``det = sign * exp(logabsdet)``.

    Raises
    ------
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.
    LinAlgError
        From the gradient, if a matrix is singular.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.slogdet(tl.tensor([[1.0, 0.0], [0.0, -1.0]]))
    SlogdetResult(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    x = matrices_of("slogdet", x, square=True)
    a = stacked(x)
    sign, logarithm = _filled(a, 1, a.dtype), _filled(a, 0, real_dtype(a))
    _slogdet.execute((sign, logarithm), (a,), ())
    logarithm = _slogdet.recorded(logarithm, (a,), (a,))
    if a.dtype.is_complex:
        sign = _sign.recorded(sign, (a,), (a,))
    batch = x.shape[:-2]
    return SlogdetResult(reshape(sign, batch), reshape(logarithm, batch))

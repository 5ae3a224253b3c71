"""Eigenvalues and eigenvectors of square matrices that need not be Hermitian.

References
----------
C. Boeddeker, P. Hanebrink, L. Drude, J. Heymann, R. Haeb-Umbach, "On the computation of
complex-valued gradients with application to statistically optimum beamforming",
arXiv:1701.00392 (2017), section 4.2.
"""

from collections import namedtuple

from tensorlib.core.dtype import result_type
from tensorlib.core.naming import own_errors
from tensorlib.linalg.arguments import adjoint, flat, fresh, matrices_of, stacked
from tensorlib.linalg.matrix_op import is_differentiated
from tensorlib.linalg.solving import solve_stack
from tensorlib.linalg.spectrum import (
    Eigenpairs,
    Iteration,
    check_phases,
    gaps_of,
    over_gaps,
)
from tensorlib.ops.complex import conj, imag, real
from tensorlib.ops.creation import eye
from tensorlib.ops.diagonals import last_diagonal
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import where
from tensorlib.ops.joining import concat
from tensorlib.ops.linalg import matmul
from tensorlib.ops.shape import expand_dims, matrix_transpose, reshape

__all__ = ["EigResult", "eig", "eigvals"]

EigResult = namedtuple("EigResult", ("eigenvalues", "eigenvectors"))


class Eig(Eigenpairs):
    """A V = V diag(w), columns of length 1.

    With P = V^-1 dA V: dw = diag(P), dV = X - V Re(diag(V^H X)) for X = V (P / E),
    E = w_j - w_i off the diagonal. What is taken off keeps the length.
    """

    expected = "a matrix whose eigenvalues can be found"

    def pullback(self, params, g, needs, out, saved):
        (w, v), (gw, gv) = self.unpacked(out), self.unpacked(g)
        along = last_diagonal(matmul(adjoint(v), gv), 0)
        check_phases("eig", imag(along))
        tangent = gv - v * expand_dims(real(along), axis=1)
        inner = over_gaps(matmul(adjoint(v), tangent), conj(gaps_of(w)))
        return (_similar(v, _with_diagonal(inner, gw)),)

    def pushforward(self, params, tangents, out, saved):
        w, v = self.unpacked(out)
        p = solve_stack(v.contiguous(), matmul(tangents[0], v))
        x = matmul(v, over_gaps(p, gaps_of(w)))
        along = real(last_diagonal(matmul(adjoint(v), x), 0))
        dv = x - v * expand_dims(along, axis=1)
        return concat((last_diagonal(p, 0), flat(matrix_transpose(dv))), axis=1)


class Eigvals(Iteration):
    """The eigenvalues alone; saved: A and its eigenvectors."""

    expected = Eig.expected

    def vectors(self, saved):
        return _eig_stack(saved[0])[1] if is_differentiated() else saved[1]

    def pullback(self, params, g, needs, out, saved):
        v = self.vectors(saved)
        return (_similar(v, _with_diagonal(v * 0.0, g)),)

    def pushforward(self, params, tangents, out, saved):
        v = self.vectors(saved)
        p = solve_stack(v.contiguous(), matmul(tangents[0], v))
        return last_diagonal(p, 0)


_eig = Eig("eig")
_eigvals = Eigvals("eigvals", kernel="eig")


def _with_diagonal(x, d):
    one = eye(x.shape[-1], dtype="bool", device=x.device)
    return where(one, expand_dims(d, axis=1), x)


def _similar(v, x):
    """V^-H X V^H."""
    back = adjoint(v).contiguous()
    return solve_stack(back, matmul(x, back))


def _complex_dtype(x):
    """Of the results for `x`."""
    return result_type(x.dtype, "complex64")


def _eig_stack(a, batch=()):
    """Return eigenvalues and eigenvectors of contiguous matrices (B, N, N)."""
    b, n, _ = a.shape
    dtype = _complex_dtype(a)
    w, vt = fresh(a, b, n, dtype=dtype), fresh(a, b, n, n, dtype=dtype)
    _eig.execute((w, vt), (a,), batch)
    if not _eig.is_tracked((a,)):
        return w, matrix_transpose(vt)
    # Recorded as a function of complex numbers: the cast makes its gradient real.
    z = astype(a, dtype, copy=False)
    return _eig.unpacked(_eig.recorded(concat((w, flat(vt)), axis=1), (z,)))


@own_errors
def eig(x, /):
    """Return eigenvalues and eigenvectors of square matrices.

    ``x @ v[:, i] = w[i] * v[:, i]``.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
        Of a floating or complex dtype.

    Returns
    -------
    EigResult
        A named tuple, complex: ``eigenvalues`` of shape (..., N), in no order, and
        ``eigenvectors`` of shape (..., N, N), in columns of length 1.

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity, or LAPACK's iteration does not converge.
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.
    GraphError
        From the gradient of a function that depends on the phases of eigenvectors.

    Notes
    -----
    Phases of eigenvectors are arbitrary. The gradient exists for functions that do not
    depend on them, where all eigenvalues differ; it grows as they approach each other,
    and as the eigenvectors become dependent. Of a real matrix it is real.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.eig(tl.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([2.+0.j, 1.+0.j], dtype=complex64)
    """
    x = matrices_of("eig", x, square=True)
    w, v = _eig_stack(stacked(x), x.shape[:-2])
    return EigResult(reshape(w, x.shape[:-1]), reshape(v, x.shape))


@own_errors
def eigvals(x, /):
    """Return the eigenvalues of square matrices.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
        Of a floating or complex dtype.

    Returns
    -------
    Tensor of shape (..., N)
        Complex, in no order.

    Raises
    ------
    LinAlgError
        If a matrix holds NaN or infinity, or LAPACK's iteration does not converge; from
        the gradient, if its eigenvectors are linearly dependent.
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.eigvals(tl.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([2.+0.j, 1.+0.j], dtype=complex64)
    """
    x = matrices_of("eigvals", x, square=True)
    a, batch = stacked(x), x.shape[:-2]
    if _eigvals.is_tracked((a,)):
        w, v = _eig_stack(a.detach(), batch)
        z = astype(a, _complex_dtype(a), copy=False)
        w = _eigvals.recorded(w, (z,), (z, v))
    else:
        w = fresh(a, *a.shape[:2], dtype=_complex_dtype(a))
        _eigvals.execute((w,), (a,), batch)
    return reshape(w, x.shape[:-1])

"""Products of matrices: powers, chains, the exponential; cross products, diagonals."""

from functools import lru_cache
from math import inf

from tensorlib.core.dtype import result_type
from tensorlib.core.errors import ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.linalg.arguments import matrices_of, on_every_example
from tensorlib.linalg.matrix_op import same_examples
from tensorlib.linalg.norms import HALVES, matrix_norm
from tensorlib.linalg.solving import inv, solve
from tensorlib.ops.arguments import axis_of, int_of, tensor_of
from tensorlib.ops.creation import eye
from tensorlib.ops.diagonals import last_diagonal
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import where
from tensorlib.ops.joining import stack, unstack
from tensorlib.ops.linalg import matmul
from tensorlib.ops.logic import isfinite
from tensorlib.ops.mathematics import log
from tensorlib.ops.reduce import broadcast_to
from tensorlib.ops.reduce import max as largest
from tensorlib.ops.shape import expand_dims, squeeze

__all__ = ["cross", "diagonal", "matrix_exp", "matrix_power", "multi_dot"]


@own_errors
def diagonal(x, /, *, offset=0):
    """Return the diagonals of the matrices in the last two axes.

    Parameters
    ----------
    x : Tensor of shape (..., M, N)
    offset : int, default 0
        Which diagonal; positive ones lie above the main diagonal.

    Returns
    -------
    Tensor of shape (..., K)
        A view.

    Raises
    ------
    ShapeError
        If `x` has fewer than two dimensions.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.diagonal(tl.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return last_diagonal(tensor_of("diagonal", x), offset)


@own_errors
def cross(x1, x2, /, *, axis=-1):
    """Return the cross products of vectors of three elements.

    Parameters
    ----------
    x1, x2 : Tensor
        Of length 3 along `axis`; the other axes broadcast.
    axis : int, default -1

    Returns
    -------
    Tensor
        Of the promoted dtype.

    Raises
    ------
    ShapeError
        If the length is not 3, or the shapes do not broadcast.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.cross(tl.tensor([1, 0, 0]), tl.tensor([0, 1, 0]))
    tensor([0, 0, 1])
    """
    a, b = same_examples("cross", tensor_of("cross", x1), tensor_of("cross", x2))
    left, right = axis_of("cross", axis, a.ndim), axis_of("cross", axis, b.ndim)
    if a.shape[left] != 3 or b.shape[right] != 3:
        raise ShapeError(
            f"cross: expected vectors of 3 elements along axis {axis}, got shapes "
            f"{a.shape} and {b.shape}"
        )
    back = left - a.ndim
    if right - b.ndim != back:
        raise ShapeError(
            f"cross: axis {axis} is not the same one, counted from the last, in shapes "
            f"{a.shape} and {b.shape}"
        )
    dtype = result_type(a, b)
    wide = "float32" if dtype.name in HALVES else dtype
    a0, a1, a2 = unstack(astype(a, wide, copy=False), axis=back)
    b0, b1, b2 = unstack(astype(b, wide, copy=False), axis=back)
    parts = (a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0)
    return astype(stack(parts, axis=back), dtype, copy=False)


# ---- powers and chains -----------------------------------------------------------
@own_errors
def matrix_power(x, n, /):
    """Return integer powers of square matrices.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
    n : int
        0 gives identity matrices; negative powers are those of the inverse.

    Returns
    -------
    Tensor of shape (..., N, N)

    Raises
    ------
    LinAlgError
        If `n` is negative and a matrix is singular.
    ShapeError
        If the matrices are not square.
    DTypeError
        If `n` is negative and the dtype is an integer one.

    Notes
    -----
    By repeated squaring, in at most 2 log2(n) products.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.matrix_power(tl.tensor([[1, 1], [0, 1]]), 5)
    tensor([[1, 5],
            [0, 1]])
    """
    x = tensor_of("matrix_power", x)
    n = int_of("matrix_power", "n", n)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power: expected square matrices, got shape {x.shape}")
    if n == 0:
        return broadcast_to(
            eye(x.shape[-1], dtype=x.dtype, device=x.device), x.shape
        ).copy()
    if n > 0 and x.dtype.name in HALVES:
        return astype(matrix_power(astype(x, "float32"), n), x.dtype)
    square, n = (inv(x), -n) if n < 0 else (x, n)
    found = None
    while n:
        if n & 1:
            found = square if found is None else matmul(found, square)
        n >>= 1
        if n:
            square = matmul(square, square)
    return found.copy() if found is x else found


@own_errors
def multi_dot(tensors, /):
    """Return the product of a chain of matrices, in the cheapest order.

    Parameters
    ----------
    tensors : list or tuple of Tensor
        Two or more matrices; the first may be a vector, a row, and the last one a
        column, whose axes are dropped from the result.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If an operand has another number of dimensions, or shapes do not fit.
    ValueError
        If there are fewer than two.
    TypeError
        If `tensors` is not a list or a tuple.

    References
    ----------
    T. H. Cormen et al., "Introduction to Algorithms", 3rd ed., MIT Press 2009, 15.2.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.multi_dot([tl.ones((2, 9)), tl.ones((9, 3)), tl.ones(3)])
    tensor([27., 27.])
    """
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(
            f"multi_dot: expected a list of tensors, got {type(tensors).__name__}"
        )
    chain = [tensor_of("multi_dot", x) for x in tensors]
    if len(chain) < 2:
        raise ValueError(f"multi_dot: expected two or more tensors, got {len(chain)}")
    dtype = result_type(*chain)
    if dtype.name in HALVES:
        return astype(multi_dot([astype(x, "float32") for x in chain]), dtype)
    row, column = chain[0].ndim == 1, chain[-1].ndim == 1
    if row:
        chain[0] = expand_dims(chain[0], axis=0)
    if column:
        chain[-1] = expand_dims(chain[-1], axis=1)
    shapes = [x.shape for x in chain]
    fits = set(map(len, shapes)) == {2}
    if fits:
        left, right = zip(*shapes, strict=True)
        fits = left[1:] == right[:-1]
    if not fits:
        raise ShapeError(
            "multi_dot: expected matrices that fit, got shapes "
            f"{', '.join(map(str, shapes))}"
        )
    for i, j in _steps((left[0], *right)):
        chain[i] = matmul(chain[i], chain[j])
    found = chain[0]
    found = squeeze(found, axis=1) if column else found
    return squeeze(found, axis=0) if row else found


@lru_cache(maxsize=256)
def _steps(extents):
    """Pairs (i, j): the product from matrix i on takes in that from matrix j on."""
    n = len(extents) - 1
    cost = {(i, i): 0 for i in range(n)}
    split = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            ways = {
                k: cost[i, k]
                + cost[k + 1, j]
                + extents[i] * extents[k + 1] * extents[j + 1]
                for k in range(i, j)
            }
            split[i, j] = min(ways, key=ways.get)
            cost[i, j] = ways[split[i, j]]
    # Without recursion: parts, which stand after what needs them, are made before it.
    steps, wanted = [], [(0, n - 1)]
    while wanted:
        i, j = wanted.pop()
        if i < j:
            k = split[i, j]
            steps.append((i, k + 1))
            wanted += [(i, k), (k + 1, j)]
    return steps[::-1]


# ---- the exponential -------------------------------------------------------------
# Coefficients of the [m/m] Pade approximants of exp, and the norm up to which they are
# exact to the unit roundoff (Higham 2005, tables 2.3 and 2.1, and section 2.3): any
# consistent one serves, and rows are summed faster than columns.
_PADE7 = (17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1)
_PADE13 = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800,
    129060195264000, 10559470521600, 670442572800, 33522128640, 1323241920, 40840800,
    960960, 16380, 182, 1,
)  # fmt: skip
_BOUND7_SINGLE = 3.925724783138660
_BOUND13 = 5.371920351148152


@own_errors
def matrix_exp(A, /):  # noqa: N803
    """Return the exponentials of square matrices, ``sum(A**k / k!)``.

    Parameters
    ----------
    A : Tensor of shape (..., N, N)
        Of a floating or complex dtype.

    Returns
    -------
    Tensor of shape (..., N, N)
        NaN for matrices with NaN or infinity.

    Raises
    ------
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.

    Notes
    -----
    Each matrix is halved until its norm is small, a rational approximation is
    evaluated, and the result is squared as often.

    References
    ----------
    N. J. Higham, "The scaling and squaring method for the matrix exponential
    revisited", SIAM J. Matrix Anal. Appl. 26 (2005).

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.matrix_exp(tl.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    x = matrices_of("matrix_exp", A, square=True)
    if not x.size:
        return x.copy()
    single = x.dtype.name in ("float32", "complex64")
    times, finite = _halvings(x.detach(), _BOUND7_SINGLE if single else _BOUND13)
    x = where(finite, x, 0.0) * 2.0**-times
    one = eye(x.shape[-1], dtype=x.dtype, device=x.device)
    u, v = (_pade7 if single else _pade13)(x, one)
    found = solve(v - u, v + u)
    for k in range(int(largest(on_every_example(times)).item())):
        found = where(times > k, matmul(found, found), found)
    return where(finite, found, float("nan"))


def _halvings(x, bound):
    """How often to halve each matrix, in its dtype, and whether it is finite."""
    size = matrix_norm(x, ord=inf, keepdims=True)
    finite = isfinite(size)
    ratio = where(finite & (size > bound), size / bound, 1.0)
    times = (log(ratio) * (1.0 / log(ratio * 0 + 2.0))).ceil()
    return times, finite


def _series(powers, coefficients):
    found = None
    for power, c in zip(powers, coefficients, strict=True):
        term = power * float(c)
        found = term if found is None else found + term
    return found


def _pade7(x, one):
    x2 = matmul(x, x)
    x4 = matmul(x2, x2)
    powers = (one, x2, x4, matmul(x4, x2))
    return matmul(x, _series(powers, _PADE7[1::2])), _series(powers, _PADE7[::2])


def _pade13(x, one):
    x2 = matmul(x, x)
    x4 = matmul(x2, x2)
    x6 = matmul(x4, x2)
    high, low = (x2, x4, x6), (one, x2, x4, x6)
    odd = matmul(x6, _series(high, _PADE13[9::2])) + _series(low, _PADE13[1:9:2])
    even = matmul(x6, _series(high, _PADE13[8::2])) + _series(low, _PADE13[:8:2])
    return matmul(x, odd), even

"""Linear systems and inverses: solve, inv, solve_triangular and what follows from them.

Derivatives: M. B. Giles, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation", Advances in Automatic Differentiation, Springer 2008,
sections 2.2 and 2.3.
"""

from math import prod

from tensorlib.autograd.batch import hide_levels, show_levels
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.core.naming import own_errors
from tensorlib.core.tensor import is_batched
from tensorlib.linalg.arguments import (
    adjoint,
    common_batch,
    fresh,
    matrices_of,
    promoted,
    spread,
    stacked,
    unstacked,
)
from tensorlib.linalg.matrix_op import (
    MatrixOp,
    is_differentiated,
    permutation,
    same_examples,
)
from tensorlib.ops.arguments import tensor_of
from tensorlib.ops.creation import arange, empty_like
from tensorlib.ops.diagonals import tril, triu
from tensorlib.ops.indexing import take_along_axis
from tensorlib.ops.linalg import matmul
from tensorlib.ops.reduce import broadcast_to
from tensorlib.ops.shape import (
    expand_dims,
    matrix_transpose,
    moveaxis,
    reshape,
    squeeze,
)

__all__ = [
    "cholesky_solve",
    "inv",
    "inverse_stack",
    "lu_solve",
    "solve",
    "solve_stack",
    "solve_triangular",
    "triangular_stack",
]


# ---- inverse ---------------------------------------------------------------------
class Inv(MatrixOp):
    """Y = A^-1; dY = -Y dA Y."""

    is_analytic = True
    reads_output = True
    expected = "an invertible matrix"
    found = "a singular one: pivot {} of its LU factorization is 0"

    def pullback(self, params, g, needs, y, saved):
        transpose = matrix_transpose(y)
        return (-matmul(matmul(transpose, g), transpose),)

    def pushforward(self, params, tangents, y, saved):
        return -matmul(matmul(y, tangents[0]), y)


_inv = Inv("inv")


def inverse_stack(a, batch=()):
    """Return the inverses of contiguous matrices (B, N, N)."""
    y = empty_like(a)
    _inv.execute((y,), (a,), batch)
    return _inv.recorded(y, (a,))


@own_errors
def inv(x, /):
    """Return the inverses of square matrices.

    Parameters
    ----------
    x : Tensor of shape (..., N, N)
        Of a floating or complex dtype.

    Returns
    -------
    Tensor of shape (..., N, N)

    Raises
    ------
    LinAlgError
        If a matrix is singular: a pivot of its LU factorization is exactly 0.
    ShapeError
        If the matrices are not square.
    DTypeError
        If the dtype is neither floating nor complex.

    Notes
    -----
    ``solve(a, b)`` is more accurate than ``inv(a) @ b``, and takes a third of the time.
    Matrices with NaN have inverses of NaN.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.linalg.inv(tl.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    x = matrices_of("inv", x, square=True)
    batch = x.shape[:-2]
    return unstacked(inverse_stack(stacked(x), batch), batch)


# ---- solve -----------------------------------------------------------------------
class Solve(MatrixOp):
    """A X = B; saved: A, and its factors and their order as the kernel left them."""

    is_analytic = True
    reads_output = True
    expected = Inv.expected
    found = Inv.found

    def pullback(self, params, g, needs, x, saved):
        a, lu, order = saved
        if is_differentiated():
            gb = solve_stack(matrix_transpose(a).contiguous(), g.contiguous())
        else:
            lu, g, order = same_examples("solve", lu, g, order)
            gb = fresh(g, *g.shape)
            _solve_adjoint.execute((gb,), (lu, g.contiguous(), order), ())
        return (-matmul(gb, matrix_transpose(x)) if needs[0] else None), gb

    def pushforward(self, params, tangents, x, saved):
        da, db = tangents
        right = None if da is None else -matmul(da, x)
        if db is not None:
            right = db if right is None else right + db
        return solve_stack(saved[0], right.contiguous())


_solve = Solve("solve")
_solve_adjoint = MatrixOp("solve_adjoint")  # with the transpose: Solve is analytic


def solve_stack(a, b, batch=()):
    """Return A^-1 B for contiguous stacks (B, N, N) and (B, N, K)."""
    a, b = same_examples("solve", a, b)
    x, lu = empty_like(b), empty_like(a)
    order = fresh(a, *a.shape[:2], dtype="int32")
    _solve.execute((x, lu, order), (a, b), batch)
    return _solve.recorded(x, (a, b), (a, lu, order))


@own_errors
def solve(x1, x2, /):
    """Return the solutions of systems of linear equations, ``x1 @ result = x2``.

    Parameters
    ----------
    x1 : Tensor of shape (..., N, N)
        Of a floating or complex dtype.
    x2 : Tensor of shape (N,) or (..., N, K)
        Right sides. One-dimensional, it is one vector; otherwise a stack of matrices,
        whose leading axes broadcast with those of `x1`.

    Returns
    -------
    Tensor of shape (..., N) or (..., N, K)
        Of the promoted dtype.

    Raises
    ------
    LinAlgError
        If a matrix is singular: a pivot of its LU factorization is exactly 0.
    ShapeError
        If matrices are not square or shapes do not fit.
    DTypeError
        If a dtype is neither floating nor complex.

    Notes
    -----
    By LU factorization with partial pivoting. One matrix with a stack of right sides is
    factored once. The gradient solves one more system with the same factors.

    Examples
    --------
    >>> import tensorlib as tl
    >>> a = tl.tensor([[3.0, 1.0], [1.0, 2.0]])
    >>> tl.linalg.solve(a, tl.tensor([9.0, 8.0]))
    tensor([2., 3.])
    """
    a = matrices_of("solve", x1, square=True)
    b = tensor_of("solve", x2)
    if b.ndim == 1:
        _check_sides("solve", a, b, b.shape[0])
        found = solve(a, expand_dims(b, axis=1))
        return squeeze(found, axis=-1)
    b = matrices_of("solve", b)
    _check_sides("solve", a, b, b.shape[-2])
    a, b = promoted(a, b)
    if a.ndim == 2 and is_batched(b) and not (is_batched(a) or _solve.is_tracked((a,))):
        shown, levels = show_levels(b)  # the matrix is factored once
        return hide_levels(solve(a, shown), levels)
    if b.ndim > 2 and prod(a.shape[:-2]) == 1:
        return _solve_one(a, b)
    batch = common_batch(a, b)
    return unstacked(solve_stack(spread(a, batch), spread(b, batch), batch), batch)


def _check_sides(op, a, b, rows):
    if a.shape[-1] != rows:
        raise ShapeError(
            f"{op}: expected right sides of {a.shape[-1]} rows, got matrices of shape "
            f"{a.shape} and right sides of shape {b.shape}"
        )


def _solve_one(a, b):
    """One matrix and many right sides: they become the columns of one."""
    batch = common_batch(a, b)
    columns = moveaxis(b, -2, 0)
    n = columns.shape[0]
    flat = reshape(columns, (1, n, prod(columns.shape[1:])))
    x = solve_stack(stacked(a), flat.contiguous())
    x = moveaxis(reshape(x, columns.shape), 0, -2)
    return reshape(x, (*batch, *b.shape[-2:]))


# ---- triangular systems ----------------------------------------------------------
class SolveTriangular(MatrixOp):
    """op(A) X = B or X op(A) = B; params: upper, left, transposed, unit."""

    is_analytic = True
    reads_output = True
    expected = "a triangular matrix without zeros on its diagonal"
    found = "one whose element {} there is 0"

    def pullback(self, params, g, needs, x, saved):
        upper, left, transposed, unit = params
        (a,) = saved
        gb = triangular_stack(a, g.contiguous(), upper, left, not transposed, unit)
        if not needs[0]:
            return None, gb
        first, second = (gb, x) if left == (not transposed) else (x, gb)
        product = (
            matmul(first, matrix_transpose(second))
            if left
            else matmul(matrix_transpose(first), second)
        )
        return -_triangle(product, upper, unit), gb

    def pushforward(self, params, tangents, x, saved):
        upper, left, transposed, unit = params
        da, db = tangents
        right = None
        if da is not None:
            da = _triangle(da, upper, unit)
            da = matrix_transpose(da) if transposed else da
            right = -(matmul(da, x) if left else matmul(x, da))
        if db is not None:
            right = db if right is None else right + db
        return triangular_stack(saved[0], right.contiguous(), *params)


_solve_triangular = SolveTriangular("solve_triangular")


def _triangle(x, upper, unit):
    """Return the part of a matrix that a triangular solution reads."""
    return triu(x, k=int(unit)) if upper else tril(x, k=-int(unit))


def triangular_stack(a, b, upper, left=True, transposed=False, unit=False, batch=()):
    """Return op(A)^-1 B or B op(A)^-1 for contiguous stacks."""
    a, b = same_examples("solve_triangular", a, b)
    x = empty_like(b)
    _solve_triangular.execute(
        (x,), (a, b), batch, upper=upper, left=left, transposed=transposed, unit=unit
    )
    params = (upper, left, transposed, unit)
    return _solve_triangular.recorded(x, (a, b), (a,), params)


@own_errors
def solve_triangular(A, B, /, *, upper, left=True, unitriangular=False):  # noqa: N803
    """Return the solutions of triangular systems, ``A @ X = B`` or ``X @ A = B``.

    Parameters
    ----------
    A : Tensor of shape (..., N, N)
        Only one triangle is read.
    B : Tensor of shape (..., N, K), or (..., K, N) if not `left`
    upper : bool
        Which triangle.
    left : bool, default True
        Whether A stands on the left of X.
    unitriangular : bool, default False
        Whether to take the diagonal as ones, without reading it.

    Returns
    -------
    Tensor of shape (..., N, K) or (..., K, N)

    Raises
    ------
    LinAlgError
        If an element of a diagonal is 0.
    ShapeError
        If matrices are not square or shapes do not fit.
    DTypeError
        If a dtype is neither floating nor complex.

    Examples
    --------
    >>> import tensorlib as tl
    >>> a = tl.tensor([[2.0, 0.0], [1.0, 4.0]])
    >>> tl.linalg.solve_triangular(a, tl.tensor([[2.0], [5.0]]), upper=False)
    tensor([[1.],
            [1.]])
    """
    op = "solve_triangular"
    a = matrices_of(op, A, square=True)
    b = matrices_of(op, B)
    if b.shape[-2 if left else -1] != a.shape[-1]:
        raise ShapeError(
            f"{op}: expected {a.shape[-1]} {'rows' if left else 'columns'} of B, got "
            f"A.shape={a.shape}, B.shape={b.shape}"
        )
    a, b = promoted(a, b)
    batch = common_batch(a, b)
    x = triangular_stack(
        spread(a, batch), spread(b, batch), bool(upper), bool(left),
        unit=bool(unitriangular), batch=batch,
    )  # fmt: skip
    return unstacked(x, batch)


# ---- with factors that are there already -----------------------------------------
@own_errors
def cholesky_solve(B, L, /, *, upper=False):  # noqa: N803
    """Return the solutions of ``A @ X = B`` from a Cholesky factor of A.

    Parameters
    ----------
    B : Tensor of shape (..., N, K)
    L : Tensor of shape (..., N, N)
        Lower triangular with ``A = L @ conj(L.mT)``, as `cholesky` gives it.
    upper : bool, default False
        Whether it is upper triangular, with ``A = conj(L.mT) @ L``.

    Returns
    -------
    Tensor of shape (..., N, K)

    Raises
    ------
    LinAlgError
        If an element of the factor's diagonal is 0.
    ShapeError
        If shapes do not fit.

    Examples
    --------
    >>> import tensorlib as tl
    >>> factor = tl.linalg.cholesky(tl.tensor([[4.0, 0.0], [0.0, 9.0]]))
    >>> tl.linalg.cholesky_solve(tl.tensor([[8.0], [9.0]]), factor)
    tensor([[2.],
            [1.]])
    """
    factor = matrices_of("cholesky_solve", L, square=True)
    if upper:
        factor = adjoint(factor)
    half = solve_triangular(factor, B, upper=False)
    return solve_triangular(adjoint(factor), half, upper=True)


@own_errors
def lu_solve(LU, pivots, B, /, *, left=True, adjoint=False):  # noqa: N803
    """Return the solutions of ``A @ X = B`` from the factors of `lu_factor`.

    Parameters
    ----------
    LU : Tensor of shape (..., N, N)
    pivots : Tensor of shape (..., N), of dtype int32
    B : Tensor of shape (..., N, K), or (..., K, N) if not `left`
    left : bool, default True
        Whether A stands on the left of X.
    adjoint : bool, default False
        Solve with the conjugate transpose of A.

    Returns
    -------
    Tensor of the shape of `B`, with leading axes broadcast

    Raises
    ------
    LinAlgError
        If A is singular.
    IndexError
        If a pivot is out of range.
    ShapeError
        If shapes do not fit.
    DTypeError
        If the pivots are not int32.

    Examples
    --------
    >>> import tensorlib as tl
    >>> factors = tl.linalg.lu_factor(tl.tensor([[0.0, 2.0], [1.0, 0.0]]))
    >>> tl.linalg.lu_solve(*factors, tl.tensor([[4.0], [5.0]]))
    tensor([[5.],
            [2.]])
    """
    lu = matrices_of("lu_solve", LU, square=True)
    if not left:
        x = lu_solve(lu, pivots, conjugate_transpose(B), adjoint=not adjoint)
        return conjugate_transpose(x)
    b = matrices_of("lu_solve", B)
    lu, b = promoted(lu, b)
    _check_sides("lu_solve", lu, b, b.shape[-2])
    batch = common_batch(lu, b)
    order = _order("lu_solve", lu, pivots)
    if adjoint:
        upper = conjugate_transpose(lu)
        x = solve_triangular(upper, b, upper=False)
        x = solve_triangular(upper, x, upper=True, unitriangular=True)
        return _rows(x, _inverse_order(order), batch)
    x = solve_triangular(
        lu, _rows(b, order, batch), upper=False, unitriangular=True
    )  # fmt: skip
    return solve_triangular(lu, x, upper=True)


conjugate_transpose = adjoint  # which is also the name of a parameter of lu_solve


def _order(op, lu, pivots):
    """Which row of A each row of L comes from, shape (..., N)."""
    pivots = tensor_of(op, pivots)
    if pivots.dtype.name != "int32":
        raise DTypeError(f"{op}: expected pivots of dtype int32, got {pivots.dtype}")
    if pivots.shape != lu.shape[:-1]:
        raise ShapeError(
            f"{op}: expected pivots of shape {lu.shape[:-1]}, got {pivots.shape}"
        )
    flat = reshape(pivots, (prod(lu.shape[:-2]), lu.shape[-1])).contiguous()
    return reshape(permutation(flat, lu.shape[-1]), pivots.shape)


def _inverse_order(order):
    places = arange(order.shape[-1], device=order.device)
    matches = expand_dims(order, axis=-2) == expand_dims(places, axis=1)
    return (matches * places).sum(axis=-1)


def _rows(x, order, batch):
    x = broadcast_to(x, (*batch, *x.shape[-2:]))
    order = broadcast_to(expand_dims(order, axis=-1), x.shape)
    return take_along_axis(x, order, axis=-2)

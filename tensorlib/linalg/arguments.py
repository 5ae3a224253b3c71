"""Matrices as arguments: checked, promoted, and as a stack (B, M, N)."""

from math import prod

from tensorlib.autograd.batch import show_levels
from tensorlib.core.dtype import finfo, result_type
from tensorlib.core.errors import DTypeError, ShapeError
from tensorlib.linalg.matrix_op import fresh
from tensorlib.ops.arguments import tensor_of
from tensorlib.ops.complex import conj, real
from tensorlib.ops.creation import eye
from tensorlib.ops.elementwise import astype
from tensorlib.ops.indexing import where
from tensorlib.ops.manipulation import broadcast_shapes
from tensorlib.ops.reduce import broadcast_to
from tensorlib.ops.shape import matrix_transpose, reshape

__all__ = [
    "adjoint",
    "common_batch",
    "flat",
    "floating",
    "fresh",
    "matrices_of",
    "on_every_example",
    "promoted",
    "real_diagonal",
    "real_dtype",
    "spread",
    "stacked",
]


def floating(op, x):
    """Return `x` as a tensor of a floating or complex dtype."""
    x = tensor_of(op, x)
    if x.dtype.kind != "f" and not x.dtype.is_complex:
        raise DTypeError(
            f"{op}: expected a floating or complex dtype, got {x.dtype.name}; cast "
            "with .astype() first"
        )
    return x


def matrices_of(op, x, square=False):
    """Return `x` as a tensor of matrices, in the last two axes, that LAPACK takes."""
    x = floating(op, x)
    if x.dtype.name in ("float16", "bfloat16"):
        raise DTypeError(
            f"{op}: expected float32, float64 or a complex dtype, got {x.dtype.name}; "
            "cast with .astype() first"
        )
    if x.ndim < 2:
        raise ShapeError(f"{op}: expected at least 2 dimensions, got shape {x.shape}")
    if square and x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{op}: expected square matrices, got shape {x.shape}")
    return x


def promoted(*tensors):
    """Return tensors in their common dtype."""
    if all(x.dtype is tensors[0].dtype for x in tensors):
        return tensors
    dtype = result_type(*tensors)
    return [astype(x, dtype, copy=False) for x in tensors]


def stacked(x):
    """Return matrices (..., M, N) as contiguous ones (B, M, N)."""
    if x.ndim != 3:
        x = reshape(x, (prod(x.shape[:-2]), *x.shape[-2:]))
    return x.contiguous()


def common_batch(a, b):
    """Return the leading axes that two stacks of matrices broadcast to."""
    batch, other = a.shape[:-2], b.shape[:-2]
    return batch if batch == other else broadcast_shapes(batch, other)


def spread(x, batch):
    """Return matrices (..., M, N), broadcast over `batch`, as (B, M, N)."""
    if x.shape[:-2] != batch:
        x = broadcast_to(x, (*batch, *x.shape[-2:]))
    return stacked(x)


def flat(x):
    """Return the elements of each matrix in a row (B, ...)."""
    return reshape(x, (x.shape[0], prod(x.shape[1:])))


def on_every_example(x):
    """Return `x` with what vmap hides in front, for a question about all examples."""
    return show_levels(x)[0]


def real_dtype(x):
    """Return the dtype of the parts of `x`, its own if it is real."""
    return finfo(x.dtype).dtype if x.dtype.is_complex else x.dtype


def adjoint(x):
    """Return the conjugate transposes of matrices."""
    return conj(matrix_transpose(x))


def real_diagonal(x):
    """Return square matrices without the imaginary parts of their diagonals."""
    if not x.dtype.is_complex:
        return x
    return where(eye(x.shape[-1], dtype="bool"), real(x), x)

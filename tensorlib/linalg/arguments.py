"""Matrices as arguments: checked, promoted, and as a stack (B, M, N)."""

from math import prod

from tensorlib.autograd.batch import show_levels
from tensorlib.core.dtype import finfo
from tensorlib.linalg.matrix_op import (
    common_batch,
    floating,
    fresh,
    matrices_of,
    promoted,
    spread,
    stacked,
    unstacked,
)
from tensorlib.ops.complex import conj, real
from tensorlib.ops.creation import eye
from tensorlib.ops.indexing import where
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
    "unstacked",
]


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
    return where(eye(x.shape[-1], dtype="bool", device=x.device), real(x), x)

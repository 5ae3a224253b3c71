"""Linear algebra: the Array API's linalg extension, and more names of PyTorch's.

Every op takes matrices in the last two axes and batches before them, in float32,
float64, complex64 or complex128, and has derivatives of any order, forward and reverse.
"""

from tensorlib.core.errors import LinAlgError
from tensorlib.linalg.determinant import det, slogdet
from tensorlib.linalg.eigen import eig, eigvals
from tensorlib.linalg.factorization import cholesky, lu, lu_factor, qr
from tensorlib.linalg.norms import cond, matrix_norm, norm, vector_norm
from tensorlib.linalg.products import (
    cross,
    diagonal,
    matrix_exp,
    matrix_power,
    multi_dot,
)
from tensorlib.linalg.solving import (
    cholesky_solve,
    inv,
    lu_solve,
    solve,
    solve_triangular,
)
from tensorlib.linalg.spectrum import (
    eigh,
    eigvalsh,
    lstsq,
    matrix_rank,
    pinv,
    svd,
    svdvals,
)
from tensorlib.ops.contraction import outer, tensordot, vecdot
from tensorlib.ops.diagonals import trace
from tensorlib.ops.linalg import matmul
from tensorlib.ops.shape import matrix_transpose

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_solve",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

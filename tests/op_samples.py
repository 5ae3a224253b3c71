"""The op table: a row for every public op and every Tensor-only method.

References are NumPy's and SciPy's functions in float64, or a few lines of the
definition. A tolerance stands in its row, beside the reason for it.
"""

from op_samples_create import CREATION, INPLACE, RANDOM
from op_samples_elementwise import (
    ACTIVATIONS,
    ARITHMETIC,
    ELEMENTARY,
    LOGIC,
    MATHEMATICS,
    SELECTION,
)
from op_samples_fft import FOURIER
from op_samples_linalg import LINEAR_ALGEBRA
from op_samples_manipulation import (
    CONTRACTIONS,
    MANIPULATION,
    SCATTERING,
    SEARCHING,
)
from op_samples_nnet import LINALG, NNET, OPTIMIZERS
from op_samples_reduce import REDUCTIONS
from op_samples_sequence import ATTENTION, RECURRENT
from op_samples_shape import INDEXING, SHAPES
from op_samples_sorting import SETS, SORTING, STATISTICS
from op_samples_window import CONVOLUTIONS, FOLDING, NORMS, POOLING

OPS = (
    ARITHMETIC + LOGIC + MATHEMATICS + ACTIVATIONS + SELECTION + REDUCTIONS + SHAPES
    + INDEXING + LINALG + NNET + RECURRENT + OPTIMIZERS + RANDOM + CREATION + INPLACE
    + ELEMENTARY + MANIPULATION + CONTRACTIONS
    + SEARCHING + SCATTERING + CONVOLUTIONS + POOLING + FOLDING + NORMS + ATTENTION
    + SORTING + SETS + STATISTICS + LINEAR_ALGEBRA + FOURIER
)  # fmt: skip
BY_NAME = {op.name: op for op in OPS}

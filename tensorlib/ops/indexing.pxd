# Indexing by position, for other families' rules.
from tensorlib.core.tensor cimport Tensor

# x[i, ...] for an int64 tensor of row numbers; differentiable in x.
cdef Tensor take_rows(str op, Tensor x, Tensor rows)
cdef int bind_indexing() except -1

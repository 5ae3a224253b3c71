# Selection for other families' rules, and the operator slots.
from tensorlib.core.tensor cimport Tensor

# where(condition, a, b) with tensors or Python scalars.
cdef Tensor select(Tensor condition, object a, object b)
cdef int bind_logic() except -1

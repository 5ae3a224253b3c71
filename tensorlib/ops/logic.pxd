# Selection for other families' rules, and the operator slots.
from tensorlib.core.tensor cimport Tensor

# where(condition, a, b) with tensors or Python scalars.
cdef Tensor select(Tensor condition, object a, object b)
# x = value where condition, of x's shape, holds; value has no axes and x's dtype. Not
# recorded.
cdef int select_into(Tensor x, Tensor condition, Tensor value) except -1
cdef int bind_logic() except -1

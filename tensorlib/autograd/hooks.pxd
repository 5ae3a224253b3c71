# What users hang on the gradient of a tensor.
from tensorlib.core.tensor cimport Tensor


# Tensor.hooks, shared with the node that made the tensor.
cdef class GradHooks:
    cdef list on_grad             # hook(grad) -> another gradient or None
    cdef list on_accumulated      # hook(leaf), after .grad was updated
    cdef object kept              # weak reference to a tensor that keeps .grad, or None
    # The gradient that the hooks make of g.
    cdef Tensor run(self, Tensor g)
    cdef int accumulated(self, Tensor leaf) except -1
    cdef int _keep(self, Tensor g) except -1

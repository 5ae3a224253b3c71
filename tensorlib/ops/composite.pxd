# Primitives whose kernels have a definition in Tensor operations beside them.
from tensorlib.autograd.primitive cimport Node, Primitive
from tensorlib.core.tensor cimport Tensor


cdef class Composite(Primitive):
    # The op in Tensor operations, on its recorded inputs.
    cdef Tensor compose(self, tuple inputs, object params)
    # The inputs as they were recorded; by default the tensors that were saved first.
    cdef tuple recorded_inputs(self, Node node)
    # The rules, taken from compose; vjp runs it while it is being recorded.
    cdef tuple composed_vjp(self, Node node, Tensor g)
    cdef Tensor composed_jvp(self, Node node, tuple tangents)

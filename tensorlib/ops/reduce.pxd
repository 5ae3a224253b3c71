# Sums and their transpose, broadcasting.
from tensorlib.core.tensor cimport Tensor

cdef Tensor broadcast(Tensor x, tuple shape)
cdef Tensor sum_to_shape(Tensor g, tuple shape)    # broadcast's transpose
# x with `axis` last, a view outside the graph: how kernels see an axis.
cdef Tensor moved_last(Tensor x, int axis)

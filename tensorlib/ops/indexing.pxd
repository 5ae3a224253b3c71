# Indexing by position, for other families' rules.
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport Primitive
from tensorlib.core.tensor cimport Tensor

# x[i, ...] for a tensor of row numbers; differentiable in x.
cdef Tensor take_rows(str op, Tensor x, Tensor rows)
# x[i, j, ..., rest] for index tensors of one shape; `before` axes of the rest will be
# moved to the front. axes: what an error calls the axes of the indices.
cdef Tensor gather_rows(Tensor x, tuple indices, int before=*, list axes=*)
# The slices of x at positions along an axis; differentiable in x.
cdef Tensor take_axis(str op, Tensor x, Tensor positions, object axis)
# Elements picked along the last axis.
cdef Tensor gather_last(Tensor x, Tensor positions)
# Run p's kernel of rows: out = rows[indices], or rows[indices] = out, or += out.
cdef int row_kernel(
    Primitive p, Tensor rows, Tensor out, tuple indices, bint write, bint accumulate,
    list axes=*,
) except -1
# Raise an IndexError for the first of the positions that is out of range, if any.
cdef int explain_range(str op, Tensor positions, int64_t extent, int axis) except -1
# The primitive of x[key] = value.
cdef Primitive assign_primitive
cdef int bind_indexing() except -1

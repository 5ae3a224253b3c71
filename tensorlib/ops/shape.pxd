# Views: each shares its input's storage and is recorded with its inverse.
from libc.stdint cimport int64_t
from tensorlib.autograd.primitive cimport Primitive
from tensorlib.core.abi cimport TL_MAX_NDIM, tl_buffer
from tensorlib.core.tensor cimport Tensor

cdef enum:
    SLICE = 0
    INTEGER = 1
    NEW_AXIS = 2

# A basic index, item by item; axes of the input past the last item are whole.
ctypedef struct IndexItem:
    int64_t kind      # SLICE, INTEGER or NEW_AXIS
    int64_t start
    int64_t step
    int64_t length

ctypedef struct BasicIndex:
    int64_t n
    IndexItem[2 * TL_MAX_NDIM] items

# shape: a contiguous layout; its data and dtype are filled in.
cdef Tensor reshape_to(Tensor x, tl_buffer *shape)
cdef Tensor reshape_like(Tensor x, tuple shape)
# Axis d of the result is axis order[d] of x.
cdef Tensor permute(Tensor x, const int *order)
cdef Tensor swap_axes(Tensor x, int first, int second)
cdef Tensor move_last(Tensor x, int axis)          # axis to the end
cdef Tensor move_back(Tensor x, int axis)          # the last axis to `axis`
# The layout of b[by]; by must be within bounds.
cdef void index_layout(
    tl_buffer *out, const tl_buffer *b, const BasicIndex *by) noexcept nogil
cdef void whole_index(BasicIndex *by, const tl_buffer *b) noexcept nogil
cdef Tensor select_basic(Tensor x, const BasicIndex *by)
cdef Tensor slice_axis(
    Tensor x, int axis, int64_t start, int64_t length, int64_t step)
cdef Tensor take_axis(Tensor x, int axis, int64_t position)
# How a view is recorded: its transpose, and what the rules keep of the index.
cdef Primitive view_grad()
cdef bytes selection_of(const tl_buffer *base, const BasicIndex *by)
cdef Tensor zeros_shaped(Tensor like, tuple shape)
cdef int bind_shape() except -1

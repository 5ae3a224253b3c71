# Ranges of axes that several operands share: merged where memory allows, then walked.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport TL_MAX_NDIM, tl_buffer

cdef enum:
    MAX_OPERANDS = 3

ctypedef struct tl_axes:
    int ndim
    int64_t size                               # product of shape; 1 when ndim is 0
    int64_t shape[TL_MAX_NDIM]
    int64_t strides[3][TL_MAX_NDIM]            # [operand][axis], in elements

# Axes first..last of a buffer as operand 0; more operands are set by axes_operand.
cdef void axes_init(
    tl_axes *axes, const tl_buffer *buffer, int first, int last
) noexcept nogil
# Strides of another operand for the same axes, from its axis `first` on.
cdef void axes_operand(
    tl_axes *axes, int operand, const tl_buffer *buffer, int first
) noexcept nogil
# Drop axes of one element and merge those that every operand walks as one.
cdef void axes_collapse(tl_axes *axes, int n_operands) noexcept nogil
# Order axes by falling stride of operand 0: memory order, whatever the view says.
cdef void axes_sort(tl_axes *axes, int n_operands) noexcept nogil
# Offset of element `index` (C order) in an operand.
cdef int64_t axes_offset(const tl_axes *axes, int operand, int64_t index) noexcept nogil

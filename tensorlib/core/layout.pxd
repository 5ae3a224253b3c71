# Shape, stride, broadcast and view algebra on tl_buffer. No Tensor here.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_buffer

# size, C strides and the flag, from shape and ndim.
cdef void set_contiguous(tl_buffer *b) noexcept nogil
# size and the flag from shape and strides (after a view changed them).
cdef void update_layout(tl_buffer *b) noexcept nogil
cdef bint same_shape(const tl_buffer *a, const tl_buffer *b) noexcept nogil
# Whether the elements fill their memory, each once, in some order of the axes.
cdef bint is_dense(const tl_buffer *b) noexcept nogil
# Whether axes longer than one have the same strides in two buffers of one shape.
cdef bint same_strides(const tl_buffer *a, const tl_buffer *b) noexcept nogil
# The axes of out, new, in the order that all dense operands of its shape share.
cdef void keep_order(
    tl_buffer *out, const tl_buffer **operands, int n) noexcept nogil
# Copies ndim, shape, strides, size, dtype, device, flags and data, not the storage.
cdef void copy_layout(tl_buffer *out, const tl_buffer *b) noexcept nogil
# The common shape of a and b into out (shape and ndim only); -1 when there is none.
cdef int broadcast_shape(
    tl_buffer *out, const tl_buffer *a, const tl_buffer *b) noexcept nogil
# View of b with the shape of target (zero strides); -1 when it does not fit.
cdef int broadcast_view(
    tl_buffer *out, const tl_buffer *b, const tl_buffer *target) noexcept nogil
# Strides for new_shape over b's memory; -1 when a copy is needed.
cdef int reshape_view(
    tl_buffer *out, const tl_buffer *b, int ndim, const int64_t *shape) noexcept nogil
# The shape as a tuple.
cdef tuple shape_tuple(const tl_buffer *b)
cdef tuple strides_tuple(const tl_buffer *b)
# A Python int or sequence of ints into b's shape and ndim; every entry >= 0,
# the product (times itemsize) representable. Raises ShapeError naming op.
cdef int parse_shape(str op, object shape, tl_buffer *b) except -1
# The same for a tuple of up to four small positive ints; False for anything else.
cdef bint plain_shape(tuple shape, tl_buffer *b) noexcept
# The same for the extents (first, *more), without a tuple of them.
cdef bint plain_extents(object first, tuple more, tl_buffer *b) noexcept
# An axis in 0..ndim-1 from one in -ndim..ndim-1.
cdef int parse_axis(str op, object axis, int ndim) except -1
# Axes into mask[0..ndim): int, tuple or None (all); duplicates raise.
cdef int parse_axes(str op, object axis, int ndim, bint *mask) except -1
# Raises BufferError unless b has the layout that PyBUF_* flags ask for.
cdef int check_contiguity(const tl_buffer *b, int flags) except -1

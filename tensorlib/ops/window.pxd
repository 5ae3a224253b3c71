# Arguments of ops that slide a window: convolutions, pooling, unfold.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_buffer
from tensorlib.core.tensor cimport Tensor

# Whether channels come last in a layout such as "NCHW"; raises for an unknown one.
cdef bint channels_last(str op, object layout, int spatial) except -1
# An int, or one for each of `spatial` axes, each in [least, 2**31).
cdef tuple per_axis(str op, str name, object value, int spatial, int64_t least)
# The same into the last `spatial` of three; the others are left as they are.
cdef int fill_axes(
    str op, str name, object value, int spatial, int64_t least, int64_t *out) except -1
# x as (N, C, D, H, W) or (N, D, H, W, C) with unit axes put in, contiguous.
cdef Tensor as_volume(Tensor x, int spatial, bint last)
# The same for values an axis: `missing` for the axes put in.
cdef tuple as_triple(tuple values, int missing)
# The volume of an op's result without the axes that were put in.
cdef Tensor from_volume(Tensor x, int spatial, bint last, bint batched)
# Raises unless x has `spatial` axes, channels and perhaps a batch; returns the latter.
cdef bint is_batched(str op, Tensor x, int spatial, object layout) except -1
# What is added before and after each axis, from ints, "same" or "valid".
cdef tuple paddings(
    str op, object padding, tuple kernel, tuple stride, tuple dilation)
# Whether equal values mean the same: an int, or a tuple of ints.
cdef bint is_plain(object value) noexcept
# b, in C order with channels first, as `as_volume` has it.
cdef void lay_volume(tl_buffer *volume, const tl_buffer *b, int spatial) noexcept
# Channels from second to last, or back; x has spatial or spatial + 1 axes more.
cdef Tensor channels_moved(Tensor x, int spatial, bint to_last)

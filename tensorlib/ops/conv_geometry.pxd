# What the arguments of a convolution mean.
cimport cython
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_conv_params
from tensorlib.core.tensor cimport Tensor

cdef enum:
    MOST = 2147483647     # sizes that a 32-bit BLAS can count


@cython.final
cdef class Geometry:
    cdef tl_conv_params params
    cdef tuple shapes             # of x, w and y, each with five axes
    cdef bint has_steps(self)

# The three as floating tensors of one dtype and device.
cdef tuple checked_operands(str op, object x, object weight, object bias)
cdef int64_t group_count(str op, object groups) except -1
# Raises unless weight, bias and groups fit an input of so many channels.
cdef int check_channels(
    str op, Tensor w, Tensor b, int spatial, int64_t channels, int64_t groups,
    int64_t produced, bint transposed) except -1
cdef int check_rank(str op, Tensor w, int spatial) except -1
# channels: rows of x, channels of x, of x in a group, and of y.
cdef Geometry new_geometry(
    str op, int64_t groups, tuple stride, tuple padding, tuple dilation, bint last,
    tuple sizes, tuple kernel, tuple outs, tuple channels)
# Of a convolution's arguments, all of them checked.
cdef Geometry checked_geometry(
    str op, int spatial, Tensor a, Tensor w, Tensor b, object stride, object padding,
    object dilation, int64_t count, object layout, bint last)

# Resolved keys of x[...].
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_buffer
from tensorlib.core.tensor cimport Tensor
from tensorlib.ops.shape cimport BasicIndex


cdef class Key:
    cdef BasicIndex basic
    cdef tuple indices        # as_positions, of one shape; empty for a basic key
    cdef list axes            # the axis of the basic result that each one indexes
    cdef list origins         # the axis of the tensor that each one indexes
    cdef bint adjacent        # index axes stand side by side in the key

# The key that indexes a tensor of x's layout; raises for what is no index of it. A key
# that is kept (for the reverse pass, or while the tensor changes) holds copies.
cdef Key resolve_key(const tl_buffer *x, object key, bint kept)
# Whether key is integers and slices alone, as nearly always; then by gets it.
cdef bint plain_key(const tl_buffer *x, object key, BasicIndex *by) except -1
# Append an integer or a slice on an axis of the given extent.
cdef int add_item(BasicIndex *by, object item, int axis, int64_t extent) except -1
# Raises when the tensor's shape is no longer the one that the key was resolved for.
cdef int check_key(const tl_buffer *before, const tl_buffer *x) except -1
# One int64 tensor an axis of the mask, which must have x's shape from `axis` on.
cdef list mask_positions(Tensor mask, const tl_buffer *x, int axis)
# The positions where a bool tensor holds, in C order of its elements; how many hold.
cdef Tensor flat_nonzero(Tensor mask)
cdef int64_t count_true(Tensor mask) except -1
# An integer tensor in a dtype that kernels read.
cdef Tensor as_positions(Tensor index)
# The key of integer positions on one axis, on the device of what they index.
cdef Key axis_key(Tensor positions, int axis, bint kept)
# The tensor that a key of whole slices ends in, and its axis; else the key, and 0.
cdef object behind_slices(object key, int *axis)

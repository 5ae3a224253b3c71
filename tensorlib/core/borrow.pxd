# Tensors over memory that somebody else owns.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_buffer
from tensorlib.core.tensor cimport Tensor

# Memory as another library describes it; strides in bytes.
ctypedef struct Foreign:
    void *data
    int dtype                  # tl_dtype
    int ndim
    const int64_t *shape
    const int64_t *strides
    bint readonly
    int device_type            # tl_device_type
    int device_index
    void *owner
    void (*release)(void *owner) noexcept nogil

# A tensor over it, or over a copy where layout or alignment demand one. Takes the
# owner over: on return and on error, release has been or will be called once.
cdef Tensor adopt_memory(str op, const Foreign *memory, bint copy)
# A contiguous copy on the same device, outside the graph.
cdef Tensor packed_copy(Tensor x)
# Raises DTypeError unless there is a dtype.
cdef int check_dtype(str op, int dtype, object described) except -1
# For Foreign.release: gives a Py_buffer of malloc back.
cdef void release_buffer(void *owner) noexcept nogil
# Elements that `memory` describes, inside a buffer of bytes: bounds are checked.
cdef Tensor over_buffer(object source, Foreign *memory, int64_t offset)

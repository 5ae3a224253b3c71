# The Tensor object: a tl_buffer, and what autograd hangs on it.
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t
from tensorlib.core.abi cimport tl_buffer, tl_storage

cdef enum:
    TRACK_GRAD = 1        # requires_grad
    TRACK_TANGENT = 2     # carries a forward-mode tangent


@cython.final
cdef class Tensor:
    cdef tl_buffer buf
    cdef object node              # autograd.Node that made it, or None
    cdef object grad_             # Tensor or None
    cdef object tangent           # autograd.dual.Tangent or None (forward mode)
    cdef object hooks             # autograd.hooks.GradHooks or None
    cdef uint8_t track            # TRACK_*
    cdef uint8_t is_view          # shares the storage of the tensor it came from
    cdef uint8_t parameter        # an nn.Parameter
    cdef uint32_t recorded_seen   # storage.recorded_writes when a view was taken
    cdef object __weakref__

# An uninitialised contiguous tensor with layout's shape.
cdef Tensor new_tensor(
    const tl_buffer *layout, int dtype, int device_type, int device_index)
# Same shape and device as `like`, contiguous, uninitialised.
cdef Tensor new_like(Tensor like, int dtype)
# The same, with the axes in the order in which they lie in a dense `like`.
cdef Tensor new_ordered(Tensor like, int dtype)
# A 0-d CPU tensor holding a Python scalar.
cdef Tensor new_scalar(object value, int dtype)
# A tensor over the same storage with another layout (data already offset).
cdef Tensor new_view(Tensor base, const tl_buffer *layout)
# The same, over any storage, which is retained.
cdef Tensor new_over(tl_storage *storage, const tl_buffer *layout)
# The same elements outside the graph.
cdef Tensor detached(Tensor x)
# Raises unless both are on one device, unless x is on the CPU.
cdef int check_same_device(str op, Tensor a, Tensor b) except -1
# The same, but one may be under more vmaps than the other.
cdef int check_alignable(str op, Tensor a, Tensor b) except -1
cdef int check_host(str op, Tensor x, bint crosses=*) except -1
# Raises when x must not be written to by op.
cdef int check_writable(str op, Tensor x) except -1
# Whether whoever sees x's memory from outside must not write to it.
cdef bint is_exposed_readonly(Tensor x) noexcept
# Count a write by the op with this immortal C name.
cdef void bump_version(Tensor x, const char *op) noexcept

ctypedef object (*unary_operator)(object x)
ctypedef object (*binary_operator)(object x, object y)
ctypedef object (*compare_operator)(object x, object y, int which)
ctypedef int (*assign_operator)(object x, object key, object value) except -1

# What Tensor's slots call; filled once by ops.bind_operators().
ctypedef struct Operators:
    binary_operator add, subtract, multiply, divide, floor_divide, remainder, pow
    binary_operator matmul, bitwise_and, bitwise_or, bitwise_xor
    binary_operator left_shift, right_shift
    binary_operator add_, subtract_, multiply_, divide_, floor_divide_, remainder_
    binary_operator pow_, and_, or_, xor_, left_shift_, right_shift_
    unary_operator negative, abs, invert, transpose, matrix_transpose
    compare_operator compare
    binary_operator getitem
    assign_operator setitem

cdef Operators *operators() noexcept

# Under tl.autocast: the dtype in which an op takes its operands.
from libc.stdint cimport uint64_t
from tensorlib.core.tensor cimport Tensor

# Contexts open in any thread. While it is zero nobody asks further: all that an op
# pays for autocast is this one comparison.
cdef int autocast_contexts

# The dtype that `op` takes a floating operand in; that of x when it takes it as it is.
cdef int autocast_dtype(str op, Tensor x) noexcept
# The cast of a parameter made earlier in the context, or None; and keeping one.
cdef Tensor known_cast(Tensor x, int dtype)
cdef int keep_cast(Tensor x, Tensor cast) except -1
# Set this thread's settings (0: off) and return those before, to be put back.
cdef uint64_t switch_autocast(uint64_t settings) noexcept

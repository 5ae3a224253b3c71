# Whether the elements of a buffer are finite, and what their range is.
from tensorlib.core.abi cimport tl_buffer

# Whether any element is infinite or NaN; False for what is not floating or on the CPU.
cdef bint has_nonfinite(const tl_buffer *b) noexcept nogil
# Shape, dtype, range and what is not finite, as a text for messages.
cdef str described(const tl_buffer *b)

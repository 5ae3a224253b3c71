# Python numbers and elements in memory.
from tensorlib.core.abi cimport tl_buffer

# The element at data, as a bool, int, float or complex.
cdef object read_scalar(int dtype, const void *data)
# Raises TypeError for what is no number, OverflowError for what does not fit.
cdef int write_scalar(int dtype, void *data, object value) except -1
# The elements of host memory from `axis` on, whose first lies at data, as nested lists.
cdef object nested_list(const tl_buffer *b, int axis, const char *data)

# The operator slots.
cdef int bind_arithmetic() except -1

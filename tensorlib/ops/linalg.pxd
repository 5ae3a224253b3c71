# The slot for the @ operator.
cdef int bind_linalg() except -1

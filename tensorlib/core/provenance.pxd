# Which line of the user's program is running.

# Whether the line of each recorded op is kept.
cdef bint tracing() noexcept
# (code, instruction) of the innermost frame outside the library, or None.
cdef tuple innermost_line()

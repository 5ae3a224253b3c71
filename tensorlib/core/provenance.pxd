# Which line of the user's program is running.
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

# Where a program is: an instruction, from which file, line and source follow.
ctypedef struct tl_place:
    PyObject *code        # counted reference, or NULL where it is not known
    int instruction       # offset in bytes

# The innermost place outside the library.
cdef void place_here(tl_place *place) noexcept
cdef void drop_place(tl_place *place) noexcept
# ``file:line: source``, or "" where it is not known.
cdef str place_text(const tl_place *place)
# Remember where the storage got this version, and tell where that was.
cdef void note_write(const void *storage, uint32_t version) noexcept
cdef str write_text(const void *storage, uint32_t version)

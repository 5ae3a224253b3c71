# Large blocks of memory, cut from regions of address space and joined again.
from libc.stdint cimport int64_t
from tensorlib.core.abi cimport tl_storage

cdef enum:
    HEADER = 128            # room for Chunk before its data, which stay aligned

cdef struct Region

cdef struct Chunk:
    tl_storage storage      # capacity: bytes of the chunk, header included
    Region *region
    Chunk *below            # the neighbour in memory, NULL for a region's first
    Chunk *previous         # of its bin, while free
    Chunk *next
    int64_t held            # while free: bytes not yet returned to the system
    bint free

# Callers hold the lock of the allocator in all of these.
# Room for nbytes from HEADER on; NULL where what is held would grow beyond `most`.
cdef Chunk *arena_take(int64_t nbytes, int64_t most, int64_t *growth) noexcept nogil
cdef void arena_give(Chunk *chunk) noexcept nogil
# Return free memory, at least `enough` bytes where there are as many; how much it was.
cdef int64_t arena_trim(int64_t enough) noexcept nogil

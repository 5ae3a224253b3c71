# Reference-counted memory from the caching allocator.
from libc.stdint cimport int64_t, uint8_t
from tensorlib.core.abi cimport tl_storage

# A flag of tl_storage beside TL_STORAGE_*: made while the thread was in inference mode.
cdef enum:
    STORAGE_INFERENCE = 4

# That flag where it applies to memory made now, else 0.
cdef uint8_t inference_flag() noexcept nogil
# Uninitialised memory, 64-byte aligned; raises MemoryError with the numbers.
cdef tl_storage *storage_new(int64_t nbytes) except NULL
# Memory of somebody else; release(owner) runs when the last reference goes.
cdef tl_storage *storage_borrow(
    void *data, int64_t nbytes, int flags, void *owner,
    void (*release)(void *owner) noexcept nogil,
) except NULL
cdef void storage_retain(tl_storage *storage) noexcept nogil
cdef void storage_release(tl_storage *storage) noexcept nogil
# Work space inside kernels; NULL when there is no memory.
cdef tl_storage *scratch_new(int64_t nbytes) noexcept nogil

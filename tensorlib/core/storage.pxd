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

# ---- what kernels derive from a storage's contents, and keep with it ---------------
# Which form of which elements; unused sizes are 0.
ctypedef struct tl_derived_key:
    const void *data        # first element
    const void *maker       # address of what makes this form, and of nothing else
    int64_t sizes[4]

cdef enum:
    DERIVED_READY = 0       # the block holds the form
    DERIVED_SCRATCH = 1     # it is to be filled
    DERIVED_WANTED = 2      # and then to be handed to derived_keep

# The form asked for, or nbytes to make it in; `of` may be NULL. NULL without memory.
cdef tl_storage *derived_take(
    tl_storage *of, const tl_derived_key *key, int64_t nbytes, int *state
) noexcept nogil
# Keep a reference to `made`, unless the contents have changed since.
cdef void derived_keep(
    tl_storage *of, const tl_derived_key *key, tl_storage *made) noexcept nogil
# Forget every form.
cdef void derived_drop(tl_storage *of) noexcept nogil
# Somebody outside has the address (no more): nothing is kept meanwhile.
cdef void storage_lend(tl_storage *storage) noexcept nogil
cdef void storage_return(tl_storage *storage) noexcept nogil

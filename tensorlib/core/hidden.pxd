# Hidden batch axes: what a tensor under `vmap` has besides its logical shape.
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from tensorlib.core.abi cimport TL_BATCHED, tl_storage

cdef enum:
    MAX_LEVELS = 16          # vmaps that one tensor may be under

ctypedef struct tl_hidden:
    int32_t n                       # axes, by rising level
    uint64_t[MAX_LEVELS] level      # which vmap call each belongs to
    int64_t[MAX_LEVELS] size
    int64_t[MAX_LEVELS] stride      # bytes; 0 where the elements are shared
    uint16_t device_type            # of the memory under them
    uint16_t device_index

# The axes that a device_index of TL_BATCHED stands for; those of 0 are none.
cdef const tl_hidden *hidden_axes(int index) noexcept nogil
# Memory for n bytes under the axes of `index`, outermost first, on their device; it is
# the owner of its own index, device_index.
cdef tl_storage *batched_storage(int index, int64_t nbytes) except NULL
# The memory of base, read-only, under other axes; likewise.
cdef tl_storage *hidden_view(tl_storage *base, const tl_hidden *axes) except NULL
# What a storage is a hidden_view of; itself when it is none.
cdef tl_storage *root_storage(tl_storage *storage) noexcept nogil
# Writes seen by the memory, however it is viewed.
cdef inline uint32_t version_of(tl_storage *storage) noexcept:
    if storage.device_type == TL_BATCHED:
        storage = root_storage(storage)
    return storage.version
# out = axes of a and b, on the device of a; those that a lacks have stride 0. out may
# be a.
cdef int union_axes(tl_hidden *out, const tl_hidden *a, const tl_hidden *b) except -1
# Where the level stands, or would stand with present = False.
cdef int find_level(const tl_hidden *axes, uint64_t level, bint *present) noexcept
cdef int insert_axis(
    tl_hidden *axes, uint64_t level, int64_t size, int64_t stride) except -1
cdef void remove_axis(tl_hidden *axes, int at) noexcept

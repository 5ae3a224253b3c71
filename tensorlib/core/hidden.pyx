"""Hidden batch axes, the memory side of `vmap`.

A tensor under `vmap` has the shape of one example, and axes that no op sees: one per
enclosing `vmap` call, with a length and a stride. Every view of it is made by
arithmetic on the visible axes alone and has the same hidden ones. They are its device:
`device_type` is TL_BATCHED and `device_index` an entry of a table here, which also says
where the memory is. Kernels have no TL_BATCHED entries, so an ordinary call pays
nothing, and `launch` finds the hidden axes where it would otherwise report a missing
kernel.

Entries are shared by all tensors with the same axes, and counted by the storages that
use them. Storages may be freed by any thread, so freeing only counts down; unused
entries are collected here, under the GIL, when the table is full.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from tensorlib.core.abi cimport (
    TL_BATCHED, TL_CPU, TL_STORAGE_BORROWED, TL_STORAGE_READONLY, tl_storage,
)
from tensorlib.core.remote cimport storage_on
from tensorlib.core.storage cimport (
    storage_borrow, storage_new, storage_release, storage_retain,
)

from tensorlib.core.errors import GraphError, ShapeError

cdef extern from *:
    """
    #include <stdint.h>
    static inline int64_t tl_count(int64_t *count, int64_t by) {
        return __atomic_add_fetch(count, by, __ATOMIC_ACQ_REL);
    }
    """
    int64_t tl_count(int64_t *count, int64_t by) noexcept nogil

cdef enum:
    ENTRIES = 65536          # what a device_index can name
    BUCKETS = 4096

ctypedef struct Entry:
    tl_hidden axes
    int64_t users            # storages; atomic
    int next                 # in its bucket
    int bucket

# Of a hidden_view, and of memory on another device: what it holds on to.
ctypedef struct Held:
    tl_storage *base
    Entry *entry

cdef Entry *_entries[ENTRIES]    # [0] stands for no axes
cdef int _buckets[BUCKETS]       # first entry of each chain, 0 for none
cdef int _used = 1               # entries below it exist
cdef int _free = 0               # chain of collected entries
_entries[0] = <Entry *>calloc(1, sizeof(Entry))


# ---- the table -----------------------------------------------------------------
cdef const tl_hidden *hidden_axes(int index) noexcept nogil:
    return &_entries[index].axes


cdef bint _same(const tl_hidden *a, const tl_hidden *b) noexcept:
    cdef int i
    if (
        a.n != b.n or a.device_type != b.device_type
        or a.device_index != b.device_index
    ):
        return False
    for i in range(a.n):
        if a.level[i] != b.level[i] or a.stride[i] != b.stride[i] or (
            a.size[i] != b.size[i]
        ):
            return False
    return True


cdef int _bucket_of(const tl_hidden *axes) noexcept:
    cdef uint64_t mixed = 0
    cdef int i
    for i in range(axes.n):
        mixed = (mixed ^ axes.level[i]) * <uint64_t>0x9E3779B97F4A7C15
        mixed = (mixed ^ <uint64_t>axes.stride[i]) * <uint64_t>0x9E3779B97F4A7C15
    return <int>((mixed >> 32) % BUCKETS)


cdef void _collect() noexcept:
    """Chain the entries that no storage uses any more."""
    cdef int index
    cdef int *place
    global _free
    for index in range(1, _used):
        if _entries[index].users:
            continue
        place = &_buckets[_entries[index].bucket]
        while place[0] and place[0] != index:
            place = &_entries[place[0]].next
        if place[0]:
            place[0] = _entries[index].next
            _entries[index].next = _free
            _free = index


cdef int _unused_entry() except -1:
    global _used, _free
    cdef int index
    if _used == ENTRIES and not _free:
        _collect()
    if _free:
        index = _free
        _free = _entries[index].next
        return index
    if _used == ENTRIES:
        raise MemoryError(
            f"vmap: tensors under {ENTRIES - 1} different layouts of batch axes are "
            "alive; run backward more often, or free recorded results"
        )
    _entries[_used] = <Entry *>calloc(1, sizeof(Entry))
    if _entries[_used] == NULL:
        raise MemoryError("vmap: no memory for an entry of the table of batch axes")
    _used += 1
    return _used - 1


cdef int _entry_of(const tl_hidden *axes) except -1:
    """The entry for these axes, which the caller then uses."""
    cdef int bucket = _bucket_of(axes)
    cdef int index = _buckets[bucket]
    while index and not _same(&_entries[index].axes, axes):
        index = _entries[index].next
    if index == 0:
        index = _unused_entry()
        _entries[index].axes = axes[0]
        _entries[index].bucket = bucket
        _entries[index].next = _buckets[bucket]
        _buckets[bucket] = index
    tl_count(&_entries[index].users, 1)
    return index


# ---- storages ------------------------------------------------------------------
cdef void _forget(void *owner) noexcept nogil:
    tl_count(&(<Entry *>owner).users, -1)


cdef void _let_go(void *owner) noexcept nogil:
    cdef Held *held = <Held *>owner
    storage_release(held.base)
    if held.entry != NULL:
        tl_count(&held.entry.users, -1)
    free(held)


cdef tl_storage *batched_storage(int index, int64_t nbytes) except NULL:
    cdef tl_hidden axes = _entries[index].axes
    cdef tl_storage *made
    cdef int i
    for i in range(axes.n - 1, -1, -1):
        axes.stride[i] = nbytes
        nbytes *= axes.size[i]
    if axes.device_type != TL_CPU:
        return _batched_remote(&axes, nbytes)
    made = storage_new(nbytes)
    try:
        index = _entry_of(&axes)
    except BaseException:
        storage_release(made)
        raise
    made.device_type, made.device_index = TL_BATCHED, index
    made.owner, made.release = _entries[index], _forget
    return made


cdef tl_storage *_batched_remote(const tl_hidden *axes, int64_t nbytes) except NULL:
    cdef tl_storage *base = storage_on(axes.device_type, axes.device_index, nbytes)
    cdef tl_storage *made
    try:
        made = hidden_view(base, axes)
    finally:
        storage_release(base)
    made.flags = base.flags     # its own root, for nobody else has seen the memory
    return made


cdef tl_storage *hidden_view(tl_storage *base, const tl_hidden *axes) except NULL:
    cdef Held *held = <Held *>malloc(sizeof(Held))
    cdef tl_storage *made
    cdef int index
    if held == NULL:
        raise MemoryError("vmap: no memory for a view")
    storage_retain(base)
    held.base, held.entry = base, NULL
    try:
        made = storage_borrow(
            base.data, base.nbytes, TL_STORAGE_READONLY, held, _let_go
        )
    except BaseException:
        _let_go(held)
        raise
    try:
        index = _entry_of(axes)
    except BaseException:
        storage_release(made)
        raise
    held.entry = _entries[index]
    made.device_type, made.device_index = TL_BATCHED, index
    return made


cdef tl_storage *root_storage(tl_storage *storage) noexcept nogil:
    while storage.device_type == TL_BATCHED and storage.flags & TL_STORAGE_BORROWED:
        storage = (<Held *>storage.owner).base
    return storage


# ---- sets of axes --------------------------------------------------------------
cdef int find_level(const tl_hidden *axes, uint64_t level, bint *present) noexcept:
    cdef int i = 0
    while i < axes.n and axes.level[i] < level:
        i += 1
    present[0] = i < axes.n and axes.level[i] == level
    return i


cdef int insert_axis(
    tl_hidden *axes, uint64_t level, int64_t size, int64_t stride
) except -1:
    cdef bint present
    cdef int i, at = find_level(axes, level, &present)
    if present:
        raise GraphError("vmap: a tensor has this batch axis already")
    if axes.n == MAX_LEVELS:
        raise ShapeError(f"vmap: expected at most {MAX_LEVELS} nested calls")
    for i in range(axes.n, at, -1):
        axes.level[i], axes.size[i] = axes.level[i - 1], axes.size[i - 1]
        axes.stride[i] = axes.stride[i - 1]
    axes.level[at], axes.size[at], axes.stride[at] = level, size, stride
    axes.n += 1
    return 0


cdef void remove_axis(tl_hidden *axes, int at) noexcept:
    cdef int i
    axes.n -= 1
    for i in range(at, axes.n):
        axes.level[i], axes.size[i] = axes.level[i + 1], axes.size[i + 1]
        axes.stride[i] = axes.stride[i + 1]


cdef int union_axes(tl_hidden *out, const tl_hidden *a, const tl_hidden *b) except -1:
    cdef int i
    cdef bint present
    out[0] = a[0]
    for i in range(b.n):
        find_level(out, b.level[i], &present)
        if not present:
            insert_axis(out, b.level[i], b.size[i], 0)
    return 0

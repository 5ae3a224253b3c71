"""The caching allocator: reference-counted blocks that are reused, not returned.

A fresh result normally costs more in page faults than in arithmetic, so freed
blocks wait in free lists by size class (four classes an octave: at most 25 % is
lost to rounding, half where a large request takes a larger block that is free).
Blocks of a huge page or more are aligned to it and advised to use it. Large blocks
begin at a page; their data are staggered by a few cache lines, because streams whose
addresses agree in the low bits (an optimizer's parameter, gradient and moments) get in
each other's way: Adam on 4 x 10^6 parameters takes 5.2 ms without and 2.5 ms with it.

The cache never holds more than the largest amount that was ever live (at least 64 MiB),
so a program whose shapes vary does not grow without end.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memset

from tensorlib.core.abi cimport TL_CPU, TL_STORAGE_BORROWED, tl_storage

cdef extern from *:
    """
    static __thread int tl_inference_;
    """
    int tl_inference_

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memptr, size_t alignment, size_t size)

cdef extern from *:
    """
    #include <stdatomic.h>
    #include <sys/mman.h>
    static inline void tl_lock(int *lock) {
        while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
            while (__atomic_load_n(lock, __ATOMIC_RELAXED)) {}
    }
    static inline void tl_unlock(int *lock) {
        __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    }
    static inline int64_t tl_increment(int64_t *count) {
        return __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    }
    static inline int64_t tl_decrement(int64_t *count) {
        return __atomic_sub_fetch(count, 1, __ATOMIC_ACQ_REL);
    }
    static inline void tl_advise_huge(void *block, size_t n) {
    #ifdef MADV_HUGEPAGE
        madvise(block, n, MADV_HUGEPAGE);
    #endif
    }
    static inline int tl_log2(uint64_t n) { return 63 - __builtin_clzll(n); }
    """
    void tl_lock(int *lock) noexcept nogil
    void tl_unlock(int *lock) noexcept nogil
    int64_t tl_increment(int64_t *count) noexcept nogil
    int64_t tl_decrement(int64_t *count) noexcept nogil
    void tl_advise_huge(void *block, size_t n) noexcept nogil
    int tl_log2(uint64_t n) noexcept nogil

cdef extern from "<pthread.h>" nogil:
    int pthread_atfork(
        void (*prepare)() noexcept nogil,
        void (*parent)() noexcept nogil,
        void (*child)() noexcept nogil,
    )

cdef enum:
    HEADER = 128            # room for tl_storage before data, which stays aligned
    ALIGNMENT = 64
    STAGGERED = 1 << 17     # bytes from which blocks start at differing offsets
    OFFSETS = 64            # of ALIGNMENT bytes: one page
    HUGE_PAGE = 1 << 21
    SMALLEST = 64           # bytes of the first size class
    CLASSES = 4 * 48        # four an octave, from 64 B past any real memory

cdef struct Statistics:
    int64_t allocated        # bytes in live blocks (capacity)
    int64_t peak_allocated
    int64_t reserved         # bytes held from the system: live and cached
    int64_t peak_reserved
    int64_t live             # live storages, borrowed ones too
    int64_t allocations      # calls so far
    int64_t system_calls     # allocations that went to the system
    int64_t limit            # bytes; 0 = none

cdef Statistics _stats
cdef tl_storage *_free_lists[CLASSES]   # chained through tl_storage.owner
cdef int _lock = 0
cdef int64_t CACHE_FLOOR = 64 << 20
cdef int _inference = 0     # contexts of inference mode in all threads

memset(&_stats, 0, sizeof(_stats))
memset(_free_lists, 0, sizeof(_free_lists))


cdef inline int size_class(int64_t nbytes) noexcept nogil:
    """Index of the smallest class that holds nbytes."""
    cdef uint64_t n = <uint64_t>(nbytes - 1) if nbytes > SMALLEST else SMALLEST - 1
    cdef int octave = tl_log2(n)
    return 4 * (octave - 5) + <int>((n >> (octave - 2)) & 3) - 3


cdef inline int64_t class_bytes(int index) noexcept nogil:
    cdef int octave = (index + 3) // 4 + 5
    cdef int64_t quarter = (index + 3) % 4
    return ((4 + quarter + 1) << octave) >> 2


cdef tl_storage *_from_system(int64_t capacity) noexcept nogil:
    cdef void *block = NULL
    cdef size_t total = <size_t>capacity + HEADER
    cdef size_t alignment = HUGE_PAGE if capacity >= HUGE_PAGE else ALIGNMENT
    if capacity >= STAGGERED:
        total += OFFSETS * ALIGNMENT
    if posix_memalign(&block, alignment, total) != 0:
        return NULL
    if capacity >= HUGE_PAGE:
        # The last, partial one stays small pages, of which only the used are taken.
        tl_advise_huge(block, total // HUGE_PAGE * HUGE_PAGE)
    return <tl_storage *>block


cdef inline uint8_t *_data_of(tl_storage *block) noexcept nogil:
    """Where the data of one of our blocks start; neighbours differ."""
    cdef uintptr_t address = <uintptr_t>block
    cdef uintptr_t offset = 0
    if block.capacity >= STAGGERED:
        offset = ((address >> 12) + 5 * (address >> 21)) % OFFSETS
    return <uint8_t *>block + HEADER + offset * ALIGNMENT


cdef void _drop_cache() noexcept nogil:
    """Return every cached block to the system; the lock is held."""
    cdef int index
    cdef tl_storage *block
    for index in range(CLASSES):
        while _free_lists[index] != NULL:
            block = _free_lists[index]
            _free_lists[index] = <tl_storage *>block.owner
            _stats.reserved -= block.capacity
            free(block)


cdef inline int _cached_class(int index) noexcept nogil:
    """The class to take a cached block from; its list may be empty.

    A block of twice the size at most serves a large request too: memory that is there
    costs less than a second block, and than the page faults of its first use.
    """
    cdef int near
    if _free_lists[index] == NULL and class_bytes(index) >= STAGGERED:
        for near in range(index + 1, min(index + 5, <int>CLASSES)):
            if _free_lists[near] != NULL:
                return near
    return index


cdef tl_storage *_take(int64_t nbytes) noexcept nogil:
    """A block for nbytes from the cache or the system; the lock is held."""
    cdef int index = size_class(nbytes)
    cdef int64_t capacity = class_bytes(index)
    cdef int cached = _cached_class(index)
    cdef tl_storage *block = _free_lists[cached]
    if block != NULL:
        _free_lists[cached] = <tl_storage *>block.owner
        return block
    if _stats.limit and _stats.reserved + capacity > _stats.limit:
        _drop_cache()
        if _stats.reserved + capacity > _stats.limit:
            return NULL
    block = _from_system(capacity)
    if block == NULL:
        _drop_cache()
        block = _from_system(capacity)
        if block == NULL:
            return NULL
    block.capacity = capacity
    _stats.system_calls += 1
    _stats.reserved += capacity
    if _stats.reserved > _stats.peak_reserved:
        _stats.peak_reserved = _stats.reserved
    return block


cdef uint8_t inference_flag() noexcept nogil:
    return STORAGE_INFERENCE if _inference and tl_inference_ > 0 else 0


cdef tl_storage *scratch_new(int64_t nbytes) noexcept nogil:
    cdef tl_storage *block
    if nbytes < 0 or nbytes > (<int64_t>1 << 46):
        return NULL
    tl_lock(&_lock)
    block = _take(nbytes)
    if block != NULL:
        _stats.allocated += block.capacity
        if _stats.allocated > _stats.peak_allocated:
            _stats.peak_allocated = _stats.allocated
        _stats.live += 1
        _stats.allocations += 1
    tl_unlock(&_lock)
    if block == NULL:
        return NULL
    block.data = _data_of(block)
    block.nbytes = nbytes
    block.refcount = 1
    block.version = 0
    block.flags = inference_flag()
    block.device_type = TL_CPU
    block.device_index = 0
    block.recorded_writes = 0
    block.last_writer = NULL
    block.owner = NULL
    block.release = NULL
    return block


cdef tl_storage *storage_new(int64_t nbytes) except NULL:
    cdef tl_storage *storage = scratch_new(nbytes)
    if storage == NULL:
        raise MemoryError(
            f"tried to allocate {nbytes} bytes: {_stats.allocated} bytes are in use, "
            f"{_stats.reserved - _stats.allocated} cached, "
            f"limit {_stats.limit or 'none'}; free tensors or raise "
            "set_memory_limit()"
        )
    return storage


cdef tl_storage *storage_borrow(
    void *data, int64_t nbytes, int flags, void *owner,
    void (*release)(void *owner) noexcept nogil,
) except NULL:
    cdef tl_storage *storage = storage_new(0)
    storage.data = data
    storage.nbytes = nbytes
    storage.flags = <uint8_t>(flags | TL_STORAGE_BORROWED)
    storage.owner = owner
    storage.release = release
    return storage


cdef void storage_retain(tl_storage *storage) noexcept nogil:
    tl_increment(&storage.refcount)


cdef void _make_room(int kept, int64_t most) noexcept nogil:
    """Return large cached blocks until `most` bytes are cached; the lock is held.

    Blocks of the class `kept` stay: one is about to come back and be asked for again,
    while the others may be left over from work that is done.
    """
    cdef int index = CLASSES
    cdef tl_storage *block
    while index > 0 and _stats.reserved - _stats.allocated > most:
        index -= 1
        if class_bytes(index) < HUGE_PAGE:
            return
        while (
            index != kept and _free_lists[index] != NULL
            and _stats.reserved - _stats.allocated > most
        ):
            block = _free_lists[index]
            _free_lists[index] = <tl_storage *>block.owner
            _stats.reserved -= block.capacity
            free(block)


cdef void storage_release(tl_storage *storage) noexcept nogil:
    cdef int index
    cdef int64_t keep
    if tl_decrement(&storage.refcount) != 0:
        return
    if storage.release != NULL:
        storage.release(storage.owner)
    tl_lock(&_lock)
    _stats.live -= 1
    _stats.allocated -= storage.capacity
    index = size_class(storage.capacity)
    keep = _stats.peak_allocated if _stats.peak_allocated > CACHE_FLOOR else CACHE_FLOOR
    if storage.capacity >= HUGE_PAGE:
        _make_room(index, keep)
    if storage.capacity >= HUGE_PAGE and _stats.reserved - _stats.allocated > keep:
        _stats.reserved -= storage.capacity
        free(storage)
    else:
        storage.owner = _free_lists[index]
        _free_lists[index] = storage
    tl_unlock(&_lock)


cdef void _before_fork() noexcept nogil:
    tl_lock(&_lock)


cdef void _after_fork() noexcept nogil:
    tl_unlock(&_lock)


pthread_atfork(_before_fork, _after_fork, _after_fork)


def switch_inference(int change):
    """Enter inference mode in this thread (1), leave it (-1), or return the depth (0).

    Examples
    --------
    >>> switch_inference(0)
    0
    """
    global _inference, tl_inference_
    _inference += change
    tl_inference_ += change
    return tl_inference_


def memory_stats():
    """Return the allocator's counters.

    Returns
    -------
    dict of str to int
        Bytes: ``allocated`` (in live tensors), ``peak_allocated``, ``reserved``
        (held from the system, cached blocks included), ``peak_reserved``,
        ``limit`` (0 for none). Counts: ``live`` (storages), ``allocations``,
        ``system_calls``.

    Examples
    --------
    >>> import tensorlib as tl
    >>> before = tl.memory_stats()["live"]
    >>> x = tl.zeros((3,))
    >>> tl.memory_stats()["live"] - before
    1
    """
    return dict(_stats)


def reset_peak_memory_stats():
    """Set the peaks to the present values.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.reset_peak_memory_stats()
    """
    _stats.peak_allocated = _stats.allocated
    _stats.peak_reserved = _stats.reserved


def empty_cache():
    """Return cached blocks to the operating system.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.empty_cache()
    >>> stats = tl.memory_stats()
    >>> stats["reserved"] == stats["allocated"]
    True
    """
    with nogil:
        tl_lock(&_lock)
        _drop_cache()
        tl_unlock(&_lock)


def set_memory_limit(nbytes):
    """Limit the bytes held from the system; 0 or None removes the limit.

    Raises
    ------
    ValueError
        If `nbytes` is negative or not an integer.

    Examples
    --------
    >>> import tensorlib as tl
    >>> tl.set_memory_limit(1 << 33)
    >>> tl.set_memory_limit(None)
    """
    if nbytes is None:
        nbytes = 0
    if isinstance(nbytes, bool) or not isinstance(nbytes, int) or nbytes < 0:
        raise ValueError(f"set_memory_limit: expected bytes >= 0, got {nbytes!r}")
    _stats.limit = min(nbytes, (1 << 62))

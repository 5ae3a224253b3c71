"""The caching allocator: reference-counted blocks that are reused, not returned.

A fresh result normally costs more in page faults than in arithmetic, so freed memory
waits for its next use. Small blocks wait in free lists by size class (four an octave:
at most 25 % is lost to rounding), which costs a few instructions; large ones are cut
from an arena to their size, and joined there when they are free (`arena.pyx`).

The cache never holds more than the largest amount that was ever live (at least 64
MiB), so a program whose shapes vary does not grow without end.

A storage may hold what kernels made of its contents, as filters packed for a
convolution. Such a form is made when the same contents are asked for the second time,
so that weights which are trained never pay for one. It goes with the storage, at the
next counted write, and as soon as anybody outside could write unseen.
"""
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from tensorlib.core.abi cimport TL_CPU, TL_STORAGE_BORROWED, tl_storage
from tensorlib.core.arena cimport HEADER, Chunk, arena_give, arena_take, arena_trim

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
    static inline void tl_lend(uint32_t *count, int change) {
        __atomic_add_fetch(count, (uint32_t)change, __ATOMIC_SEQ_CST);
    }
    static inline int tl_log2(uint64_t n) { return 63 - __builtin_clzll(n); }
    """
    void tl_lock(int *lock) noexcept nogil
    void tl_unlock(int *lock) noexcept nogil
    int64_t tl_increment(int64_t *count) noexcept nogil
    int64_t tl_decrement(int64_t *count) noexcept nogil
    void tl_lend(uint32_t *count, int change) noexcept nogil
    int tl_log2(uint64_t n) noexcept nogil

cdef extern from "<pthread.h>" nogil:
    int pthread_atfork(
        void (*prepare)() noexcept nogil,
        void (*parent)() noexcept nogil,
        void (*child)() noexcept nogil,
    )

cdef enum:
    ALIGNMENT = 64
    SMALLEST = 64           # bytes of the first size class
    LARGEST = 1 << 16       # bytes of the last one; larger blocks are the arena's
    CLASSES = 4 * 10 + 1    # four an octave
    TRIMMED = 1 << 21       # bytes from which a freed block may shrink the cache
    FORMS = 4               # derived forms that a storage holds

cdef struct Form:
    tl_derived_key key
    uint32_t version        # of the storage when it was asked for
    bint used
    tl_storage *made        # or NULL: only asked for so far

cdef struct Derived:
    Form forms[FORMS]
    int next                # the form that gives way to a new one

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
cdef int _derived_lock = 0      # taken before _lock, if both are
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
    _stats.reserved -= arena_trim(INT64_MAX)


cdef tl_storage *_more(int64_t nbytes, int64_t most, int64_t *growth) noexcept nogil:
    """A block that is in no free list, where what is held grows by `most` at most."""
    cdef void *block = NULL
    if nbytes > LARGEST:
        return <tl_storage *>arena_take(nbytes, most, growth)
    growth[0] = class_bytes(size_class(nbytes))
    if growth[0] > most or posix_memalign(&block, ALIGNMENT, growth[0] + HEADER) != 0:
        return NULL
    (<tl_storage *>block).capacity = growth[0]
    return <tl_storage *>block


cdef inline int64_t _room() noexcept nogil:
    """Bytes that may still be asked of the system."""
    cdef int64_t room = _stats.limit - _stats.reserved
    return INT64_MAX if _stats.limit == 0 else (room if room > 0 else 0)


cdef tl_storage *_take_more(int64_t nbytes) noexcept nogil:
    """The same under the limit, if need be in place of what is cached."""
    cdef int64_t growth = 0
    cdef tl_storage *block = _more(nbytes, _room(), &growth)
    if block == NULL:
        _drop_cache()
        block = _more(nbytes, _room(), &growth)
        if block == NULL:
            return NULL
    _stats.system_calls += growth > 0
    _stats.reserved += growth
    if _stats.reserved > _stats.peak_reserved:
        _stats.peak_reserved = _stats.reserved
    return block


cdef inline tl_storage *_take(int64_t nbytes) noexcept nogil:
    """A block for nbytes from the cache or the system; the lock is held."""
    cdef int index
    cdef tl_storage *block
    if nbytes <= LARGEST:
        index = size_class(nbytes)
        block = _free_lists[index]
        if block != NULL:
            _free_lists[index] = <tl_storage *>block.owner
            return block
    return _take_more(nbytes)


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
    block.data = <uint8_t *>block + HEADER
    block.nbytes = nbytes
    block.refcount = 1
    block.version = 0
    block.flags = inference_flag()
    block.device_type = TL_CPU
    block.device_index = 0
    block.recorded_writes = 0
    block.lent = 0
    block.last_writer = NULL
    block.owner = NULL
    block.release = NULL
    block.derived = NULL
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


cdef void _give_large(tl_storage *storage) noexcept nogil:
    """Back to the arena, which keeps as much as was ever in use; the lock is held."""
    cdef int64_t keep = _stats.peak_allocated, size = storage.capacity
    arena_give(<Chunk *>storage)
    if keep < CACHE_FLOOR:
        keep = CACHE_FLOOR
    if size >= TRIMMED and _stats.reserved - _stats.allocated > keep:
        _stats.reserved -= arena_trim(_stats.reserved - _stats.allocated - keep)


cdef void storage_release(tl_storage *storage) noexcept nogil:
    cdef int index
    if tl_decrement(&storage.refcount) != 0:
        return
    if storage.derived != NULL:
        derived_drop(storage)
    if storage.release != NULL:
        storage.release(storage.owner)
    tl_lock(&_lock)
    _stats.live -= 1
    _stats.allocated -= storage.capacity
    if storage.capacity <= LARGEST:
        index = size_class(storage.capacity)
        storage.owner = _free_lists[index]
        _free_lists[index] = storage
    else:
        _give_large(storage)
    tl_unlock(&_lock)


# ---- derived forms ---------------------------------------------------------------
cdef inline bint _may_keep(const tl_storage *of) noexcept nogil:
    """Whether every write to the contents is counted."""
    return of.lent == 0 and not of.flags & TL_STORAGE_BORROWED


cdef Form *_form_of(tl_storage *of, const tl_derived_key *key) noexcept nogil:
    cdef int i
    cdef Derived *derived = <Derived *>of.derived
    if derived != NULL:
        for i in range(FORMS):
            if derived.forms[i].used and memcmp(
                &derived.forms[i].key, key, sizeof(tl_derived_key)
            ) == 0:
                return &derived.forms[i]
    return NULL


cdef int _ask(
    tl_storage *of, const tl_derived_key *key, tl_storage **found, tl_storage **stale
) noexcept nogil:
    """The state for derived_take; who gives way goes to stale. The lock is held."""
    cdef Derived *derived
    cdef Form *form = _form_of(of, key)
    if form != NULL and form.version == of.version:
        if form.made == NULL:
            return DERIVED_WANTED
        storage_retain(form.made)
        found[0] = form.made
        return DERIVED_READY
    if form == NULL:
        if of.derived == NULL:
            of.derived = calloc(1, sizeof(Derived))
        derived = <Derived *>of.derived
        if derived == NULL:
            return DERIVED_SCRATCH
        form = &derived.forms[derived.next]
        derived.next = (derived.next + 1) % FORMS
    stale[0] = form.made
    form.key, form.version, form.used, form.made = key[0], of.version, True, NULL
    return DERIVED_SCRATCH


cdef tl_storage *derived_take(
    tl_storage *of, const tl_derived_key *key, int64_t nbytes, int *state
) noexcept nogil:
    cdef tl_storage *found = NULL
    cdef tl_storage *stale = NULL
    state[0] = DERIVED_SCRATCH
    if of != NULL and _may_keep(of):
        tl_lock(&_derived_lock)
        state[0] = _ask(of, key, &found, &stale)
        tl_unlock(&_derived_lock)
        if stale != NULL:
            storage_release(stale)
    return scratch_new(nbytes) if found == NULL else found


cdef void derived_keep(
    tl_storage *of, const tl_derived_key *key, tl_storage *made
) noexcept nogil:
    cdef Form *form
    tl_lock(&_derived_lock)
    form = _form_of(of, key)
    if (
        form != NULL and form.version == of.version and form.made == NULL
        and _may_keep(of)
    ):
        storage_retain(made)
        form.made = made
    tl_unlock(&_derived_lock)


cdef void derived_drop(tl_storage *of) noexcept nogil:
    cdef int i
    cdef Derived *derived
    tl_lock(&_derived_lock)
    derived = <Derived *>of.derived
    of.derived = NULL
    tl_unlock(&_derived_lock)
    if derived == NULL:
        return
    for i in range(FORMS):
        if derived.forms[i].made != NULL:
            storage_release(derived.forms[i].made)
    free(derived)


cdef void storage_lend(tl_storage *storage) noexcept nogil:
    tl_lend(&storage.lent, 1)
    derived_drop(storage)


cdef void storage_return(tl_storage *storage) noexcept nogil:
    tl_lend(&storage.lent, -1)


cdef void _before_fork() noexcept nogil:
    tl_lock(&_derived_lock)
    tl_lock(&_lock)


cdef void _after_fork() noexcept nogil:
    tl_unlock(&_lock)
    tl_unlock(&_derived_lock)


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

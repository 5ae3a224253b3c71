"""Large blocks: chunks of a few regions of address space, split and joined.

Sizes that differ from layer to layer would each keep blocks of their own if a free
block served its size alone: a ResNet's step held 1.9 times what was live. So a chunk
is cut to size, the best fitting of those that are free, and a freed one is joined
with its free neighbours (boundary tags [1]_). Free chunks are found by bins, four an
octave, and a bit for each bin that has any.

A region is a reservation of addresses. Its chunks lie without gaps from its begin to
its top, and what is above the top was never touched and costs nothing; a request that
no free chunk fits raises the top. Memory is returned to the system from any free
chunk, not just from regions that are empty, by telling the kernel that its pages are
not needed.

A chunk that begins where another of a power of two ends must not agree with it in the
low bits of its address, because such streams (an optimizer's parameter, gradient and
moments) get in each other's way: Adam on 4 x 10^6 parameters took 5.2 ms so and takes
2.5 ms with a few cache lines between.

References
----------
.. [1] Knuth, "The Art of Computer Programming", volume 1, section 2.5, 1997.
"""
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.string cimport memset

cdef extern from *:
    """
    #include <sys/mman.h>
    #include <unistd.h>
    #if defined(__SANITIZE_ADDRESS__)
    #include <sanitizer/asan_interface.h>
    #else
    #define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
    #define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
    #endif
    static inline char *tl_map(size_t n) {
        void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
        return p == MAP_FAILED ? NULL : (char *)p;
    }
    static inline void tl_unmap(char *p, size_t n) {
        if (n)
            munmap(p, n);
    }
    static inline void tl_advise_huge(char *p, size_t n) {
    #ifdef MADV_HUGEPAGE
        madvise(p, n, MADV_HUGEPAGE);
    #endif
    }
    #if defined(__linux__) && !defined(MADV_COLLAPSE)
    #define MADV_COLLAPSE 25 /* uapi/asm-generic/mman-common.h; refused before 6.1 */
    #endif
    static inline void tl_collapse(char *p, size_t n) {
    #ifdef MADV_COLLAPSE
        madvise(p, n, MADV_COLLAPSE);
    #else
        (void)p, (void)n;
    #endif
    }
    static inline void tl_discard(char *p, size_t n) { madvise(p, n, MADV_DONTNEED); }
    static inline int tl_highest(uint64_t n) { return 63 - __builtin_clzll(n); }
    static inline int tl_lowest(uint64_t n) { return __builtin_ctzll(n); }
    """
    # Nothing without AddressSanitizer.
    void tl_forbid "ASAN_POISON_MEMORY_REGION"(void *p, size_t n) noexcept nogil
    void tl_permit "ASAN_UNPOISON_MEMORY_REGION"(void *p, size_t n) noexcept nogil
    char *tl_map(size_t n) noexcept nogil
    void tl_unmap(char *p, size_t n) noexcept nogil
    void tl_advise_huge(char *p, size_t n) noexcept nogil
    void tl_collapse(char *p, size_t n) noexcept nogil
    void tl_discard(char *p, size_t n) noexcept nogil
    int tl_highest(uint64_t n) noexcept nogil
    int tl_lowest(uint64_t n) noexcept nogil
    long sysconf(int name) noexcept nogil
    int _SC_PAGESIZE

cdef enum:
    LINE = 64               # chunks begin at a line of the cache
    APART = 256             # bytes more, for the low bits of addresses to differ
    SMALLEST_BITS = 12
    SMALLEST = 1 << SMALLEST_BITS   # bytes of a chunk that is worth splitting off
    WORDS = 3
    BINS = 64 * WORDS       # four an octave, past any real memory
    LOOKED_AT = 64          # free chunks of a bin that are compared at most
    HUGE_PAGE = 1 << 21
    REGION = 1 << 28        # bytes of address space
    REST = 1 << 20          # bytes of a chunk that are worth keeping

cdef struct Region:
    Region *next
    char *end
    char *top               # end of the last chunk
    char *advised           # huge pages are asked for below
    Chunk *last

cdef uintptr_t _page = sysconf(_SC_PAGESIZE)
cdef Region *_regions = NULL
cdef Chunk *_bins[BINS]
cdef uint64_t _filled[WORDS]   # a bit for each bin that is not empty

memset(_bins, 0, sizeof(_bins))
memset(_filled, 0, sizeof(_filled))


# ---- bins ------------------------------------------------------------------------
cdef inline int bin_of(int64_t size) noexcept nogil:
    cdef int octave = tl_highest(<uint64_t>size)
    return 4 * (octave - SMALLEST_BITS) + <int>((size >> (octave - 2)) & 3)


cdef void bin_add(Chunk *chunk) noexcept nogil:
    cdef int index = bin_of(chunk.storage.capacity)
    chunk.free = True
    chunk.previous = NULL
    chunk.next = _bins[index]
    if chunk.next != NULL:
        chunk.next.previous = chunk
    _bins[index] = chunk
    _filled[index >> 6] |= <uint64_t>1 << (index & 63)


cdef void bin_remove(Chunk *chunk) noexcept nogil:
    cdef int index = bin_of(chunk.storage.capacity)
    chunk.free = False
    if chunk.next != NULL:
        chunk.next.previous = chunk.previous
    if chunk.previous != NULL:
        chunk.previous.next = chunk.next
        return
    _bins[index] = chunk.next
    if chunk.next == NULL:
        _filled[index >> 6] &= ~(<uint64_t>1 << (index & 63))


cdef int filled_from(int index) noexcept nogil:
    """The first bin from `index` on that has a chunk, or -1."""
    cdef int word = index >> 6
    cdef uint64_t bits
    if index >= BINS:
        return -1
    bits = _filled[word] >> (index & 63) << (index & 63)
    while bits == 0:
        word += 1
        if word == WORDS:
            return -1
        bits = _filled[word]
    return 64 * word + tl_lowest(bits)


cdef Chunk *fitting(Chunk *chunk, int64_t size) noexcept nogil:
    """The smallest of at least `size` of the chunks looked at, the lowest of equals."""
    cdef Chunk *found = NULL
    cdef int looked = 0
    while chunk != NULL and looked < LOOKED_AT:
        if chunk.storage.capacity >= size and (
            found == NULL or chunk.storage.capacity < found.storage.capacity or (
                chunk.storage.capacity == found.storage.capacity and chunk < found
            )
        ):
            found = chunk
        chunk = chunk.next
        looked += 1
    return found


cdef Chunk *best(int64_t size) noexcept nogil:
    cdef int index = bin_of(size)
    cdef Chunk *found = fitting(_bins[index], size)
    while found == NULL:
        index = filled_from(index + 1)
        if index < 0:
            return NULL
        found = fitting(_bins[index], size)
    return found


# ---- regions ---------------------------------------------------------------------
cdef inline Chunk *above(Chunk *chunk) noexcept nogil:
    """The neighbour in memory, or NULL."""
    cdef char *end = <char *>chunk + chunk.storage.capacity
    return NULL if end == chunk.region.top else <Chunk *>end


cdef inline void set_below(Region *region, Chunk *chunk, Chunk *below) noexcept nogil:
    """`below` is the neighbour of `chunk`; no chunk is the end of the region."""
    if chunk == NULL:
        region.last = below
    else:
        chunk.below = below


cdef Chunk *placed(
    Region *region, char *at, int64_t size, Chunk *below
) noexcept nogil:
    """A chunk with its header written, in no bin; the one above is the caller's."""
    cdef Chunk *chunk = <Chunk *>at
    tl_permit(at, HEADER)
    chunk.region = region
    chunk.below = below
    chunk.storage.capacity = size
    chunk.held = 0
    chunk.free = False
    return chunk


cdef Region *new_region(int64_t size) noexcept nogil:
    """A region for a chunk of this size; NULL where the system has none."""
    cdef int64_t extent = (size + LINE + HUGE_PAGE - 1) // HUGE_PAGE * HUGE_PAGE
    cdef int64_t wanted = REGION if extent < REGION else extent
    cdef char *base = tl_map(wanted + HUGE_PAGE)
    cdef char *begin
    cdef Region *region
    if base == NULL and wanted > extent:
        wanted = extent
        base = tl_map(wanted + HUGE_PAGE)
    if base == NULL:
        return NULL
    begin = base + (-<uintptr_t>base) % HUGE_PAGE
    tl_unmap(base, begin - base)
    tl_unmap(begin + wanted, HUGE_PAGE - (begin - base))
    region = <Region *>begin
    region.end = begin + wanted
    region.top = begin + LINE
    region.advised = begin
    region.last = NULL
    region.next = _regions
    return region


cdef void advise(Region *region, char *touched, int64_t size) noexcept nogil:
    """Ask for huge pages up to the top; pages below `touched`, the old top, are in use.

    A huge page costs its two megabytes at the first touch, so the last one, of which
    chunks cover a part alone, is asked for when that is half of it, or for a chunk of
    several. Small pages of it that are in use already are then made one.
    """
    cdef uintptr_t part = HUGE_PAGE - 1 if size >= HUGE_PAGE else HUGE_PAGE // 2
    cdef uintptr_t end = (<uintptr_t>region.top + part) // HUGE_PAGE * HUGE_PAGE
    cdef char *until = <char *>end
    if until > region.advised:
        tl_advise_huge(region.advised, until - region.advised)
        if touched > region.advised:
            tl_collapse(region.advised, HUGE_PAGE)
        region.advised = until


cdef Chunk *raised(int64_t size, int64_t most, int64_t *growth) noexcept nogil:
    """A chunk up to the new top of a region: the last one if free, made larger."""
    global _regions
    cdef Region *region = _regions
    cdef Chunk *last
    cdef int64_t have = 0, held = 0
    while region != NULL:
        last = region.last
        have = last.storage.capacity if last != NULL and last.free else 0
        if size - have <= region.end - region.top:
            break
        region = region.next
    if region == NULL:
        have = 0
    held = region.last.held if have else 0
    if size - held > most:
        return NULL
    if region == NULL:
        region = new_region(size)
        if region == NULL:
            return NULL
        _regions = region
    if have:
        last = region.last
        bin_remove(last)
        last.storage.capacity = size
        last.held = 0
    else:
        last = placed(region, region.top, size, region.last)
        region.last = last
    region.top += size - have
    advise(region, region.top - (size - have), size)
    growth[0] = size - held
    return last


# ---- taking and giving -----------------------------------------------------------
cdef int64_t split(Chunk *chunk, int64_t size, int64_t most) noexcept nogil:
    """Cut a free chunk to size; the growth of what is held, -1 where it is too much."""
    cdef int64_t rest = chunk.storage.capacity - size, held, growth
    cdef Chunk *next_
    cdef Chunk *remainder
    if rest < SMALLEST:
        size, rest = chunk.storage.capacity, 0
    held = chunk.held if chunk.held < rest else rest
    growth = size + held - chunk.held
    if growth > most:
        return -1
    next_ = above(chunk)
    bin_remove(chunk)
    chunk.held = 0
    if rest:
        remainder = placed(chunk.region, <char *>chunk + size, rest, chunk)
        remainder.held = held
        set_below(chunk.region, next_, remainder)
        chunk.storage.capacity = size
        bin_add(remainder)
    return growth


cdef Chunk *arena_take(int64_t nbytes, int64_t most, int64_t *growth) noexcept nogil:
    cdef int64_t size = (nbytes + HEADER + APART + LINE - 1) // LINE * LINE
    cdef Chunk *chunk = best(size)
    if chunk == NULL:
        chunk = raised(size, most, growth)
    else:
        growth[0] = split(chunk, size, most)
        if growth[0] < 0:
            return NULL
    if chunk != NULL:
        tl_forbid(<char *>chunk + HEADER, chunk.storage.capacity - HEADER)
        tl_permit(<char *>chunk + HEADER, nbytes)
    return chunk


cdef void join(Chunk *low, Chunk *high) noexcept nogil:
    """Make one of two neighbours, neither of which is in a bin."""
    set_below(low.region, above(high), low)
    low.storage.capacity += high.storage.capacity
    low.held += high.held


cdef void arena_give(Chunk *chunk) noexcept nogil:
    cdef Chunk *next_ = above(chunk)
    cdef Chunk *below = chunk.below
    tl_forbid(<char *>chunk + HEADER, chunk.storage.capacity - HEADER)
    chunk.held = chunk.storage.capacity
    if next_ != NULL and next_.free:
        bin_remove(next_)
        join(chunk, next_)
    if below != NULL and below.free:
        bin_remove(below)
        join(below, chunk)
        chunk = below
    bin_add(chunk)


# ---- returning memory to the system ----------------------------------------------
cdef void drop_region(Region *region) noexcept nogil:
    """Unmap a region without chunks."""
    global _regions
    cdef Region **at = &_regions
    while at[0] != region:
        at = &at[0].next
    at[0] = region.next
    tl_permit(region, region.end - <char *>region)
    tl_unmap(<char *>region, region.end - <char *>region)


cdef int64_t discard(Chunk *chunk) noexcept nogil:
    """Return what a free chunk holds; how much it was.

    The page with its header stays, uncounted; a region's last chunk goes altogether.
    """
    cdef Region *region = chunk.region
    cdef int64_t held = chunk.held
    cdef uintptr_t begin = (<uintptr_t>chunk + HEADER + _page - 1) // _page * _page
    cdef uintptr_t end = (<uintptr_t>chunk + chunk.storage.capacity) // _page * _page
    chunk.held = 0
    if chunk == region.last:
        bin_remove(chunk)
        region.top = <char *>chunk
        region.last = chunk.below
        if region.last == NULL:
            drop_region(region)
            return held
    if end > begin:
        tl_discard(<char *>begin, end - begin)
    return held


cdef int64_t lower(Chunk *chunk, int64_t enough) noexcept nogil:
    """Return the upper part of a region's last chunk, which holds all its bytes."""
    cdef uintptr_t end = <uintptr_t>chunk + chunk.storage.capacity
    cdef uintptr_t begin = (end - enough) // _page * _page
    bin_remove(chunk)
    chunk.storage.capacity = chunk.held = begin - <uintptr_t>chunk
    chunk.region.top = <char *>begin
    tl_discard(<char *>begin, (end - begin + _page - 1) // _page * _page)
    bin_add(chunk)
    return end - begin


cdef int64_t returned(Chunk *chunk, int64_t enough) noexcept nogil:
    """Return what a free chunk holds, or enough of it where that is easy."""
    cdef int64_t size = chunk.storage.capacity
    if chunk == chunk.region.last and chunk.held == size and enough < size - REST:
        return lower(chunk, enough)
    return discard(chunk)


cdef int64_t arena_trim(int64_t enough) noexcept nogil:
    """The largest chunks first, which return the most by the fewest calls."""
    cdef int64_t sum_ = 0
    cdef int index = BINS - 1
    cdef Chunk *chunk
    cdef Chunk *next_
    while index >= 0 and sum_ < enough:
        chunk = _bins[index]
        while chunk != NULL and sum_ < enough:
            next_ = chunk.next
            if chunk.held:
                sum_ += returned(chunk, enough - sum_)
            chunk = next_
        index -= 1
    return sum_

/* Keys sorted by networks: a comparison of two is a minimum and a maximum of vectors.
 *
 * A radix pass over a short row costs more for its counters than for its elements.
 *
 * References: K. E. Batcher, "Sorting networks and their applications", 1968; the
 * network for any number of elements is algorithm M of D. E. Knuth, "The Art of
 * Computer Programming", vol. 3, section 5.2.2.
 */
#ifndef TENSORLIB_SORT_NETWORK_H
#define TENSORLIB_SORT_NETWORK_H

#include "tensorlib/turn.h"

#include <algorithm>
#include <stdint.h>
#include <string.h>

namespace tl {

/* Bytes of a register. */
#if defined(__AVX2__)
constexpr int LANES_BYTES = 32;
#else
constexpr int LANES_BYTES = 16;
#endif

template <class U> constexpr int lanes_of = LANES_BYTES / sizeof(U);
template <class U> struct lanes {
    typedef U vec __attribute__((vector_size(LANES_BYTES)));
};

/* The least of each lane to x, the greatest to y. */
template <class U> inline void exchange(U *x, U *y) {
    typename lanes<U>::vec a, b, low, high;
    memcpy(&a, x, LANES_BYTES);
    memcpy(&b, y, LANES_BYTES);
    low = a < b ? a : b;
    high = a < b ? b : a;
    memcpy(x, &low, LANES_BYTES);
    memcpy(y, &high, LANES_BYTES);
}

template <class U> inline void network(U *block, int64_t n) {
    constexpr int L = lanes_of<U>;
    int64_t top = 1;
    while (2 * top < n)
        top *= 2;
    for (int64_t p = top; p > 0; p /= 2) {
        int64_t r = 0, d = p;
        for (int64_t q = top;; q /= 2) {
            if (p == 1)
                for (int64_t i = r; i < n - d; i += 2)
                    exchange(block + i * L, block + (i + d) * L);
            for (int64_t run = r; p > 1 && run < n - d; run += 2 * p)
                for (int64_t i = run; i < std::min(run + p, n - d); i++)
                    exchange(block + i * L, block + (i + d) * L);
            if (q == p) break;
            d = q - p;
            r = p;
        }
    }
}

/* ---- one row --------------------------------------------------------------------- */
/* Lane i of the result is lane i ^ D of v. */
template <int D, class U>
inline typename lanes<U>::vec swapped(typename lanes<U>::vec v) {
    typename lanes<U>::vec places;
    for (int i = 0; i < lanes_of<U>; i++)
        places[i] = (U)(i ^ D);
    return __builtin_shuffle(v, places);
}
/* Compare lanes D apart, and halves of them D / 2 apart, and so on. */
template <int D, class U>
inline typename lanes<U>::vec clean(typename lanes<U>::vec v) {
    if constexpr (D > 0) {
        typename lanes<U>::vec other = swapped<D, U>(v), upper;
        for (int i = 0; i < lanes_of<U>; i++)
            upper[i] = i & D ? (U) ~(U)0 : (U)0;
        typename lanes<U>::vec low = v < other ? v : other,
                               high = v < other ? other : v;
        return clean<D / 2, U>((low & ~upper) | (high & upper));
    }
    return v;
}

/* Merge two sorted runs of `half` keys each, a power of two: Batcher's bitonic merge,
 * whose first step meets the second run from behind. */
template <class U> inline void merge_runs(U *run, int64_t half) {
    constexpr int L = lanes_of<U>;
    typedef typename lanes<U>::vec vec;
    for (int64_t i = 0; i < half; i += L) {
        vec a, b;
        U *x = run + i, *y = run + 2 * half - L - i;
        memcpy(&a, x, LANES_BYTES);
        memcpy(&b, y, LANES_BYTES);
        b = swapped<L - 1, U>(b);
        vec low = a < b ? a : b, high = swapped<L - 1, U>(a < b ? b : a);
        memcpy(x, &low, LANES_BYTES);
        memcpy(y, &high, LANES_BYTES);
    }
    for (int64_t d = half / 2; d >= L; d /= 2)
        for (int64_t part = 0; part < 2 * half; part += 2 * d)
            for (int64_t i = part; i < part + d; i += L)
                exchange(run + i, run + i + d);
    for (int64_t i = 0; i < 2 * half; i += L) {
        vec v;
        memcpy(&v, run + i, LANES_BYTES);
        v = clean<L / 2, U>(v);
        memcpy(run + i, &v, LANES_BYTES);
    }
}

/* Elements of room that sort_keys needs for n keys: a power of two. */
template <class U> inline int64_t network_size(int64_t n) {
    int64_t size = lanes_of<U> * lanes_of<U>;
    while (size < n)
        size *= 2;
    return size;
}
/* Sort n keys. keys and room have network_size(n) elements; the result is in room. The
 * keys are dealt to lanes, which are sorted side by side and then merged. */
template <class U> inline void sort_keys(U *keys, int64_t n, U *room) {
    constexpr int L = lanes_of<U>;
    const int64_t size = network_size<U>(n), length = size / L;
    std::fill(keys + n, keys + size, (U) ~(U)0);
    network(keys, length);
    tl_turn(keys, L, sizeof(U), L, length, room, length);
    for (int64_t half = length; half < size; half *= 2)
        for (int64_t run = 0; run < size; run += 2 * half)
            merge_runs(room + run, half);
}

} /* namespace tl */

#endif /* TENSORLIB_SORT_NETWORK_H */

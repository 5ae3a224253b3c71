/* Short rows sorted side by side: one row a lane of a vector.
 *
 * All rows take the same steps, those of a network, so that a comparison of two
 * elements is a minimum and a maximum of vectors. A radix pass over a short row costs
 * more for its counters than for its elements.
 *
 * References: K. E. Batcher, "Sorting networks and their applications", 1968; the
 * network for any number of elements is algorithm M of D. E. Knuth, "The Art of
 * Computer Programming", vol. 3, section 5.2.2.
 */
#ifndef TENSORLIB_SORT_LANES_H
#define TENSORLIB_SORT_LANES_H

#include "tensorlib/sort_rows.h"
#include "tensorlib/turn.h"

namespace tl {

/* Bytes of all rows at one position: a register. */
#if defined(__AVX2__)
constexpr int LANES_BYTES = 32;
#else
constexpr int LANES_BYTES = 16;
#endif
constexpr int64_t LANES_ROW = 1024; /* elements of a row: at most 32 KiB for all rows */
constexpr int MOST_LANES = LANES_BYTES / 4;

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
            for (int64_t run = r; run < n - d; run += 2 * p)
                for (int64_t i = run; i < std::min(run + p, n - d); i++)
                    exchange(block + i * L, block + (i + d) * L);
            if (q == p) break;
            d = q - p;
            r = p;
        }
    }
}

/* The distance of rows that lie equally far apart, 0 where they do not. */
template <class U> inline int64_t distance(const U *const *rows, int64_t count) {
    const int64_t gap = count > 1 ? rows[1] - rows[0] : 0;
    for (int64_t j = 2; j < count; j++)
        if (rows[j] - rows[j - 1] != gap) return 0;
    return count == lanes_of<U> ? gap : 0;
}

template <class U>
inline void gather(const U *const *rows, int64_t count, int64_t step, int64_t n,
                   U *block) {
    constexpr int L = lanes_of<U>;
    const int64_t gap = distance(rows, count);
    if (gap == 1)
        for (int64_t i = 0; i < n; i++)
            memcpy(block + i * L, rows[0] + i * step, LANES_BYTES);
    else if (gap && step == 1)
        tl_turn(rows[0], gap, sizeof(U), n, L, block, L);
    else
        for (int64_t i = 0; i < n; i++)
            for (int j = 0; j < L; j++)
                block[i * L + j] = rows[j < count ? j : 0][i * step];
}

template <class U>
inline void spread(const U *block, U *const *rows, int64_t count, int64_t step,
                   int64_t n) {
    constexpr int L = lanes_of<U>;
    const int64_t gap = distance((const U *const *)rows, count);
    if (gap == 1)
        for (int64_t i = 0; i < n; i++)
            memcpy(rows[0] + i * step, block + i * L, LANES_BYTES);
    else if (gap && step == 1)
        tl_turn(block, L, sizeof(U), L, n, rows[0], gap);
    else
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < count; j++)
                rows[j][i * step] = block[i * L + j];
}

/* Which of the rows have elements that their keys do not give back; whether any has. */
template <class O>
inline bool find_odd(const typename O::bits *block, int64_t n, uint8_t *odd) {
    typedef typename O::bits U;
    constexpr int L = lanes_of<U>;
    U some = 0;
    if constexpr (O::HAS_ODD)
        for (int64_t i = 0; i < n * L; i++)
            some |= (U)O::odd(block[i]);
    for (int j = 0; some && j < L; j++)
        for (int64_t i = 0; i < n; i++)
            odd[j] |= (uint8_t)O::odd(block[i * L + j]);
    return some;
}

/* Sort `count` rows, at x and values, t->n elements of each by the network. One that
 * has elements which their keys do not give back is marked in `odd`, which is 0 before,
 * and is still to be sorted; whether there is any. */
template <class O>
inline int sort_lanes(const row_task *t, const void **x, void **values, int64_t count,
                      uint8_t *odd) {
    typedef typename O::bits U;
    const row<O, U> keys = row_of<O, U>(*t);
    const int64_t size = t->n * lanes_of<U>;
    U *block = (U *)t->scratch;
    gather((const U *const *)x, count, t->x_step, t->n, block);
    const bool some = find_odd<O>(block, t->n, odd);
    for (int64_t i = 0; i < size; i++)
        block[i] = keys.key(block[i]);
    network(block, t->n);
    for (int64_t i = 0; i < size; i++)
        block[i] = keys.element(block[i]);
    spread(block, (U *const *)values, count, t->values_step, t->n);
    return some;
}

} /* namespace tl */

#endif /* TENSORLIB_SORT_LANES_H */

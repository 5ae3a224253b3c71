/* Short rows sorted side by side: one row a lane of a vector.
 *
 * All rows take the same steps, those of a network (sort_network.h).
 */
#ifndef TENSORLIB_SORT_LANES_H
#define TENSORLIB_SORT_LANES_H

#include "tensorlib/sort_rows.h"
#include "tensorlib/turn.h"

namespace tl {

/* Elements of a row: at most 32 KiB for all rows, or fewer than pay one at a time. */
#ifdef TL_SORT_BLOCKS
constexpr int64_t LANES_ROW = 64;
#else
constexpr int64_t LANES_ROW = 1024;
#endif
constexpr int MOST_LANES = LANES_BYTES / 4;

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

/* What the kernels do with one row where there is quicksort (quicksort.h): quick()
 * tells whether a row is for these functions.
 *
 * A row that another thread changes meanwhile gives any result, but loops end and
 * nothing is written elsewhere. */
#ifndef TENSORLIB_QUICK_ROWS_H
#define TENSORLIB_QUICK_ROWS_H

#include "tensorlib/quicksort.h"
#include "tensorlib/row_task.h"

namespace tl {

#ifndef TL_SORT_BLOCKS
constexpr int64_t SHARED_ROW = 131072; /* elements of a row that threads share */
template <class O> constexpr bool quick(const row_task &) { return false; }
template <class O> void sort_quickly(const row_task &) {}
template <class O> void argsort_quickly(const row_task &) {}
template <class O> void argselect_quickly(const row_task &) {}
template <class O> void topk_quickly(const row_task &) {}
#else
constexpr int64_t SHARED_ROW = 32768;

/* Few records are placed sooner by comparing all pairs. */
template <class O> inline bool quick(const row_task &t) {
    return t.n > FEW && t.n < WIDE_ROW;
}

/* Memory for keys: room for 4 * n of 8 bytes. */
template <class U> inline U *key_room(const row_task &t) {
    return (U *)workspace<keyed<uint64_t>>(t).room;
}
template <class U> inline typename record<U>::offset *key_counts(const row_task &t) {
    return (typename record<U>::offset *)t.scratch;
}

template <class O> void sort_quickly(const row_task &t) {
    typedef typename O::bits U;
    const row<O, U> x = row_of<O, U>(t);
    U *out = (U *)t.values, *room = key_room<U>(t);
    const int64_t step = t.values_step;
    const auto emit = [=](const U *keys, int64_t n, int64_t at) {
        const row<O, U> own = x; /* which nothing stored changes */
        if (step == 1)
            for (int64_t i = 0; i < n; i++)
                out[at + i] = own.element(keys[i]);
        else
            for (int64_t i = 0; i < n; i++)
                out[(at + i) * step] = own.element(keys[i]);
    };
    /* Sorted where they are written to, if that is in a row. */
    quicksort<U, decltype(emit)>{emit, step == 1 ? out : room + t.n, room,
                                 key_counts<U>(t)}
        .all(row_keys<O>{x}, t.n, t.parts);
    restore(t, x);
}

template <class O> void argsort_quickly(const row_task &t) {
    int64_t *out = t.indices;
    const int64_t step = t.indices_step;
    const auto emit = [=](const uint64_t *pairs, int64_t n, int64_t at) {
        for (int64_t i = 0; i < n; i++)
            out[(at + i) * step] = (int64_t)(uint32_t)pairs[i];
    };
    uint64_t *room = key_room<uint64_t>(t);
    const row_keys<O> keys{row_of<O, typename O::bits>(t)};
    quicksort<uint64_t, decltype(emit)>{emit, room + t.n, room, key_counts<uint64_t>(t)}
        .all(placed_keys<O>{keys}, t.n, t.parts);
}

/* ---- selection ------------------------------------------------------------------- */
template <class O> void argselect_quickly(const row_task &t) {
    typedef typename O::bits U;
    const row_keys<O> keys{row_of<O, U>(t)};
    const ordered_ranks order(t);
    ranked_key<U> found[SEVERAL];
    quickselect<U>{key_counts<U>(t), t.parts}.find(keys, t.n, 0, order.ranks, t.k,
                                                   found, key_room<U>(t));
    /* Of equal elements, as many go before the wanted one as its rank tells. */
    U chunk[CHUNK];
    int64_t before[SEVERAL], left = t.k;
    for (int64_t q = 0; q < t.k; q++)
        before[q] = order.ranks[q] - found[q].fewer;
    for (int64_t i = 0; left > 0 && i < t.n; i += CHUNK) {
        const int64_t n = std::min(CHUNK, t.n - i);
        const U *from = keys.of(i, n, chunk);
        for (int64_t q = 0; q < t.k; q++) {
            if (before[q] < 0) continue;
            const U key = found[q].key;
            U equal = 0; /* as wide as keys, or the loop would not be vectorized */
            for (int64_t j = 0; j < n; j++)
                equal += (U)(from[j] == key);
            if ((int64_t)equal <= before[q]) {
                before[q] -= (int64_t)equal;
                continue;
            }
            int64_t j = 0;
            for (;; j++)
                if (from[j] == key && before[q]-- == 0) break;
            order.put(q, i + j);
            left--;
        }
    }
}

/* Positions of the first k elements of the sorted row, in the order of the row. */
template <class O>
inline typename O::bits *leading_positions(const row_task &t, const row_keys<O> &keys) {
    typedef typename O::bits U;
    U *room = key_room<U>(t);
    const int64_t rank = t.k - 1;
    ranked_key<U> last;
    quickselect<U>{key_counts<U>(t), t.parts}.find(keys, t.n, 0, &rank, 1, &last, room);
    int64_t equal = t.k - last.fewer;
    U chunk[CHUNK], *to = room;
    for (int64_t i = 0; to < room + t.k && i < t.n; i += CHUNK) {
        const int64_t n = std::min(CHUNK, t.n - i);
        to += find_leading(keys.of(i, n, chunk), n, (U)i, last.key, &equal, to);
    }
    std::fill(to, std::max(to, room + t.k), (U)0); /* none, but where a row changed */
    return room;
}

template <class O> void topk_quickly(const row_task &t) {
    typedef typename O::bits U;
    const row_keys<O> keys{row_of<O, U>(t)};
    const U *x = (const U *)t.x, *from = leading_positions(t, keys);
    U *out = (U *)t.values;
    const auto put = [&](int64_t i, int64_t position) {
        t.indices[i * t.indices_step] = position;
        out[i * t.values_step] = x[position * t.x_step];
    };
    if (!t.sorted)
        for (int64_t i = 0; i < t.k; i++)
            put(i, (int64_t)from[i]);
    else if constexpr (sizeof(U) == 4) {
        const auto emit = [&](const uint64_t *pairs, int64_t n, int64_t at) {
            for (int64_t i = 0; i < n; i++)
                put(at + i, (int64_t)(uint32_t)pairs[i]);
        };
        uint64_t *pairs = key_room<uint64_t>(t) + t.k;
        for (int64_t i = 0; i < t.k; i++)
            pairs[i] = placed_keys<O>::pair(keys[(int64_t)from[i]], (int64_t)from[i]);
        quicksort<uint64_t, decltype(emit)>{emit, pairs, pairs + t.k,
                                            key_counts<uint64_t>(t)}
            .sort({pairs, t.k, 0, ~(uint64_t)0}, 0, bad_bounds(t.k),
                  key_counts<uint64_t>(t));
    } else {
        typedef keyed<uint64_t> R;
        R *records = workspace<R>(t).room + t.k;
        for (int64_t i = 0; i < t.k; i++)
            make(records + i, keys[(int64_t)from[i]], (int64_t)from[i]);
        const R *sorted = sort_records(records, t.k, records + t.k, key_counts<R>(t));
        for (int64_t i = 0; i < t.k; i++)
            put(i, (int64_t)sorted[i].index);
    }
}
#endif /* TL_SORT_BLOCKS */

} /* namespace tl */

#endif /* TENSORLIB_QUICK_ROWS_H */

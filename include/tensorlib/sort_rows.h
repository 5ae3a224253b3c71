/* What the kernels do with one row: sort it, or find the elements of some ranks.
 *
 * A selection looks at the highest digit that varies, keeps the records whose digit a
 * wanted rank falls on, and goes on with these: few after one pass over the row.
 */
#ifndef TENSORLIB_SORT_ROWS_H
#define TENSORLIB_SORT_ROWS_H

#include "tensorlib/quick_rows.h"
#include "tensorlib/row_task.h"
#include "tensorlib/sort_network.h"

#include <type_traits>

namespace tl {

/* The records of a row in order; x gets the base of their keys. */
template <class R, class Row>
inline R *sorted_records(const row_task &t, Row &x, workspace<R> w) {
    sorter<R, Row> s{x, t.n, w.room, w.room + t.n, t.parts, w.counts};
    digits d{0, 0, 0, 1};
    if (t.n > FEW) {
        auto seen = s.look_all();
        x.base = (decltype(x.base))seen.least;
        s.x = x;
        d = plan((uint64_t)(seen.most - seen.least), (uint64_t)seen.varying, t.n);
    }
    return s.sort(d);
}

/* ---- sort ------------------------------------------------------------------------ */
/* A short row, its keys by a network. */
template <class O> inline void sort_short(const row_task &t) {
    typedef typename O::bits U;
    const row<O, U> x = row_of<O, U>(t);
    U *keys = (U *)t.scratch, *room = keys + network_size<U>(t.n), *to = (U *)t.values;
    const U *from = together(x.x, x.step, t.n, room);
    for (int64_t i = 0; i < t.n; i++)
        keys[i] = x.key(from[i]);
    sort_keys(keys, t.n, room);
    U *out = t.values_step == 1 ? to : keys;
    for (int64_t i = 0; i < t.n; i++)
        out[i] = x.element(room[i]);
    for (int64_t i = 0; out != to && i < t.n; i++)
        to[i * t.values_step] = out[i];
    restore(t, x);
}

template <class O, class R> inline void sort_as(const row_task &t) {
    typedef typename O::bits U;
    row<O, R> x = row_of<O, R>(t);
    const R *from = sorted_records(t, x, workspace<R>(t));
    U *out = (U *)t.values;
    t.parts.each([&](int64_t part) {
        int64_t i = t.n * part / t.parts.count, last = t.n * (part + 1) / t.parts.count;
        for (; i < last; i++)
            out[i * t.values_step] = x.element((U)key_of(from[i]));
    });
    restore(t, x);
}
template <class O> void sort_row(const row_task *t) {
    if constexpr (width<O> >= 4)
        if (quick<O>(*t)) return sort_quickly<O>(*t);
    if constexpr (width<O> >= 4)
        if (t->n > FEW && t->n <= LONG_ROW) return sort_short<O>(*t);
    if (t->n < WIDE_ROW)
        sort_as<O, typename O::bits>(*t);
    else
        sort_as<O, keyed<uint64_t>>(*t);
}

/* ---- argsort --------------------------------------------------------------------- */
template <class O, class R> inline void argsort_as(const row_task &t) {
    row<O, R> x = row_of<O, R>(t);
    const R *from = sorted_records(t, x, workspace<R>(t));
    t.parts.each([&](int64_t part) {
        int64_t i = t.n * part / t.parts.count, last = t.n * (part + 1) / t.parts.count;
        for (; i < last; i++)
            t.indices[i * t.indices_step] = (int64_t)from[i].index;
    });
}
template <class O> void argsort_row(const row_task *t) {
    if constexpr (width<O> == 4)
        if (quick<O>(*t)) return argsort_quickly<O>(*t);
    if (width<O> < 8 && t->n < WIDE_ROW)
        argsort_as<O, keyed<uint32_t>>(*t);
    else
        argsort_as<O, keyed<uint64_t>>(*t);
}

/* ---- selection ------------------------------------------------------------------- */
/* Ranks first .. last - 1 fall on one digit of `size` records, `before` are smaller. */
struct bucket {
    uint64_t digit;
    int64_t first, last, before, size;
};

template <class Offset>
inline int find_buckets(const Offset *counts, const int64_t *ranks, int64_t m,
                        int64_t before, bucket *found) {
    int n = 0;
    uint64_t digit = 0;
    for (int64_t q = 0; q < m; digit++) {
        int64_t size = (int64_t)counts[digit], last = q;
        while (last < m && ranks[last] < before + size)
            last++;
        if (last > q) found[n++] = {digit, q, last, before, size};
        before += size;
        q = last;
    }
    return n;
}

/* found[q] = the record of rank ranks[q], for 1 .. SEVERAL ascending ranks; `before` is
 * the rank of the least of the n records. room: `left` >= n records; x may be spoilt.
 */
template <class R, class Source>
void select(Source x, int64_t n, int64_t before, const int64_t *ranks, int64_t m,
            R *found, R *room, int64_t left, typename record<R>::offset *counts) {
    auto seen = look(x, 0, n, key_of(x[0]));
    int high = seen.varying ? 64 - __builtin_clzll((uint64_t)seen.varying) : 0;
    int low = std::max(high - MOST_BITS, 0);
    digits d{low, low, high - low, 1};
    count<1>(x, 0, n, d, 0, counts);
    bucket wanted[SEVERAL];
    int buckets = find_buckets(counts, ranks, m, before, wanted);
    int64_t most = 0;
    for (int i = 0; i < buckets; i++)
        most = std::max(most, wanted[i].size);
    if constexpr (std::is_pointer<Source>::value)
        if (n <= FEW || n + 2 * most > left) {
            sorter<R, Source> s{x, n, room, (R *)x, {nullptr, 1}, counts};
            const R *from =
                s.sort(plan((uint64_t)seen.varying, (uint64_t)seen.varying, n));
            for (int64_t q = 0; q < m; q++)
                found[q] = from[ranks[q] - before];
            return;
        }
    if (high == 0) {
        for (int64_t q = 0; q < m; q++)
            found[q] = x[ranks[q] - before];
        return;
    }
    const uint64_t mask = ((uint64_t)1 << d.bits) - 1;
    for (int i = 0; i < buckets; i++) {
        bucket b = wanted[i];
        int64_t kept = 0;
        for (int64_t j = 0; kept < b.size; j++) {
            R r = x[j];
            if ((((uint64_t)key_of(r) >> low) & mask) == b.digit) room[kept++] = r;
        }
        select<R, const R *>(room, kept, b.before, ranks + b.first, b.last - b.first,
                             found + b.first, room + kept, left - kept, counts);
    }
}

template <class O, class R> inline void argselect_as(const row_task &t) {
    row<O, R> x = row_of<O, R>(t);
    workspace<R> w(t);
    if (t.k > SEVERAL || t.n <= FEW) {
        const R *from = sorted_records(t, x, w);
        for (int64_t q = 0; q < t.k; q++)
            t.indices[q * t.indices_step] =
                (int64_t)from[t.ranks[q * t.ranks_step]].index;
        return;
    }
    const ordered_ranks order(t);
    R found[SEVERAL];
    select<R>(x, t.n, 0, order.ranks, t.k, found, w.room, 2 * t.n, w.counts);
    for (int64_t q = 0; q < t.k; q++)
        order.put(q, (int64_t)found[q].index);
}
template <class O> void argselect_row(const row_task *t) {
    if constexpr (width<O> >= 4)
        if (t->k <= SEVERAL && quick<O>(*t)) return argselect_quickly<O>(*t);
    if (width<O> < 8 && t->n < WIDE_ROW)
        argselect_as<O, keyed<uint32_t>>(*t);
    else
        argselect_as<O, keyed<uint64_t>>(*t);
}

/* ---- short rows: ranks by counting ----------------------------------------------- */
/* The keys of at most LONG_ROW elements, side by side: comparing all of them with a
 * bound is a loop over vectors, and costs less than placing them by a digit. */
template <class U> struct short_row {
    typedef typename std::conditional<sizeof(U) == 8, uint64_t, uint32_t>::type count;
    const U *keys;
    int64_t n;

    int64_t below(U bound) const {
        count found = 0;
        for (int64_t i = 0; i < n; i++)
            found += (count)(keys[i] < bound);
        return (int64_t)found;
    }
    /* The key of rank `rank`. Its bits are settled from the highest on that varies,
     * until few keys are left that begin with them. */
    U at(int64_t rank) const {
        U varying = 0, known = (U) ~(U)0, prefix;
        for (int64_t i = 0; i < n; i++)
            varying |= (U)(keys[i] ^ keys[0]);
        int64_t before = 0, left = n;
        int bit = varying ? 64 - __builtin_clzll((uint64_t)varying) : 0;
        known = bit == 8 * sizeof(U) ? (U)0 : (U)(known << bit);
        for (prefix = keys[0] & known; bit > 0 && left > FEW;) {
            const U next = (U)((U)1 << --bit), bound = prefix | next;
            known |= next;
            if (!(varying & next)) {
                prefix |= keys[0] & next;
                continue;
            }
            const int64_t less = below(bound);
            if (rank < less) {
                left = less - before;
                continue;
            }
            left -= less - before;
            before = less;
            prefix = bound;
        }
        return bit == 0 ? prefix : among(prefix, known, rank - before);
    }
    /* The key of rank `rank` among those, at most FEW, that begin with a prefix. */
    U among(U prefix, U known, int64_t rank) const {
        U held[FEW + 1], few[FEW];
        int64_t kept = 0;
        for (int64_t i = 0; i < n; i++) {
            held[kept] = keys[i];
            kept += (keys[i] & known) == prefix;
        }
        sort_few((const U *)held, kept, few);
        return few[rank];
    }
    /* The key of rank `rank` + 1, `key` being that of `rank`. */
    U after(U key, int64_t rank) const {
        count behind = 0;
        U least = (U) ~(U)0;
        for (int64_t i = 0; i < n; i++) {
            const U k = keys[i] > key ? keys[i] : (U) ~(U)0;
            behind += (count)(keys[i] <= key);
            least = k < least ? k : least;
        }
        return (int64_t)behind > rank + 1 ? key : least;
    }
};

/* keys: room for twice as many. */
template <class O, class R>
inline short_row<typename O::bits> short_row_of(const row<O, R> &x, int64_t n,
                                                typename O::bits *keys) {
    const typename O::bits *from = together(x.x, x.step, n, keys + n);
    for (int64_t i = 0; i < n; i++)
        keys[i] = x.key(from[i]);
    return {keys, n};
}

/* ---- median ---------------------------------------------------------------------- */
/* The element of a rank, whose key is known: of zeros, the one that a stable sort has
 * there. T is the type of elements. */
template <class T, class O, class R>
inline T ranked(const row<O, R> &x, short_row<typename O::bits> r, typename O::bits key,
                int64_t rank) {
    typename O::bits found = x.element(key);
    if constexpr (O::HAS_ODD)
        if (O::zero(found)) {
            int64_t zeros = rank - r.below(key);
            for (int64_t i = 0; zeros >= 0; i++) {
                found = x.x[i * x.step];
                zeros -= O::zero(found);
            }
        }
    T element;
    memcpy(&element, &found, sizeof(T));
    return element;
}

/* The middle element, or the mean of the two, in F. */
template <class O, class T, class F> void median_row(const row_task *t) {
    typedef typename O::bits U;
    const row<O, U> x = row_of<O, U>(*t);
    const short_row<U> r = short_row_of(x, t->n, (U *)t->scratch);
    F *out = (F *)t->values;
    const int64_t n = O::HAS_ODD ? r.below(O::key((U) ~(U)0, 0)) : t->n;
    if (n == 0 || (n < t->n && !t->skip_nan)) {
        *out = (F)__builtin_nanf("");
        return;
    }
    const int64_t rank = (n - 1) / 2;
    const U low = r.at(rank), high = n % 2 ? low : r.after(low, rank);
    const T lower = ranked<T>(x, r, low, rank);
    *out = (F)lower;
    if (low != high)
        *out = (F)(0.5 * (double)lower + 0.5 * (double)ranked<T>(x, r, high, rank + 1));
}

/* ---- topk ------------------------------------------------------------------------ */
/* Room for the first k records of a row and for those that may yet be among them. */
inline int64_t candidates(int64_t k) { return 2 * k + 64; }
constexpr int64_t BLOCK = 64; /* elements compared with the bound together */

/* The first k records of the sorted row, few of many: an element that is not less than
 * the k-th of those before it is passed over. */
template <class O, class R>
const R *leading_few(const row_task &t, const row<O, R> &x, workspace<R> w) {
    typedef typename O::bits U;
    const int64_t most = candidates(t.k);
    R *kept = w.room, *spare = w.room + most;
    int64_t count = 0, i = 0;
    U bound = 0;
    const auto reduce = [&](int64_t wanted) {
        if (sort_records(kept, count, spare, w.counts) != kept) std::swap(kept, spare);
        count = wanted;
        bound = (U)kept[wanted - 1].key;
    };
    for (; i < most; i++)
        kept[count++] = x[i];
    reduce(t.k);
    while (i < t.n) {
        int64_t end = std::min(i + BLOCK, t.n);
        U some = 0; /* as wide as keys, or the loop would not be vectorized */
        for (int64_t j = i; j < end; j++)
            some |= (U)(x.key(x.x[j * x.step]) < bound);
        for (; some && i < end; i++) {
            R r = x[i];
            if ((U)r.key >= bound) continue;
            kept[count++] = r;
            if (count == most) reduce(t.k);
        }
        i = end;
    }
    reduce(t.k);
    return kept;
}

/* The first k records of a short row. */
template <class O, class R>
const R *leading_short(const row_task &t, const row<O, R> &x, workspace<R> w) {
    typedef typename O::bits U;
    const short_row<U> r = short_row_of(x, t.n, (U *)(w.room + t.n + t.k));
    const U bound = r.at(t.k - 1);
    R *room = w.room;
    int64_t kept = 0, equal = t.k - r.below(bound), count = 0;
    for (int64_t i = 0; i < t.n; i++) {
        make(room + kept, r.keys[i], i);
        kept += r.keys[i] <= bound;
    }
    for (int64_t i = 0; kept > t.k && i < kept; i++) {
        if ((U)room[i].key == bound && equal-- <= 0) continue;
        room[count++] = room[i];
    }
    return t.sorted ? sort_records(room, t.k, room + t.n, w.counts) : room;
}

/* The first k records of the sorted row: those up to the one of rank k - 1. */
template <class O, class R> inline const R *leading(const row_task &t, workspace<R> w) {
    row<O, R> x = row_of<O, R>(t);
    if (t.n <= FEW || t.k > t.n / 4) return sorted_records(t, x, w);
    if (t.n <= LONG_ROW) return leading_short<O, R>(t, x, w);
    if (t.n >= 2 * candidates(t.k)) return leading_few<O, R>(t, x, w);
    int64_t rank = t.k - 1, kept = 0;
    R last;
    select<R>(x, t.n, 0, &rank, 1, &last, w.room, 2 * t.n, w.counts);
    R *room = w.room;
    for (int64_t i = 0; kept < t.k; i++) {
        R r = x[i];
        if (r.key < last.key || (r.key == last.key && r.index <= last.index))
            room[kept++] = r;
    }
    if (!t.sorted) return room;
    return sort_records(room, kept, room + kept, w.counts);
}

template <class O, class R> inline void topk_as(const row_task &t) {
    typedef typename O::bits U;
    if (t.k == 0) return;
    const R *from = leading<O>(t, workspace<R>(t));
    for (int64_t i = 0; i < t.k; i++) {
        int64_t at = (int64_t)from[i].index;
        t.indices[i * t.indices_step] = at;
        ((U *)t.values)[i * t.values_step] = ((const U *)t.x)[at * t.x_step];
    }
}
template <class O> void topk_row(const row_task *t) {
    if constexpr (width<O> >= 4)
        if (t->k > 0 && quick<O>(*t)) return topk_quickly<O>(*t);
    if (width<O> < 8 && t->n < WIDE_ROW)
        topk_as<O, keyed<uint32_t>>(*t);
    else
        topk_as<O, keyed<uint64_t>>(*t);
}

} /* namespace tl */

#endif /* TENSORLIB_SORT_ROWS_H */

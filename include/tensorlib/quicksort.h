/* Keys sorted, and those of some ranks found, by quicksort in registers of AVX-512.
 *
 * Keys less than a bound are shared out to one side and the others to the other, until
 * a block is left for a network. A sort in parts has one result, since keys that are
 * equal are the same: parts share out their own keys by common bounds, and then sort
 * what lies between two bounds.
 *
 * Bounds are middle keys of samples that lie at even distances. Where too many of them
 * divide badly, what is left is sorted by radix. The range of the keys is known: a
 * bound is above the least, so that a range of one key is reached soon where keys are
 * few, and written down.
 *
 * References: C. A. R. Hoare, "Quicksort", 1962; R. W. Floyd and R. L. Rivest,
 * "Expected time bounds for selection", 1975.
 */
#ifndef TENSORLIB_QUICKSORT_H
#define TENSORLIB_QUICKSORT_H

#include "tensorlib/sort.h"
#include "tensorlib/sort_blocks.h"

#ifdef TL_SORT_BLOCKS
namespace tl {

/* ---- where keys come from -------------------------------------------------------- */
/* Keys that are taken from a row at a time: they stay in the first cache. */
constexpr int64_t CHUNK = 1024;
template <class F> inline void each_chunk(int64_t begin, int64_t end, F f) {
    for (int64_t i = begin; i < end; i += CHUNK)
        f(i, std::min(CHUNK, end - i));
}

/* of(begin, n, room): n keys, at most CHUNK, in room; or where they are, if plain. */
template <class U> struct plain_keys {
    const U *x;
    U operator[](int64_t i) const { return x[i]; }
    const U *of(int64_t begin, int64_t, U *) const { return x + begin; }
};
template <class O> struct row_keys {
    typedef typename O::bits U;
    row<O, U> x;
    U operator[](int64_t i) const { return x[i]; }
    const U *of(int64_t begin, int64_t n, U *room) const {
        const row<O, U> own = x; /* which nothing stored to room changes */
        const U *from = own.x + begin * own.step;
        if (own.step != 1) {
            for (int64_t i = 0; i < n; i++)
                room[i] = from[i * own.step];
            from = room;
        }
        for (int64_t i = 0; i < n; i++)
            room[i] = own.key(from[i]);
        return room;
    }
};
/* Keys of 32 bits above the positions that they come from: no two are equal, and their
 * order is the stable one. */
template <class O> struct placed_keys {
    row_keys<O> keys;
    static uint64_t pair(uint32_t key, int64_t i) {
        return (uint64_t)key << 32 | (uint64_t)i;
    }
    uint64_t operator[](int64_t i) const { return pair(keys[i], i); }
    const uint64_t *of(int64_t begin, int64_t n, uint64_t *room) const {
        uint32_t own[CHUNK];
        const uint32_t *from = keys.of(begin, n, own);
        for (int64_t i = 0; i < n; i++)
            room[i] = pair(from[i], begin + i);
        return room;
    }
};

/* m keys of n from `begin` on, at even distances. */
template <class U, class Source>
inline void sample(const Source &x, int64_t begin, int64_t n, int64_t m, U *to) {
    const int64_t step = n / m;
    for (int64_t i = 0; i < m; i++)
        to[i] = x[begin + step / 2 + i * step];
}

inline int bad_bounds(int64_t n) { return 2 * (63 - __builtin_clzll((uint64_t)n | 1)); }

/* ---- sorting --------------------------------------------------------------------- */
/* n keys of a range. */
template <class U> struct span {
    U *keys;
    int64_t n;
    U least, most;

    /* Those less than a bound within the range, and the others behind them. */
    void share(U bound, span *low, span *high) const {
        const span all = *this; /* low or high may be this one */
        const int64_t fewer = share_in_place(keys, n, bound);
        *low = {all.keys, fewer, all.least, (U)(bound - 1)};
        *high = {all.keys + fewer, all.n - fewer, bound, all.most};
    }
};

constexpr int64_t MOST_RANGES = 4 * MOST_PARTS; /* that parts share keys out to */

/* n keys in order where they are; room has as many. */
template <class U>
void sort_in_place(U *keys, int64_t n, U *room, typename record<U>::offset *counts);

/* Emit is called with sorted keys, their number, and the place of the first, and may
 * write to the places of these keys. */
template <class U, class Emit> struct quicksort {
    typedef typename record<U>::offset Offset;
    typedef tl::span<U> span;
    Emit emit;
    U *keys, *room; /* n each; room is for the sort by radix, or parts */
    Offset *counts; /* counters(1) a part, for the sort by radix */

    static U bound(const span &s) {
        const U middle = s.n < 16 * BLOCK_KEYS<U> ? middle_key<U, 1>(s.keys, s.n)
                                                  : middle_key<U, 4>(s.keys, s.n);
        return std::max(middle, (U)(s.least + 1));
    }

    void block(const U *from, int64_t n, int64_t at) const {
        U sorted[BLOCK_KEYS<U>];
        sort_block(from, n, sorted);
        emit(sorted, n, at);
    }
    void equal(const span &s, int64_t at) const {
        U same[CHUNK];
        std::fill(same, same + std::min(CHUNK, s.n), s.least);
        each_chunk(0, s.n, [&](int64_t i, int64_t n) { emit(same, n, at + i); });
    }
    void by_radix(const span &s, int64_t at, Offset *own) const {
        sorter<U, const U *> all{s.keys, s.n, room + at, s.keys, {nullptr, 1}, own};
        const survey<U> seen = look(all.x, 0, s.n, s.keys[0]);
        const U *sorted = all.sort(plan(seen.varying, seen.varying, s.n));
        U chunk[CHUNK];
        each_chunk(0, s.n, [&](int64_t i, int64_t n) {
            std::copy(sorted + i, sorted + i + n, chunk);
            emit(chunk, n, at + i);
        });
    }

    /* Place s, from `at` on; `bad` more bounds may divide badly. */
    void sort(span s, int64_t at, int bad, Offset *own) const {
        while (s.n > BLOCK_KEYS<U>) {
            if (s.least == s.most) return equal(s, at);
            if (bad == 0) return by_radix(s, at, own);
            span low, high;
            s.share(bound(s), &low, &high);
            const int64_t high_at = at + low.n;
            bad -= std::min(low.n, high.n) < s.n / 8;
            /* The shorter one first: what waits is at most log2 n deep. */
            if (low.n < high.n) {
                sort(low, at, bad, own);
                s = high;
                at = high_at;
            } else {
                sort(high, high_at, bad, own);
                s = low;
            }
        }
        if (s.n > 0) block(s.keys, s.n, at);
    }

    /* All n keys of a source. */
    template <class Source> void all(const Source &x, int64_t n) const {
        each_chunk(0, n, [&](int64_t i, int64_t count) { x.of(i, count, keys + i); });
        sort({keys, n, 0, (U) ~(U)0}, 0, bad_bounds(n), counts);
    }

    /* The same in parts: each shares its keys out to common ranges, then sorts some of
     * these. */
    template <class Source>
    void all(const Source &x, int64_t n, const tl::parts &parts) const {
        if (parts.count == 1) return all(x, n);
        const int64_t ranges = 4 * parts.count;
        U bounds[MOST_RANGES]; /* of ranges 1 .. ranges - 1 */
        span pieces[MOST_PARTS][MOST_RANGES];
        choose(x, n, ranges, bounds);
        parts.each([&](int64_t part) {
            const int64_t begin = n * part / parts.count,
                          end = n * (part + 1) / parts.count;
            each_chunk(begin, end,
                       [&](int64_t i, int64_t count) { x.of(i, count, room + i); });
            pieces[part][0] = {room + begin, end - begin, 0, (U) ~(U)0};
            share_ranges(pieces[part], bounds, 0, ranges);
        });
        int64_t starts[MOST_RANGES + 1] = {};
        for (int64_t range = 0; range < ranges; range++) {
            starts[range + 1] = starts[range];
            for (int64_t part = 0; part < parts.count; part++)
                starts[range + 1] += pieces[part][range].n;
        }
        parts.each([&](int64_t part) {
            Offset *own = counts + counters(1) * part;
            for (int64_t range = 0; range < ranges; range++) {
                const int64_t at = starts[range], count = starts[range + 1] - at;
                /* The part in which the middle of a range falls sorts it. */
                if ((2 * at + count) * parts.count / (2 * n) != part) continue;
                span s{keys + at, 0, pieces[0][range].least, pieces[0][range].most};
                for (int64_t p = 0; p < parts.count; p++) {
                    const span &piece = pieces[p][range];
                    std::copy(piece.keys, piece.keys + piece.n, s.keys + s.n);
                    s.n += piece.n;
                }
                sort(s, at, bad_bounds(count), own);
            }
        });
    }

    /* bounds[1 .. ranges - 1], so that ranges have about as many keys each. */
    template <class Source>
    void choose(const Source &x, int64_t n, int64_t ranges, U *bounds) const {
        constexpr int64_t EACH = 32; /* keys of a sample for a range */
        U some[EACH * MOST_RANGES], spare[EACH * MOST_RANGES];
        const int64_t m = EACH * ranges;
        sample(x, 0, n, m, some);
        sort_in_place(some, m, spare, counts);
        for (int64_t range = 1; range < ranges; range++)
            bounds[range] = std::max(some[EACH * range], (U)1);
    }
    /* Ranges first .. last - 1 of a part, which are all in the first one yet. */
    static void share_ranges(span *own, const U *bounds, int64_t first, int64_t last) {
        const int64_t middle = (first + last) / 2;
        if (middle == first) return;
        const span s = own[first];
        s.share(bounds[middle], own + first, own + middle);
        share_ranges(own, bounds, first, middle);
        share_ranges(own, bounds, middle, last);
    }
};

template <class U>
void sort_in_place(U *keys, int64_t n, U *room, typename record<U>::offset *counts) {
    const auto store = [&](const U *sorted, int64_t count, int64_t at) {
        std::copy(sorted, sorted + count, keys + at);
    };
    quicksort<U, decltype(store)>{store, keys, room, counts}.sort(
        {keys, n, 0, (U) ~(U)0}, 0, bad_bounds(n), counts);
}

/* ---- selection ------------------------------------------------------------------- */
/* The key of a rank, and how many keys are less. */
template <class U> struct ranked_key {
    U key;
    int64_t fewer;
};

template <class U> struct quickselect {
    typename record<U>::offset *counts; /* counters(1) */
    tl::parts parts;

    /* found[q] of ranks[q], m ascending ones, of n keys that `fewer` are less than.
     * room: 2 * n. */
    template <class Source>
    void find(const Source &x, int64_t n, int64_t fewer, const int64_t *ranks,
              int64_t m, ranked_key<U> *found, U *room) const {
        constexpr int64_t NEAR =
            16; /* ranks within this part of n are found together */
        for (int64_t q = 0, last; q < m; q = last) {
            for (last = q + 1; last < m && ranks[last] - ranks[q] <= n / NEAR;)
                last++;
            find_near(x, n, fewer, ranks + q, last - q, found + q, room);
        }
    }

    template <class Source>
    void find_near(const Source &x, int64_t n, int64_t fewer, const int64_t *ranks,
                   int64_t m, ranked_key<U> *found, U *room) const {
        if (n <= BLOCK_KEYS<U>) {
            U chunk[CHUNK], sorted[BLOCK_KEYS<U>];
            sort_block(x.of(0, n, chunk), n, sorted);
            return look_up(sorted, n, fewer, ranks, m, found);
        }
        /* Between keys of a sample some deviations away, most likely. */
        U some[BLOCK_KEYS<U>];
        const int64_t size = n < 16 * BLOCK_KEYS<U> ? BLOCK_KEYS<U> / 2 : BLOCK_KEYS<U>;
        sample(x, 0, n, size, some);
        sort_block(some, size, some);
        const int64_t first = ranks[0] - fewer, last = ranks[m - 1] - fewer;
        U least, most;
        int64_t kept, below;
        for (int64_t margin = size / 16 + 6;; margin *= 4) {
            const int64_t from = first * size / n - margin,
                          to = last * size / n + margin;
            least = from < 0 ? (U)0 : some[from];
            most = to >= size ? (U) ~(U)0 : some[to];
            kept = keep(x, n, least, most, room, &below);
            if (below <= first && last < below + kept) break;
        }
        fewer += below;
        if (least == most)
            std::fill(found, found + m, ranked_key<U>{least, fewer});
        else if (kept <= n / 2)
            quickselect<U>{counts, {nullptr, 1}}.find_near(
                plain_keys<U>{room}, kept, fewer, ranks, m, found, room + kept);
        else {
            sort_in_place(room, kept, room + n, counts);
            look_up(room, kept, fewer, ranks, m, found);
        }
    }

    static void look_up(const U *sorted, int64_t n, int64_t fewer, const int64_t *ranks,
                        int64_t m, ranked_key<U> *found) {
        for (int64_t q = 0; q < m; q++) {
            const U key = sorted[ranks[q] - fewer];
            found[q] = {key,
                        fewer + (std::lower_bound(sorted, sorted + n, key) - sorted)};
        }
    }

    /* Keys from `least` to `most` to room, by all parts; how many; how many are less.
     */
    template <class Source>
    int64_t keep(const Source &x, int64_t n, U least, U most, U *room,
                 int64_t *below) const {
        int64_t kept[MOST_PARTS], fewer[MOST_PARTS], all = 0;
        parts.each([&](int64_t part) {
            const int64_t begin = n * part / parts.count,
                          end = n * (part + 1) / parts.count;
            U chunk[CHUNK], *to = room + begin;
            int64_t under = 0;
            each_chunk(begin, end, [&](int64_t i, int64_t count) {
                to +=
                    keep_between(x.of(i, count, chunk), count, least, most, to, &under);
            });
            kept[part] = to - (room + begin);
            fewer[part] = under;
        });
        *below = 0;
        for (int64_t part = 0; part < parts.count; part++) {
            memmove(room + all, room + n * part / parts.count,
                    sizeof(U) * (size_t)kept[part]);
            all += kept[part];
            *below += fewer[part];
        }
        return all;
    }
};

} /* namespace tl */
#endif /* TL_SORT_BLOCKS */

#endif /* TENSORLIB_QUICKSORT_H */

/* Rows sorted by radix: stable, and by the bits of their elements alone.
 *
 * An order maps elements to unsigned keys. Passes go from the lowest to the highest
 * digit and each moves every record once, so their number counts. Bits that all keys
 * share are left out, and where more bits vary than tell n keys apart, only the high
 * ones are sorted by; runs that agree in those are short as a rule, and are finished
 * one by one.
 */
#ifndef TENSORLIB_SORT_H
#define TENSORLIB_SORT_H

#include "tensorlib/scalar_bits.h"

#include <algorithm>
#include <stdint.h>
#include <string.h>

namespace tl {

/* ---- orders ----------------------------------------------------------------------
 * U: an element's bits. flip is 0, or all ones for the descending order. */
template <class U> struct unsigned_order {
    typedef U bits;
    TL_HD static U key(U x, U flip) { return x ^ flip; }
    TL_HD static U value(U k, U flip) { return k ^ flip; }
    static constexpr bool HAS_ODD = false;
    TL_HD static bool odd(U) { return false; }
};
template <class U> struct signed_order {
    typedef U bits;
    static constexpr U TOP = (U)((U)1 << (8 * sizeof(U) - 1));
    TL_HD static U key(U x, U flip) { return x ^ TOP ^ flip; }
    TL_HD static U value(U k, U flip) { return k ^ TOP ^ flip; }
    static constexpr bool HAS_ODD = false;
    TL_HD static bool odd(U) { return false; }
};
/* Both zeros have one key; so have all NaNs: the last one in either direction. odd()
 * marks elements which their key does not give back. */
template <class U, U Infinity> struct float_order {
    typedef U bits;
    static constexpr U TOP = (U)((U)1 << (8 * sizeof(U) - 1));
    static constexpr U ALL = (U) ~(U)0;
    static constexpr bool HAS_ODD = true;
    TL_HD static U key(U x, U flip) {
        U size = x & (U)~TOP;
        U mask = (U)(0 - (U)(x >> (8 * sizeof(U) - 1))) | TOP;
        U k = (U)((size == 0 ? TOP : x ^ mask) ^ flip);
        return size > Infinity ? ALL : k;
    }
    TL_HD static U value(U k, U flip) {
        k ^= flip;
        return k & TOP ? k ^ TOP : (U)~k;
    }
    TL_HD static bool odd(U x) { return ((x & (U)~TOP) > Infinity) | (x == TOP); }
    TL_HD static bool zero(U x) { return (x & (U)~TOP) == 0; }
};

/* ---- records ---------------------------------------------------------------------
 * What passes move: a key alone, or with its element's position. */
template <class K> struct keyed {
    K key;
    K index;
};
template <class K> inline K key_of(K r) { return r; }
template <class K> inline K key_of(keyed<K> r) { return r.key; }
template <class R> struct record;
template <> struct record<uint8_t> {
    typedef uint8_t key;
    typedef uint32_t offset;
};
template <> struct record<uint16_t> {
    typedef uint16_t key;
    typedef uint32_t offset;
};
template <> struct record<uint32_t> {
    typedef uint32_t key;
    typedef uint32_t offset;
};
template <> struct record<uint64_t> {
    typedef uint64_t key;
    typedef uint32_t offset;
};
template <> struct record<keyed<uint32_t>> {
    typedef uint32_t key;
    typedef uint32_t offset;
};
template <> struct record<keyed<uint64_t>> {
    typedef uint64_t key;
    typedef uint64_t offset;
};
template <class K> inline void make(K *r, K key, int64_t) { *r = key; }
template <class K, class U> inline void make(keyed<K> *r, U key, int64_t i) {
    r->key = key;
    r->index = (K)i;
}

/* A row of elements as records. Keys are turned, or not, by all ones, NaNs' as well;
 * then base is subtracted. */
template <class O, class R> struct row {
    typedef typename O::bits U;
    const U *x;
    int64_t step;
    U flip, turn, base;
    U key(U element) const { return (U)((O::key(element, flip) ^ turn) - base); }
    U element(U key) const { return O::value((U)((U)(key + base) ^ turn), flip); }
    R operator[](int64_t i) const {
        R r;
        make(&r, key(x[i * step]), i);
        return r;
    }
};

/* Body is called for parts 0 .. parts - 1, by several threads. */
typedef void (*part_body)(void *arg, int64_t part);
typedef void (*part_runner)(part_body body, void *arg, int64_t parts);

struct parts {
    part_runner run;
    int64_t count;
    template <class F> void each(F f) const {
        if (count == 1) {
            f(0);
            return;
        }
        run([](void *arg, int64_t part) { (*(F *)arg)(part); }, &f, count);
    }
};

/* ---- digits ---------------------------------------------------------------------- */
constexpr int64_t FEW = 32;        /* records that are placed by comparing all pairs */
constexpr int SHORT_BITS = 8;      /* of a digit in a short row, whose counters cost */
constexpr int MOST_BITS = 11;      /* of a digit: its counters fit the first cache */
constexpr int MOST_PASSES = 6;     /* 64 bits */
constexpr int SPARE_BITS = 10;     /* sorted by beyond those that number n records */
constexpr int64_t LONG_ROW = 4096; /* records of a row that is not short */
constexpr int64_t MOST_PARTS = 16;

template <class R> inline void insert(R *r, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        R held = r[i];
        int64_t j = i;
        for (; j > 0 && key_of(held) < key_of(r[j - 1]); j--)
            r[j] = r[j - 1];
        r[j] = held;
    }
}

/* Up to FEW records, each placed behind as many as go before it: no branch depends on
 * keys. Lanes beyond n are compared too, and not looked at. */
template <int Lanes, class R, class Source>
inline void place_few(const Source &x, int64_t n, R *to) {
    typedef typename record<R>::key K;
    R held[Lanes];
    K keys[Lanes] = {}, places[Lanes] = {}, numbers[Lanes];
    for (int i = 0; i < Lanes; i++)
        numbers[i] = (K)i;
    for (int64_t i = 0; i < n; i++) {
        held[i] = x[i];
        keys[i] = key_of(held[i]);
    }
    for (int64_t j = 0; j < n; j++) {
        K key = keys[j], number = (K)j;
        for (int i = 0; i < Lanes; i++)
            places[i] +=
                (K)((key < keys[i]) | ((key == keys[i]) & (number < numbers[i])));
    }
    for (int64_t i = 0; i < n; i++)
        to[places[i]] = held[i];
}
template <class R, class Source>
inline void sort_few(const Source &x, int64_t n, R *to) {
    if (n <= FEW / 4)
        place_few<FEW / 4>(x, n, to);
    else if (n <= FEW / 2)
        place_few<FEW / 2>(x, n, to);
    else
        place_few<FEW>(x, n, to);
}

/* What is known of keys: the smallest, the largest, and which bits differ. */
template <class K> struct survey { K least, most, varying; };
template <class K, class Source>
inline survey<K> look(const Source &x, int64_t begin, int64_t end, K first) {
    survey<K> s{first, first, 0};
    for (int64_t i = begin; i < end; i++) {
        K k = key_of(x[i]);
        s.least = k < s.least ? k : s.least;
        s.most = k > s.most ? k : s.most;
        s.varying |= k ^ first;
    }
    return s;
}

/* Passes over digits of `bits` bits from bit `start` on; bits from `low` on vary. */
struct digits {
    int start, low, bits, passes;
};
inline digits plan(uint64_t range, uint64_t varying, int64_t n) {
    digits d{0, 0, 0, 0};
    if (varying == 0) return d;
    int high = 64 - __builtin_clzll(range);
    int wanted = 64 - __builtin_clzll((uint64_t)n) + SPARE_BITS;
    d.low = __builtin_ctzll(varying);
    int width = std::min(high - d.low, wanted);
    int most = n < LONG_ROW ? SHORT_BITS : MOST_BITS;
    d.passes = (width + most - 1) / most;
    d.bits = (width + d.passes - 1) / d.passes;
    d.start = std::max(d.low, high - d.bits * d.passes);
    return d;
}

/* Counters of the digits of `passes` passes from pass `first` on. */
template <int Passes, class Source, class Offset>
inline void count(const Source &x, int64_t begin, int64_t end, digits d, int first,
                  Offset *counts) {
    const uint64_t mask = ((uint64_t)1 << d.bits) - 1;
    const int shift = d.start + first * d.bits;
    memset(counts, 0, (sizeof(Offset) * Passes) << d.bits);
    for (int64_t i = begin; i < end; i++) {
        uint64_t key = (uint64_t)key_of(x[i]) >> shift;
        for (int p = 0; p < Passes; p++)
            counts[((uint64_t)p << d.bits) + ((key >> (p * d.bits)) & mask)]++;
    }
}

template <class Source, class R, class Offset>
inline void scatter(const Source &x, int64_t begin, int64_t end, int shift,
                    uint64_t mask, Offset *places, R *to) {
    for (int64_t i = begin; i < end; i++) {
        R r = x[i];
        to[places[((uint64_t)key_of(r) >> shift) & mask]++] = r;
    }
}

/* ---- sorting --------------------------------------------------------------------- */
/* Counters that sorting in `parts` needs. */
inline int64_t counters(int64_t parts) { return (parts * MOST_PASSES) << MOST_BITS; }

template <class R, class Source> struct sorter {
    typedef typename record<R>::key K;
    typedef typename record<R>::offset Offset;
    Source x;
    int64_t n;
    R *a, *b; /* n records each; b may be x itself */
    tl::parts parts;
    Offset *counts; /* counters(parts.count) */

    int64_t bound(int64_t part) const { return n * part / parts.count; }

    /* Counts of each part become the places where its records go. */
    void place(Offset *tables, int bits) const {
        Offset at = 0;
        for (int64_t digit = 0; digit < (int64_t)1 << bits; digit++)
            for (int64_t part = 0; part < parts.count; part++) {
                Offset held = tables[(part << bits) + digit];
                tables[(part << bits) + digit] = at;
                at += held;
            }
    }

    /* A part alone counts for all passes at once, several count before each. */
    void count_all(digits d) const {
        int p = 0;
        for (; p + 3 <= d.passes; p += 3)
            count<3>(x, 0, n, d, p, counts + ((int64_t)p << d.bits));
        if (d.passes - p == 2) count<2>(x, 0, n, d, p, counts + ((int64_t)p << d.bits));
        if (d.passes - p == 1) count<1>(x, 0, n, d, p, counts + ((int64_t)p << d.bits));
    }

    template <class From> void pass(const From &from, R *to, digits d, int p) const {
        const uint64_t mask = ((uint64_t)1 << d.bits) - 1;
        Offset *tables = counts + (parts.count == 1 ? (int64_t)p << d.bits : 0);
        if (parts.count > 1)
            parts.each([&](int64_t part) {
                count<1>(from, bound(part), bound(part + 1), d, p,
                         tables + (part << d.bits));
            });
        place(tables, d.bits);
        parts.each([&](int64_t part) {
            scatter(from, bound(part), bound(part + 1), d.start + p * d.bits, mask,
                    tables + (part << d.bits), to);
        });
    }

    /* Sort runs of records that agree in the bits sorted by so far. */
    void finish(R *r, R *spare, digits d) const {
        const auto head = [&](int64_t i) { return key_of(r[i]) >> d.start; };
        K edges[MOST_PARTS + 1]; /* seen before any part moves records */
        for (int64_t part = 1; part < parts.count; part++)
            edges[part] = head(bound(part) - 1);
        parts.each([&](int64_t part) {
            int64_t i = bound(part), j, end = bound(part + 1);
            /* A run belongs to the part in which it begins. */
            while (part && i < end && head(i) == edges[part])
                i++;
            for (; i < end; i = j) {
                K same = head(i);
                for (j = i + 1; j < n && head(j) == same; j++) {
                }
                if (j - i > 1) finish_run(r + i, spare + i, j - i, part);
            }
        });
    }

    void finish_run(R *r, R *spare, int64_t length, int64_t part) const {
        if (length <= FEW) {
            insert(r, length);
            return;
        }
        Offset *own = counts + counters(1) * part;
        sorter<R, const R *> rest{r, length, spare, r, {nullptr, 1}, own};
        survey<K> s = look(rest.x, 0, length, key_of(r[0]));
        if (rest.sort(plan(s.varying, s.varying, length)) != r)
            memcpy(r, spare, sizeof(R) * length);
    }

    survey<K> look_all() const {
        survey<K> seen[MOST_PARTS];
        K first = key_of(x[0]);
        parts.each([&](int64_t part) {
            seen[part] = look(x, bound(part), bound(part + 1), first);
        });
        for (int64_t part = 1; part < parts.count; part++) {
            seen[0].least = std::min(seen[0].least, seen[part].least);
            seen[0].most = std::max(seen[0].most, seen[part].most);
            seen[0].varying |= seen[part].varying;
        }
        return seen[0];
    }

    /* The records in order, in a or in b. */
    R *sort(digits d) const {
        if (n <= FEW) {
            sort_few(x, n, a);
            return a;
        }
        if (d.passes == 0) {
            for (int64_t i = 0; i < n; i++)
                a[i] = x[i];
            return a;
        }
        R *from = a, *to = b;
        if (parts.count == 1) count_all(d);
        pass(x, a, d, 0);
        for (int p = 1; p < d.passes; p++, std::swap(from, to))
            pass((const R *)from, to, d, p);
        if (d.start > d.low) finish(from, to, d);
        return from;
    }
};

} /* namespace tl */

#endif /* TENSORLIB_SORT_H */

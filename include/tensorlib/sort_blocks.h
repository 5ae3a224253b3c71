/* Blocks of keys sorted in registers of AVX-512, and keys shared out by bounds.
 *
 * A block is up to 32 registers. Its lanes are columns, which one network sorts side by
 * side; neighbouring columns are then merged, so that most comparisons are of whole
 * registers, and the columns are laid end to end.
 *
 * References: K. E. Batcher, "Sorting networks and their applications", 1968;
 * B. Bramas, "A novel hybrid quicksort algorithm vectorized using AVX-512 on Intel
 * Skylake", 2017: compressed registers share keys out.
 */
#ifndef TENSORLIB_SORT_BLOCKS_H
#define TENSORLIB_SORT_BLOCKS_H

#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#define TL_SORT_BLOCKS 1
#include <algorithm>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace tl {

#define TL_BLOCK_INLINE inline __attribute__((always_inline))

template <class U> struct wide;
template <> struct wide<uint32_t> {
    typedef uint32_t vec __attribute__((vector_size(64)));
    typedef __mmask16 mask;
    static mask less(vec a, vec b) {
        return _mm512_cmplt_epu32_mask((__m512i)a, (__m512i)b);
    }
    static vec least(vec a, vec b) {
        return (vec)_mm512_min_epu32((__m512i)a, (__m512i)b);
    }
    /* The greatest where m is set, else the least. */
    static vec either(mask m, vec a, vec b) {
        return (vec)_mm512_mask_ternarylogic_epi32((__m512i)least(a, b), m, (__m512i)a,
                                                   (__m512i)b, 0x96); /* a ^ b ^ c */
    }
    static vec compress(mask m, vec a) {
        return (vec)_mm512_maskz_compress_epi32(m, (__m512i)a);
    }
    static vec load(mask m, vec other, const uint32_t *x) {
        return (vec)_mm512_mask_loadu_epi32((__m512i)other, m, x);
    }
    static void store(mask m, vec a, uint32_t *to) {
        _mm512_mask_storeu_epi32(to, m, (__m512i)a);
    }
};
template <> struct wide<uint64_t> {
    typedef uint64_t vec __attribute__((vector_size(64)));
    typedef __mmask8 mask;
    static mask less(vec a, vec b) {
        return _mm512_cmplt_epu64_mask((__m512i)a, (__m512i)b);
    }
    static vec least(vec a, vec b) {
        return (vec)_mm512_min_epu64((__m512i)a, (__m512i)b);
    }
    /* The greatest where m is set, else the least. */
    static vec either(mask m, vec a, vec b) {
        return (vec)_mm512_mask_ternarylogic_epi64((__m512i)least(a, b), m, (__m512i)a,
                                                   (__m512i)b, 0x96); /* a ^ b ^ c */
    }
    static vec compress(mask m, vec a) {
        return (vec)_mm512_maskz_compress_epi64(m, (__m512i)a);
    }
    static vec load(mask m, vec other, const uint64_t *x) {
        return (vec)_mm512_mask_loadu_epi64((__m512i)other, m, x);
    }
    static void store(mask m, vec a, uint64_t *to) {
        _mm512_mask_storeu_epi64(to, m, (__m512i)a);
    }
};
template <class U> constexpr int WIDE = 64 / sizeof(U);
constexpr int MOST_REGISTERS = 32;
template <class U> constexpr int64_t BLOCK_KEYS = MOST_REGISTERS *WIDE<U>;

template <class U> TL_BLOCK_INLINE typename wide<U>::vec load_wide(const U *x) {
    typename wide<U>::vec v;
    memcpy(&v, x, 64);
    return v;
}
template <class U> TL_BLOCK_INLINE void store_wide(U *to, typename wide<U>::vec v) {
    memcpy(to, &v, 64);
}
/* The first n lanes. */
template <class U> TL_BLOCK_INLINE typename wide<U>::mask leading_lanes(int64_t n) {
    return (typename wide<U>::mask)((1u << n) - 1);
}

/* ---- networks -------------------------------------------------------------------- */
/* The least of each lane to a, the greatest to b: what is left of both without the
 * least. (Intel has one port for minima and maxima of 64 bytes, and two for logic.) */
template <class U>
TL_BLOCK_INLINE void sift(typename wide<U>::vec &a, typename wide<U>::vec &b) {
    const typename wide<U>::vec low = wide<U>::least(a, b);
    b = a ^ b ^ low;
    a = low;
}
/* Lane i of the result is lane i ^ D. */
template <class U, int D>
TL_BLOCK_INLINE typename wide<U>::vec exchanged(typename wide<U>::vec v) {
    typename wide<U>::vec places;
    for (int i = 0; i < WIDE<U>; i++)
        places[i] = (U)(i ^ D);
    return __builtin_shuffle(v, places);
}
/* Lanes whose number has bit D. */
template <class U, int D> constexpr typename wide<U>::mask upper_lanes() {
    unsigned m = 0;
    for (int i = 0; i < WIDE<U>; i++)
        m |= (i & D ? 1u : 0u) << i;
    return (typename wide<U>::mask)m;
}

/* Batcher's merge of N registers' sorted halves that lie Step apart, and his sort. */
template <class U, int N, int Step, int Begin>
TL_BLOCK_INLINE void merge_odd_even(typename wide<U>::vec *v) {
    if constexpr (2 * Step < N) {
        merge_odd_even<U, N, 2 * Step, Begin>(v);
        merge_odd_even<U, N, 2 * Step, Begin + Step>(v);
#pragma GCC unroll 32
        for (int i = Begin + Step; i + Step < Begin + N; i += 2 * Step)
            sift<U>(v[i], v[i + Step]);
    } else
        sift<U>(v[Begin], v[Begin + Step]);
}
template <class U, int N, int Begin>
TL_BLOCK_INLINE void sort_registers(typename wide<U>::vec *v) {
    if constexpr (N > 1) {
        sort_registers<U, N / 2, Begin>(v);
        sort_registers<U, N / 2, Begin + N / 2>(v);
        merge_odd_even<U, N, 1, Begin>(v);
    }
}

/* Lanes D apart, D / 2 apart and so on to neighbours: each pair in order. */
template <class U, int Rows, int D>
TL_BLOCK_INLINE void sift_lanes(typename wide<U>::vec *v) {
    if constexpr (D > 0) {
#pragma GCC unroll 32
        for (int i = 0; i < Rows; i++) {
            typename wide<U>::vec other = exchanged<U, D>(v[i]);
            v[i] = wide<U>::either(upper_lanes<U, D>(), v[i], other);
        }
        sift_lanes<U, Rows, D / 2>(v);
    }
}
template <class U, int Rows, int D>
TL_BLOCK_INLINE void sift_rows(typename wide<U>::vec *v) {
    if constexpr (D > 0) {
#pragma GCC unroll 32
        for (int i = 0; i < Rows; i++)
            if (!(i & D)) sift<U>(v[i], v[i + D]);
        sift_rows<U, Rows, D / 2>(v);
    }
}
/* Merge sorted runs of Width / 2 columns each: a bitonic merge, whose first step meets
 * the second run from behind. */
template <class U, int Rows, int Width>
TL_BLOCK_INLINE void merge_columns(typename wide<U>::vec *v) {
    typedef typename wide<U>::vec vec;
    typedef typename wide<U>::mask mask;
    if constexpr (Width <= WIDE<U>) {
        constexpr mask upper = upper_lanes<U, Width / 2>();
        if constexpr (Rows == 1) {
            vec other = exchanged<U, Width - 1>(v[0]);
            v[0] = wide<U>::either(upper, v[0], other);
        }
#pragma GCC unroll 32
        for (int i = 0; i < Rows / 2; i++) {
            const vec a = v[i], b = exchanged<U, Width - 1>(v[Rows - 1 - i]);
            v[i] = wide<U>::either(upper, a, b);
            v[Rows - 1 - i] =
                exchanged<U, Width - 1>(wide<U>::either((mask)~upper, a, b));
        }
        sift_lanes<U, Rows, Width / 4>(v);
        sift_rows<U, Rows, Rows / 2>(v);
        merge_columns<U, Rows, 2 * Width>(v);
    }
}
/* Columns end to end: halves of the registers interleaved, as often as it takes. */
template <class U, int Rows, int Times>
TL_BLOCK_INLINE void end_to_end(typename wide<U>::vec *v) {
    typedef typename wide<U>::vec vec;
    if constexpr (Times > 1) {
        vec low, high, w[Rows];
        for (int i = 0; i < WIDE<U>; i++) {
            low[i] = (U)(i / 2 + i % 2 * WIDE<U>);
            high[i] = low[i] + WIDE<U> / 2;
        }
#pragma GCC unroll 32
        for (int i = 0; i < Rows / 2; i++) {
            w[2 * i] = __builtin_shuffle(v[i], v[i + Rows / 2], low);
            w[2 * i + 1] = __builtin_shuffle(v[i], v[i + Rows / 2], high);
        }
#pragma GCC unroll 32
        for (int i = 0; i < Rows; i++)
            v[i] = w[i];
        end_to_end<U, Rows, Times / 2>(v);
    }
}

/* to = n keys in order, of which Rows registers hold all; to may be x. */
template <class U, int Rows> void sort_block_of(const U *x, int64_t n, U *to) {
    constexpr int L = WIDE<U>;
    typename wide<U>::vec v[Rows], most = (typename wide<U>::vec){} - 1;
#pragma GCC unroll 32
    for (int i = 0; i < Rows; i++) {
        const int64_t left = n - i * L;
        v[i] = left >= L  ? load_wide(x + i * L)
               : left > 0 ? wide<U>::load(leading_lanes<U>(left), most, x + i * L)
                          : most;
    }
    sort_registers<U, Rows, 0>(v);
    merge_columns<U, Rows, 2>(v);
    end_to_end<U, Rows, Rows>(v);
#pragma GCC unroll 32
    for (int i = 0; i < Rows; i++) {
        const int64_t left = n - i * L;
        if (left >= L)
            store_wide(to + i * L, v[i]);
        else if (left > 0)
            wide<U>::store(leading_lanes<U>(left), v[i], to + i * L);
    }
}
/* At most BLOCK_KEYS. */
template <class U> inline void sort_block(const U *x, int64_t n, U *to) {
    constexpr int64_t L = WIDE<U>;
    if (n <= L)
        sort_block_of<U, 1>(x, n, to);
    else if (n <= 2 * L)
        sort_block_of<U, 2>(x, n, to);
    else if (n <= 4 * L)
        sort_block_of<U, 4>(x, n, to);
    else if (n <= 8 * L)
        sort_block_of<U, 8>(x, n, to);
    else if (n <= 16 * L)
        sort_block_of<U, 16>(x, n, to);
    else
        sort_block_of<U, 32>(x, n, to);
}

/* The middle one of Rows registers of keys, taken from among n at even distances, four
 * parts of a register each. */
template <class U, int Rows> U middle_key(const U *x, int64_t n) {
    constexpr int64_t PARTS = 4 * Rows, L = WIDE<U>;
    typename wide<U>::vec v[Rows];
    const int64_t step = n / PARTS;
    x += (step - L / 4) / 2;
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i++, x += 4 * step) {
        const auto part = [&](int64_t j) {
            return _mm_loadu_si128((const __m128i *)(x + j * step));
        };
        __m512i w = _mm512_castsi128_si512(part(0));
        w = _mm512_inserti32x4(w, part(1), 1);
        w = _mm512_inserti32x4(w, part(2), 2);
        v[i] = (typename wide<U>::vec)_mm512_inserti32x4(w, part(3), 3);
    }
    sort_registers<U, Rows, 0>(v);
    merge_columns<U, Rows, 2>(v);
    return v[0][L / 2];
}

/* ---- sharing out ----------------------------------------------------------------- */
/* For each mask of eight lanes: the lanes that are in it, and then the others. */
struct lane_orders {
    uint64_t of[256];
    constexpr lane_orders() : of() {
        for (int m = 0; m < 256; m++)
            for (int i = 0, in = 0, out = __builtin_popcount(m); i < 8; i++)
                of[m] |= (uint64_t)i << 8 * (m >> i & 1 ? in++ : out++);
    }
};
inline constexpr lane_orders LANE_ORDERS;

/* Lanes in m go up from `low`, the others down from `high`. Whole registers are stored:
 * low and high are one register apart, or two and more. (Compressing to memory is slow
 * on AMD's processors.) */
TL_BLOCK_INLINE void part_lanes(wide<uint32_t>::vec v, __mmask16 m, int64_t count,
                                uint32_t *low, uint32_t *high) {
    typedef wide<uint32_t> w;
    store_wide(low, w::compress(m, v));
    w::store((__mmask16)(0xffffu >> count), w::compress(_knot_mask16(m), v),
             high - (16 - count));
}
TL_BLOCK_INLINE void part_lanes(wide<uint64_t>::vec v, __mmask8 m, int64_t,
                                uint64_t *low, uint64_t *high) {
    const __m128i order = _mm_loadl_epi64((const __m128i *)&LANE_ORDERS.of[m]);
    const __m512i both =
        _mm512_permutexvar_epi64(_mm512_cvtepu8_epi64(order), (__m512i)v);
    _mm512_storeu_si512(low, both);
    _mm512_storeu_si512(high - 8, both);
}

/* Keys that are less than a bound go up from `low`, the others down from `high`: as
 * many are to be added as there is room for between the two. */
template <class U> struct shares {
    typedef typename wide<U>::vec vec;
    typedef typename wide<U>::mask mask;
    static constexpr int64_t L = WIDE<U>;
    U *low, *high;

    TL_BLOCK_INLINE void add(vec v, vec bound) {
        const mask m = wide<U>::less(v, bound);
        const int64_t count = __builtin_popcount(m);
        part_lanes(v, m, count, low, high);
        low += count;
        high -= L - count;
    }
    /* n keys that lie elsewhere. */
    TL_BLOCK_INLINE void add(const U *x, int64_t n, vec bound) {
        for (int64_t i = 0; i < n; i += L) {
            const mask some = leading_lanes<U>(std::min(L, n - i));
            const vec v = wide<U>::load(some, vec{}, x + i);
            const mask m = wide<U>::less(v, bound) & some, others = some & ~m;
            const int64_t count = __builtin_popcount(m),
                          rest = __builtin_popcount(others);
            wide<U>::store(leading_lanes<U>(count), wide<U>::compress(m, v), low);
            low += count;
            high -= rest;
            wide<U>::store(leading_lanes<U>(rest), wide<U>::compress(others, v), high);
        }
    }
};

/* Share out n keys where they are; returned is how many are less. Some registers are
 * held, so that there is room at both ends. The next ones come from the end where there
 * is less; they are chosen before the last ones are stored, since it takes as long to
 * know where these end. */
template <class U> inline int64_t share_in_place(U *x, int64_t n, U key) {
    typedef typename wide<U>::vec vec;
    constexpr int64_t L = WIDE<U>, STEP = 4 * L;
    const vec bound = key - (vec){};
    shares<U> to{x, x + n};
    vec held[8], next[4];
    U rest[3 * STEP], *first = x + 2 * STEP, *last = x + n - STEP;
    if (n < 3 * STEP) {
        std::copy(x, x + n, rest);
        to.add(rest, n, bound);
        return to.low - x;
    }
    for (int i = 0; i < 4; i++) {
        held[i] = load_wide(x + i * L);
        next[i] = load_wide(x + STEP + i * L);
        held[4 + i] = load_wide(last + i * L);
    }
    while (last - first >= STEP) {
        const int64_t above = -(int64_t)(first - to.low > to.high - last) & STEP;
        const U *from = above ? last - STEP : first;
        last -= above;
        first += STEP - above;
        const vec a = next[0], b = next[1], c = next[2], d = next[3];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            next[i] = load_wide(from + i * L);
        to.add(a, bound);
        to.add(b, bound);
        to.add(c, bound);
        to.add(d, bound);
    }
    std::copy(first, last, rest);
    to.add(rest, last - first, bound);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        to.add(next[i], bound);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        to.add(held[i], bound);
    return to.low - x;
}

/* Of n keys, those from `least` to `most` go to `to`, whole registers at a time: it may
 * be x. Returned is how many they are; `fewer` grows by the number of lesser ones. */
template <class U>
inline int64_t keep_between(const U *x, int64_t n, U least, U most, U *to,
                            int64_t *fewer) {
    typedef typename wide<U>::vec vec;
    constexpr int L = WIDE<U>;
    const vec low = least - (vec){}, high = most - (vec){};
    U *at = to;
    int64_t below = 0;
    for (int64_t i = 0; i < n; i += L) {
        const auto some = leading_lanes<U>(std::min<int64_t>(L, n - i));
        const vec v = wide<U>::load(some, vec{}, x + i);
        const typename wide<U>::mask under = wide<U>::less(v, low) & some,
                                     over = wide<U>::less(high, v),
                                     m = some & ~(under | over);
        const vec kept = wide<U>::compress(m, v);
        if (n - i >= L)
            store_wide(at, kept);
        else
            wide<U>::store(some, kept, at);
        below += __builtin_popcount(under);
        at += __builtin_popcount(m);
    }
    *fewer += below;
    return at - to;
}

/* Positions, from `first` on, of the keys less than `bound`, and of the first `equal`
 * that equal it, which are counted down; returned is their number. */
template <class U>
inline int64_t find_leading(const U *x, int64_t n, U first, U bound, int64_t *equal,
                            U *to) {
    typedef typename wide<U>::vec vec;
    typedef typename wide<U>::mask mask;
    constexpr int L = WIDE<U>;
    const vec limit = bound - (vec){};
    vec places;
    for (int i = 0; i < L; i++)
        places[i] = first + (U)i;
    U *at = to;
    for (int64_t i = 0; i < n; i += L, places += (U)L) {
        const mask some = leading_lanes<U>(std::min<int64_t>(L, n - i));
        const vec v = wide<U>::load(some, vec{}, x + i);
        mask m = wide<U>::less(v, limit) & some;
        unsigned same = (mask)(some & ~m & ~wide<U>::less(limit, v));
        for (; same && *equal > 0; same &= same - 1, --*equal)
            m |= same & -same;
        const int64_t count = __builtin_popcount(m);
        wide<U>::store(leading_lanes<U>(count), wide<U>::compress(m, places), at);
        at += count;
    }
    return at - to;
}

} /* namespace tl */

#endif /* __AVX512F__ */

#endif /* TENSORLIB_SORT_BLOCKS_H */

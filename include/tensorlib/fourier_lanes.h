/* Lines of complex numbers in and out of the lanes of vectors, for fourier.h.
 *
 * A group of as many lines as a vector has lanes lies in a work space as pairs of
 * vectors: the real parts of all lines' first elements, their imaginary parts, the
 * second elements', and so on. Lines sit in the lanes in the order in which one shuffle
 * inside of each 16 bytes leaves them (lane_of), whatever memory they come from.
 */
#ifndef TENSORLIB_FOURIER_LANES_H
#define TENSORLIB_FOURIER_LANES_H

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include <algorithm>

#include "tensorlib/lanes.h"

namespace tl {

/* A group in memory, in numbers (halves of complex elements). */
struct fourier_side {
    int64_t step;  /* from an element of a line to the next */
    int64_t gap;   /* from the real part of an element to the imaginary one */
    int64_t apart; /* from a line of either half to the next; 0: not that regular */
    int32_t lines; /* of the group; lanes beyond repeat the first line */
    int64_t at[LANE_BYTES / 4]; /* where each line begins */
};

/* A vector of two halves in memory, and its upper half to memory. Of shuffles that say
 * the same, gcc 12 makes shuffles. */
#if defined(__AVX512F__)
typedef __m512d whole;
static inline whole join_halves(const double *x, const double *y) {
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(x)),
                              _mm256_loadu_pd(y), 1);
}
static inline void put_upper(double *x, whole v) {
    _mm256_storeu_pd(x, _mm512_extractf64x4_pd(v, 1));
}
#elif defined(__AVX__)
typedef __m256d whole;
static inline whole join_halves(const double *x, const double *y) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(x)),
                                _mm_loadu_pd(y), 1);
}
static inline void put_upper(double *x, whole v) {
    _mm_storeu_pd(x, _mm256_extractf128_pd(v, 1));
}
#else
typedef double whole __attribute__((vector_size(16)));
static inline whole join_halves(const double *x, const double *y) {
    whole v;
    memcpy(&v, x, 8);
    memcpy((char *)&v + 8, y, 8);
    return v;
}
static inline void put_upper(double *x, whole v) { memcpy(x, (char *)&v + 8, 8); }
#endif

template <class T> struct fourier_lanes {
    typedef lanes<T> L;
    typedef typename L::vector V;
    static constexpr int W = L::count, H = W / 2, Q = 8 / sizeof(T);
    static constexpr int BLOCK = H > 1 ? H / 2 : 1; /* elements of half a vector */
    static constexpr int lane_of(int line) {
        return 2 * Q * (line % H / Q) + line % H % Q + line / H * Q;
    }
    static void put(T *x, V v) { memcpy(x, &v, sizeof v); }

    /* Lane i of the real (Part 0) or imaginary parts of a vector's pairs and another's.
     */
    template <int Part> static constexpr int part_lane(int i) {
        return i / (2 * Q) * 2 * Q + i % Q * 2 + Part + i / Q % 2 * W;
    }
    template <int Part, size_t... I>
    [[gnu::always_inline]] static V part(V a, V b, std::index_sequence<I...>) {
        return __builtin_shufflevector(a, b, part_lane<Part>(I)...);
    }
    /* The reverse: pairs of the first (Second 0) or the last half of the lines. */
    template <int Second> static constexpr int pair_lane(int i) {
        return i / (2 * Q) * 2 * Q + i / 2 % Q + Second * Q + i % 2 * W;
    }
    template <int Second, size_t... I>
    [[gnu::always_inline]] static V pairs(V re, V im, std::index_sequence<I...>) {
        return __builtin_shufflevector(re, im, pair_lane<Second>(I)...);
    }
    /* Lines in natural order to lanes, and back. */
    static constexpr int line_of(int lane) {
        return lane / (2 * Q) * Q + lane % Q + lane / Q % 2 * H;
    }
    template <size_t... I>
    [[gnu::always_inline]] static V to_lanes(V v, std::index_sequence<I...>) {
        return __builtin_shufflevector(v, v, line_of(I)...);
    }
    template <size_t... I>
    [[gnu::always_inline]] static V from_lanes(V v, std::index_sequence<I...>) {
        return __builtin_shufflevector(v, v, lane_of(I)...);
    }
    /* One step of transposing pairs: swap blocks of Block pairs of two vectors. */
    template <int Block, int Upper> static constexpr int swap_lane(int i) {
        int pair = i / 2, own = ((pair / Block) % 2) == Upper;
        int from = own ? pair : (Upper ? pair + Block : pair - Block);
        return 2 * from + i % 2 + (own ? Upper : !Upper) * W;
    }
    template <int Block, size_t... I>
    [[gnu::always_inline]] static void swap_blocks(V &a, V &b,
                                                   std::index_sequence<I...>) {
        V c = __builtin_shufflevector(a, b, swap_lane<Block, 0>(I)...);
        b = __builtin_shufflevector(a, b, swap_lane<Block, 1>(I)...);
        a = c;
    }
    /* All steps but that of the largest blocks, which are halves of vectors: those are
     * loaded and stored apart, for which processors need fewer shuffles or none. */
    template <int Block = 1> [[gnu::always_inline]] static void transpose(V *v) {
        if constexpr (Block < BLOCK) {
            for (int i = 0; i < BLOCK; i++)
                if (!(i & Block)) swap_blocks<Block>(v[i], v[i + Block], all());
            transpose<2 * Block>(v);
        }
    }
    [[gnu::always_inline]] static V joined(const T *x, const T *y) {
        return (V)join_halves((const double *)x, (const double *)y);
    }
    [[gnu::always_inline]] static void put_upper(T *x, V v) {
        tl::put_upper((double *)x, (whole)v);
    }
    typedef std::make_index_sequence<W> all;
    static V reals(V a, V b) { return part<0>(a, b, all()); }
    static V imags(V a, V b) { return part<1>(a, b, all()); }
    static V first_pairs(V re, V im) { return pairs<0>(re, im, all()); }
    static V last_pairs(V re, V im) { return pairs<1>(re, im, all()); }

    /* n elements of each line, with the parts swapped for a transform of the other
     * direction: its result has them swapped too. */
    static void load(T *to, const T *x, const fourier_side &s, int64_t n, bool swap) {
        int64_t j = 0, half = s.at[H] - s.at[0], re = swap ? W : 0, im = W - re;
        if (s.gap == 1 && s.apart == 2) {
            for (; j < n; j++) {
                const T *from = x + s.at[0] + j * s.step;
                V a = L::load(from), b = L::load(from + half);
                put(to + 2 * W * j + re, reals(a, b));
                put(to + 2 * W * j + im, imags(a, b));
            }
        } else if (s.apart == 1 && half == H) {
            for (; j < n; j++) {
                const T *from = x + s.at[0] + j * s.step;
                put(to + 2 * W * j + re, to_lanes(L::load(from), all()));
                put(to + 2 * W * j + im, to_lanes(L::load(from + s.gap), all()));
            }
        } else if (s.gap == 1 && s.step == 2) {
            for (; j + H <= n; j += H)
                load_blocks<H / BLOCK>(to + 2 * W * j, x + 2 * j, s, re);
            for (; j < n && n >= BLOCK; j += BLOCK) {
                int64_t first = std::min(j, n - BLOCK);
                load_blocks<1>(to + 2 * W * first, x + 2 * first, s, re);
            }
        }
        for (; j < n; j++)
            for (int l = 0; l < W; l++) {
                const T *from = x + s.at[l] + j * s.step;
                to[2 * W * j + re + lane_of(l)] = from[0];
                to[2 * W * j + im + lane_of(l)] = from[s.gap];
            }
    }
    /* So many blocks of each line's elements. */
    template <int Blocks>
    [[gnu::always_inline]] static void load_blocks(T *to, const T *x,
                                                   const fourier_side &s, int64_t re) {
        V a[Blocks * BLOCK], b[Blocks * BLOCK];
        load_rows<Blocks>(a, x, s.at);
        load_rows<Blocks>(b, x, s.at + H);
        for (int i = 0; i < Blocks * BLOCK; i++) {
            put(to + 2 * W * i + re, reals(a[i], b[i]));
            put(to + 2 * W * i + W - re, imags(a[i], b[i]));
        }
    }
    template <int Blocks>
    [[gnu::always_inline]] static void load_rows(V *v, const T *x, const int64_t *at) {
        for (int i = 0; i < BLOCK; i++)
            for (int k = 0; k < Blocks; k++) {
                const T *row = x + 2 * BLOCK * k + at[i];
                v[k * BLOCK + i] =
                    H > 1 ? joined(row, row + at[i + H / 2] - at[i]) : L::load(row);
            }
        for (int k = 0; k < Blocks; k++)
            transpose(v + k * BLOCK);
    }

    /* n elements of each line, and their parts swapped back. */
    static void store(T *y, const T *of, const fourier_side &s, int64_t n, bool swap) {
        int64_t j = 0, half = s.at[H] - s.at[0], re = swap ? W : 0, im = W - re;
        if (s.gap == 1 && s.apart == 2) {
            for (; j < n; j++) {
                T *to = y + s.at[0] + j * s.step;
                V a = L::load(of + 2 * W * j + re), b = L::load(of + 2 * W * j + im);
                put(to, first_pairs(a, b));
                put(to + half, last_pairs(a, b));
            }
        } else if (s.apart == 1 && half == H) {
            for (; j < n; j++) {
                T *to = y + s.at[0] + j * s.step;
                put(to, from_lanes(L::load(of + 2 * W * j + re), all()));
                put(to + s.gap, from_lanes(L::load(of + 2 * W * j + im), all()));
            }
        } else if (s.gap == 1 && s.step == 2) {
            for (; j + H <= n; j += H)
                store_blocks<H / BLOCK>(y + 2 * j, of + 2 * W * j, s, re);
            for (; j < n && n >= BLOCK; j += BLOCK) {
                int64_t first = std::min(j, n - BLOCK);
                store_blocks<1>(y + 2 * first, of + 2 * W * first, s, re);
            }
        }
        for (; j < n; j++)
            for (int l = 0; l < s.lines; l++) {
                T *to = y + s.at[l] + j * s.step;
                to[0] = of[2 * W * j + re + lane_of(l)];
                to[s.gap] = of[2 * W * j + im + lane_of(l)];
            }
    }
    template <int Blocks>
    [[gnu::always_inline]] static void store_blocks(T *y, const T *of,
                                                    const fourier_side &s, int64_t re) {
        V a[Blocks * BLOCK], b[Blocks * BLOCK];
        for (int i = 0; i < Blocks * BLOCK; i++) {
            V u = L::load(of + 2 * W * i + re), v = L::load(of + 2 * W * i + W - re);
            a[i] = first_pairs(u, v);
            b[i] = last_pairs(u, v);
        }
        store_rows<Blocks>(a, y, s.at, s.lines);
        store_rows<Blocks>(b, y, s.at + H, s.lines - H);
    }
    template <int Blocks>
    [[gnu::always_inline]] static void store_rows(V *v, T *y, const int64_t *at,
                                                  int lines) {
        for (int k = 0; k < Blocks; k++)
            transpose(v + k * BLOCK);
        for (int l = 0; l < H && l < lines; l++)
            for (int k = 0; k < Blocks; k++) {
                T *row = y + 2 * BLOCK * k + at[l];
                if (H == 1)
                    put(row, v[k]);
                else if (l < BLOCK)
                    memcpy(row, &v[k * BLOCK + l], LANE_BYTES / 2);
                else
                    put_upper(row, v[k * BLOCK + l - BLOCK]);
            }
    }
};

} /* namespace tl */

#endif /* TENSORLIB_FOURIER_LANES_H */

/* Matrix products of bfloat16 by the processor's dot products of pairs (AVX512-BF16).
 *
 * A block of c stays in registers over the whole depth, so that a result is a float32
 * sum rounded once. b is packed into panels of two vectors whose lanes are pairs along
 * the depth; a's rows have pairs side by side already, unless its depth is odd or it is
 * transposed: then it is packed too.
 *
 * The instruction takes subnormal numbers for 0. It is used where that cannot matter:
 * products of numbers with the exponents of the smallest ones are multiples of
 * float32's smallest normal number. Other tiles are multiplied as floats, from the same
 * panels.
 */
#ifndef TENSORLIB_BFLOAT16_GEMM_H
#define TENSORLIB_BFLOAT16_GEMM_H

#include "tensorlib/gemm.h"
#include "tensorlib/half_rows.h"

namespace tl {

/* Columns of a panel, whose lines have 32 bits a column; and the most rows of a block.
 */
constexpr int64_t PAIR_COLUMNS = 32;
constexpr int PAIR_ROWS = 8;

inline int64_t pairs_of(int64_t k) { return (k + 1) / 2; }
inline bool packs_rows(const product<tl_bfloat16> &p) {
    return p.a_col != 1 || p.k % 2;
}

/* 32-bit words that pair_product needs: a panel, and a's rows where they are packed. */
inline int64_t pair_words(const product<tl_bfloat16> &p) {
    return pairs_of(p.k) * (PAIR_COLUMNS + (packs_rows(p) ? p.m : 0));
}

/* The two elements of a vector that are pair q of its k; 0 beyond the last. */
inline uint32_t pair_at(const tl_bfloat16 *x, int64_t step, int64_t q, int64_t k) {
    uint32_t upper = 2 * q + 1 < k ? x[(2 * q + 1) * step].bits : 0;
    return upper << 16 | x[2 * q * step].bits;
}

inline void pack_pair_rows(const product<tl_bfloat16> &p, uint32_t *rows) {
    int64_t pairs = pairs_of(p.k);
    for (int64_t i = 0; i < p.m; i++)
        for (int64_t q = 0; q < pairs; q++)
            rows[i * pairs + q] = pair_at(p.a + i * p.a_row, p.a_col, q, p.k);
}

/* Columns j.. of b; those beyond `columns` are 0. */
inline void pack_pair_panel(const product<tl_bfloat16> &p, int64_t j, int64_t columns,
                            uint32_t *panel) {
    int64_t pairs = pairs_of(p.k), q = 0;
    const tl_bfloat16 *b = p.b + j * p.b_col;
    if (columns == PAIR_COLUMNS && p.b_row == 1 && p.b_col % 2 == 0 && p.k % 2 == 0 &&
        (uintptr_t)b % sizeof(float) == 0 && panel_width<float>() == PAIR_COLUMNS) {
        product<float> words{}; /* pairs, moved as floats */
        words.b = (const float *)b;
        words.b_row = 1;
        words.b_col = p.b_col / 2;
        pack_panel(words, 0, pairs, 0, columns, (float *)panel);
        return;
    }
    if (columns == PAIR_COLUMNS && p.b_col == 1)
        for (; q < p.k / 2; q++) {
            const tl_bfloat16 *line = b + 2 * q * p.b_row;
            for (int64_t s = 0; s < PAIR_COLUMNS; s++)
                panel[q * PAIR_COLUMNS + s] =
                    (uint32_t)line[p.b_row + s].bits << 16 | line[s].bits;
        }
    for (; q < pairs; q++)
        for (int64_t s = 0; s < PAIR_COLUMNS; s++)
            panel[q * PAIR_COLUMNS + s] =
                s < columns ? pair_at(b + s * p.b_col, p.b_row, q, p.k) : 0;
}

/* The exponent, as bits, of the smallest number but 0; 0: subnormal. */
inline int smallest_exponent(const void *elements, int64_t n) {
    typedef uint16_t bits __attribute__((may_alias));
    const bits *x = (const bits *)elements;
    uint16_t least = 0xffff;
    for (int64_t i = 0; i < n; i++) {
        uint16_t size = (uint16_t)((x[i] & 0x7fff) - 1); /* 0 becomes the largest */
        least = size < least ? size : least;
    }
    return (uint16_t)(least + 1) == 0 ? 255 : (least + 1) >> 7;
}

#if defined(__AVX512BW__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx512bf16")

/* One panel: rows of pairs times `lines` lines. */
struct pair_block {
    const product<tl_bfloat16> *p;
    const uint32_t *rows; /* of a */
    int64_t row, pairs;   /* from a row to the next, in 16-bit elements */
    const uint32_t *panel;
    int64_t j, columns, c_col;
    bool exact; /* floats instead of pairs */
};

/* What a row of c starts from. */
inline void pair_start(const pair_block &t, int64_t i, float *start) {
    const product<tl_bfloat16> &p = *t.p;
    for (int64_t s = 0; s < PAIR_COLUMNS; s++) {
        start[s] = 0;
        if (s < t.columns && p.bias)
            start[s] = widened(p.bias[t.j + s]);
        else if (s < t.columns && p.accumulate)
            start[s] = widened(p.c[i * p.c_row + (t.j + s) * t.c_col]);
    }
}
inline void pair_finish(const pair_block &t, int64_t i, const float *sums) {
    tl_bfloat16 narrow[PAIR_COLUMNS];
    tl_bfloat16 *c = t.p->c + i * t.p->c_row + t.j * t.c_col;
    narrow_group(narrow, sums);
    narrow_group(narrow + GROUP, sums + GROUP);
    if (t.c_col == 1)
        memcpy(c, narrow, t.columns * sizeof *c);
    else
        for (int64_t s = 0; s < t.columns; s++)
            c[s * t.c_col] = narrow[s];
}

template <bool Exact> inline __m512 add_pairs(__m512 sum, __m512i a, __m512i b) {
    if constexpr (Exact) {
        __m512i upper = _mm512_set1_epi32((int)0xffff0000);
        sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(a, 16)),
                              _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)), sum);
        return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(a, upper)),
                               _mm512_castsi512_ps(_mm512_and_si512(b, upper)), sum);
    } else {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
}

/* R rows from i on. */
template <bool Exact, int R> void pair_rows(const pair_block &t, int64_t i) {
    alignas(64) float line[PAIR_COLUMNS];
    __m512 sum[R][2];
    for (int r = 0; r < R; r++) {
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
        if (t.p->bias || t.p->accumulate) {
            pair_start(t, i + r, line);
            sum[r][0] = _mm512_load_ps(line);
            sum[r][1] = _mm512_load_ps(line + 16);
        }
    }
    const char *a = (const char *)t.rows + 2 * i * t.row;
    const uint32_t *b = t.panel;
    for (int64_t q = 0; q < t.pairs; q++, a += 4, b += PAIR_COLUMNS) {
        __m512i left, low = _mm512_loadu_si512(b), high = _mm512_loadu_si512(b + 16);
        for (int r = 0; r < R; r++) {
            int pair;
            memcpy(&pair, a + 2 * r * t.row, sizeof pair);
            left = _mm512_set1_epi32(pair);
            sum[r][0] = add_pairs<Exact>(sum[r][0], left, low);
            sum[r][1] = add_pairs<Exact>(sum[r][1], left, high);
        }
    }
    for (int r = 0; r < R; r++) {
        _mm512_store_ps(line, sum[r][0]);
        _mm512_store_ps(line + 16, sum[r][1]);
        pair_finish(t, i + r, line);
    }
}
template <int R>
inline void pair_rows_of(const pair_block &t, int64_t i, int64_t rows) {
    if (rows != R) {
        if constexpr (R > 1) pair_rows_of<R - 1>(t, i, rows);
    } else if (t.exact) { /* not worth blocks of every height */
        int r = 0;
        for (; r + 4 <= R; r += 4)
            pair_rows<true, 4>(t, i + r);
        for (; r < R; r++)
            pair_rows<true, 1>(t, i + r);
    } else {
        pair_rows<false, R>(t, i);
    }
}

/* Whether what starts a sum may be taken for 0. */
inline bool starts_tiny(const product<tl_bfloat16> &p, int64_t c_col) {
    int least = 255;
    for (int64_t i = 0; i < (p.bias ? 1 : p.accumulate ? p.m : 0); i++)
        for (int64_t s = 0; s < p.n; s++) {
            const tl_bfloat16 *x = p.bias ? p.bias + s : p.c + i * p.c_row + s * c_col;
            int exponent = smallest_exponent(x, 1);
            least = exponent < least ? exponent : least;
        }
    return least < 8;
}

/* A product; words has pair_words(p) of room, c any strides. */
inline void pair_product(const product<tl_bfloat16> &p, int64_t c_col,
                         uint32_t *words) {
    pair_block t{};
    t.p = &p;
    t.pairs = pairs_of(p.k);
    t.panel = words;
    t.c_col = c_col;
    t.rows = (const uint32_t *)p.a;
    t.row = p.a_row;
    if (packs_rows(p)) {
        pack_pair_rows(p, words + t.pairs * PAIR_COLUMNS);
        t.rows = words + t.pairs * PAIR_COLUMNS;
        t.row = 2 * t.pairs;
    }
    int least = 255;
    for (int64_t i = 0; i < p.m; i++) {
        int found =
            smallest_exponent((const char *)t.rows + 2 * i * t.row, 2 * t.pairs);
        least = found < least ? found : least;
    }
    bool tiny = starts_tiny(p, c_col);
    int64_t blocks = (p.m + PAIR_ROWS - 1) / PAIR_ROWS;
    for (t.j = 0; t.j < p.n; t.j += PAIR_COLUMNS) {
        t.columns = p.n - t.j < PAIR_COLUMNS ? p.n - t.j : PAIR_COLUMNS;
        pack_pair_panel(p, t.j, t.columns, words);
        int other = smallest_exponent(words, 2 * t.pairs * PAIR_COLUMNS);
        /* Units of products: 2^(least + other - 268), at least 2^-126. */
        t.exact = tiny || least == 0 || other == 0 || least + other < 142;
        for (int64_t s = 0; s < blocks; s++) {
            int64_t first = p.m * s / blocks, last = p.m * (s + 1) / blocks;
            pair_rows_of<PAIR_ROWS>(t, first, last - first);
        }
    }
}
inline bool multiplies_pairs() { return __builtin_cpu_supports("avx512bf16"); }
/* Whether they are quicker than floats (blocked_gemm.h): twice as quick on Zen 4; on
 * Sapphire Rapids a core has 86 GFLOP/s of them, and 176 of floats. */
inline bool pairs_are_quick() {
    return multiplies_pairs() && !__builtin_cpu_is("intel");
}

#pragma GCC pop_options
#else

inline bool multiplies_pairs() { return false; }
inline bool pairs_are_quick() { return false; }
inline void pair_product(const product<tl_bfloat16> &, int64_t, uint32_t *) {}

#endif

} // namespace tl

#endif /* TENSORLIB_BFLOAT16_GEMM_H */

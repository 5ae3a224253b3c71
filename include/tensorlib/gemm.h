/* Small and skinny matrix products without packing.
 *
 * A BLAS packs both operands into blocks before it multiplies; for matrices that fit
 * the caches, or with few rows, that costs more than it saves. Three kernels, each with
 * a block of c in registers (Goto and van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication", 2008):
 *   gemm_rows    b's rows are contiguous: c's columns lie side by side in vectors, an
 *                element of a is broadcast; nothing is packed;
 *   gemm_panels  the same on panels of b, copied to the stack, two vectors wide;
 *   gemm_dots    a's rows and b's columns are contiguous: dot products along k.
 * Every element of c is summed in an order that depends on the shape alone.
 */
#ifndef TENSORLIB_GEMM_H
#define TENSORLIB_GEMM_H

#include "tensorlib/lanes.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace tl {

/* c (m, n) = start + a (m, k) @ b (k, n); strides in elements, c's rows contiguous. */
template <class T> struct product {
    int64_t m, n, k;
    const T *a;
    int64_t a_row, a_col;
    const T *b;
    int64_t b_row, b_col;
    T *c;
    int64_t c_row;
    const T *bias;   /* start of every row of c, or NULL: */
    bool accumulate; /* c itself, or zeros */
};

/* Most rows of a block: with two vectors a row, what the registers hold. */
constexpr int GEMM_ROWS = LANE_BYTES == 64 ? 8 : 6;
constexpr int DOT_ROWS = 4, DOT_COLUMNS = 3;
/* Depth of a panel: 16 or 32 KB, which stay in the first cache level. */
constexpr int GEMM_DEPTH = 256;
/* Columns of a panel: two vectors. */
template <class T> constexpr int64_t panel_width() { return 2 * lanes<T>::count; }

/* A block of R rows and N vectors of `Bytes` each, at row i and column j of c. */
template <class T, int Bytes, int N, int R>
inline void rows_block(const product<T> &p, int64_t i, int64_t j) {
    typedef T V __attribute__((vector_size(Bytes), aligned(sizeof(T)), may_alias));
    constexpr int L = Bytes / sizeof(T);
    const int64_t a_row = p.a_row, a_col = p.a_col, b_row = p.b_row, c_row = p.c_row;
    const T *start = p.bias ? p.bias + j : p.accumulate ? p.c + i * c_row + j : NULL;
    const int64_t start_row = p.bias ? 0 : c_row;
    V sum[R][N]; /* in registers only if all loops over it are unrolled early */
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int v = 0; v < N; v++)
            sum[r][v] = start ? *(const V *)(start + r * start_row + v * L) : V{};
    const T *a = p.a + i * a_row, *b = p.b + j;
    for (int64_t q = 0; q < p.k; q++) {
        V right[N];
#pragma GCC unroll 2
        for (int v = 0; v < N; v++)
            right[v] = *(const V *)(b + v * L);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            T left = a[r * a_row];
#pragma GCC unroll 2
            for (int v = 0; v < N; v++)
                sum[r][v] += left * right[v];
        }
        a += a_col;
        b += b_row;
    }
    T *c = p.c + i * c_row + j;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int v = 0; v < N; v++)
            *(V *)(c + r * c_row + v * L) = sum[r][v];
}

#if defined(__AVX512F__)
/* The first n lanes of a vector, which alone are in memory. */
inline lanes<float>::vector load_first(const float *x, int64_t n) {
    return (lanes<float>::vector)_mm512_maskz_loadu_ps((1u << n) - 1, x);
}
inline lanes<double>::vector load_first(const double *x, int64_t n) {
    return (lanes<double>::vector)_mm512_maskz_loadu_pd((1u << n) - 1, x);
}
inline void store_first(float *x, int64_t n, lanes<float>::vector v) {
    _mm512_mask_storeu_ps(x, (1u << n) - 1, (__m512)v);
}
inline void store_first(double *x, int64_t n, lanes<double>::vector v) {
    _mm512_mask_storeu_pd(x, (1u << n) - 1, (__m512d)v);
}

/* A block of the last columns from j on, fewer than a vector's. */
template <class T, int R>
inline void rows_last(const product<T> &p, int64_t i, int64_t j) {
    typedef typename lanes<T>::vector V;
    int64_t n = p.n - j;
    V sum[R]; /* in registers, as above */
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        const T *start = p.bias ? p.bias + j : p.c + (i + r) * p.c_row + j;
        sum[r] = p.bias || p.accumulate ? load_first(start, n) : V{};
    }
    const T *a = p.a + i * p.a_row, *b = p.b + j;
    for (int64_t q = 0; q < p.k; q++) {
        V right = load_first(b, n);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            sum[r] += a[r * p.a_row] * right;
        a += p.a_col;
        b += p.b_row;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        store_first(p.c + (i + r) * p.c_row + j, n, sum[r]);
}
#endif

/* R rows from i on: columns by two vectors, by one, then by halves of one; with AVX-512
 * by one half, which narrower vectors multiply faster, or what lanes are left. */
template <class T, int Bytes, int R>
inline void rows_tail(const product<T> &p, int64_t i, int64_t j) {
    constexpr int L = Bytes / sizeof(T);
    if (j + L <= p.n) {
        rows_block<T, Bytes, 1, R>(p, i, j);
        j += L;
    }
#if defined(__AVX512F__)
    if (p.n - j == L / 2)
        rows_block<T, Bytes / 2, 1, R>(p, i, j);
    else if (p.n - j == L / 4)
        rows_block<T, Bytes / 4, 1, R>(p, i, j);
    else if (j < p.n)
        rows_last<T, R>(p, i, j);
#else
    if constexpr (L > 1) rows_tail<T, Bytes / 2, R>(p, i, j);
#endif
}
template <class T, int R> void rows_strip(const product<T> &p, int64_t i) {
    constexpr int L = lanes<T>::count;
    int64_t j = 0;
    for (; j + 2 * L <= p.n; j += 2 * L)
        rows_block<T, LANE_BYTES, 2, R>(p, i, j);
    rows_tail<T, LANE_BYTES, R>(p, i, j);
}

/* Strip<r>::run(p, i) for a number of rows known when run. */
template <class T, int R>
inline void rows_strip_of(const product<T> &p, int64_t i, int64_t r) {
    if (r == R)
        rows_strip<T, R>(p, i);
    else if constexpr (R > 1)
        rows_strip_of<T, R - 1>(p, i, r);
}

/* b_col == 1. Rows are cut into blocks of nearly equal height. */
template <class T> inline void gemm_rows(const product<T> &p) {
    int64_t blocks = (p.m + GEMM_ROWS - 1) / GEMM_ROWS;
    for (int64_t s = 0; s < blocks; s++) {
        int64_t first = p.m * s / blocks, last = p.m * (s + 1) / blocks;
        rows_strip_of<T, GEMM_ROWS>(p, first, last - first);
    }
}

/* One half of a step of a transposition: the lanes of two rows that stay in the lower
 * row, or in the upper one. */
template <int Step, bool Upper, class V, size_t... I>
inline V woven(V low, V high, std::index_sequence<I...>) {
    constexpr int L = sizeof...(I);
    if constexpr (Upper)
        return __builtin_shufflevector(low, high,
                                       ((int)I & Step ? L + (int)I : (int)I + Step)...);
    else
        return __builtin_shufflevector(low, high,
                                       ((int)I & Step ? L + (int)I - Step : (int)I)...);
}

/* Row i of the result is column i of v. */
template <class V, int L, int Step> inline void transpose_steps(V (&v)[L]) {
    if constexpr (Step < L) {
        for (int i = 0; i < L; i++)
            if (!(i & Step)) {
                V low = v[i], high = v[i + Step];
                v[i] = woven<Step, false>(low, high, std::make_index_sequence<L>());
                v[i + Step] =
                    woven<Step, true>(low, high, std::make_index_sequence<L>());
            }
        transpose_steps<V, L, 2 * Step>(v);
    }
}

/* Rows first..first + depth of `columns` columns of b from j on, a panel's width apart;
 * T is what S is computed in. */
template <class S, class T>
inline void pack_panel(const product<S> &p, int64_t first, int64_t depth, int64_t j,
                       int64_t columns, T *panel) {
    typedef lanes_of<S> L;
    constexpr int64_t width = panel_width<T>();
    const S *b = p.b + first * p.b_row + j * p.b_col;
    int64_t done = 0;
    if (columns == width && p.b_col == 1) {
        for (int64_t q = 0; q < depth; q++)
            for (int half = 0; half < 2; half++) {
                auto v = L::load(b + q * p.b_row + half * L::count);
                memcpy(panel + q * width + half * L::count, &v, sizeof v);
            }
        return;
    }
    if (columns == width && p.b_row == 1) {
        for (; done + L::count <= depth; done += L::count)
            for (int half = 0; half < 2; half++) {
                typename L::vector v[L::count];
                for (int s = 0; s < L::count; s++)
                    v[s] = L::load(b + done + (half * L::count + s) * p.b_col);
                transpose_steps<typename L::vector, L::count, 1>(v);
                for (int s = 0; s < L::count; s++)
                    memcpy(panel + (done + s) * width + half * L::count, &v[s],
                           sizeof v[s]);
            }
    }
    for (int64_t s = 0; s < columns; s++)
        for (int64_t q = done; q < depth; q++)
            panel[q * width + s] = L::one(b[q * p.b_row + s * p.b_col]);
}

/* Operands of any strides. */
template <class T> inline void gemm_panels(const product<T> &p) {
    constexpr int64_t width = panel_width<T>();
    alignas(64) T panel[GEMM_DEPTH * width];
    for (int64_t first = 0; first < p.k; first += GEMM_DEPTH) {
        product<T> part = p;
        part.k = p.k - first < GEMM_DEPTH ? p.k - first : GEMM_DEPTH;
        part.a += first * p.a_col;
        part.b = panel;
        part.b_row = width;
        if (first) {
            part.bias = NULL;
            part.accumulate = true;
        }
        for (int64_t j = 0; j < p.n; j += width) {
            part.n = p.n - j < width ? p.n - j : width;
            part.c = p.c + j;
            if (p.bias && !first) part.bias = p.bias + j;
            pack_panel(p, first, part.k, j, part.n, panel);
            gemm_rows(part);
        }
    }
}

/* R rows of a against C columns of b. */
template <class T, int R, int C>
inline void dots_block(const product<T> &p, int64_t i, int64_t j) {
    typedef lanes<T> L;
    typename L::vector sum[R][C];
    const T *a = p.a + i * p.a_row, *b = p.b + j * p.b_col;
    for (int r = 0; r < R; r++)
        for (int s = 0; s < C; s++)
            sum[r][s] = typename L::vector{};
    int64_t whole = p.k / L::count * L::count, rest = p.k - whole;
    auto add = [&](auto load, int64_t q) {
        typename L::vector left[R];
        for (int r = 0; r < R; r++)
            left[r] = load(a + r * p.a_row + q);
        for (int s = 0; s < C; s++) {
            typename L::vector right = load(b + s * p.b_col + q);
            for (int r = 0; r < R; r++)
                sum[r][s] += left[r] * right;
        }
    };
    for (int64_t q = 0; q < whole; q += L::count)
        add([](const T *x) { return L::load(x); }, q);
    if (rest)
        add([rest](const T *x) { return load_rest(x + rest, rest, (T)0); }, whole);
    for (int r = 0; r < R; r++)
        for (int s = 0; s < C; s++) {
            T *c = p.c + (i + r) * p.c_row + j + s;
            T start = p.bias ? p.bias[j + s] : p.accumulate ? *c : (T)0;
            *c = start + across<add_step, L::count, T>(sum[r][s]);
        }
}
template <class T, int R, int C>
inline void dots_block_of(const product<T> &p, int64_t i, int64_t r, int64_t j,
                          int64_t s) {
    if (r == R && s == C)
        dots_block<T, R, C>(p, i, j);
    else if constexpr (C > 1)
        dots_block_of<T, R, C - 1>(p, i, r, j, s);
    else if constexpr (R > 1)
        dots_block_of<T, R - 1, DOT_COLUMNS>(p, i, r, j, s);
}

/* a_col == b_row == 1 and k >= a vector's elements. */
template <class T> inline void gemm_dots(const product<T> &p) {
    int64_t down = (p.m + DOT_ROWS - 1) / DOT_ROWS;
    int64_t across = (p.n + DOT_COLUMNS - 1) / DOT_COLUMNS;
    for (int64_t s = 0; s < across; s++) {
        int64_t j = p.n * s / across, columns = p.n * (s + 1) / across - j;
        for (int64_t t = 0; t < down; t++) {
            int64_t i = p.m * t / down, rows = p.m * (t + 1) / down - i;
            dots_block_of<T, DOT_ROWS, DOT_COLUMNS>(p, i, rows, j, columns);
        }
    }
}

} /* namespace tl */

#endif /* TENSORLIB_GEMM_H */

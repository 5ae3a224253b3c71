/* Direct convolution with output channels in the lanes of vectors.
 *
 * A tile is A rows of B targets, with a vector of channels for each in a register. A
 * tap of an input channel costs one load of filters, and a multiplication by one
 * broadcast source element a target: no row is too short for that, and nothing is
 * masked. Tiles are turned around when they are stored.
 */
#ifndef TENSORLIB_CONV_CHANNELS_H
#define TENSORLIB_CONV_CHANNELS_H

#include "tensorlib/gemm.h"

namespace tl {

/* Targets of a tile: what the registers hold beside filters and, where a product cannot
 * broadcast from memory, a source element. */
constexpr int CHANNEL_TARGETS = LANE_BYTES == 64 ? 28 : 12;
constexpr int CHANNEL_COLUMNS = LANE_BYTES == 64 ? 16 : 12;

/* Rows of a tile of so many columns, at most. */
constexpr int channel_rows(int columns) {
    return columns > 8                      ? 1
           : columns * 4 <= CHANNEL_TARGETS ? 4
                                            : CHANNEL_TARGETS / columns;
}

/* What every tile of a block of channels reads; source elements of a row of targets are
 * `line` from those of the next, taps at[k] from the first. */
template <class T> struct channel_block {
    const T *w; /* (channels, taps, lanes) */
    const int64_t *at;
    int64_t taps, channels, plane, line;
    typename lanes<T>::vector start; /* the bias, or zeros */
};

/* Where targets go, in elements between channels, rows and columns. */
struct channel_store {
    int64_t outs, plane, down, right;
};

template <class T, int A, int B, size_t... I>
inline void channel_sums(std::index_sequence<I...>, const channel_block<T> &b,
                         const T *x, typename lanes<T>::vector *sums) {
    typedef typename lanes<T>::vector vec;
    vec a[A * B];
    ((a[I] = b.start), ...);
    const T *w = b.w;
    for (int64_t c = 0; c < b.channels; c++, x += b.plane)
        for (int64_t k = 0; k < b.taps; k++, w += lanes<T>::count) {
            const T *from = x + b.at[k];
            vec v = lanes<T>::load(w);
            ((a[I] += v * from[(int64_t)(I / B) * b.line + I % B]), ...);
        }
    ((sums[I] = a[I]), ...);
}

/* The tile at x, of so many rows and columns. */
template <class T, int A, int B>
inline void channel_tile(int64_t rows, int64_t columns, const channel_block<T> &b,
                         const T *x, typename lanes<T>::vector *sums) {
    if constexpr (B > 1) {
        if (columns < B)
            return channel_tile<T, channel_rows(B - 1), B - 1>(rows, columns, b, x,
                                                               sums);
    }
    if constexpr (A > 1) {
        if (rows < A) return channel_tile<T, A - 1, B>(rows, columns, b, x, sums);
    }
    channel_sums<T, A, B>(std::make_index_sequence<A * B>(), b, x, sums);
}

/* Columns of one row of targets, at most as many as a vector has lanes. */
template <class T>
inline void channel_put_row(const typename lanes<T>::vector *sums, int64_t columns,
                            const channel_store &to, T *out) {
    typedef lanes<T> L;
    typename L::vector v[L::count];
    for (int64_t j = 0; j < L::count; j++)
        v[j] = sums[j < columns ? j : 0];
    transpose_steps<typename L::vector, L::count, 1>(v);
    for (int64_t o = 0; o < to.outs; o++, out += to.plane) {
        if (to.right == 1 && columns == L::count) {
            memcpy(out, &v[o], sizeof v[o]);
            continue;
        }
#if defined(__AVX512F__)
        if (to.right == 1) {
            store_first(out, columns, v[o]);
            continue;
        }
#endif
        for (int64_t j = 0; j < columns; j++)
            out[j * to.right] = v[o][j];
    }
}

template <class T>
void channel_put(const typename lanes<T>::vector *sums, int64_t rows, int64_t columns,
                 const channel_store &to, T *out) {
    if (rows > 1 && columns == to.down && to.right == 1) { /* one run of memory */
        columns *= rows;
        rows = 1;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j += lanes<T>::count)
            channel_put_row<T>(sums + r * columns + j,
                               columns - j < lanes<T>::count ? columns - j
                                                             : lanes<T>::count,
                               to, out + r * to.down + j * to.right);
}

/* All targets of a block: tiles of nearly equal width, the last of which moves back and
 * computes some targets again. */
template <class T>
void channel_plane(const channel_block<T> &b, const T *x, int64_t rows, int64_t columns,
                   const channel_store &to, T *out) {
    constexpr int widest = channel_rows(CHANNEL_COLUMNS);
    const int64_t pieces = (columns + CHANNEL_COLUMNS - 1) / CHANNEL_COLUMNS;
    const int64_t wide = (columns + pieces - 1) / pieces;
    const int64_t most = channel_rows((int)wide);
    typename lanes<T>::vector sums[CHANNEL_TARGETS];
    for (int64_t r = 0, high; r < rows; r += high) {
        high = rows - r < most ? rows - r : most;
        for (int64_t p = 0; p < pieces; p++) {
            int64_t j = p * wide < columns - wide ? p * wide : columns - wide;
            channel_tile<T, widest, CHANNEL_COLUMNS>(high, wide, b, x + r * b.line + j,
                                                     sums);
            channel_put<T>(sums, high, wide, to, out + r * to.down + j * to.right);
        }
    }
}

/* Filters w (outs, depth) of a block as (depth, lanes); lanes beyond outs are zeros. */
template <class T>
void channel_filters(const T *w, int64_t outs, int64_t depth, T *packed) {
    typedef lanes<T> L;
    int64_t k = 0;
    for (; k + L::count <= depth; k += L::count) {
        typename L::vector v[L::count];
        for (int64_t o = 0; o < L::count; o++)
            v[o] = o < outs ? L::load(w + o * depth + k) : typename L::vector{};
        transpose_steps<typename L::vector, L::count, 1>(v);
        memcpy(packed + k * L::count, v, sizeof v);
    }
    for (; k < depth; k++)
        for (int64_t o = 0; o < L::count; o++)
            packed[k * L::count + o] = o < outs ? w[o * depth + k] : T(0);
}

} /* namespace tl */

#endif /* TENSORLIB_CONV_CHANNELS_H */

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
constexpr int CHANNEL_TARGETS = LANE_BYTES == 64 ? 28 : 14;
constexpr int CHANNEL_COLUMNS = LANE_BYTES == 64 ? 16 : 14;

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

/* A vector for each of n elements, from up to a vector's channels `apart` from one to
 * the next; lanes of no channel are zeros, vectors from n on undefined. */
template <class T>
inline void channel_vectors(const T *x, int64_t apart, int64_t channels, int64_t n,
                            typename lanes<T>::vector (&v)[lanes<T>::count]) {
    typedef lanes<T> L;
    for (int64_t i = 0; i < L::count; i++) {
        v[i] = typename L::vector{};
        if (i >= channels) continue;
#if defined(__AVX512F__)
        v[i] = load_first(x + i * apart, n);
#else
        if (n == L::count)
            v[i] = L::load(x + i * apart);
        else
            memcpy(&v[i], x + i * apart, n * sizeof(T));
#endif
    }
    transpose_steps<typename L::vector, L::count, 1>(v);
}

#if defined(__AVX512F__)
/* The first n lanes, into every second element. */
inline void channel_put_seconds(lanes<float>::vector v, int64_t n, float *out) {
    const uint32_t live = 0x55555555u & (uint32_t)((1ull << (2 * n)) - 1);
    auto low =
        __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    auto high = __builtin_shufflevector(v, v, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13,
                                        13, 14, 14, 15, 15);
    _mm512_mask_storeu_ps(out, (__mmask16)live, (__m512)low);
    _mm512_mask_storeu_ps(out + 16, (__mmask16)(live >> 16), (__m512)high);
}
#endif

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
        if constexpr (std::is_same<T, float>::value)
            if (to.right == 2) {
                channel_put_seconds(v[o], columns, out);
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

/* ---- the weight's gradient ------------------------------------------------------- */

/* What a block of sums runs over: `rows` rows of targets of some images, and strides of
 * the gradient, laid out as (columns, lanes), and of the packed source. */
struct channel_walk {
    int64_t images, slices, rows, columns;
    int64_t x_image, x_slice, x_row;
};

/* Sums of N weights of a vector of channels: at[k] is where weight k meets the first
 * target. Each starts from zero here, so that sums stay short. */
template <class T, int N, size_t... I>
inline void channel_products(std::index_sequence<I...>, const channel_walk &walk,
                             const T *g, const T *x, const int64_t *at, T *sums) {
    typedef lanes<T> L;
    constexpr int step = 4; /* targets for which a source address is fetched once */
    typename L::vector a[N] = {};
    for (int64_t i = 0; i < walk.images; i++, x += walk.x_image) {
        const T *slice = x;
        for (int64_t z = 0; z < walk.slices; z++, slice += walk.x_slice) {
            const T *row = slice;
            for (int64_t r = 0; r < walk.rows; r++, row += walk.x_row) {
                const T *from = row;
                int64_t j = 0;
                for (; j + step <= walk.columns; j += step, from += step) {
                    typename L::vector v[step];
                    for (int s = 0; s < step; s++, g += L::count)
                        v[s] = L::load(g);
                    ((a[I] += v[0] * from[at[I]], a[I] += v[1] * from[at[I] + 1],
                      a[I] += v[2] * from[at[I] + 2], a[I] += v[3] * from[at[I] + 3]),
                     ...);
                }
                for (; j < walk.columns; j++, from++, g += L::count) {
                    typename L::vector v = L::load(g);
                    ((a[I] += v * from[at[I]]), ...);
                }
            }
        }
    }
    ((a[I] += L::load(sums + I * L::count),
      memcpy(sums + I * L::count, &a[I], sizeof a[I])),
     ...);
}

/* sums (depth, lanes) += the products of a box, for one vector of channels. */
template <class T>
void channel_gradient(const channel_walk &walk, const T *g, const T *x,
                      const int64_t *at, int64_t depth, T *sums) {
    constexpr int most = LANE_BYTES == 64 ? 24 : 9;
    constexpr auto all = std::make_index_sequence<most>();
    constexpr auto third = std::make_index_sequence<most / 3>();
    constexpr auto one = std::make_index_sequence<1>();
    int64_t k = 0;
    for (; k + most <= depth; k += most)
        channel_products<T, most>(all, walk, g, x, at + k, sums + k * lanes<T>::count);
    for (; k + most / 3 <= depth; k += most / 3)
        channel_products<T, most / 3>(third, walk, g, x, at + k,
                                      sums + k * lanes<T>::count);
    for (; k < depth; k++)
        channel_products<T, 1>(one, walk, g, x, at + k, sums + k * lanes<T>::count);
}

/* n elements of each of up to a vector's channels, `apart` from one to the next, as (n,
 * lanes); lanes of no channel are zeros. */
template <class T>
void channel_turn(const T *x, int64_t apart, int64_t channels, int64_t n, T *turned) {
    typedef lanes<T> L;
    for (int64_t j = 0; j < n; j += L::count) {
        int64_t count = n - j < L::count ? n - j : L::count;
        typename L::vector v[L::count];
        channel_vectors(x + j, apart, channels, count, v);
        memcpy(turned + j * L::count, v, count * sizeof v[0]);
    }
}

/* Sums (depth, lanes) as filters (outs, depth). */
template <class T>
void channel_totals(const T *sums, int64_t outs, int64_t depth, T *w) {
    typedef lanes<T> L;
    const channel_store to = {outs, depth, 0, 1};
    for (int64_t k = 0; k < depth; k += L::count)
        channel_put_row<T>((const typename L::vector *)(sums + k * L::count),
                           depth - k < L::count ? depth - k : L::count, to, w + k);
}

} /* namespace tl */

#endif /* TENSORLIB_CONV_CHANNELS_H */

/* Direct convolution with output channels in the lanes of vectors.
 *
 * A tile is A rows of B targets, with V vectors of channels for each in registers. A
 * tap of an input channel costs V loads of filters, and a broadcast source element a
 * target: no row is too short for that, and nothing is masked. Two vectors use each
 * broadcast twice, which leaves ports that load time for filters from the second
 * cache level. Tiles are turned around when they are stored.
 */
#ifndef TENSORLIB_CONV_CHANNELS_H
#define TENSORLIB_CONV_CHANNELS_H

#include "tensorlib/gemm.h"

namespace tl {

/* Vectors of channels of a block, at most. */
constexpr int CHANNEL_VECTORS = LANE_BYTES == 64 ? 2 : 1;

/* Targets of a tile of so many vectors: what the registers hold beside filters and,
 * where a product cannot broadcast from memory, a source element; and of its rows. */
constexpr int channel_targets(int vectors) {
    return LANE_BYTES == 64 ? 28 / vectors : 14;
}
constexpr int channel_columns(int vectors) {
    return channel_targets(vectors) < 16 ? channel_targets(vectors) : 16;
}

/* Rows of a tile of so many columns, at most. */
constexpr int channel_rows(int targets, int columns) {
    return columns > 8 ? 1 : columns * 4 <= targets ? 4 : targets / columns;
}

/* What every tile of a block of channels reads; source elements of a row of targets are
 * `line` from those of the next, taps at[k] from the first. */
template <class T> struct channel_block {
    const T *w; /* (channels, taps, vectors, lanes) */
    const int64_t *at;
    int64_t taps, channels, plane, line;
    typename lanes<T>::vector start[CHANNEL_VECTORS]; /* the bias, or zeros */
};

/* Where targets go, in elements between channels, rows and columns. */
struct channel_store {
    int64_t outs, plane, down, right;
};

/* sums[v][target] of the tile at x. A function of its own, so that nothing else asks
 * for the registers. */
template <class T, int V, int A, int B, size_t... I, size_t... J>
__attribute__((noinline)) void
channel_sums(std::index_sequence<I...>, std::index_sequence<J...>,
             const channel_block<T> &b, const T *x,
             typename lanes<T>::vector (*sums)[channel_targets(V)]) {
    typedef lanes<T> L;
    typename L::vector a[A * B * V], v[V];
    ((a[I] = b.start[I % V]), ...);
    const T *w = b.w;
    for (int64_t c = 0; c < b.channels; c++, x += b.plane)
        for (int64_t k = 0; k < b.taps; k++, w += V * L::count) {
            const T *from = x + b.at[k];
            ((v[J] = L::load(w + J * L::count)), ...);
            ((a[I] += v[I % V] * from[(int64_t)(I / V / B) * b.line + I / V % B]), ...);
        }
    ((sums[I % V][I / V] = a[I]), ...);
}

/* The tile at x, of so many rows and columns. */
template <class T, int V, int A, int B>
inline void channel_tile(int64_t rows, int64_t columns, const channel_block<T> &b,
                         const T *x,
                         typename lanes<T>::vector (*sums)[channel_targets(V)]) {
    constexpr int targets = channel_targets(V);
    if constexpr (B > 1) {
        if (columns < B)
            return channel_tile<T, V, channel_rows(targets, B - 1), B - 1>(
                rows, columns, b, x, sums);
    }
    if constexpr (A > 1) {
        if (rows < A) return channel_tile<T, V, A - 1, B>(rows, columns, b, x, sums);
    }
    channel_sums<T, V, A, B>(std::make_index_sequence<A * B * V>(),
                             std::make_index_sequence<V>(), b, x, sums);
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

/* All targets of a block of V vectors: tiles of nearly equal width, the last of which
 * moves back and computes some targets again. */
template <class T, int V>
void channel_plane(const channel_block<T> &b, const T *x, int64_t rows, int64_t columns,
                   const channel_store &to, T *out) {
    constexpr int targets = channel_targets(V), most = channel_columns(V);
    constexpr int64_t lane = lanes<T>::count;
    const int64_t pieces = (columns + most - 1) / most;
    const int64_t wide = (columns + pieces - 1) / pieces;
    const int64_t tall = channel_rows(targets, (int)wide);
    typename lanes<T>::vector sums[V][targets];
    for (int64_t r = 0, high; r < rows; r += high) {
        high = rows - r < tall ? rows - r : tall;
        for (int64_t p = 0; p < pieces; p++) {
            int64_t j = p * wide < columns - wide ? p * wide : columns - wide;
            channel_tile<T, V, channel_rows(targets, most), most>(
                high, wide, b, x + r * b.line + j, sums);
            channel_store part = to;
            T *first = out + r * to.down + j * to.right;
            for (int v = 0; v < V; v++, first += lane * to.plane) {
                part.outs = to.outs - v * lane < lane ? to.outs - v * lane : lane;
                channel_put<T>(sums[v], high, wide, part, first);
            }
        }
    }
}

/* n elements of each of up to a vector's channels, `apart` from one to the next, as n
 * vectors that are `step` elements apart; lanes of no channel are zeros. */
template <class T>
void channel_turn(const T *x, int64_t apart, int64_t channels, int64_t n, T *turned,
                  int64_t step) {
    typedef lanes<T> L;
    for (int64_t j = 0; j < n; j += L::count) {
        int64_t count = n - j < L::count ? n - j : L::count;
        typename L::vector v[L::count];
        channel_vectors(x + j, apart, channels, count, v);
        for (int64_t i = 0; i < count; i++, turned += step)
            memcpy(turned, &v[i], sizeof v[i]);
    }
}

/* ---- the weight's gradient ------------------------------------------------------- */

/* What a block of sums runs over: `rows` rows of targets of some images, and strides of
 * the gradient, laid out as (columns, lanes), and of the packed source. */
struct channel_walk {
    int64_t images, slices, rows, columns;
    int64_t x_image, x_slice, x_row;
};

/* a[v] += g[target][v] x[target] for some targets: the sums of one weight. */
template <class T, int V, size_t... I>
inline void channel_meet(std::index_sequence<I...>, const typename lanes<T>::vector *g,
                         const T *x, typename lanes<T>::vector *a) {
    ((a[I % V] += g[I] * x[I / V]), ...);
}

/* sums[v][k] += the products of a box, for N weights of V vectors of channels, `depth`
 * vectors apart: at[k] is where weight k meets the first target. Each starts from zero
 * here, so that sums stay short. */
template <class T, int V, int N, size_t... I>
__attribute__((noinline)) void
channel_products(std::index_sequence<I...>, const channel_walk &walk, const T *g,
                 const T *x, const int64_t *at, int64_t depth, T *sums) {
    typedef lanes<T> L;
    constexpr int step = 4 / V; /* targets for which a source address is fetched once */
    typename L::vector a[N * V] = {};
    auto meet = [&](auto targets, const T *from) {
        constexpr int count = decltype(targets)::value * V;
        typename L::vector v[count];
        for (int s = 0; s < count; s++, g += L::count)
            v[s] = L::load(g);
        (channel_meet<T, V>(std::make_index_sequence<count>(), v, from + at[I],
                            a + I * V),
         ...);
    };
    for (int64_t i = 0; i < walk.images; i++, x += walk.x_image) {
        const T *slice = x;
        for (int64_t z = 0; z < walk.slices; z++, slice += walk.x_slice) {
            const T *row = slice;
            for (int64_t r = 0; r < walk.rows; r++, row += walk.x_row) {
                int64_t j = 0;
                for (; j + step <= walk.columns; j += step)
                    meet(std::integral_constant<int, step>(), row + j);
                for (; j < walk.columns; j++)
                    meet(std::integral_constant<int, 1>(), row + j);
            }
        }
    }
    for (int v = 0; v < V; v++, sums += depth * L::count)
        for (int k = 0; k < N; k++) {
            a[k * V + v] += L::load(sums + k * L::count);
            memcpy(sums + k * L::count, &a[k * V + v], sizeof a[0]);
        }
}

/* The same for `count` <= N weights. */
template <class T, int V, int N>
inline void channel_weights(int64_t count, const channel_walk &walk, const T *g,
                            const T *x, const int64_t *at, int64_t depth, T *sums) {
    if constexpr (N > 1) {
        if (count < N)
            return channel_weights<T, V, N - 1>(count, walk, g, x, at, depth, sums);
    }
    channel_products<T, V, N>(std::make_index_sequence<N>(), walk, g, x, at, depth,
                              sums);
}

/* sums (V, depth, lanes) += the products of a box, from g (targets, V, lanes). */
template <class T, int V>
void channel_gradient(const channel_walk &walk, const T *g, const T *x,
                      const int64_t *at, int64_t depth, T *sums) {
    constexpr int most = LANE_BYTES == 64 ? 24 / V : 9;
    const int64_t pieces = (depth + most - 1) / most;
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t k = depth * i / pieces, count = depth * (i + 1) / pieces - k;
        channel_weights<T, V, most>(count, walk, g, x, at + k, depth,
                                    sums + k * lanes<T>::count);
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

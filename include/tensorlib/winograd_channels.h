/* Winograd's convolution forward, with channels in the lanes of vectors.
 *
 * A block of tiles is taken to its values at the points by vectors of input channels:
 * at[point][tile][channel]. A product multiplies filters u[point][channel][outs], a
 * vector of output channels, by one broadcast value a tile, and keeps some tiles' sums
 * in registers. No tile is too few, and no row too short. Planes are turned around,
 * from and to vectors of channels, on the way in and out.
 */
#ifndef TENSORLIB_WINOGRAD_CHANNELS_H
#define TENSORLIB_WINOGRAD_CHANNELS_H

#include "tensorlib/winograd.h"

namespace tl {

/* Tiles of a register block, at most; addresses of three share a pointer. */
constexpr int WINOGRAD_TILES = LANE_BYTES == 64 ? 18 : 12;

/* Elements of a vector of input channels for each tile, and from point to point: not a
 * power of two, for the 36 streams of stores. */
template <class T> inline int64_t winograd_pitch(int64_t channels, const T *) {
    return direct_ceil(channels, lanes<T>::count) * lanes<T>::count;
}
template <class T>
inline int64_t winograd_apart(const winograd_plan *d, int64_t channels, const T *like) {
    return d->images * d->rows * d->tiles[1] * winograd_pitch(channels, like) +
           lanes<T>::count;
}
/* Vectors of a frame: a block's rows of one image, with a border. */
inline int64_t winograd_frame(const winograd_plan *d) {
    return (4 * d->rows + 2) * (4 * d->tiles[1] + 2);
}
/* Elements of a thread's work: a frame, the block's values, those of its products. */
template <class T> inline int64_t winograd_room(const winograd_plan *d, const T *like) {
    int64_t outs = direct_ceil(winograd_blocks(d, like), d->parts) * lanes<T>::count;
    return winograd_frame(d) * lanes<T>::count +
           POINTS * (winograd_apart(d, d->c, like) + winograd_apart(d, outs, like));
}

/* The rows that a block reads of an image, some channels of it: `frame` has the zeros
 * of its border already. */
template <class T>
inline void winograd_fill(const winograd_plan *d, const winograd_block *b, const T *x,
                          int64_t channels, typename lanes<T>::vector *frame) {
    typedef lanes<T> L;
    const int64_t width = 4 * d->tiles[1] + 2, top = 4 * b->row - d->padding[0];
    const int64_t begin = direct_max(top, 0);
    const int64_t end = direct_min(top + 4 * b->rows + 2, d->size[0]);
    const int64_t left = direct_max(-d->padding[1], 0);
    const int64_t right = direct_min(d->size[1], width - d->padding[1]);
    typename L::vector v[L::count];
    for (int64_t y = begin; y < end; y++)
        for (int64_t j = left; j < right; j += L::count) {
            int64_t n = direct_min(right - j, L::count);
            channel_vectors(x + y * d->size[1] + j, d->size[0] * d->size[1], channels,
                            n, v);
            typename L::vector *to = frame + (y - top) * width + j + d->padding[1];
            for (int64_t i = 0; i < n; i++)
                to[i] = v[i];
        }
}

/* All channels of a group, x, of a block at the points. */
template <class T>
inline void winograd_enter_channels(const winograd_plan *d, const winograd_block *b,
                                    const T *x, T *frame, T *at) {
    typedef lanes<T> L;
    typedef typename L::vector vec;
    const int64_t pitch = winograd_pitch(d->c, x), apart = winograd_apart(d, d->c, x);
    const int64_t width = 4 * d->tiles[1] + 2, pixels = d->size[0] * d->size[1];
    memset(frame, 0, winograd_frame(d) * sizeof(vec));
    for (int64_t i = 0; i < b->images; i++, x += d->groups * d->c * pixels)
        for (int64_t c = 0; c < d->c; c += L::count) {
            winograd_fill(d, b, x + c * pixels, direct_min(d->c - c, L::count),
                          (vec *)frame);
            T *to = at + i * b->rows * d->tiles[1] * pitch + c;
            for (int64_t q = 0; q < b->rows; q++)
                for (int64_t t = 0; t < d->tiles[1]; t++, to += pitch) {
                    vec v[POINTS];
                    const T *from = frame + (q * 4 * width + t * 4) * L::count;
                    for (int r = 0; r < 6; r++)
                        for (int j = 0; j < 6; j++)
                            v[6 * r + j] = L::load(from + (r * width + j) * L::count);
                    winograd_values<T, 6>(v, to, apart);
                }
        }
}

template <class T, size_t... I>
inline void winograd_sums(std::index_sequence<I...>, int64_t c, const T *x,
                          int64_t pitch, const T *u, int64_t outs, T *m,
                          int64_t pitch_m) {
    typedef lanes<T> L;
    constexpr int count = sizeof...(I), groups = (count + 2) / 3;
    typename L::vector a[count] = {};
    const T *from[groups];
    for (int g = 0; g < groups; g++)
        from[g] = x + 3 * g * pitch;
#pragma GCC unroll 4
    for (int64_t i = 0; i < c; i++, u += outs) {
        typename L::vector w = L::load(u);
        ((a[I] += w * from[I / 3][(int64_t)(I % 3) * pitch + i]), ...);
    }
    ((memcpy(m + (int64_t)I * pitch_m, &a[I], sizeof a[I])), ...);
}

/* m[tile] = sum over c of u[c] x[tile][c], at one point, for vectors of outs. */
template <class T, int N>
inline void winograd_tiles(int64_t tiles, int64_t c, const T *x, int64_t pitch,
                           const T *u, int64_t outs, T *m, int64_t pitch_m) {
    if constexpr (N > 1) {
        if (tiles < N)
            return winograd_tiles<T, N - 1>(tiles, c, x, pitch, u, outs, m, pitch_m);
    }
    winograd_sums(std::make_index_sequence<N>(), c, x, pitch, u, outs, m, pitch_m);
}

/* The same for any number of tiles, in register blocks of nearly equal size. */
template <class T>
inline void winograd_product(int64_t tiles, int64_t c, const T *x, int64_t pitch,
                             const T *u, int64_t outs, T *m, int64_t pitch_m) {
    const int64_t blocks = direct_ceil(tiles, WINOGRAD_TILES);
    for (int64_t i = 0; i < blocks; i++) {
        int64_t first = tiles * i / blocks, count = tiles * (i + 1) / blocks - first;
        winograd_tiles<T, WINOGRAD_TILES>(count, c, x + first * pitch, pitch, u, outs,
                                          m + first * pitch_m, pitch_m);
    }
}

/* The 4 x 4 outputs of a tile from its products, for a vector of channels, into rows
 * `line` vectors apart. True: one of the first `outs` is not finite. */
template <class T>
inline bool winograd_outputs_of(const T *m, int64_t apart,
                                typename lanes<T>::vector bias, int64_t outs,
                                typename lanes<T>::vector *to, int64_t line) {
    typedef lanes<T> L;
    typedef int32_t bits __attribute__((vector_size(LANE_BYTES)));
    typename L::vector v[POINTS];
    bits odd = {}, each;
    for (int j = 0; j < 6; j++) {
        for (int r = 0; r < 6; r++)
            v[6 * r + j] = L::load(m + (6 * r + j) * apart);
        winograd_outputs<T, 4>(v + j, 6);
    }
    for (int r = 0; r < 4; r++) {
        winograd_outputs<T, 4>(v + 6 * r, 1);
        for (int j = 0; j < 4; j++) {
            to[r * line + j] = v[6 * r + j] + bias;
            memcpy(&each, &to[r * line + j], sizeof each);
            odd |= (each & 0x7f800000) == 0x7f800000;
        }
    }
    int32_t found = 0;
    for (int64_t o = 0; o < L::count; o++)
        found |= o < outs ? odd[o] : 0;
    return found;
}

/* A vector of output channels of a block from their products; rows of tiles are laid
 * side by side in `strip` first. True: not finite. */
template <class T>
inline bool winograd_leave_channels(const winograd_plan *d, const winograd_block *b,
                                    const T *m, int64_t pitch, int64_t apart,
                                    const T *bias, int64_t outs, T *y, T *strip) {
    typedef typename lanes<T>::vector vec;
    const int64_t line = 4 * d->tiles[1], plane = d->out[0] * d->out[1];
    const channel_store to = {outs, plane, d->out[1], 1};
    vec start{};
    bool odd = false;
    for (int64_t o = 0; bias && o < outs; o++)
        start[o] = bias[o];
    for (int64_t i = 0; i < b->images; i++, y += d->groups * d->o * plane)
        for (int64_t q = 0; q < b->rows; q++) {
            int64_t row = 4 * (b->row + q), rows = direct_min(d->out[0] - row, 4);
            for (int64_t t = 0; t < d->tiles[1]; t++, m += pitch)
                odd |= winograd_outputs_of(m, apart, start, outs, (vec *)strip + 4 * t,
                                           line);
            for (int64_t r = 0; r < rows; r++)
                channel_put<T>((const vec *)strip + r * line, 1, d->out[1], to,
                               y + (row + r) * d->out[1]);
        }
    return odd;
}

/* Blocks [low, high) of vectors of output channels of one group, for one block of
 * tiles. x, u and y are the group's, of the block's first image. True: not finite. */
template <class T>
inline bool winograd_block_of(const winograd_plan *d, const winograd_block *b,
                              const T *x, const T *u, const T *bias, T *y, int64_t low,
                              int64_t high, T *work) {
    const int64_t pitch = winograd_pitch(d->c, x), apart = winograd_apart(d, d->c, x);
    const int64_t pitch_m = (high - low) * lanes<T>::count;
    const int64_t apart_m = winograd_apart(d, pitch_m, x);
    T *at = work + winograd_frame(d) * lanes<T>::count, *m = at + POINTS * apart;
    bool odd = false;
    winograd_enter_channels(d, b, x, work, at);
    for (int k = 0; k < POINTS; k++)
        for (int64_t i = low; i < high; i++) {
            int64_t first = winograd_first(d, i, x);
            int64_t outs = winograd_first(d, i + 1, x) - first;
            winograd_product(
                b->tiles, d->c, at + k * apart, pitch,
                u + winograd_place(d, 0, i, x) + k * winograd_stride(outs, d->c, x),
                outs, m + k * apart_m + (i - low) * lanes<T>::count, pitch_m);
        }
    for (int64_t i = low; i < high; i++) {
        int64_t first = winograd_first(d, i, x),
                outs = winograd_first(d, i + 1, x) - first;
        odd |= winograd_leave_channels(d, b, m + (i - low) * lanes<T>::count, pitch_m,
                                       apart_m, bias ? bias + first : bias, outs,
                                       y + first * d->out[0] * d->out[1], work);
    }
    return odd;
}

} /* namespace tl */

#endif /* TENSORLIB_WINOGRAD_CHANNELS_H */

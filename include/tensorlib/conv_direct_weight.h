/* The weight's gradient of direct convolution: boxes of the source as conv_direct.h
 * packs them, and sums of many weights that stay in registers over a box.
 *
 * Vectors run over positions, whose lanes are added up at the end, or over output
 * channels (conv_channels.h), as forward.
 */
#ifndef TENSORLIB_CONV_DIRECT_WEIGHT_H
#define TENSORLIB_CONV_DIRECT_WEIGHT_H

#include "tensorlib/conv_direct.h"

namespace tl {

/* The lanes of n vectors added up: halving as many vectors as one has lanes leaves one
 * with a total in each lane. The order is that of the lanes alone, wherever a vector
 * stands: threads share vectors out as they like. */
template <class T>
inline void direct_totals(const typename lanes<T>::vector *sums, int64_t n, T *total) {
    typedef lanes<T> L;
    constexpr auto all = std::make_index_sequence<L::count>();
    for (int64_t i = 0; i < n; i += L::count) {
        typename L::vector v[L::count] = {};
        const int64_t some = direct_min(n - i, L::count);
        memcpy(v, sums + i, some * sizeof v[0]);
        for (int64_t left = L::count / 2; left > 0; left /= 2)
            for (int64_t k = 0; k < left; k++)
                v[k] = every_second<0>(v[2 * k], v[2 * k + 1], all) +
                       every_second<1>(v[2 * k], v[2 * k + 1], all);
        memcpy(total + i, v, some * sizeof(T));
    }
}

/* What a block of sums runs over: a box's targets, and strides of both operands. */
struct direct_walk {
    int64_t images, slices, rows, columns;
    int64_t y_plane, y_image, y_slice, y_row; /* of the gradient */
    int64_t x_image, x_slice, x_row;          /* of the packed boxes */
};

/* sums[o][k] += y of channel o times x at distance at[k], lane by lane. The last vector
 * of a row may be part of one: x is cleared there (y was), so that no NaN comes in. */
template <class T, int O, int K, size_t... I, size_t... J>
inline void direct_products(std::index_sequence<I...>, std::index_sequence<J...>,
                            const direct_walk *walk, const T *y, const T *x,
                            const int64_t *at, typename lanes<T>::vector *sums,
                            int64_t ld) {
    typedef lanes<T> L;
    typedef typename L::vector vec;
    const int64_t whole = walk->columns / L::count * L::count;
    const bool rest = whole < walk->columns;
    vec a[O * K], v[K], live, lane;
    for (int l = 0; l < L::count; l++)
        lane[l] = T(l);
    auto wanted = lane < T(walk->columns - whole) - vec{};
    int64_t far[K] = {at[J]...};
    ((a[I] = sums[I / K * ld + I % K]), ...);
    for (int64_t i = 0; i < walk->images * walk->slices; i++)
        for (int64_t r = 0; r < walk->rows; r++) {
            int64_t image = i / walk->slices, slice = i % walk->slices, j = 0;
            const T *from =
                x + image * walk->x_image + slice * walk->x_slice + r * walk->x_row;
            const T *g =
                y + image * walk->y_image + slice * walk->y_slice + r * walk->y_row;
            for (; j < whole; j += L::count, g += L::count, from += L::count) {
                ((v[J] = L::load(from + far[J])), ...);
                ((a[I] += L::load(g + (int64_t)(I / K) * walk->y_plane) * v[I % K]),
                 ...);
            }
            if (rest) {
                ((live = L::load(from + far[J]), v[J] = wanted ? live : vec{}), ...);
                ((a[I] += L::load(g + (int64_t)(I / K) * walk->y_plane) * v[I % K]),
                 ...);
            }
        }
    ((sums[I / K * ld + I % K] = a[I]), ...);
}

/* O channels with all taps of all channels: K of them at a time, then the others. */
template <class T, int O, int K>
inline void direct_gradient_row(const direct_walk *walk, const T *y, const T *x,
                                const int64_t *at, int64_t depth,
                                typename lanes<T>::vector *sums) {
    int64_t k = 0;
    for (; k + K <= depth; k += K)
        direct_products<T, O, K>(std::make_index_sequence<O * K>(),
                                 std::make_index_sequence<K>(), walk, y, x, at + k,
                                 sums + k, depth);
    for (; k < depth; k++)
        direct_products<T, O, 1>(std::make_index_sequence<O>(),
                                 std::make_index_sequence<1>(), walk, y, x, at + k,
                                 sums + k, depth);
}

/* sums (to, depth) += this box's part; at has a distance for each of depth. */
template <class T>
inline void direct_gradient(int64_t to, int64_t depth, const direct_walk *walk,
                            const T *y, const T *x, const int64_t *at,
                            typename lanes<T>::vector *sums) {
    for (int64_t o = 0; o < to;) {
        const T *g = y + o * walk->y_plane;
        typename lanes<T>::vector *row = sums + o * depth;
        if (to - o >= 4) {
            direct_gradient_row<T, 4, 3>(walk, g, x, at, depth, row);
            o += 4;
        } else if (to - o >= 2) {
            direct_gradient_row<T, 2, 5>(walk, g, x, at, depth, row);
            o += 2;
        } else {
            direct_gradient_row<T, 1, 9>(walk, g, x, at, depth, row);
            o += 1;
        }
    }
}

/* The gradient's rows of a box, each filled up with zeros to whole vectors. */
template <class T>
inline void direct_pad(const direct_plan *d, const T *y, int64_t outs,
                       const int64_t *start, const int64_t *count, int64_t width,
                       T *packed) {
    for (int64_t o = 0; o < outs; o++)
        for (int64_t i = 0; i < count[0]; i++)
            for (int64_t j = 0; j < count[1]; j++, packed += width) {
                const T *line =
                    y +
                    (((o * d->target[0] + start[0] + i) * d->target[1] + start[1] + j) *
                         d->target[2] +
                     start[2]);
                for (int64_t k = 0; k < count[2]; k++)
                    packed[k] = line[k];
                for (int64_t k = count[2]; k < width; k++)
                    packed[k] = 0;
            }
}

/* Images whose boxes are packed at once: where one box is an image, sums are fetched
 * from memory less often if they run over several. */
template <class T> inline int64_t direct_batch(const direct_plan *d, const T *) {
    constexpr int64_t bytes = 262144;
    if (d->boxes[0] * d->boxes[1] * d->boxes[2] > 1) return 1;
    return direct_max(direct_min(bytes / direct_bytes<T>(d), d->n), 1);
}

/* Elements of the work space of direct_weight: sums, packed x and padded y. */
template <class T> inline int64_t direct_padded(const direct_plan *d, const T *) {
    const int64_t lane = lanes<T>::count;
    return d->to * d->box[0] * d->box[1] * direct_ceil(d->box[2], lane) * lane;
}
template <class T> inline int64_t direct_sum_bytes(const direct_plan *d, const T *) {
    const int64_t outs = d->channels ? direct_width(d) : d->to * d->lane;
    return outs * d->from * d->taps * (int64_t)sizeof(T);
}
template <class T> inline int64_t direct_work(const direct_plan *d, const T *like) {
    const int64_t box = d->box[0] * d->box[1] * d->box[2];
    const int64_t y = d->channels ? box * d->block : direct_padded(d, like);
    return direct_sum_bytes(d, like) / (int64_t)sizeof(T) +
           direct_batch(d, like) * (d->from * d->plane + y) + 64;
}

/* Pack the boxes `index` of some images, and choose strides; y moves to where its
 * channels are read, in place or in `padded`. */
template <class T>
inline direct_walk direct_prepare(const direct_plan *d, const T **y, const T *x,
                                  int64_t index, int64_t outs, int64_t images,
                                  T *packed, T *padded) {
    const int64_t lane = lanes<T>::count, line = d->residues * d->run;
    const int64_t of_x = d->source[0] * d->source[1] * d->source[2] * d->from;
    const int64_t of_y = d->target[0] * d->target[1] * d->target[2];
    const int64_t boxes = d->boxes[0] * d->boxes[1] * d->boxes[2];
    int64_t image = index / boxes, start[3], count[3];
    direct_start(d, index % boxes, start);
    for (int a = 0; a < 3; a++)
        count[a] = direct_min(d->target[a] - start[a], d->box[a]);
    direct_walk walk = {images,
                        count[0],
                        count[1],
                        count[2],
                        of_y,
                        d->groups * d->to * of_y,
                        d->target[1] * d->target[2],
                        d->target[2],
                        d->from * d->plane,
                        d->step[0] * d->inside[1] * line,
                        d->step[1] * line};
    const T *g = *y + image * walk.y_image;
    for (int64_t i = 0; i < images; i++)
        direct_pack(d, x + (image + i) * d->groups * of_x, start,
                    packed + i * walk.x_image);
    *y = g + (start[0] * d->target[1] + start[1]) * d->target[2] + start[2];
    if (count[2] % lane == 0) return walk;
    const int64_t width = direct_ceil(count[2], lane) * lane,
                  each = direct_padded(d, x);
    for (int64_t i = 0; i < images; i++)
        direct_pad(d, g + i * walk.y_image, outs, start, count, width,
                   padded + i * each);
    *y = padded;
    walk.y_image = each;
    walk.y_row = width;
    walk.y_slice = count[1] * width;
    walk.y_plane = count[0] * walk.y_slice;
    return walk;
}

/* The gradient of a box for a block of channels, from y at the box, as (targets,
 * channels), whole vectors of these. */
template <class T>
inline void direct_turn(const direct_plan *d, const T *y, int64_t outs,
                        const int64_t *start, const channel_walk &walk, T *turned) {
    const int64_t plane = d->target[0] * d->target[1] * d->target[2];
    const int64_t lane = lanes<T>::count, room = direct_room(d, outs);
    const bool whole = walk.columns == d->target[2];
    const int64_t run = whole ? walk.rows * walk.columns : walk.columns;
    for (int64_t i = 0; i < walk.images; i++, y += d->groups * d->to * plane)
        for (int64_t z = 0; z < walk.slices; z++)
            for (int64_t r = 0; r < (whole ? 1 : walk.rows); r++) {
                const T *from =
                    y + ((start[0] + z) * d->target[1] + start[1] + r) * d->target[2] +
                    start[2];
                for (int64_t o = 0; o < outs; o += lane)
                    channel_turn(from + o * plane, plane, direct_min(outs - o, lane),
                                 run, turned + o, room);
                turned += run * room;
            }
}

/* direct_weight with channels of y in the lanes of vectors. */
template <class T>
inline void direct_weight_channels(const direct_plan *d, const T *y, const T *x,
                                   int64_t outs, const int64_t *at, int64_t first,
                                   int64_t last, T *w, T *work) {
    const int64_t lane = d->lane, depth = d->from * d->taps;
    const int64_t batch = direct_batch(d, x);
    const int64_t of_x = d->source[0] * d->source[1] * d->source[2] * d->from;
    const int64_t of_y = d->target[0] * d->target[1] * d->target[2];
    const int64_t boxes = d->boxes[0] * d->boxes[1] * d->boxes[2];
    const int64_t line = d->residues * d->run;
    T *packed = work + direct_room(d, outs) * depth;
    T *turned = packed + batch * d->from * d->plane;
    memset(work, 0, direct_room(d, outs) * depth * sizeof(T));
    for (int64_t index = first; index < last; index += batch) {
        int64_t image = index / boxes, start[3], count[3];
        direct_start(d, index % boxes, start);
        for (int a = 0; a < 3; a++)
            count[a] = direct_min(d->target[a] - start[a], d->box[a]);
        const channel_walk walk = {direct_min(batch, last - index),
                                   count[0],
                                   count[1],
                                   count[2],
                                   d->from * d->plane,
                                   d->step[0] * d->inside[1] * line,
                                   d->step[1] * line};
        for (int64_t i = 0; i < walk.images; i++)
            direct_pack(d, x + (image + i) * d->groups * of_x, start,
                        packed + i * walk.x_image);
        for (int64_t o = 0; o < outs; o += d->block) {
            const int64_t count = direct_min(outs - o, d->block);
            direct_turn(d, y + (image * d->groups * d->to + o) * of_y, count, start,
                        walk, turned);
            if (count > lane)
                channel_gradient<T, CHANNEL_VECTORS>(walk, turned, packed, at, depth,
                                                     work + o * depth);
            else
                channel_gradient<T, 1>(walk, turned, packed, at, depth,
                                       work + o * depth);
        }
    }
    for (int64_t o = 0; o < outs; o += lane)
        channel_totals<T>(work + o * depth, direct_min(outs - o, lane), depth,
                          w + o * depth);
}

/* The boxes [first, last) of `outs` channels of one group, image by image: w (outs,
 * from * taps) is their sum. y and x start at these channels, and the group's, of the
 * first image; at is by channel and tap. */
template <class T>
inline void direct_weight(const direct_plan *d, const T *y, const T *x, int64_t outs,
                          const int64_t *at, int64_t first, int64_t last, T *w,
                          T *work) {
    typedef typename lanes<T>::vector vec;
    if constexpr (sizeof(T) == sizeof(float)) {
        if (d->channels)
            return direct_weight_channels(d, y, x, outs, at, first, last, w, work);
    }
    const int64_t depth = d->from * d->taps, batch = direct_batch(d, x);
    vec *sums = (vec *)work;
    T *packed = work + outs * depth * lanes<T>::count;
    T *padded = packed + batch * d->from * d->plane;
    for (int64_t i = 0; i < outs * depth; i++)
        sums[i] = vec{};
    for (int64_t index = first; index < last; index += batch) {
        const T *g = y;
        direct_walk walk = direct_prepare(
            d, &g, x, index, outs, direct_min(batch, last - index), packed, padded);
        direct_gradient(outs, depth, &walk, g, packed, at, sums);
    }
    direct_totals<T>(sums, outs * depth, w);
}

} /* namespace tl */

#endif /* TENSORLIB_CONV_DIRECT_WEIGHT_H */

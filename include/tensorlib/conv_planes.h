/* Direct convolution of planes to one channel, without steps, on planes as they lie: a
 * load leaves out the lanes beyond a row, and rows beyond a plane are not visited, so
 * that nothing is copied into a border.
 *
 * A strip is a vector wide and as tall as a box. Its rows of the source are visited
 * once, from the first to the last; the rows of targets that meet a row, as many as
 * rows of taps, move along in registers.
 */
#ifndef TENSORLIB_CONV_PLANES_H
#define TENSORLIB_CONV_PLANES_H

#include "tensorlib/conv_direct_weight.h"

namespace tl {

/* Rows `gap` apart of a strip of targets, T of them with `count` columns, and the
 * source under the first tap of the first one: row y, column `left` of its slice. */
template <class T> struct plane_strip {
    const T *x;
    int64_t y, left, height, width;
    const direct_plan *d;
    int64_t rows, count;

    /* Lanes that column j of the taps has of a row. Targets that are not of the strip
     * have none: what x is there may not be finite. */
    direct_span within(int64_t j) const {
        direct_span span = direct_within(left + j * d->gap[2], width, x);
        span.high = direct_max(direct_min(span.high, count), span.low);
        return span;
    }
};

template <class T>
inline void plane_store(T *out, int64_t count, typename lanes<T>::vector v) {
    const direct_store to = {0, 0, count, 1};
    direct_put(v, out, &to);
}

/* Targets at `out` from one slice, with K * K taps w; they start from `start`, or from
 * themselves. */
template <class T, int K, size_t... I>
inline void plane_targets(std::index_sequence<I...>, const plane_strip<T> &s,
                          const T *w, T start, bool begun, T *out) {
    typedef typename lanes<T>::vector vec;
    const int64_t gap = s.d->gap[1], line = gap * s.width;
    const int64_t below = gap * s.d->target[2], column = s.d->gap[2];
    const T tap[K][K] = {w[I]...};
    direct_span span[K];
    for (int j = 0; j < K; j++)
        span[j] = s.within(j);
    const vec from = start - vec{};
    vec a[K]; /* a[k]: the target whose row k of taps meets this row */
    for (int k = 0; k < K; k++)
        a[k] = from;
    const T *x = s.x + s.y * s.width + s.left;
    for (int64_t m = 0, y = s.y; m < s.rows + K - 1; m++, y += gap, x += line) {
#pragma GCC unroll 8
        for (int k = K - 1; k > 0; k--)
            a[k] = a[k - 1];
        a[0] = begun && m < s.rows ? direct_between(out + m * below, 0, s.count) : from;
        /* The same rows of the planes that follow. */
        __builtin_prefetch(x + s.height * s.width);
        __builtin_prefetch(out + m * below + s.d->target[1] * s.d->target[2], 1);
        if ((uint64_t)y < (uint64_t)s.height)
#pragma GCC unroll 8
            for (int j = 0; j < K; j++) {
                const vec v = direct_between(x + j * column, span[j].low, span[j].high);
#pragma GCC unroll 8
                for (int k = 0; k < K; k++)
                    a[k] += v * tap[k][j];
            }
        if (m >= K - 1) plane_store(out + (m - K + 1) * below, s.count, a[K - 1]);
    }
}

/* sums[k * K + j] += targets at `g` times the source under tap (k, j) of one slice. */
template <class T, size_t... J, size_t... I>
inline void plane_products(std::index_sequence<J...>, std::index_sequence<I...>,
                           const plane_strip<T> &s, const T *g,
                           typename lanes<T>::vector *sums) {
    typedef typename lanes<T>::vector vec;
    constexpr int K = sizeof...(J);
    const int64_t gap = s.d->gap[1], line = gap * s.width;
    const int64_t below = gap * s.d->target[2], column = s.d->gap[2];
    const direct_span span[K] = {s.within(J)...};
    vec a[K * K], v[K]; /* v[k]: the target whose row k of taps meets this row */
    ((a[I] = sums[I]), ...);
    ((v[J] = vec{}), ...);
    constexpr auto meet = [](vec(&a)[K * K], const vec(&v)[K], vec u, auto j) {
        ((a[J * K + j] += v[J] * u), ...);
    };
    const T *x = s.x + s.y * s.width + s.left;
    for (int64_t m = 0, y = s.y; m < s.rows + K - 1; m++, y += gap, x += line) {
        ((v[K - 1 - J] = v[K - 1 - J - (J < K - 1)]), ...);
        v[0] = m < s.rows ? direct_between(g + m * below, 0, s.count) : vec{};
        if ((uint64_t)y >= (uint64_t)s.height) continue;
        if (m >= K - 1 && m < s.rows) {
            (meet(a, v,
                  direct_between(x + (int64_t)J * column, span[J].low, span[J].high),
                  std::integral_constant<int, (int)J>()),
             ...);
            continue;
        }
        /* Rows of taps without a target here: 0 times what is not finite is no 0. */
        for (int j = 0; j < K; j++) {
            const vec u = direct_between(x + j * column, span[j].low, span[j].high);
            for (int k = 0; k < K; k++)
                if (m >= k && m - k < s.rows) a[k * K + j] += v[k] * u;
        }
    }
    ((sums[I] = a[I]), ...);
}

/* visit(strip, first target, slice of filters) for a box whose first targets are
 * `start`, of one image and group at x; filters have a slice a channel and tap of the
 * first axis. */
template <class T, class Visit>
inline void plane_strips(const direct_plan *d, const int64_t *start, const T *x,
                         Visit visit) {
    const int64_t plane = d->source[1] * d->source[2];
    int64_t end[3];
    for (int a = 0; a < 3; a++)
        end[a] = direct_min(d->target[a], start[a] + d->box[a]);
    for (int64_t z = start[0]; z < end[0]; z++)
        for (int64_t j = start[2]; j < end[2]; j += d->lane)
            for (int64_t r = start[1]; r < direct_min(start[1] + d->gap[1], end[1]);
                 r++)
                for (int64_t i = 0; i < d->from * d->kernel[0]; i++) {
                    const int64_t c = i / d->kernel[0];
                    const int64_t from = z + d->base[0] + i % d->kernel[0] * d->gap[0];
                    const bool inside = from >= 0 && from < d->source[0];
                    const plane_strip<T> s = {
                        x + (c * d->source[0] + (inside ? from : 0)) * plane,
                        r + d->base[1],
                        j + d->base[2],
                        inside ? d->source[1] : 0,
                        d->source[2],
                        d,
                        direct_ceil(end[1] - r, d->gap[1]),
                        direct_min(end[2] - j, d->lane)};
                    visit(s, (z * d->target[1] + r) * d->target[2] + j, i);
                }
}

template <class T, int K>
inline void plane_box_of(const direct_plan *d, const int64_t *start, const T *x,
                         const T *w, const T *bias, T *out) {
    plane_strips(d, start, x, [&](const plane_strip<T> &s, int64_t at, int64_t i) {
        plane_targets<T, K>(std::make_index_sequence<K * K>(), s, w + i * K * K,
                            bias ? *bias : T(0), i > 0, out + at);
    });
}

/* The targets of a box of one image and group, from packed filters (from, taps). */
template <class T>
inline void plane_box(const direct_plan *d, const int64_t *start, const T *x,
                      const T *w, const T *bias, T *out) {
    if (d->kernel[1] == 3)
        plane_box_of<T, 3>(d, start, x, w, bias, out);
    else if (d->kernel[1] == 5)
        plane_box_of<T, 5>(d, start, x, w, bias, out);
    else
        plane_box_of<T, 7>(d, start, x, w, bias, out);
}

/* The gradient of a group's filters by boxes [first, last), image by image; `work` has
 * room for a vector a weight. y and x start at the group's channels. */
template <class T, int K>
inline void plane_weight_of(const direct_plan *d, const T *y, const T *x, int64_t first,
                            int64_t last, T *w, T *work) {
    typedef typename lanes<T>::vector vec;
    const int64_t of_x = d->source[0] * d->source[1] * d->source[2] * d->from;
    const int64_t of_y = d->target[0] * d->target[1] * d->target[2];
    const int64_t boxes = d->boxes[0] * d->boxes[1] * d->boxes[2];
    vec *sums = (vec *)work;
    for (int64_t i = 0; i < d->from * d->taps; i++)
        sums[i] = vec{};
    for (int64_t index = first; index < last; index++) {
        const int64_t image = index / boxes * d->groups;
        int64_t start[3];
        direct_start(d, index % boxes, start);
        plane_strips(d, start, x + image * of_x,
                     [&](const plane_strip<T> &s, int64_t at, int64_t i) {
                         plane_products(std::make_index_sequence<K>(),
                                        std::make_index_sequence<K * K>(), s,
                                        y + image * of_y + at, sums + i * K * K);
                     });
    }
    direct_totals<T>(sums, d->from * d->taps, w);
}
template <class T>
inline void plane_weight(const direct_plan *d, const T *y, const T *x, int64_t first,
                         int64_t last, T *w, T *work) {
    if (d->kernel[1] == 3)
        plane_weight_of<T, 3>(d, y, x, first, last, w, work);
    else if (d->kernel[1] == 5)
        plane_weight_of<T, 5>(d, y, x, first, last, w, work);
    else
        plane_weight_of<T, 7>(d, y, x, first, last, w, work);
}

} /* namespace tl */

#endif /* TENSORLIB_CONV_PLANES_H */

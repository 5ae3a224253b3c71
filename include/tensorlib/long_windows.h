/* The largest element or the mean of one window whose rows are long: its columns side
 * by side first, in blocks that stay in the nearest cache, then across them.
 */
#ifndef TENSORLIB_LONG_WINDOWS_H
#define TENSORLIB_LONG_WINDOWS_H

#include "tensorlib/windows.h"

namespace tl {

constexpr int64_t SPAN = 256; /* columns of a block */

/* The largest of n >= 1 elements and its place: the first, of NaNs the last. */
template <int N, class T, class Place>
inline void best_of(const T *x, const Place *place, int64_t n, T &top, int64_t &at) {
    typedef pack<T, N> P;
    typedef pack<Place, N> Q;
    if constexpr (N > 1) {
        if (n < N) {
            best_of<(N * sizeof(T) > 16 ? N / 2 : 1)>(x, place, n, top, at);
            return;
        }
    }
    top = extreme<max_step>(x, n);
    const Place none = top != top ? -1 : std::numeric_limits<Place>::max();
    typename Q::type found = none - typename Q::type{};
    for (int64_t l = 0; l < n; l += N) {
        int64_t from = l + N <= n ? l : n - N;
        auto v = P::load(x + from);
        auto here = Q::load(place + from);
        if (none < 0)
            found = (v != v) & (here > found) ? here : found;
        else
            found = (v == top) & (here < found) ? here : found;
    }
    if constexpr (N == 1)
        at = found;
    else if (none < 0)
        at = across<max_step, N, Place>(found);
    else
        at = across<min_step, N, Place>(found);
}

template <class T>
void max_window(const T *x, const tap_grid &g, T *y, int64_t *place, int64_t start) {
    typedef offset<T, lanes<T>::count> near;
    T column[SPAN], top;
    near where[SPAN];
    int64_t at, best = -1;
    if (place && is_far(g)) {
        max_windows(x, g, 1, 1, y, place, start, 0);
        return;
    }
    if (!place && g.count[0] * g.count[1] == 1) {
        *y = extreme<max_step>(x, g.count[2]);
        return;
    }
    tap_grid rows = g;
    rows.count[2] = 1;
    for (int64_t begin = 0; begin < g.count[2]; begin += SPAN) {
        int64_t n = g.count[2] - begin < SPAN ? g.count[2] - begin : SPAN;
        if (place) {
            windows_at(x + begin, rows, 1, n,
                       max_target<T, near>{column, where, begin, 1});
            best_of<lanes<T>::count>(column, where, n, top, at);
        } else {
            windows_at(x + begin, rows, 1, n, max_value_target<T>{column});
            top = extreme<max_step>(column, n);
            at = begin;
        }
        if (best < 0 || max_step::beats(*y, top) || (top == *y && at < best) ||
            (is_nan(top) && at > best))
            *y = top, best = at;
    }
    if (place) *place = start + best;
}

template <class T>
void mean_window(const T *x, const tap_grid &g, T *y, int64_t count) {
    T column[SPAN];
    double total = 0;
    tap_grid rows = g;
    rows.count[2] = 1;
    for (int64_t begin = 0; begin < g.count[2]; begin += SPAN) {
        int64_t n = g.count[2] - begin < SPAN ? g.count[2] - begin : SPAN;
        windows_at(x + begin, rows, 1, n, mean_target<T>{column, 1});
        total += lane_sum(column, n);
    }
    *y = (T)(total / count);
}

} /* namespace tl */

#endif /* TENSORLIB_LONG_WINDOWS_H */

/* The largest element or the sum of windows, several windows side by side in vectors.
 *
 * n windows share one grid of taps; from window to window it moves by a step. Each
 * window's result stays in registers over all its taps. A run of fewer windows than a
 * vector has lanes takes narrower vectors; the last vector of a run may overlap the one
 * before, since a window computed twice has the same bits.
 */
#ifndef TENSORLIB_WINDOWS_H
#define TENSORLIB_WINDOWS_H

#include <limits>

#include "tensorlib/lanes.h"

namespace tl {

/* Taps of a window along three axes: how many there are, elements of the input and
 * places in its plane from one to the next. */
struct tap_grid {
    int64_t count[3];
    int64_t step[3];
    int64_t place[3];
};

/* Places inside a window: in vectors, integers as wide as the elements beside them. */
template <class T, int N>
using offset =
    typename std::conditional<N != 1 && sizeof(T) == 4, int32_t, int64_t>::type;

/* A vector of N; N = 1 is the element itself. */
template <class T, int N> struct pack {
    typedef T type __attribute__((vector_size(N * sizeof(T))));
    static type load(const T *x) {
        type v;
        memcpy(&v, x, sizeof v);
        return v;
    }
    static void store(T *y, type v) { memcpy(y, &v, sizeof v); }
};
template <class T> struct pack<T, 1> {
    typedef T type;
    static type load(const T *x) { return *x; }
    static void store(T *y, type v) { *y = v; }
};

/* N elements, `step` apart. */
template <class T, int N>
inline typename pack<T, N>::type gather(const T *x, int64_t step) {
    if constexpr (N == 1) {
        return *x;
    } else {
        typename pack<T, N>::type v;
        for (int l = 0; l < N; l++)
            v[l] = x[l * step];
        return v;
    }
}

/* What N windows have found so far; visit takes tap `at` of each. A caller may also lay
 * tap 0 into `best` to begin with. */
template <class T, int N> struct largest {
    typename pack<T, N>::type best =
        -__builtin_huge_val() - typename pack<T, N>::type{};
    void visit(typename pack<T, N>::type v, int64_t) { best = max_step::join(best, v); }
};
/* Among equals the first counts, among NaNs the last: as PyTorch has it. */
template <class T, int N> struct largest_place {
    typedef offset<T, N> place;
    typename pack<T, N>::type best =
        -__builtin_huge_val() - typename pack<T, N>::type{};
    typename pack<place, N>::type where{};
    void visit(typename pack<T, N>::type v, int64_t at) {
        auto take = (v > best) | (v != v);
        best = take ? v : best;
        where = take ? (place)at - typename pack<place, N>::type{} : where;
    }
};
template <class T, int N> struct sum {
    typename pack<T, N>::type best{};
    void visit(typename pack<T, N>::type v, int64_t) { best += v; }
};

/* The taps of one row. Stride: from window to window, 0 when known only to the call.
 * With 2, a pair of taps is read at once; an odd tap at the end comes with the one
 * before it, so that nothing behind the last window is read. */
template <int Stride, int Taps, int N, class T, class Found>
inline void visit_row(const T *x, const tap_grid &g, int64_t stride, int64_t at,
                      Found &found) {
    typedef pack<T, N> P;
    const int64_t taps = Taps ? Taps : g.count[2];
    if constexpr (N > 1 && Stride == 2) {
        constexpr auto lanes = std::make_index_sequence<N>();
        for (int64_t t = 0; t < taps; t += 2) {
            const T *pair = x + (t + 1 < taps ? t : t - 1);
            typename P::type a = P::load(pair), b = P::load(pair + N);
            if (t + 1 < taps) found.visit(every_second<0>(a, b, lanes), at + t);
            found.visit(every_second<1>(a, b, lanes), at + t + (t + 1 < taps));
        }
    } else {
        for (int64_t t = 0; t < taps; t++) {
            const T *tap = x + t * g.step[2];
            found.visit(Stride == 1 ? P::load(tap) : gather<T, N>(tap, stride),
                        at + t * g.place[2]);
        }
    }
}

template <int Stride, int Taps, int N, class T, class Found>
inline void visit_windows(const T *x, const tap_grid &g, int64_t stride, Found &found) {
    for (int64_t i = 0; i < g.count[0]; i++)
        for (int64_t j = 0; j < g.count[1]; j++)
            visit_row<Stride, Taps, N>(x + i * g.step[0] + j * g.step[1], g, stride,
                                       i * g.place[0] + j * g.place[1], found);
}

/* Where results go. Of window l: y[l], and place[l] = start + l * moves + its tap's. */
template <class T, class Place> struct max_target {
    T *y;
    Place *place;
    int64_t start, moves;
    template <int N> using found = largest_place<T, N>;
    template <int N> void put(int64_t l, const largest_place<T, N> &f) const {
        pack<T, N>::store(y + l, f.best);
        offset<T, N> where[N];
        pack<offset<T, N>, N>::store(where, f.where);
        for (int k = 0; k < N; k++)
            place[l + k] = (Place)(start + (l + k) * moves + where[k]);
    }
};
template <class T> struct max_value_target {
    T *y;
    template <int N> using found = largest<T, N>;
    template <int N> void put(int64_t l, const largest<T, N> &f) const {
        pack<T, N>::store(y + l, f.best);
    }
};
template <class T> struct mean_target {
    T *y;
    T count;
    template <int N> using found = sum<T, N>;
    template <int N> void put(int64_t l, const sum<T, N> &f) const {
        pack<T, N>::store(y + l, f.best / count);
    }
};

template <int Stride, int Taps, int N, class T, class Target>
inline void windows_run(const T *x, const tap_grid &g, int64_t stride, int64_t n,
                        const Target &target) {
    if constexpr (N > 1) {
        if (n < N) {
            constexpr int half = N * sizeof(T) > 16 ? N / 2 : 1;
            windows_run<Stride, Taps, half>(x, g, stride, n, target);
            return;
        }
    }
    for (int64_t l = 0; l < n; l += N) {
        int64_t from = l + N <= n ? l : n - N;
        typename Target::template found<N> found;
        visit_windows<Stride, Taps, N>(x + from * stride, g, stride, found);
        target.template put<N>(from, found);
    }
}

/* n windows `stride` elements apart. */
template <class T, class Target>
inline void windows_at(const T *x, const tap_grid &g, int64_t stride, int64_t n,
                       const Target &target) {
    constexpr int N = lanes<T>::count;
    bool dense = g.step[2] == 1 && g.place[2] == 1 && g.count[2] > 1;
    if (stride == 1)
        windows_run<1, 0, N>(x, g, stride, n, target);
    else if (stride == 2 && dense && g.count[2] == 2)
        windows_run<2, 2, N>(x, g, stride, n, target);
    else if (stride == 2 && dense)
        windows_run<2, 0, N>(x, g, stride, n, target);
    else
        windows_run<0, 0, N>(x, g, stride, n, target);
}

/* Whether a place in the window needs more than 32 bits. */
inline bool is_far(const tap_grid &g) {
    return g.count[0] * g.place[0] + g.count[1] * g.place[1] + g.count[2] * g.place[2] >
           INT32_MAX;
}

/* place is NULL where nobody asks. A window without taps: -inf at place -1. */
template <class T>
void max_windows(const T *x, const tap_grid &g, int64_t stride, int64_t n, T *y,
                 int64_t *place, int64_t start, int64_t moves) {
    if (g.count[0] * g.count[1] * g.count[2] == 0) {
        for (int64_t l = 0; l < n; l++)
            y[l] = (T)-__builtin_huge_val();
        for (int64_t l = 0; place && l < n; l++)
            place[l] = -1;
        return;
    }
    if (!place)
        windows_at(x, g, stride, n, max_value_target<T>{y});
    else if (is_far(g))
        windows_run<0, 0, 1>(x, g, stride, n,
                             max_target<T, int64_t>{y, place, start, moves});
    else
        windows_at(x, g, stride, n, max_target<T, int64_t>{y, place, start, moves});
}

template <class T>
void mean_windows(const T *x, const tap_grid &g, int64_t stride, int64_t n, T *y,
                  int64_t count) {
    if (count == 0)
        for (int64_t l = 0; l < n; l++)
            y[l] = 0;
    else
        windows_at(x, g, stride, n, mean_target<T>{y, (T)count});
}

/* x[taps * l + t] = y[l] / count: the mean's gradient where windows tile a row. */
template <class T>
void share_row(const T *y, int64_t n, int64_t taps, int64_t count, T *x) {
    if (taps == 2) {
        for (int64_t l = 0; l < n; l++)
            x[2 * l] = x[2 * l + 1] = y[l] / (T)count;
        return;
    }
    for (int64_t l = 0; l < n; l++)
        for (int64_t t = 0; t < taps; t++)
            x[taps * l + t] = y[l] / (T)count;
}

} /* namespace tl */

#endif /* TENSORLIB_WINDOWS_H */

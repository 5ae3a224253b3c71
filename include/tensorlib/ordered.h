/* Searching in sorted elements, and counting in bins. */
#ifndef TENSORLIB_ORDERED_H
#define TENSORLIB_ORDERED_H

#include "tensorlib/sort.h"

namespace tl {

constexpr int64_t TOGETHER = 6; /* searches that wait for memory together */

/* Keys of sorted elements, to be searched more often than there are elements. */
template <class O> void encode(const void *sorted, int64_t n, void *keys) {
    typedef typename O::bits U;
    for (int64_t i = 0; i < n; i++)
        ((U *)keys)[i] = O::key(((const U *)sorted)[i], 0);
}

/* to[i] = how many of n sorted keys are less than that of v[i]; or not greater, if
 * Right. Without branches: each step leaves half of what is left. */
template <class O, bool Right, class Keys>
void search_keys(const Keys &key, int64_t n, const typename O::bits *v, int64_t count,
                 int64_t *to) {
    typedef typename O::bits U;
    for (int64_t i = 0; i < count; i += TOGETHER) {
        int64_t some = std::min(TOGETHER, count - i), at[TOGETHER] = {};
        U wanted[TOGETHER] = {};
        for (int64_t j = 0; j < some; j++)
            wanted[j] = O::key(v[i + j], 0);
        const auto passes = [&](int64_t where, int64_t j) {
            return Right ? key(where) <= wanted[j] : key(where) < wanted[j];
        };
        int64_t left = n;
        for (; left > 1; left -= left / 2) {
            const int64_t half = left / 2;
#ifndef __CUDACC__
#pragma GCC unroll 6
#endif
            for (int64_t j = 0; j < TOGETHER; j++)
                at[j] += passes(at[j] + half - 1, j) ? half : 0;
        }
        for (int64_t j = 0; j < some; j++)
            to[i + j] = at[j] + (left && passes(at[j], j));
    }
}

/* Search n sorted elements, or their keys where there are any, for v[0 .. count - 1].
 */
template <class O>
void search(const void *sorted, const void *keys, int64_t n, const void *values,
            int64_t count, int32_t right, int64_t *to) {
    typedef typename O::bits U;
    const U *a = (const U *)sorted, *k = (const U *)keys, *v = (const U *)values;
    const auto known = [k](int64_t i) { return k[i]; };
    const auto found = [a](int64_t i) { return O::key(a[i], 0); };
    if (keys && right)
        search_keys<O, true>(known, n, v, count, to);
    else if (keys)
        search_keys<O, false>(known, n, v, count, to);
    else if (right)
        search_keys<O, true>(found, n, v, count, to);
    else
        search_keys<O, false>(found, n, v, count, to);
}

/* Where runs of equal elements begin, x being in order, or brought into it by `order`.
 * starts has room for n + 1; returned is how many there are. inverse, unless NULL: the
 * run of each element in its place. */
template <class O>
int64_t find_runs(const void *elements, const int64_t *order, int64_t n,
                  int32_t equal_nan, int64_t *starts, int64_t *inverse) {
    typedef typename O::bits U;
    const U *x = (const U *)elements;
    const U nan = O::HAS_ODD && !equal_nan ? O::key((U) ~(U)0, 0) : (U)0;
    int64_t runs = 0;
    U before = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = order ? order[i] : i;
        const U k = O::key(x[at], 0);
        starts[runs] = i;
        runs += i == 0 || k != before || (nan && k == nan);
        before = k;
        if (inverse) inverse[at] = runs - 1;
    }
    return runs;
}

/* Add the elements of x, which are in [0, bins), to counts. Neighbours have counters of
 * their own while these fit the first cache: equal ones would wait for each other. */
inline void count_bins(const int64_t *x, int64_t n, int64_t bins, int64_t *counts) {
    constexpr int64_t MOST = 512;
    int64_t i = 0, more[3][MOST];
    if (bins <= MOST && n >= 4 * bins) {
        for (auto &table : more)
            memset(table, 0, sizeof(int64_t) * (size_t)bins);
        for (; i + 4 <= n; i += 4) {
            counts[x[i]]++;
            more[0][x[i + 1]]++;
            more[1][x[i + 2]]++;
            more[2][x[i + 3]]++;
        }
        for (int64_t j = 0; j < bins; j++)
            counts[j] += more[0][j] + more[1][j] + more[2][j];
    }
    for (; i < n; i++)
        counts[x[i]]++;
}

/* Add a weight for each element, in their order; T is float or double. */
template <class T>
void add_weights(const int64_t *x, const T *weights, int64_t n, double *sums) {
    for (int64_t i = 0; i < n; i++)
        sums[x[i]] += (double)weights[i];
}

/* Bins between edges that are about equally far apart: a quotient names a bin, the
 * edges decide. */
template <class T> struct uniform_bins {
    const T *edges;
    int64_t bins;
    T first, last;
    double start, scale;
    TL_HD uniform_bins(const T *e, int64_t n)
        : edges(e), bins(n), first(e[0]), last(e[n]) {
        /* Halves, whose difference cannot overflow. */
        start = 0.5 * (double)first;
        const double extent = 0.5 * (double)last - start;
        scale = extent > 0 ? (double)bins / extent : 0;
    }
    /* Negative for what is outside, or NaN. */
    TL_HD int64_t bin(T v) const {
        if (!(v >= first && v <= last)) return -1;
        int64_t found = (int64_t)((0.5 * (double)v - start) * scale);
        found = found < bins - 1 ? found : bins - 1;
        while (v < edges[found])
            found--;
        while (found + 1 < bins && v >= edges[found + 1])
            found++;
        return found;
    }
};

/* Add the elements of x to the bins between edges; what is outside is left out. */
template <class T>
void count_uniform(const T *x, int64_t n, const T *edges, int64_t bins,
                   int64_t *counts) {
    const uniform_bins<T> find(edges, bins);
    for (int64_t i = 0; i < n; i++) {
        const int64_t bin = find.bin(x[i]);
        if (bin >= 0) counts[bin]++;
    }
}

} /* namespace tl */

#endif /* TENSORLIB_ORDERED_H */

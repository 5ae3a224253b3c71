/* Searching in sorted elements, and counting in bins. */
#ifndef TENSORLIB_ORDERED_H
#define TENSORLIB_ORDERED_H

#include "tensorlib/sort.h"

namespace tl {

constexpr int64_t TOGETHER = 8; /* searches that wait for memory together */

/* to[i] = how many of the n sorted elements are less than v[i]; or not greater, if
 * `right`. Without branches: each step takes half of what is left. */
template <class O>
void search(const void *sorted, int64_t n, const void *values, int64_t count,
            int32_t right, int64_t *to) {
    typedef typename O::bits U;
    const U *a = (const U *)sorted, *v = (const U *)values;
    const auto goes_before = [right](U k, U wanted) {
        return right ? k <= wanted : k < wanted;
    };
    for (int64_t i = 0; i < count; i += TOGETHER) {
        int64_t some = std::min(TOGETHER, count - i), at[TOGETHER] = {};
        U wanted[TOGETHER] = {};
        for (int64_t j = 0; j < some; j++)
            wanted[j] = O::key(v[i + j], 0);
        int64_t left = n;
        for (; left > 1; left -= left / 2)
            for (int64_t j = 0; j < TOGETHER; j++) {
                U k = O::key(a[at[j] + left / 2 - 1], 0);
                at[j] += goes_before(k, wanted[j]) ? left / 2 : 0;
            }
        for (int64_t j = 0; j < some; j++)
            to[i + j] =
                at[j] + (left ? goes_before(O::key(a[at[j]], 0), wanted[j]) : 0);
    }
}

/* Add the elements of x, which are in [0, bins), to counts. */
inline void count_bins(const int64_t *x, int64_t n, int64_t *counts) {
    for (int64_t i = 0; i < n; i++)
        counts[x[i]]++;
}

/* Add the elements of x to the bins between edges that are about equally far apart: a
 * quotient names a bin, the edges decide. What is outside, or NaN, is left out. */
template <class T>
void count_uniform(const T *x, int64_t n, const T *edges, int64_t bins,
                   int64_t *counts) {
    const T first = edges[0], last = edges[bins];
    /* Halves, whose difference cannot overflow. */
    const double start = 0.5 * (double)first, extent = 0.5 * (double)last - start;
    const double scale = extent > 0 ? (double)bins / extent : 0;
    for (int64_t i = 0; i < n; i++) {
        T v = x[i];
        if (!(v >= first && v <= last)) continue;
        int64_t bin = (int64_t)((0.5 * (double)v - start) * scale);
        bin = std::min(bin, bins - 1);
        while (v < edges[bin])
            bin--;
        while (bin + 1 < bins && v >= edges[bin + 1])
            bin++;
        counts[bin]++;
    }
}

} /* namespace tl */

#endif /* TENSORLIB_ORDERED_H */

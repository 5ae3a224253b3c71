/* Sums of a contiguous run of complex numbers, with explicit lanes: see lanes.h. */
#ifndef TENSORLIB_COMPLEX_LANES_H
#define TENSORLIB_COMPLEX_LANES_H

#include "tensorlib/lanes.h"

namespace tl {

/* The sums of the parts of n numbers. Lanes are even in number, so each keeps to one
 * part; they, and what fills no vector, are added in double. */
template <class T>
inline void lane_sum_parts(const T *x, int64_t n, double *real, double *imag) {
    typedef lanes<T> L;
    typename L::vector a{}, b{}, c{}, d{};
    double sums[2] = {0, 0};
    int64_t i = 0;
    n *= 2;
    for (; i + 4 * L::count <= n; i += 4 * L::count) {
        a += L::load(x + i);
        b += L::load(x + i + L::count);
        c += L::load(x + i + 2 * L::count);
        d += L::load(x + i + 3 * L::count);
    }
    for (; i + L::count <= n; i += L::count)
        a += L::load(x + i);
    a = (a + b) + (c + d);
    for (int l = 0; l < L::count; l++)
        sums[l % 2] += (double)a[l];
    for (; i < n; i++)
        sums[i % 2] += (double)x[i];
    *real = sums[0];
    *imag = sums[1];
}

} // namespace tl

#endif

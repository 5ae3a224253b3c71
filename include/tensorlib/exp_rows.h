/* The passes of softmax over a row: a whole number of vectors, whatever its length.
 *
 * The elements of a row that fill no vector would be computed one by one; instead the
 * last vector overlaps the one before. It is computed before the others are stored, so
 * that y may be x.
 */
#ifndef TENSORLIB_EXP_ROWS_H
#define TENSORLIB_EXP_ROWS_H

#include "tensorlib/lanes.h"
#include "tensorlib/scalar_math.h"

namespace tl {

/* y = f(x) for n elements; y is x, or other memory. Not inlined: with a constant n the
 * compiler would take the loop apart instead of vectorizing it. */
template <class T, class F>
__attribute__((noinline)) void map_vectors(const T *x, T *y, int64_t n, F f) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++)
        y[i] = f(x[i]);
}
template <class T, class F> inline void map_row(const T *x, T *y, int64_t n, F f) {
    constexpr int64_t L = lanes<T>::count;
    const int64_t rest = n < L ? 0 : n % L;
    T last[L];
    if (rest) map_vectors(x + n - L, last, L, f);
    map_vectors(x, y, n - rest, f);
    if (rest) memcpy(y + n - L, last, sizeof last);
}

template <class T> inline void exp_row(const T *x, T shift, T *y, int64_t n) {
    map_row(x, y, n, [=](T a) { return exp_nonpositive(a - shift); });
}
template <class T> inline void scale_row(T *y, T factor, int64_t n) {
    map_row((const T *)y, y, n, [=](T a) { return a * factor; });
}
template <class T>
inline void shift_row(const T *x, T first, T second, T *y, int64_t n) {
    map_row(x, y, n, [=](T a) { return (a - first) - second; });
}

/* The sum of exp(x - maximum), nothing stored. */
template <class T> inline double sum_exp(const T *x, int64_t n, T maximum) {
    constexpr int64_t BLOCK = 512;
    T work[BLOCK];
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const int64_t m = n - begin < BLOCK ? n - begin : BLOCK;
        exp_row(x + begin, maximum, work, m);
        total += lane_sum((const T *)work, m);
    }
    return total;
}

} /* namespace tl */

#endif /* TENSORLIB_EXP_ROWS_H */

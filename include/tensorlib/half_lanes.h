/* 16-bit floats as lanes of floats: their reductions have the bits of the floats'. */
#ifndef TENSORLIB_HALF_LANES_H
#define TENSORLIB_HALF_LANES_H

#include "tensorlib/half_rows.h"
#include "tensorlib/lanes.h"

namespace tl {

template <class H> struct half_lanes : lanes<float> {
    static float one(H x) { return widened(x); }
    static vector load(const H *x) {
        vector v;
#if defined(__AVX512F__)
        float group[GROUP];
        widen_group(group, x);
        memcpy(&v, group, sizeof v);
#elif defined(__F16C__) && defined(__AVX2__)
        v = (vector)widened_eight(x);
#else
        float row[count];
        for (int l = 0; l < count; l++)
            row[l] = widened(x[l]);
        memcpy(&v, row, sizeof v);
#endif
        return v;
    }
};
template <> struct lanes_of<tl_float16> : half_lanes<tl_float16> {};
template <> struct lanes_of<tl_bfloat16> : half_lanes<tl_bfloat16> {};

template <class H> inline double half_sum(const H *x, int64_t n) {
    return fold<add_step>(x, n, 0.0f, 0.0f, same());
}
/* n >= 1 */
template <class H> inline float half_max(const H *x, int64_t n) {
    return extreme<max_step>(x, n);
}
template <class H> inline float half_min(const H *x, int64_t n) {
    return extreme<min_step>(x, n);
}

} // namespace tl

#endif /* TENSORLIB_HALF_LANES_H */

/* sin, cos and tan that vectorize; see scalar_math.h.
 *
 * float64 tan comes from the C library, which is exact to 1 ulp and not vectorized.
 */
#ifndef TENSORLIB_SCALAR_TRIG_H
#define TENSORLIB_SCALAR_TRIG_H

#include "tensorlib/scalar_math.h"

namespace tl {

TL_HD inline double tan(double x) { return ::tan(x); }

#ifdef TL_DEVICE_MATH

TL_HD inline bool trig_is_huge(float) { return false; }
TL_HD inline bool trig_is_huge(double) { return false; }
TL_HD inline double sin_moderate(double x) { return ::sin(x); }
TL_HD inline double cos_moderate(double x) { return ::cos(x); }
TL_HD inline float sin_moderate(float x) { return ::sinf(x); }
TL_HD inline float cos_moderate(float x) { return ::cosf(x); }
TL_HD inline float tan_moderate(float x) { return ::tanf(x); }

#else

/* Beyond this the reduction below loses bits; loops redo such elements with libm. */
#ifdef TL_FUSED
TL_HD inline bool trig_is_huge(float x) { return absolute(x) > 1.0e5f; }
#else
TL_HD inline bool trig_is_huge(float x) { return absolute(x) > 1.0e6f; }
#endif

#ifdef TL_FUSED
/* x = q pi/2 + r, pi/2 in three floats, all positive so that -0 stays. The first
 * difference is exact: both terms are multiples of 2^-24 (or q is 0), and it is below 1. */
TL_HD inline float reduce_quarter(float x, uint32_t &q) {
    float shifted = fused(x, 6.36619772e-01f, 12582912.0f), k = shifted - 12582912.0f;
    q = to_bits(shifted);
    float r = fused(-k, 7.5497894e-08f, fused(-k, 1.57079625f, x));
    return fused(-k, 5.390303e-15f, r);
}
#else
/* The same in double: pi/2 as a 33-bit head, whose products with q < 2^20 are exact, and
 * a tail. fdlibm's e_rem_pio2.c. */
TL_HD inline float reduce_quarter(float x, uint32_t &q) {
    double d = x;
    double shifted = d * 6.36619772367581382433e-01 + 6755399441055744.0;
    double k = shifted - 6755399441055744.0;
    q = static_cast<uint32_t>(static_cast<int32_t>(k)); /* vectorizes; the bits do not */
    return static_cast<float>((d - k * 1.57079632673412561417e+00) -
                              k * 6.07710050650619224932e-11);
}
#endif
/* |r| <= pi/4: 2^-37 and 2^-33. */
TL_HD inline float sin_reduced(float r) {
    float z = r * r;
    float p = 2.717746156e-06f;
    p = p * z - 1.983927359e-04f;
    p = p * z + 8.333329111e-03f;
    p = p * z - 1.666666716e-01f;
    return with_sign(p * (z * r) + r, r); /* keeps -0 */
}
TL_HD inline float cos_reduced(float r) {
    float z = r * r;
    float p = 2.442943696e-05f;
    p = p * z - 1.388728386e-03f;
    p = p * z + 4.166664556e-02f;
    return fused(p, z * z, -0.5f * z) + 1.0f;
}
/* 2^-28. */
TL_HD inline float tan_reduced(float r) {
    float z = r * r;
    float p = 4.503427694e-03f;
    p = p * z - 1.305936639e-04f;
    p = p * z + 1.096973398e-02f;
    p = p * z + 2.125132922e-02f;
    p = p * z + 5.406031439e-02f;
    p = p * z + 1.333272975e-01f;
    p = p * z + 3.333334448e-01f;
    return p * (z * r) + r;
}
/* sin(r + q pi/2) from both series. */
TL_HD inline float pick_quarter(float s, float c, uint32_t q) {
    return from_bits(to_bits(blend(q & 1u, c, s)) ^ ((q & 2u) << 30));
}

/* The same in three parts for float64, fdlibm's second iteration; 2^-68 and 2^-75. */
TL_HD inline bool trig_is_huge(double x) { return absolute(x) > 1.0e6; }
TL_HD inline double reduce_quarter(double x, uint64_t &q) {
    double shifted = x * 6.36619772367581382433e-01 + 6755399441055744.0;
    double k = shifted - 6755399441055744.0;
    q = to_bits(shifted);
    double r = fused(-k, 1.57079632673412561417e+00, x);
    double y = fused(-k, 6.07710050630396597660e-11, r);
    double lost = fused(-k, 6.07710050630396597660e-11, r - y);
    return y - fused(k, 2.02226624879595063154e-21, -lost);
}
TL_HD inline double sin_reduced(double r) {
    double z = r * r;
    double p = -7.57785457778157059e-13;
    p = p * z + 1.60583494701500332e-10;
    p = p * z - 2.50521047754738850e-08;
    p = p * z + 2.75573192136608573e-06;
    p = p * z - 1.98412698412540282e-04;
    p = p * z + 8.33333333333332107e-03;
    p = p * z - 1.66666666666666657e-01;
    return with_sign(p * (z * r) + r, r);
}
TL_HD inline double cos_reduced(double r) {
    double z = r * r, half = 0.5 * z, w = 1.0 - half;
    double p = 4.73733094432899491e-14;
    p = p * z - 1.14702755053612476e-11;
    p = p * z + 2.08767542044425331e-09;
    p = p * z - 2.75573192146308488e-07;
    p = p * z + 2.48015873015696867e-05;
    p = p * z - 1.38888888888888721e-03;
    p = p * z + 4.16666666666666644e-02;
    return w + (((1.0 - w) - half) + p * (z * z));
}
TL_HD inline double pick_quarter(double s, double c, uint64_t q) {
    return from_bits(to_bits(blend(q & 1u, c, s)) ^
                     ((q & 2u) << 62));
}
TL_HD inline double sin_moderate(double x) {
    uint64_t q;
    double r = reduce_quarter(x, q);
    return pick_quarter(sin_reduced(r), cos_reduced(r), q);
}
TL_HD inline double cos_moderate(double x) {
    uint64_t q;
    double r = reduce_quarter(x, q);
    return pick_quarter(sin_reduced(r), cos_reduced(r), q + 1u);
}

/* |x| <= 10^5 (10^6 where nothing is fused): 1.52 ulp (sin, cos), 3.1 ulp (tan), of
 * every float. */
TL_HD inline float sin_moderate(float x) {
    uint32_t q;
    float r = reduce_quarter(x, q);
    return pick_quarter(sin_reduced(r), cos_reduced(r), q);
}
TL_HD inline float cos_moderate(float x) {
    uint32_t q;
    float r = reduce_quarter(x, q);
    return pick_quarter(sin_reduced(r), cos_reduced(r), q + 1u);
}
TL_HD inline float tan_moderate(float x) {
    uint32_t q;
    float t = tan_reduced(reduce_quarter(x, q));
    return blend(q & 1u, -1.0f / t, t);
}

#endif /* TL_DEVICE_MATH */

/* Any x. Huge arguments take the branch to libm, so loops call sin_moderate on
 * blocks without any. */
TL_HD inline float sin(float x) { return trig_is_huge(x) ? ::sinf(x) : sin_moderate(x); }
TL_HD inline float cos(float x) { return trig_is_huge(x) ? ::cosf(x) : cos_moderate(x); }
TL_HD inline double sin(double x) { return trig_is_huge(x) ? ::sin(x) : sin_moderate(x); }
TL_HD inline double cos(double x) { return trig_is_huge(x) ? ::cos(x) : cos_moderate(x); }
TL_HD inline float tan(float x) { return trig_is_huge(x) ? ::tanf(x) : tan_moderate(x); }
TL_HD inline double tan_moderate(double x) { return ::tan(x); }

} // namespace tl

#endif /* TENSORLIB_SCALAR_TRIG_H */

/* sin, cos, tan, tanh, sigmoid, erf and pow that vectorize; see scalar_math.h.
 *
 * float32 alone has polynomials for tan, erf and pow: float64 takes them from the C
 * library, which is exact to 1 ulp and not vectorized.
 */
#ifndef TENSORLIB_SCALAR_TRIG_H
#define TENSORLIB_SCALAR_TRIG_H

#include "tensorlib/scalar_math.h"

namespace tl {

TL_HD inline double tan(double x) { return ::tan(x); }
TL_HD inline double erf(double x) { return ::erf(x); }
TL_HD inline double pow(double x, double y) { return ::pow(x, y); }

#ifdef __CUDACC__

TL_HD inline bool trig_is_huge(float) { return false; }
TL_HD inline bool trig_is_huge(double) { return false; }
TL_HD inline double sin_moderate(double x) { return ::sin(x); }
TL_HD inline double cos_moderate(double x) { return ::cos(x); }
TL_HD inline float sin_moderate(float x) { return ::sinf(x); }
TL_HD inline float cos_moderate(float x) { return ::cosf(x); }
TL_HD inline float tan_moderate(float x) { return ::tanf(x); }
TL_HD inline float tanh(float x) { return ::tanhf(x); }
TL_HD inline double tanh(double x) { return ::tanh(x); }
TL_HD inline float erf(float x) { return ::erff(x); }
TL_HD inline float pow(float x, float y) { return ::powf(x, y); }
TL_HD inline float normal_cdf(float x) { return ::normcdff(x); }

#else

/* Beyond this the reduction below loses bits; loops redo such elements with libm. */
TL_HD inline bool trig_is_huge(float x) { return absolute(x) > 1.0e6f; }

/* x = q pi/2 + r, in double: pi/2 as a 33-bit head, whose products with q < 2^20
 * are exact, and a tail. fdlibm's e_rem_pio2.c. */
TL_HD inline float reduce_quarter(float x, uint32_t &q) {
    double d = x;
    double shifted = d * 6.36619772367581382433e-01 + 6755399441055744.0;
    double k = shifted - 6755399441055744.0;
    q = static_cast<uint32_t>(static_cast<int32_t>(k)); /* vectorizes; the bits do not */
    return static_cast<float>((d - k * 1.57079632673412561417e+00) -
                              k * 6.07710050650619224932e-11);
}
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
    return (p * (z * z) - 0.5f * z) + 1.0f;
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
    double r = x - k * 1.57079632673412561417e+00;
    double tail = k * 6.07710050630396597660e-11;
    double y = r - tail;
    return y - (k * 2.02226624879595063154e-21 - ((r - y) - tail));
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

/* |x| <= 10^6: 1.5 ulp (sin, cos), 3.3 ulp (tan). */
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
    float r = reduce_quarter(x, q);
    float s = sin_reduced(r), c = cos_reduced(r);
    bool odd = q & 1u;
    return blend(odd, -c, s) / blend(odd, s, c);
}

/* Odd polynomial below 0.625, 1 - 2 / (e^2a + 1) above.
 * float32: 1.31 ulp, float64: 2 ulp. */
template <class T> TL_HD inline T tanh_blend(T x, T a, T small, T far) {
    T e = exp_moderate(T(2) * at_most(a, far));
    T large = T(1) - T(2) / (e + T(1));
    return with_sign(blend(a < T(0.625), small, large), x);
}
TL_HD inline float tanh(float x) {
    float a = absolute(x), z = a * a;
    float p = -5.704984535e-03f;
    p = p * z + 2.063908428e-02f;
    p = p * z - 5.373971537e-02f;
    p = p * z + 1.333144158e-01f;
    p = p * z - 3.333328068e-01f;
    return tanh_blend(x, a, p * (z * a) + a, 10.0f);
}
/* The rational part is Cephes' tanh.c. */
TL_HD inline double tanh(double x) {
    double a = absolute(x), z = a * a;
    double p = -9.64399179425052238628e-1;
    p = p * z - 9.92877231001918586564e1;
    p = p * z - 1.61468768441708447952e3;
    double q = z + 1.12811678491632931402e2;
    q = q * z + 2.23548839060100448583e3;
    q = q * z + 4.84406305325125486048e3;
    return tanh_blend(x, a, (p / q) * (z * a) + a, 20.0);
}

/* erf after N. Juffa: an odd polynomial below 0.9277, 1 - e^-P(|x|) above.
 * float32: 1.1 ulp. */
TL_HD inline float erf(float x) {
    float a = at_most(absolute(x), 4.0f), z = a * a;
    float p = -1.72853470e-5f * a + 3.83197126e-4f;
    p = p * z + (-3.88396438e-3f * a + 2.42546219e-2f);
    p = p * a - 1.06777877e-1f;
    p = p * a - 6.34846687e-1f;
    p = p * a - 1.28717512e-1f;
    p = p * a - a;
    float q = -5.96761703e-4f;
    q = q * z + 4.99119423e-3f;
    q = q * z - 2.67681349e-2f;
    q = q * z + 1.12819925e-1f;
    q = q * z - 3.76125336e-1f;
    q = q * z + 1.28379166e-1f;
    return with_sign(blend(a > 0.927734375f, 1.0f - exp_moderate(p), q * a + a), x);
}

/* Phi(x) = (1 + erf(x / sqrt 2)) / 2 by Eigen's rational erf: the absolute error is
 * 1e-7, half the time of erf() above. Beyond |x| = 5.66 it is 0 or 1. */
TL_HD inline float normal_cdf(float x) {
    float t = at_least(at_most(x * 0.707106781186547524f, 4.0f), -4.0f), z = t * t;
    float p = -2.72614225801306e-10f;
    p = p * z + 2.77068142495902e-08f;
    p = p * z - 2.10102402082508e-06f;
    p = p * z - 5.69250639462346e-05f;
    p = p * z - 7.34990630326855e-04f;
    p = p * z - 2.95459980854025e-03f;
    p = p * z - 1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * z - 2.13374055278905e-04f;
    q = q * z - 1.68282697438203e-03f;
    q = q * z - 7.37332916720468e-03f;
    q = q * z - 1.42647390514189e-02f;
    float y = 0.5f * (t * p / q) + 0.5f;
    return at_least(at_most(y, 1.0f), 0.0f);
}

/* log2|x| to 2^-45 relative, x a positive normal double. */
TL_HD inline double log2_normal(double x) {
    double e, f = split_log(x, e), s = f / (2.0 + f), z = s * s;
    double p = 2.83122885258108858e-01;
    p = p * z + 3.19890758331080105e-01;
    p = p * z + 4.12209600186142000e-01;
    p = p * z + 5.77077939081869107e-01;
    p = p * z + 9.61796694124244733e-01;
    p = p * z + 2.88539008177784329e+00;
    return p * s + e;
}
/* 2^y to 2^-34 relative, |y| < 1000. */
TL_HD inline double exp2_moderate(double y) {
    uint64_t n;
    double r = y - nearest(y, n);
    double p = 1.52009018201862175e-05;
    p = p * r + 1.54706067741286246e-04;
    p = p * r + 1.33339373375752066e-03;
    p = p * r + 9.61802314580108113e-03;
    p = p * r + 5.55041032195422238e-02;
    p = p * r + 2.40226512287719018e-01;
    p = p * r + 6.93147180742357594e-01;
    p = p * r + 9.99999999958545716e-01;
    return p * two_to(n);
}
/* x^y as 2^(y log2 |x|) in double, then C99's special cases. float32: 0.51 ulp. */
TL_HD inline float pow(float x, float y) {
    const float inf = limits<float>::inf;
    float a = absolute(x);
    double l = log2_normal(a);
    double t = static_cast<double>(y) * l;
    float r = static_cast<float>(exp2_moderate(at_least(at_most(t, 400.0), -400.0)));
    bool whole = __builtin_floorf(y) == y;
    bool odd = whole & (__builtin_floorf(y * 0.5f) * 2.0f != y);
    r = blend((a == 0.0f) | (a == inf), blend((a == 0.0f) == (y > 0.0f), 0.0f, inf), r);
    r = blend((x < 0.0f) & (a < inf) & !whole, inf - inf, r);
    r = from_bits(to_bits(r) ^ (to_bits(x) & (0u - static_cast<uint32_t>(odd)) &
                                0x80000000u));
    r = blend((x != x) | (y != y), x + y, r);
    bool one = (x == 1.0f) | (y == 0.0f) | ((x == -1.0f) & (absolute(y) == inf));
    return blend(one, 1.0f, r);
}

#endif /* __CUDACC__ */

TL_HD inline double normal_cdf(double x) {
    return 0.5 * ::erfc(-0.70710678118654752440 * x);
}

/* Any x. Huge arguments take the branch to libm, so loops call sin_moderate on
 * blocks without any. */
TL_HD inline float sin(float x) { return trig_is_huge(x) ? ::sinf(x) : sin_moderate(x); }
TL_HD inline float cos(float x) { return trig_is_huge(x) ? ::cosf(x) : cos_moderate(x); }
TL_HD inline double sin(double x) { return trig_is_huge(x) ? ::sin(x) : sin_moderate(x); }
TL_HD inline double cos(double x) { return trig_is_huge(x) ? ::cos(x) : cos_moderate(x); }
TL_HD inline float tan(float x) { return trig_is_huge(x) ? ::tanf(x) : tan_moderate(x); }
TL_HD inline double tan_moderate(double x) { return ::tan(x); }

/* 1 / (1 + e^-x), from e^-|x| so that both tails are exact; 2.31 ulp. */
template <class T> TL_HD inline T sigmoid(T x) {
    T z = exp(-absolute(x));
    return blend(x < T(0), z, T(1)) / (T(1) + z);
}
/* e^(-x^2 / 2) / sqrt(2 pi). */
template <class T> TL_HD inline T normal_pdf(T x) {
    return exp(T(-0.5) * x * x) * T(0.398942280401432677939946);
}

} // namespace tl

#endif /* TENSORLIB_SCALAR_TRIG_H */

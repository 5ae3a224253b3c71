/* tanh, erf and pow; see scalar_math.h.
 *
 * float64 erf and pow come from the C library, exact to 1 ulp and not vectorized.
 */
#ifndef TENSORLIB_SCALAR_SPECIAL_H
#define TENSORLIB_SCALAR_SPECIAL_H

#include "tensorlib/scalar_math.h"

namespace tl {

TL_HD inline double erf(double x) { return ::erf(x); }
TL_HD inline double pow(double x, double y) { return ::pow(x, y); }

#ifdef __CUDACC__

TL_HD inline float tanh(float x) { return ::tanhf(x); }
TL_HD inline double tanh(double x) { return ::tanh(x); }
TL_HD inline float erf(float x) { return ::erff(x); }
TL_HD inline float pow(float x, float y) { return ::powf(x, y); }

#else

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

} // namespace tl

#endif /* TENSORLIB_SCALAR_SPECIAL_H */

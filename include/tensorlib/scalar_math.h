/* Exponentials and logarithms that vectorize: branch-free polynomials on the CPU,
 * CUDA's own functions under nvcc. The ulp figures are maxima over every 61st float32
 * bit pattern (float64: 3 * 10^6 random arguments) against a correctly rounded reference.
 *
 * Polynomials are Remez fits (relative error), highest degree first in Horner form.
 */
#ifndef TENSORLIB_SCALAR_MATH_H
#define TENSORLIB_SCALAR_MATH_H

#include "tensorlib/scalar_bits.h"

namespace tl {

/* x = n ln 2 + r with |r| <= ln(2)/2; ln 2 in two parts, the first with trailing
 * zeros so that n * high is exact without a fused multiply-add. */
TL_HD inline float reduce_exp(float x, uint32_t &n) {
    float k = nearest(x * 1.44269504088896341f, n);
    return x - k * 0.693359375f - k * -2.12194440e-4f;
}
TL_HD inline double reduce_exp(double x, uint64_t &n) {
    double k = nearest(x * 1.44269504088896340736, n);
    return x - k * 6.93147180369123816490e-1 - k * 1.90821492927058770002e-10;
}

/* e^r - 1, of which e^r is made, on the reduced range: 2^-28 and 2^-54 of e^r. */
template <class V> TL_HD inline V exp_excess_of(V r) { /* of a float, or a vector */
    V q = r * 1.381314825e-03f + 8.369418792e-03f;
    q = q * r + 4.166845605e-02f;
    q = q * r + 1.666651517e-01f;
    q = q * r + 4.999999404e-01f;
    return q * (r * r) + r;
}
TL_HD inline float exp_excess(float r) { return exp_excess_of(r); }
TL_HD inline double exp_excess(double r) {
    double q = 2.54338794239377261e-08;
    q = q * r + 2.76259172821322613e-07;
    q = q * r + 2.75562364264520948e-06;
    q = q * r + 2.48015070779938168e-05;
    q = q * r + 1.98412709551200426e-04;
    q = q * r + 1.38888889286937025e-03;
    q = q * r + 8.33333333288117234e-03;
    q = q * r + 4.16666666665888585e-02;
    q = q * r + 1.66666666666672403e-01;
    q = q * r + 5.00000000000000444e-01;
    return q * (r * r) + r;
}
/* e^r on the reduced range; on a GPU 2^-22, by its own instruction. */
TL_HD inline float exp_reduced(float r) {
#ifdef __CUDA_ARCH__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(r * 1.44269504088896341f));
    return y;
#else
    return exp_excess(r) + 1.0f;
#endif
}
TL_HD inline double exp_reduced(double r) { return exp_excess(r) + 1.0; }

#ifdef TL_DEVICE_MATH

TL_HD inline float exp(float x) { return ::expf(x); }
TL_HD inline double exp(double x) { return ::exp(x); }
TL_HD inline float exp_moderate(float x) { return ::expf(x); }
TL_HD inline double exp_moderate(double x) { return ::exp(x); }
TL_HD inline float exp_nonpositive(float x) { return ::expf(x); }
TL_HD inline double exp_nonpositive(double x) { return ::exp(x); }
template <class T> TL_HD inline bool exp_is_hard(T) { return false; }
template <class T> TL_HD inline bool log_is_hard(T) { return false; }
TL_HD inline float log_moderate(float x) { return ::logf(x); }
TL_HD inline double log_moderate(double x) { return ::log(x); }
TL_HD inline float expm1(float x) { return ::expm1f(x); }
TL_HD inline double expm1(double x) { return ::expm1(x); }
TL_HD inline float log(float x) { return ::logf(x); }
TL_HD inline double log(double x) { return ::log(x); }
TL_HD inline float log1p(float x) { return ::log1pf(x); }
TL_HD inline double log1p(double x) { return ::log1p(x); }

#else

/* Where the result is no normal number, or near it. */
TL_HD inline bool exp_is_hard(float x) { return !(absolute(x) < 87.0f); }
TL_HD inline bool exp_is_hard(double x) { return !(absolute(x) < 708.0); }

/* e^x for others, to the same bits as exp; NaN stays NaN. */
TL_HD inline float exp_moderate(float x) {
    uint32_t n;
    float r = reduce_exp(x, n);
    return exp_reduced(r) * two_to(n);
}
TL_HD inline double exp_moderate(double x) {
    uint64_t n;
    double r = reduce_exp(x, n);
    return exp_reduced(r) * two_to(n);
}

/* e^x for x <= 0 (or little above it), as in softmax; where the result would be
 * subnormal, next to nothing beside the total, it is 0. One clamp and one scaling less. */
TL_HD inline float exp_nonpositive(float x) {
    return blend(x < -87.0f, 0.0f, exp_moderate(at_least(x, -87.0f)));
}
TL_HD inline double exp_nonpositive(double x) {
    return blend(x < -708.0, 0.0, exp_moderate(at_least(x, -708.0)));
}

/* e^x. float32: 1.0 ulp, float64: 1.2 ulp. */
TL_HD inline float exp(float x) {
    uint32_t n;
    float r = reduce_exp(at_least(at_most(x, 89.0f), -105.0f), n);
    return scale(exp_reduced(r), n);
}
TL_HD inline double exp(double x) {
    uint64_t n;
    double r = reduce_exp(at_least(at_most(x, 710.0), -746.0), n);
    return scale(exp_reduced(r), n);
}

/* e^r - 1 on the reduced range. */
TL_HD inline float expm1_reduced(float r) {
    float q = 1.996455685e-04f;
    q = q * r + 1.394431340e-03f;
    q = q * r + 8.333215490e-03f;
    q = q * r + 4.166631401e-02f;
    q = q * r + 1.666666716e-01f;
    q = q * r + 5.000000000e-01f;
    return q * (r * r) + r;
}
TL_HD inline double expm1_reduced(double r) {
    double q = 1.76881820957713471e-09;
    q = q * r + 2.51062509098010303e-08;
    q = q * r + 2.75681381520413044e-07;
    q = q * r + 2.75572528991618035e-06;
    q = q * r + 2.48015740248869719e-05;
    q = q * r + 1.98412698768040741e-04;
    q = q * r + 1.38888888960056792e-03;
    q = q * r + 8.33333333332556513e-03;
    q = q * r + 4.16666666666511074e-02;
    q = q * r + 1.66666666666666713e-01;
    q = q * r + 5.00000000000000111e-01;
    return q * (r * r) + r;
}

/* e^x - 1 = 2 (h q + (h - 1/2)), h = 2^(n-1), so that n = 128 does not overflow. */
template <class T, class U> TL_HD inline T expm1_scaled(T x, T q, U n) {
    T h = two_to(n - 1);
    T scaled = (h * q + (h - T(0.5))) * T(2);
    return with_sign(blend(n == 0, q, scaled), x);
}
/* float32: 1.44 ulp, float64: 1.9 ulp. */
TL_HD inline float expm1(float x) {
    uint32_t n;
    float r = reduce_exp(at_least(at_most(x, 89.0f), -20.0f), n);
    return expm1_scaled(x, expm1_reduced(r), n);
}
TL_HD inline double expm1(double x) {
    uint64_t n;
    double r = reduce_exp(at_least(at_most(x, 710.0), -40.0), n);
    return expm1_scaled(x, expm1_reduced(r), n);
}

/* x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)); x a positive normal number. */
TL_HD inline float split_log(float x, float &e) {
    uint32_t u = to_bits(x) + (0x3f800000u - 0x3f3504f3u);
    e = static_cast<float>(static_cast<int32_t>(u >> 23) - 127);
    return from_bits((u & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
}
TL_HD inline double split_log(double x, double &e) {
    uint64_t u = to_bits(x) + (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
    /* The exponent enters the low bits of 2^52: AVX2 cannot convert int64. */
    e = from_bits((u >> 52) | UINT64_C(0x4330000000000000)) - (4503599627370496.0 + 1023.0);
    return from_bits((u & UINT64_C(0xfffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd)) - 1.0;
}

/* log(1 + f) + e ln 2 + c on the split range; c is a small correction. */
TL_HD inline float log_reduced(float f, float e, float c) {
    float z = f * f;
    float p = 6.746637821e-02f;
    p = p * f - 1.167565063e-01f;
    p = p * f + 1.188816279e-01f;
    p = p * f - 1.240558997e-01f;
    p = p * f + 1.421955228e-01f;
    p = p * f - 1.666799635e-01f;
    p = p * f + 2.000211924e-01f;
    p = p * f - 2.500000894e-01f;
    p = p * f + 3.333331347e-01f;
    float tail = (f * z) * p + (e * -2.12194440e-4f + c);
    return e * 0.693359375f + (f + (tail - 0.5f * z));
}
/* fdlibm's e_log.c: log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2))), s = f / (2 + f). */
TL_HD inline double log_reduced(double f, double e, double c) {
    double s = f / (2.0 + f), z = s * s;
    double p = 1.479819860511658591e-01;
    p = p * z + 1.531383769920937332e-01;
    p = p * z + 1.818357216161805012e-01;
    p = p * z + 2.222219843214978396e-01;
    p = p * z + 2.857142874366239149e-01;
    p = p * z + 3.999999999940941908e-01;
    p = p * z + 6.666666666666735130e-01;
    double inner = fused(0.5 * f, f, p * z); /* f^2/2 + R */
    double tail = s * inner + (e * 1.90821492927058770002e-10 + c);
    return fused(e, 6.93147180369123816490e-01, -(fused(0.5 * f, f, -tail) - f));
}

/* log at 0, below 0, inf and NaN. */
template <class T> TL_HD inline T log_special(T x, T y) {
    T inf = limits<T>::inf;
    y = blend(x > T(0), y, blend(x == T(0), -inf, inf - inf));
    return blend(x < inf, y, x);
}

/* What is not a positive normal number: all but those wrap around. */
TL_HD inline bool log_is_hard(float x) { return to_bits(x) - 0x00800000u >= 0x7f000000u; }
TL_HD inline bool log_is_hard(double x) {
    return to_bits(x) - UINT64_C(0x0010000000000000) >= UINT64_C(0x7fe0000000000000);
}
/* log of others, to the same bits. */
template <class T> TL_HD inline T log_moderate(T x) {
    T e, f = split_log(x, e);
    return log_reduced(f, e, T(0));
}

/* Natural logarithm. float32: 0.82 ulp, float64: 0.8 ulp. */
TL_HD inline float log(float x) {
    bool tiny = x < 1.17549435e-38f;
    float e, f = split_log(blend(tiny, x * 8388608.0f, x), e);
    return log_special(x, log_reduced(f, e - blend(tiny, 23.0f, 0.0f), 0.0f));
}
TL_HD inline double log(double x) {
    bool tiny = x < 2.2250738585072014e-308;
    double e, f = split_log(blend(tiny, x * 4503599627370496.0, x), e);
    return log_special(x, log_reduced(f, e - blend(tiny, 52.0, 0.0), 0.0));
}

/* 1 / u, float32 to 1 %: a fit over the range of split_log, halved and scaled by a
 * power of two that is a float for any u. */
TL_HD inline float rough_reciprocal(float u) {
    uint32_t n = (to_bits(u) + (0x3f800000u - 0x3f3504f3u)) >> 23;
    float e, f = split_log(u, e);
    float p = 0.457119607f * f - 0.540306468f;
    return (p * f + 0.502497561f) * from_bits((255u - n) << 23);
}
TL_HD inline double rough_reciprocal(double u) { return 1.0 / u; }

/* log(1 + x): u = 1 + x rounded, and what rounding lost over u as a correction.
 * float32: 0.8 ulp, float64: 0.8 ulp. */
template <class T> TL_HD inline T log1p_any(T x) {
    T u = T(1) + x, e, f = split_log(u, e);
    T lost = blend(x > T(1), T(1) - (u - x), x - (u - T(1)));
    bool direct = e == T(0);
    T y = log_reduced(blend(direct, x, f), e, blend(direct, T(0), lost * rough_reciprocal(u)));
    return blend(x == T(0), x, log_special(u, y));
}
TL_HD inline float log1p(float x) { return log1p_any(x); }
TL_HD inline double log1p(double x) { return log1p_any(x); }

#endif /* TL_DEVICE_MATH */

} // namespace tl

#endif /* TENSORLIB_SCALAR_MATH_H */

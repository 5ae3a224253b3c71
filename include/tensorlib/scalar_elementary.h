/* Inverse and hyperbolic functions, further logarithms, and the structure of floats.
 *
 * float32 forms are branch-free and vectorize. float64 forms call the C library, which is exact to
 * 1 or 2 ulp: a vector form for each instruction set would cost more space than these
 * functions are worth. The ulp figures are maxima over every 61st float32 bit pattern
 * (float64: 10^6 random arguments) against mpmath. Polynomials are Remez fits of the
 * relative error, highest degree first in Horner form.
 */
#ifndef TENSORLIB_SCALAR_ELEMENTARY_H
#define TENSORLIB_SCALAR_ELEMENTARY_H

#include "tensorlib/half.h"
#include "tensorlib/scalar_special.h"

namespace tl {

#ifdef __CUDACC__

/* CUDA's own: at most 4 ulp (float32), 3 ulp (float64); C99's annex F at special values. */
#define TL_CUDA_FUNCTION(name)                                                         \
    TL_HD inline float name(float x) { return ::name##f(x); }                          \
    TL_HD inline double name(double x) { return ::name(x); }
TL_CUDA_FUNCTION(atan)
TL_CUDA_FUNCTION(asin)
TL_CUDA_FUNCTION(acos)
TL_CUDA_FUNCTION(sinh)
TL_CUDA_FUNCTION(cosh)
TL_CUDA_FUNCTION(asinh)
TL_CUDA_FUNCTION(acosh)
TL_CUDA_FUNCTION(atanh)
TL_CUDA_FUNCTION(log2)
#undef TL_CUDA_FUNCTION
template <class T> TL_HD inline T log1p_moderate(T x) { return tl::log1p(x); }
/* CUDA's float32 form is off by more than 1 ulp near 3. */
TL_HD inline float log10(float x) { return static_cast<float>(::log10(static_cast<double>(x))); }
TL_HD inline double log10(double x) { return ::log10(x); }
TL_HD inline float atan2(float y, float x) { return ::atan2f(y, x); }
TL_HD inline double atan2(double y, double x) { return ::atan2(y, x); }
TL_HD inline float hypot(float a, float b) { return ::hypotf(a, b); }
TL_HD inline double hypot(double a, double b) { return ::hypot(a, b); }

#else

/* pi / 2 and pi as float and what rounding lost. */
constexpr float half_pi = 1.57079637f, half_pi_low = -4.37113883e-8f;

/* ---- inverse trigonometry ------------------------------------------------------- */
/* atan(t), 0 <= t <= 1: 2^-28. */
TL_HD inline float atan_reduced(float t) {
    float z = t * t;
    float p = -1.793620323e-03f;
    p = p * z + 1.091459912e-02f;
    p = p * z - 3.117783247e-02f;
    p = p * z + 5.795757878e-02f;
    p = p * z - 8.403449359e-02f;
    p = p * z + 1.095218539e-01f;
    p = p * z - 1.426424159e-01f;
    p = p * z + 1.999854827e-01f;
    p = p * z - 3.333329909e-01f;
    return p * (z * t) + t;
}
/* atan(1 / t) = pi/2 - atan(t). float32: 1.4 ulp. */
TL_HD inline float atan(float x) {
    float a = absolute(x);
    bool large = a > 1.0f;
    float r = atan_reduced(blend(large, 1.0f / a, a));
    return with_sign(blend(large, half_pi - (r - half_pi_low), r), x);
}
TL_HD inline double atan(double x) { return ::atan(x); }

/* The angle of the point (x, y): the octant's angle by atan, then reflected twice. At
 * two zeros and at two infinities the quotient is set, as C99's annex F has it.
 * float32: 1.9 ulp. */
TL_HD inline float atan2(float y, float x) {
    float a = absolute(y), b = absolute(x);
    bool steep = a > b;
    float low = blend(steep, b, a), high = blend(steep, a, b);
    float r =
        atan_reduced(blend(low == high, blend(low == 0.0f, 0.0f, 1.0f), low / high));
    r = blend(steep, half_pi - (r - half_pi_low), r);
    bool left = to_bits(x) >> 31;
    r = blend(left, 2.0f * half_pi - (r - 2.0f * half_pi_low), r);
    return blend((x != x) | (y != y), x + y, with_sign(r, y));
}
TL_HD inline double atan2(double y, double x) { return ::atan2(y, x); }

/* asin(s) = s + s z p(z) for s <= 1/2, z = s^2: 2^-27; beyond, the half-angle formula
 * of Cephes' asinf.c: asin(a) = pi/2 - 2 asin(sqrt((1 - a) / 2)). */
TL_HD inline float asin_tail(float s, float z) {
    float p = 4.216632005e-02f;
    p = p * z + 2.417950685e-02f;
    p = p * z + 4.547037785e-02f;
    p = p * z + 7.495297624e-02f;
    p = p * z + 1.666675248e-01f;
    return p * (z * s);
}
/* asin(|x|), or asin(sqrt((1 - |x|) / 2)) beyond 1/2; in double, as the difference from
 * pi/2 doubles what the root's rounding loses. */
TL_HD inline double asin_half(float a, bool large) {
    float z = blend(large, 0.5f * (1.0f - a), a * a);
    double s = blend(large, std::sqrt(static_cast<double>(z)), static_cast<double>(a));
    return s + static_cast<double>(asin_tail(static_cast<float>(s), z));
}
/* float32: 1.0 ulp (asin), 0.9 ulp (acos). */
TL_HD inline float asin(float x) {
    float a = absolute(x);
    bool large = a > 0.5f;
    double r = asin_half(a, large);
    r = blend(large, 1.57079632679489661923 - 2.0 * r, r);
    return with_sign(static_cast<float>(r), x);
}
TL_HD inline double asin(double x) { return ::asin(x); }
TL_HD inline float acos(float x) {
    float a = absolute(x);
    bool large = a > 0.5f;
    double r = asin_half(a, large), side = with_sign(1.0, static_cast<double>(x));
    double far = blend(x < 0.0f, 3.14159265358979323846 - 2.0 * r, 2.0 * r);
    return static_cast<float>(blend(large, far, 1.57079632679489661923 - side * r));
}
TL_HD inline double acos(double x) { return ::acos(x); }

/* ---- hyperbolic functions and their inverses ------------------------------------ */
/* e^a / 2, also where e^a overflows. */
TL_HD inline float half_exp(float a) {
    uint32_t n;
    float r = reduce_exp(at_most(a, 90.0f), n);
    return scale(exp_reduced(r), n - 1u);
}
/* Odd polynomial below 1: 2^-34; float32: 1.8 ulp. */
TL_HD inline float sinh(float x) {
    float a = absolute(x), z = a * a, h = half_exp(a);
    float p = 2.816951239e-06f;
    p = p * z + 1.983615978e-04f;
    p = p * z + 8.333350058e-03f;
    p = p * z + 1.666666650e-01f;
    return with_sign(blend(a < 1.0f, p * (z * a) + a, h - 0.25f / h), x);
}
TL_HD inline double sinh(double x) { return ::sinh(x); }
/* float32: 1.7 ulp. */
TL_HD inline float cosh(float x) {
    float h = half_exp(absolute(x));
    return h + 0.25f / h;
}
TL_HD inline double cosh(double x) { return ::cosh(x); }

/* log1p(x) to the same bits where 1 + x is a positive normal number. */
TL_HD inline float log1p_moderate(float x) {
    float u = 1.0f + x, e, f = split_log(u, e);
    float lost = blend(x > 1.0f, 1.0f - (u - x), x - (u - 1.0f));
    bool direct = e == 0.0f;
    float c = blend(direct, 0.0f, lost * rough_reciprocal(u));
    return log_reduced(blend(direct, x, f), e, c);
}
TL_HD inline double log1p_moderate(double x) { return tl::log1p(x); }
/* log1p(a + a^2 / (1 + sqrt(1 + a^2))); far out log(a) + log(2). float32: 1.7 ulp. */
TL_HD inline bool asinh_is_hard(float x) { return !(absolute(x) < 1e9f); }
TL_HD inline float asinh_moderate(float x) {
    float a = absolute(x), z = a * a, w = a + z / (1.0f + std::sqrt(1.0f + z));
    return with_sign(log1p_moderate(w), x);
}
TL_HD inline float asinh(float x) {
    float far = with_sign(tl::log1p(absolute(x)) + 0.693147181f, x);
    return blend(asinh_is_hard(x), far, asinh_moderate(x));
}
TL_HD inline bool asinh_is_hard(double) { return false; }
TL_HD inline double asinh_moderate(double x) { return ::asinh(x); }
TL_HD inline double asinh(double x) { return ::asinh(x); }
TL_HD inline float acosh(float x) {
    double t = static_cast<double>(x) - 1.0;
    float y = static_cast<float>(tl::log1p(t + std::sqrt(t * (t + 2.0))));
    return blend(x < 1.0f, limits<float>::inf - limits<float>::inf, y);
}
TL_HD inline double acosh(double x) { return ::acosh(x); }
/* log1p(2a / (1 - a)) / 2, the quotient near 0 as 2a and the rest. */
TL_HD inline float atanh_argument(float a) {
    bool low = a < 0.5f;
    float t = a + a, q = blend(low, t * a, t) / (1.0f - a);
    return blend(low, t + q, q);
}
TL_HD inline bool atanh_is_hard(float x) { return !(absolute(x) < 1.0f); }
TL_HD inline float atanh_moderate(float x) {
    return with_sign(0.5f * log1p_moderate(atanh_argument(absolute(x))), x);
}
TL_HD inline float atanh(float x) {
    return with_sign(0.5f * tl::log1p(atanh_argument(absolute(x))), x);
}
TL_HD inline bool atanh_is_hard(double) { return false; }
TL_HD inline double atanh_moderate(double x) { return ::atanh(x); }
TL_HD inline double atanh(double x) { return ::atanh(x); }

/* ---- logarithms ------------------------------------------------------------------ */
/* log(1 + f) / log(base) = f (c + t), c its limit and t a polynomial; only the last
 * steps round at the size of the result. */
TL_HD inline float log2_reduced(float f, float e) {
    float t = -1.099489703e-01f;
    t = t * f + 1.861747504e-01f;
    t = t * f - 1.910628946e-01f;
    t = t * f + 2.046006645e-01f;
    t = t * f - 2.396173920e-01f;
    t = t * f + 2.885674056e-01f;
    t = t * f - 3.606966498e-01f;
    t = t * f + 4.808982411e-01f;
    t = t * f - 7.213473515e-01f;
    t = t * f + 1.920048370e-08f; /* what rounding c lost */
    return e + fused(f, 1.442695022f, f * t);
}
TL_HD inline float log10_reduced(float f, float e) {
    float t = -3.309793806e-02f;
    t = t * f + 5.604418431e-02f;
    t = t * f - 5.751566232e-02f;
    t = t * f + 6.159093715e-02f;
    t = t * f - 7.213202247e-02f;
    t = t * f + 8.686744486e-02f;
    t = t * f - 1.085805109e-01f;
    t = t * f + 1.447647954e-01f;
    t = t * f - 2.171471901e-01f;
    t = t * f - 1.012085480e-08f;
    float low = e * 4.6050389812e-06f; /* log10(2) has an exact part and this one */
    return fused(e, 0.301025390625f, fused(f, 0.434294492f, f * t + low));
}
/* Of positive normal numbers, and of others, whose subnormal ones are scaled. */
TL_HD inline float log2_moderate(float x) {
    float e, f = split_log(x, e);
    return log2_reduced(f, e);
}
TL_HD inline float log10_moderate(float x) {
    float e, f = split_log(x, e);
    return log10_reduced(f, e);
}
/* float32: 1.0 ulp, without fused multiply-add 1.8 ulp. */
TL_HD inline float log2(float x) {
    bool tiny = x < 1.17549435e-38f;
    float e, f = split_log(blend(tiny, x * 8388608.0f, x), e);
    return log_special(x, log2_reduced(f, e - blend(tiny, 23.0f, 0.0f)));
}
TL_HD inline float log10(float x) {
    bool tiny = x < 1.17549435e-38f;
    float e, f = split_log(blend(tiny, x * 8388608.0f, x), e);
    return log_special(x, log10_reduced(f, e - blend(tiny, 23.0f, 0.0f)));
}
TL_HD inline double log2(double x) { return ::log2(x); }
TL_HD inline double log10(double x) { return ::log10(x); }
TL_HD inline double log2_moderate(double x) { return ::log2(x); }
TL_HD inline double log10_moderate(double x) { return ::log10(x); }

#if defined(__AVX512F__) && !defined(__CUDACC__)
/* sqrt(s) for the rounding to float32, s a sum of its squares: 2^-37; NaN of infinity.
 * Two steps of third order from halved bits, which give an exponent: the instruction
 * takes as long for eight numbers as some forty operations. */
inline double root_of_squares(double s) {
    double y = from_bits(UINT64_C(0x5fe6eb50c7b537a9) - (to_bits(s) >> 1));
    double e = 1.0 - s * y * y;
    y = y + y * e * (0.5 + 0.375 * e);
    double r = s * y;
    e = 1.0 - r * y;
    return r + r * e * (0.5 + 0.375 * e);
}
#else
TL_HD inline double root_of_squares(double s) { return std::sqrt(s); }
#endif

/* sqrt(a^2 + b^2); infinite with either, even beside NaN. float32 in double: 0.51 ulp;
 * float64 scaled by a power of two where squares would leave the range: 1.2 ulp. */
TL_HD inline float hypot(float a, float b) {
    double x = a, y = b;
    float r = static_cast<float>(root_of_squares(x * x + y * y));
    bool infinite =
        (absolute(a) == limits<float>::inf) | (absolute(b) == limits<float>::inf);
    return blend(infinite, limits<float>::inf, r);
}
TL_HD inline double hypot(double a, double b) {
    double x = absolute(a), y = absolute(b), most = x > y ? x : y;
    double up = blend(most < 1e-150, 0x1p600, blend(most > 1e150, 0x1p-600, 1.0));
    double down = blend(most < 1e-150, 0x1p-600, blend(most > 1e150, 0x1p600, 1.0));
    double r = std::sqrt((x * up) * (x * up) + (y * up) * (y * up)) * down;
    bool infinite = (x == limits<double>::inf) | (y == limits<double>::inf);
    return blend(infinite, limits<double>::inf, r);
}

#endif /* __CUDACC__ */

/* log(e^a + e^b) = max + log1p(e^-|a - b|); equal infinities have no difference, and
 * NaN is the maximum. */
template <class T> TL_HD inline T op_logaddexp(T a, T b) {
    T most = blend((a > b) | (a != a), a, b);
    T distance = blend(a == b, T(0), absolute(a - b));
    return most + log1p_moderate(exp_nonpositive(-distance));
}

/* ---- the structure of floats ------------------------------------------------ */
template <class T> TL_HD inline T op_copysign(T a, T b) { return with_sign(a, b); }
template <class T> TL_HD inline T op_trunc(T x) { return std::trunc(x); }
/* The next float from a towards b: bit patterns of one sign are ordered as numbers. */
template <class T> TL_HD inline T op_nextafter(T a, T b) {
    auto u = to_bits(a);
    auto away = u + 1u, back = u - 1u;
    T moved = from_bits((b > a) == (a > T(0)) ? away : back);
    T least = with_sign(from_bits(decltype(u)(1)), b);
    T r = a == T(0) ? least : moved;
    r = a == b ? b : r;
    return (a != a) | (b != b) ? a + b : r;
}

/* Of a float's bits, the 16-bit float's unit; its least number, which is its unit up to
 * `even`; what would come after its largest. */
template <class H> struct half_grid;
template <> struct half_grid<tl_float16> {
    static constexpr uint32_t unit = 1u << 13;
    static constexpr float least = 0x1p-24f, even = 0x1p-14f, beyond = 65536.0f;
};
template <> struct half_grid<tl_bfloat16> {
    static constexpr uint32_t unit = 1u << 16;
    static constexpr float least = 0x1p-133f, even = 0.0f,
                           beyond = std::numeric_limits<float>::infinity();
};
/* nextafter of two 16-bit floats of type H, as floats. */
template <class H> TL_HD inline float next_half(float a, float b) {
    using grid = half_grid<H>;
    float size = absolute(a);
    auto u = to_bits(with_sign(size < grid::beyond ? size : grid::beyond, a));
    float moved = from_bits((b > a) == (a > 0.0f) ? u + grid::unit : u - grid::unit);
    float stepped = a + (b > a ? grid::least : -grid::least);
    float r = size <= grid::even ? stepped : moved;
    r = a == 0.0f ? r : with_sign(r, a);
    r = a == b ? b : r;
    return (a != a) | (b != b) ? a + b : r;
}

/* ---- the ops, by dtype --------------------------------------------------------------
 */
template <class T> TL_HD inline T op_acos(T x) { return tl::acos(x); }
template <class T> TL_HD inline T op_acosh(T x) { return tl::acosh(x); }
template <class T> TL_HD inline T op_asin(T x) { return tl::asin(x); }
template <class T> TL_HD inline T op_asinh(T x) { return tl::asinh(x); }
template <class T> TL_HD inline T op_atan(T x) { return tl::atan(x); }
template <class T> TL_HD inline T op_atanh(T x) { return tl::atanh(x); }
template <class T> TL_HD inline T op_sinh(T x) { return tl::sinh(x); }
template <class T> TL_HD inline T op_cosh(T x) { return tl::cosh(x); }
template <class T> TL_HD inline T op_log2(T x) { return tl::log2(x); }
template <class T> TL_HD inline T op_log10(T x) { return tl::log10(x); }
#ifndef __CUDACC__
template <class T> TL_HD inline T op_asinh_moderate(T x) { return asinh_moderate(x); }
template <class T> TL_HD inline T op_atanh_moderate(T x) { return atanh_moderate(x); }
template <class T> TL_HD inline int op_asinh_is_hard(T x) { return asinh_is_hard(x); }
template <class T> TL_HD inline int op_atanh_is_hard(T x) { return atanh_is_hard(x); }
template <class T> TL_HD inline T op_log2_moderate(T x) { return log2_moderate(x); }
template <class T> TL_HD inline T op_log10_moderate(T x) { return log10_moderate(x); }
template <class T> TL_HD inline int op_log2_is_hard(T x) { return log_is_hard(x); }
template <class T> TL_HD inline int op_log10_is_hard(T x) { return log_is_hard(x); }
#endif
template <class T> TL_HD inline T op_atan2(T a, T b) { return tl::atan2(a, b); }
template <class T> TL_HD inline T op_hypot(T a, T b) { return tl::hypot(a, b); }

} // namespace tl

/* ---- X-lists -------------------------------------------------------------------- */
#define TL_ELEMENTARY_OPS(X)                                                           \
    X(acos)                                                                            \
    X(acosh) X(asin) X(atan) X(sinh) X(cosh) X(trunc)
#define TL_ELEMENTARY_SPLIT_OPS(X) X(asinh) X(atanh) X(log2) X(log10)
#define TL_ELEMENTARY_BINARY_OPS(X)                                                    \
    X(atan2) X(logaddexp) X(hypot) X(copysign) X(nextafter)

#endif /* TENSORLIB_SCALAR_ELEMENTARY_H */

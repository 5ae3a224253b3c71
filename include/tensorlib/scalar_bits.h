/* Bit views, blends and rounding: what the branch-free polynomials are made of.
 *
 * gcc 12 vectorizes these forms; a `?:` between two dear values it turns into a
 * branch, hence blend(). Everything is C++17 and compiles for the CPU and CUDA.
 */
#ifndef TENSORLIB_SCALAR_BITS_H
#define TENSORLIB_SCALAR_BITS_H

#include <stdint.h>
#include <string.h>

#include <cmath>

#ifdef __CUDACC__
#define TL_HD __host__ __device__
#else
#define TL_HD __attribute__((always_inline))
#endif

/* CUDA's own functions, unless a file wants the polynomials, for the CPU's bits. */
#if defined(__CUDACC__) && !defined(TL_PORTABLE_MATH)
#define TL_DEVICE_MATH
#endif

namespace tl {

TL_HD inline uint32_t to_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
TL_HD inline uint64_t to_bits(double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
TL_HD inline float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
TL_HD inline double from_bits(uint64_t u) {
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

#ifdef __CUDACC__
/* One instruction each on a GPU. */
TL_HD inline float blend(bool c, float a, float b) { return c ? a : b; }
TL_HD inline double blend(bool c, double a, double b) { return c ? a : b; }
TL_HD inline float absolute(float x) { return ::fabsf(x); }
TL_HD inline double absolute(double x) { return ::fabs(x); }
#else
/* c ? a : b without a branch. */
TL_HD inline float blend(bool c, float a, float b) {
    uint32_t mask = 0u - static_cast<uint32_t>(c);
    return from_bits((to_bits(a) & mask) | (to_bits(b) & ~mask));
}
TL_HD inline double blend(bool c, double a, double b) {
    uint64_t mask = UINT64_C(0) - static_cast<uint64_t>(c);
    return from_bits((to_bits(a) & mask) | (to_bits(b) & ~mask));
}

TL_HD inline float absolute(float x) { return from_bits(to_bits(x) & 0x7fffffffu); }
TL_HD inline double absolute(double x) {
    return from_bits(to_bits(x) & UINT64_C(0x7fffffffffffffff));
}
#endif
/* |magnitude| with the sign bit of sign. */
TL_HD inline float with_sign(float magnitude, float sign) {
    return from_bits((to_bits(magnitude) & 0x7fffffffu) | (to_bits(sign) & 0x80000000u));
}
TL_HD inline double with_sign(double magnitude, double sign) {
    return from_bits((to_bits(magnitude) & UINT64_C(0x7fffffffffffffff)) |
                     (to_bits(sign) & UINT64_C(0x8000000000000000)));
}

/* Clamps that keep NaN: a comparison with NaN is false. */
template <class T> TL_HD inline T at_most(T x, T high) { return x > high ? high : x; }
template <class T> TL_HD inline T at_least(T x, T low) { return x < low ? low : x; }

/* Nearest integer of |x| < 2^22 (float) or 2^51 (double), as a number and an int:
 * adding 1.5 * 2^23 (2^52) leaves the integer in the low bits of the sum. */
TL_HD inline float nearest(float x, uint32_t &n) {
    float shifted = x + 12582912.0f;
    n = to_bits(shifted) - 0x4b400000u;
    return shifted - 12582912.0f;
}
TL_HD inline double nearest(double x, uint64_t &n) {
    double shifted = x + 6755399441055744.0;
    n = to_bits(shifted) - UINT64_C(0x4338000000000000);
    return shifted - 6755399441055744.0;
}

/* 2^n for a normal result. */
TL_HD inline float two_to(uint32_t n) { return from_bits((n + 127u) << 23); }
TL_HD inline double two_to(uint64_t n) { return from_bits((n + UINT64_C(1023)) << 52); }

/* x * 2^n in two steps, so that results may be subnormal or overflow correctly. */
TL_HD inline float scale(float x, uint32_t n) {
    uint32_t half = ((n + 1024u) >> 1) - 512u;
    return x * two_to(half) * two_to(n - half);
}
TL_HD inline double scale(double x, uint64_t n) {
    uint64_t half = ((n + UINT64_C(8192)) >> 1) - UINT64_C(4096);
    return x * two_to(half) * two_to(n - half);
}

/* a b + c where compilers would have a choice of what to fuse: one rounding wherever
 * sums of products have one, so that a formula's bits do not depend on the compiler. */
#if defined(__FMA__) || defined(__CUDACC__) || defined(__aarch64__)
#define TL_FUSED
TL_HD inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
TL_HD inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
TL_HD inline float fused(float a, float b, float c) { return a * b + c; }
TL_HD inline double fused(double a, double b, double c) { return a * b + c; }
#endif

template <class T> struct limits;
template <> struct limits<float> {
    static constexpr float inf = __builtin_huge_valf();
    static constexpr float most = 3.40282347e+38f;
};
template <> struct limits<double> {
    static constexpr double inf = __builtin_huge_val();
    static constexpr double most = 1.7976931348623157e+308;
};

} // namespace tl

#endif /* TENSORLIB_SCALAR_BITS_H */

/* x^y over a run of elements.
 *
 * With AVX-512, float32 stays in float32: log2 x as a sum of two floats, from a table
 * of 32 intervals of the mantissa that a permutation looks up, times y, and 2^t of
 * that. 1.2 ulp. What is hard (special values, results that are not normal numbers)
 * takes the form in double of scalar_special.h, as all elements do on other processors;
 * which form an element takes depends on its own x and y alone.
 */
#ifndef TENSORLIB_POW_H
#define TENSORLIB_POW_H

#include "tensorlib/scalar_special.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#endif

namespace tl {

template <class T> inline void pow_row(T *out, const T *x, const T *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        out[i] = pow(x[i], y[i]);
}

#if defined(__AVX512F__) && defined(__AVX512DQ__)

/* By the leading five bits of the mantissa m: c near 1/m, so short that m c - 1 is
 * exact, then -log2 c in two parts, the first so short that adding an exponent is. At
 * either end c is a power of two: near x = 1 nothing cancels. */
// clang-format off
constexpr float log2_table[3][32] = {
    {
        1.0f, 0.953125f, 0.921875f, 0.90625f, 0.875f, 0.859375f, 0.828125f, 0.8125f,
        0.796875f, 0.765625f, 0.75f, 0.734375f, 0.71875f, 0.703125f, 0.6875f,
        0.671875f, 0.65625f, 0.640625f, 0.640625f, 0.625f, 0.609375f, 0.59375f,
        0.59375f, 0.578125f, 0.5625f, 0.5625f, 0.546875f, 0.53125f, 0.53125f,
        0.515625f, 0.515625f, 0.5f
    },
    {
        0.0f, 0.0692596436f, 0.117355347f, 0.14201355f, 0.192642212f, 0.218643188f,
        0.272079468f, 0.299560547f, 0.327575684f, 0.385284424f, 0.415039062f,
        0.445404053f, 0.47644043f, 0.508148193f, 0.54057312f, 0.573730469f,
        0.607681274f, 0.642440796f, 0.642440796f, 0.678070068f, 0.714599609f,
        0.752075195f, 0.752075195f, 0.790542603f, 0.830078125f, 0.830078125f,
        0.87071228f, 0.912536621f, 0.912536621f, 0.955612183f, 0.955612183f, 1.0f
    },
    {
        0.0f, 3.01888235e-06f, 1.60395848e-06f, 5.45506782e-06f, 2.86602835e-06f,
        -2.90200114e-06f, 7.76633655e-08f, -2.65016098e-07f, -1.02556521e-06f,
        5.73205671e-06f, -1.56322119e-06f, 7.09558799e-06f, -2.38574444e-06f,
        -1.28968907e-06f, -4.73875434e-06f, 4.77654794e-06f, 1.30280716e-06f,
        7.19948366e-06f, 7.19948366e-06f, 1.83675331e-06f, -1.82823726e-06f,
        -2.70875603e-06f, -2.70875603e-06f, 4.03183185e-06f, -3.12644238e-06f,
        -3.12644238e-06f, 4.70278155e-06f, 5.37655922e-07f, 5.37655922e-07f,
        -6.30197565e-06f, -6.30197565e-06f, 0.0f
    },
};
// clang-format on

struct pow_lanes {
    __m512 table[3][2];

    pow_lanes() {
        for (int part = 0; part < 3; part++)
            for (int half = 0; half < 2; half++)
                table[part][half] = _mm512_loadu_ps(log2_table[part] + 16 * half);
    }
    static __m512 all(float c) { return _mm512_set1_ps(c); }
    __m512 look_up(int part, __m512i index) const {
        return _mm512_permutex2var_ps(table[part][0], index, table[part][1]);
    }

    /* log2 |x| = high + low, to 2^-36 of it. log2(1 + r) is a Remez fit; its terms of r
     * and r^2 need more than a float. */
    __m512 log2(__m512 x, __m512 &low) const {
        const __m512 c1 = all(1.44269502f), c2 = all(-0.72134752f);
        __m512i index = _mm512_srli_epi32(_mm512_castps_si512(x), 18);
        __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
        __m512 whole = _mm512_add_ps(_mm512_getexp_ps(x), look_up(1, index));
        __m512 r = _mm512_fmsub_ps(m, look_up(0, index), all(1.0f));
        __m512 q = all(-0.240789152f);
        q = _mm512_fmadd_ps(q, r, all(0.288819477f));
        q = _mm512_fmadd_ps(q, r, all(-0.360673576f));
        q = _mm512_mul_ps(_mm512_fmadd_ps(q, r, all(0.480898262f)), r);
        __m512 linear = _mm512_mul_ps(r, c1);
        __m512 lost = _mm512_fmsub_ps(r, c1, linear);
        lost = _mm512_fmadd_ps(r, all(1.92596299e-8f), lost);
        __m512 z = _mm512_mul_ps(r, r), z_lost = _mm512_fmsub_ps(r, r, z);
        __m512 square = _mm512_mul_ps(z, c2);
        __m512 rest = _mm512_fmadd_ps(z, q, _mm512_fmsub_ps(z, c2, square));
        lost = _mm512_add_ps(lost, _mm512_fmadd_ps(z_lost, c2, rest));
        low = _mm512_add_ps(lost, look_up(2, index));
        return sum(whole, sum(linear, square, low), low);
    }
    /* a + b rounded, |a| >= |b| or a = 0; what rounding lost is added to low. */
    static __m512 sum(__m512 a, __m512 b, __m512 &low) {
        __m512 s = _mm512_add_ps(a, b);
        low = _mm512_add_ps(low, _mm512_sub_ps(b, _mm512_sub_ps(s, a)));
        return s;
    }
    /* 2^(t + low); a Remez fit to 2^-29. */
    static __m512 exp2(__m512 t, __m512 low) {
        __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT);
        __m512 r = _mm512_add_ps(_mm512_sub_ps(t, n), low);
        __m512 q = all(1.53533463e-4f);
        q = _mm512_fmadd_ps(q, r, all(1.33989002e-3f));
        q = _mm512_fmadd_ps(q, r, all(9.61843759e-3f));
        q = _mm512_fmadd_ps(q, r, all(5.55033241e-2f));
        q = _mm512_fmadd_ps(q, r, all(2.40226479e-1f));
        q = _mm512_fmadd_ps(q, r, all(6.93147203e-1f));
        return _mm512_scalef_ps(_mm512_fmadd_ps(q, r, all(1.0f)), n);
    }
    /* Results for negative x: the sign of an odd power, NaN for a broken exponent. */
    static __m512 signed_power(__m512 r, __mmask16 negative, __m512 y) {
        __m512 half = _mm512_mul_ps(y, all(0.5f));
        __mmask16 broken = _mm512_mask_cmp_ps_mask(
            negative, _mm512_roundscale_ps(y, _MM_FROUND_TO_ZERO), y, _CMP_NEQ_UQ);
        __mmask16 odd = _mm512_mask_cmp_ps_mask(
            negative, _mm512_roundscale_ps(half, _MM_FROUND_TO_ZERO), half,
            _CMP_NEQ_UQ);
        r = _mm512_mask_sub_ps(r, odd, _mm512_setzero_ps(), r);
        return _mm512_mask_mov_ps(r, broken, all(__builtin_nanf("")));
    }
    __m512 at(__m512 x, __m512 y, __mmask16 &hard) const {
        constexpr int special = 0xbf; /* NaN, zero, infinity or subnormal */
        __m512 low, high = log2(x, low), t = _mm512_mul_ps(y, high);
        hard = _mm512_fpclass_ps_mask(x, special) |
               _mm512_cmp_ps_mask(_mm512_abs_ps(t), all(126.0f), _CMP_NLT_UQ);
        low = _mm512_fmadd_ps(y, low, _mm512_fmsub_ps(y, high, t));
        __m512 r = exp2(t, low);
        __mmask16 negative = _mm512_movepi32_mask(_mm512_castps_si512(x));
        if (__builtin_expect(negative, 0)) r = signed_power(r, negative, y);
        return r;
    }
};

inline __m512 pow_of_any(__m512 x, __m512 y) {
    float a[16], b[16];
    _mm512_storeu_ps(a, x);
    _mm512_storeu_ps(b, y);
    for (int k = 0; k < 16; k++)
        a[k] = pow(a[k], b[k]);
    return _mm512_loadu_ps(a);
}
template <> inline void pow_row(float *out, const float *x, const float *y, int64_t n) {
    const pow_lanes powers;
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 some = n - i < 16 ? (1u << (n - i)) - 1 : 0xffff, hard;
        __m512 a = _mm512_mask_loadu_ps(pow_lanes::all(1.0f), some, x + i);
        __m512 b = _mm512_maskz_loadu_ps(some, y + i);
        __m512 r = powers.at(a, b, hard);
        if (__builtin_expect(hard, 0))
            r = _mm512_mask_mov_ps(r, hard, pow_of_any(a, b));
        _mm512_mask_storeu_ps(out + i, some, r);
    }
}

#endif /* __AVX512F__ */

/* A run of x^y with any strides, in blocks on the stack where they are not 1. */
template <class T>
inline void pow_run(T *out, int64_t so, const T *x, int64_t sx, const T *y, int64_t sy,
                    int64_t n) {
    constexpr int64_t block = 256;
    T base[block], exponent[block], power[block];
    if (so == 1 && sx == 1 && sy == 1) return pow_row(out, x, y, n);
    for (int64_t start = 0; start < n; start += block) {
        int64_t count = n - start < block ? n - start : block;
        for (int64_t i = 0; i < count; i++) {
            base[i] = x[(start + i) * sx];
            exponent[i] = y[(start + i) * sy];
        }
        pow_row(power, base, exponent, count);
        for (int64_t i = 0; i < count; i++)
            out[(start + i) * so] = power[i];
    }
}

} // namespace tl

#endif /* TENSORLIB_POW_H */

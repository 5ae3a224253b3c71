/* Rows of 16-bit floats, converted by instructions that gcc 12 does not find itself.
 *
 * A group of elements is widened to floats, or narrowed, in registers: a loop over
 * groups that computes on the floats between touches the narrow memory alone, provided
 * that it is inlined and its inner loops have GROUP steps. Same bits as half.h, but
 * that the processor makes a signalling NaN of float16 quiet when it widens it, as IEEE
 * 754 says.
 */
#ifndef TENSORLIB_HALF_ROWS_H
#define TENSORLIB_HALF_ROWS_H

#include "tensorlib/half.h"

#if defined(__F16C__) && defined(__AVX2__)
#include <immintrin.h>
#endif

namespace tl {

constexpr int GROUP = 16;

inline float widened(tl_float16 x) { return tl_float16_to_float(x); }
inline float widened(tl_bfloat16 x) { return tl_bfloat16_to_float(x); }
inline void narrow_to(tl_float16 *out, float x) { *out = tl_float16_of_float(x); }
inline void narrow_to(tl_bfloat16 *out, float x) { *out = tl_bfloat16_of_float(x); }

template <class H> inline void widen_group(float *x, const H *a) {
    for (int j = 0; j < GROUP; j++)
        x[j] = widened(a[j]);
}
template <class H> inline void narrow_group(H *out, const float *x) {
    for (int j = 0; j < GROUP; j++)
        narrow_to(out + j, x[j]);
}

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)

template <> inline void widen_group(float *x, const tl_float16 *a) {
    _mm512_storeu_ps(x, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)a)));
}
template <> inline void widen_group(float *x, const tl_bfloat16 *a) {
    __m512i u = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)a));
    _mm512_storeu_si512(x, _mm512_slli_epi32(u, 16));
}
/* half.h drops a NaN's payload, which the processor keeps. */
template <> inline void narrow_group(tl_float16 *out, const float *x) {
    __m512 v = _mm512_loadu_ps(x);
    __m256i h = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
    __m256i sign = _mm256_and_si256(h, _mm256_set1_epi16((short)0x8000));
    __m256i nan = _mm256_or_si256(sign, _mm256_set1_epi16(0x7e00));
    h = _mm256_mask_mov_epi16(h, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), nan);
    _mm256_storeu_si256((__m256i *)out, h);
}
template <> inline void narrow_group(tl_bfloat16 *out, const float *x) {
    __m512 v = _mm512_loadu_ps(x);
    __m512i u = _mm512_castps_si512(v), upper = _mm512_srli_epi32(u, 16);
    __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __m512i nan = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    up = _mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16),
                               _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), nan);
    _mm256_storeu_si256((__m256i *)out, _mm512_cvtepi32_epi16(up));
}

#elif defined(__F16C__) && defined(__AVX2__)

inline __m256 widened_eight(const tl_float16 *a) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)a));
}
inline __m256 widened_eight(const tl_bfloat16 *a) {
    __m256i u = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)a));
    return _mm256_castsi256_ps(_mm256_slli_epi32(u, 16));
}
template <> inline void widen_group(float *x, const tl_float16 *a) {
    _mm256_storeu_ps(x, widened_eight(a));
    _mm256_storeu_ps(x + 8, widened_eight(a + 8));
}
template <> inline void widen_group(float *x, const tl_bfloat16 *a) {
    _mm256_storeu_ps(x, widened_eight(a));
    _mm256_storeu_ps(x + 8, widened_eight(a + 8));
}

/* A group with a NaN, whose payload half.h drops and the instructions here do not. */
template <class H>
__attribute__((noinline, cold)) void narrow_nans(H *out, __m256 x, __m256 y) {
    float group[GROUP];
    _mm256_storeu_ps(group, x);
    _mm256_storeu_ps(group + 8, y);
    for (int j = 0; j < GROUP; j++)
        narrow_to(out + j, group[j]);
}
inline bool any_nan(__m256 x, __m256 y) {
    return _mm256_movemask_ps(_mm256_cmp_ps(x, y, _CMP_UNORD_Q)) != 0;
}
template <> inline void narrow_group(tl_float16 *out, const float *group) {
    __m256 x = _mm256_loadu_ps(group), y = _mm256_loadu_ps(group + 8);
    if (__builtin_expect(any_nan(x, y), 0)) {
        narrow_nans(out, x, y);
        return;
    }
    _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(out + 8),
                     _mm256_cvtps_ph(y, _MM_FROUND_TO_NEAREST_INT));
}

/* The upper halves, rounded, in the low words. */
inline __m256i upper_halves(__m256 x) {
    __m256i u = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i rounded =
        _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    return _mm256_srli_epi32(rounded, 16);
}
template <> inline void narrow_group(tl_bfloat16 *out, const float *group) {
    __m256 x = _mm256_loadu_ps(group), y = _mm256_loadu_ps(group + 8);
    if (__builtin_expect(any_nan(x, y), 0)) {
        narrow_nans(out, x, y);
        return;
    }
    /* Packing works within halves of a register: 0 2 1 3 puts them in order. */
    __m256i packed = _mm256_packus_epi32(upper_halves(x), upper_halves(y));
    _mm256_storeu_si256((__m256i *)out, _mm256_permute4x64_epi64(packed, 0xd8));
}

#endif

/* Convert the first elements of a row, one side of which is float, and return how many;
 * half.h does the rest. */
template <class D, class S> inline int64_t convert_row(D *out, const S *a, int64_t n) {
    int64_t i = 0;
#if defined(__F16C__) && defined(__AVX2__)
    for (; i + GROUP <= n; i += GROUP) {
        if constexpr (sizeof(D) == sizeof(float))
            widen_group(out + i, a + i);
        else
            narrow_group(out + i, a + i);
    }
#endif
    return i;
}

/* n elements `step` apart to floats side by side. What fills no group is converted with
 * elements before it once more: one by one it would cost more than a group. */
template <class H>
inline void widen_row(float *x, const H *a, int64_t step, int64_t n) {
    int64_t i = step == 1 ? convert_row(x, a, n) : 0;
    if (i > 0 && i < n) {
        widen_group(x + n - GROUP, a + n - GROUP);
        return;
    }
    for (; i < n; i++)
        x[i] = widened(a[i * step]);
}
template <class H>
inline void narrow_row(H *out, int64_t step, const float *x, int64_t n) {
    int64_t i = step == 1 ? convert_row(out, x, n) : 0;
    if (i > 0 && i < n) {
        narrow_group(out + n - GROUP, x + n - GROUP);
        return;
    }
    for (; i < n; i++)
        narrow_to(out + i * step, x[i]);
}

} // namespace tl

#endif /* TENSORLIB_HALF_ROWS_H */

/* Rows of 16-bit floats, converted by instructions that gcc 12 does not find itself.
 *
 * Each function converts the first elements of a row and returns how many; the caller
 * does the rest with half.h, to the same bits. Only a signalling NaN of float16 may
 * differ: the processor makes it quiet when it widens it, as IEEE 754 says.
 */
#ifndef TENSORLIB_HALF_ROWS_H
#define TENSORLIB_HALF_ROWS_H

#include "tensorlib/half.h"

#if defined(__F16C__) && defined(__AVX2__)
#include <immintrin.h>
#endif

namespace tl {

template <class D, class S> inline int64_t convert_row(D *, const S *, int64_t) {
    return 0;
}

#if defined(__F16C__) && defined(__AVX2__)

template <> inline int64_t convert_row(float *out, const tl_float16 *a, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i,
                         _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(a + i))));
    return i;
}

/* Narrowing stops at a NaN, whose payload half.h drops and these do not. */
inline bool any_nan(__m256 x, __m256 y) {
    return _mm256_movemask_ps(_mm256_cmp_ps(x, y, _CMP_UNORD_Q)) != 0;
}
template <> inline int64_t convert_row(tl_float16 *out, const float *a, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 x = _mm256_loadu_ps(a + i), y = _mm256_loadu_ps(a + i + 8);
        if (any_nan(x, y)) break;
        _mm_storeu_si128((__m128i *)(out + i),
                         _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
        _mm_storeu_si128((__m128i *)(out + i + 8),
                         _mm256_cvtps_ph(y, _MM_FROUND_TO_NEAREST_INT));
    }
    return i;
}

/* The upper halves, rounded, in the low words. */
inline __m256i upper_halves(__m256 x) {
    __m256i u = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i rounded =
        _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    return _mm256_srli_epi32(rounded, 16);
}
template <> inline int64_t convert_row(tl_bfloat16 *out, const float *a, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 x = _mm256_loadu_ps(a + i), y = _mm256_loadu_ps(a + i + 8);
        if (any_nan(x, y)) break;
        /* Packing works within halves of a register: 0 2 1 3 puts them in order. */
        __m256i packed = _mm256_packus_epi32(upper_halves(x), upper_halves(y));
        _mm256_storeu_si256((__m256i *)(out + i),
                            _mm256_permute4x64_epi64(packed, 0xd8));
    }
    return i;
}

#endif

} // namespace tl

#endif /* TENSORLIB_HALF_ROWS_H */

/* Where a mask holds: a word of 64 elements at a time.
 *
 * An element is true when its byte is not 0. A word has a bit an element, the first the
 * lowest, so that counting is one instruction and elements that are false cost nothing.
 */
#ifndef TENSORLIB_TRUTHS_H
#define TENSORLIB_TRUTHS_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include <immintrin.h>
#define TL_TRUTHS_AVX512 1
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The word of n elements, at most 64. */
static inline uint64_t tl_truths(const uint8_t *mask, int64_t n) {
#ifdef TL_TRUTHS_AVX512
    const __mmask64 there = n < 64 ? ((uint64_t)1 << n) - 1 : ~(uint64_t)0;
    const __m512i bytes = _mm512_maskz_loadu_epi8(there, mask);
    return _mm512_test_epi8_mask(bytes, bytes);
#else
    uint64_t word = 0;
    for (int64_t i = 0; i < n; i += 8) {
        uint64_t bytes = 0;
        memcpy(&bytes, mask + i, n - i < 8 ? (size_t)(n - i) : 8);
        /* Each byte to 0 or 1, without carries between bytes. */
        bytes |= (bytes & UINT64_C(0x7f7f7f7f7f7f7f7f)) + UINT64_C(0x7f7f7f7f7f7f7f7f);
        bytes = bytes >> 7 & UINT64_C(0x0101010101010101);
        /* Byte k moves to bit 56 + k. */
        word |= bytes * UINT64_C(0x0102040810204080) >> 56 << i;
    }
    return word;
#endif
}

static inline int64_t tl_truths_count(uint64_t word) {
    return __builtin_popcountll(word);
}

/* Write first plus the number of each bit that is set: as many int64 as there are. */
static inline void tl_truths_write(uint64_t word, int64_t first, int64_t *out) {
#ifdef TL_TRUTHS_AVX512
    __m512i at = _mm512_add_epi64(_mm512_set1_epi64(first),
                                  _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    for (; word != 0; word >>= 8) {
        const __mmask8 some = (__mmask8)word;
        const int n = __builtin_popcount(some);
        _mm512_mask_storeu_epi64(out, (__mmask8)((1 << n) - 1),
                                 _mm512_maskz_compress_epi64(some, at));
        out += n;
        at = _mm512_add_epi64(at, _mm512_set1_epi64(8));
    }
#else
    for (; word != 0; word &= word - 1)
        *out++ = first + __builtin_ctzll(word);
#endif
}

#ifdef __cplusplus
}
#endif

#endif

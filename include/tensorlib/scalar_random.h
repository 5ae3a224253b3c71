/* Threefry4x32-20 and what turns its words into numbers.
 *
 * Contract, the same on every device and for any number of threads. The key is the
 * 64-bit seed (low word first, two zero words); block j is the counter (j low word,
 * j high word, 0, 0), and a fill starts at block `offset`.
 * - 4-byte fills (float32 uniform and normal, every bernoulli and dropout): element i
 *   uses word i mod 4 of block offset + i / 4, so n elements use ceil(n / 4) blocks.
 * - 8-byte fills (float64 uniform and normal, all integers, raw, permutation):
 *   element i uses words 2 (i mod 2) (low) and 2 (i mod 2) + 1 (high) of block
 *   offset + i / 2, so n elements use ceil(n / 2) blocks.
 * Normals come in pairs: elements 2k and 2k + 1 are the cosine and the sine of one
 * Box-Muller draw from their two words.
 *
 * J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
#ifndef TENSORLIB_SCALAR_RANDOM_H
#define TENSORLIB_SCALAR_RANDOM_H

#include "tensorlib/scalar_trig.h"

namespace tl {

TL_HD inline uint32_t rotate_left(uint32_t x, int n) {
    return (x << n) | (x >> (32 - n));
}

/* Two rounds with the rotations of one row of the paper's table, and a swap. */
TL_HD inline void threefry_rounds(uint32_t &a, uint32_t &b, uint32_t &c, uint32_t &d,
                                  int r0, int r1, int s0, int s1) {
    a += b;
    b = rotate_left(b, r0) ^ a;
    c += d;
    d = rotate_left(d, r1) ^ c;
    a += d;
    d = rotate_left(d, s0) ^ a;
    c += b;
    b = rotate_left(b, s1) ^ c;
}

/* The block of (counter, key): four 32-bit words, replacing the counter. */
TL_HD inline void threefry4x32(uint32_t &a, uint32_t &b, uint32_t &c, uint32_t &d,
                               uint32_t k0, uint32_t k1, uint32_t k2, uint32_t k3) {
    uint32_t k4 = 0x1BD11BDAu ^ k0 ^ k1 ^ k2 ^ k3;
    a += k0;
    b += k1;
    c += k2;
    d += k3;
    threefry_rounds(a, b, c, d, 10, 26, 11, 21);
    threefry_rounds(a, b, c, d, 13, 27, 23, 5);
    a += k1;
    b += k2;
    c += k3;
    d += k4 + 1u;
    threefry_rounds(a, b, c, d, 6, 20, 17, 11);
    threefry_rounds(a, b, c, d, 25, 10, 18, 20);
    a += k2;
    b += k3;
    c += k4;
    d += k0 + 2u;
    threefry_rounds(a, b, c, d, 10, 26, 11, 21);
    threefry_rounds(a, b, c, d, 13, 27, 23, 5);
    a += k3;
    b += k4;
    c += k0;
    d += k1 + 3u;
    threefry_rounds(a, b, c, d, 6, 20, 17, 11);
    threefry_rounds(a, b, c, d, 25, 10, 18, 20);
    a += k4;
    b += k0;
    c += k1;
    d += k2 + 4u;
    threefry_rounds(a, b, c, d, 10, 26, 11, 21);
    threefry_rounds(a, b, c, d, 13, 27, 23, 5);
    a += k0;
    b += k1;
    c += k2;
    d += k3 + 5u;
}

/* Word `index` of the pair-wise view used by 8-byte fills. */
TL_HD inline uint64_t join_words(uint32_t low, uint32_t high) {
    return (static_cast<uint64_t>(high) << 32) | low;
}

/* [0, 1) with 24 and 53 random bits. Halves keep AVX2 in signed conversions. */
TL_HD inline float unit_interval(uint32_t word) {
    return static_cast<float>(static_cast<int32_t>(word >> 8)) * 5.9604644775390625e-8f;
}
TL_HD inline double unit_interval(uint64_t word) {
    return from_bits((word >> 12) | UINT64_C(0x3ff0000000000000)) - 1.0 +
           static_cast<double>(static_cast<int32_t>((word >> 11) & 1)) *
               1.1102230246251565e-16;
}

/* low + u (high - low), never high itself; last = the number before high. */
template <class T> TL_HD inline T uniform_between(T u, T low, T high, T last) {
    T x = low + u * (high - low);
    return x < high ? x : last;
}

/* A word is a success of this probability where it is below the threshold, of 2^32. */
TL_HD inline uint64_t bernoulli_threshold(double probability) {
    if (!(probability > 0.0)) return 0;
    if (probability >= 1.0) return UINT64_C(1) << 32;
    return static_cast<uint64_t>(probability * 4294967296.0);
}

/* sin and cos of 2 pi w / 2^32: the top bits of w name the quadrant exactly. */
TL_HD inline float sin_turn(uint32_t w, float *cosine) {
    uint32_t q = (w + 0x20000000u) >> 30;
    float r = static_cast<float>(static_cast<int32_t>(w << 2)) *
              (1.57079632679489662f / 4294967296.0f);
#ifdef TL_DEVICE_MATH
    float s = ::sinf(r), c = ::cosf(r);
    float sine = (q & 1u) ? c : s;
    float other = (q & 1u) ? s : c;
    *cosine = ((q + 1u) & 2u) ? -other : other;
    return (q & 2u) ? -sine : sine;
#else
    float s = sin_reduced(r), c = cos_reduced(r);
    *cosine = pick_quarter(s, c, q + 1u);
    return pick_quarter(s, c, q);
#endif
}

/* Box-Muller: two standard normals from two words; |z| <= 5.77 (float), 8.57. What the
 * logarithm is of is a positive normal number. */
TL_HD inline void normal_pair(uint32_t w0, uint32_t w1, float *z0, float *z1) {
    float u = static_cast<float>(static_cast<int32_t>((w0 >> 8) + 1u)) *
              5.9604644775390625e-8f;
    float radius = std::sqrt(-2.0f * log_moderate(u)), c;
    float s = sin_turn(w1, &c);
    *z0 = radius * c;
    *z1 = radius * s;
}
TL_HD inline void normal_pair(uint64_t w0, uint64_t w1, double *z0, double *z1) {
    double u = 1.0 - unit_interval(w0);
    double radius = std::sqrt(-2.0 * log_moderate(u));
    double angle = unit_interval(w1) * 6.28318530717958647692;
    *z0 = radius * cos_moderate(angle); /* below 2 pi */
    *z1 = radius * sin_moderate(angle);
}

/* Lemire's multiply-high: 0 <= result < range, bias below range / 2^64. */
TL_HD inline uint64_t below(uint64_t word, uint64_t range) {
#ifdef __CUDA_ARCH__
    return __umul64hi(word, range);
#else
    return static_cast<uint64_t>((static_cast<unsigned __int128>(word) * range) >> 64);
#endif
}

} // namespace tl

#endif /* TENSORLIB_SCALAR_RANDOM_H */

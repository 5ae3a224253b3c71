/* The 16-bit floating types: storage, and conversion from and to float and double.
 *
 * float16 is IEEE 754 binary16, bfloat16 the upper half of binary32. Conversions round
 * to nearest, ties to even, once; NaN stays NaN. C11 and C++17, without branches, so that
 * loops of them vectorize on every instruction set.
 *
 * References: IEEE 754-2019, 3.6 and 4.3.1; rounding to odd before a second rounding:
 * S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms
 * using rounding to odd", IEEE Trans. Computers 57 (2008) 462-471.
 */
#ifndef TENSORLIB_HALF_H
#define TENSORLIB_HALF_H

#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define TL_HALF static __host__ __device__ inline
#else
#define TL_HALF static inline
#endif

typedef struct tl_float16 {
    uint16_t bits;
} tl_float16;
typedef struct tl_bfloat16 {
    uint16_t bits;
} tl_bfloat16;

TL_HALF uint32_t tl_bits_of_float(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
TL_HALF float tl_float_of_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* The float on the same side of x's infinitely precise value whose last bit tells whether
 * x was inexact: rounding it to 16 bits rounds x correctly. */
TL_HALF float tl_double_to_odd(double x) {
    float near = (float)x;
    double back = near;
    uint32_t u = tl_bits_of_float(near);
    double size = x < 0 ? -x : x, rounded = back < 0 ? -back : back;
    u -= rounded > size;
    u |= rounded != size && x == x;
    return tl_float_of_bits(u);
}

TL_HALF float tl_float16_to_float(tl_float16 h) {
    uint32_t sign = (uint32_t)(h.bits & 0x8000u) << 16;
    uint32_t size = (uint32_t)(h.bits & 0x7fffu) << 13;
    /* The exponent's bias goes from 15 to 127; a product also mends subnormals. */
    uint32_t finite = tl_bits_of_float(tl_float_of_bits(size) * 5.192296858534828e33f);
    return tl_float_of_bits(sign | (size >= 0x0f800000u ? size | 0x7f800000u : finite));
}
TL_HALF tl_float16 tl_float16_of_float(float x) {
    uint32_t u = tl_bits_of_float(x), sign = u >> 16 & 0x8000u, size = u & 0x7fffffffu;
    uint32_t normal = (size + 0xfffu + (size >> 13 & 1u) - 0x38000000u) >> 13;
    /* Below 2^-14: 0.5 has the unit 2^-24 of float16's subnormals in its last place. */
    uint32_t tiny = tl_bits_of_float(tl_float_of_bits(size) + 0.5f) - 0x3f000000u;
    uint32_t found = size < 0x38800000u ? tiny : normal;
    tl_float16 h;
    found = size >= 0x477ff000u ? 0x7c00u : found; /* 65520 and above */
    found = size > 0x7f800000u ? 0x7e00u : found;
    h.bits = (uint16_t)(sign | found);
    return h;
}

TL_HALF float tl_bfloat16_to_float(tl_bfloat16 h) {
    return tl_float_of_bits((uint32_t)h.bits << 16);
}
TL_HALF tl_bfloat16 tl_bfloat16_of_float(float x) {
    uint32_t u = tl_bits_of_float(x);
    uint32_t found = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
    tl_bfloat16 h;
    h.bits = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16 | 0x40u) : found);
    return h;
}

#endif /* TENSORLIB_HALF_H */

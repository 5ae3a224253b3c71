// Formulas for results of 16 bits: in float32, but to the few digits that are kept,
// since their exact forms take longer than the memory that they read and write.
#pragma once

#include "elementwise.cuh"

namespace tl {

// One instruction each; numbers below the least normal one are 0.
#ifdef TL_CUDA_EMULATED
inline float reciprocal_fast(float x) { return 1.0f / x; }
inline float least_or_nan(float x, float y) { return x < y || x != x ? x : y; }
#else
__device__ __forceinline__ float reciprocal_fast(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float least_or_nan(float x, float y) {
    float z;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
    return z;
}
#endif

// Phi(-|x|) and exp(-x^2 / 2), to 5e-6 of themselves. The first is Mills' ratio times
// the second, the ratio a polynomial of 1 / (1 + p |x|): the form of Abramowitz and
// Stegun, 26.2.17, with coefficients fitted to the relative error. Beyond 16 both are 0
// in 16 bits, and infinities would make NaN; NaN stays.
struct NarrowNormal {
    float size, tail, bell; // the first: |x|, at most 16
    __device__ __forceinline__ explicit NarrowNormal(float x)
        : size(least_or_nan(fabsf(x), 16.0f)) {
        constexpr float scale = -0.72134752f; // -log2(e) / 2
        const float t = reciprocal_fast(1.0f + 0.30906908f * size);
        float ratio = -0.07464456f;
        ratio = ratio * t + 0.18472889f;
        ratio = ratio * t + 0.01181981f;
        ratio = ratio * t + 0.13485520f;
        ratio = ratio * t + 0.11972230f;
        ratio = ratio * t + 0.12351632f;
        bell = exp2_fast(size * scale * size);
        tail = ratio * t * bell;
    }
};

struct narrow_gelu_form : Common {
    __device__ __forceinline__ float operator()(float x) const {
        const NarrowNormal normal(x);
        return (x < 0.0f ? 0.0f : x) - normal.size * normal.tail;
    }
};

struct narrow_gelu_grad_form : Common {
    __device__ __forceinline__ float operator()(float g, float x) const {
        constexpr float height = 0.3989422804f; // 1 / sqrt(2 pi)
        const NarrowNormal normal(x);
        const float below = normal.tail - normal.size * height * normal.bell;
        return g * (x < 0.0f ? below : 1.0f - below);
    }
};

} // namespace tl

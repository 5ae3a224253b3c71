// Formulas for results of 16 bits: in float32, but to the few digits that are kept,
// since their exact forms take longer than the memory that they read and write.
#pragma once

#include "elementwise.cuh"

namespace tl {

// Phi(-a) and exp(-a^2 / 2) for 0 <= a <= 16, to 5e-6 of themselves. The first is
// Mills' ratio times the second, the ratio a polynomial of 1 / (1 + p a): the form of
// Abramowitz and Stegun, 26.2.17, with coefficients fitted to the relative error.
struct NarrowNormal {
    float tail, bell;
    __device__ __forceinline__ explicit NarrowNormal(float a) {
        const float t = __fdividef(1.0f, 1.0f + 0.30906908f * a);
        float ratio = -0.07464456f;
        ratio = ratio * t + 0.18472889f;
        ratio = ratio * t + 0.01181981f;
        ratio = ratio * t + 0.13485520f;
        ratio = ratio * t + 0.11972230f;
        ratio = ratio * t + 0.12351632f;
        bell = __expf(-0.5f * a * a);
        tail = ratio * t * bell;
    }
};

// x with a limit beyond which Phi is 0 or 1 in 16 bits and infinities stay; NaN is
// kept.
__device__ __forceinline__ float narrow_clamp(float x) {
    return fabsf(x) > 16.0f ? copysignf(16.0f, x) : x;
}

struct narrow_gelu_form : Common {
    __device__ __forceinline__ float operator()(float x) const {
        const float a = fabsf(narrow_clamp(x));
        return (x < 0.0f ? 0.0f : x) - a * NarrowNormal(a).tail;
    }
};

struct narrow_gelu_grad_form : Common {
    __device__ __forceinline__ float operator()(float g, float x) const {
        constexpr float height = 0.3989422804f; // 1 / sqrt(2 pi)
        const float near = narrow_clamp(x);
        const NarrowNormal normal(fabsf(near));
        const float below = x < 0.0f ? normal.tail : 1.0f - normal.tail;
        return g * (below + near * height * normal.bell);
    }
};

} // namespace tl

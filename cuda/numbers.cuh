// Numbers as kernels compute with them: 16-bit floats are read into float and rounded
// once when written.
#pragma once

#include "launch.cuh"
#include "tensorlib/half.h"

#ifndef TL_CUDA_EMULATED
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace tl {

template <> struct dtype_of<tl_float16> { static constexpr int code = TL_FLOAT16; };
template <> struct dtype_of<tl_bfloat16> { static constexpr int code = TL_BFLOAT16; };

// The type in which a kernel computes with elements of T.
template <typename T> struct computed { using type = T; };
template <> struct computed<tl_float16> { using type = float; };
template <> struct computed<tl_bfloat16> { using type = float; };
template <typename T> using computed_t = typename computed<T>::type;

template <typename T> __device__ __forceinline__ T load(const T *p) { return *p; }
template <typename T> __device__ __forceinline__ void store(T *p, T x) { *p = x; }

#ifdef TL_CUDA_EMULATED
inline float load(const tl_float16 *p) { return tl_float16_to_float(*p); }
inline float load(const tl_bfloat16 *p) { return tl_bfloat16_to_float(*p); }
inline void store(tl_float16 *p, float x) { *p = tl_float16_of_float(x); }
inline void store(tl_bfloat16 *p, float x) { *p = tl_bfloat16_of_float(x); }
inline float exp2_fast(float x) { return std::exp2(x); }
#else
__device__ __forceinline__ float load(const tl_float16 *p) {
    return __half2float(__ushort_as_half(p->bits));
}
__device__ __forceinline__ float load(const tl_bfloat16 *p) {
    return __bfloat162float(__ushort_as_bfloat16(p->bits));
}
__device__ __forceinline__ void store(tl_float16 *p, float x) {
    p->bits = __half_as_ushort(__float2half_rn(x));
}
__device__ __forceinline__ void store(tl_bfloat16 *p, float x) {
    p->bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
}
// 2^x to 2 ulp by one instruction; below the least normal number 0.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

// Some consecutive elements that travel as one access: 16 bytes where they fit.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };
template <typename T> constexpr int pack_of = 16 / sizeof(T);
inline bool is_aligned(const void *p, int bytes) {
    return reinterpret_cast<uintptr_t>(p) % bytes == 0;
}

} // namespace tl

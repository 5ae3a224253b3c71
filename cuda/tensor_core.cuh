// The instructions that a tensor-core product is made of, and what they mean on the
// emulator: fragments as the PTX ISA lays them out (9.7.14, "Warp-level matrix
// instructions"; 9.7.9.25, "cp.async").
#pragma once

#include "numbers.cuh"

namespace tl {
namespace tensor {

#ifndef TL_CUDA_EMULATED

using Shared = uint32_t; // an address in shared memory

__device__ __forceinline__ Shared shared(void *p) {
    return static_cast<Shared>(__cvta_generic_to_shared(p));
}

// 16 or 4 bytes to shared memory, past the registers: the first `count` are copied, the
// others zeros.
template <int Bytes>
__device__ __forceinline__ void copy_bytes(Shared target, const void *source,
                                           int count) {
    if (Bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(target),
                     "l"(source), "r"(count)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;\n" ::"r"(target),
                     "l"(source), "r"(count), "n"(Bytes)
                     : "memory");
}
__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}
template <int Pending> __device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(Pending) : "memory");
}

// Four 8 x 8 matrices of 16-bit numbers; lane l gives the address of line l % 8 of
// matrix l / 8. The second form transposes each.
__device__ __forceinline__ void read_matrices(uint32_t (&x)[4], Shared at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}
__device__ __forceinline__ void read_transposed(uint32_t (&x)[4], Shared at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}

// c += a @ b for a (16, 16), b (16, 8).
#define TL_MMA(name)                                                                   \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 "        \
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"             \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                      \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
__device__ __forceinline__ void mma(tl_bfloat16, float (&c)[4], const uint32_t (&a)[4],
                                    uint32_t b0, uint32_t b1) {
    TL_MMA("bf16");
}
__device__ __forceinline__ void mma(tl_float16, float (&c)[4], const uint32_t (&a)[4],
                                    uint32_t b0, uint32_t b1) {
    TL_MMA("f16");
}
#undef TL_MMA

#else

using Shared = char *;

inline Shared shared(void *p) { return static_cast<char *>(p); }

template <int Bytes> void copy_bytes(Shared target, const void *source, int count) {
    std::memset(target, 0, Bytes);
    std::memcpy(target, source, static_cast<size_t>(count));
}
inline void commit_copies() {}
template <int Pending> void wait_copies() {}

// The address that another lane gave.
inline const char *address_of(Shared at, int lane) {
    return reinterpret_cast<const char *>(
        __shfl_sync(0xffffffffu, reinterpret_cast<unsigned long long>(at), lane));
}
inline uint32_t half_at(const char *p) {
    uint16_t bits;
    std::memcpy(&bits, p, 2);
    return bits;
}
inline void read_matrices(uint32_t (&x)[4], Shared at) {
    const int lane = threadIdx.x % 32;
    for (int i = 0; i < 4; ++i) {
        const char *line = address_of(at, 8 * i + lane / 4) + lane % 4 * 4;
        x[i] = half_at(line) | half_at(line + 2) << 16;
    }
}
inline void read_transposed(uint32_t (&x)[4], Shared at) {
    const int lane = threadIdx.x % 32;
    for (int i = 0; i < 4; ++i) {
        const char *low = address_of(at, 8 * i + lane % 4 * 2);
        const char *high = address_of(at, 8 * i + lane % 4 * 2 + 1);
        x[i] = half_at(low + lane / 4 * 2) | half_at(high + lane / 4 * 2) << 16;
    }
}

template <typename T> float number_at(uint32_t pair, int which) {
    const T x = {static_cast<uint16_t>(pair >> 16 * which)};
    return load(&x);
}
template <typename T>
void mma(T, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    const int lane = threadIdx.x % 32;
    for (int quarter = 0; quarter < 4; ++quarter) {
        uint32_t left[4], right[2][2];
        for (int i = 0; i < 4; ++i)
            left[i] = __shfl_sync(0xffffffffu, a[i], lane / 4 * 4 + quarter);
        for (int col = 0; col < 2; ++col) {
            const int from = (lane % 4 * 2 + col) * 4 + quarter;
            right[col][0] = __shfl_sync(0xffffffffu, b0, from);
            right[col][1] = __shfl_sync(0xffffffffu, b1, from);
        }
        for (int at = 0; at < 4;
             ++at) // row lane / 4 + at / 2 * 8, column lane % 4 * 2 + at % 2
            for (int k = 0; k < 4; ++k)
                c[at] += number_at<T>(left[at / 2 + k / 2 * 2], k % 2) *
                         number_at<T>(right[at % 2][k / 2], k % 2);
    }
}

#endif

// 16 bytes, zeros where `inside` is false.
__device__ __forceinline__ void copy_async(Shared target, const void *source,
                                           bool inside) {
    copy_bytes<16>(target, source, inside ? 16 : 0);
}

} // namespace tensor
} // namespace tl

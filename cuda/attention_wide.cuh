// What the wgmma kernels of attention share: instructions, barriers in shared memory,
// tiles of 128-byte rows. For compute capability 9.0 (build: sm_90a).
#pragma once

#include "attention_tensor.cuh"

namespace tl {
namespace tensor {
namespace {

constexpr int kGroup = 128;   // threads of a warpgroup
constexpr int kWideRows = 64; // of one product
constexpr int kPanel = 64;    // elements in the 128 bytes of a swizzled row

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// ---- the instructions ---------------------------------------------------------------
#define TL_FOUR(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
// d (64 x 128) = or += a b^T, both in shared memory with depth contiguous.
template <typename T>
__device__ __forceinline__ void wide_scores(float (&d)[16][4], uint64_t a, uint64_t b,
                                            int add) {
    if constexpr (std::is_same_v<T, tl_bfloat16>)
        asm volatile(
            "{ .reg .pred p; setp.ne.b32 p, %66, 0; "
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0, %1, %2, %3, "
            "%4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "
            "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, "
            "%33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "
            "%47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, "
            "%61, %62, %63}, %64, %65, p, 1, 1, 0, 0; }"
            : TL_FOUR(0), TL_FOUR(1), TL_FOUR(2), TL_FOUR(3), TL_FOUR(4), TL_FOUR(5),
              TL_FOUR(6), TL_FOUR(7), TL_FOUR(8), TL_FOUR(9), TL_FOUR(10), TL_FOUR(11),
              TL_FOUR(12), TL_FOUR(13), TL_FOUR(14), TL_FOUR(15)
            : "l"(a), "l"(b), "r"(add));
    else
        asm volatile(
            "{ .reg .pred p; setp.ne.b32 p, %66, 0; "
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {%0, %1, %2, %3, %4, "
            "%5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "
            "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, "
            "%34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "
            "%62, %63}, %64, %65, p, 1, 1, 0, 0; }"
            : TL_FOUR(0), TL_FOUR(1), TL_FOUR(2), TL_FOUR(3), TL_FOUR(4), TL_FOUR(5),
              TL_FOUR(6), TL_FOUR(7), TL_FOUR(8), TL_FOUR(9), TL_FOUR(10), TL_FOUR(11),
              TL_FOUR(12), TL_FOUR(13), TL_FOUR(14), TL_FOUR(15)
            : "l"(a), "l"(b), "r"(add));
}
// d (64 x 64) = or += a b^T, both in shared memory with depth contiguous.
template <typename T>
__device__ __forceinline__ void wide_scores(float (&d)[8][4], uint64_t a, uint64_t b,
                                            int add) {
    if constexpr (std::is_same_v<T, tl_bfloat16>)
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %34, 0; "
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, "
                     "%2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, "
                     "%28, %29, %30, %31}, %32, %33, p, 1, 1, 0, 0; }"
                     : TL_FOUR(0), TL_FOUR(1), TL_FOUR(2), TL_FOUR(3), TL_FOUR(4),
                       TL_FOUR(5), TL_FOUR(6), TL_FOUR(7)
                     : "l"(a), "l"(b), "r"(add));
    else
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %34, 0; "
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0, %1, "
                     "%2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, "
                     "%28, %29, %30, %31}, %32, %33, p, 1, 1, 0, 0; }"
                     : TL_FOUR(0), TL_FOUR(1), TL_FOUR(2), TL_FOUR(3), TL_FOUR(4),
                       TL_FOUR(5), TL_FOUR(6), TL_FOUR(7)
                     : "l"(a), "l"(b), "r"(add));
}
// d (64 x 128) += a b; a in registers, b in shared memory with its columns contiguous.
template <typename T>
__device__ __forceinline__ void wide_values(float (&d)[16][4], const uint32_t (&a)[4],
                                            uint64_t b) {
    if constexpr (std::is_same_v<T, tl_bfloat16>)
        asm volatile(
            "{ .reg .pred p; setp.ne.b32 p, %69, 0; "
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0, %1, %2, %3, "
            "%4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "
            "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, "
            "%33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "
            "%47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, "
            "%61, %62, %63}, {%64, %65, %66, %67}, %68, p, 1, 1, 1; }"
            : TL_FOUR(0), TL_FOUR(1), TL_FOUR(2), TL_FOUR(3), TL_FOUR(4), TL_FOUR(5),
              TL_FOUR(6), TL_FOUR(7), TL_FOUR(8), TL_FOUR(9), TL_FOUR(10), TL_FOUR(11),
              TL_FOUR(12), TL_FOUR(13), TL_FOUR(14), TL_FOUR(15)
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
    else
        asm volatile(
            "{ .reg .pred p; setp.ne.b32 p, %69, 0; "
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {%0, %1, %2, %3, %4, "
            "%5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "
            "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, "
            "%34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "
            "%62, %63}, {%64, %65, %66, %67}, %68, p, 1, 1, 1; }"
            : TL_FOUR(0), TL_FOUR(1), TL_FOUR(2), TL_FOUR(3), TL_FOUR(4), TL_FOUR(5),
              TL_FOUR(6), TL_FOUR(7), TL_FOUR(8), TL_FOUR(9), TL_FOUR(10), TL_FOUR(11),
              TL_FOUR(12), TL_FOUR(13), TL_FOUR(14), TL_FOUR(15)
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}
// d (64 x 64) += a b; a in registers, b in shared memory with its columns contiguous.
template <typename T>
__device__ __forceinline__ void wide_values(float (&d)[8][4], const uint32_t (&a)[4],
                                            uint64_t b) {
    if constexpr (std::is_same_v<T, tl_bfloat16>)
        asm volatile(
            "{ .reg .pred p; setp.ne.b32 p, %37, 0; "
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, "
            "%4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "
            "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, "
            "%33, %34, %35}, %36, p, 1, 1, 1; }"
            : TL_FOUR(0), TL_FOUR(1), TL_FOUR(2), TL_FOUR(3), TL_FOUR(4), TL_FOUR(5),
              TL_FOUR(6), TL_FOUR(7)
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
    else
        asm volatile(
            "{ .reg .pred p; setp.ne.b32 p, %37, 0; "
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0, %1, %2, %3, %4, "
            "%5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "
            "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, "
            "%34, %35}, %36, p, 1, 1, 1; }"
            : TL_FOUR(0), TL_FOUR(1), TL_FOUR(2), TL_FOUR(3), TL_FOUR(4), TL_FOUR(5),
              TL_FOUR(6), TL_FOUR(7)
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}
#undef TL_FOUR

__device__ __forceinline__ void products_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void products_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N> __device__ __forceinline__ void products_await() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// What cp.async has written becomes visible to wgmma.
__device__ __forceinline__ void publish_copies() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void barrier_init(uint64_t *barrier, int arrivals) {
    asm volatile(
        "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
        "r"(arrivals)
        : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint64_t *barrier) {
    asm volatile(
        "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
        : "memory");
}
__device__ __forceinline__ void barrier_await(uint64_t *barrier, int parity) {
    asm volatile("{ .reg .pred done;\n"
                 "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra.uni ready;\n"
                 "bra.uni again;\n"
                 "ready: }" ::"r"(shared_address(barrier)),
                 "r"(parity)
                 : "memory");
}

// A matrix in shared memory for wgmma, 128-byte rows with their 16-byte pieces
// exchanged: eight rows follow each other after 1024 bytes, panels of 64 columns after
// `panel_bytes` (which products whose depth is contiguous do not use).
__device__ __forceinline__ uint64_t describe_matrix(const void *data, int panel_bytes) {
    const uint64_t address = (shared_address(data) & 0x3ffff) >> 4;
    return address | static_cast<uint64_t>(panel_bytes >> 4) << 16 |
           static_cast<uint64_t>(1024 >> 4) << 32 | UINT64_C(1) << 62;
}

// The same matrix further on; `bytes` in whole 16.
__device__ __forceinline__ uint64_t further(uint64_t matrix, int bytes) {
    return matrix + (bytes >> 4);
}

// Which group of four warps this is, known to the compiler as one for the whole warp.
__device__ __forceinline__ int group_index() {
    return __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kGroup, 0);
}

// Starts copying Rows rows from `first` on into panels of 64 columns. A thread's rows
// lie whole multiples of eight apart, so that its place within a row stays.
template <int D, int Rows, typename T>
__device__ __forceinline__ void copy_panels(T *tile, const Source<T> &x, int first) {
    constexpr int pieces = D / kPiece, rows_a_round = kGroup / pieces;
    static_assert(rows_a_round % 8 == 0 && Rows % rows_a_round == 0, "whole rounds");
    const int thread = threadIdx.x % kGroup, piece = thread % pieces;
    const int row = thread / pieces;
    T *to = tile + piece / 8 * (Rows * kPanel) + row * kPanel +
            (piece % 8 ^ (row & 7)) * kPiece;
    const bool inside = piece * kPiece < x.columns;
    const T *from = inside ? x.data + (first + row) * x.step + piece * kPiece : x.data;
    const int64_t step = inside ? rows_a_round * x.step : 0;
    if (first + Rows <= x.count) {
#pragma unroll
        for (int r = 0; r < Rows; r += rows_a_round, from += step)
            copy_async(to + r * kPanel, from, inside);
    } else {
#pragma unroll 4
        for (int r = 0; r < Rows; r += rows_a_round, from += step) {
            const bool exists = inside && first + row + r < x.count;
            copy_async(to + r * kPanel, exists ? from : x.data, exists);
        }
    }
}

// Tells the multiplying groups that what this thread has copied is there.
template <int UnderWay> __device__ __forceinline__ void announce(uint64_t *barrier) {
    await_copies<UnderWay>();
    publish_copies();
    barrier_arrive(barrier);
}

// One arrival a warp.
__device__ __forceinline__ void release(uint64_t *barrier) {
    __syncwarp();
    if (threadIdx.x % kWarp == 0) barrier_arrive(barrier);
}

// Waits for all products, after the arithmetic that made `weight`, which is not
// negative. The assembler would else move the wait in front of it, and nothing would
// run beside the products; a barrier that was passed already, at a parity that seems to
// depend on the weight, holds it.
__device__ __forceinline__ void products_await_after(float weight, uint64_t *passed,
                                                     int parity) {
    barrier_await(passed, parity ^ static_cast<int>(weight < 0.0f));
    products_await<0>();
}

// Asks for s = a b^T: 64 rows of a, `Left` rows a panel, and all rows of b.
template <int D, int Left, typename T, int N>
__device__ __forceinline__ void ask_scores(float (&s)[N][4], const T *a, const T *b) {
    constexpr int size = static_cast<int>(sizeof(T));
    const uint64_t left = describe_matrix(a, 16), right = describe_matrix(b, 16);
    products_begin();
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
        const int panel = k / 4 * kPanel * size, within = k % 4 * 16 * size;
        wide_scores<T>(s, further(left, panel * Left + within),
                       further(right, panel * 8 * N + within), k > 0);
    }
    products_commit();
}

// Asks for sum += weights b, whose columns are in panels of 16 K rows.
template <typename T, int N, int K>
__device__ __forceinline__ void
ask_values(float (&sum)[N][4], const uint32_t (&weights)[K][4], const T *b) {
    constexpr int row = kPanel * static_cast<int>(sizeof(T));
    const uint64_t right = describe_matrix(b, 16 * K * row);
    products_begin();
#pragma unroll
    for (int k = 0; k < K; ++k)
        wide_values<T>(sum, weights[k], further(right, k * 16 * row));
    products_commit();
}

template <typename T, int K>
__device__ __forceinline__ void pack_weights(uint32_t (&weights)[K][4],
                                             const float (&s)[2 * K][4]) {
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            weights[k][i] = pack_pair<T>(s[2 * k + i / 2][i % 2 * 2],
                                         s[2 * k + i / 2][i % 2 * 2 + 1]);
}
#endif

// Whether the current device has wgmma.
inline bool has_wide_products() {
    int device = 0, major = 0, minor = 0;
    if (cudaGetDevice(&device) != cudaSuccess) return false;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    return major == 9 && minor == 0;
}

} // namespace
} // namespace tensor
} // namespace tl

// What the wgmma kernels of attention share: instructions, barriers in shared memory,
// tiles of 128-byte rows. For compute capability 9.0 (build: sm_90a).
#pragma once

#include <algorithm>

#include "attention_tensor.cuh"

namespace tl {
namespace tensor {
namespace {

constexpr int kGroup = 128;   // threads of a warpgroup
constexpr int kWideRows = 64; // of one product
constexpr int kPanel = 64;    // elements in the 128 bytes of a swizzled row

// Which blocks of rows a thread block works on: there are as many thread blocks as
// processors, so that one item's first copies run beside the work on another. With
// causality, matrices come in sections whose operands fit the L2 cache; within one,
// blocks of rows go by rank, the longest first, forth and back over the thread blocks,
// in the next section back and forth: none has more than 1.05 times the mean of tiles
// to do, for the shapes of bench/ on 132 processors.
struct Schedule {
    uint32_t batch, blocks; // matrices; blocks of rows of each
    uint32_t section;       // matrices
    uint32_t rounds;        // over the thread blocks, for a section
    bool ranked;            // else a matrix's blocks follow each other
    // The next item of this thread block, from `round` on; false: no more.
    __device__ __forceinline__ bool next(uint32_t &round, uint32_t &matrix,
                                         int &rank) const {
        for (;;) {
            const uint32_t which = round / rounds, within = round % rounds;
            const uint32_t first = which * section;
            if (first >= batch) return false;
            ++round;
            const uint32_t here = min(section, batch - first);
            const uint32_t at =
                within * gridDim.x +
                ((within + which) & 1 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
            if (at >= here * blocks) continue; // the section ends before this block
            rank = static_cast<int>(ranked ? at / here : at % blocks);
            matrix = first + (ranked ? at % here : at / blocks);
            return true;
        }
    }
};
// bytes: of the operands of a matrix that every block of its rows reads.
inline Schedule make_schedule(int64_t batch, int64_t blocks, int64_t bytes,
                              bool causal) {
    constexpr int64_t cached = 16 << 20; // a third of an H100's
    int64_t section = batch;
    if (causal) {
        const int64_t most = cached / bytes < 1 ? 1 : cached / bytes;
        section = ceil_div(batch, ceil_div(batch, most));
    }
    const int64_t grid = std::min<int64_t>(processors(), batch * blocks);
    return {static_cast<uint32_t>(batch), static_cast<uint32_t>(blocks),
            static_cast<uint32_t>(section),
            static_cast<uint32_t>(ceil_div(section * blocks, grid)), causal};
}
inline unsigned thread_blocks(const Schedule &schedule) {
    return std::min(static_cast<uint32_t>(processors()),
                    schedule.batch * schedule.blocks);
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// ---- the instructions ---------------------------------------------------------------
// One product of depth 16: the accumulators' registers come first, the operands after
// them. add: whether what the accumulators held counts.
#define TL_SUMS_64                                                                     \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "          \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "           \
    "%30, %31}"
#define TL_SUMS_128                                                                    \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "          \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "           \
    "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "           \
    "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, "           \
    "%58, %59, %60, %61, %62, %63}"
#define TL_PRODUCT(type, add, columns, operands)                                       \
    "{ .reg .pred add; setp.ne.b32 add, " #add ", 0; "                                 \
    "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type              \
    " " TL_SUMS_##columns ", " operands "; }"
#define TL_WIDE_PRODUCT(T, add, columns, operands, ...)                                \
    if constexpr (std::is_same_v<T, tl_bfloat16>)                                      \
        asm volatile(TL_PRODUCT("bf16", add, columns, operands) : __VA_ARGS__);        \
    else                                                                               \
        asm volatile(TL_PRODUCT("f16", add, columns, operands) : __VA_ARGS__)
#define TL_FOUR(way, i) way(d[i][0]), way(d[i][1]), way(d[i][2]), way(d[i][3])
#define TL_SUMS_OF_64(way)                                                             \
    TL_FOUR(way, 0), TL_FOUR(way, 1), TL_FOUR(way, 2), TL_FOUR(way, 3),                \
        TL_FOUR(way, 4), TL_FOUR(way, 5), TL_FOUR(way, 6), TL_FOUR(way, 7)
#define TL_SUMS_OF_128(way)                                                            \
    TL_SUMS_OF_64(way), TL_FOUR(way, 8), TL_FOUR(way, 9), TL_FOUR(way, 10),            \
        TL_FOUR(way, 11), TL_FOUR(way, 12), TL_FOUR(way, 13), TL_FOUR(way, 14),        \
        TL_FOUR(way, 15)
#define TL_ROWS(a) "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])
// Sums that begin here have no value before, which leaves the compiler more registers.
// d (64 x 64) = a b^T, both in shared memory with depth contiguous.
template <typename T>
__device__ __forceinline__ void first_scores(float (&d)[8][4], uint64_t a, uint64_t b) {
    TL_WIDE_PRODUCT(T, 0, 64, "%32, %33, add, 1, 1, 0, 0", TL_SUMS_OF_64("=f")
                    : "l"(a), "l"(b));
}
template <typename T>
__device__ __forceinline__ void first_scores(float (&d)[16][4], uint64_t a,
                                             uint64_t b) {
    TL_WIDE_PRODUCT(T, 0, 128, "%64, %65, add, 1, 1, 0, 0", TL_SUMS_OF_128("=f")
                    : "l"(a), "l"(b));
}
// The same added.
template <typename T>
__device__ __forceinline__ void more_scores(float (&d)[8][4], uint64_t a, uint64_t b) {
    TL_WIDE_PRODUCT(T, 1, 64, "%32, %33, add, 1, 1, 0, 0", TL_SUMS_OF_64("+f")
                    : "l"(a), "l"(b));
}
template <typename T>
__device__ __forceinline__ void more_scores(float (&d)[16][4], uint64_t a, uint64_t b) {
    TL_WIDE_PRODUCT(T, 1, 128, "%64, %65, add, 1, 1, 0, 0", TL_SUMS_OF_128("+f")
                    : "l"(a), "l"(b));
}
// d (64 x 64 or 128) += a b; a in registers, b in shared memory with its columns
// contiguous.
template <typename T>
__device__ __forceinline__ void more_values(float (&d)[8][4], const uint32_t (&a)[4],
                                            uint64_t b) {
    TL_WIDE_PRODUCT(T, 1, 64, "{%32, %33, %34, %35}, %36, add, 1, 1, 1",
                    TL_SUMS_OF_64("+f")
                    : TL_ROWS(a), "l"(b));
}
template <typename T>
__device__ __forceinline__ void more_values(float (&d)[16][4], const uint32_t (&a)[4],
                                            uint64_t b) {
    TL_WIDE_PRODUCT(T, 1, 128, "{%64, %65, %66, %67}, %68, add, 1, 1, 1",
                    TL_SUMS_OF_128("+f")
                    : TL_ROWS(a), "l"(b));
}
#undef TL_ROWS
#undef TL_SUMS_OF_128
#undef TL_SUMS_OF_64
#undef TL_FOUR
#undef TL_WIDE_PRODUCT
#undef TL_PRODUCT
#undef TL_SUMS_128
#undef TL_SUMS_64

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

__device__ __forceinline__ bool barrier_passed(uint64_t *barrier, int parity) {
    int passed;
    asm volatile("{ .reg .pred done;\n"
                 "mbarrier.test_wait.parity.shared::cta.b64 done, [%1], %2;\n"
                 "selp.s32 %0, 1, 0, done; }"
                 : "=r"(passed)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
    return passed != 0;
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

// Ends a batch of copies, which `barrier` is to tell of, and tells of the one before,
// which has had the time that starting this one took.
__device__ __forceinline__ void submit(uint64_t *barrier, uint64_t *&pending) {
    commit_copies();
    if (pending != nullptr) announce<1>(pending);
    pending = barrier;
}
__device__ __forceinline__ void flush(uint64_t *&pending) {
    if (pending != nullptr) announce<0>(pending);
    pending = nullptr;
}
// Waits until what is to be overwritten was read, telling first of what was copied: its
// readers may be those waited for.
__device__ __forceinline__ void reserve(uint64_t *read, int parity,
                                        uint64_t *&pending) {
    if (barrier_passed(read, parity)) return;
    flush(pending);
    barrier_await(read, parity);
}

// The stages of a buffer in turn, and the parity of the barriers of this time around.
template <int Stages> struct Ring {
    int stage = 0, parity = 0;
    __device__ __forceinline__ void advance() {
        if (++stage == Stages) stage = 0, parity ^= 1;
    }
};

// One arrival a warp.
__device__ __forceinline__ void release(uint64_t *barrier) {
    __syncwarp();
    if (threadIdx.x % kWarp == 0) barrier_arrive(barrier);
}

// What products have written is read after this, not before; and what they add to has
// its value by here, not in their midst, where the assembler would do them one by one.
template <int N> __device__ __forceinline__ void settle(float (&s)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            asm volatile("" : "+f"(s[n][i])::"memory");
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
        if (k == 0)
            first_scores<T>(s, left, right);
        else
            more_scores<T>(s, further(left, panel * Left + within),
                           further(right, panel * 8 * N + within));
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
        more_values<T>(sum, weights[k], further(right, k * 16 * row));
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

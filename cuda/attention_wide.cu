// Attention of 16-bit floats with wgmma, for compute capability 9.0 (build: sm_90a).
//
// Four warps copy tiles of 128 keys and values; two or three groups of four own 64 rows
// each and meet the copies at barriers in shared memory only, so that one group's
// softmax runs beside another's products. Within a group the next scores are asked for
// before the last weights are multiplied with the values, which softmax overlaps as
// well.
//
// J. Shah et al., "FlashAttention-3", arXiv:2407.08608, algorithm 2.
#include "attention_tensor.cuh"

namespace tl {
namespace tensor {
namespace {

constexpr int kGroup = 128;    // threads of a warpgroup
constexpr int kWideRows = 64;  // of one product
constexpr int kWideKeys = 128; // of a tile
constexpr int kStages = 2;
constexpr int kPanel = 64; // elements in the 128 bytes of a swizzled row

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

// Starts copying Rows rows from `first` on into panels of 64 columns.
template <int D, int Rows, typename T>
__device__ __forceinline__ void copy_panels(T *tile, const Source<T> &x, int first) {
    constexpr int pieces = D / kPiece, rows_a_round = kGroup / pieces;
    const int thread = threadIdx.x % kGroup, piece = thread % pieces;
    T *to = tile + piece / 8 * (Rows * kPanel);
#pragma unroll 4
    for (int r = thread / pieces; r < Rows; r += rows_a_round) {
        const bool exists = first + r < x.count && piece * kPiece < x.columns;
        copy_async(to + r * kPanel + (piece % 8 ^ (r & 7)) * kPiece,
                   exists ? x.data + (first + r) * x.step + piece * kPiece : x.data,
                   exists);
    }
}

// Shared memory of a block; barriers count tiles that are there, and tiles that were
// read.
template <int D, int Groups, typename T> struct WideShared {
    T *queries, *keys, *values;
    uint64_t *keys_there, *keys_read, *values_there, *values_read;
    static constexpr int tile = kWideKeys * D;
    __device__ explicit WideShared(unsigned char *raw) {
        const uint32_t address = shared_address(raw);
        queries = reinterpret_cast<T *>(raw + ((1024 - address % 1024) % 1024));
        keys = queries + Groups * kWideRows * D;
        values = keys + kStages * tile;
        keys_there = reinterpret_cast<uint64_t *>(values + kStages * tile);
        keys_read = keys_there + kStages;
        values_there = keys_read + kStages;
        values_read = values_there + kStages;
    }
};

// Tells the multiplying groups that what this thread has copied is there.
template <int UnderWay> __device__ __forceinline__ void announce(uint64_t *barrier) {
    await_copies<UnderWay>();
    publish_copies();
    barrier_arrive(barrier);
}

// The copying warps. Keys are a tile ahead of values, as they are read before the
// values of the tile in front of them; a tile is announced when the next one has been
// asked for.
template <int D, int Groups, typename T>
__device__ __forceinline__ void copy_tiles(const WideShared<D, Groups, T> &at,
                                           const Source<T> &q, const Source<T> &k,
                                           const Source<T> &v, int first, int tiles) {
    copy_panels<D, Groups * kWideRows>(at.queries, q, first);
    copy_panels<D, kWideKeys>(at.keys, k, 0);
    commit_copies();
    for (int i = 0; i < tiles; ++i) {
        const int next = i + 1, stage = i % kStages, other = next % kStages;
        uint64_t *pending =
            i == 0 ? at.keys_there : at.values_there + (i - 1) % kStages;
        if (next < tiles) {
            barrier_await(at.keys_read + other, (next / kStages & 1) ^ 1);
            copy_panels<D, kWideKeys>(at.keys + other * at.tile, k, next * kWideKeys);
            commit_copies();
            announce<1>(pending);
        } else {
            announce<0>(pending);
        }
        barrier_await(at.values_read + stage, (i / kStages & 1) ^ 1);
        copy_panels<D, kWideKeys>(at.values + stage * at.tile, v, i * kWideKeys);
        commit_copies();
        if (next < tiles) announce<1>(at.keys_there + other);
    }
    announce<0>(at.values_there + (tiles - 1) % kStages);
}

// Asks for s = q k^T of a group's rows.
template <int D, int Rows, typename T>
__device__ __forceinline__ void ask_scores(float (&s)[16][4], const T *queries, int row,
                                           const T *keys) {
    products_begin();
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
        const int panel = k / 4, within = k % 4 * 16;
        wide_scores<T>(s,
                       describe_matrix(
                           queries + panel * Rows * kPanel + row * kPanel + within, 16),
                       describe_matrix(keys + panel * kWideKeys * kPanel + within, 16),
                       k > 0);
    }
    products_commit();
}

// Asks for sum += weights v.
template <int D, typename T>
__device__ __forceinline__ void
ask_values(float (&sum)[D / 8][4], const uint32_t (&weights)[8][4], const T *values) {
    products_begin();
#pragma unroll
    for (int k = 0; k < kWideKeys / 16; ++k)
        wide_values<T>(
            sum, weights[k],
            describe_matrix(values + k * 16 * kPanel,
                            kWideKeys * kPanel * static_cast<int>(sizeof(T))));
    products_commit();
}

template <typename T>
__device__ __forceinline__ void mask_tile(const Heads<T> &heads, float (&s)[16][4],
                                          int row, int column) {
    if (column + kWideKeys > heads.keys ||
        (heads.causal && column + kWideKeys - 1 > row))
        mask_scores<false>(heads, 0, s, row, column);
}

// Scores to weights in place; the factor on what was summed up before.
__device__ __forceinline__ void wide_online(float (&s)[16][4], float (&highest)[2],
                                            float (&total)[2], float (&factor)[2],
                                            float scale) {
    float none[1][4] = {};
    float before[2] = {highest[0], highest[1]};
    online_rows(s, none, highest, total, scale);
#pragma unroll
    for (int r = 0; r < 2; ++r)
        factor[r] = exp2_fast(before[r] * scale -
                              (highest[r] == -INFINITY ? 0.0f : highest[r] * scale));
}

template <typename T>
__device__ __forceinline__ void pack_weights(uint32_t (&weights)[8][4],
                                             const float (&s)[16][4]) {
#pragma unroll
    for (int k = 0; k < 8; ++k)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            weights[k][i] = pack_pair<T>(s[2 * k + i / 2][i % 2 * 2],
                                         s[2 * k + i / 2][i % 2 * 2 + 1]);
}

// One arrival a warp.
__device__ __forceinline__ void release(uint64_t *barrier) {
    __syncwarp();
    if (threadIdx.x % kWarp == 0) barrier_arrive(barrier);
}

// A group that multiplies: all tiles for its 64 rows.
template <int D, int Groups, typename T>
__device__ __forceinline__ void
attend(const Heads<T> &heads, const WideShared<D, Groups, T> &at, int64_t matrix,
       int first, int row, int tiles, T *y, float *stats) {
    constexpr int rows = Groups * kWideRows;
    const int lane = threadIdx.x % kWarp;
    const int warp_row = first + row + threadIdx.x % kGroup / kWarp * 16;
    const float scale = heads.scale * kLog2E;
    float s[16][4], sum[D / 8][4] = {}, highest[2] = {-INFINITY, -INFINITY},
                            total[2] = {};
    float factor[2];
    uint32_t weights[8][4];
    barrier_await(at.keys_there, 0);
    ask_scores<D, rows>(s, at.queries, row, at.keys);
    products_await<0>();
    release(at.keys_read);
    mask_tile(heads, s, warp_row, 0);
    wide_online(s, highest, total, factor, scale);
    pack_weights<T>(weights, s);
    for (int i = 1; i < tiles; ++i) {
        const int stage = i % kStages, last = (i - 1) % kStages;
        barrier_await(at.keys_there + stage, i / kStages & 1);
        ask_scores<D, rows>(s, at.queries, row, at.keys + stage * at.tile);
        barrier_await(at.values_there + last, (i - 1) / kStages & 1);
        ask_values<D>(sum, weights, at.values + last * at.tile);
        products_await<1>(); // the scores
        release(at.keys_read + stage);
        mask_tile(heads, s, warp_row, i * kWideKeys);
        wide_online(s, highest, total, factor, scale);
        products_await<0>();
        release(at.values_read + last);
        pack_weights<T>(weights, s);
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
#pragma unroll
            for (int j = 0; j < 4; ++j)
                sum[n][j] *= factor[j / 2];
    }
    barrier_await(at.values_there + (tiles - 1) % kStages, (tiles - 1) / kStages & 1);
    ask_values<D>(sum, weights, at.values + (tiles - 1) % kStages * at.tile);
    products_await<0>();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int query = warp_row + 8 * r + lane / 4;
        const float all = across_quad(total[r], Sum());
        const float inverse = highest[r] == -INFINITY ? 0.0f : 1.0f / all;
        if (query >= heads.queries) continue;
        const int64_t at_row = matrix * heads.queries + query;
        if (lane % 4 == 0) {
            stats[2 * at_row] = highest[r] * heads.scale;
            stats[2 * at_row + 1] = inverse;
        }
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
            if (8 * n < heads.width)
                store_pair(y + at_row * heads.width + 8 * n + lane % 4 * 2,
                           sum[n][2 * r] * inverse, sum[n][2 * r + 1] * inverse);
    }
}
#endif

// Registers a thread of the copying and of the multiplying groups, of 65536 a
// processor.
template <int Groups> constexpr int kCopyRegisters = Groups == 2 ? 40 : 32;
template <int Groups> constexpr int kMultiplyRegisters = Groups == 2 ? 232 : 160;

template <typename T, int D, int Groups>
__global__ void __launch_bounds__((Groups + 1) * kGroup, 1)
    attention_wide_kernel(Heads<T> heads, T *y, float *stats) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int rows = Groups * kWideRows;
    TL_DYNAMIC_SHARED(unsigned char, raw);
    const WideShared<D, Groups, T> at(raw);
    if (threadIdx.x == 0)
        for (int i = 0; i < kStages; ++i) {
            barrier_init(at.keys_there + i, kGroup);
            barrier_init(at.values_there + i, kGroup);
            barrier_init(at.keys_read + i, Groups * kGroup / kWarp);
            barrier_init(at.values_read + i, Groups * kGroup / kWarp);
        }
    __syncthreads();
    const int blocks = (heads.queries + rows - 1) / rows;
    const int64_t matrix = blockIdx.x / blocks;
    const int first = (blocks - 1 - static_cast<int>(blockIdx.x % blocks)) * rows;
    int end = heads.keys;
    if (heads.causal && first + rows < end) end = first + rows;
    const int tiles = (end + kWideKeys - 1) / kWideKeys;
    if (threadIdx.x < kGroup) {
        asm volatile(
            "setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCopyRegisters<Groups>));
        int64_t starts[kAttentionOperands];
        heads.starts(blockIdx.x / blocks, starts);
        const Source<T> q = {heads.q + starts[kQueries], heads.row[kQueries],
                             heads.queries, heads.depth};
        const Source<T> k = {heads.k + starts[kKeys], heads.row[kKeys], heads.keys,
                             heads.depth};
        const Source<T> v = {heads.v + starts[kValues], heads.row[kValues], heads.keys,
                             heads.width};
        copy_tiles<D, Groups>(at, q, k, v, first, tiles);
    } else {
        asm volatile(
            "setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kMultiplyRegisters<Groups>));
        const int row = (threadIdx.x / kGroup - 1) * kWideRows;
        attend<D, Groups>(heads, at, matrix, first, row, tiles, y, stats);
    }
#endif
}

template <typename T, int D, int Groups>
tl_status launch_wide(const Heads<T> &heads, T *y, float *stats) {
    constexpr size_t shared =
        sizeof(T) * D * (Groups * kWideRows + 2 * kStages * kWideKeys) + 1024 +
        64 * kStages;
    const int64_t blocks = heads.batch * ceil_div(heads.queries, Groups * kWideRows);
    return launch(static_cast<unsigned>(blocks), (Groups + 1) * kGroup, shared,
                  attention_wide_kernel<T, D, Groups>, heads, y, stats);
}

} // namespace

// For devices of compute capability 9.0 and what `attention` serves without masks.
template <typename T>
tl_status wide_attention(const Heads<T> &heads, T *y, float *stats) {
    int device = 0, major = 0, minor = 0;
    if (cudaGetDevice(&device) != cudaSuccess) return TL_DECLINED;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    if (major != 9 || minor != 0 || heads.keys < kWideKeys) return TL_DECLINED;
    return heads.depth <= 64 && heads.width <= 64
               ? launch_wide<T, 64, 3>(heads, y, stats)
               : launch_wide<T, 128, 2>(heads, y, stats);
}
template tl_status wide_attention(const Heads<tl_float16> &, tl_float16 *, float *);
template tl_status wide_attention(const Heads<tl_bfloat16> &, tl_bfloat16 *, float *);

} // namespace tensor
} // namespace tl

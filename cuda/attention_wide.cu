// Attention of 16-bit floats with wgmma, for compute capability 9.0 (build: sm_90a).
//
// Four warps copy tiles of 128 keys and values; two or three groups of four own 64 rows
// each and meet the copies at barriers in shared memory only, so that one group's
// softmax runs beside another's products. Within a group the next scores are asked for
// before the last weights are multiplied with the values, which softmax overlaps as
// well.
//
// J. Shah et al., "FlashAttention-3", arXiv:2407.08608, algorithm 2.
#include "attention_wide.cuh"

namespace tl {
namespace tensor {
namespace {

constexpr int kWideKeys = 128; // of a tile
constexpr int kStages = 2;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
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

template <typename T>
__device__ __forceinline__ void
mask_tile(const Heads<T> &heads, float (&s)[kWideKeys / 8][4], int row, int column) {
    if (column + kWideKeys > heads.keys ||
        (heads.causal && column + kWideKeys - 1 > row))
        mask_scores<false>(heads, 0, s, row, column);
}

// Scores to weights in place; the factor on what was summed up before.
__device__ __forceinline__ void wide_online(float (&s)[kWideKeys / 8][4],
                                            float (&highest)[2], float (&total)[2],
                                            float (&factor)[2], float scale) {
    float none[1][4] = {};
    float before[2] = {highest[0], highest[1]};
    online_rows(s, none, highest, total, scale);
#pragma unroll
    for (int r = 0; r < 2; ++r)
        factor[r] = exp2_fast(before[r] * scale -
                              (highest[r] == -INFINITY ? 0.0f : highest[r] * scale));
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
    float s[kWideKeys / 8][4], sum[D / 8][4] = {}, highest[2] = {-INFINITY, -INFINITY},
                                       total[2] = {};
    float factor[2];
    uint32_t weights[kWideKeys / 16][4];
    const T *queries = at.queries + row * kPanel;
    barrier_await(at.keys_there, 0);
    ask_scores<D, rows>(s, queries, at.keys);
    products_await<0>();
    release(at.keys_read);
    mask_tile(heads, s, warp_row, 0);
    wide_online(s, highest, total, factor, scale);
    pack_weights<T>(weights, s);
    for (int i = 1; i < tiles; ++i) {
        const int stage = i % kStages, last = (i - 1) % kStages;
        barrier_await(at.keys_there + stage, i / kStages & 1);
        ask_scores<D, rows>(s, queries, at.keys + stage * at.tile);
        barrier_await(at.values_there + last, (i - 1) / kStages & 1);
        ask_values(sum, weights, at.values + last * at.tile);
        products_await<1>(); // the scores
        release(at.keys_read + stage);
        mask_tile(heads, s, warp_row, i * kWideKeys);
        wide_online(s, highest, total, factor, scale);
        products_await_after(total[0] + total[1], at.values_there + last,
                             (i - 1) / kStages & 1);
        release(at.values_read + last);
        pack_weights<T>(weights, s);
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
#pragma unroll
            for (int j = 0; j < 4; ++j)
                sum[n][j] *= factor[j / 2];
    }
    barrier_await(at.values_there + (tiles - 1) % kStages, (tiles - 1) / kStages & 1);
    ask_values(sum, weights, at.values + (tiles - 1) % kStages * at.tile);
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
        const int row = (group_index() - 1) * kWideRows;
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
    if (!has_wide_products() || heads.keys < kWideKeys) return TL_DECLINED;
    return heads.depth <= 64 && heads.width <= 64
               ? launch_wide<T, 64, 3>(heads, y, stats)
               : launch_wide<T, 128, 2>(heads, y, stats);
}
template tl_status wide_attention(const Heads<tl_float16> &, tl_float16 *, float *);
template tl_status wide_attention(const Heads<tl_bfloat16> &, tl_bfloat16 *, float *);

} // namespace tensor
} // namespace tl

// Attention of 16-bit floats with wgmma, for compute capability 9.0 (build: sm_90a).
//
// Four warps copy tiles of 128 keys and values; two or three groups of four own 64 rows
// each and meet the copies at barriers in shared memory only, so that one group's
// softmax runs beside another's products. Within a group the next scores are asked for
// before the last weights are multiplied with the values, which softmax overlaps as
// well. A block stays for many items (Schedule): while it ends one, the next one's
// first tiles arrive. Lost on an H200: groups that ask in turns, exponentials by
// polynomials for a quarter of the weights, and two tiles of scores at a time, for
// which tiles must be smaller.
//
// J. Shah et al., "FlashAttention-3", arXiv:2407.08608, algorithm 2.
#include "attention_wide.cuh"

namespace tl {
namespace tensor {
namespace {

constexpr int kWideKeys = 128; // of a tile
// Tiles of keys and of values under way, and of queries: those of the next item arrive
// during the work on one.
template <int D> constexpr int kStages = D == 64 ? 4 : 2;
constexpr int kOwnStages = 2;

// Shared memory of a block; barriers count tiles that are there, and tiles that were
// read.
template <int D, int Groups, typename T> struct WideShared {
    T *queries, *keys, *values;
    uint64_t *queries_there, *queries_read;
    uint64_t *keys_there, *keys_read, *values_there, *values_read;
    static constexpr int own = Groups * kWideRows * D, tile = kWideKeys * D;
    static constexpr size_t bytes =
        1024 + sizeof(T) * (kOwnStages * own + 2 * kStages<D> * tile) +
        sizeof(uint64_t) * (2 * kOwnStages + 4 * kStages<D>);
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    __device__ explicit WideShared(unsigned char *raw) {
        const uint32_t address = shared_address(raw);
        queries = reinterpret_cast<T *>(raw + ((1024 - address % 1024) % 1024));
        keys = queries + kOwnStages * own;
        values = keys + kStages<D> * tile;
        queries_there = reinterpret_cast<uint64_t *>(values + kStages<D> * tile);
        queries_read = queries_there + kOwnStages;
        keys_there = queries_read + kOwnStages;
        keys_read = keys_there + kStages<D>;
        values_there = keys_read + kStages<D>;
        values_read = values_there + kStages<D>;
    }
#endif
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// The rows of an item, and how many tiles of keys they see.
template <int Rows, typename T> struct Item {
    int first, tiles;
    __device__ Item(const Heads<T> &heads, int blocks, int rank) {
        first = (blocks - 1 - rank) * Rows;
        int end = heads.keys;
        if (heads.causal && first + Rows < end) end = first + Rows;
        tiles = (end + kWideKeys - 1) / kWideKeys;
    }
};

// The copying warps. Keys are a tile ahead of values, as they are read before the
// values of the tile in front of them.
template <int D, int Groups, typename T>
__device__ __forceinline__ void copy_items(const WideShared<D, Groups, T> &at,
                                           const Heads<T> &heads,
                                           const Schedule &schedule) {
    constexpr int rows = Groups * kWideRows;
    Ring<kOwnStages> own;
    Ring<kStages<D>> key, value;
    uint64_t *pending = nullptr;
    uint32_t round = 0, matrix;
    int rank;
    while (schedule.next(round, matrix, rank)) {
        const Item<rows, T> item(heads, schedule.blocks, rank);
        int64_t starts[kAttentionOperands];
        heads.starts(matrix, starts);
        const Source<T> q = {heads.q + starts[kQueries], heads.row[kQueries],
                             heads.queries, heads.depth};
        const Source<T> k = {heads.k + starts[kKeys], heads.row[kKeys], heads.keys,
                             heads.depth};
        const Source<T> v = {heads.v + starts[kValues], heads.row[kValues], heads.keys,
                             heads.width};
        reserve(at.queries_read + own.stage, own.parity ^ 1, pending);
        copy_panels<D, rows>(at.queries + own.stage * at.own, q, item.first);
        submit(at.queries_there + own.stage, pending);
        own.advance();
        for (int i = 0; i <= item.tiles; ++i) {
            if (i < item.tiles) {
                reserve(at.keys_read + key.stage, key.parity ^ 1, pending);
                copy_panels<D, kWideKeys>(at.keys + key.stage * at.tile, k,
                                          i * kWideKeys);
                submit(at.keys_there + key.stage, pending);
                key.advance();
            }
            if (i > 0) {
                reserve(at.values_read + value.stage, value.parity ^ 1, pending);
                copy_panels<D, kWideKeys>(at.values + value.stage * at.tile, v,
                                          (i - 1) * kWideKeys);
                submit(at.values_there + value.stage, pending);
                value.advance();
            }
        }
    }
    flush(pending);
}

// Hides keys that do not exist or, with causality, come after their query.
template <typename T>
__device__ __forceinline__ void
mask_tile(const Heads<T> &heads, float (&s)[kWideKeys / 8][4], int row, int column) {
    if (column + kWideKeys <= heads.keys &&
        !(heads.causal && column + kWideKeys - 1 > row))
        return;
    const int lane = threadIdx.x % kWarp, along = column + lane % 4 * 2;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        int last = heads.keys - 1; // of the keys that this row sees
        if (heads.causal) last = min(last, row + lane / 4 + 8 * r);
        last -= along;
#pragma unroll
        for (int n = 0; n < kWideKeys / 8; ++n)
#pragma unroll
            for (int i = 0; i < 2; ++i)
                if (8 * n + i > last) s[n][2 * r + i] = -INFINITY;
    }
}

// Scores to weights in place; the factor on what was summed up before.
__device__ __forceinline__ void wide_online(float (&s)[kWideKeys / 8][4],
                                            float (&highest)[2], float (&total)[2],
                                            float (&factor)[2], float scale) {
    constexpr int N = kWideKeys / 8;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float top = highest[r], odd = s[0][2 * r + 1];
#pragma unroll
        for (int n = 0; n < N; ++n) {
            top = fmaxf(top, s[n][2 * r]);
            odd = fmaxf(odd, s[n][2 * r + 1]);
        }
        top = across_quad(fmaxf(top, odd), Larger());
        // Nothing to see yet: every exponential is that of -inf.
        const float base = top == -INFINITY ? 0.0f : top * scale;
        factor[r] = exp2_fast(highest[r] * scale - base);
        float added[2] = {};
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; ++i) {
                s[n][i] = exp2_fast(fmaf(s[n][i], scale, -base));
                added[i % 2] += s[n][i];
            }
        total[r] = total[r] * factor[r] + (added[0] + added[1]);
        highest[r] = top;
    }
}

template <int D, typename T>
__device__ __forceinline__ void
write_rows(const Heads<T> &heads, uint32_t matrix, int warp_row,
           const float (&sum)[D / 8][4], const float (&highest)[2],
           const float (&total)[2], T *y, float *stats) {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int query = warp_row + 8 * r + lane / 4;
        const float all = across_quad(total[r], Sum());
        const float inverse = highest[r] == -INFINITY ? 0.0f : 1.0f / all;
        if (query >= heads.queries) continue;
        const int64_t at_row = static_cast<int64_t>(matrix) * heads.queries + query;
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

// The rings of keys and values as a multiplying group goes through them.
template <int D> struct Tiles {
    Ring<kStages<D>> key, value;
    // Passes by `count` tiles that only other groups' rows see.
    template <int Groups, typename T>
    __device__ __forceinline__ void pass_by(const WideShared<D, Groups, T> &at,
                                            int count) {
        for (int i = 0; i < count; ++i) {
            barrier_await(at.keys_there + key.stage, key.parity);
            end_keys(at);
            barrier_await(at.values_there + value.stage, value.parity);
            end_values(at);
        }
    }
    template <int Groups, typename T>
    __device__ __forceinline__ void end_keys(const WideShared<D, Groups, T> &at) {
        release(at.keys_read + key.stage);
        key.advance();
    }
    template <int Groups, typename T>
    __device__ __forceinline__ void end_values(const WideShared<D, Groups, T> &at) {
        release(at.values_read + value.stage);
        value.advance();
    }
};

// What 64 rows see of `count` tiles, one or more.
template <int D, int Groups, typename T>
__device__ __forceinline__ void
attend(const Heads<T> &heads, const WideShared<D, Groups, T> &at, const T *queries,
       int warp_row, int count, Tiles<D> &tiles, float (&sum)[D / 8][4],
       float (&highest)[2], float (&total)[2]) {
    constexpr int rows = Groups * kWideRows;
    const float scale = heads.scale * kLog2E;
    Ring<kStages<D>> &key = tiles.key, &value = tiles.value;
    float s[kWideKeys / 8][4], factor[2];
    uint32_t weights[kWideKeys / 16][4];
    barrier_await(at.keys_there + key.stage, key.parity);
    ask_scores<D, rows>(s, queries, at.keys + key.stage * at.tile);
    products_await<0>();
    settle(s);
    tiles.end_keys(at);
    mask_tile(heads, s, warp_row, 0);
    wide_online(s, highest, total, factor, scale);
    pack_weights<T>(weights, s);
    for (int i = 1; i < count; ++i) {
        barrier_await(at.keys_there + key.stage, key.parity);
        barrier_await(at.values_there + value.stage, value.parity);
        ask_scores<D, rows>(s, queries, at.keys + key.stage * at.tile);
        ask_values(sum, weights, at.values + value.stage * at.tile);
        products_await<1>(); // the scores
        settle(s);
        tiles.end_keys(at);
        mask_tile(heads, s, warp_row, i * kWideKeys);
        wide_online(s, highest, total, factor, scale);
        products_await_after(total[0] + total[1], at.values_there + value.stage,
                             value.parity);
        settle(sum);
        tiles.end_values(at);
        pack_weights<T>(weights, s);
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
#pragma unroll
            for (int j = 0; j < 4; ++j)
                sum[n][j] *= factor[j / 2];
    }
    barrier_await(at.values_there + value.stage, value.parity);
    ask_values(sum, weights, at.values + value.stage * at.tile);
    products_await<0>();
    settle(sum);
    tiles.end_values(at);
}

// A group that multiplies: its 64 rows of every item.
template <int D, int Groups, typename T>
__device__ __forceinline__ void
attend_items(const Heads<T> &heads, const Schedule &schedule,
             const WideShared<D, Groups, T> &at, int group, T *y, float *stats) {
    Ring<kOwnStages> own;
    Tiles<D> tiles;
    uint32_t round = 0, matrix;
    int rank;
    while (schedule.next(round, matrix, rank)) {
        const Item<Groups * kWideRows, T> item(heads, schedule.blocks, rank);
        const int row = item.first + group * kWideRows;
        const int warp_row = row + threadIdx.x % kGroup / kWarp * 16;
        int count = item.tiles; // that this group's rows see
        if (heads.causal)
            count = min(count, (row + kWideRows + kWideKeys - 1) / kWideKeys);
        if (row >= heads.queries) count = 0;
        float sum[D / 8][4] = {}, total[2] = {};
        float highest[2] = {-INFINITY, -INFINITY};
        barrier_await(at.queries_there + own.stage, own.parity);
        if (count > 0)
            attend(heads, at,
                   at.queries + own.stage * at.own + group * kWideRows * kPanel,
                   warp_row, count, tiles, sum, highest, total);
        release(at.queries_read + own.stage);
        own.advance();
        if (count > 0)
            write_rows<D>(heads, matrix, warp_row, sum, highest, total, y, stats);
        tiles.pass_by(at, item.tiles - count);
    }
}
#endif

// Registers a thread of the copying and of the multiplying groups, of 65536 a
// processor.
template <int Groups> constexpr int kCopyRegisters = Groups == 2 ? 40 : 32;
template <int Groups> constexpr int kMultiplyRegisters = Groups == 2 ? 232 : 160;

template <typename T, int D, int Groups>
__global__ void __launch_bounds__((Groups + 1) * kGroup, 1)
    attention_wide_kernel(Heads<T> heads, Schedule schedule, T *y, float *stats) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    TL_DYNAMIC_SHARED(unsigned char, raw);
    const WideShared<D, Groups, T> at(raw);
    constexpr int readers = Groups * kGroup / kWarp;
    if (threadIdx.x == 0) {
        for (int i = 0; i < kOwnStages; ++i) {
            barrier_init(at.queries_there + i, kGroup);
            barrier_init(at.queries_read + i, readers);
        }
        for (int i = 0; i < kStages<D>; ++i) {
            barrier_init(at.keys_there + i, kGroup);
            barrier_init(at.values_there + i, kGroup);
            barrier_init(at.keys_read + i, readers);
            barrier_init(at.values_read + i, readers);
        }
    }
    __syncthreads();
    if (threadIdx.x < kGroup) {
        asm volatile(
            "setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCopyRegisters<Groups>));
        copy_items<D, Groups>(at, heads, schedule);
    } else {
        asm volatile(
            "setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kMultiplyRegisters<Groups>));
        attend_items<D, Groups>(heads, schedule, at, group_index() - 1, y, stats);
    }
#endif
}

template <typename T, int D, int Groups>
tl_status launch_wide(const Heads<T> &heads, T *y, float *stats) {
    constexpr size_t shared = WideShared<D, Groups, T>::bytes;
    const int64_t blocks = ceil_div(heads.queries, Groups * kWideRows);
    const Schedule schedule = make_schedule(
        heads.batch, blocks, static_cast<int64_t>(heads.keys) * D * 2 * sizeof(T),
        heads.causal);
    return launch(thread_blocks(schedule), (Groups + 1) * kGroup, shared,
                  attention_wide_kernel<T, D, Groups>, heads, schedule, y, stats);
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

// Gradients of attention for 16-bit floats with wgmma (build: sm_90a).
//
// As in attention_tensor.cuh one kernel walks over queries for the gradients of keys
// and values, another over keys for that of queries: no sums between blocks, so that
// results do not depend on their order. Four warps copy tiles; two groups of four own
// 64 rows each, and one group's arithmetic runs beside the other's products.
#include "attention_wide.cuh"

namespace tl {
namespace tensor {
namespace {

constexpr int kGradientGroups = 2, kOwned = kGradientGroups * kWideRows;
template <int D, bool ToKeys>
constexpr int kTileRows = D == 128 && !ToKeys ? 128 : 64; // what registers allow
template <int D, bool ToKeys>
constexpr int kTileStages = kTileRows<D, ToKeys> == 64 ? 3 : 2;
// Registers a thread of the copying and of the multiplying groups.
constexpr int kGradientCopyRegisters = 24, kGradientMultiplyRegisters = 240;

// What a block's shared memory holds: its own rows, and of each stage a tile and the
// notes of the tile's queries.
template <typename T, int D, bool ToKeys> struct GradientShared {
    static constexpr int own = kOwned * D;
    static constexpr int tile = kTileRows<D, ToKeys> * D;
    static constexpr int stages = kTileStages<D, ToKeys>;
    static constexpr int notes_size = kTileRows<D, ToKeys>;
    static constexpr size_t bytes = 1024 + sizeof(T) * 2 * (own + stages * tile) +
                                    stages * (notes_size * sizeof(RowNote) + 16);
    T *inputs, *partners, *tile_inputs, *tile_partners;
    RowNote *notes;
    uint64_t *there, *read;
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    __device__ explicit GradientShared(unsigned char *raw) {
        const uint32_t address = shared_address(raw);
        inputs = reinterpret_cast<T *>(raw + ((1024 - address % 1024) % 1024));
        partners = inputs + own;
        tile_inputs = partners + own;
        tile_partners = tile_inputs + stages * tile;
        notes = reinterpret_cast<RowNote *>(tile_partners + stages * tile);
        there = reinterpret_cast<uint64_t *>(notes + stages * notes_size);
        read = there + stages;
    }
#endif
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// What products have written is read after this, not before.
template <int N> __device__ __forceinline__ void settle(float (&s)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            asm volatile("" : "+f"(s[n][i])::"memory");
}

// The rows that a block owns, and those that it walks over from `begin` on.
template <typename T> struct Walk {
    Source<T> inputs, partners, tile_inputs, tile_partners;
    int first, begin, tiles;
};

template <typename T, int D, bool ToKeys>
__device__ __forceinline__ void
copy_gradient_tiles(const GradientShared<T, D, ToKeys> &at, const Walk<T> &walk,
                    const RowNote *notes, int queries) {
    constexpr int rows = kTileRows<D, ToKeys>, stages = at.stages;
    const int thread = threadIdx.x % kGroup;
    copy_panels<D, kOwned>(at.inputs, walk.inputs, walk.first);
    copy_panels<D, kOwned>(at.partners, walk.partners, walk.first);
    for (int i = 0; i < walk.tiles; ++i) {
        const int stage = i % stages, other = walk.begin + i * rows;
        barrier_await(at.read + stage, (i / stages & 1) ^ 1);
        copy_panels<D, rows>(at.tile_inputs + stage * at.tile, walk.tile_inputs, other);
        copy_panels<D, rows>(at.tile_partners + stage * at.tile, walk.tile_partners,
                             other);
        commit_copies();
        // Where there is no query its rows are zeros, and any finite weight will do.
        if (ToKeys && thread < rows)
            at.notes[stage * at.notes_size + thread] =
                other + thread < queries ? notes[other + thread] : RowNote{0.0f, 0.0f};
        if (i > 0) announce<1>(at.there + (i - 1) % stages);
    }
    if (walk.tiles > 0)
        announce<0>(at.there + (walk.tiles - 1) % stages);
    else
        await_copies<0>();
}

// Products to weights. Rows are keys and columns queries, or the other way round.
template <bool ToKeys, int N, typename T>
__device__ __forceinline__ void
make_weights(const Heads<T> &heads, float (&s)[N][4], int own, int other,
             const RowNote (&own_notes)[2], const RowNote *notes) {
    const int lane = threadIdx.x % kWarp;
    const float scale = heads.scale * kLog2E;
    const int key_end = ToKeys ? own + 16 : other + 8 * N;
    if (key_end > heads.keys || (heads.causal && key_end - 1 > (ToKeys ? other : own)))
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int down = own + lane / 4 + i / 2 * 8;
                const int along = other + 8 * n + lane % 4 * 2 + i % 2;
                const int query = ToKeys ? along : down, key = ToKeys ? down : along;
                if (key >= heads.keys || (heads.causal && key > query))
                    s[n][i] = -INFINITY;
            }
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float level = ToKeys ? notes[8 * n + lane % 4 * 2 + i % 2].level
                                       : own_notes[i / 2].level;
            s[n][i] = exp2_fast(fmaf(s[n][i], scale, -level));
        }
}

// Gradients of weights to those of scores.
template <bool ToKeys, int N>
__device__ __forceinline__ void
make_slopes(float (&slope)[N][4], const float (&weights)[N][4], float scale,
            const RowNote (&own_notes)[2], const RowNote *notes) {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float inner = ToKeys ? notes[8 * n + lane % 4 * 2 + i % 2].inner
                                       : own_notes[i / 2].inner;
            slope[n][i] = weights[n][i] * (slope[n][i] - inner) * scale;
        }
}

// A group that multiplies: all tiles for its 64 rows, of which this warp has 16 from
// `row` on. sum: the gradient of inputs; second: that of partners.
template <typename T, int D, bool ToKeys>
__device__ __forceinline__ void
sum_gradients(const Heads<T> &heads, const GradientShared<T, D, ToKeys> &at,
              const Walk<T> &walk, int group, int row, const RowNote (&own_notes)[2],
              float (&sum)[D / 8][4], float (&second)[D / 8][4]) {
    constexpr int rows = kTileRows<D, ToKeys>, stages = at.stages, N = rows / 8;
    const T *inputs = at.inputs + group * kWideRows * kPanel;
    const T *partners = at.partners + group * kWideRows * kPanel;
    for (int i = 0; i < walk.tiles; ++i) {
        const int stage = i % stages;
        const T *tile_inputs = at.tile_inputs + stage * at.tile;
        const T *tile_partners = at.tile_partners + stage * at.tile;
        const RowNote *notes = at.notes + stage * at.notes_size;
        float s[N][4], slope[N][4];
        uint32_t packed[N / 2][4];
        barrier_await(at.there + stage, i / stages & 1);
        ask_scores<D, kOwned>(s, inputs, tile_inputs);
        ask_scores<D, kOwned>(slope, partners, tile_partners);
        products_await<1>();
        settle(s);
        make_weights<ToKeys>(heads, s, row, walk.begin + i * rows, own_notes, notes);
        if constexpr (ToKeys) {
            uint32_t weights[N / 2][4];
            pack_weights<T>(weights, s);
            ask_values(second, weights, tile_partners);
            products_await<1>();
        } else {
            products_await_after(s[0][0] + s[N / 2][1] + s[N - 1][3], at.there + stage,
                                 i / stages & 1);
        }
        settle(slope);
        make_slopes<ToKeys>(slope, s, heads.scale, own_notes, notes);
        pack_weights<T>(packed, slope);
        ask_values(sum, packed, tile_inputs);
        products_await<0>();
        settle(sum);
        if constexpr (ToKeys) settle(second);
        release(at.read + stage);
    }
}
#endif

template <typename T, int D, bool ToKeys>
__global__ void __launch_bounds__((kGradientGroups + 1) * kGroup, 1)
    attention_wide_grad_kernel(Heads<T> heads, Gradients<T> to) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    constexpr int rows = kTileRows<D, ToKeys>;
    TL_DYNAMIC_SHARED(unsigned char, raw);
    const GradientShared<T, D, ToKeys> at(raw);
    if (threadIdx.x == 0)
        for (int i = 0; i < at.stages; ++i) {
            barrier_init(at.there + i, kGroup);
            barrier_init(at.read + i, kGradientGroups * kGroup / kWarp);
        }
    __syncthreads();
    const int own_count = ToKeys ? heads.keys : heads.queries;
    const int blocks = (own_count + kOwned - 1) / kOwned;
    const int64_t matrix = blockIdx.x / blocks;
    const int64_t query_row = matrix * heads.queries;
    Walk<T> walk;
    walk.first = static_cast<int>(blockIdx.x % blocks);
    walk.first = (ToKeys ? walk.first : blocks - 1 - walk.first) * kOwned;
    int end = ToKeys ? heads.queries : heads.keys;
    walk.begin = heads.causal && ToKeys ? walk.first : 0; // queries above see no key
    if (heads.causal && !ToKeys && walk.first + kOwned < end) end = walk.first + kOwned;
    walk.tiles = end > walk.begin ? (end - walk.begin + rows - 1) / rows : 0;
    if (threadIdx.x < kGroup) {
        asm volatile(
            "setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kGradientCopyRegisters));
        int64_t starts[kAttentionOperands];
        heads.starts(blockIdx.x / blocks, starts);
        const Source<T> q = {heads.q + starts[kQueries], heads.row[kQueries],
                             heads.queries, heads.depth};
        const Source<T> g = {heads.g + query_row * heads.width, heads.width,
                             heads.queries, heads.width};
        const Source<T> k = {heads.k + starts[kKeys], heads.row[kKeys], heads.keys,
                             heads.depth};
        const Source<T> v = {heads.v + starts[kValues], heads.row[kValues], heads.keys,
                             heads.width};
        walk.inputs = ToKeys ? k : q;
        walk.partners = ToKeys ? v : g;
        walk.tile_inputs = ToKeys ? q : k;
        walk.tile_partners = ToKeys ? g : v;
        copy_gradient_tiles<T, D, ToKeys>(at, walk, to.notes + query_row,
                                          heads.queries);
    } else {
        asm volatile(
            "setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kGradientMultiplyRegisters));
        const int group = group_index() - 1, lane = threadIdx.x % kWarp;
        const int row = walk.first + group * kWideRows +
                        static_cast<int>(threadIdx.x) % kGroup / kWarp * 16;
        RowNote notes[2] = {};
        if (!ToKeys)
            for (int r = 0; r < 2; ++r) {
                const int query = row + 8 * r + lane / 4;
                notes[r] = query < heads.queries ? to.notes[query_row + query]
                                                 : RowNote{INFINITY, 0.0f};
            }
        float sum[D / 8][4] = {}, second[D / 8][4] = {};
        sum_gradients<T, D, ToKeys>(heads, at, walk, group, row, notes, sum, second);
        const int64_t out_row = matrix * own_count + row;
        write_gradient<D>(to.first, out_row, own_count - row, heads.depth, sum);
        if constexpr (ToKeys)
            write_gradient<D>(to.second, out_row, own_count - row, heads.width, second);
    }
#endif
}

template <typename T, int D, bool ToKeys>
tl_status launch_wide_gradient(const Heads<T> &heads, const Gradients<T> &to) {
    const int own = ToKeys ? heads.keys : heads.queries;
    const int64_t blocks = heads.batch * ceil_div(own, kOwned);
    return launch(static_cast<unsigned>(blocks), (kGradientGroups + 1) * kGroup,
                  GradientShared<T, D, ToKeys>::bytes,
                  attention_wide_grad_kernel<T, D, ToKeys>, heads, to);
}
template <typename T, int D>
tl_status both_wide_gradients(const Heads<T> &heads, T *const (&out)[4],
                              const RowNote *notes) {
    const tl_status status =
        launch_wide_gradient<T, D, false>(heads, {out[0], nullptr, nullptr, notes});
    if (status != TL_OK) return status;
    return launch_wide_gradient<T, D, true>(heads, {out[1], out[2], nullptr, notes});
}

} // namespace

// What `attention_grad` serves without masks, on devices of compute capability 9.0.
template <typename T>
tl_status wide_attention_grad(const Heads<T> &heads, T *const (&out)[4],
                              const RowNote *notes) {
    if (!has_wide_products() || heads.keys < kWideRows || heads.queries < kWideRows)
        return TL_DECLINED;
    return heads.depth <= 64 && heads.width <= 64
               ? both_wide_gradients<T, 64>(heads, out, notes)
               : both_wide_gradients<T, 128>(heads, out, notes);
}
template tl_status wide_attention_grad(const Heads<tl_float16> &,
                                       tl_float16 *const (&)[4], const RowNote *);
template tl_status wide_attention_grad(const Heads<tl_bfloat16> &,
                                       tl_bfloat16 *const (&)[4], const RowNote *);

} // namespace tensor
} // namespace tl

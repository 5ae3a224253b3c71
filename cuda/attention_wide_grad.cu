// Gradients of attention for 16-bit floats with wgmma (build: sm_90a).
//
// As in attention_tensor.cuh one kernel walks over queries for the gradients of keys
// and values, another over keys for that of queries: no sums between blocks, so that
// results do not depend on their order. Four warps copy tiles; two groups of four own
// 64 rows each. Within a group the next tile's scores are asked for before this one's
// become weights and slopes, so that products are always under way.
#include "attention_wide.cuh"

namespace tl {
namespace tensor {
namespace {

constexpr int kGradientGroups = 2, kOwned = kGradientGroups * kWideRows;
constexpr int kTileRows = 64;
// Tiles under way; and buffers for the rows that blocks own, so that those of the next
// item arrive during the work on one.
template <int D> constexpr int kTileStages = D == 64 ? 6 : 4;
template <int D> constexpr int kOwnStages = D == 64 ? 2 : 1;
// Whether registers have room for the next tile's scores beside this one's.
template <int D, bool ToKeys> constexpr bool kAhead = D == 64 || !ToKeys;
// Registers a thread of the copying and of the multiplying groups.
constexpr int kGradientCopyRegisters = 40, kGradientMultiplyRegisters = 232;

// What a block's shared memory holds: its own rows, tiles, and notes of the queries
// among them, levels before inner products.
template <typename T, int D> struct GradientShared {
    static constexpr int own = kOwned * D, tile = kTileRows * D;
    static constexpr int own_stages = kOwnStages<D>, stages = kTileStages<D>;
    static constexpr size_t bytes =
        1024 + sizeof(T) * 2 * (own_stages * own + stages * tile) +
        (stages * kTileRows + own_stages * kOwned) * sizeof(RowNote) +
        2 * (stages + own_stages) * sizeof(uint64_t);
    T *inputs, *partners, *tile_inputs, *tile_partners;
    float *notes, *own_notes;
    uint64_t *own_there, *own_read, *there, *read;
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    __device__ explicit GradientShared(unsigned char *raw) {
        const uint32_t address = shared_address(raw);
        inputs = reinterpret_cast<T *>(raw + ((1024 - address % 1024) % 1024));
        partners = inputs + own_stages * own;
        tile_inputs = partners + own_stages * own;
        tile_partners = tile_inputs + stages * tile;
        notes = reinterpret_cast<float *>(tile_partners + stages * tile);
        own_notes = notes + stages * kTileRows * 2;
        own_there = reinterpret_cast<uint64_t *>(own_notes + own_stages * kOwned * 2);
        own_read = own_there + own_stages;
        there = own_read + own_stages;
        read = there + stages;
    }
#endif
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// The rows of an item, and those that it walks over from `begin` on.
template <bool ToKeys, typename T> struct Walk {
    int first, begin, tiles;
    __device__ Walk(const Heads<T> &heads, int blocks, int rank) {
        first = (ToKeys ? rank : blocks - 1 - rank) * kOwned;
        int end = ToKeys ? heads.queries : heads.keys;
        begin = heads.causal && ToKeys ? first : 0; // queries above see no key
        if (heads.causal && !ToKeys && first + kOwned < end) end = first + kOwned;
        tiles = end > begin ? (end - begin + kTileRows - 1) / kTileRows : 0;
    }
};

// Levels, then inner products, of `Rows` queries from `first` on; zeros where there is
// no query: its rows are zeros too, and any finite weight will do.
template <int Rows>
__device__ __forceinline__ void copy_notes(float *to, const RowNote *notes, int first,
                                           int queries) {
    for (int i = threadIdx.x % kGroup; i < Rows; i += kGroup) {
        const RowNote note =
            first + i < queries ? notes[first + i] : RowNote{0.0f, 0.0f};
        to[i] = note.level;
        to[Rows + i] = note.inner;
    }
}

template <typename T, int D, bool ToKeys>
__device__ __forceinline__ void
copy_items(const GradientShared<T, D> &at, const Heads<T> &heads,
           const Schedule &schedule, const RowNote *all_notes) {
    Ring<kOwnStages<D>> own;
    Ring<kTileStages<D>> tile;
    uint64_t *pending = nullptr;
    uint32_t round = 0, matrix;
    int rank;
    while (schedule.next(round, matrix, rank)) {
        const Walk<ToKeys, T> walk(heads, schedule.blocks, rank);
        int64_t starts[kAttentionOperands];
        heads.starts(matrix, starts);
        const int64_t query_row = static_cast<int64_t>(matrix) * heads.queries;
        const Source<T> q = {heads.q + starts[kQueries], heads.row[kQueries],
                             heads.queries, heads.depth};
        const Source<T> g = {heads.g + query_row * heads.width, heads.width,
                             heads.queries, heads.width};
        const Source<T> k = {heads.k + starts[kKeys], heads.row[kKeys], heads.keys,
                             heads.depth};
        const Source<T> v = {heads.v + starts[kValues], heads.row[kValues], heads.keys,
                             heads.width};
        reserve(at.own_read + own.stage, own.parity ^ 1, pending);
        copy_panels<D, kOwned>(at.inputs + own.stage * at.own, ToKeys ? k : q,
                               walk.first);
        copy_panels<D, kOwned>(at.partners + own.stage * at.own, ToKeys ? v : g,
                               walk.first);
        if (!ToKeys)
            copy_notes<kOwned>(at.own_notes + own.stage * 2 * kOwned,
                               all_notes + query_row, walk.first, heads.queries);
        submit(at.own_there + own.stage, pending);
        own.advance();
        for (int i = 0; i < walk.tiles; ++i) {
            const int other = walk.begin + i * kTileRows;
            reserve(at.read + tile.stage, tile.parity ^ 1, pending);
            copy_panels<D, kTileRows>(at.tile_inputs + tile.stage * at.tile,
                                      ToKeys ? q : k, other);
            copy_panels<D, kTileRows>(at.tile_partners + tile.stage * at.tile,
                                      ToKeys ? g : v, other);
            if (ToKeys)
                copy_notes<kTileRows>(at.notes + tile.stage * 2 * kTileRows,
                                      all_notes + query_row, other, heads.queries);
            submit(at.there + tile.stage, pending);
            tile.advance();
        }
    }
    flush(pending);
}

// Of a pair of neighbouring columns, or of the two rows of a lane.
__device__ __forceinline__ float2 pair_at(const float *notes, int n) {
    return *reinterpret_cast<const float2 *>(notes + 8 * n +
                                             threadIdx.x % kWarp % 4 * 2);
}

// Hides pairs of a key that does not exist or, with causality, comes after the query.
template <bool ToKeys, int N, typename T>
__device__ __forceinline__ void hide_pairs(const Heads<T> &heads, float (&s)[N][4],
                                           int own, int other) {
    const int key_end = ToKeys ? own + 16 : other + 8 * N;
    if (key_end <= heads.keys &&
        !(heads.causal && key_end - 1 > (ToKeys ? other : own)))
        return;
    const int lane = threadIdx.x % kWarp, along = other + lane % 4 * 2;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int down = own + lane / 4 + 8 * r;
        int from = 0, to = INT_MAX; // what of the columns stays
        if (ToKeys) {
            if (heads.causal) from = down - along;
            if (down >= heads.keys) from = INT_MAX;
        } else {
            to = (heads.causal ? min(heads.keys, down + 1) : heads.keys) - along;
        }
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
            for (int i = 0; i < 2; ++i)
                if (ToKeys ? 8 * n + i < from : 8 * n + i >= to)
                    s[n][2 * r + i] = -INFINITY;
    }
}

// Products to weights. Rows are keys and columns queries, or the other way round.
template <bool ToKeys, int N, typename T>
__device__ __forceinline__ void make_weights(const Heads<T> &heads, float (&s)[N][4],
                                             int own, int other, float2 own_levels,
                                             const float *levels) {
    const float scale = heads.scale * kLog2E;
    hide_pairs<ToKeys>(heads, s, own, other);
#pragma unroll
    for (int n = 0; n < N; ++n) {
        const float2 level = ToKeys ? pair_at(levels, n) : own_levels;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            s[n][i] = exp2_fast(
                fmaf(s[n][i], scale, (ToKeys ? i % 2 : i / 2) ? -level.y : -level.x));
    }
}

// Gradients of weights to those of scores, but for the scale.
template <bool ToKeys, int N>
__device__ __forceinline__ void make_slopes(float (&slope)[N][4],
                                            const float (&weights)[N][4],
                                            float2 own_inner, const float *inners) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
        const float2 inner = ToKeys ? pair_at(inners, n) : own_inner;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            slope[n][i] =
                weights[n][i] *
                (slope[n][i] - ((ToKeys ? i % 2 : i / 2) ? inner.y : inner.x));
    }
}

// A group's walk over the tiles of one item, for its 64 rows, of which this warp has 16
// from `row` on. sum: the gradient of inputs; second: that of partners.
template <typename T, int D, bool ToKeys> struct Summing {
    static constexpr int N = kTileRows / 8;
    static constexpr int values = ToKeys ? 2 : 1; // batches of products with tiles
    const Heads<T> &heads;
    const GradientShared<T, D> &at;
    const T *inputs, *partners;
    int row, other; // the first row of the first tile
    float2 levels, inners;
    Ring<kTileStages<D>> tile, last; // this tile; the one whose products go on
    float (&slope)[N][4];
    float (&sum)[D / 8][4], (&second)[D / 8][4];
    uint32_t (&weights)[N / 2][4], (&slopes)[N / 2][4];

    __device__ __forceinline__ void await(const Ring<kTileStages<D>> &ring) const {
        barrier_await(at.there + ring.stage, ring.parity);
    }
    __device__ __forceinline__ void
    ask_products(float (&s)[N][4], const Ring<kTileStages<D>> &ring) const {
        ask_scores<D, kOwned>(s, inputs, at.tile_inputs + ring.stage * at.tile);
    }
    __device__ __forceinline__ void ask_slopes(const Ring<kTileStages<D>> &ring) const {
        ask_scores<D, kOwned>(slope, partners, at.tile_partners + ring.stage * at.tile);
    }
    // A tile whose scores are in s; those of a next one begin in `next`.
    template <bool Ask>
    __device__ __forceinline__ void step(int i, float (&s)[N][4], float (&next)[N][4]) {
        const T *tile_inputs = at.tile_inputs + tile.stage * at.tile;
        const T *tile_partners = at.tile_partners + tile.stage * at.tile;
        const float *notes = at.notes + tile.stage * 2 * kTileRows;
        Ring<kTileStages<D>> following = tile;
        following.advance();
        // Under way, in order: scores, the last tile's values, slopes.
        products_await<values + 1>();
        settle(s);
        if constexpr (Ask) {
            await(following);
            ask_products(next, following);
        }
        make_weights<ToKeys>(heads, s, row, other + i * kTileRows, levels, notes);
        products_await<Ask>();
        settle(slope);
        if (i > 0) release(at.read + last.stage);
        if constexpr (ToKeys) {
            pack_weights<T>(weights, s);
            ask_values(second, weights, tile_partners);
        }
        make_slopes<ToKeys>(slope, s, inners, notes + kTileRows);
        pack_weights<T>(slopes, slope);
        ask_values(sum, slopes, tile_inputs);
        if constexpr (Ask) {
            ask_slopes(following);
            last = tile;
        } else {
            end_tile();
        }
        tile = following;
    }
    __device__ __forceinline__ void end_tile() {
        products_await<0>();
        settle(sum);
        if constexpr (ToKeys) settle(second);
        release(at.read + tile.stage);
    }
    // A tile by itself.
    __device__ __forceinline__ void lone_step(int i, float (&s)[N][4]) {
        const float *notes = at.notes + tile.stage * 2 * kTileRows;
        await(tile);
        ask_products(s, tile);
        ask_slopes(tile);
        products_await<1>();
        settle(s);
        make_weights<ToKeys>(heads, s, row, other + i * kTileRows, levels, notes);
        if constexpr (ToKeys) {
            pack_weights<T>(weights, s);
            ask_values(second, weights, at.tile_partners + tile.stage * at.tile);
        }
        products_await<values - 1>();
        settle(slope);
        make_slopes<ToKeys>(slope, s, inners, notes + kTileRows);
        pack_weights<T>(slopes, slope);
        ask_values(sum, slopes, at.tile_inputs + tile.stage * at.tile);
        end_tile();
        tile.advance();
    }
    __device__ __forceinline__ void run(int tiles) {
        float s[N][4];
        if constexpr (kAhead<D, ToKeys>) {
            float next[N][4];
            await(tile);
            ask_products(s, tile);
            for (int v = 0; v < values; ++v)
                products_commit(); // of values there is nothing yet
            ask_slopes(tile);
            int i = 0;
            for (; i + 2 < tiles; i += 2) {
                step<true>(i, s, next);
                step<true>(i + 1, next, s);
            }
            if (i + 1 < tiles) {
                step<true>(i, s, next);
                step<false>(i + 1, next, s);
            } else {
                step<false>(i, s, next);
            }
        } else {
            for (int i = 0; i < tiles; ++i)
                lone_step(i, s);
        }
    }
};

// The tiles of a walk that a group's 64 rows from `first` on have pairs in.
struct Span {
    int begin, end;
};
template <bool ToKeys, typename T>
__device__ __forceinline__ Span span_of(const Heads<T> &heads,
                                        const Walk<ToKeys, T> &walk, int first) {
    Span span = {0, walk.tiles};
    if (heads.causal && ToKeys) span.begin = (first - walk.begin) / kTileRows;
    if (heads.causal && !ToKeys)
        span.end = min(span.end, (first + kWideRows + kTileRows - 1) / kTileRows);
    if (first >= (ToKeys ? heads.keys : heads.queries)) span.begin = span.end;
    span.begin = min(span.begin, span.end);
    return span;
}

// Passes by `count` tiles that are of use only to the other group.
template <typename T, int D>
__device__ __forceinline__ void pass_by(const GradientShared<T, D> &at,
                                        Ring<kTileStages<D>> &tile, int count) {
    for (int i = 0; i < count; ++i) {
        barrier_await(at.there + tile.stage, tile.parity);
        release(at.read + tile.stage);
        tile.advance();
    }
}

template <typename T, int D, bool ToKeys>
__device__ __forceinline__ void
sum_gradients(const Heads<T> &heads, const Schedule &schedule,
              const GradientShared<T, D> &at, int group, const Gradients<T> &to) {
    constexpr int N = kTileRows / 8;
    const int lane = threadIdx.x % kWarp;
    const int own_count = ToKeys ? heads.keys : heads.queries;
    Ring<kOwnStages<D>> own;
    Ring<kTileStages<D>> tile;
    uint32_t round = 0, matrix;
    int rank;
    while (schedule.next(round, matrix, rank)) {
        const Walk<ToKeys, T> walk(heads, schedule.blocks, rank);
        const int first = walk.first + group * kWideRows; // this group's rows
        const int row = first + static_cast<int>(threadIdx.x) % kGroup / kWarp * 16;
        const Span span = span_of(heads, walk, first);
        float sum[D / 8][4] = {}, second[D / 8][4] = {}, slope[N][4];
        uint32_t weights[N / 2][4], slopes[N / 2][4];
        settle(sum);
        if (ToKeys) settle(second);
        pass_by(at, tile, span.begin);
        barrier_await(at.own_there + own.stage, own.parity);
        float2 levels = {}, inners = {};
        if (!ToKeys) {
            const float *notes =
                at.own_notes + own.stage * 2 * kOwned + row - walk.first + lane / 4;
            levels = {notes[0], notes[8]};
            inners = {notes[kOwned], notes[kOwned + 8]};
        }
        if (span.begin < span.end) {
            const int begin = own.stage * at.own + group * kWideRows * kPanel;
            Summing<T, D, ToKeys> walker = {heads,
                                            at,
                                            at.inputs + begin,
                                            at.partners + begin,
                                            row,
                                            walk.begin + span.begin * kTileRows,
                                            levels,
                                            inners,
                                            tile,
                                            tile,
                                            slope,
                                            sum,
                                            second,
                                            weights,
                                            slopes};
            walker.run(span.end - span.begin);
            tile = walker.tile;
        }
        release(at.own_read + own.stage);
        own.advance();
        pass_by(at, tile, walk.tiles - span.end);
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                sum[n][i] *= heads.scale;
        const int64_t out_row = static_cast<int64_t>(matrix) * own_count + row;
        write_gradient<D>(to.first, out_row, own_count - row, heads.depth, sum);
        if constexpr (ToKeys)
            write_gradient<D>(to.second, out_row, own_count - row, heads.width, second);
    }
}
#endif

template <typename T, int D, bool ToKeys>
__global__ void __launch_bounds__((kGradientGroups + 1) * kGroup, 1)
    attention_wide_grad_kernel(Heads<T> heads, Schedule schedule, Gradients<T> to) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    TL_DYNAMIC_SHARED(unsigned char, raw);
    const GradientShared<T, D> at(raw);
    constexpr int readers = kGradientGroups * kGroup / kWarp;
    if (threadIdx.x == 0) {
        for (int i = 0; i < at.own_stages; ++i) {
            barrier_init(at.own_there + i, kGroup);
            barrier_init(at.own_read + i, readers);
        }
        for (int i = 0; i < at.stages; ++i) {
            barrier_init(at.there + i, kGroup);
            barrier_init(at.read + i, readers);
        }
    }
    __syncthreads();
    if (threadIdx.x < kGroup) {
        asm volatile(
            "setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kGradientCopyRegisters));
        copy_items<T, D, ToKeys>(at, heads, schedule, to.notes);
    } else {
        asm volatile(
            "setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kGradientMultiplyRegisters));
        sum_gradients<T, D, ToKeys>(heads, schedule, at, group_index() - 1, to);
    }
#endif
}

template <typename T, int D, bool ToKeys>
tl_status launch_wide_gradient(const Heads<T> &heads, const Gradients<T> &to) {
    const int own = ToKeys ? heads.keys : heads.queries;
    const int64_t other = ToKeys ? heads.queries : heads.keys;
    const Schedule schedule = make_schedule(heads.batch, ceil_div(own, kOwned),
                                            other * D * 2 * sizeof(T), heads.causal);
    return launch(thread_blocks(schedule), (kGradientGroups + 1) * kGroup,
                  GradientShared<T, D>::bytes, attention_wide_grad_kernel<T, D, ToKeys>,
                  heads, schedule, to);
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

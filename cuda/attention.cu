// Attention without the matrix of weights, and its gradient.
//
// A block owns 64 rows and walks over tiles of 64 columns: keys with an online softmax
// in the forward pass; in the gradient, where weights are computed again from each
// row's largest score and 1 / total, keys for the queries' gradient and queries for
// that of keys and values. What a block adds to a row it adds in the order of the
// tiles, so that no atomics are needed. 16-bit floats go through the tensor cores
// (attention_tensor.cuh).
//
// T. Dao et al., "FlashAttention", arXiv:2205.14135, algorithms 1 and 4.
#include "attention_tensor.cuh"

namespace tl {
namespace {

constexpr int kTile = 64;         // rows and columns of a block's scores
constexpr int kChunk = 32;        // elements of depth staged at a time
constexpr int kPitch = kTile + 4; // 16-byte reads from every row
constexpr int kStaged = kChunk * kPitch;
constexpr int kWidest = 4 * kTile; // of what a block sums up in registers
constexpr int kSide = 4;           // a thread owns 4 x 4 of the tile's scores

// Four neighbours in shared memory, 16 bytes a read.
template <typename T> __device__ void read_four(const T *p, T (&x)[kSide]) {
    constexpr int n = 16 / sizeof(T) < kSide ? 16 / sizeof(T) : kSide;
#pragma unroll
    for (int i = 0; i < kSide; i += n) {
        const Pack<T, n> pack = *reinterpret_cast<const Pack<T, n> *>(p + i);
#pragma unroll
        for (int j = 0; j < n; ++j)
            x[i + j] = pack.at[j];
    }
}

// A matrix as a tile sees it: rows from data on, `rows` of them exist.
template <typename T> struct Rows {
    const T *data;
    int64_t step;
    int rows, columns;
};

// x[i][j] += a's column ... of one step of a product: outer product of two fours.
template <typename T>
__device__ __forceinline__ void add_outer(const T *a, const T *b,
                                          T (&x)[kSide][kSide]) {
    T left[kSide], right[kSide];
    read_four(a, left);
    read_four(b, right);
#pragma unroll
    for (int i = 0; i < kSide; ++i)
#pragma unroll
        for (int j = 0; j < kSide; ++j)
            x[i][j] += left[i] * right[j];
}

// The thread's place in the tile: rows 4 row.., columns 4 column...
struct Place {
    int row, column;
    __device__ Place()
        : row(threadIdx.x / 16 * kSide), column(threadIdx.x % 16 * kSide) {}
};

// A thread's numbers where weights lie, [column][row]: loops over them there need not
// be unrolled, which would make the kernels ten times as long.
template <typename T> __device__ void put_own(const T (&s)[kSide][kSide], T *weights) {
    const Place at;
#pragma unroll
    for (int i = 0; i < kSide; ++i)
#pragma unroll
        for (int j = 0; j < kSide; ++j)
            weights[(at.column + j) * kPitch + at.row + i] = s[i][j];
}

// staged[d][row] = x[row][begin + d], zeros beyond the matrix.
template <typename T>
__device__ void stage_turned(const Rows<T> &x, int begin, T *staged) {
    const int row = threadIdx.x / 4, first = threadIdx.x % 4;
    const T *from = x.data + row * x.step + begin;
#pragma unroll
    for (int d = first; d < kChunk; d += 4)
        staged[d * kPitch + row] =
            row < x.rows && begin + d < x.columns ? from[d] : T(0);
}

// s = a b^T for the tile; staged: 2 kStaged elements.
template <typename T>
__device__ void score_product(const Rows<T> &a, const Rows<T> &b, T *staged,
                              T (&s)[kSide][kSide]) {
    const Place at;
#pragma unroll
    for (int i = 0; i < kSide; ++i)
#pragma unroll
        for (int j = 0; j < kSide; ++j)
            s[i][j] = T(0);
    for (int begin = 0; begin < a.columns; begin += kChunk) {
        __syncthreads(); // the last readers of `staged` are done
        stage_turned(a, begin, staged);
        stage_turned(b, begin, staged + kStaged);
        __syncthreads();
#pragma unroll 8
        for (int d = 0; d < kChunk; ++d)
            add_outer(staged + d * kPitch + at.row,
                      staged + kStaged + d * kPitch + at.column, s);
    }
}

// sum[w] += weights^T b, 64 columns of b each; weights[column of the tile][row].
template <typename T, int W>
__device__ void add_product(const T *weights, const Rows<T> &b, T *staged,
                            T (&sum)[W][kSide][kSide]) {
    const Place at;
#pragma unroll
    for (int w = 0; w < W; ++w) {
        __syncthreads();
        const int column = w * kTile + threadIdx.x % kTile;
#pragma unroll 4
        for (int row = threadIdx.x / kTile; row < kTile; row += kThreads / kTile)
            staged[row * kTile + threadIdx.x % kTile] =
                row < b.rows && column < b.columns ? b.data[row * b.step + column]
                                                   : T(0);
        __syncthreads();
#pragma unroll 4
        for (int j = 0; j < kTile; ++j)
            add_outer(weights + j * kPitch + at.row, staged + j * kTile + at.column,
                      sum[w]);
    }
}

// Writes the rows that a block has summed up, each times its factor.
template <typename T, int W>
__device__ void write_rows(T *out, int rows, int columns, const T (&factor)[kSide],
                           const T (&sum)[W][kSide][kSide]) {
    const Place at;
#pragma unroll
    for (int w = 0; w < W; ++w)
#pragma unroll
        for (int i = 0; i < kSide; ++i)
#pragma unroll
            for (int j = 0; j < kSide; ++j) {
                const int column = w * kTile + at.column + j;
                if (at.row + i < rows && column < columns)
                    out[static_cast<int64_t>(at.row + i) * columns + column] =
                        sum[w][i][j] * factor[i];
            }
}

// The largest or the sum over the 16 threads that share a row.
template <typename T, typename Combine> __device__ T across_row(T x, Combine combine) {
#pragma unroll
    for (int apart = 8; apart > 0; apart /= 2)
        x = combine(x, __shfl_xor_sync(kAllLanes, x, apart));
    return x;
}

// A row's scores to weights under its largest score so far. Returns the factor on what
// was summed before.
template <typename T> __device__ T online_row(T (&s)[kSide], T &highest, T &total) {
    T top = s[0];
#pragma unroll
    for (int j = 1; j < kSide; ++j)
        top = s[j] > top ? s[j] : top;
    top = across_row(top, Max());
    top = top > highest ? top : highest;
    // Nothing to see yet: every exponential is that of -inf.
    const T base = top == T(-INFINITY) ? T(0) : top;
    const T factor = exp_nonpositive(highest - base);
    T sum = T(0);
#pragma unroll
    for (int j = 0; j < kSide; ++j) {
        s[j] = exp_nonpositive(s[j] - base);
        sum += s[j];
    }
    total = total * factor + across_row(sum, Sum());
    highest = top;
    return factor;
}

template <typename T>
__device__ Rows<T> rows_from(const T *data, int64_t step, int first, int count,
                             int columns) {
    return {data + first * step, step, count - first, columns};
}

// The products of a tile to scores.
template <typename T>
__device__ void mask_tile(const Heads<T> &heads, int64_t mask_at, int first, int column,
                          T *weights, T (&s)[kSide][kSide]) {
    const Place at;
    const bool masked = heads.mask != nullptr || column + kTile > heads.keys ||
                        (heads.causal && column + kTile - 1 > first);
    if (masked) {
        put_own(s, weights);
#pragma unroll 2
        for (int i = 0; i < kSide * kSide; ++i) {
            const int row = at.row + i % kSide, j = at.column + i / kSide;
            T *own = weights + j * kPitch + row;
            *own = heads.score(*own, mask_at, first + row, column + j);
        }
    }
#pragma unroll
    for (int i = 0; i < kSide; ++i)
#pragma unroll
        for (int j = 0; j < kSide; ++j)
            s[i][j] = masked ? weights[(at.column + j) * kPitch + at.row + i]
                             : s[i][j] * heads.scale;
}

template <typename T, int W>
__global__ void __launch_bounds__(kThreads)
    attention_kernel(Heads<T> heads, T *y, T *stats) {
    TL_DYNAMIC_SHARED(T, staged);
    T *weights = staged + 2 * kStaged;
    const Place at;
    const int tiles = (heads.queries + kTile - 1) / kTile;
    const int64_t matrix = blockIdx.x / tiles;
    // The last rows first: with causality they have the most to do.
    const int first = (tiles - 1 - static_cast<int>(blockIdx.x % tiles)) * kTile;
    int64_t starts[kAttentionOperands];
    heads.starts(blockIdx.x / tiles, starts);
    const int64_t mask_at = starts[kMask];
    const Rows<T> q = rows_from(heads.q + starts[kQueries], heads.row[kQueries], first,
                                heads.queries, heads.depth);
    const T *k = heads.k + starts[kKeys];
    const T *v = heads.v + starts[kValues];
    T sum[W][kSide][kSide] = {}, highest[kSide], total[kSide] = {};
    for (int i = 0; i < kSide; ++i)
        highest[i] = T(-INFINITY);
    int end = heads.keys;
    if (heads.causal && first + kTile < end) end = first + kTile;
    for (int column = 0; column < end; column += kTile) {
        T s[kSide][kSide];
        score_product(q,
                      rows_from(k, heads.row[kKeys], column, heads.keys, heads.depth),
                      staged, s);
        mask_tile(heads, mask_at, first, column, weights, s);
#pragma unroll
        for (int i = 0; i < kSide; ++i) {
            const int query = first + at.row + i, key = column + at.column;
            const T factor = online_row(s[i], highest[i], total[i]);
            const unsigned kept =
                heads.drops ? heads.keep_four(matrix, query, key) : 15u;
#pragma unroll
            for (int j = 0; j < kSide; ++j)
                weights[(at.column + j) * kPitch + at.row + i] =
                    kept >> j & 1 ? s[i][j] : T(0);
#pragma unroll
            for (int w = 0; w < W; ++w)
#pragma unroll
                for (int j = 0; j < kSide; ++j)
                    sum[w][i][j] *= factor;
        }
        add_product(weights,
                    rows_from(v, heads.row[kValues], column, heads.keys, heads.width),
                    staged, sum);
    }
    const int64_t row = matrix * heads.queries + first;
    T factor[kSide];
    for (int i = 0; i < kSide; ++i) {
        const T inverse = highest[i] == T(-INFINITY) ? T(0) : T(1) / total[i];
        factor[i] = heads.drops ? inverse * heads.kept : inverse;
        if (at.column == 0 && at.row + i < heads.queries - first) {
            stats[2 * (row + at.row + i)] = highest[i];
            stats[2 * (row + at.row + i) + 1] = inverse;
        }
    }
    write_rows(y + row * heads.width, heads.queries - first, heads.width, factor, sum);
}

// ---- gradient -----------------------------------------------------------------------
// A pass computes one gradient: its rows are queries or keys, its columns the others.
enum Target { kToQueries, kToKeys, kToValues };

template <typename T> struct Pass {
    Target target;
    T *out;
    T *slopes;      // gradient of the mask, by the pass to queries; null: not wanted
    const T *inner; // (batch, queries): each row's sum of y and its gradient
};

// The weight's part of the gradient of one pair, from its score and g v^T.
template <typename T>
__device__ T pair_gradient(const Heads<T> &heads, const Pass<T> &pass,
                           int64_t query_row, T score, T slope, bool kept) {
    const T top = heads.stats[2 * query_row], factor = heads.stats[2 * query_row + 1];
    if (top == T(-INFINITY)) return T(0);
    const T p = exp_nonpositive(score - top) * factor, keep = kept ? heads.kept : T(0);
    if (pass.target == kToValues) return p * keep;
    return p * (slope * keep - pass.inner[query_row]);
}

template <typename T, int W>
__global__ void __launch_bounds__(kThreads)
    attention_grad_kernel(Heads<T> heads, Pass<T> pass) {
    TL_DYNAMIC_SHARED(T, staged);
    T *weights = staged + 2 * kStaged, *slopes = weights + kTile * kPitch;
    const Place at;
    const bool by_query = pass.target == kToQueries;
    const int own_count = by_query ? heads.queries : heads.keys;
    const int other_count = by_query ? heads.keys : heads.queries;
    const int tiles = (own_count + kTile - 1) / kTile;
    const int64_t matrix = blockIdx.x / tiles;
    int first = static_cast<int>(blockIdx.x % tiles);
    first = (by_query ? tiles - 1 - first : first) * kTile; // the most to do first
    int64_t starts[kAttentionOperands];
    heads.starts(blockIdx.x / tiles, starts);
    const int64_t mask_at = starts[kMask];
    const int64_t query_row = matrix * heads.queries;
    const T *q = heads.q + starts[kQueries];
    const T *k = heads.k + starts[kKeys];
    const T *v = heads.v + starts[kValues];
    const T *g = heads.g + query_row * heads.width;
    const int64_t q_row = heads.row[kQueries], k_row = heads.row[kKeys];
    const int64_t v_row = heads.row[kValues], g_row = heads.width;
    T sum[W][kSide][kSide] = {};
    int begin = 0, end = other_count;
    if (heads.causal && by_query && pass.slopes == nullptr && first + kTile < end)
        end = first + kTile;
    if (heads.causal && !by_query) begin = first; // queries above see none of the keys
    for (int other = begin; other < end; other += kTile) {
        T s[kSide][kSide], slope[kSide][kSide] = {};
        const int query0 = by_query ? first : other, key0 = by_query ? other : first;
        const Rows<T> qs = rows_from(q, q_row, query0, heads.queries, heads.depth);
        const Rows<T> ks = rows_from(k, k_row, key0, heads.keys, heads.depth);
        const Rows<T> vs = rows_from(v, v_row, key0, heads.keys, heads.width);
        const Rows<T> gs = rows_from(g, g_row, query0, heads.queries, heads.width);
        score_product(by_query ? qs : ks, by_query ? ks : qs, staged, s);
        if (pass.target != kToValues)
            score_product(by_query ? gs : vs, by_query ? vs : gs, staged, slope);
        unsigned kept = 0; // a bit a pair: four neighbouring keys, four times
#pragma unroll 1
        for (int i = 0; i < kSide && heads.drops; ++i)
            kept |=
                (by_query
                     ? heads.keep_four(matrix, query0 + at.row + i, key0 + at.column)
                     : heads.keep_four(matrix, query0 + at.column + i, key0 + at.row))
                << 4 * i;
        if (!heads.drops) kept = ~0u;
        put_own(s, weights);
        put_own(slope, slopes);
#pragma unroll 2
        for (int i = 0; i < kSide * kSide; ++i) {
            const int row = at.row + i % kSide, j = at.column + i / kSide;
            const int query = query0 + (by_query ? row : j);
            const int key = key0 + (by_query ? j : row);
            T *own = weights + j * kPitch + row, x = T(0);
            if (query < heads.queries && key < heads.keys) {
                const unsigned four = by_query ? i % kSide : i / kSide;
                const unsigned which = by_query ? i / kSide : i % kSide;
                x = pair_gradient(heads, pass, query_row + query,
                                  heads.score(*own, mask_at, query, key),
                                  slopes[j * kPitch + row],
                                  kept >> (4 * four + which) & 1u);
                if (by_query && pass.slopes != nullptr)
                    pass.slopes[(query_row + query) * heads.keys + key] = x;
            }
            *own = pass.target == kToValues ? x : x * heads.scale;
        }
        add_product(weights,
                    by_query                 ? ks
                    : pass.target == kToKeys ? qs
                                             : gs,
                    staged, sum);
    }
    const T one[kSide] = {T(1), T(1), T(1), T(1)};
    const int columns = pass.target == kToValues ? heads.width : heads.depth;
    write_rows(pass.out + (matrix * own_count + first) * columns, own_count - first,
               columns, one, sum);
}

// Every row's sum of y times its gradient, a warp each.
template <typename T> __global__ void row_sums_kernel(Heads<T> heads, T *inner) {
    const int64_t rows = heads.batch * heads.queries;
    const int64_t step = static_cast<int64_t>(gridDim.x) * (blockDim.x / kWarp);
    for (int64_t row = blockIdx.x * static_cast<int64_t>(blockDim.x / kWarp) +
                       threadIdx.x / kWarp;
         row < rows; row += step) {
        T sum = T(0);
        for (int i = threadIdx.x % kWarp; i < heads.width; i += kWarp)
            sum += heads.g[row * heads.width + i] * heads.y[row * heads.width + i];
        sum = warp_reduce(sum, Sum());
        if (threadIdx.x % kWarp == 0) inner[row] = sum;
    }
}

// ---- run functions ------------------------------------------------------------------
template <typename T>
constexpr size_t kShared = sizeof(T) * (2 * kStaged + kTile * kPitch);

// Calls pass.run<W>() with the tiles of 64 columns that a block sums up.
template <typename T, typename Run> tl_status by_width(int columns, const Run &pass) {
    if (columns <= kTile) return pass.template run<1>();
    if constexpr (std::is_same_v<T, float>) // the others are rare: fewer kernels
        if (columns <= 2 * kTile) return pass.template run<2>();
    return pass.template run<4>();
}

template <typename T> struct Forward {
    const Heads<T> &heads;
    T *y, *stats;
    template <int W> tl_status run() const {
        const int64_t blocks = heads.batch * ceil_div(heads.queries, kTile);
        return launch(static_cast<unsigned>(blocks), kThreads, kShared<T>,
                      attention_kernel<T, W>, heads, y, stats);
    }
};

template <typename T> struct Backward {
    const Heads<T> &heads;
    Pass<T> pass;
    template <int W> tl_status run() const {
        const int own = pass.target == kToQueries ? heads.queries : heads.keys;
        const int64_t blocks = heads.batch * ceil_div(own, kTile);
        constexpr size_t shared = kShared<T> + sizeof(T) * kTile * kPitch;
        return launch(static_cast<unsigned>(blocks), kThreads, shared,
                      attention_grad_kernel<T, W>, heads, pass);
    }
};

template <typename T> bool fits_grid(const Heads<T> &heads) {
    const int64_t rows = heads.queries > heads.keys ? heads.queries : heads.keys;
    return heads.batch <= INT32_MAX && heads.batch * ceil_div(rows, kTile) <= INT32_MAX;
}

// No queries or no keys.
inline bool has_no_pairs(const tl_call *call) {
    const tl_buffer *v = call->in[3];
    return call->in[6]->size == 0 || v->shape[v->ndim - 2] == 0;
}

template <typename T> struct Zero {
    T *data;
    __device__ void operator()(int64_t i) const { store(data + i, computed_t<T>(0)); }
};

// Gradients of an empty sum.
template <typename T> tl_status zero_gradients(const tl_call *call) {
    for (int i = 0; i < 4; ++i) {
        if (call->out[i] == nullptr) continue;
        const tl_status status =
            for_each(call->out[i]->size, Zero<T>{static_cast<T *>(call->out[i]->data)});
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

template <typename T> tl_status run_attention(const tl_call *call) {
    Heads<T> heads = {};
    if (call->out[1]->size == 0) return TL_OK;
    if (!describe(call, 0, heads) || heads.width > kWidest || !fits_grid(heads))
        return TL_DECLINED;
    T *y = static_cast<T *>(call->out[0]->data);
    return by_width<T>(heads.width,
                       Forward<T>{heads, y, static_cast<T *>(call->out[1]->data)});
}

template <typename T> tl_status run_attention_grad(const tl_call *call) {
    Heads<T> heads = {};
    if (has_no_pairs(call)) return zero_gradients<T>(call);
    if (!describe(call, 1, heads)) return TL_DECLINED;
    if (heads.depth > kWidest || heads.width > kWidest || !fits_grid(heads))
        return TL_DECLINED;
    Scratch scratch(heads.batch * heads.queries * sizeof(T));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    const int grid = blocks_for(heads.batch * heads.queries, kThreads / kWarp);
    tl_status status =
        launch(grid, kThreads, 0, row_sums_kernel<T>, heads, scratch.as<T>());
    for (int target = kToQueries; target <= kToValues && status == TL_OK; ++target) {
        if (call->out[target]->size == 0 &&
            (target != kToQueries || call->out[3] == nullptr))
            continue;
        T *slopes = nullptr;
        if (target == kToQueries && call->out[3] != nullptr)
            slopes = static_cast<T *>(call->out[3]->data);
        const Pass<T> pass = {static_cast<Target>(target),
                              static_cast<T *>(call->out[target]->data), slopes,
                              scratch.as<T>()};
        status = by_width<T>(target == kToValues ? heads.width : heads.depth,
                             Backward<T>{heads, pass});
    }
    return status;
}

// 16-bit floats: the tensor cores' kernels or, by declining, the ones above on operands
// that the core widens.
template <typename T> tl_status run_tensor_attention(const tl_call *call) {
    Heads<T> heads = {};
    if (call->out[1]->size == 0) return TL_OK;
    if (!describe(call, 0, heads)) return TL_DECLINED;
    return tensor::attention(heads, static_cast<T *>(call->out[0]->data),
                             static_cast<float *>(call->out[1]->data));
}

template <typename T> tl_status run_tensor_attention_grad(const tl_call *call) {
    Heads<T> heads = {};
    if (has_no_pairs(call)) return zero_gradients<T>(call);
    if (!describe(call, 1, heads)) return TL_DECLINED;
    T *out[4];
    for (int i = 0; i < 4; ++i)
        out[i] =
            call->out[i] == nullptr ? nullptr : static_cast<T *>(call->out[i]->data);
    return tensor::attention_grad(heads, out);
}

// Dropout has a name of its own for the host's sake (vmap); the kernels are the same.
#define TL_ATTENTION_ENTRIES(T, code, forward, backward)                               \
    {"attention", code, forward<T>, nullptr},                                          \
        {"attention_dropout", code, forward<T>, nullptr},                              \
        {"attention_grad", code, backward<T>, nullptr},                                \
        {"attention_dropout_grad", code, backward<T>, nullptr},

const tl_cuda_entry entries[] = {
    TL_ATTENTION_ENTRIES(float, TL_FLOAT32, run_attention, run_attention_grad)
        TL_ATTENTION_ENTRIES(double, TL_FLOAT64, run_attention, run_attention_grad)
            TL_ATTENTION_ENTRIES(tl_float16, TL_FLOAT16, run_tensor_attention,
                                 run_tensor_attention_grad)
                TL_ATTENTION_ENTRIES(tl_bfloat16, TL_BFLOAT16, run_tensor_attention,
                                     run_tensor_attention_grad)};
#undef TL_ATTENTION_ENTRIES

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_attention_entries(int *count) {
    *count = static_cast<int>(sizeof tl::entries / sizeof tl::entries[0]);
    return tl::entries;
}

// Attention of 16-bit floats on the tensor cores: mma.sync with scores in registers.
//
// A warp owns 16 or 32 rows of the scores, so that softmax needs no shared memory and
// the weights, as they leave one product, are the left operand of the next. Tiles
// arrive in shared memory by cp.async while the one before is worked on, their 16-byte
// pieces exchanged within a row so that ldmatrix meets every bank once.
//
// T. Dao, "FlashAttention-2", arXiv:2307.08691.
#pragma once

#include "attention.cuh"

namespace tl {
namespace tensor {

// ---- the instructions ---------------------------------------------------------------
#ifdef TL_CUDA_EMULATED
inline void copy_async(void *to, const void *from, bool exists) {
    if (exists)
        *static_cast<Pack<uint32_t, 4> *>(to) =
            *static_cast<const Pack<uint32_t, 4> *>(from);
    else
        *static_cast<Pack<uint32_t, 4> *>(to) = {};
}
inline void commit_copies() {}
template <int N> inline void await_copies() {}

// Lane 8 m + i names row i of matrix m.
inline const uint16_t *row_of(const void *row, int matrix, int i) {
    const uint64_t mine = reinterpret_cast<uint64_t>(row);
    return reinterpret_cast<const uint16_t *>(
        __shfl_sync(kAllLanes, mine, matrix * 8 + i));
}
inline void load_matrices(uint32_t (&x)[4], const void *row) {
    const int lane = threadIdx.x % kWarp;
    for (int m = 0; m < 4; ++m) {
        const uint16_t *from = row_of(row, m, lane / 4) + lane % 4 * 2;
        x[m] = from[0] | static_cast<uint32_t>(from[1]) << 16;
    }
}
inline void load_matrices_turned(uint32_t (&x)[4], const void *row) {
    const int lane = threadIdx.x % kWarp;
    for (int m = 0; m < 4; ++m) {
        const uint16_t low = row_of(row, m, lane % 4 * 2)[lane / 4];
        const uint16_t high = row_of(row, m, lane % 4 * 2 + 1)[lane / 4];
        x[m] = low | static_cast<uint32_t>(high) << 16;
    }
}
template <typename T> inline float half_of(uint32_t pair, int which) {
    T x;
    x.bits = static_cast<uint16_t>(pair >> (16 * which));
    return load(&x);
}
template <typename T>
inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                         uint32_t b1) {
    const int lane = threadIdx.x % kWarp, row = lane / 4, column = lane % 4 * 2;
    const uint32_t b[2] = {b0, b1};
    for (int part = 0; part < 2; ++part)
        for (int quarter = 0; quarter < 4; ++quarter) {
            const uint32_t top = __shfl_sync(kAllLanes, a[2 * part], row * 4 + quarter);
            const uint32_t low =
                __shfl_sync(kAllLanes, a[2 * part + 1], row * 4 + quarter);
            for (int j = 0; j < 2; ++j) {
                const uint32_t right =
                    __shfl_sync(kAllLanes, b[part], (column + j) * 4 + quarter);
                for (int which = 0; which < 2; ++which) {
                    c[j] += half_of<T>(top, which) * half_of<T>(right, which);
                    c[2 + j] += half_of<T>(low, which) * half_of<T>(right, which);
                }
            }
        }
}
template <typename T> inline uint32_t pack_pair(float low, float high) {
    T x[2];
    store(x, low);
    store(x + 1, high);
    return x[0].bits | static_cast<uint32_t>(x[1].bits) << 16;
}
#else
__device__ __forceinline__ uint32_t shared_address(const void *p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
// 16 bytes to shared memory, zeros where there is nothing to copy.
__device__ __forceinline__ void copy_async(void *to, const void *from, bool exists) {
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
        "l"(from), "r"(exists ? 16 : 0)
        : "memory");
}
__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most N groups of copies are under way.
template <int N> __device__ __forceinline__ void await_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
// Four 8 x 8 matrices, one register each; lane 8 m + i names row i of matrix m.
__device__ __forceinline__ void load_matrices(uint32_t (&x)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(shared_address(row))
                 : "memory");
}
__device__ __forceinline__ void load_matrices_turned(uint32_t (&x)[4],
                                                     const void *row) {
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
        : "r"(shared_address(row))
        : "memory");
}
// c (16 x 8) += a (16 x 16) b (16 x 8).
template <typename T>
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4],
                                             uint32_t b0, uint32_t b1) {
    if constexpr (std::is_same_v<T, tl_bfloat16>)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <typename T>
__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
    uint32_t packed;
    if constexpr (std::is_same_v<T, tl_bfloat16>)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    else
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}
#endif

// ---- tiles in shared memory ---------------------------------------------------------
constexpr float kLog2E = 1.4426950408889634f;
constexpr int kPiece = 8; // 16-bit elements that travel together

// Piece `piece` of row `row` in a tile of rows of D elements.
template <int D, typename T>
__device__ __forceinline__ T *piece_of(T *tile, int row, int piece) {
    return tile + row * D + ((piece ^ (row & 7)) * kPiece);
}

// A matrix in global memory: `count` rows of `columns` elements.
template <typename T> struct Source {
    const T *data;
    int64_t step;
    int count, columns;
};

// Starts copying rows first.. of x to a tile; what does not exist becomes zeros.
template <int D, int Rows, int Threads, typename T>
__device__ __forceinline__ void copy_tile(T *tile, const Source<T> &x, int first) {
    constexpr int pieces = D / kPiece;
    static_assert(Threads % pieces == 0 && Rows * pieces % Threads == 0,
                  "whole rounds");
    const int piece = threadIdx.x % pieces;
#pragma unroll 4
    for (int row = 0; row < Rows; row += Threads / pieces) {
        const int r = row + threadIdx.x / pieces;
        const bool exists = first + r < x.count && piece * kPiece < x.columns;
        copy_async(piece_of<D>(tile, r, piece),
                   exists ? x.data + (first + r) * x.step + piece * kPiece : x.data,
                   exists);
    }
}

// Left operand: 16 rows from `row` on, 16 columns from 16 k on.
template <int D, typename T>
__device__ __forceinline__ void load_left(uint32_t (&a)[4], T *tile, int row, int k) {
    const int lane = threadIdx.x % kWarp;
    load_matrices(a, piece_of<D>(tile, row + lane % 16, 2 * k + lane / 16));
}
// Right operand of a product with the tile's transpose: columns n are rows 16 n.. of
// the tile; b[0], b[1] of the first eight, b[2], b[3] of the others.
template <int D, typename T>
__device__ __forceinline__ void load_right_turned(uint32_t (&b)[4], T *tile, int n,
                                                  int k) {
    const int lane = threadIdx.x % kWarp;
    load_matrices(
        b, piece_of<D>(tile, 16 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
}
// Right operand of a product with the tile itself: rows 16 k.., columns 16 n...
template <int D, typename T>
__device__ __forceinline__ void load_right(uint32_t (&b)[4], T *tile, int n, int k) {
    const int lane = threadIdx.x % kWarp;
    load_matrices_turned(b, piece_of<D>(tile, 16 * k + lane % 16, 2 * n + lane / 16));
}

// s[m] (16 x 8 N each) = rows of `left` times the transpose of `right`, 8 N rows of it.
template <int D, int M, int N, typename T>
__device__ __forceinline__ void multiply_turned(float (&s)[M][N][4], T *left, int row,
                                                T *right) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                s[m][n][i] = 0.0f;
#pragma unroll
    for (int k = 0; k < D / 16; ++k) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; ++m)
            load_left<D>(a[m], left, row + 16 * m, k);
#pragma unroll
        for (int n = 0; n < N / 2; ++n) {
            uint32_t b[4];
            load_right_turned<D>(b, right, n, k);
#pragma unroll
            for (int m = 0; m < M; ++m) {
                multiply_add<T>(s[m][2 * n], a[m], b[0], b[1]);
                multiply_add<T>(s[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

// sum[m] += s[m] times the tile `right` of 8 N rows; s is rounded to T.
template <int D, int M, int N, typename T>
__device__ __forceinline__ void multiply_scores(float (&sum)[M][D / 8][4],
                                                const float (&s)[M][N][4], T *right) {
#pragma unroll
    for (int k = 0; k < N / 2; ++k) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; ++m) {
            a[m][0] = pack_pair<T>(s[m][2 * k][0], s[m][2 * k][1]);
            a[m][1] = pack_pair<T>(s[m][2 * k][2], s[m][2 * k][3]);
            a[m][2] = pack_pair<T>(s[m][2 * k + 1][0], s[m][2 * k + 1][1]);
            a[m][3] = pack_pair<T>(s[m][2 * k + 1][2], s[m][2 * k + 1][3]);
        }
#pragma unroll
        for (int n = 0; n < D / 16; ++n) {
            uint32_t b[4];
            load_right<D>(b, right, n, k);
#pragma unroll
            for (int m = 0; m < M; ++m) {
                multiply_add<T>(sum[m][2 * n], a[m], b[0], b[1]);
                multiply_add<T>(sum[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

template <typename Combine>
__device__ __forceinline__ float across_quad(float x, Combine combine) {
    x = combine(x, __shfl_xor_sync(kAllLanes, x, 1));
    return combine(x, __shfl_xor_sync(kAllLanes, x, 2));
}
struct Larger { // a NaN among the scores shows in the total
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Which of a lane's four numbers of a 16 x 8 tile are kept: bit i for number i. The
// four weights that share a block of words lie with two neighbouring lanes; where they
// begin a block, either lane makes the words of one row.
template <typename T>
__device__ __forceinline__ unsigned keep_of_lane(const Heads<T> &heads, int64_t matrix,
                                                 int row, int column) {
    const int lane = threadIdx.x % kWarp, first = column + lane % 4 / 2 * 4;
    const bool odd = lane & 1;
    const unsigned mine =
        heads.keep_four(matrix, row + lane / 4 + (odd ? 8 : 0), first);
    const unsigned other = __shfl_xor_sync(kAllLanes, mine, 1);
    const unsigned top = odd ? other : mine, low = odd ? mine : other;
    const int shift = odd ? 2 : 0;
    return (top >> shift & 3u) | (low >> shift & 3u) << 2;
}

// The same where rows are keys: the four weights lie with lanes four apart, each of
// which makes the words of one number.
template <typename T>
__device__ __forceinline__ unsigned
keep_of_lane_turned(const Heads<T> &heads, int64_t matrix, int row, int column) {
    const int lane = threadIdx.x % kWarp, mine = lane / 4 % 4;
    const unsigned words = heads.keep_four(matrix, column + lane % 4 * 2 + mine % 2,
                                           row + lane / 16 * 4 + mine / 2 * 8);
    unsigned bits = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i)
        bits |= (__shfl_sync(kAllLanes, words, (lane & ~12) | i << 2) >> mine & 1u)
                << i;
    return bits;
}

// ---- forward ------------------------------------------------------------------------
// Special: a mask, dropout, or a scale that is not positive.
constexpr int kRowsOfBlock = 128, kKeysOfTile = 64, kForwardThreads = 128;

// Scores as they come from the product to scores under masks, where something is
// masked; `natural`: the scale is applied here.
template <bool Special, int N, typename T>
__device__ __forceinline__ void mask_scores(const Heads<T> &heads, int64_t mask_at,
                                            float (&s)[N][4], int row, int column) {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int query = row + lane / 4 + i / 2 * 8;
            const int key = column + 8 * n + lane % 4 * 2 + i % 2;
            if (Special)
                s[n][i] = heads.score(s[n][i], mask_at, query, key);
            else if (key >= heads.keys || (heads.causal && key > query))
                s[n][i] = -INFINITY;
        }
}

// The softmax of 16 rows' scores so far: s becomes weights, sum and total follow.
template <int N, int W>
__device__ __forceinline__ void online_rows(float (&s)[N][4], float (&sum)[W][4],
                                            float (&highest)[2], float (&total)[2],
                                            float scale) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float top = highest[r];
#pragma unroll
        for (int n = 0; n < N; ++n)
            top = fmaxf(top, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
        top = across_quad(top, Larger());
        // Nothing to see yet: every exponential is that of -inf.
        const float base = top == -INFINITY ? 0.0f : top * scale;
        const float factor = exp2_fast(highest[r] * scale - base);
        float added = 0.0f;
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; ++i) {
                s[n][i] = exp2_fast(fmaf(s[n][i], scale, -base));
                added += s[n][i];
            }
        total[r] = total[r] * factor + added;
        highest[r] = top;
#pragma unroll
        for (int n = 0; n < W; ++n) {
            sum[n][2 * r] *= factor;
            sum[n][2 * r + 1] *= factor;
        }
    }
}

// Two neighbours of a row: every operand here has rows of a multiple of 8 elements.
template <typename T>
__device__ __forceinline__ void store_pair(T *to, float low, float high) {
    *reinterpret_cast<uint32_t *>(to) = pack_pair<T>(low, high);
}

template <typename T, int D, bool Special>
__global__ void __launch_bounds__(kForwardThreads)
    attention_tensor_kernel(Heads<T> heads, T *y, float *stats) {
    constexpr int M = 2, N = kKeysOfTile / 8;
    TL_DYNAMIC_SHARED(T, own);
    T *keys = own + kRowsOfBlock * D, *values = keys + kKeysOfTile * D;
    const int lane = threadIdx.x % kWarp, warp_row = threadIdx.x / kWarp * 16 * M;
    const int tiles = (heads.queries + kRowsOfBlock - 1) / kRowsOfBlock;
    const int64_t matrix = blockIdx.x / tiles;
    const int first = (tiles - 1 - static_cast<int>(blockIdx.x % tiles)) * kRowsOfBlock;
    int64_t starts[kAttentionOperands];
    heads.starts(blockIdx.x / tiles, starts);
    const int64_t mask_at = starts[kMask];
    const Source<T> q = {heads.q + starts[kQueries], heads.row[kQueries], heads.queries,
                         heads.depth};
    const Source<T> k = {heads.k + starts[kKeys], heads.row[kKeys], heads.keys,
                         heads.depth};
    const Source<T> v = {heads.v + starts[kValues], heads.row[kValues], heads.keys,
                         heads.width};
    // In powers of two, so that a weight is one multiply-add and one exponential.
    const float scale = Special ? kLog2E : heads.scale * kLog2E;
    float sum[M][D / 8][4] = {}, highest[M][2], total[M][2] = {};
#pragma unroll
    for (int m = 0; m < M; ++m)
        highest[m][0] = highest[m][1] = -INFINITY;
    int end = heads.keys;
    if (heads.causal && first + kRowsOfBlock < end) end = first + kRowsOfBlock;
    copy_tile<D, kRowsOfBlock, kForwardThreads>(own, q, first);
    copy_tile<D, kKeysOfTile, kForwardThreads>(keys, k, 0);
    commit_copies();
    for (int column = 0; column < end; column += kKeysOfTile) {
        float s[M][N][4];
        await_copies<0>();
        __syncthreads(); // keys are here, and nobody reads the values before them
        copy_tile<D, kKeysOfTile, kForwardThreads>(values, v, column);
        commit_copies();
        multiply_turned<D>(s, own, warp_row, keys);
        const bool masked =
            Special || column + kKeysOfTile > heads.keys ||
            (heads.causal && column + kKeysOfTile - 1 > first + warp_row);
#pragma unroll
        for (int m = 0; m < M; ++m) {
            if (masked)
                mask_scores<Special>(heads, mask_at, s[m], first + warp_row + 16 * m,
                                     column);
            online_rows(s[m], sum[m], highest[m], total[m], scale);
            if (Special && heads.drops)
#pragma unroll
                for (int n = 0; n < N; ++n) {
                    const unsigned kept = keep_of_lane(
                        heads, matrix, first + warp_row + 16 * m, column + 8 * n);
#pragma unroll
                    for (int i = 0; i < 4; ++i)
                        if (!(kept >> i & 1u)) s[m][n][i] = 0.0f;
                }
        }
        await_copies<0>();
        __syncthreads(); // values are here, and nobody reads these keys any more
        if (column + kKeysOfTile < end) {
            copy_tile<D, kKeysOfTile, kForwardThreads>(keys, k, column + kKeysOfTile);
            commit_copies();
        }
        multiply_scores<D>(sum, s, values);
    }
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int query = first + warp_row + 16 * m + 8 * r + lane / 4;
            const float all = across_quad(total[m][r], Sum());
            const float inverse = highest[m][r] == -INFINITY ? 0.0f : 1.0f / all;
            if (query >= heads.queries) continue;
            const int64_t row = matrix * heads.queries + query;
            if (lane % 4 == 0) {
                stats[2 * row] = Special ? highest[m][r] : highest[m][r] * heads.scale;
                stats[2 * row + 1] = inverse;
            }
            const float factor =
                Special && heads.drops ? inverse * heads.kept : inverse;
#pragma unroll
            for (int n = 0; n < D / 8; ++n)
                if (8 * n < heads.width)
                    store_pair(y + row * heads.width + 8 * n + lane % 4 * 2,
                               sum[m][n][2 * r] * factor,
                               sum[m][n][2 * r + 1] * factor);
        }
}

// ---- gradient -----------------------------------------------------------------------
// What a weight's gradient needs of its row: weight = 2^(score log2 e - level), and the
// sum of y and its gradient.
struct RowNote {
    float level, inner;
};
// Every row's note: as many lanes as there are pieces in its columns, of a power of
// two.
template <typename T>
__global__ void row_notes_kernel(Heads<T> heads, RowNote *notes, int lanes) {
    const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int64_t row = at / lanes;
    const int column = static_cast<int>(threadIdx.x) % lanes * kPiece;
    const bool exists = row < heads.batch * heads.queries;
    float sum = 0.0f;
    if (exists && column < heads.width) {
        const int64_t from = row * heads.width + column;
        const auto g = *reinterpret_cast<const Pack<T, kPiece> *>(heads.g + from);
        const auto y = *reinterpret_cast<const Pack<T, kPiece> *>(heads.y + from);
#pragma unroll
        for (int i = 0; i < kPiece; ++i)
            sum += load(&g.at[i]) * load(&y.at[i]);
    }
    for (int apart = lanes / 2; apart > 0; apart /= 2)
        sum += __shfl_xor_sync(kAllLanes, sum, apart);
    if (!exists || column != 0) return;
    const float top = heads.stats[2 * row], inverse = heads.stats[2 * row + 1];
    // A row that sees nothing has weights of zero, whatever its scores.
    notes[row] = top == -INFINITY ? RowNote{INFINITY, 0.0f}
                                  : RowNote{top * kLog2E - log2f(inverse), sum};
}
template <typename T> tl_status row_notes(const Heads<T> &heads, RowNote *notes) {
    int lanes = 1;
    while (lanes * kPiece < heads.width)
        lanes *= 2;
    const int64_t blocks = ceil_div(heads.batch * heads.queries, kThreads / lanes);
    return launch(static_cast<unsigned>(blocks), kThreads, 0, row_notes_kernel<T>,
                  heads, notes, lanes);
}

constexpr int kOtherRows = 64, kOwnRows = 64, kGradientThreads = 128;

// ToKeys: a block owns 64 keys, walks over queries and sums the gradients of keys and
// values; else it owns 64 queries, walks over keys and sums the queries' gradient.
template <typename T> struct Gradients {
    T *first, *second; // of queries; or of keys and of values
    T *slopes;         // of the mask; null: not wanted
    const RowNote *notes;
};

// The tiles of one step, and the notes of its queries.
template <typename T, int D> struct Stage {
    T *inputs, *partners; // rows of k and v, or of q and g
    __device__ Stage(T *shared, int which) {
        inputs = shared + 2 * kOwnRows * D + which * 2 * kOtherRows * D;
        partners = inputs + kOtherRows * D;
    }
};

template <typename T, int D, bool ToKeys, bool Special>
__device__ __forceinline__ void
weights_and_slopes(const Heads<T> &heads, const Gradients<T> &to, int64_t matrix,
                   int64_t mask_at, int own, int other, float (&s)[kOtherRows / 8][4],
                   float (&slope)[kOtherRows / 8][4], const RowNote (&own_notes)[2]) {
    const int lane = threadIdx.x % kWarp;
    const int64_t query_row = matrix * heads.queries;
    const float scale = Special ? kLog2E : heads.scale * kLog2E;
    const int key_end = ToKeys ? own + 16 : other + kOtherRows;
    const bool masked = Special || key_end > heads.keys ||
                        (heads.causal && key_end - 1 > (ToKeys ? other : own));
#pragma unroll
    for (int n = 0; n < kOtherRows / 8; ++n) {
        unsigned kept = 15u;
        if (Special && heads.drops)
            kept = ToKeys ? keep_of_lane_turned(heads, matrix, own, other + 8 * n)
                          : keep_of_lane(heads, matrix, own, other + 8 * n);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int down = own + lane / 4 + i / 2 * 8;
            const int along = other + 8 * n + lane % 4 * 2 + i % 2;
            const int query = ToKeys ? along : down, key = ToKeys ? down : along;
            RowNote note = own_notes[i / 2];
            if (ToKeys)
                note = query < heads.queries ? to.notes[query_row + query]
                                             : RowNote{INFINITY, 0.0f};
            float score = s[n][i], keep = 1.0f;
            if (masked) {
                if (Special)
                    score = heads.score(score, mask_at, query, key);
                else if (key >= heads.keys || (heads.causal && key > query))
                    score = -INFINITY;
            }
            if (Special && heads.drops) keep = kept >> i & 1u ? heads.kept : 0.0f;
            const float p = exp2_fast(fmaf(score, scale, -note.level));
            const float x = p * (slope[n][i] * keep - note.inner);
            if (Special && !ToKeys && to.slopes != nullptr && query < heads.queries &&
                key < heads.keys)
                store(to.slopes + (query_row + query) * heads.keys + key, x);
            s[n][i] = p * keep;
            slope[n][i] = x * heads.scale;
        }
    }
}

template <int D, typename T>
__device__ __forceinline__ void write_gradient(T *out, int64_t row, int count,
                                               int columns,
                                               const float (&sum)[D / 8][4]) {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int down = 8 * r + lane / 4;
        if (down >= count) continue;
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
            if (8 * n < columns)
                store_pair(out + (row + down) * columns + 8 * n + lane % 4 * 2,
                           sum[n][2 * r], sum[n][2 * r + 1]);
    }
}

template <typename T, int D, bool ToKeys, bool Special>
__global__ void __launch_bounds__(kGradientThreads)
    attention_tensor_grad_kernel(Heads<T> heads, Gradients<T> to) {
    constexpr int N = kOtherRows / 8;
    TL_DYNAMIC_SHARED(T, shared);
    const int lane = threadIdx.x % kWarp, warp_row = threadIdx.x / kWarp * 16;
    const int own_count = ToKeys ? heads.keys : heads.queries;
    const int tiles = (own_count + kOwnRows - 1) / kOwnRows;
    const int64_t matrix = blockIdx.x / tiles;
    int first = static_cast<int>(blockIdx.x % tiles);
    first = (ToKeys ? first : tiles - 1 - first) * kOwnRows; // the most to do first
    int64_t starts[kAttentionOperands];
    heads.starts(blockIdx.x / tiles, starts);
    const int64_t mask_at = starts[kMask];
    const int64_t query_row = matrix * heads.queries;
    const Source<T> q = {heads.q + starts[kQueries], heads.row[kQueries], heads.queries,
                         heads.depth};
    const Source<T> g = {heads.g + query_row * heads.width, heads.width, heads.queries,
                         heads.width};
    const Source<T> k = {heads.k + starts[kKeys], heads.row[kKeys], heads.keys,
                         heads.depth};
    const Source<T> v = {heads.v + starts[kValues], heads.row[kValues], heads.keys,
                         heads.width};
    int begin = 0, end = ToKeys ? heads.queries : heads.keys;
    if (heads.causal && ToKeys) begin = first; // queries above see none of these keys
    if (heads.causal && !ToKeys && to.slopes == nullptr && first + kOwnRows < end)
        end = first + kOwnRows;
    T *own_inputs = shared, *own_partners = shared + kOwnRows * D;
    copy_tile<D, kOwnRows, kGradientThreads>(own_inputs, ToKeys ? k : q, first);
    copy_tile<D, kOwnRows, kGradientThreads>(own_partners, ToKeys ? v : g, first);
    if (begin < end) {
        const Stage<T, D> stage(shared, 0);
        copy_tile<D, kOtherRows, kGradientThreads>(stage.inputs, ToKeys ? q : k, begin);
        copy_tile<D, kOtherRows, kGradientThreads>(stage.partners, ToKeys ? g : v,
                                                   begin);
    }
    commit_copies();
    RowNote notes[2] = {};
    if (!ToKeys)
        for (int r = 0; r < 2; ++r) {
            const int query = first + warp_row + 8 * r + lane / 4;
            notes[r] = query < heads.queries ? to.notes[query_row + query]
                                             : RowNote{INFINITY, 0.0f};
        }
    float sum[1][D / 8][4] = {}, second[1][ToKeys ? D / 8 : 1][4] = {};
    for (int other = begin, which = 0; other < end; other += kOtherRows, which ^= 1) {
        float s[1][N][4], slope[1][N][4];
        const Stage<T, D> stage(shared, which), next(shared, which ^ 1);
        await_copies<0>();
        __syncthreads(); // this step's tiles are here, the last one's are free
        if (other + kOtherRows < end) {
            copy_tile<D, kOtherRows, kGradientThreads>(next.inputs, ToKeys ? q : k,
                                                       other + kOtherRows);
            copy_tile<D, kOtherRows, kGradientThreads>(next.partners, ToKeys ? g : v,
                                                       other + kOtherRows);
            commit_copies();
        }
        multiply_turned<D>(s, own_inputs, warp_row, stage.inputs);
        multiply_turned<D>(slope, own_partners, warp_row, stage.partners);
        weights_and_slopes<T, D, ToKeys, Special>(
            heads, to, matrix, mask_at, first + warp_row, other, s[0], slope[0], notes);
        if constexpr (ToKeys) multiply_scores<D>(second, s, stage.partners);
        multiply_scores<D>(sum, slope, stage.inputs);
    }
    await_copies<0>();
    const int64_t row = matrix * own_count + first + warp_row;
    const int left = own_count - first - warp_row;
    write_gradient<D>(to.first, row, left, heads.depth, sum[0]);
    if constexpr (ToKeys)
        write_gradient<D>(to.second, row, left, heads.width, second[0]);
}

// ---- run functions ------------------------------------------------------------------
// Whether every row of every matrix begins on 16 bytes and has whole pieces.
template <typename T> bool has_pieces(const Heads<T> &heads) {
    bool whole = heads.depth % kPiece == 0 && heads.width % kPiece == 0 &&
                 heads.depth > 0 && heads.width > 0 && is_aligned(heads.q, 16) &&
                 is_aligned(heads.k, 16) && is_aligned(heads.v, 16) &&
                 is_aligned(heads.g, 16) && is_aligned(heads.y, 16);
    for (int i = 0; i < kMask; ++i) {
        whole = whole && heads.row[i] % kPiece == 0;
        for (int axis = 0; axis < heads.lead; ++axis)
            whole = whole && heads.strides[axis][i] % kPiece == 0;
    }
    return whole;
}
template <typename T> bool served(const Heads<T> &heads) {
    const int64_t rows = heads.queries > heads.keys ? heads.queries : heads.keys;
    return heads.keys > 0 && heads.depth <= 128 && heads.width <= 128 &&
           heads.batch <= INT32_MAX &&
           heads.batch * ceil_div(rows, kOwnRows) <= INT32_MAX && has_pieces(heads);
}
// A mask, dropout or a scale that is not positive: kernels for one head size alone,
// which keeps the code short.
template <typename T>
bool is_special(const Heads<T> &heads, const T *slopes = nullptr) {
    return heads.mask != nullptr || heads.drops || !(heads.scale > 0) ||
           slopes != nullptr;
}

template <typename T, int D, bool Special>
tl_status launch_forward(const Heads<T> &heads, T *y, float *stats) {
    const int64_t blocks = heads.batch * ceil_div(heads.queries, kRowsOfBlock);
    constexpr size_t shared = sizeof(T) * D * (kRowsOfBlock + 2 * kKeysOfTile);
    return launch(static_cast<unsigned>(blocks), kForwardThreads, shared,
                  attention_tensor_kernel<T, D, Special>, heads, y, stats);
}
// attention_wide.cu and attention_wide_grad.cu, which need a build of their own
// (TL_CUDA_SM90A says that there is one).
template <typename T>
tl_status wide_attention(const Heads<T> &heads, T *y, float *stats);
template <typename T>
tl_status wide_attention_grad(const Heads<T> &heads, T *const (&out)[4],
                              const RowNote *notes);

template <typename T> tl_status attention(const Heads<T> &heads, T *y, float *stats) {
    if (!served(heads)) return TL_DECLINED;
    if (is_special(heads)) return launch_forward<T, 128, true>(heads, y, stats);
#ifdef TL_CUDA_SM90A
    const tl_status status = wide_attention(heads, y, stats);
    if (status != TL_DECLINED) return status;
#endif
    return heads.depth <= 64 && heads.width <= 64
               ? launch_forward<T, 64, false>(heads, y, stats)
               : launch_forward<T, 128, false>(heads, y, stats);
}

template <typename T, int D, bool ToKeys, bool Special>
tl_status launch_gradient(const Heads<T> &heads, const Gradients<T> &to) {
    const int own = ToKeys ? heads.keys : heads.queries;
    const int64_t blocks = heads.batch * ceil_div(own, kOwnRows);
    constexpr size_t shared = sizeof(T) * D * (2 * kOwnRows + 4 * kOtherRows);
    return launch(static_cast<unsigned>(blocks), kGradientThreads, shared,
                  attention_tensor_grad_kernel<T, D, ToKeys, Special>, heads, to);
}
template <typename T, int D, bool Special>
tl_status both_gradients(const Heads<T> &heads, T *const (&out)[4],
                         const RowNote *notes) {
    const tl_status status =
        launch_gradient<T, D, false, Special>(heads, {out[0], nullptr, out[3], notes});
    if (status != TL_OK) return status;
    return launch_gradient<T, D, true, Special>(heads,
                                                {out[1], out[2], nullptr, notes});
}
template <typename T>
tl_status attention_grad(const Heads<T> &heads, T *const (&out)[4]) {
    if (!served(heads)) return TL_DECLINED;
    Scratch notes(heads.batch * heads.queries * sizeof(RowNote));
    if (notes.data() == nullptr) return TL_OUT_OF_MEMORY;
    const tl_status status = row_notes(heads, notes.as<RowNote>());
    if (status != TL_OK) return status;
    const RowNote *read = notes.as<RowNote>();
    if (is_special(heads, out[3]))
        return both_gradients<T, 128, true>(heads, out, read);
#ifdef TL_CUDA_SM90A
    const tl_status wide = wide_attention_grad(heads, out, read);
    if (wide != TL_DECLINED) return wide;
#endif
    return heads.depth <= 64 && heads.width <= 64
               ? both_gradients<T, 64, false>(heads, out, read)
               : both_gradients<T, 128, false>(heads, out, read);
}

} // namespace tensor
} // namespace tl

// Matrix products of our own: a ladder from one thread an element to tensor cores.
//
// Each rung removes what bounds the one before. NAIVE reads two numbers a multiply-add,
// so the caches' bandwidth bounds it. SHARED keeps tiles of a and b in shared memory,
// which each thread of a block reads instead: memory traffic falls by the tile's edge,
// and the bandwidth of shared memory is the bound. REGISTERS gives a thread 8 x 8
// elements, so that 16 numbers read serve 64 multiply-adds, and fetches the next tile
// while it computes: the arithmetic units are the bound. TENSOR_CORES does a warp's 16
// x 8 x 16 products in one instruction and copies tiles past the registers (cp.async),
// four deep.
//
// tiled_kernel is SHARED for any number type and any strides: production uses it where
// cuBLASLt is not there or has no such product. No rung splits K, so sums have one
// order.
#pragma once

#include "matmul.cuh"
#include "tensor_core.cuh"

namespace tl {

// A MatrixProduct as kernels see it.
template <typename T> struct Product {
    int64_t m, n, k;
    const T *a;
    int64_t a_row, a_col, a_batch;
    const T *b;
    int64_t b_row, b_col, b_batch;
    T *c;
    int64_t c_row, c_col, c_batch;
    const T *bias;
    int64_t batch;
    bool accumulate;
};

template <typename T> Product<T> product_of(const MatrixProduct &p) {
    return {p.m,     p.n,         p.k,       static_cast<const T *>(p.a),
            p.a_row, p.a_col,     p.a_batch, static_cast<const T *>(p.b),
            p.b_row, p.b_col,     p.b_batch, static_cast<T *>(p.c),
            p.c_row, p.c_col,     p.c_batch, static_cast<const T *>(p.bias),
            p.batch, p.accumulate};
}

// What sums are kept in: narrow integers wrap around at the store.
template <typename T> struct summed { using type = computed_t<T>; };
template <> struct summed<uint8_t> { using type = uint32_t; };
template <typename T> using summed_t = typename summed<T>::type;

// One step of a sum of products, and the sum's start.
struct Arithmetic {
    template <typename S> static __device__ S step(S sum, S x, S y) {
        return sum + x * y;
    }
    template <typename S> static __device__ S join(S start, S sum) {
        return start + sum;
    }
};
struct Logical { // of 0 and 1
    template <typename S> static __device__ S step(S sum, S x, S y) {
        return sum | (x & y);
    }
    template <typename S> static __device__ S join(S start, S sum) {
        return start | sum;
    }
};

template <typename Ring, typename T>
__device__ __forceinline__ void put(const Product<T> &p, int64_t at, int64_t i,
                                    int64_t j, summed_t<T> sum) {
    T *target = p.c + at * p.c_batch + i * p.c_row + j * p.c_col;
    if (p.accumulate) sum = Ring::join(static_cast<summed_t<T>>(load(target)), sum);
    if (p.bias != nullptr)
        sum = Ring::join(static_cast<summed_t<T>>(load(p.bias + j)), sum);
    store(target, static_cast<computed_t<T>>(sum));
}

// Element `at` of all outputs as its matrix, row and column. Division of 64 bits is
// slow.
template <typename T>
__device__ __forceinline__ void split_place(const Product<T> &p, int64_t at,
                                            int64_t &which, int64_t &i, int64_t &j) {
    if (p.batch * p.m * p.n <= INT32_MAX) {
        const uint32_t place = static_cast<uint32_t>(at),
                       n = static_cast<uint32_t>(p.n);
        const uint32_t rows = place / n, m = static_cast<uint32_t>(p.m);
        j = place - rows * n, which = rows / m, i = rows % m;
    } else {
        j = at % p.n, i = at / p.n % p.m, which = at / p.n / p.m;
    }
}

// ---- one thread an element --------------------------------------------------------
template <typename T, typename Ring> __global__ void naive_kernel(Product<T> p) {
    wait_for_previous();
    using S = summed_t<T>;
    const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
         at < p.batch * p.m * p.n; at += step) {
        int64_t which, i, j;
        split_place(p, at, which, i, j);
        const T *a = p.a + which * p.a_batch + i * p.a_row;
        const T *b = p.b + which * p.b_batch + j * p.b_col;
        S sum = 0;
#pragma unroll 4
        for (int64_t x = 0; x < p.k; ++x)
            sum = Ring::step(sum, static_cast<S>(load(a + x * p.a_col)),
                             static_cast<S>(load(b + x * p.b_row)));
        put<Ring>(p, which, i, j, sum);
    }
}

template <typename T, typename Ring> tl_status naive_product(const Product<T> &p) {
    return launch_early(blocks_for(p.batch * p.m * p.n), kThreads, 0,
                        naive_kernel<T, Ring>, p);
}

// ---- tiles in shared memory -------------------------------------------------------
constexpr int kEdge = 64;  // of a block's tile of c
constexpr int kDepth = 16; // of the tiles of a and b
constexpr int kPitch = kEdge + 4;

// A kEdge x kDepth tile as tile[depth][edge]; zeros outside of the matrix. Neighbouring
// threads read along whichever axis has unit stride.
template <typename T>
__device__ __forceinline__ void
fetch_tile(const T *x, int64_t edge, int64_t edge_step, int64_t edges, int64_t depth,
           int64_t depth_step, int64_t depths, summed_t<T> (*tile)[kPitch]) {
    const bool along_depth = depth_step == 1;
#pragma unroll
    for (int part = 0; part < kEdge * kDepth / kThreads; ++part) {
        const int at = threadIdx.x + part * kThreads;
        const int e = along_depth ? at / kDepth : at % kEdge;
        const int d = along_depth ? at % kDepth : at / kEdge;
        const bool inside = edge + e < edges && depth + d < depths;
        tile[d][e] = inside ? static_cast<summed_t<T>>(load(x + (edge + e) * edge_step +
                                                            (depth + d) * depth_step))
                            : summed_t<T>(0);
    }
}

template <typename T, typename Ring>
__global__ void __launch_bounds__(kThreads) tiled_kernel(Product<T> p) {
    using S = summed_t<T>;
    __shared__ S a_tile[kDepth][kPitch];
    __shared__ S b_tile[kDepth][kPitch];
    const int64_t across = (p.n + kEdge - 1) / kEdge;
    const int64_t row = blockIdx.x / across * kEdge, col = blockIdx.x % across * kEdge;
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    for (int64_t which = blockIdx.y; which < p.batch; which += gridDim.y) {
        S sums[4][4] = {};
        for (int64_t depth = 0; depth < p.k; depth += kDepth) {
            __syncthreads(); // the tiles before were read
            fetch_tile(p.a + which * p.a_batch, row, p.a_row, p.m, depth, p.a_col, p.k,
                       a_tile);
            fetch_tile(p.b + which * p.b_batch, col, p.b_col, p.n, depth, p.b_row, p.k,
                       b_tile);
            __syncthreads();
#pragma unroll
            for (int d = 0; d < kDepth; ++d) {
                S left[4], right[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    left[i] = a_tile[d][y * 4 + i];
                    right[i] = b_tile[d][x + i * 16];
                }
#pragma unroll
                for (int i = 0; i < 4; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j)
                        sums[i][j] = Ring::step(sums[i][j], left[i], right[j]);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int64_t at_i = row + y * 4 + i, at_j = col + x + j * 16;
                if (at_i < p.m && at_j < p.n)
                    put<Ring>(p, which, at_i, at_j, sums[i][j]);
            }
    }
}

inline dim3 tile_grid(int64_t m, int64_t n, int64_t edge, int64_t batch) {
    return dim3(static_cast<unsigned>(ceil_div(m, edge) * ceil_div(n, edge)),
                static_cast<unsigned>(batch < 65535 ? batch : 65535));
}
inline bool tiles_fit(int64_t m, int64_t n, int64_t edge) {
    return ceil_div(m, edge) * ceil_div(n, edge) < (INT64_C(1) << 31);
}

template <typename T, typename Ring> tl_status tiled_product(const Product<T> &p) {
    if (!tiles_fit(p.m, p.n, kEdge)) return naive_product<T, Ring>(p);
    return launch(tile_grid(p.m, p.n, kEdge, p.batch), kThreads, 0,
                  tiled_kernel<T, Ring>, p);
}

// ---- tiles in registers -----------------------------------------------------------
constexpr int kWide = 128; // edge of a block's tile of c
constexpr int kSlice = 8;  // depth

// Rows of runs that start at multiples of 16 bytes.
template <typename T>
bool vector_rows(const T *x, int64_t row, int64_t batch, int64_t n) {
    constexpr int64_t width = pack_of<T>;
    return is_aligned(x, 16) && row % width == 0 && batch % width == 0 &&
           n % width == 0;
}
template <typename T> bool stored_by_rows(const Product<T> &p) {
    return p.a_col == 1 && p.b_col == 1 && p.c_col == 1 &&
           vector_rows(p.a, p.a_row, p.a_batch, p.k) &&
           vector_rows(p.b, p.b_row, p.b_batch, p.n) &&
           vector_rows(p.c, p.c_row, p.c_batch, p.n) && tiles_fit(p.m, p.n, kWide);
}

using Float4 = Pack<float, 4>;

// The part of a tile of a and of b that one thread carries from memory to shared
// memory.
struct Carried {
    Float4 a, b;
    __device__ void fetch(const Product<float> &p, const float *a_at, const float *b_at,
                          int64_t row, int64_t col, int64_t depth) {
        const int a_line = threadIdx.x / 2, a_part = threadIdx.x % 2 * 4;
        const int b_line = threadIdx.x / 32, b_part = threadIdx.x % 32 * 4;
        a = b = Float4{};
        if (row + a_line < p.m && depth + a_part < p.k)
            a = *reinterpret_cast<const Float4 *>(a_at + (row + a_line) * p.a_row +
                                                  depth + a_part);
        if (depth + b_line < p.k && col + b_part < p.n)
            b = *reinterpret_cast<const Float4 *>(b_at + (depth + b_line) * p.b_row +
                                                  col + b_part);
    }
    __device__ void put(float (*a_tile)[kWide + 4], float (*b_tile)[kWide]) const {
        const int a_line = threadIdx.x / 2, a_part = threadIdx.x % 2 * 4;
        const int b_line = threadIdx.x / 32, b_part = threadIdx.x % 32 * 4;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            a_tile[a_part + i][a_line] = a.at[i];
        *reinterpret_cast<Float4 *>(&b_tile[b_line][b_part]) = b;
    }
};

// A thread's 8 x 8 elements are four blocks of 4 x 4, 64 rows and columns apart: its
// reads of 16 bytes then have no bank conflicts.
__device__ __forceinline__ void multiply_slice(const float (*a_tile)[kWide + 4],
                                               const float (*b_tile)[kWide],
                                               float (&sums)[8][8]) {
    const int x = threadIdx.x % 16 * 4, y = threadIdx.x / 16 * 4;
#pragma unroll
    for (int d = 0; d < kSlice; ++d) {
        Float4 left[2], right[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            left[half] = *reinterpret_cast<const Float4 *>(&a_tile[d][y + half * 64]);
            right[half] = *reinterpret_cast<const Float4 *>(&b_tile[d][x + half * 64]);
        }
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j)
                sums[i][j] += left[i / 4].at[i % 4] * right[j / 4].at[j % 4];
    }
}

__device__ __forceinline__ void put_registers(const Product<float> &p, int64_t which,
                                              int64_t row, int64_t col,
                                              const float (&sums)[8][8]) {
    const int x = threadIdx.x % 16 * 4, y = threadIdx.x / 16 * 4;
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int64_t at_i = row + y + i / 4 * 64 + i % 4,
                          at_j = col + x + half * 64;
            if (at_i >= p.m || at_j >= p.n) continue;
            Float4 *target = reinterpret_cast<Float4 *>(p.c + which * p.c_batch +
                                                        at_i * p.c_row + at_j);
            Float4 found = p.accumulate ? *target : Float4{};
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                found.at[j] += sums[i][half * 4 + j];
                if (p.bias != nullptr) found.at[j] += p.bias[at_j + j];
            }
            *target = found;
        }
}

__global__ void __launch_bounds__(kThreads, 2) register_kernel(Product<float> p) {
    __shared__ __align__(16) float a_tile[2][kSlice][kWide + 4];
    __shared__ __align__(16) float b_tile[2][kSlice][kWide];
    const int64_t across = (p.n + kWide - 1) / kWide;
    const int64_t row = blockIdx.x / across * kWide, col = blockIdx.x % across * kWide;
    for (int64_t which = blockIdx.y; which < p.batch; which += gridDim.y) {
        const float *a = p.a + which * p.a_batch, *b = p.b + which * p.b_batch;
        float sums[8][8] = {};
        Carried next;
        next.fetch(p, a, b, row, col, 0);
        __syncthreads(); // the batch before read its last tiles
        next.put(a_tile[0], b_tile[0]);
        __syncthreads();
        int now = 0;
        for (int64_t depth = 0; depth < p.k; depth += kSlice, now ^= 1) {
            const bool more = depth + kSlice < p.k;
            if (more) next.fetch(p, a, b, row, col, depth + kSlice);
            multiply_slice(a_tile[now], b_tile[now], sums);
            if (more) next.put(a_tile[now ^ 1], b_tile[now ^ 1]);
            __syncthreads();
        }
        put_registers(p, which, row, col, sums);
    }
}

inline tl_status register_product(const Product<float> &p) {
    return launch(tile_grid(p.m, p.n, kWide, p.batch), kThreads, 0, register_kernel, p);
}

// ---- tensor cores -----------------------------------------------------------------
namespace tensor {

constexpr int kBlock = 128, kSteps = 32, kStages = 4; // edge and depth of a tile, tiles
constexpr int kTileBytes = kBlock * kSteps * 2;       // of a or of b

// Tiles lie in pieces of 16 bytes. A piece's place within its line depends on the line,
// so that the eight lines that ldmatrix reads together lie in different banks.
__device__ __forceinline__ uint32_t a_place(int line, int piece) { // 4 pieces a line
    return (line * 4 + (piece ^ (line >> 1 & 3))) * 16;
}
__device__ __forceinline__ uint32_t b_place(int line, int piece) { // 16 pieces a line
    return (line * 16 + (piece ^ (line & 7))) * 16;
}

template <typename T>
__device__ __forceinline__ void fetch(const Product<T> &p, const T *a, const T *b,
                                      int64_t row, int64_t col, int64_t depth,
                                      Shared a_tile, Shared b_tile) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
        const int at = threadIdx.x + part * kThreads;
        const int a_line = at / 4, a_piece = at % 4, b_line = at / 16,
                  b_piece = at % 16;
        const bool a_in = row + a_line < p.m && depth + a_piece * 8 < p.k;
        const bool b_in = depth + b_line < p.k && col + b_piece * 8 < p.n;
        const T *a_at = a + (row + a_line) * p.a_row + depth + a_piece * 8;
        const T *b_at = b + (depth + b_line) * p.b_row + col + b_piece * 8;
        copy_async(a_tile + a_place(a_line, a_piece), a_in ? a_at : a, a_in);
        copy_async(b_tile + b_place(b_line, b_piece), b_in ? b_at : b, b_in);
    }
    commit_copies();
}

// A warp's 64 x 32 elements of c from one tile of a and of b.
template <typename T>
__device__ __forceinline__ void multiply_tile(Shared a_tile, Shared b_tile,
                                              float (&sums)[4][4][4]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = warp / 4 * 64, col = warp % 4 * 32;
#pragma unroll
    for (int step = 0; step < kSteps / 16; ++step) {
        uint32_t a[4][4], b[2][4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
            read_matrices(
                a[i], a_tile + a_place(row + i * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
        for (int j = 0; j < 2; ++j)
            read_transposed(b[j], b_tile + b_place(step * 16 + lane % 16,
                                                   (col + j * 16) / 8 + lane / 16));
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
                mma(T{}, sums[i][j], a[i], b[j / 2][j % 2 * 2],
                    b[j / 2][j % 2 * 2 + 1]);
    }
}

template <typename T>
__device__ __forceinline__ void put_tile(const Product<T> &p, int64_t which,
                                         int64_t row, int64_t col,
                                         const float (&sums)[4][4][4]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    row += warp / 4 * 64 + lane / 4;
    col += warp % 4 * 32 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int64_t at_i = row + i * 16 + half * 8, at_j = col + j * 8;
                if (at_i >= p.m || at_j >= p.n) continue;
                T *target = p.c + which * p.c_batch + at_i * p.c_row + at_j;
                Pack<T, 2> found;
#pragma unroll
                for (int at = 0; at < 2; ++at) {
                    float x = sums[i][j][half * 2 + at];
                    if (p.accumulate) x += load(target + at);
                    if (p.bias != nullptr) x += load(p.bias + at_j + at);
                    store(&found.at[at], x);
                }
                *reinterpret_cast<Pack<T, 2> *>(target) = found;
            }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2) tensor_core_kernel(Product<T> p) {
    TL_DYNAMIC_SHARED(unsigned char, tiles);
    const Shared base = shared(tiles);
    const auto a_tile = [=](int64_t i) {
        return base + static_cast<int>(i % kStages) * 2 * kTileBytes;
    };
    const int64_t across = (p.n + kBlock - 1) / kBlock;
    const int64_t row = blockIdx.x / across * kBlock,
                  col = blockIdx.x % across * kBlock;
    const int64_t count = (p.k + kSteps - 1) / kSteps;
    for (int64_t which = blockIdx.y; which < p.batch; which += gridDim.y) {
        const T *a = p.a + which * p.a_batch, *b = p.b + which * p.b_batch;
        float sums[4][4][4] = {};
        // Tiles past the end are fetched as zeros: every round then has one group of
        // copies.
        for (int64_t i = 0; i < kStages - 1; ++i)
            fetch(p, a, b, row, col, i * kSteps, a_tile(i), a_tile(i) + kTileBytes);
        for (int64_t i = 0; i < count; ++i) {
            wait_copies<kStages - 2>();
            __syncthreads(); // tile i is here, and everybody is done with tile i - 1
            const int64_t next = i + kStages - 1;
            fetch(p, a, b, row, col, next * kSteps, a_tile(next),
                  a_tile(next) + kTileBytes);
            multiply_tile<T>(a_tile(i), a_tile(i) + kTileBytes, sums);
        }
        wait_copies<0>();
        __syncthreads();
        put_tile(p, which, row, col, sums);
    }
}

} // namespace tensor

template <typename T> tl_status tensor_core_product(const Product<T> &p) {
    return launch(tile_grid(p.m, p.n, tensor::kBlock, p.batch), kThreads,
                  tensor::kStages * 2 * tensor::kTileBytes,
                  tensor::tensor_core_kernel<T>, p);
}

} // namespace tl

// Matrix products too small to fill the device.
//
// Tiles of c are small, so that there are blocks for many processors, and the warps of
// a block share K among them: a step of the loop brings kDepth of it to shared memory,
// of which each slice multiplies a part of its own. At the end the slices' sums are
// added in order, so that bits depend on shapes alone. Operands are read along
// whichever axis is contiguous: products with transposed matrices, as gradients are,
// need no copies.
#pragma once

#include "gemm.cuh"

namespace tl {
namespace sliced {

using tensor::Shared;

constexpr int kMostStages = 4, kMostShared = 48 << 10; // tiles on their way; bytes

// ---- operands in shared memory ----------------------------------------------------
// A tile has lines of unit stride in memory, in pieces of 16 bytes. A piece's place in
// its line depends on the line: whoever reads neighbouring lines meets other banks.
template <int Pieces> __device__ __forceinline__ int place(int line, int piece) {
    static_assert(Pieces >= 4, "lines of 64 bytes or more");
    const int turn = Pieces == 4 ? line >> 1 & 3 : line & 7;
    return (line * Pieces + (piece ^ turn)) * 16;
}

// The first `count` elements of a piece, zeros behind them.
template <typename T>
__device__ __forceinline__ void copy_piece(Shared target, const T *source, int count,
                                           bool vectors) {
    constexpr int size = sizeof(T);
    if (size < 4 || vectors) {
        tensor::copy_bytes<16>(target, source, count * size);
    } else if constexpr (size == 4) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            tensor::copy_bytes<4>(target + i * 4, i < count ? source + i : source,
                                  i < count ? 4 : 0);
    }
}

// A tile of `Lines` lines whose first element is x[at]; `lines` and `run` are left of
// the matrix from there on, `step` is from line to line.
template <typename T, int Lines, int Run>
__device__ __forceinline__ void fetch(const T *x, int64_t at, int64_t step,
                                      int64_t lines, int64_t run, bool vectors,
                                      Shared tile) {
    constexpr int width = 16 / sizeof(T), pieces = Run / width;
    static_assert(Lines * pieces % kThreads == 0, "every thread has as many");
#pragma unroll
    for (int part = 0; part < Lines * pieces / kThreads; ++part) {
        const int mine = threadIdx.x + part * kThreads;
        const int line = mine / pieces, piece = mine % pieces;
        const int64_t left = line < lines ? run - piece * width : 0;
        const int count = left < 0 ? 0 : left < width ? static_cast<int>(left) : width;
        const T *source = count ? x + at + line * step + piece * width : x;
        copy_piece(tile + place<pieces>(line, piece), source, count, vectors);
    }
}

// An operand's tile: its lines run along K, or along the edge of c.
template <typename T, int Edge, int Depth, bool along_k> struct Tile {
    static constexpr int lines = along_k ? Edge : Depth, run = along_k ? Depth : Edge;
    static constexpr int width = 16 / sizeof(T), pieces = run / width;
    static constexpr int bytes = Edge * Depth * sizeof(T);

    static __device__ __forceinline__ void bring(const T *x, int64_t edge,
                                                 int64_t depth, int64_t edges,
                                                 int64_t depths, int64_t step,
                                                 bool vectors, Shared tile) {
        const int64_t edges_left = edges - edge, depths_left = depths - depth;
        if (along_k)
            fetch<T, lines, run>(x, edge * step + depth, step, edges_left, depths_left,
                                 vectors, tile);
        else
            fetch<T, lines, run>(x, depth * step + edge, step, depths_left, edges_left,
                                 vectors, tile);
    }
};

// ---- float32: a thread has blocks of 4 x 4 sums ------------------------------------
// Where element i of block `block` of thread `at`, one of `threads`, lies on an edge.
template <bool along_k>
__device__ __forceinline__ int edge_of(int at, int threads, int block, int i) {
    return along_k ? at + (block * 4 + i) * threads : (block * threads + at) * 4 + i;
}

// x[i][d]: four elements of an edge at four depths.
template <int Edge, int Depth, bool along_k>
__device__ __forceinline__ void read_block(float (&x)[4][4], const unsigned char *tile,
                                           int at, int threads, int block, int depth) {
    constexpr int pieces = Tile<float, Edge, Depth, along_k>::pieces;
#pragma unroll
    for (int line = 0; line < 4; ++line) {
        const int edge = edge_of<along_k>(at, threads, block, along_k ? line : 0);
        const int where = along_k ? place<pieces>(edge, depth / 4)
                                  : place<pieces>(depth + line, edge / 4);
        const Float4 found = *reinterpret_cast<const Float4 *>(tile + where);
#pragma unroll
        for (int i = 0; i < 4; ++i)
            (along_k ? x[line][i] : x[i][line]) = found.at[i];
    }
}

template <typename T, int M, int N, bool a_along_k, bool b_along_k> struct Slice;

// M x N elements of c; 64 of K a step.
template <int M, int N, bool a_along_k, bool b_along_k>
struct Slice<float, M, N, a_along_k, b_along_k> {
    static constexpr int depth = 64;
    static constexpr int rows = M > 32 ? 2 : 1, cols = N > 32 ? 2 : 1; // blocks
    static constexpr int tall = M / rows / 4, wide = N / cols / 4;     // threads
    static constexpr int slices = kThreads / (tall * wide), part = depth / slices;
    float sums[rows * 4][cols * 4] = {};

    static __device__ __forceinline__ int slice() {
        return threadIdx.x / (tall * wide);
    }
    static __device__ __forceinline__ int x() { return threadIdx.x % wide; }
    static __device__ __forceinline__ int y() { return threadIdx.x / wide % tall; }

    __device__ __forceinline__ void multiply(const unsigned char *a_tile,
                                             const unsigned char *b_tile) {
#pragma unroll 2
        for (int step = 0; step < part; step += 4) {
            const int at = slice() * part + step;
            float a[rows][4][4], b[cols][4][4];
#pragma unroll
            for (int r = 0; r < rows; ++r)
                read_block<M, depth, a_along_k>(a[r], a_tile, y(), tall, r, at);
#pragma unroll
            for (int c = 0; c < cols; ++c)
                read_block<N, depth, b_along_k>(b[c], b_tile, x(), wide, c, at);
#pragma unroll
            for (int d = 0; d < 4; ++d)
#pragma unroll
                for (int i = 0; i < rows * 4; ++i)
#pragma unroll
                    for (int j = 0; j < cols * 4; ++j)
                        sums[i][j] += a[i / 4][i % 4][d] * b[j / 4][j % 4][d];
        }
    }

    __device__ __forceinline__ void put(float *partial) const {
        float *mine = partial + slice() * M * N;
#pragma unroll
        for (int i = 0; i < rows * 4; ++i)
#pragma unroll
            for (int j = 0; j < cols * 4; ++j)
                mine[edge_of<a_along_k>(y(), tall, i / 4, i % 4) * N +
                     edge_of<b_along_k>(x(), wide, j / 4, j % 4)] = sums[i][j];
    }
};

// ---- 16-bit floats: a warp has 32 x 32 sums -----------------------------------------
// Fragments of mma: 16 rows of a, and 16 columns of b, at 16 of K.
template <typename Tile, bool along_k>
__device__ __forceinline__ void read_a(uint32_t (&x)[4], Shared tile, int row, int k) {
    const int lane = threadIdx.x % 32;
    if (along_k)
        tensor::read_matrices(
            x, tile + place<Tile::pieces>(row + lane % 16, k / 8 + lane / 16));
    else
        tensor::read_transposed(x,
                                tile + place<Tile::pieces>(k + lane / 16 * 8 + lane % 8,
                                                           row / 8 + lane / 8 % 2));
}
template <typename Tile, bool along_k>
__device__ __forceinline__ void read_b(uint32_t (&x)[4], Shared tile, int col, int k) {
    const int lane = threadIdx.x % 32;
    if (along_k)
        tensor::read_matrices(x,
                              tile + place<Tile::pieces>(col + lane / 16 * 8 + lane % 8,
                                                         k / 8 + lane / 8 % 2));
    else
        tensor::read_transposed(
            x, tile + place<Tile::pieces>(k + lane % 16, col / 8 + lane / 16));
}

template <typename T, int M, int N, bool a_along_k, bool b_along_k> struct Slice {
    static constexpr int warps = kThreads / 32;
    static constexpr int wide = N / 32, slices = warps / (M / 32 * wide);
    static constexpr int depth = slices > 2 ? slices * 16 : 64, part = depth / slices;
    float sums[2][4][4] = {}; // of mma: 16 rows, 8 columns each

    static __device__ __forceinline__ int warp() { return threadIdx.x / 32; }
    static __device__ __forceinline__ int slice() { return warp() / (warps / slices); }
    static __device__ __forceinline__ int row() {
        return warp() % (warps / slices) / wide * 32;
    }
    static __device__ __forceinline__ int col() { return warp() % wide * 32; }

    __device__ __forceinline__ void multiply(unsigned char *a_tile,
                                             unsigned char *b_tile) {
        using A = Tile<T, M, depth, a_along_k>;
        using B = Tile<T, N, depth, b_along_k>;
        const Shared left = tensor::shared(a_tile), right = tensor::shared(b_tile);
#pragma unroll
        for (int step = 0; step < part; step += 16) {
            const int k = slice() * part + step;
            uint32_t a[2][4], b[2][4];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                read_a<A, a_along_k>(a[i], left, row() + i * 16, k);
                read_b<B, b_along_k>(b[i], right, col() + i * 16, k);
            }
#pragma unroll
            for (int i = 0; i < 2; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j)
                    tensor::mma(T{}, sums[i][j], a[i], b[j / 2][j % 2 * 2],
                                b[j / 2][j % 2 * 2 + 1]);
        }
    }

    __device__ __forceinline__ void put(float *partial) const {
        const int lane = threadIdx.x % 32;
        float *mine =
            partial + slice() * M * N + (row() + lane / 4) * N + col() + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int at = 0; at < 4; ++at)
                    mine[(i * 16 + at / 2 * 8) * N + j * 8 + at % 2] = sums[i][j][at];
    }
};

// ---- the kernel ---------------------------------------------------------------------
// The slices' sums, one after the other, into c.
template <typename T, int M, int N, int slices>
__device__ __forceinline__ void put_sums(const Product<T> &p, int64_t which,
                                         int64_t row, int64_t col,
                                         const float *partial) {
#pragma unroll 2
    for (int part = 0; part < M * N / kThreads; ++part) {
        const int at = threadIdx.x + part * kThreads;
        float sum = partial[at];
#pragma unroll
        for (int slice = 1; slice < slices; ++slice)
            sum += partial[slice * M * N + at];
        const int64_t i = row + at / N, j = col + at % N;
        if (i < p.m && j < p.n) put<Arithmetic>(p, which, i, j, sum);
    }
}

template <typename T, int M, int N, bool a_along_k, bool b_along_k>
__global__ void __launch_bounds__(kThreads, 2)
    sliced_kernel(Product<T> p, bool a_vectors, bool b_vectors) {
    wait_for_previous();
    using S = Slice<T, M, N, a_along_k, b_along_k>;
    using A = Tile<T, M, S::depth, a_along_k>;
    using B = Tile<T, N, S::depth, b_along_k>;
    constexpr int stage = A::bytes + B::bytes, sums = S::slices * M * N * 4;
    constexpr int fit = kMostShared / stage;
    constexpr int kStages = fit < kMostStages ? fit : kMostStages;
    __shared__ __align__(
        128) unsigned char tiles[stage * kStages > sums ? stage * kStages : sums];
    const int64_t across = (p.n + N - 1) / N;
    const int64_t row = blockIdx.x / across * M, col = blockIdx.x % across * N;
    const int64_t a_step = a_along_k ? p.a_row : p.a_col;
    const int64_t b_step = b_along_k ? p.b_col : p.b_row;
    const int64_t count = (p.k + S::depth - 1) / S::depth;
    for (int64_t which = blockIdx.y; which < p.batch; which += gridDim.y) {
        const T *a = p.a + which * p.a_batch, *b = p.b + which * p.b_batch;
        const auto bring = [&](int64_t i) {
            if (i < count) {
                const Shared tile = tensor::shared(tiles + i % kStages * stage);
                A::bring(a, row, i * S::depth, p.m, p.k, a_step, a_vectors, tile);
                B::bring(b, col, i * S::depth, p.n, p.k, b_step, b_vectors,
                         tile + A::bytes);
            }
            tensor::commit_copies(); // every round has one group
        };
        S mine;
        __syncthreads(); // the matrix before is written
        for (int64_t i = 0; i < kStages - 1; ++i)
            bring(i);
        for (int64_t i = 0; i < count; ++i) {
            tensor::wait_copies<kStages - 2>();
            __syncthreads(); // tile i is here, and everybody is done with tile i - 1
            bring(i + kStages - 1);
            unsigned char *tile = tiles + i % kStages * stage;
            mine.multiply(tile, tile + A::bytes);
        }
        tensor::wait_copies<0>();
        __syncthreads();
        mine.put(reinterpret_cast<float *>(tiles));
        __syncthreads();
        put_sums<T, M, N, S::slices>(p, which, row, col,
                                     reinterpret_cast<const float *>(tiles));
    }
}

template <typename T, int M, int N, bool a_along_k, bool b_along_k>
tl_status launch_tiles(const Product<T> &p, bool a_vectors, bool b_vectors) {
    const dim3 grid(static_cast<unsigned>(ceil_div(p.m, M) * ceil_div(p.n, N)),
                    static_cast<unsigned>(p.batch < 65535 ? p.batch : 65535));
    return launch_early(grid, kThreads, 0, sliced_kernel<T, M, N, a_along_k, b_along_k>,
                        p, a_vectors, b_vectors);
}

// Whether every operand has an axis of unit stride.
template <typename T> bool readable(const Product<T> &p) {
    return (p.a_col == 1 || p.a_row == 1) && (p.b_col == 1 || p.b_row == 1);
}

// As `readable` operands; TL_DECLINED where 16-bit floats are not in packs of 16 bytes.
template <typename T, int M, int N> tl_status run_tiles(const Product<T> &p) {
    const bool a_along_k = p.a_col == 1, b_along_k = p.b_row == 1;
    constexpr int64_t width = pack_of<T>;
    const auto vectors = [](const T *x, int64_t step, int64_t batch) {
        return is_aligned(x, 16) && step % width == 0 && batch % width == 0;
    };
    const bool a_vectors = vectors(p.a, a_along_k ? p.a_row : p.a_col, p.a_batch);
    const bool b_vectors = vectors(p.b, b_along_k ? p.b_col : p.b_row, p.b_batch);
    if (sizeof(T) < 4 && !(a_vectors && b_vectors)) return TL_DECLINED;
    if (a_along_k)
        return b_along_k ? launch_tiles<T, M, N, true, true>(p, a_vectors, b_vectors)
                         : launch_tiles<T, M, N, true, false>(p, a_vectors, b_vectors);
    return b_along_k ? launch_tiles<T, M, N, false, true>(p, a_vectors, b_vectors)
                     : launch_tiles<T, M, N, false, false>(p, a_vectors, b_vectors);
}

} // namespace sliced
} // namespace tl

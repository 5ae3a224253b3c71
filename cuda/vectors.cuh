// A matrix times a vector: as fast as the matrix is read.
//
// Where rows or columns alone do not fill the device, K is cut into slices by the sizes
// alone; their sums go to scratch memory and are added in order.
#pragma once

#include "gemm.cuh"

namespace tl {

// y[i] = start + sum over k of matrix[i, k] x[k]; which of the matrix's strides is 1
// chooses the kernel.
template <typename T> struct VectorProduct {
    int64_t n, k;
    const T *matrix;
    int64_t run; // elements from one run of unit stride to the next
    const T *x;
    T *y;
    int64_t y_step;
    const T *bias; // or null
    int64_t bias_step;
    bool accumulate;
    computed_t<T> *partial; // (slices, n), or null: one slice writes y itself
};

template <typename T>
__device__ __forceinline__ void put(const VectorProduct<T> &p, int64_t i,
                                    computed_t<T> sum) {
    if (p.accumulate) sum += load(p.y + i * p.y_step);
    if (p.bias != nullptr) sum += load(p.bias + i * p.bias_step);
    store(p.y + i * p.y_step, sum);
}

template <typename T> struct AddPartialSums {
    VectorProduct<T> p;
    int64_t slices;
    __device__ void operator()(int64_t i) const {
        computed_t<T> sum = 0;
        for (int64_t slice = 0; slice < slices; ++slice)
            sum += p.partial[slice * p.n + i];
        put(p, i, sum);
    }
};

constexpr int kAhead = 4; // loads in flight a thread

// Runs along k: a warp has a run, its lanes read 16 bytes each.
template <typename T, int Width>
__global__ void __launch_bounds__(kThreads)
    along_k_kernel(VectorProduct<T> p, int64_t slice) {
    using S = computed_t<T>;
    constexpr int kRound = 32 * Width;
    const int lane = threadIdx.x % 32;
    const int64_t begin = blockIdx.y * slice;
    const int64_t end = begin + slice < p.k ? begin + slice : p.k;
    const int64_t step = static_cast<int64_t>(gridDim.x) * (kThreads / 32);
    for (int64_t i =
             static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
         i < p.n; i += step) {
        const T *line = p.matrix + i * p.run;
        S sum[kAhead] = {};
        for (int64_t at = begin + lane * Width; at < end; at += kRound * kAhead) {
            Pack<T, Width> left[kAhead] = {}, right[kAhead] = {};
#pragma unroll
            for (int ahead = 0; ahead < kAhead; ++ahead) {
                const int64_t from = at + ahead * kRound;
                if (from >= end) continue;
                left[ahead] = *reinterpret_cast<const Pack<T, Width> *>(line + from);
                right[ahead] = *reinterpret_cast<const Pack<T, Width> *>(p.x + from);
            }
#pragma unroll
            for (int ahead = 0; ahead < kAhead; ++ahead)
#pragma unroll
                for (int w = 0; w < Width; ++w)
                    sum[ahead] += load(&left[ahead].at[w]) * load(&right[ahead].at[w]);
        }
        S total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
#pragma unroll
        for (int apart = 16; apart > 0; apart /= 2)
            total += __shfl_xor_sync(0xffffffffu, total, apart);
        if (lane != 0) continue;
        if (p.partial != nullptr)
            p.partial[blockIdx.y * p.n + i] = total;
        else
            put(p, i, total);
    }
}

// Runs along n: a thread has some neighbouring results, and reads its part of every
// run.
template <typename T, int Width>
__global__ void __launch_bounds__(kThreads)
    along_n_kernel(VectorProduct<T> p, int64_t slice) {
    using S = computed_t<T>;
    const int64_t i =
        (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * Width;
    if (i >= p.n) return;
    const int64_t begin = blockIdx.y * slice;
    const int64_t end = begin + slice < p.k ? begin + slice : p.k;
    S sum[Width] = {};
    int64_t k = begin;
    for (; k + kAhead <= end; k += kAhead) {
        Pack<T, Width> line[kAhead];
        S x[kAhead];
#pragma unroll
        for (int ahead = 0; ahead < kAhead; ++ahead) {
            line[ahead] = *reinterpret_cast<const Pack<T, Width> *>(
                p.matrix + (k + ahead) * p.run + i);
            x[ahead] = load(p.x + k + ahead);
        }
#pragma unroll
        for (int ahead = 0; ahead < kAhead; ++ahead)
#pragma unroll
            for (int w = 0; w < Width; ++w)
                sum[w] += x[ahead] * load(&line[ahead].at[w]);
    }
    for (; k < end; ++k) {
        const S x = load(p.x + k);
        const Pack<T, Width> line =
            *reinterpret_cast<const Pack<T, Width> *>(p.matrix + k * p.run + i);
#pragma unroll
        for (int w = 0; w < Width; ++w)
            sum[w] += x * load(&line.at[w]);
    }
#pragma unroll
    for (int w = 0; w < Width; ++w)
        if (p.partial != nullptr)
            p.partial[blockIdx.y * p.n + i + w] = sum[w];
        else
            put(p, i + w, sum[w]);
}

// Launches `kernel` on `blocks` blocks for each of so many slices that the device is
// full, and adds the slices' sums. `least`: elements of K a slice should have, a
// multiple of what a round of loads takes.
template <typename T>
tl_status in_slices(VectorProduct<T> p, void (*kernel)(VectorProduct<T>, int64_t),
                    int64_t blocks, int64_t least) {
    const int64_t full = static_cast<int64_t>(processors()) * 8;
    int64_t slices = blocks < full / 2 ? full / blocks : 1;
    const int64_t most = ceil_div(p.k, least);
    slices = slices < most ? slices : most;
    slices = slices < 65535 ? slices : 65535;
    const int64_t slice = ceil_div(ceil_div(p.k, slices), least) * least;
    slices = ceil_div(p.k, slice);
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(slices));
    p.partial = nullptr;
    if (slices == 1) return launch(grid, kThreads, 0, kernel, p, slice);
    const Scratch scratch(slices * p.n * static_cast<int64_t>(sizeof(computed_t<T>)));
    if (scratch.data() == nullptr) return TL_OUT_OF_MEMORY;
    p.partial = scratch.as<computed_t<T>>();
    const tl_status status = launch(grid, kThreads, 0, kernel, p, slice);
    return status == TL_OK ? for_each(p.n, AddPartialSums<T>{p, slices}) : status;
}

template <typename T> tl_status product_along_k(const VectorProduct<T> &p) {
    const int64_t blocks = blocks_for(p.n * 32);
    constexpr int wide = pack_of<T>;
    if (vector_rows(p.matrix, p.run, 0, p.k) && is_aligned(p.x, 16))
        return in_slices(p, along_k_kernel<T, wide>, blocks, 32 * wide * kAhead * 4);
    return in_slices(p, along_k_kernel<T, 1>, blocks, 32 * kAhead * 4);
}

template <typename T> tl_status product_along_n(const VectorProduct<T> &p) {
    constexpr int wide = pack_of<T>;
    const bool vectors = vector_rows(p.matrix, p.run, 0, p.n);
    const int64_t blocks = ceil_div(p.n, kThreads * (vectors ? wide : 1));
    if (blocks >= (INT64_C(1) << 31)) return TL_DECLINED;
    return vectors ? in_slices(p, along_n_kernel<T, wide>, blocks, 32)
                   : in_slices(p, along_n_kernel<T, 1>, blocks, 32);
}

// The product of one row or one column, where strides fit; else TL_DECLINED.
template <typename T> tl_status vector_product(const Product<T> &p) {
    if (p.batch != 1 || (p.m != 1 && p.n != 1)) return TL_DECLINED;
    VectorProduct<T> v = {};
    v.k = p.k, v.y = p.c, v.bias = p.bias, v.accumulate = p.accumulate;
    int64_t along_n, along_k, x_step;
    if (p.m == 1) { // c^T = b^T a^T
        v.n = p.n, v.matrix = p.b, v.x = p.a, v.y_step = p.c_col, v.bias_step = 1;
        along_n = p.b_col, along_k = p.b_row, x_step = p.a_col;
    } else {
        v.n = p.m, v.matrix = p.a, v.x = p.b, v.y_step = p.c_row, v.bias_step = 0;
        along_n = p.a_row, along_k = p.a_col, x_step = p.b_row;
    }
    if (x_step != 1 && p.k != 1) return TL_DECLINED;
    if (along_k == 1 && p.k >= 32) {
        v.run = along_n;
        return product_along_k(v);
    }
    if (along_n == 1) {
        v.run = along_k;
        return product_along_n(v);
    }
    return TL_DECLINED;
}

} // namespace tl

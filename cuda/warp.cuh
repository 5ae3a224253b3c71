// Reductions within a warp and a block, in an order that never depends on timing.
#pragma once

#include "launch.cuh"

namespace tl {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Combines the values of a warp's lanes; every lane gets the result.
template <typename T, typename Combine>
__device__ T warp_reduce(T value, Combine combine) {
#pragma unroll
    for (int apart = kWarp / 2; apart > 0; apart /= 2)
        value = combine(value, __shfl_xor_sync(kAllLanes, value, apart));
    return value;
}

// Combines the values of a block's threads (a multiple of 32, at most 1024); every
// thread gets the result. All threads of the block must call it.
template <typename T, typename Combine>
__device__ T block_reduce(T value, T identity, Combine combine) {
    __shared__ T partial[kWarp];
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int warps = (blockDim.x + kWarp - 1) / kWarp;
    value = warp_reduce(value, combine);
    __syncthreads(); // an earlier call's readers are done
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    value = lane < warps ? partial[lane] : identity;
    return warp_reduce(value, combine);
}

struct Sum {
    template <typename T> __device__ T operator()(T a, T b) const { return a + b; }
};
struct Max { // NaN wins
    template <typename T> __device__ T operator()(T a, T b) const {
        return a != a || a > b ? a : b;
    }
};

} // namespace tl

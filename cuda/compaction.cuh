// Positions at which a condition holds, in order: counted by tiles, the counts summed,
// then written. What fits one tile takes one launch.
#pragma once

#include "radix.cuh"

namespace tl {

constexpr int kFlags = 16; // elements a thread looks at together
constexpr int kFlagTile = kThreads * kFlags;

// Find: uint32_t bits(first): which of the elements first .. first + 15 count.
template <typename Find>
__global__ void compact_count_kernel(Find find, uint32_t *counts) {
    const int64_t first =
        (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kFlags;
    uint32_t total;
    block_scan(__popc(find.bits(first)), &total);
    if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

// find.at(place, i): element i is the one at a place among those found; find.all(i,
// found): how many were found up to i; find.total(found).
template <typename Find>
__global__ void compact_write_kernel(Find find, const uint32_t *counts) {
    __shared__ uint16_t found[kFlagTile];
    const int64_t tile = static_cast<int64_t>(blockIdx.x) * kFlagTile;
    const int first = threadIdx.x * kFlags;
    const int64_t base = counts == nullptr ? 0 : counts[blockIdx.x];
    const uint32_t bits = find.bits(tile + first);
    uint32_t total;
    uint32_t place = block_scan(__popc(bits), &total);
    for (int k = 0; k < kFlags; ++k) {
        if (bits >> k & 1) found[place++] = static_cast<uint16_t>(first + k);
        find.all(tile + first + k, base + place);
    }
    __syncthreads();
    for (uint32_t p = threadIdx.x; p < total; p += kThreads)
        find.at(base + p, tile + found[p]);
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) find.total(base + total);
}

// n > 0 elements.
template <typename Find> tl_status compact(int64_t n, const Find &find) {
    const int64_t tiles = ceil_div(n, kFlagTile);
    if (n >> 32) return TL_DECLINED;
    const uint32_t *none = nullptr;
    if (tiles == 1)
        return launch(1, kThreads, 0, compact_write_kernel<Find>, find, none);
    const Scratch scratch((tiles + 1) * static_cast<int64_t>(sizeof(uint32_t)));
    uint32_t *counts = scratch.as<uint32_t>();
    if (counts == nullptr) return TL_OUT_OF_MEMORY;
    const dim3 grid(static_cast<unsigned>(tiles));
    tl_status status =
        launch(grid, kThreads, 0, compact_count_kernel<Find>, find, counts);
    if (status != TL_OK) return status;
    status = launch(1, 1024, 0, radix_scan_kernel, counts, counts + tiles, tiles);
    if (status != TL_OK) return status;
    return launch(grid, kThreads, 0, compact_write_kernel<Find>, find,
                  static_cast<const uint32_t *>(counts));
}

} // namespace tl

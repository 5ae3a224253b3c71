// Launching: one grid-stride helper, so that a kernel is the body of its loop.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "tensorlib/kernels.h"

namespace tl {

// Remembers the error for tl_cuda_last_error and says whether there was one.
tl_status check(cudaError_t error);

// Makes `device` current for a scope; the caller's choice returns at its end.
class DeviceScope {
public:
    explicit DeviceScope(int device) : previous_(-1) {
        error_ = cudaGetDevice(&previous_);
        if (error_ == cudaSuccess && previous_ != device)
            error_ = cudaSetDevice(device);
    }
    ~DeviceScope() {
        if (previous_ >= 0) cudaSetDevice(previous_);
    }
    DeviceScope(const DeviceScope &) = delete;
    DeviceScope &operator=(const DeviceScope &) = delete;
    cudaError_t error() const { return error_; }

private:
    int previous_;
    cudaError_t error_;
};

constexpr int kThreads = 256;
// Enough blocks to fill any device; the grid stride covers the rest.
constexpr int64_t kMaxBlocks = 132 * 16;

template <typename Body>
__global__ void for_each_kernel(int64_t n, Body body) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
         i += step)
        body(i);
}

// Runs body(i) for 0 <= i < n on the current device, asynchronously.
template <typename Body>
tl_status for_each(int64_t n, Body body, cudaStream_t stream) {
    if (n == 0) return TL_OK;
    const int64_t wanted = (n + kThreads - 1) / kThreads;
    const int blocks = static_cast<int>(wanted < kMaxBlocks ? wanted : kMaxBlocks);
    for_each_kernel<<<blocks, kThreads, 0, stream>>>(n, body);
    return check(cudaGetLastError());
}

} // namespace tl

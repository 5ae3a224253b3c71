// What every kernel file shares: launching, the current stream, scratch memory, faults.
//
// A kernel file has kernels, one run function an op (tl_kernel_fn, instantiated for
// each dtype) and one table of entries. tl_cuda_run (runtime.cu) calls a run function
// with the output's device made current; work goes to the current stream and is not
// waited for.
#pragma once

#include <cstdint>
#include <type_traits>

#include <cuda_runtime.h>

#include "tensorlib/cuda.h"
#include "tensorlib/kernels.h"

namespace tl {

// Remembers the error for tl_cuda_last_error and says whether there was one.
tl_status check(cudaError_t error);

// The device that a DeviceScope of this thread made current, else the runtime's.
int current_device();

// The stream that this thread's launches go to, on the current device.
cudaStream_t stream();

// Multiprocessors of the current device.
int processors();

// Makes `device` current for a scope; the caller's choice returns at its end. Where a
// process has one device there is nothing to ask the runtime.
class DeviceScope {
public:
    explicit DeviceScope(int device);
    ~DeviceScope();
    DeviceScope(const DeviceScope &) = delete;
    DeviceScope &operator=(const DeviceScope &) = delete;
    cudaError_t error() const { return error_; }

private:
    int device_;
    int previous_; // of the runtime
    int outer_;    // of the scope around this one
    cudaError_t error_ = cudaSuccess;
};

// Work space of a run function, ordered by the current stream: kernels launched while
// it lives may use it. data() is null when there is no memory.
class Scratch {
public:
    explicit Scratch(int64_t nbytes);
    ~Scratch();
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    void *data() const { return data_; }
    template <typename T> T *as() const { return static_cast<T *>(data_); }

private:
    void *data_ = nullptr;
    void *block_ = nullptr;
};

// Where a kernel reports bad input (an index out of range) that only it can see. The
// report becomes an exception when the host next waits for the device.
struct Fault {
    struct Report {
        const char *op;
        int32_t status;
    };
    Report *report; // in host memory that the device can write
    const char *op;
    __device__ void raise(tl_status status) const {
        report->op = op;
        report->status = status;
    }
};
// For the op being run by this thread.
Fault fault();

// Counters of the current stream: zero before and after every kernel that counts with
// them, and never those of kernels that may run at the same time. Null when there is no
// memory.
constexpr int kTickets = 4096;
unsigned *tickets();

// Optional CUDA libraries, loaded at first use (libraries.cu); null when not installed.
void *library_function(const char *library, const char *name);

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Launches kernel<<<grid, block, shared>>>(args...) on the current stream. launch_early
// is for kernels whose first statement is wait_for_previous(): from sm_90 on they are
// brought to the device while the kernel before them ends, which costs the host less,
// too.
#ifdef TL_CUDA_EMULATED
inline void wait_for_previous() {}
template <typename... Params, typename... Args>
tl_status launch_early(dim3 grid, dim3 block, size_t shared, void (*kernel)(Params...),
                       Args... args) {
    return check(emulated::launch(grid, block, shared, [=] { kernel(args...); }));
}
template <typename... Params, typename... Args>
tl_status launch(dim3 grid, dim3 block, size_t shared, void (*kernel)(Params...),
                 Args... args) {
    return check(emulated::launch(grid, block, shared, [=] { kernel(args...); }));
}
// Shared memory whose size is the launch's: TL_DYNAMIC_SHARED(float, tile);
#define TL_DYNAMIC_SHARED(T, name) T *name = static_cast<T *>(emulated::shared_memory())
#else
struct Shape {
    dim3 grid, block;
    size_t shared; // bytes
    bool early;
};
// Waits until all work before is done, and what it wrote is seen.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Starts a kernel by the driver's own function (runtime.cu).
tl_status start(const Shape &shape, const void *kernel, void **arguments);

template <typename... Params>
tl_status start_with(const Shape &shape, const void *kernel, Params... params) {
    void *addresses[] = {static_cast<void *>(&params)..., nullptr};
    return start(shape, kernel, addresses);
}
template <typename... Params, typename... Args>
tl_status launch(dim3 grid, dim3 block, size_t shared, void (*kernel)(Params...),
                 Args... args) {
    return start_with<Params...>({grid, block, shared, false},
                                 reinterpret_cast<const void *>(kernel), args...);
}
template <typename... Params, typename... Args>
tl_status launch_early(dim3 grid, dim3 block, size_t shared, void (*kernel)(Params...),
                       Args... args) {
    return start_with<Params...>({grid, block, shared, true},
                                 reinterpret_cast<const void *>(kernel), args...);
}
#define TL_DYNAMIC_SHARED(T, name)                                                     \
    extern __shared__ __align__(16) unsigned char tl_dynamic_shared[];                 \
    T *name = reinterpret_cast<T *>(tl_dynamic_shared)
#endif

constexpr int kThreads = 256;

// Blocks for n independent pieces of work: enough to fill the device, no more.
inline int blocks_for(int64_t n, int threads = kThreads) {
    const int64_t wanted = ceil_div(n, threads);
    const int64_t most = static_cast<int64_t>(processors()) * (2048 / threads) * 4;
    return static_cast<int>(wanted < most ? wanted : most);
}

template <typename Body> __global__ void for_each_kernel(int64_t n, Body body) {
    wait_for_previous();
    const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
         i += step)
        body(i);
}

// Runs body(i) for 0 <= i < n; body is a struct with a __device__ operator() const.
template <typename Body> tl_status for_each(int64_t n, Body body) {
    if (n == 0) return TL_OK;
    return launch_early(blocks_for(n), kThreads, 0, for_each_kernel<Body>, n, body);
}

// Bytes of an element.
inline int64_t dtype_bytes(int dtype) {
    switch (dtype) {
    case TL_BOOL:
    case TL_INT8:
    case TL_UINT8:
        return 1;
    case TL_INT16:
    case TL_UINT16:
    case TL_FLOAT16:
    case TL_BFLOAT16:
        return 2;
    case TL_INT32:
    case TL_UINT32:
    case TL_FLOAT32:
        return 4;
    case TL_COMPLEX128:
        return 16;
    default:
        return 8;
    }
}

// The dtype of a C++ type.
template <typename T> struct dtype_of;
template <> struct dtype_of<bool> { static constexpr int code = TL_BOOL; };
template <> struct dtype_of<int8_t> { static constexpr int code = TL_INT8; };
template <> struct dtype_of<int16_t> { static constexpr int code = TL_INT16; };
template <> struct dtype_of<int32_t> { static constexpr int code = TL_INT32; };
template <> struct dtype_of<int64_t> { static constexpr int code = TL_INT64; };
template <> struct dtype_of<uint8_t> { static constexpr int code = TL_UINT8; };
template <> struct dtype_of<uint16_t> { static constexpr int code = TL_UINT16; };
template <> struct dtype_of<uint32_t> { static constexpr int code = TL_UINT32; };
template <> struct dtype_of<uint64_t> { static constexpr int code = TL_UINT64; };
template <> struct dtype_of<float> { static constexpr int code = TL_FLOAT32; };
template <> struct dtype_of<double> { static constexpr int code = TL_FLOAT64; };

} // namespace tl

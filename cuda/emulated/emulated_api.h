// The part of CUDA's runtime that cuda/ uses, with the real error numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#define TL_EMULATED_ERRORS(X)                                                          \
    X(cudaSuccess, 0, "no error")                                                      \
    X(cudaErrorInvalidValue, 1, "invalid argument")                                    \
    X(cudaErrorMemoryAllocation, 2, "out of memory")                                   \
    X(cudaErrorInitializationError, 3, "initialization error")                         \
    X(cudaErrorInvalidConfiguration, 9, "invalid configuration argument")              \
    X(cudaErrorInvalidDevicePointer, 17, "invalid device pointer")                     \
    X(cudaErrorInsufficientDriver, 35, "CUDA driver version is insufficient")          \
    X(cudaErrorNoDevice, 100, "no CUDA-capable device is detected")                    \
    X(cudaErrorInvalidDevice, 101, "invalid device ordinal")                           \
    X(cudaErrorInvalidResourceHandle, 400, "invalid resource handle")                  \
    X(cudaErrorNotReady, 600, "device not ready")                                      \
    X(cudaErrorIllegalAddress, 700, "an illegal memory access was encountered")        \
    X(cudaErrorPeerAccessAlreadyEnabled, 704, "peer access is already enabled")        \
    X(cudaErrorLaunchFailure, 719, "unspecified launch failure")                       \
    X(cudaErrorNotSupported, 801, "operation not supported")                           \
    X(cudaErrorStreamCaptureUnsupported, 900,                                          \
      "operation not permitted while capturing")                                       \
    X(cudaErrorUnknown, 999, "unknown error")

#define TL_EMULATED_ERROR(name, number, text) name = number,
enum cudaError_t { TL_EMULATED_ERRORS(TL_EMULATED_ERROR) };
#undef TL_EMULATED_ERROR

enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
enum cudaDeviceAttr {
    cudaDevAttrMaxSharedMemoryPerBlock = 8,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrL2CacheSize = 38,
    cudaDevAttrMaxThreadsPerMultiProcessor = 39,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
    cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus {
    cudaStreamCaptureStatusNone,
    cudaStreamCaptureStatusActive,
    cudaStreamCaptureStatusInvalidated
};
constexpr unsigned cudaHostAllocDefault = 0, cudaHostAllocPortable = 1,
                   cudaHostAllocMapped = 2;
constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDefault = 0, cudaEventBlockingSync = 1,
                   cudaEventDisableTiming = 2;

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount, l2CacheSize, warpSize;
    int maxThreadsPerBlock, maxThreadsPerMultiProcessor, regsPerBlock;
};

enum cudaMemoryType {
    cudaMemoryTypeUnregistered,
    cudaMemoryTypeHost,
    cudaMemoryTypeDevice,
    cudaMemoryTypeManaged
};
struct cudaPointerAttributes {
    cudaMemoryType type;
    int device;
};

typedef struct EmulatedStream *cudaStream_t;
typedef struct EmulatedEvent *cudaEvent_t;
typedef struct EmulatedGraph *cudaGraph_t;
typedef struct EmulatedGraphExec *cudaGraphExec_t;
typedef void (*cudaHostFn_t)(void *);

#pragma GCC visibility push(hidden)

const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *found, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);

cudaError_t cudaMalloc(void **data, size_t nbytes);
cudaError_t cudaFree(void *data);
cudaError_t cudaHostAlloc(void **data, size_t nbytes, unsigned flags);
cudaError_t cudaMallocHost(void **data, size_t nbytes);
cudaError_t cudaFreeHost(void *data);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *found, const void *data);
cudaError_t cudaMemcpy(void *to, const void *from, size_t nbytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t nbytes,
                            cudaMemcpyKind kind, cudaStream_t stream = nullptr);
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from,
                              size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void *data, int byte, size_t nbytes);
cudaError_t cudaMemsetAsync(void *data, int byte, size_t nbytes,
                            cudaStream_t stream = nullptr);

cudaError_t cudaStreamCreate(cudaStream_t *stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags,
                                         int priority);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event,
                                unsigned flags = 0);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function,
                               void *argument);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start,
                                 cudaEvent_t end);

// A capture takes launches down; copies to or from the host in it are errors.
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *made, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);

#pragma GCC visibility pop

// Of kernels, which are plain functions here: accepted, without effect.
template <typename Function>
cudaError_t cudaFuncSetAttribute(Function *, cudaFuncAttribute, int) {
    return cudaSuccess;
}
template <typename Function>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Function *,
                                                          int threads, size_t) {
    *blocks = threads > 0 && threads <= 1024 ? 2048 / threads : 0;
    return cudaSuccess;
}
template <typename T> cudaError_t cudaMalloc(T **data, size_t nbytes) {
    return cudaMalloc(reinterpret_cast<void **>(data), nbytes);
}

// For the tests (tests/cuda_emulation.py), by ctypes.
extern "C" {
#define TL_EMULATED_EXPORT __attribute__((visibility("default")))
// Device memory at an address that is `misalignment` modulo 256; null without memory.
TL_EMULATED_EXPORT void *tl_emulated_allocate(int64_t nbytes, int64_t misalignment);
TL_EMULATED_EXPORT void tl_emulated_free(void *data);
// Threads and blocks in reverse, to show what depends on their order.
TL_EMULATED_EXPORT void tl_emulated_set_reversed(int reversed);
// Launches wait in a queue until the next call that synchronizes or copies.
TL_EMULATED_EXPORT void tl_emulated_set_deferred(int deferred);
// What went wrong since the last call: null, or a text that lives until the next.
TL_EMULATED_EXPORT const char *tl_emulated_check(void);
}

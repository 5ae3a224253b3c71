// Devices, memory and errors behind the C interface of tensorlib/cuda.h.
#include "launch.cuh"
#include "tensorlib/cuda.h"

namespace {
thread_local cudaError_t last_error = cudaSuccess;
}

namespace tl {

tl_status check(cudaError_t error) {
    if (error == cudaSuccess) return TL_OK;
    last_error = error;
    return TL_DEVICE_ERROR;
}

} // namespace tl

extern "C" {

const char *tl_cuda_error_text(int error) {
    return cudaGetErrorString(static_cast<cudaError_t>(error));
}

const char *tl_cuda_error_name(int error) {
    return cudaGetErrorName(static_cast<cudaError_t>(error));
}

int tl_cuda_last_error(void) {
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

int tl_cuda_device_count(int *count) {
    *count = 0;
    const cudaError_t error = cudaGetDeviceCount(count);
    if (error != cudaSuccess) cudaGetLastError(); // clear the runtime's copy
    return error;
}

int tl_cuda_device_name(int device, char *name, int size) {
    cudaDeviceProp properties;
    const cudaError_t error = cudaGetDeviceProperties(&properties, device);
    if (error != cudaSuccess) return error;
    int i = 0;
    for (; i < size - 1 && properties.name[i]; ++i) name[i] = properties.name[i];
    if (size > 0) name[i] = '\0';
    return cudaSuccess;
}

int tl_cuda_driver_version(int *version) {
    *version = 0;
    return cudaDriverGetVersion(version);
}

int tl_cuda_runtime_version(int *version) {
    *version = 0;
    return cudaRuntimeGetVersion(version);
}

int tl_cuda_synchronize(int device) {
    const tl::DeviceScope scope(device);
    return scope.error() != cudaSuccess ? scope.error() : cudaDeviceSynchronize();
}

int tl_cuda_malloc(int device, int64_t nbytes, void **data) {
    *data = nullptr;
    if (nbytes <= 0) return nbytes < 0 ? cudaErrorInvalidValue : cudaSuccess;
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    return cudaMalloc(data, static_cast<size_t>(nbytes));
}

int tl_cuda_free(int device, void *data) {
    if (data == nullptr) return cudaSuccess;
    const tl::DeviceScope scope(device);
    return scope.error() != cudaSuccess ? scope.error() : cudaFree(data);
}

int tl_cuda_copy(int device, void *target, const void *source, int64_t nbytes,
                 tl_cuda_copy_kind kind) {
    static const cudaMemcpyKind kinds[] = {cudaMemcpyHostToHost, cudaMemcpyHostToDevice,
                                           cudaMemcpyDeviceToHost,
                                           cudaMemcpyDeviceToDevice};
    if (nbytes < 0 || kind < TL_CUDA_TO_DEVICE || kind > TL_CUDA_ON_DEVICE)
        return cudaErrorInvalidValue;
    if (nbytes == 0) return cudaSuccess;
    const tl::DeviceScope scope(device);
    if (scope.error() != cudaSuccess) return scope.error();
    return cudaMemcpy(target, source, static_cast<size_t>(nbytes), kinds[kind]);
}

} // extern "C"

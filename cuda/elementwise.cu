// Elementwise kernels on contiguous operands.
#include "launch.cuh"
#include "tensorlib/cuda.h"

namespace {

template <typename T>
struct Add {
    T *out;
    const T *a;
    const T *b;
    __device__ void operator()(int64_t i) const { out[i] = a[i] + b[i]; }
};

template <typename T>
tl_status add(const tl_call *call) {
    const tl_buffer *out = call->out[0];
    const Add<T> body{static_cast<T *>(out->data),
                      static_cast<const T *>(call->in[0]->data),
                      static_cast<const T *>(call->in[1]->data)};
    return tl::for_each(out->size, body, nullptr);
}

} // namespace

extern "C" tl_status tl_cuda_add(const tl_call *call) {
    const tl::DeviceScope scope(call->out[0]->device_index);
    if (scope.error() != cudaSuccess) return tl::check(scope.error());
    switch (call->out[0]->dtype) {
    case TL_FLOAT32:
        return add<float>(call);
    case TL_FLOAT64:
        return add<double>(call);
    default:
        return tl::check(cudaErrorInvalidValue);
    }
}

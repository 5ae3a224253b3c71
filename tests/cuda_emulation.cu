// Kernels that test the emulator (tests/test_cuda_emulation.py).
#include "../cuda/launch.cuh"
#include "../cuda/numbers.cuh"
#include "../cuda/warp.cuh"

namespace {

using namespace tl;

template <typename T> __global__ void row_sum_kernel(T *out, const T *x, int64_t n) {
    T sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        sum += x[blockIdx.x * n + i];
    sum = block_reduce(sum, T(0), Sum());
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// Reverses each run of blockDim.x elements through shared memory.
__global__ void reverse_kernel(float *out, const float *x, int with_barrier) {
    TL_DYNAMIC_SHARED(float, tile);
    const int n = blockDim.x, t = threadIdx.x;
    tile[t] = x[blockIdx.x * n + t];
    if (with_barrier) __syncthreads();
    out[blockIdx.x * n + t] = tile[n - 1 - t];
}

__global__ void lanes_kernel(int *out, const int *x) {
    const int t = threadIdx.x, lane = t % 32;
    int value = __shfl_down_sync(0xffffffffu, x[t], 1);
    value += __shfl_up_sync(0xffffffffu, x[t], 2, 8) * 100;
    value += __shfl_sync(0xffffffffu, x[t], 5) * 10000;
    if (lane < 16)
        value += __popc(__ballot_sync(0x0000ffffu, lane & 1)) * 1000000;
    else
        value += __shfl_xor_sync(0xffff0000u, 1, 3) * 1000000;
    out[t] = value + __syncthreads_count(t == 7) * 100000000;
}

__global__ void mismatch_kernel(float *out) {
    if (threadIdx.x < 7)
        __syncthreads();
    else
        __shfl_sync(0xffffffffu, 1.0f, 0);
    out[0] = 1;
}

__global__ void early_exit_kernel(float *out, int n) {
    if (static_cast<int>(threadIdx.x) >= n) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}

struct Past {
    float *out;
    int64_t by;
    __device__ void operator()(int64_t i) const { out[i + by] = 1; }
};

struct Unaligned {
    Pack<float, 4> *out;
    __device__ void operator()(int64_t i) const { out[i].at[0] = 1; }
};

__global__ void outside_array_kernel(float *out, int n) {
    __shared__ float tile[32];
    tile[static_cast<int>(threadIdx.x) + n] = 1;
    __syncthreads();
    out[0] = tile[0];
}

struct Halves { // 16-bit floats doubled, indices checked
    tl_bfloat16 *out;
    const tl_bfloat16 *x;
    Fault fault;
    __device__ void operator()(int64_t i) const {
        const float value = load(x + i);
        if (value < 0) return fault.raise(TL_INDEX_OUT_OF_RANGE);
        store(out + i, 2 * value);
    }
};

struct Descriptions { // what a kernel must not do: read the host's structures
    int64_t *out;
    const tl_buffer *buffer;
    __device__ void operator()(int64_t i) const { out[i] = buffer->size; }
};

float *out_of(const tl_call *call) { return static_cast<float *>(call->out[0]->data); }
const float *in_of(const tl_call *call) {
    return static_cast<const float *>(call->in[0]->data);
}

template <typename T> tl_status row_sum(const tl_call *call) {
    const tl_buffer *x = call->in[0];
    return launch(static_cast<unsigned>(x->shape[0]), kThreads, 0, row_sum_kernel<T>,
                  static_cast<T *>(call->out[0]->data), static_cast<const T *>(x->data),
                  x->shape[1]);
}

template <int WithBarrier> tl_status reverse(const tl_call *call) {
    const unsigned n = static_cast<unsigned>(call->in[0]->size / 2);
    return launch(2, n, n * sizeof(float), reverse_kernel, out_of(call), in_of(call),
                  WithBarrier);
}

tl_status lanes(const tl_call *call) {
    return launch(1, 64, 0, lanes_kernel, static_cast<int *>(call->out[0]->data),
                  static_cast<const int *>(call->in[0]->data));
}

tl_status mismatch(const tl_call *call) {
    return launch(3, 64, 0, mismatch_kernel, out_of(call));
}

tl_status early_exit(const tl_call *call) {
    return launch(1, 64, 0, early_exit_kernel, out_of(call),
                  static_cast<int>(call->out[0]->size));
}

tl_status past(const tl_call *call) {
    const int64_t by = *static_cast<const int64_t *>(call->params);
    return for_each(call->out[0]->size, Past{out_of(call), by});
}

tl_status unaligned(const tl_call *call) {
    return for_each(1, Unaligned{reinterpret_cast<Pack<float, 4> *>(out_of(call))});
}

tl_status outside_array(const tl_call *call) {
    return launch(1, 32, 0, outside_array_kernel, out_of(call),
                  static_cast<int>(call->out[0]->size));
}

tl_status halves(const tl_call *call) {
    return for_each(call->out[0]->size,
                    Halves{static_cast<tl_bfloat16 *>(call->out[0]->data),
                           static_cast<const tl_bfloat16 *>(call->in[0]->data),
                           fault()});
}

tl_status descriptions(const tl_call *call) {
    return for_each(
        call->out[0]->size,
        Descriptions{static_cast<int64_t *>(call->out[0]->data), call->out[0]});
}

tl_status too_many_threads(const tl_call *call) {
    return launch(1, 1056, 0, early_exit_kernel, out_of(call), 1);
}

tl_status declined(const tl_call *) { return TL_DECLINED; }

tl_status scale(const tl_call *call) { // a number of the host, by value
    if (call->in[1]->device_type != TL_CPU) return TL_DECLINED;
    float *out = out_of(call);
    const int64_t by = static_cast<const float *>(call->in[1]->data)[0] > 0 ? 0 : 1;
    return for_each(call->out[0]->size, Past{out, by});
}

const tl_cuda_entry entries[] = {
    {"row_sum", TL_FLOAT32, row_sum<float>, nullptr},
    {"row_sum", TL_FLOAT64, row_sum<double>, nullptr},
    {"reverse", TL_FLOAT32, reverse<1>, nullptr},
    {"reverse_racing", TL_FLOAT32, reverse<0>, nullptr},
    {"lanes", TL_INT32, lanes, nullptr},
    {"mismatch", TL_FLOAT32, mismatch, nullptr},
    {"early_exit", TL_FLOAT32, early_exit, nullptr},
    {"past", TL_FLOAT32, past, nullptr},
    {"unaligned", TL_FLOAT32, unaligned, nullptr},
    {"outside_array", TL_FLOAT32, outside_array, nullptr},
    {"halves", TL_BFLOAT16, halves, nullptr},
    {"descriptions", TL_INT64, descriptions, nullptr},
    {"too_many_threads", TL_FLOAT32, too_many_threads, nullptr},
    {"declined", TL_FLOAT32, declined, nullptr},
    {"scale", TL_FLOAT32, scale, nullptr},
};

} // namespace

extern "C" const tl_cuda_entry *tl_cuda_cuda_emulation_entries(int *count) {
    *count = static_cast<int>(sizeof entries / sizeof *entries);
    return entries;
}

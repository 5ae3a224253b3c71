// fill, which knows sizes and not dtypes, and arange.
#include "elementwise.cuh"

namespace tl {
namespace {

struct alignas(16) Sixteen {
    uint64_t low, high;
};

template <typename T> struct Fill : Light {
    T element;
    explicit Fill(const tl_call *call) {
        memcpy(&element, static_cast<const tl_fill_params *>(call->params)->element,
               sizeof element);
    }
    __device__ __forceinline__ T operator()() const { return element; }
};

// Up to here a memset costs the host a third of a launch; a larger one is a launch,
// too.
constexpr int64_t kMemsetBytes = 1 << 12;

// Whether an element is one byte, repeated.
bool is_one_byte(const unsigned char *element, size_t size) {
    return memcmp(element, element + 1, size - 1) == 0;
}

template <typename T> tl_status run_fill(const tl_call *call) {
    const tl_buffer &out = *call->out[0];
    const auto *element = static_cast<const unsigned char *>(call->params);
    const int64_t nbytes = out.size * static_cast<int64_t>(sizeof(T));
    if (nbytes > 0 && nbytes <= kMemsetBytes && (out.flags & TL_C_CONTIGUOUS) &&
        is_one_byte(element, sizeof(T)))
        return check(cudaMemsetAsync(out.data, element[0], static_cast<size_t>(nbytes),
                                     stream()));
    return run_form<Fill<T>, T>(call);
}

// out[i] = start + i * step in the numbers of the output's kind: double or wrapping.
template <typename T> struct Arange {
    using Number =
        std::conditional_t<std::is_floating_point<T>::value, double, uint64_t>;
    T *out;
    Number start, step;
    __device__ void operator()(int64_t i) const {
        out[i] = static_cast<T>(start + static_cast<Number>(i) * step);
    }
};

template <typename T> tl_status run_arange(const tl_call *call) {
    using Number = typename Arange<T>::Number;
    const tl_range_params &p = *static_cast<const tl_range_params *>(call->params);
    constexpr bool real = std::is_floating_point<T>::value;
    return for_each(call->out[0]->size,
                    Arange<T>{static_cast<T *>(call->out[0]->data),
                              real ? Number(p.real) : Number(p.integer),
                              real ? Number(p.step_real) : Number(p.step_integer)});
}

#define TL_FILL(code, T) {"fill", code, run_fill<T>, nullptr},
#define TL_ARANGE(code, T) {"arange", code, run_arange<T>, nullptr},

// clang-format off
const tl_cuda_entry entries[] = {
    TL_FILL(TL_BOOL, uint8_t)
    TL_FILL(TL_INT8, uint8_t)
    TL_FILL(TL_UINT8, uint8_t)
    TL_FILL(TL_INT16, uint16_t)
    TL_FILL(TL_UINT16, uint16_t)
    TL_FILL(TL_FLOAT16, uint16_t)
    TL_FILL(TL_BFLOAT16, uint16_t)
    TL_FILL(TL_INT32, uint32_t)
    TL_FILL(TL_UINT32, uint32_t)
    TL_FILL(TL_FLOAT32, uint32_t)
    TL_FILL(TL_INT64, uint64_t)
    TL_FILL(TL_UINT64, uint64_t)
    TL_FILL(TL_FLOAT64, uint64_t)
    TL_FILL(TL_COMPLEX64, uint64_t)
    TL_FILL(TL_COMPLEX128, Sixteen)
    TL_ARANGE(TL_INT32, int32_t)
    TL_ARANGE(TL_INT64, int64_t)
    TL_ARANGE(TL_UINT64, uint64_t)
    TL_ARANGE(TL_FLOAT32, float)
    TL_ARANGE(TL_FLOAT64, double)
};
// clang-format on

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_fill_entries(int *count) {
    *count = static_cast<int>(sizeof tl::entries / sizeof *tl::entries);
    return tl::entries;
}

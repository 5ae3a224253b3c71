// Activations that take numbers or a gate, and their gradients; see
// scalar_activation.h.
#include "elementwise.cuh"

#include "tensorlib/scalar_ops.h"

namespace tl {
namespace {

// The numbers, in the type that the kernel computes in; T comes with the operands.
template <typename T> struct Numbers {
    activation_numbers<T> numbers;
    explicit Numbers(const tl_call *call)
        : numbers(*static_cast<const tl_activation_params *>(call->params)) {}
};
#define TL_ACTIVATION_FORM(name, cost)                                                 \
    template <typename T> struct name##_form : cost, Numbers<T> {                      \
        using Numbers<T>::Numbers;                                                     \
        __device__ __forceinline__ T operator()(T x) const {                           \
            return op_##name(x, this->numbers);                                        \
        }                                                                              \
    };
#define TL_ACTIVATION_GRAD_FORM(name, cost)                                            \
    template <typename T> struct name##_form : cost, Numbers<T> {                      \
        using Numbers<T>::Numbers;                                                     \
        __device__ __forceinline__ T operator()(T g, T x) const {                      \
            return op_##name(g, x, this->numbers);                                     \
        }                                                                              \
    };
TL_ACTIVATION_FORM(leaky_relu, Light)
TL_ACTIVATION_FORM(elu, Dear)
TL_ACTIVATION_FORM(hardtanh, Light)
TL_ACTIVATION_FORM(threshold, Light)
TL_ACTIVATION_FORM(hardshrink, Light)
TL_ACTIVATION_FORM(softshrink, Light)
TL_ACTIVATION_GRAD_FORM(leaky_relu_grad, Light)
TL_ACTIVATION_GRAD_FORM(elu_grad, Dear)
TL_ACTIVATION_GRAD_FORM(hardtanh_grad, Light)
TL_ACTIVATION_GRAD_FORM(threshold_grad, Light)
TL_ACTIVATION_GRAD_FORM(shrink_grad, Light)

TL_DEAR_FORM(glu)
// The gate's part of the gradient lies `apart` elements behind the value's.
struct glu_grad_form : Dear {
    int64_t apart;
    explicit glu_grad_form(const tl_call *call)
        : apart(static_cast<const tl_glu_params *>(call->params)->apart) {}
    template <typename T>
    __device__ __forceinline__ Two<T> operator()(T g, T value, T gate) const {
        Two<T> found;
        op_glu_grad(g, value, gate, found.first, found.second);
        return found;
    }
};

template <typename T> tl_status run_glu_grad(const tl_call *call) {
    return run_two<glu_grad_form, T, T, T, T>(
        call, static_cast<const tl_glu_params *>(call->params)->apart);
}

#define TL_FLOATS(X, op)                                                               \
    X(op, TL_FLOAT32, float)                                                           \
    X(op, TL_FLOAT64, double)                                                          \
    X(op, TL_FLOAT16, tl_float16)                                                      \
    X(op, TL_BFLOAT16, tl_bfloat16)
#define TL_UNARY_ROW(op, code, T)                                                      \
    {#op, code, run_form<op##_form<computed_t<T>>, T, T>, nullptr},
#define TL_BINARY_ROW(op, code, T)                                                     \
    {#op, code, run_form<op##_form<computed_t<T>>, T, T, T>, nullptr},
#define TL_GLU_ROW(op, code, T) {#op, code, run_form<op##_form, T, T, T>, nullptr},
#define TL_GLU_GRAD_ROW(op, code, T) {#op, code, run_glu_grad<T>, nullptr},
#define TL_ACTIVATION_ROWS(op) TL_FLOATS(TL_UNARY_ROW, op)
#define TL_ACTIVATION_GRAD_ROWS(op) TL_FLOATS(TL_BINARY_ROW, op)

// clang-format off
const tl_cuda_entry entries[] = {
    TL_ACTIVATION_OPS(TL_ACTIVATION_ROWS)
    TL_ACTIVATION_GRAD_OPS(TL_ACTIVATION_GRAD_ROWS)
    TL_FLOATS(TL_GLU_ROW, glu)
    TL_FLOATS(TL_GLU_GRAD_ROW, glu_grad)
};
// clang-format on

} // namespace
} // namespace tl

extern "C" const tl_cuda_entry *tl_cuda_activation_entries(int *count) {
    *count = static_cast<int>(sizeof tl::entries / sizeof *tl::entries);
    return tl::entries;
}
